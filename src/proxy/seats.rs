//! The seats of a shard's connections: which of them wait for their client, and since when.
//!
//! When a shard is full, who waits longest makes room (`limit` says who that is): the socket's receiving side is
//! shut, so that the connection's task wakes with an end of stream. What the client had sent by then is still
//! read and answered. What this costs a request is a few plain stores. A TLS handshake under way has a seat as well,
//! and waits for its client all the while: a client that connects and then says nothing, or half of it, must not
//! hold a place for as long as a handshake may take. Kept by `connection.rs` and, for handshakes, by `service.rs`;
//! asked to make room by `shard`'s accept loops.

use crate::limit::{Wait, longest_waiting};
use crate::time::Instant;
use nix::sys::socket::{Shutdown, shutdown};
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

/// So many seats are made at a time. Were they doubled, as a vector does by itself, up to half of them would be
/// nobody's, and each idle connection pays for its part.
const MADE_AT_ONCE: usize = 1024;

/// No socket's number: the seat of who has none to itself, who is never told to make room.
pub(super) const NO_SOCKET: RawFd = -1;

/// Those among whom some are chosen to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// All that wait for their client.
    All,
    /// Those of them that shake hands.
    Shaking,
}

/// One connection's: 16 bytes.
struct Seat {
    /// Since when it waits, if it does.
    since: Instant,
    /// `false`: it has an exchange, or is to end already, or nobody sits here.
    waits: bool,
    /// Valid as long as somebody sits here.
    socket: RawFd,
    served: bool,
    /// It was told to make room.
    ends: bool,
    /// It shakes hands.
    shakes: bool,
}

/// All of a shard's.
#[derive(Default)]
pub(super) struct Seats {
    seats: RefCell<Vec<Seat>>,
    free: RefCell<Vec<u32>>,
    /// Those that shake hands and were not told to make room.
    shaking: Cell<usize>,
}

impl Seats {
    /// A seat for the connection with this socket: its number. It must be left before the socket closes.
    pub(super) fn take(&self, socket: RawFd) -> u32 {
        let since = Instant::default();
        self.seat(Seat { since, waits: false, socket, served: false, ends: false, shakes: false })
    }

    /// The same for a handshake that begins at `now`.
    pub(super) fn take_shaking(&self, socket: RawFd, now: Instant) -> u32 {
        self.shaking.set(self.shaking.get() + 1);
        self.seat(Seat { since: now, waits: true, socket, served: false, ends: false, shakes: true })
    }

    /// How many shake hands.
    pub(super) fn shaking(&self) -> usize {
        self.shaking.get()
    }

    fn seat(&self, seat: Seat) -> u32 {
        let mut seats = self.seats.borrow_mut();
        if let Some(number) = self.free.borrow_mut().pop() {
            seats[number as usize] = seat;
            return number;
        }
        if seats.len() == seats.capacity() {
            seats.reserve_exact(MADE_AT_ONCE);
        }
        seats.push(seat);
        (seats.len() - 1) as u32
    }

    /// The connection is over.
    pub(super) fn leave(&self, number: u32) {
        let seat = &mut self.seats.borrow_mut()[number as usize];
        seat.waits = false;
        if std::mem::take(&mut seat.shakes) && !seat.ends {
            self.shaking.set(self.shaking.get() - 1);
        }
        self.free.borrow_mut().push(number);
    }

    /// The connection waits for its client from now on.
    pub(super) fn wait(&self, number: u32, now: Instant) {
        let seat = &mut self.seats.borrow_mut()[number as usize];
        seat.waits = !seat.ends && seat.socket != NO_SOCKET;
        seat.since = now;
    }

    /// It has an exchange from now on.
    pub(super) fn work(&self, number: u32) {
        let seat = &mut self.seats.borrow_mut()[number as usize];
        seat.waits = false;
        seat.served = true;
    }

    /// Whether it has had an exchange.
    pub(super) fn has_served(&self, number: u32) -> bool {
        self.seats.borrow()[number as usize].served
    }

    /// It was told to make room: the end of what the client sends is ours.
    pub(super) fn ends(&self, number: u32) -> bool {
        self.seats.borrow()[number as usize].ends
    }

    /// Ends the `count` connections that have waited longest, or as many as there are; how many.
    pub(super) fn make_room(&self, now: Instant, whose: Waiting, count: usize) -> usize {
        let mut seats = self.seats.borrow_mut();
        let may = |seat: &Seat| seat.waits && (seat.shakes || whose == Waiting::All);
        let waits = (0u32..).zip(&*seats).filter(|(_, seat)| may(seat));
        let waits = waits.map(|(number, seat)| (number, Wait { served: seat.served, since: seat.since }));
        let chosen = longest_waiting(waits, now, count);
        for number in &chosen {
            let seat = &mut seats[*number as usize];
            seat.waits = false;
            seat.ends = true;
            if seat.shakes {
                self.shaking.set(self.shaking.get() - 1);
            }
            // The sending side stays: an answer that is still leaving leaves. It fails only if the connection is
            // gone already, and then its task wakes as well.
            let _ = shutdown(seat.socket, Shutdown::Read);
        }
        chosen.len()
    }
}
