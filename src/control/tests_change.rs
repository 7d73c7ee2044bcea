//! Operators' changes, failovers, passive health, and what follows on shards: control as a whole, with
//! threads as shards.

use super::rig::*;
use super::*;
use crate::balance::{Admitted, BackendId, Outcome, Traffic};
use crate::config::{Check, Eject, Policy};
use crate::fleet::CarriedReadmission;
use crate::fleet::change::{Change, ChangeRefused};
use crate::fleet::status::{BackendState, Origin};
use std::net::SocketAddr;

const A: BackendId = BackendId(0);
const B: BackendId = BackendId(1);

fn drain(name: &str) -> Change {
    Change::Drain { pool: "app".into(), name: name.into() }
}

fn add(name: &str, address: SocketAddr) -> Change {
    let (pool, address) = ("app".into(), address.to_string());
    Change::Add { pool, address, name: Some(name.into()), weight: None }
}

fn remove(name: &str) -> Change {
    Change::Remove { pool: "app".into(), name: name.into() }
}

fn failed(count: u64, run_began: Instant) -> Outcome {
    let run = count as u32;
    Outcome { failed: count, run, run_began, last: "truncated", noticed: count, ..Outcome::default() }
}

#[test]
fn a_change_is_answered_when_the_last_shard_acts_on_it_and_a_dry_run_does_nothing() {
    let config = config(vec![pool("app", &[closed_port(), closed_port()], None)]);
    with_control(config, 3, |rig| async move {
        let tried = rig.desk.change(&drain("0"), true).await.unwrap();
        assert!(tried.dry_run && tried.shards == 0 && tried.backend.unwrap().state == BackendState::NoCheck);
        assert!(rig.shards.iter().all(|shard| shard.told(|told| told.traffic.is_empty())));
        let changed = rig.desk.change(&drain("0"), false).await.unwrap();
        // No waiting here: it was answered, so it holds.
        for shard in &rig.shards {
            assert_eq!(shard.told(|told| told.traffic.get(&A).copied()), Some(Traffic::NOTHING));
        }
        assert_eq!((changed.shards, changed.unchanged), (3, false));
        assert_eq!(changed.backend.unwrap().state, BackendState::Draining);
        assert!(rig.desk.change(&drain("0"), false).await.unwrap().unchanged);
        let ready = Change::Ready { pool: "app".into(), name: "0".into() };
        rig.desk.change(&ready, false).await.unwrap();
        assert!(rig.shards.iter().all(|shard| shard.told(|told| told.traffic[&A] == Traffic::ALL)));
        assert!(matches!(rig.desk.change(&drain("7"), false).await, Err(ChangeRefused::NoBackend { .. })));
    });
}

#[test]
fn a_shard_that_does_not_confirm_is_named_and_one_that_ends_is_waited_for_no_longer() {
    let config = config(vec![pool("app", &[closed_port(), closed_port()], None)]);
    with_control(config, 3, |rig| async move {
        rig.shards[1].set(Manner::Stuck);
        rig.shards[2].set(Manner::Stuck);
        rig.to_control.send(ToControl::Ended { shard: 2, error: None }).unwrap();
        let refused = rig.desk.change(&drain("0"), false).await.unwrap_err();
        let ChangeRefused::Unconfirmed(unconfirmed) = refused else { panic!("{refused}") };
        assert_eq!(unconfirmed.shards, [1]);
        assert_eq!(rig.backend("0").unwrap().state, BackendState::Draining, "it holds all the same");
    });
}

#[test]
fn backends_come_and_go_a_hundred_times_and_numbers_stay_few() {
    let server = FakeBackend::start(Answer::status(200, ""));
    let config = config(vec![pool("app", &[server.address], Some(health(Check::Tcp)))]);
    with_control(config, 2, |rig| async move {
        for round in 0..100 {
            let name = format!("n{round}");
            let added = rig.desk.change(&add(&name, server.address), false).await.unwrap();
            let status = added.backend.unwrap();
            assert_eq!(status.origin, Origin::Added);
            // The check of the same address and rule knows already that it is up.
            assert!(status.usable || rig.standing(A).state.label() == "unchecked", "{status:?}");
            rig.desk.change(&remove(&name), false).await.unwrap();
            assert!(rig.backend(&name).is_none());
            rig.desk.collect().await;
        }
        let ends: Vec<usize> =
            rig.shards[0].told(|told| told.topologies.iter().map(|topology| topology.backends_end).collect());
        assert!(ends.iter().all(|end| *end <= 4), "{ends:?}");
        let generations: Vec<u64> =
            rig.shards[0].told(|told| told.topologies.iter().map(|topology| topology.generation).collect());
        assert!(generations.windows(2).all(|pair| pair[0] < pair[1]), "{generations:?}");
    });
}

#[test]
fn a_number_is_not_given_again_while_a_shard_clings_to_it_and_then_without_its_counts() {
    let config = config(vec![pool("app", &[closed_port()], None)]);
    with_control(config, 1, |rig| async move {
        rig.desk.change(&add("old", closed_port()), false).await.unwrap();
        rig.report(0, 1, &[0, 7]);
        until("its counts", || rig.backend("old").unwrap().in_flight == 7).await;
        rig.shards[0].set(Manner::Clinging);
        rig.desk.change(&remove("old"), false).await.unwrap();
        rig.desk.collect().await;
        let next = rig.desk.change(&add("next", closed_port()), false).await.unwrap();
        assert_eq!(next.backend.unwrap().id, BackendId(2));
        rig.to_control.send(ToControl::Gone { shard: 0, id: B }).unwrap();
        // Without a scrape, a round is made for it.
        for next in 3..33 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await; // for the round, bounded
            let added = rig.desk.change(&add(&format!("r{next}"), closed_port()), false).await.unwrap();
            let added = added.backend.unwrap();
            if added.id == B {
                assert_eq!(added.in_flight, 0, "what was counted under the number is forgotten");
                return;
            }
            assert_eq!(added.id, BackendId(next));
        }
        panic!("the number was never given again");
    });
}

#[test]
fn failures_summed_over_shards_eject_a_backend_and_the_failover_is_measured() {
    let mut app = pool("app", &[closed_port(), closed_port()], None);
    app.eject = Some(Eject { base_time: Micros::from_ms(300), ..Eject::default() });
    with_control(config(vec![app]), 2, |rig| async move {
        let began = rig.desk.now();
        rig.outcome(0, 1, A, failed(3, began));
        rig.outcome(1, 1, A, failed(2, began));
        let got = |shard: usize| rig.shards[shard].told(|told| told.traffic.get(&A).map(|got| got.admitted));
        until("ejected everywhere", || (0..2).all(|shard| got(shard) == Some(Admitted::Nothing))).await;
        let status = rig.standing(A);
        assert_eq!((status.state, status.ejections), (BackendState::Ejected, 1));
        assert!(status.why.contains("5 failures in a row"), "{}", status.why);
        until("measured", || rig.standing(A).failovers.count == 1).await;
        let failovers = rig.standing(A).failovers;
        assert_eq!(failovers.lost, 5);
        assert!(failovers.last.unwrap() < Micros::from_s(5), "{failovers:?}");
        // It comes back by trials, whose gap is spread over the shards.
        let trials = Admitted::Trials { gap: Micros::from_ms(200) };
        until("on trial", || (0..2).all(|shard| got(shard) == Some(trials))).await;
        let passed = Outcome { passed: 5, failed: 3, trials_passed: 5, ..Outcome::default() };
        rig.outcome(0, 2, A, passed);
        until("readmitted", || (0..2).all(|shard| got(shard) == Some(Admitted::All))).await;
        assert!(rig.standing(A).why.contains("5 trials passed"));
    });
}

#[test]
fn a_failed_exchange_hurries_the_checks_so_that_a_dead_server_is_found_long_before_the_interval() {
    let server = FakeBackend::start(Answer::status(200, ""));
    let mut rule = health(Check::Http(http_check()));
    rule.interval = Micros::from_s(600);
    let config = config(vec![pool("app", &[server.address], Some(rule))]);
    with_control(config, 2, |rig| async move {
        until("up", || rig.standing(A).usable).await;
        let (checks, began) = (server.heads().len(), rig.desk.now());
        server.set(Answer::status(500, ""));
        rig.outcome(0, 1, A, failed(1, began));
        until("down", || rig.standing(A).state.label() == "down").await;
        let took = rig.desk.now() - began;
        assert!(took >= Micros::from_ms(190) && took < Micros::from_s(3), "{took}");
        assert_eq!(server.heads().len() - checks, 3, "fall");
        until("measured", || rig.standing(A).failovers.count == 1).await;
    });
}

#[test]
fn a_backend_that_only_fails_its_exchanges_is_not_besieged_by_checks() {
    let server = FakeBackend::start(Answer::status(200, ""));
    let mut rule = health(Check::Http(http_check()));
    rule.interval = Micros::from_s(600);
    with_control(config(vec![pool("app", &[server.address], Some(rule))]), 1, |rig| async move {
        until("up", || rig.standing(A).usable).await;
        let checks = server.heads().len();
        for count in 1..=50 {
            rig.outcome(0, count, A, failed(count, rig.desk.now()));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await; // each is heard by itself
        }
        assert_eq!(server.heads().len() - checks, 3, "no more than fall beyond the schedule");
        assert!(rig.standing(A).usable);
    });
}

#[test]
fn what_a_change_moves_is_said_where_a_hash_decides() {
    let ports: Vec<SocketAddr> = (0..4).map(|_| closed_port()).collect();
    let mut app = pool("app", &ports, None);
    app.policy = Policy::IpHash;
    with_control(config(vec![app]), 1, |rig| async move {
        let removed = rig.desk.change(&remove("0"), true).await.unwrap().moved.unwrap();
        assert!((0.22..0.28).contains(&removed), "{removed}");
        let added = rig.desk.change(&add("new", closed_port()), true).await.unwrap().moved.unwrap();
        assert!((0.17..0.23).contains(&added), "{added}");
        let drained = rig.desk.change(&drain("0"), false).await.unwrap().moved.unwrap();
        assert_eq!(drained, removed, "it is the same clients who go");
        let gone = rig.desk.change(&remove("0"), true).await.unwrap().moved.unwrap();
        assert_eq!(gone, 0.0, "nobody is there any more");
    });
}

#[test]
fn a_drain_is_over_when_nothing_is_in_flight_any_more() {
    let config = config(vec![pool("app", &[closed_port(), closed_port()], None)]);
    with_control(config, 2, |rig| async move {
        rig.report(0, 1, &[2, 1]);
        rig.report(1, 1, &[1, 0]);
        until("counts", || rig.standing(A).in_flight == 3).await;
        rig.desk.change(&drain("0"), false).await.unwrap();
        let desk = rig.desk.clone();
        let waits = spawn_local(async move { desk.drained("app", "0").await });
        rig.report(0, 2, &[0, 1]);
        tokio::time::sleep(std::time::Duration::from_millis(400)).await; // that it does not end is the subject
        assert!(!waits.is_finished());
        rig.report(1, 2, &[0, 0]);
        waits.await.unwrap().unwrap();
        assert!(rig.desk.drained("app", "nobody").await.is_err());
    });
}

#[test]
fn one_in_maintenance_is_not_checked_and_is_only_used_after_a_check_that_passed() {
    let server = FakeBackend::start(Answer::status(200, ""));
    let config = config(vec![pool("app", &[server.address], Some(health(Check::Http(http_check()))))]);
    with_control(config, 1, |rig| async move {
        until("up", || rig.standing(A).usable).await;
        let name = || ("app".to_owned(), "0".to_owned());
        let (pool, backend) = name();
        rig.desk.change(&Change::Maintenance { pool, name: backend }, false).await.unwrap();
        assert_eq!(rig.standing(A).state, BackendState::Maintenance);
        let checks = server.heads().len();
        server.set(Answer::status(500, ""));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await; // that nothing comes is the subject
        assert!(server.heads().len() <= checks + 1, "one may have been under way");
        let (pool, backend) = name();
        rig.desk.change(&Change::Ready { pool, name: backend }, false).await.unwrap();
        until("down", || rig.standing(A).state.label() == "down").await;
        server.set(Answer::status(200, ""));
        until("up again", || rig.standing(A).usable).await;
        until("told", || rig.shards[0].told(|told| told.traffic[&A].admitted == Admitted::All)).await;
    });
}

#[test]
fn a_successor_goes_on_where_this_one_is() {
    let servers = [FakeBackend::start(Answer::status(200, "")), FakeBackend::start(Answer::status(200, ""))];
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let all = || {
        let mut rule = health(Check::Http(http_check()));
        rule.interval = Micros::from_s(600);
        rule.interval_down = Micros::from_s(600);
        let down = closed_port();
        let mut app = pool("app", &[addresses[0], addresses[1], down, down], Some(rule));
        app.backends[3].address = crate::config::BackendAddress::Tcp(closed_port());
        app.eject = Some(Eject { base_time: Micros::from_s(60), ..Eject::default() });
        app
    };
    let app = all();
    let carried = with_control(config(vec![app.clone()]), 2, |rig| async move {
        until("checked", || {
            let known = |id, word| rig.standing(BackendId(id)).state.label() == word;
            known(0, "up") && known(1, "up") && known(2, "down") && known(3, "down")
        })
        .await;
        rig.desk.change(&drain("2"), false).await.unwrap();
        let weight = Change::Weight { pool: "app".into(), name: "1".into(), weight: 9 };
        rig.desk.change(&weight, false).await.unwrap();
        rig.desk.change(&remove("3"), false).await.unwrap();
        rig.outcome(0, 1, A, failed(5, rig.desk.now()));
        until("ejected", || rig.standing(A).state == BackendState::Ejected).await;
        rig.desk.export()
    });
    let carried = carried.aged(1_000_000);
    let text = serde_json::to_string(&carried).unwrap();
    let carried: Carried = serde_json::from_str(&text).unwrap();
    let begun = Begun { carried: Some(carried), ..Begun::default() };
    with_begun(config(vec![app]), begun, 3, |rig| async move {
        // The first topology says it already, before any check: nobody picks who is down, drained, ejected.
        let first = rig.shards[0].told(|told| told.topologies[0].clone());
        let of = |name: &str| first.pools[0].backends.iter().find(|backend| backend.name == name);
        assert_eq!(of("0").unwrap().initial.admitted, Admitted::Nothing);
        assert_eq!((of("1").unwrap().initial, of("1").unwrap().weight), (Traffic::ALL, 9));
        assert_eq!(of("2").unwrap().initial, Traffic::NOTHING);
        assert!(of("3").is_none());
        let states: Vec<&str> = rig.desk.backends().iter().map(|backend| backend.state.label()).collect();
        assert_eq!(states, ["ejected", "up", "draining"]);
        for backend in rig.desk.backends() {
            let old = rig.desk.now() - backend.since >= Micros::from_s(1);
            assert!(old && backend.transitions == 0, "it is what it was, since then: {backend:?}");
        }
        until("ready", || rig.desk.ready().is_ok()).await;
    });
}

#[test]
fn a_successor_that_has_a_check_where_there_was_none_takes_nobody_out_for_it() {
    let server = FakeBackend::start(Answer::Hang);
    let app = |health| config(vec![pool("app", &[server.address], health)]);
    let carried = with_control(app(None), 1, |rig| async move { rig.desk.export() });
    let begun = Begun { carried: Some(carried), ..Begun::default() };
    with_begun(app(Some(health(Check::Http(http_check())))), begun, 1, |rig| async move {
        assert_eq!(rig.standing(A).state.label(), "up");
        rig.shards[0].told(|told| {
            assert_eq!(told.topologies[0].pools[0].backends[0].initial, Traffic::ALL);
        });
    });
}

#[test]
fn a_successor_ejects_for_longer_whom_this_one_has_ejected_before() {
    let addresses = [closed_port(), closed_port(), closed_port()];
    let mut app = pool("app", &addresses, None);
    app.eject = Some(Eject { base_time: Micros::from_s(60), ..Eject::default() });
    let carried = with_control(config(vec![app.clone()]), 1, |rig| async move {
        rig.outcome(0, 1, A, failed(5, rig.desk.now()));
        until("ejected", || rig.standing(A).state == BackendState::Ejected).await;
        rig.desk.export()
    });
    // What it is once it was readmitted.
    let mut carried = carried;
    let backend = &mut carried.pools[0].backends[0];
    let times = backend.ejection.take().unwrap().times;
    backend.readmitted = Some(CarriedReadmission { times, came_back_us_ago: 1_000_000 });
    let begun = Begun { carried: Some(carried), ..Begun::default() };
    with_begun(config(vec![app]), begun, 1, |rig| async move {
        let handed_on = rig.desk.export().pools[0].backends[0].readmitted.clone().unwrap();
        assert!(handed_on.times == times && handed_on.came_back_us_ago >= 1_000_000, "{handed_on:?}");
        rig.outcome(0, 1, A, failed(5, rig.desk.now()));
        until("ejected", || rig.standing(A).state == BackendState::Ejected).await;
        let why = rig.standing(A).why;
        assert!(why.contains("120s") || why.contains("2m"), "{why}");
    });
}
