//! Failed exchanges that keep their place at a backend for a while.

use crate::balance::BackendId;
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The places, by when they are given back.
#[derive(Default)]
pub(super) struct Lingering(BinaryHeap<Reverse<(Instant, BackendId)>>);

impl Lingering {
    /// A place is kept until `due`.
    pub(super) fn add(&mut self, due: Instant, id: BackendId) {
        self.0.push(Reverse((due, id)));
    }

    /// Gives back those whose time is over. Returns when the next one's is.
    pub(super) fn release(&mut self, now: Instant, give_back: impl Fn(BackendId)) -> Instant {
        while let Some(&Reverse((due, id))) = self.0.peek() {
            if due > now {
                return due;
            }
            self.0.pop();
            give_back(id);
        }
        Instant::NEVER
    }
}
