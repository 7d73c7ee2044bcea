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
use weir::time::Micros;
use world::World;

/// Runs `test` with each of so many seeds, or with `WEIR_SEED` alone.
fn seeds(name: &str, count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in given.map_or(1..=count, |seed| seed..=seed) {
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
    seeds("whatever_fails", 2500, live_through);
}
