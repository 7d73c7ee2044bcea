//! Connections that another shard serves: handed over as soon as they are accepted, before a byte is read.
//!
//! When one is, `limit` says. What goes wrong on the way ends with the connection being served: a shard that takes
//! no more, or whose mailbox is full, leaves it to the one that accepted; one that does not know the listener,
//! since what control said of it is still in its mailbox or was acted on already, sends it back. While this shard
//! or a listener ends, its connections stay.

use super::accept::{Accepting, Door};
use crate::limit::{Place, is_lighter};
use crate::mesh::HandedOver;
use crate::proxy::{ListenerService, Stage};
use crate::ring::Stream;
use crate::topology::ListenerKey;
use std::net::IpAddr;
use std::rc::Rc;

impl Accepting {
    /// The shard that is to serve the connection that `door` has just accepted, if that is not this one. It is
    /// counted there already.
    pub(super) fn lighter(&self, door: &Door) -> Option<u16> {
        if self.neighbours.is_alone() {
            return None;
        }
        let own = self.service.connections.get() + self.neighbours.expected() + 1;
        let lasting = self.turnover.borrow_mut().accepted(own, self.service.ring.now());
        let ends =
            self.service.stage.get() != Stage::Serving || door.is_closing() || door.listener.is_leaving();
        if !lasting || ends {
            return None;
        }
        self.neighbours.claim(|other| is_lighter(own, other))
    }

    /// Hands a connection to the shard that it is counted at.
    pub(super) fn hand(
        &self,
        shard: u16,
        door: &Door,
        stream: Stream,
        peer: Option<IpAddr>,
        place: Option<Box<Place>>,
    ) {
        let (listener, from) = (door.listener.key(), self.neighbours.own());
        let connection = HandedOver { listener, socket: stream.detach(), peer, place, from, returned: false };
        match self.neighbours.send(shard, Box::new(connection)) {
            Ok(()) => self.service.stats.borrow_mut().handed_over(),
            Err(back) => {
                let HandedOver { socket, peer, place, .. } = *back;
                self.begin(&door.listener, self.service.ring.adopt(socket), peer, place);
            }
        }
    }

    /// Serves a connection that another shard has accepted.
    pub(super) fn take_in(&self, connection: HandedOver) {
        match self.listener(connection.listener) {
            Some(listener) => {
                let HandedOver { socket, peer, place, .. } = connection;
                self.begin(&listener, self.service.ring.adopt(socket), peer, place);
            }
            None if connection.returned => {
                tracing::warn!(key = ?connection.listener, "a connection of a listener that is gone is closed");
            }
            None => self.send_back(connection),
        }
        // Not before it is counted as this shard's.
        self.neighbours.arrived();
    }

    fn send_back(&self, connection: HandedOver) {
        let to = connection.from;
        self.neighbours.claim_back(to);
        let sent = self.neighbours.send(to, Box::new(HandedOver { returned: true, ..connection }));
        if sent.is_err() {
            tracing::warn!(
                shard = to,
                "a connection cannot be sent back to the shard that accepted it, and is closed"
            );
        }
    }

    /// Those of others are not for this shard any more.
    pub(super) fn take_in_no_more(&self) {
        self.neighbours.leave();
    }

    /// Whether one of another shard is still on its way.
    pub(super) fn is_expecting(&self) -> bool {
        self.neighbours.expected() > 0
    }

    /// Says how many connections there are, if that has changed.
    pub(super) fn tell_neighbours(&self) {
        let connections = self.service.connections.get();
        if self.told.replace(connections) != connections {
            self.neighbours.tell(connections);
        }
    }

    /// The listener with this number; also one that has left the topology, while its loops still run.
    fn listener(&self, key: ListenerKey) -> Option<Rc<ListenerService>> {
        let of_door = || {
            let doors = self.doors.borrow();
            doors.iter().map(|door| door.listener.clone()).find(|listener| listener.key() == key)
        };
        self.service.listener(key).or_else(of_door)
    }
}
