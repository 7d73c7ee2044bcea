//! Deployments: three backends are replaced one after the other, under load.

use crate::control::{ctl, state};
use crate::fleet::{Server, behind_weir};
use crate::harness::{Mix, OpenLoop, wait_until};
use crate::verdict::{counters_match, excusing, nothing_noticed, post_between};
use crate::{checked, ledger};
use std::time::{Duration, Instant};

#[test]
fn a_deployment_with_drain_is_not_noticed() {
    let ledger = ledger();
    // Long enough that something is under way whenever a drain begins.
    let mut fleet =
        ["one", "two", "three"].map(|name| Server::start(name, &ledger, Duration::from_millis(25)));
    let weir = behind_weir(&fleet, &checked());
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.5);
    for server in &mut fleet {
        let name = server.name.clone();
        ctl(&weir, &["drain", "app", &name, "--wait"]);
        assert_eq!(state(&weir, &name), "draining");
        // It has nothing any more and gets nothing: no moment is a bad one to end it.
        server.kill();
        load.run(0.3);
        server.revive();
        assert_eq!(state(&weir, &name), "draining", "it comes back when it is told to, not by itself");
        ctl(&weir, &["ready", "app", &name]);
        load.wait_for("it has traffic", 20, |record| record.backend.as_ref() == Some(&name));
    }
    let ended = load.stop();
    nothing_noticed("deployed with drain", &ended, &ledger);
    counters_match("deployed with drain", &ended, &weir);
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0, "nothing even had to be tried again");
}

#[test]
fn a_deployment_without_drain_costs_only_the_posts_that_are_under_way() {
    let ledger = ledger();
    let mut fleet =
        ["one", "two", "three"].map(|name| Server::start(name, &ledger, Duration::from_millis(25)));
    let weir = behind_weir(&fleet, &checked());
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.5);
    let mut killed = Vec::new();
    for server in &mut fleet {
        let name = server.name.clone();
        killed.push(Instant::now());
        server.kill();
        server.revive();
        wait_until("it is up", || state(&weir, &name) == "up");
        load.wait_for("it has traffic", 20, |record| record.backend.as_ref() == Some(&name));
        load.run(0.4);
    }
    let ended = load.stop();
    let under_way = |record: &crate::harness::Record| {
        killed.iter().any(|at| post_between(*at, *at + Duration::from_millis(900))(record))
    };
    let lost = excusing("deployed without drain", &ended, &ledger, under_way);
    // 300 a second, of which a fourth are POSTs, on three, for 25 ms each: less than one at each kill.
    assert!(lost <= 3 * 6, "{lost} POSTs lost at three kills");
    counters_match("deployed without drain", &ended, &weir);
}

#[test]
fn one_in_maintenance_may_be_away_for_as_long_as_it_likes() {
    let ledger = ledger();
    let mut fleet = Server::three(&ledger);
    let weir = behind_weir(&fleet, &checked());
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.3);
    ctl(&weir, &["maintenance", "app", "two"]);
    wait_until("nothing is in flight there", || weir.metric("weir_in_flight", &[("backend", "two")]) == 0.0);
    fleet[1].kill();
    load.run(1.0);
    assert_eq!(state(&weir, "two"), "maintenance", "it is not checked");
    fleet[1].revive();
    load.run(0.5);
    assert_eq!(state(&weir, "two"), "maintenance");
    ctl(&weir, &["ready", "app", "two"]);
    load.wait_for("it has traffic", 20, |record| record.backend.as_deref() == Some("two"));
    let ended = load.stop();
    nothing_noticed("maintenance", &ended, &ledger);
}
