//! Who is given up when the receive buffers have run out: sends that have got nowhere for longest.
//!
//! What a peer does not read keeps the buffer in which it came. Copies of that are bounded (`buffers.rs`), and once
//! there may be no more of them, as many such peers as there are buffers would stop all others, those that only shake
//! hands among them. So while a receive waits and there is no buffer, the sends under way are looked at now and then, and
//! of those that were there at each of some looks a share ends as if its deadline had passed. A minimum rate does not do
//! that: the kernel takes megabytes for a peer at once, which are an hour's worth of it. Called by `driver.rs`.

use super::buffers::Buffers;
use super::core::Core;
use crate::time::{Instant, Micros};
use std::cmp::Reverse;

/// From one look to the next.
const EVERY: Micros = Micros::from_ms(250);

/// A send that is under way at so many looks is stuck: for a second and more, of which it had all.
const STUCK: u8 = 5;

/// One in so many of those that are stuck is given up at a look at most, those that are it for longest first.
const SHARE: usize = 4;

impl Core {
    /// Gives sends up, if a receive waits for a buffer that nobody will give back otherwise.
    pub(super) fn relieve(&mut self, now: Instant, buffers: &Buffers) {
        if self.starved.is_empty() || buffers.with_kernel() > 0 || now < self.looks_at {
            return;
        }
        self.looks_at = now + EVERY;
        let mut stuck: Vec<(u8, u32)> = Vec::new();
        for (key, slot) in self.slots.sending() {
            slot.looks = slot.looks.saturating_add(1);
            if slot.looks >= STUCK {
                stuck.push((slot.looks, key));
            }
        }
        stuck.sort_unstable_by_key(|(looks, key)| (Reverse(*looks), *key));
        // Not more than wait: each gives back one buffer or more.
        stuck.truncate(stuck.len().div_ceil(SHARE).min(self.starved.len()));
        for (_, key) in stuck {
            self.deadlines.disarm(key);
            let slot = self.slots.at(key);
            slot.expired = true;
            slot.wake();
        }
    }
}
