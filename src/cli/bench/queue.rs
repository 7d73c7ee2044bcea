//! Between when a request is due and who sends it: connections that are free, requests that wait for one.
//!
//! Never both at once. What waits is served in the order in which it became due; a free connection is the one
//! that has been free longest, so that all of them are used, as clients of a balancer are many. One per thread,
//! and nobody outside that thread sees it: cells, no locks. Used by `worker` and `lane`.

use crate::time::Instant;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use tokio::sync::Notify;

/// A request that somebody has, or that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) due: Instant,
    /// When a connection took it up; `None` if none has.
    pub(super) sent: Option<Instant>,
}

/// A connection's place.
#[derive(Default)]
struct Seat {
    has: Cell<Option<Pending>>,
    call: Notify,
}

/// The requests of one thread that are due and not over.
pub(super) struct Queue {
    seats: Vec<Seat>,
    free: RefCell<VecDeque<usize>>,
    waiting: RefCell<VecDeque<Instant>>,
    settled: Notify,
}

impl Queue {
    /// For so many connections, none of which is free yet.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            seats: (0..connections).map(|_| Seat::default()).collect(),
            free: RefCell::default(),
            waiting: RefCell::default(),
            settled: Notify::new(),
        }
    }

    /// A request is due: a free connection gets it, if there is one; else it waits, and this is false.
    pub(super) fn issue(&self, due: Instant) -> bool {
        let Some(number) = self.free.borrow_mut().pop_front() else {
            self.waiting.borrow_mut().push_back(due);
            return false;
        };
        self.seats[number].has.set(Some(Pending { due, sent: None }));
        self.seats[number].call.notify_one();
        true
    }

    /// What the connection `number` is to send next; `None` if nothing is due, and then it counts as free.
    pub(super) fn next(&self, number: usize) -> Option<Instant> {
        let due = self.waiting.borrow_mut().pop_front();
        match due {
            Some(due) => self.seats[number].has.set(Some(Pending { due, sent: None })),
            None => self.free.borrow_mut().push_back(number),
        }
        due
    }

    /// What the connection `number`, having been free, was given; waits until that happens.
    pub(super) async fn given(&self, number: usize) -> Instant {
        loop {
            if let Some(pending) = self.seats[number].has.get() {
                return pending.due;
            }
            self.seats[number].call.notified().await;
        }
    }

    /// The connection `number` begins with what it has.
    pub(super) fn sent(&self, number: usize, due: Instant, now: Instant) {
        self.seats[number].has.set(Some(Pending { due, sent: Some(now) }));
    }

    /// The connection `number` is done with what it had.
    pub(super) fn over(&self, number: usize) {
        self.seats[number].has.set(None);
        self.settled.notify_one();
    }

    /// What is due and not over: what connections have, then what waits.
    pub(super) fn pending(&self) -> Vec<Pending> {
        let waiting = self.waiting.borrow();
        let waiting = waiting.iter().map(|due| Pending { due: *due, sent: None });
        self.seats.iter().filter_map(|seat| seat.has.get()).chain(waiting).collect()
    }

    /// Waits until nothing is due that is not over.
    pub(super) async fn settled(&self) {
        while !(self.waiting.borrow().is_empty() && self.seats.iter().all(|seat| seat.has.get().is_none())) {
            self.settled.notified().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::from_us(us)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_free_connection_gets_what_is_due_the_one_first_that_has_been_free_longest() {
        let queue = Queue::new(3);
        for number in [2, 0, 1] {
            assert_eq!(queue.next(number), None);
        }
        assert!(queue.issue(at(10)) && queue.issue(at(20)));
        assert_eq!((queue.given(2).await, queue.given(0).await), (at(10), at(20)));
        queue.over(2);
        assert_eq!(queue.next(2), None);
        assert!(queue.issue(at(30)));
        assert_eq!(queue.given(1).await, at(30));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_finds_none_free_waits_in_its_order_and_is_pending_until_it_is_over() {
        let queue = Queue::new(1);
        assert_eq!(queue.next(0), None);
        assert!(queue.issue(at(10)));
        assert!(!queue.issue(at(20)) && !queue.issue(at(30)));
        queue.sent(0, queue.given(0).await, at(12));
        let due: Vec<_> = queue.pending().iter().map(|pending| (pending.due, pending.sent)).collect();
        assert_eq!(due, [(at(10), Some(at(12))), (at(20), None), (at(30), None)]);
        for expected in [Some(at(20)), Some(at(30)), None] {
            queue.over(0);
            assert_eq!(queue.next(0), expected);
        }
        assert!(queue.pending().is_empty());
        queue.settled().await;
    }
}
