//! Bytes that were handed to `h2`, on their way out, for who sent them. Called by `stream.rs`.

use super::piece::Left;
use crate::ring::{Fault, Ring, Sent};
use crate::streams::timer::Timer;
use crate::time::Instant;
use crate::wire::Leaving;
use std::rc::Rc;
use std::task::{Context, Poll};

const fn sent(outcome: Result<(), Fault>) -> Sent {
    Sent { outcome, untouched: false, payload: None }
}

/// All of it is the connection's to send, and nobody need wait. It takes no memory, so a box of it does not either.
pub(super) struct Away;

impl Leaving for Away {
    fn went_well(&self) -> bool {
        true
    }

    fn poll_sent(&mut self, _: &mut Context<'_>) -> Poll<Sent> {
        Poll::Ready(sent(Ok(())))
    }
}

/// It has failed already.
pub(super) struct Failed(pub(super) Fault);

impl Leaving for Failed {
    fn went_well(&self) -> bool {
        false
    }

    fn poll_sent(&mut self, _: &mut Context<'_>) -> Poll<Sent> {
        Poll::Ready(sent(Err(self.0)))
    }
}

/// It waits for the peer's windows, or for its turn.
pub(super) struct Waits {
    left: Rc<Left>,
    ring: Ring,
    due: Instant,
    timer: Timer,
}

impl Waits {
    /// Until `left` says that it has left, which must happen before `due`.
    pub(super) fn new(ring: &Ring, left: Rc<Left>, due: Instant) -> Self {
        Self { left, ring: ring.clone(), due, timer: Timer::default() }
    }
}

impl Leaving for Waits {
    fn went_well(&self) -> bool {
        self.left.is_all() == Some(true)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        Poll::Ready(sent(match self.left.poll(cx) {
            Poll::Ready(true) => Ok(()),
            // A piece goes before its time only when its stream is reset.
            Poll::Ready(false) => Err(Fault::Os(libc::EPIPE)),
            Poll::Pending if self.timer.is_over(&self.ring, self.due, cx) => Err(Fault::TimedOut),
            Poll::Pending => return Poll::Pending,
        }))
    }
}
