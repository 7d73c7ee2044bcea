//! A shard's view of all in-flight counts: its own exact, the others' as of the last snapshot.
//!
//! `in_flight` is the snapshot's total − the shard's own share in that snapshot + its own count now.
//! A shard that added its own ±1 to a shared total would count itself twice as soon as the total
//! caught up, and would stay wrong for ever after one lost message; here a lost or late message is
//! wrong until the next.
//!
//! That is what is known. What a policy should reckon with is [`View::expected`]: other shards see the
//! same stale minimum and fill it at the same time, so all herd to it, and worse than if they knew
//! nothing of each other (`herd.rs` simulates it: eight shards, messages up to 5 ms late, 20 % lost, 20
//! in flight a backend: busiest minus idlest 14 on average over views alone, 4.7 with no views at
//! all). So whatever this shard has done since the snapshot, the others are expected to have done as
//! well, as many times over as their counts have lately moved more than its own. That spread is 4.5,
//! and falls to 3.7 where messages are on time; where others are quiet it changes nothing.
//!
//! Everything takes `&self`, so that a shard keeps one `Rc<View>` and in-flight guards give back through
//! it while snapshots arrive and backends come. It grows to the highest number that it hears of and
//! never shrinks: numbers are dense and given again ([`View::reset`]). Read by the policies at each pick;
//! fed by `shard` when a snapshot arrives; counted in `upstream`.

use super::{BackendId, Report, Snapshot};
use crate::time::{Instant, Micros};
use std::cell::{Cell, Ref, RefCell};

/// What one shard knows of a backend.
#[derive(Default)]
struct Counts {
    /// This shard's exchanges in flight, now.
    own: Cell<u32>,
    /// The other shards', as of the last snapshot.
    others: Cell<u32>,
    /// `own` as that snapshot had it.
    merged: Cell<u32>,
    /// `own` as this shard last reported it.
    reported: Cell<u32>,
}

impl Counts {
    #[inline]
    fn expected(&self, followers: i64) -> u32 {
        let own = i64::from(self.own.get());
        let unseen = own - i64::from(self.merged.get());
        let expected = i64::from(self.others.get()) + own + followers * unseen;
        expected.clamp(0, EXPECTED_MAX) as u32
    }
}

/// The most exchanges that are expected on a backend: one more still fits an `i32`, in which
/// `least_conn` reckons.
const EXPECTED_MAX: i64 = i32::MAX as i64 - 1;
/// How much weight the last snapshot has in what is known of the counts' movements.
const MOVEMENT_SHARE: f64 = 0.25;
/// A shard that is idle among busy ones would expect any number of followers; more than this changes
/// no choice.
const FOLLOWERS_MAX: f64 = 255.0;

/// Everything by [`BackendId`]. Borrowed for writing only to grow.
#[derive(Default)]
struct Table {
    backends: Vec<Counts>,
    /// What [`View::expected`] answers: kept up at every change, of which there is one or two an exchange,
    /// because a pick reads it for the whole pool.
    expected: Vec<Cell<u32>>,
}

/// A shard's picture of all in-flight counts.
pub struct View {
    shard: u16,
    table: RefCell<Table>,
    /// The last snapshot's sequence number; 0 before the first.
    snapshot: Cell<u64>,
    /// When control merged that snapshot.
    merged_at: Cell<Instant>,
    /// The last report's sequence number; 0 before the first.
    report: Cell<u64>,
    /// The last report never left: the next is due even if nothing changed since.
    report_lost: Cell<bool>,
    /// Smoothed sum of the squares of what a snapshot changes, of the others' counts and this shard's
    /// share: for N shards that move alike but independently, N times as much as one's.
    others_moved: Cell<f64>,
    own_moved: Cell<f64>,
    /// How many shards as busy as this one the others are.
    followers: Cell<i64>,
}

impl View {
    /// Of shard number `shard` over `backends` backends: everything idle, nothing reported.
    pub fn new(shard: u16, backends: usize) -> Self {
        let view = Self {
            shard,
            table: RefCell::default(),
            snapshot: Cell::new(0),
            merged_at: Cell::new(Instant::default()),
            report: Cell::new(0),
            report_lost: Cell::new(false),
            others_moved: Cell::new(0.0),
            own_moved: Cell::new(0.0),
            followers: Cell::new(0),
        };
        view.grow(backends);
        view
    }

    /// From here on there are `backends` backends at least; further ones are idle. Whoever is known
    /// stays as it is.
    pub fn grow(&self, backends: usize) {
        if self.table.borrow().backends.len() < backends {
            let mut table = self.table.borrow_mut();
            table.backends.resize_with(backends, Counts::default);
            table.expected.resize(backends, Cell::new(0));
        }
    }

    /// The number was given to another backend, which has nothing in flight. A report is due in any case:
    /// one of the earlier backend's may still be under way.
    pub fn reset(&self, backend: BackendId) {
        self.grow(backend.0 as usize + 1);
        self.at(backend, |counts, expected| {
            debug_assert_eq!(counts.own.get(), 0, "given again while in use: {backend:?}");
            for count in [&counts.own, &counts.others, &counts.merged, expected] {
                count.set(0);
            }
        });
        self.report_lost();
    }

    /// Takes a snapshot in. `false`: it is not newer than the last one, and nothing changed. Backends
    /// beyond its end have nothing in flight; of those beyond this view's end, of which this shard has
    /// not heard yet, the counts are kept for when it does.
    pub fn apply(&self, snapshot: &Snapshot) -> bool {
        if snapshot.sequence <= self.snapshot.get() {
            return false;
        }
        self.grow(snapshot.totals.len());
        let (mut others_moved, mut own_moved) = (0.0, 0.0);
        let table = self.table.borrow();
        for (id, counts) in table.backends.iter().enumerate() {
            let of = |counts: &[u32]| counts.get(id).copied().unwrap_or(0);
            let (total, own) = (of(&snapshot.totals), of(&snapshot.own));
            let others = total.saturating_sub(own);
            others_moved += f64::from(others.abs_diff(counts.others.replace(others))).powi(2);
            own_moved += f64::from(own.abs_diff(counts.merged.replace(own))).powi(2);
        }
        // The first snapshot is where movement is measured from.
        if self.snapshot.get() > 0 {
            self.expect_followers(others_moved, own_moved);
        }
        for (expected, counts) in table.expected.iter().zip(&table.backends) {
            expected.set(counts.expected(self.followers.get()));
        }
        self.snapshot.set(snapshot.sequence);
        self.merged_at.set(snapshot.at);
        true
    }

    /// Exchanges in flight on a backend over all shards, as far as this shard knows.
    #[inline]
    pub fn in_flight(&self, backend: BackendId) -> u32 {
        self.at(backend, |counts, _| counts.others.get().saturating_add(counts.own.get())).unwrap_or(0)
    }

    /// Exchanges to reckon with on a backend: [`View::in_flight`], and what the other shards are
    /// expected to have done since the snapshot, on the same knowledge as this one. Below
    /// `i32::MAX`.
    #[inline]
    pub fn expected(&self, backend: BackendId) -> u32 {
        self.at(backend, |_, expected| expected.get()).unwrap_or(0)
    }

    /// [`View::expected`] by [`BackendId`], for a pick, which reads many; those beyond its end are idle.
    #[inline]
    pub(super) fn expectations(&self) -> Ref<'_, [Cell<u32>]> {
        Ref::map(self.table.borrow(), |table| table.expected.as_slice())
    }

    /// This shard's own exchanges in flight on a backend: exact.
    #[inline]
    pub fn own(&self, backend: BackendId) -> u32 {
        self.at(backend, |counts, _| counts.own.get()).unwrap_or(0)
    }

    /// One more exchange of this shard is in flight on `backend`. To be called at the pick, before
    /// anything is awaited, and paired with [`View::release`] by a guard.
    #[inline]
    pub fn admit(&self, backend: BackendId) {
        let admitted = self.at(backend, |counts, expected| {
            counts.own.set(counts.own.get().saturating_add(1));
            expected.set(counts.expected(self.followers.get()));
        });
        if admitted.is_none() {
            self.grow(backend.0 as usize + 1);
            self.admit(backend);
        }
    }

    /// One exchange fewer. One that was never admitted is a fault of the caller: caught in tests,
    /// and in production without effect, since a count below zero would attract every request.
    #[inline]
    pub fn release(&self, backend: BackendId) {
        let released = self.at(backend, |counts, expected| {
            let own = counts.own.get();
            counts.own.set(own.saturating_sub(1));
            expected.set(counts.expected(self.followers.get()));
            own > 0
        });
        debug_assert_eq!(released, Some(true), "released more often than admitted: {backend:?}");
    }

    /// How old the others' counts are; `None` before the first snapshot.
    pub fn age(&self, now: Instant) -> Option<Micros> {
        (self.snapshot.get() > 0).then(|| now.since(self.merged_at.get()))
    }

    /// The shard's counts for control; `None` when they are what the last report said. Whoever could
    /// not send what this returned says so with [`View::report_lost`].
    pub fn report(&self) -> Option<Report> {
        let table = self.table.borrow();
        let changed = table.backends.iter().any(|counts| counts.own != counts.reported);
        if !changed && !self.report_lost.get() {
            return None;
        }
        self.report_lost.set(false);
        self.report.set(self.report.get() + 1);
        let in_flight = table.backends.iter().map(|counts| {
            counts.reported.set(counts.own.get());
            counts.own.get()
        });
        Some(Report {
            shard: self.shard,
            sequence: self.report.get(),
            in_flight: in_flight.collect(),
            outcomes: Vec::new(),
        })
    }

    /// The last report did not reach control's mailbox: [`View::report`] makes one next time in any
    /// case. Without this, a shard that falls idle after a full mailbox would count busy for ever.
    pub fn report_lost(&self) {
        self.report_lost.set(true);
    }

    fn expect_followers(&self, others_moved: f64, own_moved: f64) {
        let smooth = |moved: &Cell<f64>, now: f64| {
            moved.set(moved.get() + (now - moved.get()) * MOVEMENT_SHARE);
            moved.get()
        };
        let others = smooth(&self.others_moved, others_moved);
        let own = smooth(&self.own_moved, own_moved);
        let followers = if others > 0.0 { (others / own).min(FOLLOWERS_MAX) } else { 0.0 };
        self.followers.set(followers.round() as i64);
    }

    /// Does something with what is known of a backend; `None`: it lies beyond the end.
    #[inline]
    fn at<R>(&self, backend: BackendId, act: impl FnOnce(&Counts, &Cell<u32>) -> R) -> Option<R> {
        let table = self.table.borrow();
        let id = backend.0 as usize;
        Some(act(table.backends.get(id)?, table.expected.get(id)?))
    }
}
