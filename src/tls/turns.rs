//! Who may take an expensive step of a handshake in this turn of the ring: first in, first out.
//!
//! A step may take longer than fifty requests on connections that stand. So a turn has a budget for all of them
//! together, and at least one is taken: however many shake hands, the ring turns in between, and whoever has been
//! served is served on. Kept by `proxy` and `upstream`; begun anew by `shard` once a turn.

use crate::sys::clock;
use crate::time::{Instant, Micros};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What steps may take in one turn, until no more is begun.
const BUDGET: Micros = Micros::from_us(200);

/// A shard's.
#[derive(Default)]
pub struct Turns {
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    /// Somebody has been let in and is not done.
    taken: Cell<bool>,
    spent: Cell<Micros>,
}

#[derive(Default)]
struct Waiter {
    standing: Cell<Standing>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Waits,
    LetIn,
    Left,
}

/// The right to take a step now. It must be dropped before anything is awaited.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    begun: Instant,
}

/// A wait for it.
pub(super) struct Wait<'a> {
    turns: &'a Turns,
    waiter: Option<Rc<Waiter>>,
}

impl Turns {
    /// The ring has turned.
    pub fn begin(&self) {
        self.spent.set(Micros::default());
        self.let_in();
    }

    /// Whether somebody waits, so that the shard must not sleep.
    pub fn are_waited_for(&self) -> bool {
        self.taken.get() || !self.waiting.borrow().is_empty()
    }

    /// Waits for the next turn that has time.
    pub(super) fn take(&self) -> Wait<'_> {
        Wait { turns: self, waiter: None }
    }

    fn let_in(&self) {
        while !self.taken.get() && self.spent.get() < BUDGET {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            if next.standing.get() == Standing::Waits {
                next.standing.set(Standing::LetIn);
                self.taken.set(true);
                if let Some(waker) = next.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn done(&self, took: Micros) {
        self.spent.set(Micros::from_us(self.spent.get().as_us().saturating_add(took.as_us())));
        self.taken.set(false);
        self.let_in();
    }

    fn turn(&self) -> Turn<'_> {
        Turn { turns: self, begun: clock::now() }
    }
}

impl<'a> Future for Wait<'a> {
    type Output = Turn<'a>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn<'a>> {
        let turns = self.turns;
        match &self.waiter {
            Some(waiter) if waiter.standing.get() == Standing::LetIn => {
                self.waiter = None;
                Poll::Ready(turns.turn())
            }
            Some(waiter) => {
                *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            None if !turns.are_waited_for() && turns.spent.get() < BUDGET => {
                turns.taken.set(true);
                Poll::Ready(turns.turn())
            }
            None => {
                let waiter = Rc::new(Waiter::default());
                *waiter.waker.borrow_mut() = Some(cx.waker().clone());
                turns.waiting.borrow_mut().push_back(waiter.clone());
                self.waiter = Some(waiter);
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take()
            && waiter.standing.replace(Standing::Left) == Standing::LetIn
        {
            self.turns.done(Micros::default());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.done(clock::now().since(self.begun));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll<'a>(wait: Pin<&mut Wait<'a>>) -> Poll<Turn<'a>> {
        wait.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn steps_are_taken_in_the_order_in_which_they_were_asked_for_and_no_more_than_the_budget_allows() {
        let turns = Turns::default();
        let (mut first, mut second, mut third) = (pin!(turns.take()), pin!(turns.take()), pin!(turns.take()));
        let Poll::Ready(step) = poll(first.as_mut()) else { panic!("nobody else wants it") };
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        turns.spent.set(BUDGET);
        drop(step);
        assert!(poll(second.as_mut()).is_pending(), "nothing is left of this turn");
        assert!(turns.are_waited_for());
        turns.begin();
        assert!(poll(third.as_mut()).is_pending(), "it came later");
        drop(poll(second.as_mut()));
        assert!(poll(third.as_mut()).is_ready());
        assert!(!turns.are_waited_for());
    }

    #[test]
    fn who_gives_up_while_waiting_holds_nobody_up() {
        let turns = Turns::default();
        turns.spent.set(BUDGET);
        let mut last = pin!(turns.take());
        {
            let mut gone = pin!(turns.take());
            let mut let_in = pin!(turns.take());
            assert!(poll(let_in.as_mut()).is_pending());
            assert!(poll(gone.as_mut()).is_pending());
            assert!(poll(last.as_mut()).is_pending());
            turns.begin();
        }
        assert!(poll(last.as_mut()).is_ready());
    }
}
