//! A TLS handshake with a client while it is under way: it counts as a connection and as a handshake, and has a seat.
//!
//! Not here: the handshake (`tls`), and what comes after it (`connection.rs`). Held by `shard`.

use super::service::Service;
use crate::ring::Stream;
use std::rc::Rc;

/// It counts as long as this lives. To be dropped in the same breath as its socket, or when the connection that comes
/// of it is served.
#[must_use = "the handshake counts only while this lives"]
pub struct Shaking {
    service: Rc<Service>,
    seat: u32,
}

impl Shaking {
    /// One begins over `stream`.
    pub fn begin(service: &Rc<Service>, stream: &Stream) -> Self {
        service.connections.set(service.connections.get() + 1);
        let seat = service.seats.take_shaking(stream.number(), service.ring.now());
        Self { service: service.clone(), seat }
    }

    /// It was told to make room for others.
    pub fn makes_room(&self) -> bool {
        self.service.seats.ends(self.seat)
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.service.seats.leave(self.seat);
        self.service.connections.set(self.service.connections.get() - 1);
    }
}
