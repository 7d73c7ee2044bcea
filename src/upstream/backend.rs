//! One backend on one shard: its idle connections, and what its exchanges came to.
//!
//! Held by its pool, by whoever picked it, and by every connection to it: it lives until the last of them
//! is through, also when the topology does not name it any more.

use super::idle::IdleConnections;
use crate::balance::{BackendId, Outcome};
use crate::config::Destination;
use crate::time::Instant;
use std::cell::{Cell, RefCell};

/// A backend.
pub struct Backend {
    id: BackendId,
    pub(super) to: Destination,
    pub(super) idle: RefCell<IdleConnections>,
    /// Connections of this shard to it, idle ones included.
    pub(super) open: Cell<usize>,
    /// It gets exchanges, so that an idle connection to it is worth keeping.
    served: Cell<bool>,
    outcome: RefCell<Outcome>,
    /// The outcome has changed in a way that control must hear of.
    unreported: Cell<bool>,
}

impl Backend {
    pub(super) fn new(id: BackendId, to: Destination, idle_max: usize, served: bool) -> Self {
        Self {
            id,
            to,
            idle: RefCell::new(IdleConnections::new(idle_max)),
            open: Cell::new(0),
            served: Cell::new(served),
            outcome: RefCell::default(),
            unreported: Cell::new(false),
        }
    }

    /// Its number in the process.
    pub fn id(&self) -> BackendId {
        self.id
    }

    /// Whether it gets exchanges.
    pub(super) fn is_served(&self) -> bool {
        self.served.get()
    }

    /// It gets exchanges from now on, or none any more: then idle connections to it are closed.
    pub(super) fn set_served(&self, served: bool) {
        self.served.set(served);
        if !served {
            self.idle.borrow_mut().close_all();
        }
    }

    /// An exchange was served. `log2`: of the response time.
    pub(super) fn passed(&self, log2: u32, trial: bool) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.passed += 1;
        outcome.run = 0;
        outcome.timed += 1;
        outcome.log2_sum += u64::from(log2);
        outcome.trials_passed += u64::from(trial);
    }

    /// An exchange, or an attempt, failed.
    pub(super) fn failed(&self, failure: Failure, trial: bool, now: Instant) {
        let mut outcome = self.outcome.borrow_mut();
        if outcome.run == 0 {
            outcome.run_began = now;
        }
        outcome.failed += 1;
        outcome.run = outcome.run.saturating_add(1);
        outcome.last = failure.word;
        outcome.noticed += u64::from(failure.noticed);
        outcome.trials_failed += u64::from(trial);
    }

    /// Marks the outcome as to be reported; `true`: it was not so already.
    pub(super) fn to_report(&self) -> bool {
        !self.unreported.replace(true)
    }

    /// The outcome, if it is to be reported; from now on it is not.
    pub(super) fn report(&self) -> Option<Outcome> {
        self.unreported.take().then(|| *self.outcome.borrow())
    }
}

/// How a backend failed an exchange, or an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// Its word, as in the metrics.
    pub(super) word: &'static str,
    /// A client got an error, or a cut answer, for it.
    pub(super) noticed: bool,
}
