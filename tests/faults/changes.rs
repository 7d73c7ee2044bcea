//! Changes on the fly: backends that are added and removed, reloads. Nobody notices any of them.

use crate::control::{backends, ctl, try_ctl};
use crate::harness::{Backend, Mix, OpenLoop, Weir, answers, ticket, wait_until};
use crate::verdict::{counters_of, nothing_noticed, totals_match};
use crate::{CAREFUL, CHECK, FOUR_SHARDS, ledger, site};
use nix::sys::signal::Signal;

fn names(weir: &Weir) -> Vec<String> {
    let mut names: Vec<String> = backends(weir, "app").into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

#[test]
fn a_hundred_backends_that_are_added_and_removed() {
    let ledger = ledger();
    let fleet = ["a", "b", "c", "d"].map(|who| Backend::http(ticket::honest(who, &ledger)));
    let configured: Vec<_> =
        fleet[..2].iter().zip(["a", "b"]).map(|(b, name)| (name, b.address(), "")).collect();
    let weir = Weir::start(&site(FOUR_SHARDS, &configured, CAREFUL));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.3);
    for round in 0..100 {
        let more = &fleet[2 + round % 2];
        ctl(&weir, &["add", "app", &more.address(), "--weight", if round % 3 == 0 { "3" } else { "1" }]);
        assert_eq!(names(&weir).len(), 3, "round {round}");
        if round % 10 == 0 {
            let who = ["c", "d"][round % 2];
            load.wait_for("it has traffic", 5, |record| record.backend.as_deref() == Some(who));
        }
        ctl(&weir, &["remove", "app", &more.address()]);
        if round % 10 == 0 {
            let seen = more.requests();
            load.run(0.1);
            assert_eq!(more.requests(), seen, "who is removed gets nothing more");
        }
    }
    let ended = load.stop();
    nothing_noticed("added and removed", &ended, &ledger);
    wait_until("those that are removed are gone", || names(&weir) == ["a", "b"]);
    assert_eq!(ended.closed_idle, 0, "no client's connection ends for it");
    ["a", "b"].iter().for_each(|name| counters_of("added and removed", name, &ended, &weir));
    totals_match("added and removed", &ended, &weir);
}

#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let ledger = ledger();
    let backend = Backend::http(ticket::honest("a", &ledger));
    let weir = Weir::start(&site(FOUR_SHARDS, &[("a", backend.address(), "")], ""));
    for (args, told) in [
        (&["add", "nowhere", "127.0.0.1:1"][..], "nowhere"),
        (&["add", "app", "127.0.0.1:1", "--weight", "0"], "weight"),
        (&["add", "app", "no address"], "address"),
        (&["add", "app", "127.0.0.1:1", "--weight", "257"], "weight"),
        (&["remove", "app", "nobody"], "nobody"),
        (&["drain", "app", "nobody"], "nobody"),
        (&["weight", "app", "a", "0"], "256"),
    ] {
        let (code, text) = try_ctl(&weir, args);
        assert_ne!(code, 0, "{args:?}: {text}");
        assert!(text.contains(told), "{args:?} is told why: {text:?}");
    }
    assert_eq!(names(&weir), ["a"]);
}

/// The configurations that reloads go through: backends come and go, weights and time-outs change, a
/// listener comes and goes.
fn versions(fleet: &[Backend]) -> [String; 3] {
    let entry = |n: usize, name: &'static str, lines: &'static str| (name, fleet[n].address(), lines);
    let first = [entry(0, "a", ""), entry(1, "b", ""), entry(2, "c", "")];
    let second = [entry(0, "a", "weight = 3"), entry(2, "c", ""), entry(3, "d", "weight = 2")];
    let pool = format!("{CAREFUL}{CHECK}");
    let listener = "[[listener]]\nname = \"more\"\naddress = \"127.0.0.1:{more}\"\npool = \"app\"\n";
    [
        site(FOUR_SHARDS, &first, &pool),
        site(FOUR_SHARDS, &second, &pool.replace("response = \"10s\"", "response = \"20s\"")),
        site(FOUR_SHARDS, &second, &format!("policy = \"round_robin\"\n{pool}")) + listener,
    ]
}

#[test]
fn twenty_reloads() {
    let ledger = ledger();
    let fleet = ["a", "b", "c", "d"].map(|who| Backend::http(ticket::honest(who, &ledger)));
    let versions = versions(&fleet);
    let mut weir = Weir::start(&versions[0]);
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.5);
    for round in 1..=20 {
        let version = round % 3;
        weir.rewrite(&versions[version]);
        weir.signal(Signal::SIGHUP);
        let expected = if version == 0 { ["a", "b", "c"] } else { ["a", "c", "d"] };
        wait_until("the file holds", || names(&weir) == expected);
        let newest = if version == 0 { "b" } else { "d" };
        load.wait_for("who came has traffic", 5, |record| record.backend.as_deref() == Some(newest));
        if version == 2 {
            let more = weir.address("more");
            wait_until("the listener serves", || std::net::TcpStream::connect(more).is_ok());
        }
    }
    let ended = load.stop();
    nothing_noticed("reloads", &ended, &ledger);
    assert_eq!(ended.closed_idle, 0, "no client's connection ends for it");
    ["a", "c"].iter().for_each(|name| counters_of("reloads", name, &ended, &weir));
    totals_match("reloads", &ended, &weir);
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_of() {
    let ledger = ledger();
    let fleet = ["a", "b", "c", "d"].map(|who| Backend::http(ticket::honest(who, &ledger)));
    let versions = versions(&fleet);
    let mut weir = Weir::start(&versions[0]);
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.3);
    let hash = |weir: &Weir| {
        let page = weir.admin("/metrics").text();
        page.lines().filter(|line| line.contains("config") && line.contains("hash")).collect::<String>()
    };
    let before = hash(&weir);
    weir.rewrite(&versions[1].replace("weight = 3", "weight = 3000"));
    let (code, text) = try_ctl(&weir, &["reload"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("weight"), "it says what is wrong: {text}");
    assert_eq!(names(&weir), ["a", "b", "c"]);
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]), 0.0);
    assert_eq!(hash(&weir), before);
    weir.rewrite(&versions[1]);
    ctl(&weir, &["reload"]);
    assert_eq!(names(&weir), ["a", "c", "d"], "when it is answered, it is done");
    assert_eq!(weir.metric("weir_config_last_reload_success", &[]), 1.0);
    assert_ne!(hash(&weir), before);
    load.run(0.3);
    let ended = load.stop();
    nothing_noticed("bad file", &ended, &ledger);
    assert_eq!(ended.closed_idle, 0);
}

#[test]
fn memory_is_flat_over_150_reloads_and_none_of_a_thousand_connections_closes() {
    const CONNECTIONS: usize = 1_000;
    let ledger = ledger();
    let fleet = ["a", "b", "c", "d"].map(|who| Backend::http(ticket::honest(who, &ledger)));
    let versions = versions(&fleet);
    let mut weir = Weir::start(&versions[0]);
    let mix = Mix { rate: 400, connections: CONNECTIONS, fresh_every: 0, ..Mix::default() };
    let load = OpenLoop::start(weir.address("web"), mix);
    wait_until("all are connected", || weir.metric("weir_connections", &[]) >= CONNECTIONS as f64);
    let mut reload = |count: usize| {
        for round in 0..count {
            // The third has a listener more; the other two change all the rest.
            let version = if round % 10 == 9 { 2 } else { (round + 1) % 2 };
            weir.rewrite(&versions[version]);
            weir.signal(Signal::SIGHUP);
            let expected = if version == 0 { ["a", "b", "c"] } else { ["a", "c", "d"] };
            wait_until("the file holds", || names(&weir) == expected);
        }
        load.run(0.3);
        fleet.iter().for_each(Backend::forget);
        weir.resident()
    };
    reload(30);
    let before = reload(10);
    let after = reload(150);
    let grown = after.saturating_sub(before);
    println!("150 reloads: {} KiB before, {} KiB more after", before >> 10, grown >> 10);
    assert!(grown < 3 << 20, "grew by {grown} bytes from {before}");
    let ended = load.stop();
    nothing_noticed("150 reloads", &ended, &ledger);
    assert_eq!((ended.closed_idle, ended.opened), (0, CONNECTIONS as u64));
}

/// Routes of another listener's worth, at once: they hold as soon as the reload is confirmed, and whoever is
/// under way does not notice.
#[test]
fn ten_thousand_routes_that_a_reload_brings() {
    let ledger = ledger();
    let app = Backend::http(ticket::honest("a", &ledger));
    let [even, odd] = ["even", "odd"].map(|word| Backend::http(answers::text(word)));
    let pools = format!(
        "{}[[pool.even.backend]]\naddress = \"{}\"\n[[pool.odd.backend]]\naddress = \"{}\"\n",
        site("0,1", &[("a", app.address(), "")], ""),
        even.address(),
        odd.address()
    );
    let routes = |count: usize| -> String {
        let route = |n: usize| {
            let pool = ["even", "odd"][n % 2];
            format!("[[route]]\nlistener = \"web\"\nhost = \"h{n}.test\"\npool = \"{pool}\"\n")
        };
        pools.clone() + &(0..count).map(route).collect::<String>()
    };
    let mut weir = Weir::start(&pools);
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(0.3);
    let mut clients = [weir.client(), weir.client()];
    for count in [10_000, 9_000, 10_000] {
        weir.rewrite(&routes(count));
        assert!(ctl(&weir, &["reload"]).contains(&count.to_string()), "it says how many there are");
        for n in (0..10_000).step_by(501).chain([9_999]) {
            let client = &mut clients[n / 501 % 2];
            let host = format!("GET /ticket/{}/20 HTTP/1.1\r\nHost: h{n}.test\r\n\r\n", 1_000_000 + n);
            let response = client.ask(host);
            if n < count {
                assert_eq!(response.text(), ["even", "odd"][n % 2], "{n} of {count}");
            } else {
                assert_eq!(response.fields.get(ticket::WHO), Some("a"), "{n} of {count}");
            }
        }
    }
    load.run(0.3);
    nothing_noticed("ten thousand routes", &load.stop(), &ledger);
}
