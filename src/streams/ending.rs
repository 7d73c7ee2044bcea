//! Streams that are over but for the peer's word: all that it said it would send has come, and not its end.
//!
//! To drop such a stream would be to reset it. A client that is about to end its request would find that it cannot,
//! and some then make nothing of the answer that they have; a backend takes a client that resets many for one that
//! means harm. So they are kept for a while. Used by both sides.

use crate::time::{Instant, Micros};
use h2::RecvStream;
use std::cell::RefCell;
use std::task::{Context, Waker};

/// How many of a connection are kept at once.
const ENDING_MAX: usize = 64;

/// How long they may take to end.
const ENDING: Micros = Micros::from_s(1);

/// Those of one connection, and since when they wait.
#[derive(Default)]
pub(super) struct Ending(RefCell<Vec<(Instant, RecvStream)>>);

impl Ending {
    /// Keeps this one.
    ///
    /// # Errors
    /// Too many are kept.
    pub(super) fn keep(&self, stream: RecvStream, now: Instant) -> Result<(), RecvStream> {
        let mut kept = self.0.borrow_mut();
        if kept.len() >= ENDING_MAX {
            return Err(stream);
        }
        kept.push((now, stream));
        Ok(())
    }

    /// Lets go of those that the peer has ended, or not for long; how many.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        let mut kept = self.0.borrow_mut();
        let before = kept.len();
        // What still comes is not read: a stream that has any has broken its own word, and is reset.
        kept.retain_mut(|(since, stream)| {
            let polled = stream.poll_data(&mut Context::from_waker(Waker::noop()));
            polled.is_pending() && now.since(*since) < ENDING
        });
        before - kept.len()
    }
}
