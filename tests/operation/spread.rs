//! Few connections on many shards: each is handed to the shard that has fewest, before a byte of it is read.

use crate::harness::{Backend, Client, Load, Weir, answers, wait_until};
use crate::pool_of;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const EIGHT_SHARDS: &str = "0,0,0,0,1,1,1,1";

/// Connections of each shard, once there are so many in all.
fn spread(weir: &Weir, total: usize) -> Vec<usize> {
    let of = |shard: usize| weir.metric("weir_connections", &[("shard", &shard.to_string())]) as usize;
    let all = || (0..8).map(of).collect::<Vec<_>>();
    let mut counts = all();
    wait_until("all connections are there, and no others", || {
        counts = all();
        counts.iter().sum::<usize>() == total
    });
    counts
}

fn handed_over(weir: &Weir) -> f64 {
    weir.metric("weir_connections_handed_over_total", &[])
}

/// So many connections that have each had an answer.
fn clients(weir: &Weir, count: usize) -> Vec<Client> {
    let answered = |_| {
        let mut client = weir.client();
        assert_eq!(client.get("/").text(), "ok");
        client
    };
    (0..count).map(answered).collect()
}

#[test]
fn twenty_four_connections_on_eight_shards_are_three_on_each() {
    let backend = Backend::http(answers::text("ok"));
    let mut handed = 0.0;
    for round in 0..3 {
        let weir = Weir::start(&pool_of(EIGHT_SHARDS, &[(&backend, "")], ""));
        let mut held = clients(&weir, 24);
        assert_eq!(spread(&weir, 24), [3; 8], "round {round}");
        // They are as good as any.
        held.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "ok"));
        handed += handed_over(&weir);
    }
    assert!(handed >= 3.0, "{handed}");
}

#[test]
fn connections_that_come_at_once_are_spread_as_well() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&pool_of(EIGHT_SHARDS, &[(&backend, "")], ""));
    let mut held: Vec<Client> = (0..24).map(|_| weir.client()).collect();
    held.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    held.iter_mut().for_each(|client| assert_eq!(client.response().text(), "ok"));
    let counts = spread(&weir, 24);
    // Those that two shards accept in the same moment may both stay where they are.
    assert!(counts.iter().all(|count| (1..=5).contains(count)), "{counts:?}");
}

#[test]
fn connections_that_do_not_last_are_served_where_they_are_accepted() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&pool_of("0,0,1,1", &[(&backend, "")], ""));
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let began = Instant::now();
    let load = Load::start(weir.address("web"), 6, request, Duration::ZERO, |answer| answer.status == 200);
    wait_until("hundreds have come", || weir.metric("weir_connections_accepted_total", &[]) >= 500.0);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
    // Of a second's, each of the four shards looks at the first sixteen.
    let looked_at = 4.0 * 16.0 * (began.elapsed().as_secs_f64() + 1.0);
    assert!(handed_over(&weir) <= looked_at, "{} of {looked_at}", handed_over(&weir));
}

#[test]
fn a_connection_that_is_handed_over_keeps_its_place_under_the_limits_and_its_address() {
    let backend = Backend::http(answers::text("ok"));
    let limited = pool_of(EIGHT_SHARDS, &[(&backend, "")], "")
        .replace("pool = \"app\"\n", "pool = \"app\"\nmax_connections = 24\n");
    let weir = Weir::start(&limited);
    let held = clients(&weir, 24);
    spread(&weir, 24);
    assert!(handed_over(&weir) > 0.0);
    let refused =
        |weir: &Weir| weir.metric("weir_connections_refused_total", &[("cause", "max_connections")]);
    // Its connect may fail already.
    drop(TcpStream::connect(weir.address("web")));
    wait_until("one more is refused", || refused(&weir) == 1.0);
    drop(held);
    spread(&weir, 0);
    clients(&weir, 24);
    assert!(
        backend.received().iter().all(|request| request.fields.get("X-Forwarded-For") == Some("127.0.0.1"))
    );
}

#[test]
fn a_shard_that_dies_gets_none_and_what_it_has_is_served_to_its_end() {
    let backend = Backend::http(answers::text("ok"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env("WEIR_FAULT_INJECTION", "1");
    let weir = Weir::start_by(command, &pool_of(EIGHT_SHARDS, &[(&backend, "")], ""));
    let mut held = clients(&weir, 24);
    assert_eq!(weir.try_admin("POST", "/inject/shards/5/panic").unwrap().status / 100, 2);
    wait_until("it is over", || weir.stderr().contains("its loop panicked"));
    let mut more = clients(&weir, 24);
    // Only those of the dead shard may have ended: it waits a second for what is on its way.
    let answers = |client: &mut Client| {
        let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        client
            .wire
            .send(request)
            .and_then(|()| client.wire.response("GET"))
            .is_ok_and(|answer| answer.is_some())
    };
    let answered = held.iter_mut().filter_map(|client| answers(client).then_some(())).count();
    assert!(answered >= 21, "{answered}");
    wait_until("it has ended", || weir.metric("weir_shards", &[("state", "serving")]) == 7.0);
    more.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "ok"));
}

#[test]
fn a_drain_among_connections_that_are_being_handed_over_loses_none() {
    let backend = Backend::http(answers::text("ok"));
    for _ in 0..3 {
        let mut weir = Weir::start(&pool_of(EIGHT_SHARDS, &[(&backend, "")], ""));
        // Connections that last long enough to be handed over.
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let pause = Duration::from_millis(3);
        let load = Load::start(weir.address("web"), 20, request, pause, |answer| answer.status == 200);
        wait_until("some have been handed over", || handed_over(&weir) >= 3.0);
        weir.signal(Signal::SIGTERM);
        assert!(weir.wait_exit(Duration::from_secs(30)).success());
        let counts = load.stop();
        assert_eq!((counts.wrong, counts.lost), (0, 0), "{counts:?}");
    }
}

#[test]
fn a_takeover_among_connections_that_are_being_handed_over_loses_none() {
    let backend = Backend::http(answers::text("ok"));
    let configuration = pool_of(EIGHT_SHARDS, &[(&backend, "")], "")
        .replace("pool = \"app\"\n[pool", "pool = \"app\"\nmax_requests = 5\n[pool");
    let mut old = Weir::start(&configuration);
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let pause = Duration::from_millis(20);
    let load = Load::start(old.address("web"), 20, request, pause, |answer| answer.status == 200);
    wait_until("some have been handed over", || handed_over(&old) >= 10.0);
    let new = old.successor(&configuration);
    assert!(old.wait_exit(Duration::from_secs(30)).success());
    wait_until("the successor hands over too", || handed_over(&new) >= 10.0);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
}

#[test]
fn listeners_that_come_and_go_under_load_lose_no_connection_that_is_handed_over() {
    let backend = Backend::http(answers::text("ok"));
    let one = pool_of(EIGHT_SHARDS, &[(&backend, "")], "");
    let two = format!("{one}[[listener]]\naddress = \"127.0.0.1:{{more}}\"\npool = \"app\"\n");
    let mut weir = Weir::start(&two);
    let more = weir.address("more");
    for round in 1..6 {
        let mut held: Vec<Client> = (0..40).map(|_| Client::connect(more)).collect();
        weir.rewrite(&one);
        weir.signal(Signal::SIGHUP);
        held.iter_mut().for_each(|client| assert_eq!(client.get("/").text(), "ok"));
        wait_until("it is loaded", || weir.stderr().matches("configuration loaded").count() == 2 * round - 1);
        weir.rewrite(&two);
        weir.signal(Signal::SIGHUP);
        wait_until("it is there again", || TcpStream::connect(more).is_ok());
        wait_until("it is loaded", || weir.stderr().matches("configuration loaded").count() == 2 * round);
    }
}

/// A shard may be meant for a connection before it has heard of the listener, or when it knows it no more: it sends it
/// back.
#[test]
fn a_listener_that_comes_and_goes_loses_no_connection_that_was_accepted() {
    let backend = Backend::http(answers::text("ok"));
    let without = pool_of(EIGHT_SHARDS, &[(&backend, "")], "");
    let with = format!(
        "{without}\n[[listener]]\nname = \"more\"\naddress = \"127.0.0.1:{{more}}\"\npool = \"app\"\n"
    );
    let mut weir = Weir::start(&with);
    let more = weir.address("more");
    for round in 0..5 {
        weir.rewrite(&without);
        weir.signal(Signal::SIGHUP);
        wait_until("the listener has left", || TcpStream::connect(more).is_err());
        weir.rewrite(&with);
        weir.signal(Signal::SIGHUP);
        let mut held = Vec::new();
        // At once from the first that is accepted on: the shards hear of it one after another.
        wait_until("it is back, and has two dozen connections", || {
            held.extend((held.len()..24).map_while(|_| TcpStream::connect(more).ok()));
            held.len() == 24
        });
        for mut client in held {
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("ok"), "round {round}: {answer}");
        }
    }
}
