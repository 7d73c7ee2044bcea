//! Which ejected members are tried again on one shard, and when the next trial is due.
//!
//! A trial is an exchange that can be retried elsewhere, so that a client loses nothing by it if the
//! backend is still sick. A member has one in flight at most on each shard, and they begin `gap` apart.
//! One that is due goes ahead of the policy's choice: `least_conn` or the turns might not come to it for
//! long, and `ip_hash` only for a client of its own. Used by `Picker`.

use crate::time::{Instant, Micros};

#[derive(Clone, Copy, Default)]
struct Attempts {
    /// Between the begins of two trials; `None`: the member is not on trial.
    gap: Option<Micros>,
    /// When the last one began.
    began: Option<Instant>,
    in_flight: bool,
}

/// The trials of a pool.
pub(super) struct Trials {
    of: Box<[Attempts]>,
    /// The members on trial.
    open: Vec<usize>,
}

impl Trials {
    /// Of a pool of `members`, none of which is on trial.
    pub(super) fn new(members: usize) -> Self {
        Self { of: vec![Attempts::default(); members].into(), open: Vec::new() }
    }

    /// Whether no member is on trial.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// A member is on trial from here on, or no longer. One that is in flight stays in flight.
    pub(super) fn set(&mut self, member: usize, gap: Option<Micros>) {
        self.open.retain(|&open| open != member);
        self.of[member].gap = gap;
        if gap.is_some() {
            self.open.push(member);
        }
    }

    /// What was tried on `member` of `earlier` counts here for `here`.
    pub(super) fn take_over(&mut self, earlier: &Self, member: usize, here: usize) {
        self.of[here] = Attempts { gap: self.of[here].gap, ..earlier.of[member] };
    }

    /// Of the members on trial that `may_be` accepts the one that is due for longest; its trial begins.
    pub(super) fn begin(&mut self, now: Instant, may_be: impl Fn(usize) -> bool) -> Option<usize> {
        let is_due = |&member: &usize| {
            let Attempts { gap, began, in_flight } = self.of[member];
            let waited = began.is_none_or(|began| gap.is_some_and(|gap| now.since(began) >= gap));
            !in_flight && waited && may_be(member)
        };
        let due = self.open.iter().copied().filter(is_due).min_by_key(|&member| self.of[member].began)?;
        self.of[due] = Attempts { began: Some(now), in_flight: true, ..self.of[due] };
        Some(due)
    }

    /// The member's trial has ended.
    pub(super) fn end(&mut self, member: usize) {
        self.of[member].in_flight = false;
    }
}
