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
    fn quiet(&mut self) {}

    fn quiet_and_done(&mut self) {}

    fn went_well(&self) -> bool {
        true
    }

    fn poll_failed(&mut self, _: &mut Context<'_>) -> Poll<Sent> {
        Poll::Ready(sent(Ok(())))
    }

    fn poll_sent(&mut self, _: &mut Context<'_>) -> Poll<Sent> {
        Poll::Ready(sent(Ok(())))
    }
}

/// It waits for the peer's windows, or for its turn.
pub(super) struct Waits {
    state: State,
    ring: Ring,
    due: Instant,
    timer: Timer,
}

enum State {
    Under(Rc<Left>),
    Failed(Fault),
}

impl Waits {
    /// Until `left` says that it has left, which must happen before `due`.
    pub(super) fn new(ring: &Ring, left: Rc<Left>, due: Instant) -> Self {
        Self { state: State::Under(left), ring: ring.clone(), due, timer: Timer::default() }
    }

    /// It has failed already.
    pub(super) fn failed(ring: &Ring, fault: Fault) -> Self {
        Self { state: State::Failed(fault), ring: ring.clone(), due: Instant::NEVER, timer: Timer::default() }
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let left = match &self.state {
            State::Failed(fault) => return Poll::Ready(Err(*fault)),
            State::Under(left) => left,
        };
        if let Poll::Ready(all) = left.poll(cx) {
            // A piece goes before its time only when its stream is reset.
            return Poll::Ready(if all { Ok(()) } else { Err(Fault::Os(libc::EPIPE)) });
        }
        match self.timer.is_over(&self.ring, self.due, cx) {
            true => Poll::Ready(Err(Fault::TimedOut)),
            false => Poll::Pending,
        }
    }
}

impl Leaving for Waits {
    fn quiet(&mut self) {}

    fn quiet_and_done(&mut self) {}

    fn went_well(&self) -> bool {
        match &self.state {
            State::Under(left) => left.is_all() == Some(true),
            State::Failed(_) => false,
        }
    }

    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        self.poll_left(cx).map(sent)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        self.poll_left(cx).map(sent)
    }
}
