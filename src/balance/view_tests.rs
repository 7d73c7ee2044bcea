//! Views and the merger: what is known, whatever was lost, late or given again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::time::{Instant, Micros};
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
