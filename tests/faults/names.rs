//! Names that move: a backend is a host name or a service, and the DNS says something else by and by, fails,
//! dies. Nobody notices.

use crate::control::{backends, ctl};
use crate::fleet::Server;
use crate::harness::{Dns, End, Ledger, Mix, OpenLoop, Record, Weir, free_port, wait_until};
use crate::verdict::{excusing, nothing_noticed};
use crate::{CAREFUL, FOUR_SHARDS, ledger, site};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Loopback addresses of backends that share a port, as those of one host name do.
const HOSTS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];

/// A backend on each of `HOSTS`, all on `port`.
fn fleet(port: u16, ledger: &Ledger) -> [Server; 3] {
    let start = |(name, host): (&str, Ipv4Addr)| {
        Server::start_at((host, port).into(), &[], name, ledger, Duration::from_millis(3))
    };
    [("two", HOSTS[0]), ("three", HOSTS[1]), ("four", HOSTS[2])].map(start)
}

/// A pool of one entry, "n", at the name `address`, which this server is asked for.
fn named(dns: &Dns, address: &str, pool: &str) -> String {
    let resolver = format!("[runtime]\nresolver = \"{}\"\n", dns.address());
    site(FOUR_SHARDS, &[("n", address.to_owned(), "")], pool).replace("[runtime]\n", &resolver)
}

/// The pool's backends by name, in order.
fn names(weir: &Weir) -> Vec<String> {
    let mut names: Vec<String> = backends(weir, "app").into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

#[test]
fn the_answer_flips_each_second_and_then_the_resolver_dies() {
    let (ledger, port, mut dns) = (ledger(), free_port(), Dns::start());
    let fleet = fleet(port, &ledger);
    dns.host("app.test.", 1, &HOSTS[..1]);
    // Nothing is sent twice here: who is asked is there.
    let weir = Weir::start(&named(&dns, &format!("app.test:{port}"), ""));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    for round in 0..6 {
        let (host, server) = (HOSTS[round % 2], &fleet[round % 2]);
        dns.host("app.test.", 1, &[host]);
        let name = format!("n@{host}:{port}");
        wait_until("the new address is used", || backends(&weir, "app").iter().any(|(own, _)| *own == name));
        load.wait_for("it has traffic", 50, |record| record.backend.as_deref() == Some(&server.name));
        assert!(ctl(&weir, &["backends"]).contains(&name), "round {round}");
    }
    let known = [format!("n@{}:{port}", HOSTS[1])];
    wait_until("the former ones are gone", || names(&weir) == known);
    let told = || weir.stderr().matches("what was known of the name is kept").count();
    dns.fail(true);
    wait_until("a look-up has failed", || told() == 1);
    load.run(1.0);
    dns.fail(false);
    let asked = dns.questions();
    wait_until("it is looked up again", || dns.questions() > asked);
    dns.die();
    wait_until("another has failed", || told() > 1);
    load.run(2.0);
    let ended = load.stop();
    nothing_noticed("names that move", &ended, &ledger);
    assert_eq!(names(&weir), known);
    let shares = ["two", "three"].map(|name| ended.share_of(name));
    assert!(shares.iter().all(|share| *share > 0.1), "{shares:?}");
    assert_eq!(ended.closed_idle, 0, "no client's connection ends for it");
}

#[test]
fn a_services_weights_and_priorities_hold_and_may_change() {
    let (ledger, port, dns) = (ledger(), free_port(), Dns::start());
    let _fleet = fleet(port, &ledger);
    for (name, host) in [("two.test.", HOSTS[0]), ("three.test.", HOSTS[1]), ("four.test.", HOSTS[2])] {
        dns.host(name, 60, &[host]);
    }
    let service = |ranks: [(u16, u16, &str); 3]| {
        dns.service(
            "_app._tcp.test.",
            1,
            &ranks.map(|(priority, weight, host)| (priority, weight, port, host)),
        );
    };
    service([(1, 30, "two.test."), (1, 10, "three.test."), (2, 90, "four.test.")]);
    let weir = Weir::start(&named(&dns, "_app._tcp.test", "policy = \"round_robin\""));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(2.0);
    let moved = Instant::now();
    service([(1, 10, "two.test."), (3, 30, "three.test."), (1, 30, "four.test.")]);
    load.wait_for("another has traffic", 50, |record| record.backend.as_deref() == Some("four"));
    let settled = Instant::now() + Duration::from_millis(100);
    load.run(2.0);
    let ended = load.stop();
    nothing_noticed("a service", &ended, &ledger);
    let shares = |from: Instant, to: Instant| {
        let during = ended.due(from, to);
        ["two", "three", "four"].map(|name| during.share_of(name))
    };
    let before = shares(ended.records[0].due, moved - Duration::from_millis(100));
    assert!((0.70..0.80).contains(&before[0]) && before[2] == 0.0, "{before:?}");
    let after = shares(settled, Instant::now());
    assert!((0.70..0.80).contains(&after[2]) && after[1] == 0.0, "{after:?}");
}

/// The records hold for hours; that nobody is there is reason enough to ask.
#[test]
fn a_name_that_nobody_answers_at_is_looked_up_long_before_its_time() {
    let (ledger, port, dns) = (ledger(), free_port(), Dns::start());
    let mut fleet = fleet(port, &ledger);
    dns.host("app.test.", 7_200, &HOSTS[..1]);
    let weir = Weir::start(&named(&dns, &format!("app.test:{port}"), CAREFUL));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(1.5);
    let asked = dns.questions();
    dns.host("app.test.", 7_200, &HOSTS[1..2]);
    let died = Instant::now();
    fleet[0].kill();
    load.wait_for("the other one has the traffic", 10, |record| record.backend.as_deref() == Some("three"));
    let back = Instant::now();
    load.run(1.0);
    let ended = load.stop();
    let gone = |record: &Record| {
        let unserved = matches!(record.end, End::Refused(502..=504, _) | End::Cut(_));
        unserved && record.ended() >= died && record.due < back
    };
    let lost = excusing("moved unannounced", &ended, &ledger, gone);
    println!("moved unannounced: recovered within {:?}, {lost} refused meanwhile", back - died);
    assert!(lost > 0, "nobody was there for a moment");
    assert!(dns.questions() - asked <= 8, "and it is not asked again and again: {}", dns.questions() - asked);
    assert_eq!(names(&weir), [format!("n@{}:{port}", HOSTS[1])]);
}
