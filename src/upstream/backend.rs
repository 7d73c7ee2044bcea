//! One backend on one shard: its idle connections, and what its exchanges came to.
//!
//! Held by its pool, by whoever picked it, and by every connection to it: it lives until the last of them
//! is through, also when the topology does not name it any more.

use super::idle::IdleConnections;
use super::shared::Shared;
use crate::balance::{Admitted, BackendId, Outcome, Traffic};
use crate::config::{Destination, Protocol};
use crate::time::{Instant, Micros};
use crate::topology::{BackendPlan, BackendTls};
use std::cell::{Cell, RefCell};

/// Doublings of the second for which an unreachable backend is left alone.
const UNREACHED_DOUBLINGS: u32 = 3;

/// A backend.
pub struct Backend {
    id: BackendId,
    name: Box<str>,
    pub(super) to: Destination,
    /// What it is spoken to in.
    pub(super) protocol: Cell<Protocol>,
    /// How connections to it are sealed.
    tls: RefCell<Option<BackendTls>>,
    pub(super) idle: RefCell<IdleConnections>,
    /// Its HTTP/2 connections.
    pub(super) shared: Shared,
    /// Connections of this shard to it, idle ones included.
    pub(super) open: Cell<usize>,
    /// What control said that it gets. If that is nothing, an idle connection to it is not worth keeping.
    told: Cell<Traffic>,
    /// How often in a row it was left alone since a connect failed.
    unreached: Cell<u32>,
    outcome: RefCell<Outcome>,
    /// The outcome has changed in a way that control must hear of.
    unreported: Cell<bool>,
}

impl Backend {
    pub(super) fn new(plan: &BackendPlan, protocol: Protocol, idle_max: usize) -> Self {
        Self {
            id: plan.id,
            name: plan.name.as_str().into(),
            to: plan.address.clone(),
            protocol: Cell::new(protocol),
            tls: RefCell::new(plan.tls.clone()),
            idle: RefCell::new(IdleConnections::new(idle_max)),
            shared: Shared::default(),
            open: Cell::new(0),
            told: Cell::new(plan.initial),
            unreached: Cell::new(0),
            outcome: RefCell::default(),
            unreported: Cell::new(false),
        }
    }

    /// Its number in the process.
    pub fn id(&self) -> BackendId {
        self.id
    }

    /// Its name in the pool.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How connections to it are sealed; `None`: they are not.
    pub(super) fn tls(&self) -> Option<BackendTls> {
        self.tls.borrow().clone()
    }

    /// How connections to it are sealed from now on. If that is not as before, idle ones are of no use any more.
    pub(super) fn set_tls(&self, tls: Option<&BackendTls>) {
        if self.tls.borrow().as_ref() != tls {
            *self.tls.borrow_mut() = tls.cloned();
            self.close_idle();
        }
    }

    /// What control said that it gets.
    pub(super) fn told(&self) -> Traffic {
        self.told.get()
    }

    /// Whether it gets any exchange, as far as control is concerned.
    pub(super) fn is_served(&self) -> bool {
        self.told.get().admitted != Admitted::Nothing
    }

    /// What it gets from now on. If that is nothing, idle connections to it are closed.
    pub(super) fn tell(&self, traffic: Traffic) {
        self.told.set(traffic);
        if !self.is_served() {
            self.close_idle();
        }
    }

    /// It is spoken to in this protocol, and so many idle connections to it are kept.
    pub(super) fn change(&self, protocol: Protocol, idle_max: usize) {
        if self.protocol.replace(protocol) != protocol {
            self.close_idle();
        }
        self.idle.borrow_mut().set_max(idle_max);
    }

    /// Idle connections.
    pub(super) fn idle_len(&self) -> usize {
        self.idle.borrow().len() + self.shared.idle_len()
    }

    /// Closes the idle connection that was used least recently, if there is any.
    pub(super) fn close_oldest_idle(&self) {
        match self.protocol.get() {
            Protocol::Http1 => self.idle.borrow_mut().close_oldest(),
            Protocol::Http2 => self.shared.close_oldest(),
        }
    }

    /// Closes idle connections; those that exchanges share end with the last of them.
    pub(super) fn close_idle(&self) {
        self.idle.borrow_mut().close_all();
        self.shared.retire_all();
    }

    /// A connection was made.
    pub(super) fn reached(&self) {
        self.unreached.set(0);
    }

    /// A connect failed, of possibly many that were under way. Returns for how long it is left alone: a second, and twice as long each time.
    pub(super) fn not_reached(&self) -> Micros {
        let before = self.unreached.replace(self.unreached.get().saturating_add(1));
        Micros::from_s(1 << before.min(UNREACHED_DOUBLINGS))
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

    /// Whether the outcome is still to be reported.
    pub(super) fn is_unreported(&self) -> bool {
        self.unreported.get()
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
