//! What changes by `weir ctl` do: on every shard once they are answered, and without losing a request.

use crate::ctl::{ask, ctl};
use crate::harness::{Backend, Client, Handler, Load, Then, Weir, answers, wait_still, wait_until};
use crate::{backends, pool_of};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two shards on one core.
const TWO: &str = "0,0";

fn two(lines: &str) -> (Backend, Backend, Weir) {
    let (one, two) = (Backend::http(answers::text("one")), Backend::http(answers::text("two")));
    let weir = Weir::start(&pool_of(TWO, &[(&one, ""), (&two, "")], lines));
    (one, two, weir)
}

/// Connections on both shards.
fn on_both_shards(weir: &Weir) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..12).map(|_| weir.client()).collect();
    wait_until("both shards have connections", || {
        clients.push(weir.client());
        clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
        ["0", "1"].iter().all(|shard| weir.metric("weir_connections", &[("shard", shard)]) >= 3.0)
    });
    clients
}

/// Who answers these clients now.
fn who(clients: &mut [Client]) -> BTreeSet<String> {
    clients.iter_mut().flat_map(|client| (0..4).map(|_| client.get("/").text()).collect::<Vec<_>>()).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}

#[test]
fn a_change_holds_on_every_shard_as_soon_as_it_is_answered() {
    let (_one, _two, weir) = two("policy = \"round_robin\"");
    let mut clients = on_both_shards(&weir);
    assert_eq!(who(&mut clients), names(["one", "two"]));
    for _ in 0..10 {
        for (out, back) in [("drain", "ready"), ("maintenance", "ready")] {
            let page = ctl(&weir, &format!("{out} app 0 --json")).done().page();
            assert_eq!(who(&mut clients), names(["two"]), "{out}: {page}");
            assert_eq!((&page["shards"], &page["unchanged"]), (&2.into(), &false.into()), "{page}");
            assert_eq!(page["backend"]["state"], if out == "drain" { "draining" } else { "maintenance" });
            assert_eq!(page["backend"]["usable"], false);
            let page = ctl(&weir, &format!("{back} app 0 --json")).done().page();
            assert_eq!(who(&mut clients), names(["one", "two"]), "{back}: {page}");
        }
    }
    let took_us = |page: &Value| page["confirmed_us"].as_u64().unwrap();
    let mut all: Vec<u64> = (0..20)
        .flat_map(|_| {
            ["drain", "ready"].map(|verb| ctl(&weir, &format!("{verb} app 0 --json")).done().page())
        })
        .map(|page| took_us(&page))
        .collect();
    all.sort_unstable();
    println!("confirmed within {all:?} µs");
    // An idle machine does it in a fraction of one; the quickest are judged, since this one is not idle. A shard that
    // were not woken for it would hear of it with its heartbeat, which is 100 ms.
    assert!(all[all.len() / 4] < 50_000, "a quarter of the changes within 50 ms: {all:?}");
}

#[test]
fn a_weight_changes_the_shares_and_says_what_it_replaced() {
    let (_one, _two, weir) = two("policy = \"round_robin\"");
    let page = ctl(&weir, "weight app 0 3 --json").done().page();
    assert_eq!((&page["backend"]["weight"], &page["backend"]["configured_weight"]), (&3.into(), &1.into()));
    let mut client = weir.client();
    let ones = (0..80).filter(|_| client.get("/").text() == "one").count();
    assert!((58..=62).contains(&ones), "three of four: {ones}");
    let again = ctl(&weir, "weight app 0 3 --json").done().page();
    assert_eq!(again["unchanged"], true);
    let table = ctl(&weir, "backends").done().out;
    assert!(table.contains("3 (configured 1)"), "{table}");
}

#[test]
fn a_dry_run_says_what_would_move_and_changes_nothing() {
    let all: Vec<Backend> = (0..4).map(|n| Backend::http(answers::text(&n.to_string()))).collect();
    let listed: Vec<_> = all.iter().map(|backend| (backend, "")).collect();
    let weir = Weir::start(&pool_of(TWO, &listed, "policy = \"ip_hash\""));
    let steady = || {
        let pages: Vec<Value> = backends(&weir);
        pages
            .iter()
            .map(|page| format!("{} {} {}", page["name"], page["state"], page["weight"]))
            .collect::<Vec<_>>()
    };
    let (before, generation) = (steady(), weir.metric("weir_config_generation", &[]));
    for (arguments, share) in [
        ("remove app 0", 0.25..=0.25),
        ("drain app 1", 0.25..=0.25),
        ("maintenance app 2", 0.25..=0.25),
        ("weight app 3 2", 0.1..=0.25),
        ("add app 127.0.0.1:1", 0.2..=0.2),
        ("ready app 0", 0.0..=0.0),
    ] {
        let page = ctl(&weir, &format!("{arguments} --dry-run --json")).done().page();
        assert_eq!((&page["dry_run"], &page["shards"]), (&true.into(), &0.into()), "{arguments}: {page}");
        let moved = page["moved"].as_f64().unwrap_or_else(|| panic!("{arguments}: {page}"));
        let near = (share.start() - 0.03)..=(share.end() + 0.03);
        assert!(near.contains(&moved), "{arguments}: {moved} is not within {share:?}");
        assert_eq!(steady(), before, "{arguments}");
        let text = ctl(&weir, &format!("{arguments} --dry-run")).done().out;
        assert!(text.starts_with("nothing was done") && text.contains("% of clients"), "{text}");
    }
    assert_eq!(weir.metric("weir_config_generation", &[]), generation);
    let refused = ctl(&weir, "remove app 9 --dry-run");
    assert_eq!(refused.code, Some(1), "a dry run refuses what the change would: {refused:?}");
}

#[test]
fn where_no_hash_decides_nobody_is_said_to_move() {
    let (_one, _two, weir) = two("policy = \"least_conn\"");
    let page = ctl(&weir, "drain app 0 --dry-run --json").done().page();
    assert!(page["moved"].is_null(), "{page}");
    assert!(!ctl(&weir, "drain app 0 --dry-run").done().out.contains("clients"));
}

/// Answers after `length`.
fn slow(length: Duration, body: &str) -> Handler {
    answers::delayed(length, answers::text(body))
}

#[test]
fn drain_waits_for_what_is_in_flight_and_cuts_nothing() {
    let one = Backend::http(slow(Duration::from_millis(1_500), "one"));
    let backup = Backend::http(answers::text("backup"));
    let weir = Weir::start(&pool_of(TWO, &[(&one, ""), (&backup, "backup = true")], ""));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("it is in flight", || backends(&weir)[0]["in_flight"] == 1);
    let page = ctl(&weir, "drain app 0 --json").done().page();
    assert!(page.get("drained").is_none(), "not waited for: {page}");
    let waited = ctl(&weir, "drain app 0 --wait --json").done().page();
    assert_eq!((&waited["drained"], &waited["backend"]["in_flight"]), (&true.into(), &0.into()), "{waited}");
    // It came back after the answer was on its way, and not before.
    assert_eq!(one.requests(), 1);
    assert_eq!(client.response().text(), "one");
    let (status, _, page) = ask(&weir, "POST /pools/app/backends/0/drain?wait=true", "");
    assert_eq!((status, &page["drained"], &page["unchanged"]), (200, &true.into(), &true.into()));
}

#[test]
fn maintenance_stops_the_checks_and_ready_starts_them() {
    let ill = Arc::new(AtomicBool::new(false));
    let sick = ill.clone();
    let backend = Backend::http(answers::by(move |received, wire| {
        let status = if received.line().contains("/up") && sick.load(Ordering::SeqCst) { 500 } else { 200 };
        wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))?;
        Ok(Then::KeepAlive)
    }));
    let other = Backend::http(answers::text("other"));
    let check = "[pool.app.health]\npath = \"/up\"\ninterval = \"20ms\"\ninterval_down = \"20ms\"\ntimeout = \"20s\"\nrise = 1\nfall = 1\n";
    let weir = Weir::start(&pool_of(TWO, &[(&backend, ""), (&other, "")], check));
    wait_until("it is up", || crate::state(&weir, 0) == "up");
    ctl(&weir, "maintenance app 0").done();
    // One may have been under way.
    let probes = || {
        let page = weir.admin("/metrics").text();
        page.lines()
            .filter(|line| line.starts_with("weir_probes_total") && line.contains("backend=\"0\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    wait_still("checks stop", probes);
    ill.store(true, Ordering::SeqCst);
    ctl(&weir, "ready app 0").done();
    wait_until("the check sees that it is ill", || crate::state(&weir, 0) == "down");
    ill.store(false, Ordering::SeqCst);
    wait_until("it is up again", || crate::state(&weir, 0) == "up");
    // Draining, the checks go on.
    ctl(&weir, "drain app 0").done();
    let before = probes();
    wait_until("checks go on", || probes() > before + 3);
    assert_eq!(crate::state(&weir, 0), "draining");
}

#[test]
fn a_backend_on_a_unix_socket_and_one_by_its_address_are_added_and_removed_by_name() {
    let (_one, _two, weir) = two("policy = \"round_robin\"");
    let third = Backend::http(answers::text("three"));
    let socket = weir.dir().join("four.sock");
    let fourth = Backend::http_unix(&socket, answers::text("four"));
    let mut clients = on_both_shards(&weir);
    let four = format!("unix:{}", socket.display());
    ctl(&weir, &format!("add app {}", third.address())).done();
    let page = ctl(&weir, &format!("add app {four} --weight 2 --json")).done().page();
    assert_eq!(
        (&page["backend"]["name"], &page["backend"]["origin"]),
        (&four.as_str().into(), &"added".into())
    );
    assert_eq!(who(&mut clients), names(["one", "two", "three", "four"]));
    assert_eq!(backends(&weir).len(), 4);
    ctl(&weir, &format!("remove app {four}")).done();
    assert_eq!(who(&mut clients), names(["one", "two", "three"]));
    ctl(&weir, &format!("remove app {}", third.address())).done();
    assert_eq!(who(&mut clients), names(["one", "two"]));
    wait_until("they are gone", || backends(&weir).len() == 2);
    assert_eq!(weir.metric("weir_requests_total", &[("backend", &four)]), 0.0, "and from the metrics too");
    drop(fourth);
    let stats = || ctl(&weir, "stats --json").done().page()["requests"].as_u64().unwrap();
    let sent = stats();
    assert!(sent > weir.metric("weir_requests_total", &[]) as u64, "the sum still knows of them: {sent}");
    ctl(&weir, &format!("add app {} --name again", third.address())).done();
    assert_eq!(who(&mut clients), names(["one", "two", "three"]), "a number given again counts anew");
    assert_eq!(ctl(&weir, "remove app again").code, Some(0));
}

#[test]
fn a_configured_backend_that_is_removed_stays_away_until_it_is_added() {
    let (one, _two, weir) = two("policy = \"round_robin\"");
    let mut clients = on_both_shards(&weir);
    ctl(&weir, "remove app 0").done();
    assert_eq!(who(&mut clients), names(["two"]));
    let again = ctl(&weir, "remove app 0");
    assert_eq!(again.code, Some(1), "{again:?}");
    ctl(&weir, &format!("add app {} --name 0", one.address())).done();
    assert_eq!(who(&mut clients), names(["one", "two"]));
}

#[test]
fn adding_and_removing_under_load_loses_nothing() {
    let (_one, _two, weir) = two("policy = \"round_robin\"");
    let guests: Vec<Backend> =
        (0..2).map(|_| Backend::http(slow(Duration::from_millis(5), "guest"))).collect();
    let load = Load::get(weir.address("web"), 8, "/");
    for round in 0..50 {
        let guest = &guests[round % 2];
        ctl(&weir, &format!("add app {} --weight {}", guest.address(), 1 + round % 3)).done();
        let sent = guest.requests();
        wait_until("the new one gets traffic", || guest.requests() > sent + 3);
        if round % 5 == 0 {
            ctl(&weir, &format!("drain app {} --wait", guest.address())).done();
        }
        ctl(&weir, &format!("remove app {}", guest.address())).done();
    }
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
    assert!(counts.ok > 500, "{counts:?}");
    wait_until("all guests are gone", || backends(&weir).len() == 2);
    assert_eq!(weir.metric("weir_upstream_failures_total", &[]), 0.0);
}
