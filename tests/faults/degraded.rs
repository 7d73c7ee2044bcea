//! Few healthy backends, or none: panic mode and the fallback pool; and the slow start of who returns.

use crate::control::state;
use crate::fleet::Server;
use crate::harness::{Backend, End, Mix, OpenLoop, Record, Then, Weir, answers, ticket, wait_until};
use crate::verdict::{counters_match, excusing, nothing_noticed};
use crate::{CAREFUL, CHECK, FOUR_SHARDS, ledger, site, site_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Three of four fail their checks and answer well: the checks are wrong, as when the network shakes.
#[test]
fn when_most_backends_look_dead_all_get_traffic() {
    let (ledger, wrong) = (ledger(), Arc::new(AtomicBool::new(false)));
    let checked = |who: &str, may_fail: bool| {
        let (honest, wrong) = (ticket::honest(who, &ledger), wrong.clone());
        Backend::http(answers::by(move |received, wire| {
            if may_fail && received.line().contains("/up") && wrong.load(Ordering::SeqCst) {
                wire.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")?;
                return Ok(Then::KeepAlive);
            }
            honest(received, wire)
        }))
    };
    let fleet = [checked("0", true), checked("1", true), checked("2", true), checked("3", false)];
    let pool = format!("policy = \"round_robin\"\npanic_below = 0.5\n{CAREFUL}{CHECK}");
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, &pool));
    let all = |word: &str| ["0", "1", "2"].iter().all(|name| state(&weir, name) == word);
    wait_until("all are up", || all("up"));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.5);
    wrong.store(true, Ordering::SeqCst);
    wait_until("three are down", || all("down"));
    let began = Instant::now();
    load.run(1.5);
    assert_eq!(weir.metric("weir_pool_panic", &[("pool", "app")]), 1.0);
    wrong.store(false, Ordering::SeqCst);
    wait_until("all are up again", || all("up"));
    assert_eq!(weir.metric("weir_pool_panic", &[("pool", "app")]), 0.0);
    load.run(0.5);
    let log = weir.stderr();
    let ended = load.stop();
    nothing_noticed("panic", &ended, &ledger);
    let during = ended.due(began + Duration::from_millis(200), began + Duration::from_millis(1_400));
    let shares = ["0", "1", "2", "3"].map(|name| during.share_of(name));
    assert!(shares.iter().all(|share| (0.15..0.35).contains(share)), "{shares:?}");
    assert!(log.contains("panic"), "the log tells of it: {log}");
    counters_match("panic", &ended, &weir);
}

/// What goes to the fallback is decided for each request: as soon as one of the pool's own is usable again,
/// it is asked.
#[test]
fn the_fallback_pool_serves_while_no_backend_of_the_own_is_usable() {
    let ledger = ledger();
    let takes = Duration::from_millis(3);
    let mut own = ["one", "two"].map(|name| Server::start(name, &ledger, takes));
    let spare = Server::start("spare", &ledger, takes);
    let entries: Vec<_> = own.iter().map(Server::entry).collect();
    let config = site(FOUR_SHARDS, &entries, &format!("fallback = \"spare\"\n{CAREFUL}{CHECK}"))
        + &format!("[[pool.spare.backend]]\nname = \"spare\"\naddress = \"{}\"\n", spare.address());
    let weir = Weir::start(&config);
    let all = |word: &str| ["one", "two"].iter().all(|name| state(&weir, name) == word);
    wait_until("all are up", || all("up"));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.7);
    let killed = Instant::now();
    own.iter_mut().for_each(Server::kill);
    wait_until("both are down", || all("down"));
    let down = Instant::now() + Duration::from_millis(50);
    load.run(1.0);
    let until = Instant::now();
    own[0].revive();
    wait_until("one is up", || state(&weir, "one") == "up");
    load.wait_for("it has all the traffic", 100, |record| record.backend.as_deref() == Some("one"));
    let back = Instant::now();
    load.run(0.5);
    let ended = load.stop();
    // Until the checks, or the first failures, have told that nobody is there.
    let unknown = |record: &Record| {
        matches!(record.end, End::Refused(502, _)) && record.ended() >= killed && record.due < down
    };
    excusing("fallback", &ended, &ledger, unknown);
    assert!(ended.due(down, until).share_of("spare") > 0.99, "{:?}", ended.due(down, until).words());
    assert_eq!(ended.due(back, Instant::now()).share_of("spare"), 0.0);
    assert_eq!(ended.only(|record| record.ended() < killed).share_of("spare"), 0.0);
    counters_match("fallback", &ended, &weir);
}

#[test]
fn one_that_returns_is_given_its_share_little_by_little() {
    let ledger = ledger();
    let mut fleet = Server::three(&ledger);
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    let pool = format!("policy = \"round_robin\"\nslow_start = \"4s\"\n{CAREFUL}{CHECK}");
    let weir = Weir::start(&site(FOUR_SHARDS, &entries, &pool));
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    fleet[2].kill();
    wait_until("it is down", || state(&weir, "three") == "down");
    // The others' own slow start is over.
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(4.0);
    fleet[2].revive();
    wait_until("it is up", || state(&weir, "three") == "up");
    let up = Instant::now();
    load.run(6.0);
    let ended = load.stop();
    nothing_noticed("slow start", &ended, &ledger);
    let share = |from: u64, to: u64| {
        let at = |ms| up + Duration::from_millis(ms);
        ended.due(at(from), at(to)).share_of("three")
    };
    let shares = [share(0, 1_000), share(1_500, 2_500), share(4_600, 5_600)];
    println!("shares in the first second, around the second and after the ramp: {shares:?}");
    assert!(shares[0] < 0.17, "a third at once: {shares:?}");
    assert!(shares[0] < shares[1] && shares[1] < 0.30, "{shares:?}");
    assert!((0.28..0.38).contains(&shares[2]), "{shares:?}");
}
