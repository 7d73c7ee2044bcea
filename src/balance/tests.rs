//! The policies, by what a pool's operator sees of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::config::Policy;
use crate::time::Instant;
use proptest::prelude::*;
use std::collections::HashSet;
use std::net::IpAddr;

const POLICIES: [Policy; 4] = [Policy::RoundRobin, Policy::LeastConn, Policy::IpHash, Policy::RandomTwo];

/// Members named "0", "1", …, one for each weight.
pub(super) fn members(weights: &[u16]) -> Vec<Member> {
    let member = |(n, &weight): (usize, &u16)| Member {
        id: BackendId(n as u32),
        weight,
        backup: false,
        key: name_hash(&n.to_string()),
        traffic: Traffic::ALL,
    };
    weights.iter().enumerate().map(member).collect()
}

/// A first attempt, of nobody in particular.
pub(super) const ANY: Asked = Asked { client: 0, tried: &[], may_retry: true, now: Instant::from_us(0) };

fn of(client: u64, tried: &[BackendId]) -> Asked<'_> {
    Asked { client, tried, ..ANY }
}

fn ids<const N: usize>(members: [u32; N]) -> [BackendId; N] {
    members.map(BackendId)
}

fn set_usable(picker: &mut Picker, member: usize, usable: bool) {
    picker.set_traffic(member, if usable { Traffic::ALL } else { Traffic::NOTHING });
}

fn client(n: u32) -> u64 {
    client_hash(&IpAddr::from((0x0a00_0000 + n).to_be_bytes()))
}

/// Each member's share of `picks` by clients of their own, nothing in flight in between.
fn shares(picker: &mut Picker, picks: u32) -> Vec<f64> {
    let view = View::new(0, picker.members().len());
    let mut counts = vec![0_u32; picker.members().len()];
    for n in 0..picks {
        counts[picker.pick(&view, &of(client(n), &[])).unwrap()] += 1;
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(picks)).collect()
}

fn assert_shares(case: &str, found: &[f64], weights: &[u16]) {
    let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    for (n, (&share, &weight)) in found.iter().zip(weights).enumerate() {
        let wanted = f64::from(weight) / sum;
        assert!((share - wanted).abs() < 0.02 * wanted, "{case}: {n} got {share:.4}, wanted {wanted:.4}");
    }
}

#[test]
fn one_request_at_a_time_is_shared_by_weight() {
    for weights in [&[1, 1][..], &[3, 1], &[1, 2, 5], &[1, 1, 1, 1, 4], &[256, 128, 64]] {
        for policy in POLICIES {
            let mut picker = Picker::new(policy, &members(weights), 7);
            assert_shares(&format!("{policy:?} {weights:?}"), &shares(&mut picker, 400_000), weights);
        }
    }
}

#[test]
fn exchanges_that_stay_in_flight_are_shared_by_weight() {
    for policy in [Policy::LeastConn, Policy::RandomTwo] {
        for weights in [&[1, 1][..], &[3, 1], &[1, 2, 5]] {
            let (mut picker, view) = (Picker::new(policy, &members(weights), 1), View::new(0, weights.len()));
            for n in 0..20_000 {
                let member = picker.pick(&view, &of(client(n), &[])).unwrap();
                view.admit(picker.members()[member].id);
            }
            let found: Vec<_> = (0..weights.len() as u32)
                .map(|id| f64::from(view.in_flight(BackendId(id))) / 20_000.0)
                .collect();
            assert_shares(&format!("{policy:?} {weights:?}"), &found, weights);
        }
    }
}

#[test]
fn round_robin_spreads_a_heavy_members_turns() {
    let (mut picker, view) = (Picker::new(Policy::RoundRobin, &members(&[5, 1, 1]), 0), View::new(0, 3));
    let turns: Vec<_> = (0..7).map(|_| picker.pick(&view, &ANY).unwrap()).collect();
    assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn shards_with_the_same_idle_view_start_with_different_members() {
    for policy in [Policy::RoundRobin, Policy::LeastConn] {
        let view = View::new(0, 8);
        let firsts = (0..8).map(|shard| Picker::new(policy, &members(&[1; 8]), shard).pick(&view, &ANY));
        assert_eq!(firsts.collect::<HashSet<_>>().len(), 8, "{policy:?}");
    }
}

#[test]
fn least_conn_takes_the_least_for_its_weight_and_ties_exactly() {
    for (case, weights, in_flight, expected) in [
        ("fewer", &[1, 1][..], &[2, 1][..], &[1][..]),
        ("idle before busy, whatever the weight", &[256, 1], &[1, 0], &[1]),
        ("more but heavier", &[4, 1], &[5, 1], &[0]),
        ("3/2 and 6/4", &[2, 4, 1], &[2, 5, 9], &[0, 1]),
        ("2/2 and 3/3", &[2, 3], &[1, 2], &[0, 1]),
        ("101/100 is more than 1/1", &[100, 1, 200], &[100, 9, 201], &[0, 2]),
    ] {
        let view = View::new(0, weights.len());
        for (id, &count) in (0..).zip(in_flight) {
            (0..count).for_each(|_| view.admit(BackendId(id)));
        }
        let mut picker = Picker::new(Policy::LeastConn, &members(weights), 0);
        let picked: HashSet<_> = (0..1000).map(|_| picker.pick(&view, &ANY).unwrap()).collect();
        assert_eq!(picked, expected.iter().copied().collect(), "{case}");
    }
}

#[test]
fn random_two_draws_different_ones_and_takes_the_less_busy() {
    let view = View::new(0, 3);
    (0..10).for_each(|_| view.admit(BackendId(1)));
    (0..9).for_each(|_| view.admit(BackendId(0)));
    let mut picker = Picker::new(Policy::RandomTwo, &members(&[1, 1, 1]), 3);
    let mut counts = [0; 3];
    (0..30_000).for_each(|_| counts[picker.pick(&view, &ANY).unwrap()] += 1);
    // The busiest loses to each other one; the pair without the idle one is a third of all.
    assert_eq!(counts[1], 0);
    assert!((9_400..10_600).contains(&counts[0]), "{counts:?}");
}

#[test]
fn random_two_repeats_with_its_seed_only() {
    let run = |seed| {
        let (mut picker, view) = (Picker::new(Policy::RandomTwo, &members(&[1; 8]), seed), View::new(0, 8));
        (0..64).map(|_| picker.pick(&view, &ANY).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Where each of 100,000 clients goes.
fn homes(picker: &mut Picker) -> Vec<u64> {
    let view = View::new(0, 64);
    let mut home = |n| {
        let member = picker.pick(&view, &of(client(n), &[])).unwrap();
        picker.members()[member].key
    };
    (0..100_000).map(&mut home).collect()
}

#[test]
fn ip_hash_depends_on_the_names_alone() {
    let forward = members(&[1, 3, 2, 1]);
    let backward: Vec<_> = forward.iter().rev().copied().collect();
    let here = homes(&mut Picker::new(Policy::IpHash, &forward, 0));
    assert_eq!(here, homes(&mut Picker::new(Policy::IpHash, &backward, 99)));
}

#[test]
fn ip_hash_moves_only_the_clients_of_one_who_leaves_or_comes() {
    for (weights, one) in [(&[1; 10][..], 3), (&[1, 2, 5, 2], 1), (&[1, 1], 0)] {
        let all = members(weights);
        let mut rest = all.clone();
        let gone = rest.remove(one);
        let with = homes(&mut Picker::new(Policy::IpHash, &all, 0));
        let without = homes(&mut Picker::new(Policy::IpHash, &rest, 0));
        let moved: Vec<_> = with.iter().zip(&without).filter(|(with, without)| with != without).collect();
        assert!(moved.iter().all(|&(&with, _)| with == gone.key));
        let share = moved.len() as f64 / with.len() as f64;
        let wanted = f64::from(weights[one]) / weights.iter().map(|&w| f64::from(w)).sum::<f64>();
        println!("{weights:?} without {one}: {share:.4} of the clients moved, {wanted:.4} by weight");
        assert!((share - wanted).abs() < 0.02 * wanted, "{share} {wanted}");
        // They spread over the rest by weight.
        let taken: Vec<_> = rest
            .iter()
            .map(|to| moved.iter().filter(|&&(_, &home)| home == to.key).count() as f64 / moved.len() as f64)
            .collect();
        let sum: f64 = rest.iter().map(|m| f64::from(m.weight)).sum();
        for (to, taken) in rest.iter().zip(taken) {
            assert!((taken - f64::from(to.weight) / sum).abs() < 0.02, "{to:?} took {taken}");
        }
    }
}

#[test]
fn ip_hash_moves_no_client_from_one_whose_weight_grows() {
    let (before, after) = (members(&[1, 1, 1, 1]), members(&[1, 1, 2, 1]));
    let (before, after) = (
        homes(&mut Picker::new(Policy::IpHash, &before, 0)),
        homes(&mut Picker::new(Policy::IpHash, &after, 0)),
    );
    let grown = name_hash("2");
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == grown));
    assert_ne!(before, after);
}

#[test]
fn ip_hash_sends_a_client_to_the_same_next_choice_and_back() {
    let (mut picker, view) = (Picker::new(Policy::IpHash, &members(&[1; 5]), 0), View::new(0, 5));
    for n in 0..1000 {
        let first = picker.pick(&view, &of(client(n), &[])).unwrap();
        let second = picker.pick(&view, &of(client(n), &ids([first as u32]))).unwrap();
        set_usable(&mut picker, first, false);
        assert_eq!(picker.pick(&view, &of(client(n), &[])), Some(second));
        set_usable(&mut picker, first, true);
        assert_eq!(picker.pick(&view, &of(client(n), &[])), Some(first));
    }
}

#[test]
fn backups_serve_only_when_no_primary_is_left() {
    for policy in POLICIES {
        let mut pool = members(&[1, 1, 1, 1]);
        (pool[2].backup, pool[3].backup) = (true, true);
        let (mut picker, view) = (Picker::new(policy, &pool, 5), View::new(0, 4));
        let who = |picker: &mut Picker, tried: &[BackendId]| -> HashSet<usize> {
            (0..200).filter_map(|n| picker.pick(&view, &of(client(n), tried))).collect()
        };
        assert_eq!(who(&mut picker, &[]), [0, 1].into(), "{policy:?}");
        assert_eq!(who(&mut picker, &ids([0, 1])), [2, 3].into(), "{policy:?}: both primaries tried");
        set_usable(&mut picker, 0, false);
        assert_eq!(who(&mut picker, &ids([1])), [2, 3].into(), "{policy:?}: one down, one tried");
        set_usable(&mut picker, 1, false);
        assert_eq!(who(&mut picker, &[]), [2, 3].into(), "{policy:?}: both down");
        set_usable(&mut picker, 2, false);
        assert_eq!(who(&mut picker, &ids([3])), [].into(), "{policy:?}: nobody left");
        assert_eq!(picker.usable_count(), 1);
        set_usable(&mut picker, 0, true);
        assert_eq!(who(&mut picker, &[]), [0].into(), "{policy:?}: a primary is back");
    }
}

#[test]
fn one_who_comes_back_gets_no_more_than_its_turn() {
    let (mut picker, view) = (Picker::new(Policy::RoundRobin, &members(&[1; 4]), 0), View::new(0, 4));
    set_usable(&mut picker, 2, false);
    (0..1001).for_each(|_| assert_ne!(picker.pick(&view, &ANY), Some(2)));
    set_usable(&mut picker, 2, true);
    let turns: Vec<_> = (0..8).map(|_| picker.pick(&view, &ANY).unwrap()).collect();
    let own = turns.iter().filter(|&&member| member == 2).count();
    assert!((1..=3).contains(&own), "{turns:?}");
}

#[test]
fn one_shard_fills_in_around_what_another_carries() {
    let (here, there) = (View::new(0, 4), View::new(1, 4));
    (0..40).for_each(|_| there.admit(BackendId(0)));
    let mut merger = Merger::new(2, 4);
    assert!(merger.absorb(there.report().unwrap()));
    assert!(here.apply(&merger.merge(Instant::default()).for_shard(0)));
    let mut picker = Picker::new(Policy::LeastConn, &members(&[1; 4]), 0);
    for _ in 0..120 {
        here.admit(BackendId(picker.pick(&here, &ANY).unwrap() as u32));
    }
    let sums: Vec<_> = (0..4).map(|id| here.own(BackendId(id)) + there.own(BackendId(id))).collect();
    assert_eq!(sums, [40; 4]);
}

proptest! {
    #[test]
    fn a_pick_is_usable_untried_and_a_primary_if_one_is_left(
        policy in prop::sample::select(&POLICIES),
        pool in prop::collection::vec((0..300_u16, any::<bool>(), any::<bool>(), 0..4_u32), 0..12),
        tried in prop::collection::vec((0..14_u32).prop_map(BackendId), 0..6),
        seed: u64,
        clients in prop::collection::vec(any::<u64>(), 1..20),
    ) {
        let mut all = members(&pool.iter().map(|of| of.0).collect::<Vec<_>>());
        all.iter_mut().zip(&pool).for_each(|(member, of)| member.backup = of.1);
        let (mut picker, view) = (Picker::new(policy, &all, seed), View::new(0, pool.len()));
        for (n, of) in pool.iter().enumerate() {
            set_usable(&mut picker, n, of.2);
            (0..of.3).for_each(|_| view.admit(BackendId(n as u32)));
        }
        let open = |n: usize| pool[n].2 && !tried.contains(&BackendId(n as u32));
        let primary_open = (0..pool.len()).any(|n| open(n) && !pool[n].1);
        for client in clients {
            match picker.pick(&view, &of(client, &tried)) {
                Some(n) => prop_assert!(open(n) && pool[n].1 != primary_open, "{n}"),
                None => prop_assert!(!(0..pool.len()).any(open)),
            }
        }
        prop_assert_eq!(picker.usable_count(), pool.iter().filter(|of| of.2).count());
    }
}
