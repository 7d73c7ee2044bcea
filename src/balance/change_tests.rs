//! What a pool's operator sees of slow starts, trials and changes of the members.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::tests::{ANY, members};
use super::*;
use crate::config::Policy;
use crate::health::Ramp;
use crate::time::{Instant, Micros};
use proptest::prelude::*;

const POLICIES: [Policy; 4] = [Policy::RoundRobin, Policy::LeastConn, Policy::IpHash, Policy::RandomTwo];

fn ramp(began_ms: u64, length_ms: u64) -> Traffic {
    let ramp = Ramp { began: at(began_ms), length: Micros::from_ms(length_ms) };
    Traffic { admitted: Admitted::All, ramp: Some(ramp) }
}

fn trials(gap_ms: u64) -> Traffic {
    Traffic { admitted: Admitted::Trials { gap: Micros::from_ms(gap_ms) }, ramp: None }
}

fn at(ms: u64) -> Instant {
    Instant::from_us(ms * 1000)
}

/// Member 0's share of `picks` at `now` by clients of their own; who is not member 0 stays in flight.
fn share_among_busy(picker: &mut Picker, picks: u64, now: Instant) -> f64 {
    let view = View::new(0, picker.members().len());
    let picked = (0..picks).filter(|&n| {
        let asked = Asked { client: name_hash(&n.to_string()), now, ..ANY };
        let member = picker.pick(&view, &asked).unwrap();
        if member > 0 {
            view.admit(picker.members()[member].id);
        }
        member == 0
    });
    picked.count() as f64 / picks as f64
}

#[test]
fn one_in_slow_start_gets_its_share_and_an_idle_one_no_more_than_the_bound() {
    for policy in POLICIES {
        let mut pool = members(&[2, 3, 3, 2]);
        pool[0].traffic = ramp(1000, 10_000);
        let mut picker = Picker::new(policy, &pool, 3);
        for (now, share) in [(1000, 0.05), (3000, 0.24), (6000, 0.525), (10_990, 0.999)] {
            let wanted = 2.0 * share / (8.0 + 2.0 * share);
            let got = share_among_busy(&mut picker, 40_000, at(now)) / wanted;
            println!("{policy:?} at {now} ms: {got:.3} of its ramp");
            assert!((0.8..1.54).contains(&got), "{policy:?} at {now} ms: {got:.3} of its ramp");
        }
        // Over, and idle among busy ones: whoever looks at the view sends it everything.
        let got = share_among_busy(&mut picker, 40_000, at(11_000));
        let wanted = if policy == Policy::LeastConn { 1.0 } else { 0.2 };
        assert!(got > 0.95 * wanted, "{policy:?}: {got}");
    }
}

#[test]
fn weights_are_honoured_exactly_once_all_ramps_are_over() {
    let mut pool = members(&[1, 2, 5]);
    for (n, member) in (0..).zip(&mut pool) {
        member.traffic = ramp(n * 500, 2000);
    }
    let (mut picker, view) = (Picker::new(Policy::RoundRobin, &pool, 1), View::new(0, 3));
    for ms in 0..3000 {
        picker.pick(&view, &Asked { now: at(ms), ..ANY }).unwrap();
    }
    let mut counts = [0; 3];
    (0..8000).for_each(|_| counts[picker.pick(&view, &Asked { now: at(3001), ..ANY }).unwrap()] += 1);
    assert_eq!(counts, [1000, 2000, 5000]);
}

#[test]
fn those_that_ramp_together_share_by_weight_and_one_alone_gets_everything() {
    for policy in POLICIES {
        let mut pool = members(&[1, 3]);
        pool.iter_mut().for_each(|member| member.traffic = ramp(0, 1000));
        let mut picker = Picker::new(policy, &pool, 1);
        let view = View::new(0, 2);
        let first = (0..40_000_u64)
            .filter(|n| picker.pick(&view, &Asked { client: name_hash(&n.to_string()), ..ANY }) == Some(0));
        let share = first.count() as f64 / 40_000.0;
        assert!((0.2..0.3).contains(&share), "{policy:?}: {share}");
        picker.set_traffic(1, Traffic::NOTHING);
        assert!((0..100).all(|_| picker.pick(&view, &ANY) == Some(0)), "{policy:?}: there is nobody else");
        picker.set_traffic(1, ramp(0, 1000));
        let tried = [BackendId(1)];
        assert!((0..100).all(|_| picker.pick(&view, &Asked { tried: &tried, ..ANY }) == Some(0)));
    }
}

#[test]
fn shards_that_hear_of_a_newcomer_together_do_not_all_send_to_it_together() {
    for policy in POLICIES {
        let mut pickers: Vec<_> = (0..64).map(|n| Picker::new(policy, &members(&[1; 4]), n)).collect();
        let view = View::new(0, 5);
        let mut pool = members(&[1; 5]);
        pool[4].traffic = ramp(0, 10_000);
        let mut to_newcomer = Vec::new();
        for picker in &mut pickers {
            (0..100).for_each(|_| _ = picker.pick(&view, &ANY));
            picker.change(policy, &pool);
        }
        // In each round every shard picks once: 64 × 0.05/4.05 = 0.8 of them is the ramp.
        for round in 0..200_u64 {
            let client = name_hash(&round.to_string());
            let asked = Asked { client, ..ANY };
            to_newcomer.push(
                pickers
                    .iter_mut()
                    .filter_map(|picker| picker.pick(&view, &asked))
                    .filter(|&m| m == 4)
                    .count(),
            );
        }
        let windows: Vec<usize> = to_newcomer.chunks(50).map(|rounds| rounds.iter().sum()).collect();
        println!("{policy:?}: {windows:?} of 3200 each, 40 is the ramp");
        if policy != Policy::IpHash {
            assert!(windows.iter().all(|&picks| picks < 80), "{policy:?}: {windows:?}");
        }
    }
}

/// The next turns of those that were there from the beginning.
fn turns(picker: &mut Picker, count: usize) -> Vec<u32> {
    let view = View::new(0, 8);
    let turns = std::iter::repeat_with(|| {
        let member = picker.pick(&view, &ANY).unwrap();
        picker.members()[member].id.0
    });
    turns.filter(|&id| id < 4).take(count).collect()
}

#[test]
fn a_change_of_one_member_leaves_the_turns_of_the_others() {
    for policy in [Policy::RoundRobin, Policy::LeastConn] {
        let pool = members(&[3, 1, 2, 4]);
        let (mut changed, mut same) = (Picker::new(policy, &pool, 5), Picker::new(policy, &pool, 5));
        assert_eq!(turns(&mut changed, 7), turns(&mut same, 7));
        let mut more = members(&[3, 1, 2, 4, 2]);
        more.rotate_right(1);
        changed.change(policy, &more);
        changed.change(policy, &pool);
        assert_eq!(turns(&mut changed, 100), turns(&mut same, 100), "{policy:?}: one came and went");
        changed.change(policy, &more);
        let (mut found, wanted) = (turns(&mut changed, 100), turns(&mut same, 100));
        let moved = found.iter().zip(&wanted).filter(|(found, wanted)| found != wanted).count();
        assert!(moved <= 25, "{policy:?}: one came, {moved} turns of 100 are another's");
        found.sort_unstable();
        let of = |id: u32| found.iter().filter(|&&found| found == id).count();
        assert_eq!([0, 1, 2, 3].map(of), [30, 10, 20, 40], "{policy:?}");
    }
}

#[test]
fn who_stays_keeps_its_traffic_and_who_is_new_begins_with_its_own() {
    let mut picker = Picker::new(Policy::IpHash, &members(&[1, 1, 1]), 0);
    picker.set_traffic(1, Traffic::NOTHING);
    let mut next = members(&[1, 1, 5, 1]);
    next[3].traffic = trials(5);
    next.swap(0, 1);
    picker.change(Policy::RoundRobin, &next);
    let found = picker.members().iter().map(|member| member.traffic);
    assert!(found.eq([Traffic::NOTHING, Traffic::ALL, Traffic::ALL, trials(5)]));
    assert!(picker.is_trial(3) && picker.usable_count() == 2);
}

#[test]
fn a_trial_goes_first_when_it_is_due_and_only_with_what_can_be_retried() {
    for policy in POLICIES {
        let mut pool = members(&[1, 1, 1]);
        pool[2].traffic = trials(100);
        let (mut picker, view) = (Picker::new(policy, &pool, 0), View::new(0, 3));
        let is_trial = |picker: &mut Picker, ms: u64, may_retry: bool, tried: &[BackendId]| {
            let member = picker.pick(&view, &Asked { client: 9, tried, may_retry, now: at(ms) }).unwrap();
            assert_eq!(picker.is_trial(member), member == 2);
            member == 2
        };
        assert!(!is_trial(&mut picker, 0, false, &[]), "{policy:?}: may not be retried");
        assert!(!is_trial(&mut picker, 0, true, &[BackendId(2)]), "{policy:?}: has tried it");
        assert!(is_trial(&mut picker, 0, true, &[BackendId(1)]), "{policy:?}: the first");
        assert!(!is_trial(&mut picker, 500, true, &[]), "{policy:?}: one is in flight");
        picker.change(policy, &pool[1..]);
        picker.change(policy, &pool);
        picker.trial_over(BackendId(2));
        picker.trial_over(BackendId(77));
        assert!(is_trial(&mut picker, 500, true, &[]), "{policy:?}");
        picker.trial_over(BackendId(2));
        assert!(!is_trial(&mut picker, 599, true, &[]), "{policy:?}: the gap is not over");
        assert!(is_trial(&mut picker, 600, true, &[]), "{policy:?}");
        // It leaves while its trial is in flight.
        picker.change(policy, &pool[..2]);
        assert!(!is_trial(&mut picker, 900, true, &[]));
        picker.trial_over(BackendId(2));
    }
}

#[test]
fn a_trial_is_no_last_resort() {
    for policy in POLICIES {
        let mut pool = members(&[1, 1]);
        pool[0].traffic = trials(100);
        pool[1].traffic = Traffic::NOTHING;
        let (mut picker, view) = (Picker::new(policy, &pool, 0), View::new(0, 2));
        assert_eq!(picker.pick(&view, &Asked { may_retry: false, ..ANY }), None, "{policy:?}");
        assert_eq!(picker.pick(&view, &ANY), Some(0), "{policy:?}: due");
        assert_eq!(picker.pick(&view, &ANY), None, "{policy:?}: in flight");
        picker.trial_over(BackendId(0));
        assert_eq!(picker.pick(&view, &ANY), None, "{policy:?}: the gap");
        assert_eq!(picker.usable_count(), 0);
    }
}

#[test]
fn of_several_on_trial_the_one_that_waits_longest_goes_first_and_backups_only_for_want_of_primaries() {
    let mut pool = members(&[1; 4]);
    pool[1].traffic = trials(0);
    pool[2].traffic = trials(0);
    pool[3].traffic = trials(0);
    pool[3].backup = true;
    let (mut picker, view) = (Picker::new(Policy::LeastConn, &pool, 0), View::new(0, 4));
    let picks = |picker: &mut Picker, ms: u64| {
        let member = picker.pick(&view, &Asked { now: at(ms), ..ANY }).unwrap();
        picker.trial_over(BackendId(member as u32));
        member
    };
    assert_eq!([1, 2, 3, 4].map(|ms| picks(&mut picker, ms)), [1, 2, 1, 2]);
    for primary in 0..3 {
        picker.set_traffic(primary, Traffic::NOTHING);
    }
    assert_eq!(picks(&mut picker, 5), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Traffic(prop::sample::Index, Traffic),
    Change(Policy, Vec<(u32, u16, bool, Traffic)>),
    Pick { client: u64, tried: Vec<u32>, may_retry: bool, later_ms: u64 },
    TrialOver(u32),
}

fn traffic() -> impl Strategy<Value = Traffic> {
    prop_oneof![
        3 => Just(Traffic::ALL),
        2 => Just(Traffic::NOTHING),
        2 => (0..200_u64, 0..100_u64).prop_map(|(began, length)| ramp(began, length)),
        2 => (0..50_u64).prop_map(trials),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let member = (0..12_u32, 0..300_u16, any::<bool>(), traffic());
    prop_oneof![
        2 => (any::<prop::sample::Index>(), traffic()).prop_map(|(at, traffic)| Step::Traffic(at, traffic)),
        1 => (prop::sample::select(&POLICIES), prop::collection::vec(member, 0..8))
            .prop_map(|(policy, members)| Step::Change(policy, members)),
        6 => (any::<u64>(), prop::collection::vec(0..14_u32, 0..4), any::<bool>(), 0..20_u64)
            .prop_map(|(client, tried, may_retry, later_ms)| Step::Pick { client, tried, may_retry, later_ms }),
        2 => (0..14_u32).prop_map(Step::TrialOver),
    ]
}

proptest! {
    #[test]
    fn a_pick_keeps_all_rules_whatever_changes(steps in prop::collection::vec(step(), 1..80), seed: u64) {
        let (mut picker, view) = (Picker::new(Policy::LeastConn, &members(&[1, 2]), seed), View::new(0, 14));
        // By backend: when its last trial began, and whether it is in flight.
        let mut tried_at: [(Option<u64>, bool); 14] = Default::default();
        let mut ms = 0;
        for step in steps {
            match step {
                Step::Traffic(at, traffic) if !picker.members().is_empty() => {
                    picker.set_traffic(at.index(picker.members().len()), traffic);
                }
                Step::Traffic(..) => {}
                Step::Change(policy, pool) => {
                    let mut next: Vec<Member> = Vec::new();
                    for (id, weight, backup, traffic) in pool {
                        if next.iter().all(|member| member.id.0 != id) {
                            next.push(Member { id: BackendId(id), weight, backup, key: name_hash(&id.to_string()), traffic });
                        }
                    }
                    let was: Vec<Member> = picker.members().to_vec();
                    picker.change(policy, &next);
                    for (now, given) in picker.members().iter().zip(&next) {
                        let kept = was.iter().find(|member| member.id == now.id);
                        prop_assert_eq!(now.traffic, kept.unwrap_or(given).traffic);
                        if kept.is_none() {
                            tried_at[now.id.0 as usize] = (None, false);
                        }
                    }
                }
                Step::TrialOver(id) => {
                    picker.trial_over(BackendId(id));
                    tried_at[id as usize].1 = false;
                }
                Step::Pick { client, tried, may_retry, later_ms } => {
                    ms += later_ms;
                    let tried: Vec<_> = tried.into_iter().map(BackendId).collect();
                    let asked = Asked { client, tried: &tried, may_retry, now: at(ms) };
                    let due = |member: &Member| match member.traffic.admitted {
                        Admitted::Trials { gap } => {
                            let (began, in_flight) = tried_at[member.id.0 as usize];
                            may_retry && !in_flight && began.is_none_or(|began| (ms - began) * 1000 >= gap.as_us())
                        }
                        Admitted::All | Admitted::Nothing => false,
                    };
                    let open = |member: &Member| {
                        !tried.contains(&member.id) && (member.traffic.admitted == Admitted::All || due(member))
                    };
                    let pool = picker.members().to_vec();
                    let primary_open = pool.iter().any(|member| open(member) && !member.backup);
                    let trial_due = pool.iter().any(|member| {
                        open(member) && due(member) && member.backup != primary_open
                    });
                    match picker.pick(&view, &asked) {
                        None => prop_assert!(!pool.iter().any(open)),
                        Some(member) => {
                            let of = &pool[member];
                            prop_assert!(open(of) && of.backup != primary_open, "{of:?}");
                            prop_assert_eq!(picker.is_trial(member), trial_due);
                            if trial_due {
                                tried_at[of.id.0 as usize] = (Some(ms), true);
                            }
                        }
                    }
                }
            }
        }
    }
}
