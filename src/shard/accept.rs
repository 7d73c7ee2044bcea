//! The accept loops of a shard: one a listening socket, of which a listener may have several.
//!
//! Out of descriptors or full, a loop pauses and tries again, so it never spins; what waits stays in the
//! kernel's queue. But a full shard is not held by those that do nothing: when somebody waits, connections
//! that have waited longest for their client make room, a few at once, since looking for them means looking
//! at all. Who is over a limit of its listener is closed with a reset, which costs least: no state is left of
//! it, here or in the kernel. Loops come and go with their listeners. Sockets that a successor process
//! accepts on as well are let go without a word to the kernel: what is done to a socket is done to both.

use super::securing::Securing;
use crate::limit::{Exceeded, OncePerSecond, Place, Turnover};
use crate::mesh::Neighbours;
use crate::proxy::{ListenerService, Service, Waiting, serve};
use crate::ring::{Acceptor, Fault, Stream, give_way};
use crate::sys::socket::{ignore_new, is_waited_at};
use crate::time::{Instant, Micros};
use crate::topology::ListenerKey;
use nix::sys::socket::{Shutdown, shutdown};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

/// Between two tries when there are no descriptors.
const PAUSE: Micros = Micros::from_ms(100);

/// Between two looks whether a full shard has room again.
const FULL_PAUSE: Micros = Micros::from_ms(10);

/// Until those that make room have gone.
const MAKING_ROOM: Micros = Micros::from_ms(1);

/// Turns of the ring in which they usually have: their ends are seen, their tasks run, their sockets close.
const TURNS_TO_GO: usize = 16;

/// How many more are taken at once where one is accepted at a time.
const AT_ONCE: usize = 32;

/// Of all connections, how many make room at once at most; and the most.
const MAKE_ROOM_SHARE: usize = 32;
const MAKE_ROOM_MAX: usize = 64;

/// For so long the delay of one accept is taken for those that follow. The kernel's own tick is no finer.
const DELAY_HOLDS: Micros = Micros::from_ms(1);

/// How long a drain goes on accepting those whose handshake was under way: a round trip or two.
const HANDSHAKES: Micros = Micros::from_ms(200);

/// How far a door is on its way to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Those who have begun to connect are accepted, then the socket is shut.
    Drains,
    /// A successor accepts on it: it is left alone.
    HandedOver,
}

pub(super) struct Door {
    acceptor: RefCell<Acceptor>,
    socket: Arc<OwnedFd>,
    pub(super) listener: Rc<ListenerService>,
    closing: Cell<Closing>,
    /// When it was last looked how long who is accepted has waited, and how long that was.
    delay: Cell<(Instant, Option<Micros>)>,
}

/// A shard's accept loops.
pub(super) struct Accepting {
    pub(super) service: Rc<Service>,
    /// Those whose loops still run.
    pub(super) doors: RefCell<Vec<Rc<Door>>>,
    connections_max: usize,
    /// When it was last looked who could make room.
    looked: Cell<Instant>,
    /// The same of those that shake hands.
    looked_at_handshakes: Cell<Instant>,
    pub(super) neighbours: Neighbours,
    pub(super) turnover: RefCell<Turnover>,
    /// What the neighbours were told last.
    pub(super) told: Cell<usize>,
    securing: Rc<Securing>,
    said: Said,
}

/// What is said at most once a second.
#[derive(Default)]
struct Said {
    /// By [`Exceeded`].
    refused: [OncePerSecond; Exceeded::ALL.len()],
    evicted: OncePerSecond,
    full: OncePerSecond,
    /// Handshakes that made room.
    stalled: OncePerSecond,
    failed: OncePerSecond,
}

impl Accepting {
    /// Without a loop yet.
    pub(super) fn new(service: &Rc<Service>, connections_max: usize, neighbours: Neighbours) -> Rc<Self> {
        Rc::new(Self {
            service: service.clone(),
            doors: RefCell::default(),
            connections_max,
            looked: Cell::default(),
            looked_at_handshakes: Cell::default(),
            neighbours,
            turnover: RefCell::default(),
            told: Cell::default(),
            securing: Rc::default(),
            said: Said::default(),
        })
    }

    /// Connections with clients that there may be.
    pub(super) fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Starts a loop on `socket`, unless there is one already.
    pub(super) fn open(self: &Rc<Self>, listener: &Rc<ListenerService>, socket: &Arc<OwnedFd>) {
        let same = |door: &Rc<Door>| door.socket.as_raw_fd() == socket.as_raw_fd();
        if self.doors.borrow().iter().any(same) {
            return;
        }
        let door = Rc::new(Door {
            acceptor: RefCell::new(self.service.ring.acceptor(socket.as_fd())),
            socket: socket.clone(),
            listener: listener.clone(),
            closing: Cell::new(Closing::No),
            delay: Cell::default(),
        });
        self.doors.borrow_mut().push(door.clone());
        self.heed_room(&door);
        self.service.ring.spawn(self.clone().accept(door));
    }

    /// Accepts only who has begun to connect already, and then no more; all of them are served. `only`:
    /// on the sockets of this listener; `None`: on all.
    pub(super) fn drain(self: &Rc<Self>, only: Option<ListenerKey>) {
        // What is done to a socket that was handed over is done to the successor.
        let ours = |door: &&Rc<Door>| door.is_of(only) && door.closing.get() != Closing::HandedOver;
        let doors: Vec<Rc<Door>> = self.doors.borrow().iter().filter(ours).cloned().collect();
        for door in &doors {
            // Without it a few who connect just now are reset, as everywhere else.
            let _ = ignore_new(door.socket.as_fd());
        }
        let accepting = self.clone();
        self.service.ring.spawn(async move {
            let ring = &accepting.service.ring;
            ring.sleep_until(ring.now() + HANDSHAKES).await;
            for door in doors {
                door.close(Closing::Drains);
            }
        });
    }

    /// Accepts no more on the sockets of these listeners: a successor does. Who has been accepted is served.
    pub(super) fn hand_over(&self, listeners: &[ListenerKey]) {
        let doors = self.doors.borrow();
        let theirs = doors.iter().filter(|door| listeners.contains(&door.listener.key()));
        theirs.for_each(|door| door.close(Closing::HandedOver));
    }

    /// The same of all its sockets.
    pub(super) fn hand_over_all(&self) {
        self.doors.borrow().iter().for_each(|door| door.close(Closing::HandedOver));
    }

    /// Whether all loops have ended.
    pub(super) fn is_over(&self) -> bool {
        self.doors.borrow().is_empty()
    }

    async fn accept(self: Rc<Self>, door: Rc<Door>) {
        let ring = &self.service.ring;
        loop {
            let next = poll_fn(|cx| door.acceptor.borrow_mut().poll_next(cx)).await;
            match next {
                Ok(Some(stream)) => {
                    self.admit(&door, stream);
                    self.admit_more(&door);
                }
                Ok(None) if door.is_closing() => break,
                Ok(None) => {
                    self.service.stats.borrow_mut().accept_paused();
                    while self.is_full() && !door.is_closing() {
                        self.await_room(&door).await;
                    }
                    if !door.is_closing() {
                        door.acceptor.borrow_mut().resume();
                    }
                }
                // The client gave up while it waited.
                Err(Fault::Os(libc::ECONNABORTED | libc::EPROTO)) => {}
                Err(fault) => {
                    self.service.stats.borrow_mut().accept_paused();
                    if let Some(times) = self.said.failed.count(ring.now()) {
                        tracing::warn!(listener = door.listener.name(), times, %fault, "cannot accept; trying again");
                    }
                    ring.sleep_until(ring.now() + PAUSE).await;
                }
            }
        }
        if door.closing.get() == Closing::Drains {
            // They have their connection and may have sent their request.
            while let Some(stream) = door.acceptor.borrow().leftover(door.socket.as_fd()) {
                self.admit(&door, stream);
            }
            // The socket leaves its group now, not when the process ends: clients are refused, not kept waiting.
            let _ = shutdown(door.socket.as_raw_fd(), Shutdown::Both);
        }
        self.doors.borrow_mut().retain(|other| !Rc::ptr_eq(other, &door));
    }

    fn admit(&self, door: &Door, stream: Stream) {
        let delay = door.delay(&stream, self.service.ring.now());
        self.service.stats.borrow_mut().accepted(delay);
        let peer = stream.peer();
        match door.listener.admit(peer) {
            Ok(place) => match self.lighter(door) {
                Some(shard) => self.hand(shard, door, stream, peer, place),
                None => self.begin(&door.listener, stream, peer, place),
            },
            Err(exceeded) => self.refuse(&door.listener, stream, exceeded, peer),
        }
        self.heed_room(door);
    }

    /// Serves a connection here, once it is sealed where its listener has TLS.
    pub(super) fn begin(
        &self,
        listener: &Rc<ListenerService>,
        stream: Stream,
        peer: Option<IpAddr>,
        place: Option<Box<Place>>,
    ) {
        match listener.tls() {
            None => {
                let served = serve(self.service.clone(), listener.clone(), stream.into(), peer, place);
                self.service.ring.spawn(served);
            }
            Some(config) => match self.admit_handshake(listener) {
                Ok(()) => {
                    self.securing.begin(&self.service, listener.clone(), stream, config, peer, place);
                }
                Err(exceeded) => self.refuse(listener, stream, exceeded, peer),
            },
        }
        self.tell_neighbours();
    }

    /// Whether one more handshake may begin: at `max_handshakes` those make room that have waited for their client
    /// longest. Who has not waited long stays: were it not so, many who come at once would throw each other out.
    ///
    /// # Errors
    /// Nobody makes room.
    fn admit_handshake(&self, listener: &ListenerService) -> Result<(), Exceeded> {
        let Some(max) = listener.max_handshakes() else { return Ok(()) };
        if self.service.shaking() < max {
            return Ok(());
        }
        let now = self.service.ring.now();
        // In a flood most are refused without a look, which means looking at all.
        if now.since(self.looked_at_handshakes.get()) >= MAKING_ROOM {
            self.looked_at_handshakes.set(now);
            let made = self.service.make_room(Waiting::Shaking, share(max));
            if made > 0 {
                if let Some(times) = self.said.stalled.count(now) {
                    let listener = listener.name();
                    tracing::warn!(
                        listener,
                        max_handshakes = max,
                        times,
                        "as many handshakes are under way as may be: those that waited longest for their client make room"
                    );
                }
                return Ok(());
            }
        }
        Err(listener.refuse_handshake())
    }

    fn refuse(&self, listener: &ListenerService, stream: Stream, exceeded: Exceeded, peer: Option<IpAddr>) {
        stream.reset_on_close();
        drop(stream);
        self.say_refused(listener, exceeded, peer);
    }

    /// Where one is accepted at a time, takes some of those that wait as well: a turn may be long.
    fn admit_more(&self, door: &Door) {
        for _ in 0..AT_ONCE {
            if self.is_full() || door.is_closing() || !door.acceptor.borrow().is_single() {
                return;
            }
            let next = door.acceptor.borrow().leftover(door.socket.as_fd());
            let Some(stream) = next else { return };
            self.admit(door, stream);
        }
    }

    /// Accepts no more in a full shard, and one at a time in one that may soon be: an accept for many takes
    /// all that wait in the queue.
    fn heed_room(&self, door: &Door) {
        if self.is_full() {
            door.acceptor.borrow_mut().stop();
            return;
        }
        let room = self.connections_max - self.service.connections.get();
        let burst: usize = self.doors.borrow().iter().map(|door| door.listener.backlog()).sum();
        let acceptor = &door.acceptor;
        if room <= burst {
            acceptor.borrow_mut().accept_singly(true);
        } else if room > burst.saturating_mul(2) {
            acceptor.borrow_mut().accept_singly(false);
        }
    }

    fn is_full(&self) -> bool {
        self.service.connections.get() >= self.connections_max
    }

    /// Waits for a while, at most until a full shard may have room.
    async fn await_room(&self, door: &Door) {
        let ring = &self.service.ring;
        if !is_waited_at(door.socket.as_fd()) {
            // Room may come of itself, but who comes first is not to wait for the next look.
            let mut pause = pin!(ring.sleep_until(ring.now() + FULL_PAUSE));
            let mut waited_at = pin!(ring.readable(door.socket.as_fd()));
            let mut watched = true;
            return poll_fn(|cx| {
                if watched && let Poll::Ready(ready) = waited_at.as_mut().poll(cx) {
                    if ready.is_ok() {
                        return Poll::Ready(());
                    }
                    // One that cannot be watched is looked at now and then.
                    watched = false;
                }
                pause.as_mut().poll(cx)
            })
            .await;
        }
        // Another door may have looked just now, and looking means looking at all.
        let looked = ring.now().since(self.looked.get()) < MAKING_ROOM;
        let (pause, mut turns) =
            if looked || self.make_room() { (MAKING_ROOM, TURNS_TO_GO) } else { (FULL_PAUSE, 0) };
        while turns > 0 && self.is_full() {
            give_way().await;
            turns -= 1;
        }
        if self.is_full() {
            ring.sleep_until(ring.now() + pause).await;
        }
    }

    /// Has connections that have waited longest make room; `false`: nobody can.
    fn make_room(&self) -> bool {
        let now = self.service.ring.now();
        self.looked.set(now);
        let made = self.service.make_room(Waiting::All, share(self.connections_max));
        let connections = self.connections_max;
        if made == 0 {
            if let Some(times) = self.said.full.count(now) {
                tracing::warn!(
                    connections,
                    times,
                    "this shard has as many connections as it may, and none to spare: new ones wait"
                );
            }
            return false;
        }
        if let Some(times) = self.said.evicted.count(now) {
            tracing::warn!(
                connections,
                times,
                "this shard has as many connections as it may: those that waited longest for their client make room"
            );
        }
        true
    }

    fn say_refused(&self, listener: &ListenerService, exceeded: Exceeded, peer: Option<IpAddr>) {
        let once = &self.said.refused[exceeded as usize];
        if let Some(times) = once.count(self.service.ring.now()) {
            let (listener, limit) = (listener.name(), exceeded.label());
            let peer = peer.map_or_else(|| "unix".to_owned(), |address| address.to_canonical().to_string());
            tracing::warn!(
                listener,
                limit,
                times,
                last = peer,
                "connections over the limit are closed at once"
            );
        }
    }
}

/// How many of so many make room at once.
fn share(of: usize) -> usize {
    (of / MAKE_ROOM_SHARE).clamp(1, MAKE_ROOM_MAX)
}

impl Door {
    fn is_of(&self, only: Option<ListenerKey>) -> bool {
        only.is_none_or(|key| self.listener.key() == key)
    }

    /// The longest that `stream`, which was just accepted, may have waited for it since its handshake. The
    /// first after a pause has waited longest, so it is asked for all that follow within a millisecond: asking is a
    /// call into the kernel.
    fn delay(&self, stream: &Stream, now: Instant) -> Option<Micros> {
        let (at, delay) = self.delay.get();
        if now.since(at) < DELAY_HOLDS {
            return delay;
        }
        let delay = stream.since_handshake();
        self.delay.set((now, delay));
        delay
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get() != Closing::No
    }

    fn close(&self, closing: Closing) {
        if self.closing.get() != Closing::HandedOver {
            self.closing.set(closing);
        }
        self.acceptor.borrow_mut().stop();
    }
}
