//! A whole process in virtual time: shards, control and the messages between them, without sockets,
//! threads or a clock.
//!
//! What is simulated is only what lies between the pure parts: requests that come, backends that fail,
//! messages that are late, lost or overtaken. All that decides is production's: `View`, `Merger`, `Outcomes`
//! and `Picker` of `balance`; `Checked`, `Ejector`, `judge`, `SlowStart` and `Ramp` of `health`. A seed names
//! a run; a failed one prints the line that repeats it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod control;
mod draws;
mod scene;
mod shard;
mod watch;
mod world;

use draws::Draws;
use scene::{POLICIES, Scene, Truth, Turn, Written};
use weir::balance::BackendId;
use weir::config::{Eject, Policy};
use weir::health::Rule;
use weir::time::Micros;
use world::World;

/// Runs `test` with so many seeds, or `WEIR_SEEDS` times as many, or with `WEIR_SEED` alone.
fn seeds(name: &str, count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let given = |variable| std::env::var(variable).ok().and_then(|number| number.parse::<u64>().ok());
    let count = count * given("WEIR_SEEDS").unwrap_or(1);
    for seed in given("WEIR_SEED").map_or(1..=count, |seed| seed..=seed) {
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("again: WEIR_SEED={seed} cargo test --test simulation {name}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Everybody knows the same, and it is true.
fn assert_converged(world: &mut World) {
    world.hold_still();
    let totals = world.control.totals();
    for id in 0..world.control.ids_end() {
        let (id, truth) = (BackendId(id), world.in_flight(BackendId(id)));
        let total = totals.get(id.0 as usize).copied().unwrap_or(0);
        assert_eq!(total, truth, "control's total of {id:?}");
        for (number, shard) in world.shards.iter().enumerate() {
            assert_eq!(shard.view.own(id), shard.in_flight(id), "shard {number}'s own of {id:?}");
            assert_eq!(shard.view.in_flight(id), truth, "shard {number}'s view of {id:?}");
            assert_eq!(shard.view.expected(id), truth, "what shard {number} expects of {id:?}");
        }
    }
}

/// Everybody is well: who gets how much of the next picks. Primaries only, by weight.
fn assert_weights(world: &mut World, picks: u32) {
    world.watch.picks.clear();
    let said = world.last_said;
    let length = Micros::from_us((1e6 * f64::from(picks) / world.scene.arrivals_per_s) as u64);
    world.run(length);
    assert_eq!(said, world.last_said, "something still changes");
    let plans = world.control.plans();
    let all: u32 = world.watch.picks.values().sum();
    let backups_serve = plans.iter().all(|plan| plan.backup);
    let serving = plans.iter().filter(|plan| plan.backup == backups_serve).count() as f64;
    let sum: f64 =
        plans.iter().filter(|plan| plan.backup == backups_serve).map(|plan| f64::from(plan.weight)).sum();
    for plan in plans {
        let weight = if plan.backup == backups_serve { f64::from(plan.weight) } else { 0.0 };
        let wanted = f64::from(all) * weight / sum;
        let got = f64::from(world.watch.picks.get(&plan.serial).copied().unwrap_or(0));
        let shards = f64::from(world.scene.shards);
        let equal = if weight > 0.0 { f64::from(all) / serving } else { 0.0 };
        let chance = 5.0 * wanted.max(equal).sqrt() + 1.0;
        let (least, most) = match world.scene.policy {
            Policy::RoundRobin => (wanted - 2.0 * shards, wanted + 2.0 * shards),
            Policy::IpHash if world.scene.clients < 1000 => (0.0, f64::from(all) * weight.min(1.0)),
            Policy::IpHash => (wanted - chance, wanted + chance),
            // An idle one is preferred to a busy one whatever its weight: the fewer are in flight, the more
            // equal.
            Policy::LeastConn | Policy::RandomTwo => {
                (0.7 * wanted.min(equal) - chance - shards, 1.3 * wanted.max(equal) + chance + shards)
            }
        };
        assert!(
            (least..=most).contains(&got),
            "{plan:?} got {got} of {all}, {least:.1} to {most:.1} are due"
        );
    }
}

/// No ramp was overtaken more than twice, beyond chance and what each shard may have saved up.
fn assert_ramps(world: &World, saved: f64) {
    for (of, ramped) in &world.watch.ramped {
        let most = 2.0 * ramped.expected + 5.0 * ramped.expected.sqrt() + saved;
        assert!(f64::from(ramped.got) <= most, "{of:?}: {ramped:?}");
    }
}

/// What must be true of every scene.
fn live_through(seed: u64) {
    let mut draws = Draws::new(seed);
    let scene = Scene::drawn(&mut draws);
    let (shards, troubled) = (f64::from(scene.shards), scene.troubled);
    let mut world = World::new(draws.bits(), scene);
    world.run(Micros::from_us(troubled.as_us() / 2));
    assert_converged(&mut world);
    world.run(Micros::from_us(troubled.as_us() / 2));
    world.heal();
    let patience = world.now + Micros::from_s(20);
    let calm = world.run_while(patience, |world| !world.is_calm());
    assert!(calm, "not all came back");
    if !world.control.roster.is_empty() {
        assert_weights(&mut world, 200);
    }
    world.arriving = false;
    world.run(Micros::from_ms(600));
    assert_converged(&mut world);
    for (number, shard) in world.shards.iter().enumerate() {
        assert_eq!(shard.in_flight_of_all(), 0, "shard {number}");
    }
    let watch = &world.watch;
    for entry in &world.control.roster {
        let serial = entry.plan.serial;
        assert_eq!(watch.truth.get(&serial), watch.heard.get(&serial), "what control heard of {serial}");
    }
    let ended = watch.readmissions + watch.removed_while_out + watch.out();
    assert_eq!(watch.ejections, ended, "each ejection ends once");
    assert_ramps(&world, 3.0 * shards);
}

#[test]
fn whatever_fails_and_changes_every_rule_holds() {
    seeds("whatever_fails", 2000, live_through);
}

#[test]
fn a_busy_pool_is_shared_by_weight_and_views_converge() {
    seeds("a_busy_pool", 3, |seed| {
        for policy in POLICIES {
            let written = [1, 2, 5].map(|weight| Written { weight, backup: false });
            let mut world = World::new(seed, Scene { backends: written.into(), ..Scene::calm(policy) });
            world.run(Micros::from_ms(300));
            world.watch.picks.clear();
            world.run(Micros::from_ms(1000));
            let all: f64 = world.watch.picks.values().map(|&picks| f64::from(picks)).sum();
            // What looks at the view prefers whom the late view shows idle, and that is more often a light one.
            let slack = match policy {
                Policy::RoundRobin => 0.01,
                Policy::IpHash => 0.15,
                Policy::LeastConn | Policy::RandomTwo => 0.3,
            };
            for (serial, &picks) in &world.watch.picks {
                let part = f64::from(picks) * 8.0 / (all * f64::from(written[*serial as usize].weight));
                println!("seed {seed} {policy:?}: {serial} got {part:.3} of its share");
                assert!((part - 1.0).abs() < slack, "{policy:?}: {serial} got {part:.3} of its share");
            }
            assert_converged(&mut world);
        }
    });
}

#[test]
fn shards_do_not_herd_while_messages_are_lost_and_late() {
    // The bounds are those of the same scene in `balance`, where they are explained.
    seeds("shards_do_not_herd", 3, |seed| {
        let mut world = World::new(seed, Scene::calm(Policy::LeastConn));
        world.run(Micros::from_ms(60));
        let (mut sum, mut most, mut samples) = (0.0, 0, 0.0);
        while samples < 8000.0 {
            world.run(Micros::from_us(250));
            let busy = (0..8).map(|id| world.in_flight(BackendId(id)));
            let spread = busy.clone().max().unwrap() - busy.min().unwrap();
            (sum, most, samples) = (sum + f64::from(spread), most.max(spread), samples + 1.0);
        }
        println!("seed {seed}: busiest minus idlest {:.2} on average, {most} at most", sum / samples);
        assert!(sum / samples < 6.0 && most <= 16, "{} {most}", sum / samples);
    });
}

/// A newcomer, or one that comes back, on 64 shards whose views are up to a tenth of a second late.
fn ramp_up(seed: u64, policy: Policy, newcomer: bool) {
    let written = Written { weight: 2, backup: false };
    let scene = Scene {
        shards: 64,
        backends: vec![written; 4],
        arrivals_per_s: 6400.0,
        sync: Micros::from_ms(10),
        loss: 0.3,
        delay_max: Micros::from_ms(100),
        slow_start: Micros::from_s(4),
        served_before: Micros::from_s(4),
        ..Scene::calm(policy)
    };
    let mut world = World::new(seed, scene);
    world.watch.ramp_window = Micros::from_ms(250);
    if !newcomer {
        world.happen(Turn::Drain(1));
    }
    world.run(Micros::from_ms(600));
    world.happen(if newcomer { Turn::Add(written) } else { Turn::Ready(1) });
    world.run(Micros::from_ms(4500));
    assert_eq!(world.watch.ramped.len(), 16, "one ramps");
    for ((_, _, window), ramped) in &world.watch.ramped {
        let part = f64::from(ramped.got) / ramped.expected;
        println!("seed {seed} {policy:?} {newcomer}: {window}: {part:.2} × {:.1}", ramped.expected);
        assert!(part < 2.0, "{policy:?}: {part:.2} of its ramp in window {window}: {ramped:?}");
        let least = if *window < 2 { 0.2 } else { 0.6 };
        assert!(part > least, "{policy:?}: {part:.2} of its ramp in window {window}: {ramped:?}");
    }
}

#[test]
fn with_stale_views_on_64_shards_slow_start_stays_below_twice_its_ramp() {
    seeds("with_stale_views", 2, |seed| {
        POLICIES.into_iter().for_each(|policy| ramp_up(seed, policy, seed % 2 == 0));
    });
}

#[test]
fn a_backend_that_its_check_finds_dead_gets_nothing_until_it_is_well() {
    seeds("a_backend_that_its_check", 10, |seed| {
        let scene = Scene {
            shards: 16,
            backends: vec![Written { weight: 1, backup: false }; 3],
            arrivals_per_s: 2000.0,
            check: Some(Rule {
                rise: 2,
                fall: 3,
                interval: Micros::from_ms(20),
                interval_down: Micros::from_ms(10),
                jitter: 0.2,
            }),
            ..Scene::calm(POLICIES[seed as usize % 4])
        };
        let mut world = World::new(seed, scene);
        world.run(Micros::from_ms(100));
        world.happen(Turn::Becomes(1, Truth::Dead));
        // Three checks up to 24 ms apart, and the word to the shards: 5 ms.
        world.run(Micros::from_ms(3 * 24 + 5));
        world.watch.picks.clear();
        world.run(Micros::from_ms(200));
        let serials: Vec<u32> = world.watch.picks.keys().copied().collect();
        assert_eq!(serials, [0, 2], "who was picked");
        world.happen(Turn::Becomes(1, Truth::Well));
        // Two checks are 8 ms apart at least.
        world.run(Micros::from_ms(7));
        assert!(!world.watch.picks.contains_key(&1), "one check is not enough");
        world.run(Micros::from_ms(150));
        assert!(world.watch.picks.contains_key(&1), "it is well again");
    });
}

#[test]
fn a_threshold_counts_over_all_shards_and_trials_bring_back_who_is_well() {
    seeds("a_threshold_counts", 4, |seed| {
        for shards in [1, 8, 64] {
            let scene = Scene {
                shards,
                backends: vec![Written { weight: 1, backup: false }; 4],
                arrivals_per_s: 640.0,
                service: Micros::from_ms(5),
                eject: Some(Eject { base_time: Micros::from_ms(200), error_share: 0.0, ..Eject::default() }),
                ..Scene::calm(Policy::RoundRobin)
            };
            let mut world = World::new(seed, scene);
            world.run(Micros::from_ms(100));
            world.happen(Turn::Becomes(2, Truth::Dead));
            let patience = world.now + Micros::from_s(1);
            assert!(world.run_while(patience, |world| world.watch.ejections == 0), "not ejected");
            world.run(Micros::from_ms(50));
            let failed = world.watch.truth[&2].failed;
            println!("seed {seed}, {shards} shards: {failed} failures before every shard knew");
            assert!((5..25).contains(&failed), "{shards} shards: {failed} failures");
            // Still dead: each round of trials ends with its first.
            world.run(Micros::from_ms(1000));
            assert_eq!(world.watch.readmissions, 0);
            let trials = world.watch.truth[&2].failed - failed;
            assert!((1..=u64::from(shards).min(6) * 4).contains(&trials), "{shards} shards: {trials} trials");
            world.happen(Turn::Becomes(2, Truth::Well));
            // Sooner than it would be readmitted for want of trials.
            let patience = world.now + Micros::from_s(4);
            assert!(world.run_while(patience, |world| world.watch.readmissions == 0), "not readmitted");
        }
    });
}
