//! weir replaced by weir: the next process gets the sockets and what is known, the last one leaves when it
//! has answered what it has.

use crate::control::{ctl, state};
use crate::fleet::Server;
use crate::harness::{Dns, Mix, OpenLoop, Weir, free_port, wait_until};
use crate::verdict::nothing_noticed;
use crate::{CAREFUL, CHECK, ledger, site};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[test]
fn five_takeovers_with_other_numbers_of_shards() {
    let ledger = ledger();
    let fleet = Server::three(&ledger);
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    let pool = format!("{CAREFUL}{CHECK}");
    let mut weir = Weir::start(&site("0,1", &entries, &pool));
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 3, ..Mix::default() });
    load.run(0.5);
    for cores in ["0,1,0,1", "0", "0,1,0", "1,0", "0,1,0,1"] {
        let next = weir.successor(&site(cores, &entries, &pool));
        let status = weir.wait_exit(Duration::from_secs(20));
        assert_eq!(status.code(), Some(0), "the former one leaves in good order");
        weir = next;
        wait_until("the new one is ready", || weir.is_ready());
        let shards = weir.metric("weir_shards", &[("state", "serving")]);
        assert_eq!(shards as usize, cores.split(',').count(), "it is the new one that answers");
        load.run(0.4);
    }
    let ended = load.stop();
    nothing_noticed("takeovers", &ended, &ledger);
}

/// With one down and one drained, neither gets an exchange from the new process, not even its first.
#[test]
fn the_next_process_knows_who_is_down_and_who_is_drained() {
    let ledger = ledger();
    let mut fleet = Server::three(&ledger);
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    // Checks are rare, and the first one of a new process is not enough, so that it is not by them that it
    // knows.
    let check = CHECK
        .replace("interval = \"100ms\"", "interval = \"20s\"")
        .replace("interval_down = \"50ms\"", "interval_down = \"20s\"")
        .replace("fall = 3", "fall = 1");
    let config = site("0,1", &entries, &format!("{CAREFUL}{check}"));
    fleet[0].kill();
    let mut weir = Weir::start(&config);
    wait_until("one is down", || state(&weir, "one") == "down");
    wait_until("the others are up", || state(&weir, "two") == "up" && state(&weir, "three") == "up");
    ctl(&weir, &["drain", "app", "two", "--wait"]);
    // It is there again, and would answer.
    fleet[0].revive();
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 3, ..Mix::default() });
    load.run(0.4);
    for _ in 0..2 {
        let next = weir.successor(&config);
        assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(0));
        weir = next;
        wait_until("the new one is ready", || weir.is_ready());
        assert_eq!([state(&weir, "one"), state(&weir, "two")], ["down", "draining"]);
        load.run(0.4);
    }
    let ended = load.stop();
    nothing_noticed("known to the next", &ended, &ledger);
    assert_eq!((ended.share_of("one"), ended.share_of("two"), ended.share_of("three")), (0.0, 0.0, 1.0));
}

/// Who has just returned goes on with the small share that it had come to.
#[test]
fn the_next_process_goes_on_with_a_slow_start() {
    let ledger = ledger();
    let fleet = Server::three(&ledger);
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    let pool = format!("policy = \"round_robin\"\nslow_start = \"8s\"\n{CAREFUL}{CHECK}");
    let config = site("0,1", &entries, &pool);
    let mut weir = Weir::start(&config);
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    ctl(&weir, &["maintenance", "app", "three"]);
    // The others' own slow start is over.
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 3, ..Mix::default() });
    load.run(8.2);
    ctl(&weir, &["ready", "app", "three"]);
    let returned = Instant::now();
    wait_until("it is up", || state(&weir, "three") == "up");
    load.run(0.7);
    let next = weir.successor(&config);
    assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(0));
    let taken_over = Instant::now();
    weir = next;
    load.run(1.5);
    let early = Instant::now();
    load.run(8.5);
    let ended = load.stop();
    nothing_noticed("slow start over a takeover", &ended, &ledger);
    let shares = [
        ended.due(taken_over, early).share_of("three"),
        ended.due(returned + Duration::from_millis(8_500), Instant::now()).share_of("three"),
    ];
    println!("shares after the takeover and after the ramp: {shares:?}");
    // Of 8 s at most so many are over (4, and 6 on a busy machine): that much of a weight beside two whole ones.
    let weight = (early - returned).as_secs_f64() / 8.0;
    let most = weight / (2.0 + weight);
    assert!((0.01..=most).contains(&shares[0]), "more at once than {most:.3}, or nothing: {shares:?}");
    assert!((0.28..0.38).contains(&shares[1]), "{shares:?}");
    assert_eq!(state(&weir, "three"), "up");
}

/// A DNS that is gone keeps nobody from being upgraded.
#[test]
fn the_next_process_starts_with_the_names_that_it_was_handed() {
    let (ledger, port, mut dns) = (ledger(), free_port(), Dns::start());
    let host = Ipv4Addr::new(127, 0, 0, 2);
    let _server = Server::start_at((host, port).into(), &[], "two", &ledger, Duration::from_millis(3));
    dns.host("app.test.", 1, &[host]);
    let resolver = format!("[runtime]\nresolver = \"{}\"\n", dns.address());
    let config = |cores| {
        let entry = ("n", format!("app.test:{port}"), "");
        site(cores, &[entry], CAREFUL).replace("[runtime]\n", &resolver)
    };
    let mut weir = Weir::start(&config("0,1"));
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 3, ..Mix::default() });
    load.run(0.5);
    dns.die();
    for cores in ["0,1,0", "0,1"] {
        let next = weir.successor(&config(cores));
        assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(0));
        weir = next;
        wait_until("the new one is ready", || weir.is_ready());
        assert_eq!(crate::control::backends(&weir, "app")[0].0, format!("n@{host}:{port}"));
        load.run(0.5);
    }
    wait_until("the new one has asked too", || weir.stderr().contains("what was known of the name is kept"));
    load.run(0.5);
    nothing_noticed("names over a takeover", &load.stop(), &ledger);
    // Who is handed nothing cannot know.
    let mut afresh = Weir::spawn(&config("0"));
    assert_eq!(afresh.wait_exit(Duration::from_secs(20)).code(), Some(1));
}
