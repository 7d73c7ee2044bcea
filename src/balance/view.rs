//! A shard's view of all in-flight counts: its own exact, the others' as of the last snapshot.
//!
//! `in_flight` is the snapshot's total − the shard's own share in that snapshot + its own count now.
//! A shard that added its own ±1 to a shared total would count itself twice as soon as the total
//! caught up, and would stay wrong for ever after one lost message; here a lost or late message is
//! wrong until the next.
//!
//! Everything is in `Cell`s and takes `&self`, so that a shard keeps one `Rc<View>` and in-flight
//! guards give back through it while snapshots arrive. Read by the policies at each pick; fed by
//! `shard` when a snapshot arrives; counted in `upstream`.

use super::{BackendId, Report, Snapshot};
use crate::time::{Instant, Micros};
use std::cell::Cell;

/// What one shard knows of a backend.
#[derive(Default)]
struct Counts {
    /// This shard's exchanges in flight, now.
    own: Cell<u32>,
    /// The other shards', as of the last snapshot.
    others: Cell<u32>,
    /// `own` as this shard last reported it.
    reported: Cell<u32>,
}

/// A shard's picture of all in-flight counts.
pub struct View {
    shard: u16,
    backends: Box<[Counts]>,
    /// The last snapshot's sequence number; 0 before the first.
    snapshot: Cell<u64>,
    /// When control merged that snapshot.
    merged_at: Cell<Instant>,
    /// The last report's sequence number; 0 before the first.
    report: Cell<u64>,
    /// The last report never left: the next is due even if nothing changed since.
    report_lost: Cell<bool>,
}

impl View {
    /// Of shard number `shard` over `backends` backends: everything idle, nothing reported.
    pub fn new(shard: u16, backends: usize) -> Self {
        Self {
            shard,
            backends: (0..backends).map(|_| Counts::default()).collect(),
            snapshot: Cell::new(0),
            merged_at: Cell::new(Instant::default()),
            report: Cell::new(0),
            report_lost: Cell::new(false),
        }
    }

    /// Takes a snapshot in. `false`: it is not newer than the last one, or counts another number of
    /// backends, and nothing changed.
    pub fn apply(&self, snapshot: &Snapshot) -> bool {
        let fits = snapshot.totals.len() == self.backends.len() && snapshot.own.len() == self.backends.len();
        if !fits || snapshot.sequence <= self.snapshot.get() {
            return false;
        }
        for ((counts, &total), &own) in self.backends.iter().zip(&*snapshot.totals).zip(&*snapshot.own) {
            counts.others.set(total.saturating_sub(own));
        }
        self.snapshot.set(snapshot.sequence);
        self.merged_at.set(snapshot.at);
        true
    }

    /// Exchanges in flight on a backend over all shards, as far as this shard knows.
    #[inline]
    pub fn in_flight(&self, backend: BackendId) -> u32 {
        let counts = self.counts(backend);
        counts.others.get().saturating_add(counts.own.get())
    }

    /// This shard's own exchanges in flight on a backend: exact.
    #[inline]
    pub fn own(&self, backend: BackendId) -> u32 {
        self.counts(backend).own.get()
    }

    /// One more exchange of this shard is in flight on `backend`. To be called at the pick, before
    /// anything is awaited, and paired with [`View::release`] by a guard.
    #[inline]
    pub fn admit(&self, backend: BackendId) {
        let own = &self.counts(backend).own;
        own.set(own.get().saturating_add(1));
    }

    /// One exchange fewer. One that was never admitted is a fault of the caller: caught in tests,
    /// and in production without effect, since a count below zero would attract every request.
    #[inline]
    pub fn release(&self, backend: BackendId) {
        let own = &self.counts(backend).own;
        debug_assert!(own.get() > 0, "released more often than admitted: {backend:?}");
        own.set(own.get().saturating_sub(1));
    }

    /// How old the others' counts are; `None` before the first snapshot.
    pub fn age(&self, now: Instant) -> Option<Micros> {
        (self.snapshot.get() > 0).then(|| now.since(self.merged_at.get()))
    }

    /// The shard's counts for control; `None` when they are what the last report said. Whoever could
    /// not send what this returned says so with [`View::report_lost`].
    pub fn report(&self) -> Option<Report> {
        let changed = self.backends.iter().any(|counts| counts.own != counts.reported);
        if !changed && !self.report_lost.get() {
            return None;
        }
        self.report_lost.set(false);
        self.report.set(self.report.get() + 1);
        let in_flight = self.backends.iter().map(|counts| {
            counts.reported.set(counts.own.get());
            counts.own.get()
        });
        Some(Report { shard: self.shard, sequence: self.report.get(), in_flight: in_flight.collect() })
    }

    /// The last report did not reach control's mailbox: [`View::report`] makes one next time in any
    /// case. Without this, a shard that falls idle after a full mailbox would count busy for ever.
    pub fn report_lost(&self) {
        self.report_lost.set(true);
    }

    #[inline]
    fn counts(&self, backend: BackendId) -> &Counts {
        &self.backends[backend.0 as usize]
    }
}
