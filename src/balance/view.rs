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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::Merger;
    use super::*;
    use proptest::prelude::*;

    const A: BackendId = BackendId(0);
    const B: BackendId = BackendId(1);

    fn snapshot(sequence: u64, totals: [u32; 2], own: [u32; 2]) -> Snapshot {
        let at = Instant::from_us(sequence * 1000);
        Snapshot { sequence, at, totals: totals.into(), own: own.into() }
    }

    #[test]
    fn in_flight_is_the_others_then_and_ones_own_now() {
        let view = View::new(0, 2);
        view.admit(A);
        view.admit(A);
        assert!(view.apply(&snapshot(1, [10, 4], [1, 0])));
        assert_eq!([view.in_flight(A), view.in_flight(B)], [11, 4]);
        view.release(A);
        assert_eq!([view.in_flight(A), view.own(A)], [10, 1]);
    }

    #[test]
    fn an_older_or_repeated_snapshot_changes_nothing() {
        let view = View::new(0, 2);
        assert_eq!(view.age(Instant::from_us(9000)), None);
        assert!(view.apply(&snapshot(5, [7, 7], [0, 0])));
        assert!(!view.apply(&snapshot(4, [1, 1], [0, 0])));
        assert!(!view.apply(&snapshot(5, [1, 1], [0, 0])));
        assert_eq!(view.in_flight(A), 7);
        assert_eq!(view.age(Instant::from_us(9000)), Some(Micros::from_ms(4)));
    }

    #[test]
    fn a_view_grows_by_what_it_hears_and_takes_what_is_missing_for_idle() {
        let view = View::new(0, 1);
        view.admit(B);
        assert_eq!([view.own(B), view.expected(B)], [1, 1], "admitted before anybody spoke of it");
        let of = |sequence, totals: &[u32], own: &[u32]| Snapshot {
            sequence,
            at: Instant::default(),
            totals: totals.into(),
            own: own.into(),
        };
        assert!(view.apply(&of(1, &[4, 3, 7], &[])));
        assert_eq!([0, 1, 2, 3].map(|id| view.in_flight(BackendId(id))), [4, 4, 7, 0]);
        view.grow(9);
        view.grow(1);
        assert!(view.apply(&of(2, &[5], &[1])));
        assert_eq!([0, 1, 2, 8].map(|id| view.in_flight(BackendId(id))), [4, 1, 0, 0]);
        assert_eq!(view.report().unwrap().in_flight.len(), 9);
    }

    #[test]
    fn a_number_that_is_given_again_begins_with_nothing_in_flight() {
        let (view, mut merger) = (View::new(0, 2), Merger::new(2, 2));
        view.admit(A);
        view.admit(B);
        merger.absorb(view.report().unwrap());
        view.release(B);
        assert!(view.apply(&snapshot(1, [5, 5], [1, 1])));
        assert!(merger.reset(B) && !merger.reset(B), "a total changed once");
        view.reset(B);
        assert_eq!([view.in_flight(A), view.in_flight(B), view.expected(B)], [5, 0, 0]);
        assert_eq!(*merger.totals(), [1, 0]);
        // What was under way counts the earlier backend; the report that is due makes an end of that.
        let late = Report { shard: 0, sequence: 2, in_flight: [1, 1].into(), outcomes: vec![] };
        let due = Report { sequence: 3, ..view.report().unwrap() };
        assert!(merger.absorb(late) && merger.absorb(due));
        assert_eq!(*merger.totals(), [1, 0]);
    }

    #[test]
    fn a_report_is_due_when_counts_differ_from_the_last_one() {
        let view = View::new(3, 2);
        assert_eq!(view.report(), None);
        view.admit(B);
        let report = Report { shard: 3, sequence: 1, in_flight: [0, 1].into(), outcomes: vec![] };
        assert_eq!(view.report(), Some(report));
        assert_eq!(view.report(), None);
        view.admit(A);
        view.release(A);
        assert_eq!(view.report(), None, "nothing has changed in the end");
        view.report_lost();
        let again = Report { shard: 3, sequence: 2, in_flight: [0, 1].into(), outcomes: vec![] };
        assert_eq!(view.report(), Some(again));
        assert_eq!(view.report(), None);
    }

    #[test]
    fn followers_are_expected_as_far_as_others_move() {
        let view = View::new(0, 2);
        // Forty tunnels that stand still: nobody follows.
        for sequence in 1..9 {
            assert!(view.apply(&snapshot(sequence, [40, 0], [0, 0])));
        }
        view.admit(B);
        assert_eq!([view.expected(A), view.expected(B)], [40, 1]);
        // The others move by 2 where this one moves by 1: four shards like it, since squares add up.
        for sequence in 9..40 {
            let (others, own) = (40 + 2 * (sequence % 2) as u32, (sequence % 2) as u32);
            assert!(view.apply(&snapshot(sequence, [others, own], [0, own])));
        }
        assert_eq!(view.expected(B), 1, "as the snapshot had it");
        view.admit(B);
        assert_eq!([view.in_flight(B), view.expected(B)], [2, 1 + 1 + 4]);
        view.release(B);
        view.release(B);
        assert_eq!(view.expected(B), 0, "never below nothing");
    }

    #[test]
    fn an_idle_shard_among_busy_ones_overflows_nothing() {
        let view = View::new(0, 1);
        for sequence in 1..5 {
            let total = u32::MAX * (sequence % 2) as u32;
            let snapshot =
                Snapshot { totals: [total].into(), own: [0].into(), ..snapshot(sequence, [0; 2], [0; 2]) };
            assert!(view.apply(&snapshot));
            view.admit(A);
            assert!(view.expected(A) >= 1);
        }
    }

    #[test]
    fn a_shard_that_ended_counts_zero() {
        let (ended, view) = (View::new(1, 2), View::new(0, 2));
        let mut merger = Merger::new(2, 2);
        ended.admit(A);
        assert!(merger.absorb(ended.report().unwrap()));
        assert_eq!(merger.of_shard(1), [1, 0]);
        ended.admit(A);
        let late = ended.report().unwrap();
        assert!(merger.forget(1), "a total changed");
        assert!(!merger.absorb(late), "still under way when the shard ended");
        assert!(!merger.forget(1) && !merger.forget(9));
        assert!(view.apply(&merger.merge(Instant::default()).for_shard(0)));
        assert_eq!((view.in_flight(A), &*merger.totals()), (0, &[0, 0][..]));
    }

    #[test]
    fn only_a_newer_report_that_says_something_else_makes_a_merge_due() {
        let mut merger = Merger::new(1, 2);
        let report = |shard, sequence, in_flight: &[u32]| Report {
            shard,
            sequence,
            in_flight: in_flight.into(),
            outcomes: vec![],
        };
        for (case, report, expected) in [
            ("first, idle", report(0, 1, &[0, 0]), false),
            ("busy", report(0, 3, &[1, 0]), true),
            ("doubled", report(0, 3, &[1, 0]), false),
            ("overtaken", report(0, 2, &[9, 9]), false),
            ("newer, the same", report(0, 4, &[1, 0]), false),
            ("no such shard", report(1, 6, &[9, 9]), false),
            ("longer by an idle one", report(0, 7, &[1, 0, 0]), false),
            ("longer by a busy one", report(0, 8, &[1, 0, 0, 2]), true),
            ("shorter", report(0, 9, &[1]), true),
            ("nothing", report(0, 10, &[]), true),
        ] {
            assert_eq!(merger.absorb(report), expected, "{case}");
        }
        assert_eq!(*merger.totals(), [0, 0], "as many as it was made for");
        merger.grow(3);
        assert_eq!(*merger.totals(), [0, 0, 0]);
    }

    /// What may happen among three shards and control. Messages lie in a pile, from which any is
    /// delivered, once or often or never.
    #[derive(Clone, Debug)]
    enum Step {
        Admit(usize, u32),
        Release(usize, u32),
        Report(usize),
        DeliverReport(prop::sample::Index),
        Merge,
        DeliverSnapshot(usize, prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..3_usize, 0..2_u32).prop_map(|(shard, backend)| Step::Admit(shard, backend)),
            2 => (0..3_usize, 0..2_u32).prop_map(|(shard, backend)| Step::Release(shard, backend)),
            2 => (0..3_usize).prop_map(Step::Report),
            2 => any::<prop::sample::Index>().prop_map(Step::DeliverReport),
            1 => Just(Step::Merge),
            2 => (0..3_usize, any::<prop::sample::Index>()).prop_map(|(shard, at)| Step::DeliverSnapshot(shard, at)),
        ]
    }

    proptest! {
        #[test]
        fn views_heal_whatever_was_lost_doubled_or_reordered(steps in prop::collection::vec(step(), 0..120)) {
            let views = [0, 1, 2].map(|shard| View::new(shard, 2));
            let mut merger = Merger::new(3, 2);
            let (mut reports, mut rounds) = (vec![], vec![]);
            let mut own = [[0_u32; 2]; 3];
            for step in steps {
                match step {
                    Step::Admit(shard, backend) => {
                        views[shard].admit(BackendId(backend));
                        own[shard][backend as usize] += 1;
                    }
                    Step::Release(shard, backend) if own[shard][backend as usize] > 0 => {
                        views[shard].release(BackendId(backend));
                        own[shard][backend as usize] -= 1;
                    }
                    Step::Release(..) => {}
                    Step::Report(shard) => reports.extend(views[shard].report()),
                    Step::DeliverReport(at) if !reports.is_empty() => {
                        merger.absorb(at.get(&reports).clone());
                    }
                    Step::DeliverReport(_) => {}
                    Step::Merge => rounds.push(merger.merge(Instant::default())),
                    Step::DeliverSnapshot(shard, at) if !rounds.is_empty() => {
                        views[shard].apply(&at.get(&rounds).for_shard(shard as u16));
                    }
                    Step::DeliverSnapshot(..) => {}
                }
                for (view, own) in views.iter().zip(&own) {
                    prop_assert_eq!([view.own(A), view.own(B)], *own);
                    prop_assert!(view.in_flight(A) >= own[0] && view.in_flight(A) < 1000);
                }
            }
            // One message each way arrives at last; the one that carried a change may have been lost.
            for view in &views {
                view.report_lost();
                merger.absorb(view.report().unwrap());
            }
            let round = merger.merge(Instant::default());
            for (shard, view) in (0..).zip(&views) {
                prop_assert!(view.apply(&round.for_shard(shard)));
                for backend in [A, B] {
                    let sum: u32 = own.iter().map(|own| own[backend.0 as usize]).sum();
                    prop_assert_eq!(view.in_flight(backend), sum);
                    prop_assert_eq!(view.expected(backend), sum);
                }
            }
        }
    }
}
