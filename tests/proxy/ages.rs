//! `max_age` and `max_requests`, on both sides: connections end between two exchanges, and nothing is lost.

use crate::harness::{Backend, Client, Load, Response, Then, Weir, answers, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::Duration;

/// A little longer than the age of a second that these tests give connections.
const OVER_A_SECOND: Duration = Duration::from_millis(1_100);

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn says_close(response: &Response) -> bool {
    response.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// Asks until an answer says that it was the last: how many there were.
fn requests_until_the_last(client: &mut Client) -> usize {
    let mut count = 1;
    while !says_close(&client.get("/")) {
        count += 1;
    }
    client.assert_closed();
    count
}

#[test]
fn keep_alive_clients_under_load_lose_nothing_when_their_connections_end() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_age = \"1s\"\nmax_requests = 50", ""));
    let fast = Load::get(weir.address("web"), 8, "/");
    // These end by their age, most of them while they wait for their client.
    let pause = Duration::from_millis(50);
    let slow = Load::start(weir.address("web"), 8, REQUEST.as_bytes(), pause, |answer| answer.status == 200);
    let ended = |cause| weir.metric("weir_connections_lived_out_total", &[("cause", cause)]);
    wait_until("many connections have ended", || ended("max_age") >= 20.0 && ended("max_requests") >= 200.0);
    for (name, load) in [("fast", fast), ("slow", slow)] {
        let counts = load.stop();
        assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{name}: {counts:?}");
    }
}

#[test]
fn the_last_answer_of_a_connection_says_so_and_what_was_sent_behind_it_costs_nobody_that_answer() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_requests = 3", ""));
    let mut client = weir.client();
    client.send(REQUEST.repeat(20));
    let closes: Vec<bool> = (0..3).map(|_| says_close(&client.response())).collect();
    assert_eq!(closes, [false, false, true]);
    // Not a reset, although there was more to read.
    client.assert_closed();
    assert_eq!(backend.requests(), 3);
}

#[test]
fn a_connection_over_its_age_answers_once_more_and_is_not_closed_while_its_client_may_be_sending() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_age = \"1s\"", ""));
    let mut client = weir.client();
    assert!(!says_close(&client.get("/")));
    client.assert_silent(OVER_A_SECOND);
    assert!(says_close(&client.get("/")));
    client.assert_closed();
}

#[test]
fn where_no_idle_timeout_would_end_it_an_idle_connection_ends_by_its_age() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_age = \"1s\"\nidle_timeout = \"0s\"", ""));
    let mut client = weir.client();
    assert!(!says_close(&client.get("/")));
    client.assert_closed();
    weir.wait_metric("weir_connections_lived_out_total", &[("cause", "max_age")], 1.0);
}

#[test]
fn an_exchange_that_outlives_its_connections_age_is_whole() {
    let pieces = answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..12 {
            wire.send("2\r\nok\r\n")?;
            sleep(Duration::from_millis(100));
        }
        wire.send("0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    });
    let backend = Backend::http(pieces);
    let both = one_pool(&[&backend], "max_age = \"1s\"", "[pool.app.upstream]\nmax_age = \"1s\"\n");
    let weir = Weir::start(&both);
    let mut client = weir.client();
    let answer = client.get("/");
    assert_eq!(answer.text(), "ok".repeat(12));
    backend.answer_by(answers::text("next"));
    // Its head had left before its age was over, so it could not say that it was the last; the next one does.
    assert!(!says_close(&answer));
    let next = client.get("/");
    assert_eq!((next.text().as_str(), says_close(&next)), ("next", true));
    // The backend's was over as well.
    assert_eq!(backend.connections(), 2);
}

#[test]
fn connections_that_were_made_together_end_apart() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_requests = 200", ""));
    let counts: Vec<usize> = (0..20).map(|_| requests_until_the_last(&mut weir.client())).collect();
    assert!(counts.iter().all(|count| (181..=200).contains(count)), "{counts:?}");
    let different: BTreeSet<&usize> = counts.iter().collect();
    assert!(different.len() > 5, "{counts:?}");
}

#[test]
fn a_reload_sets_limits_for_connections_that_are_there() {
    let backend = Backend::http(answers::text("ok"));
    let mut weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    (0..5).for_each(|_| assert!(!says_close(&client.get("/"))));
    let limited = one_pool(&[&backend], "max_requests = 3", "[pool.app.upstream]\nmax_requests = 3\n");
    weir.rewrite(&limited);
    weir.signal(Signal::SIGHUP);
    wait_until("it is loaded", || weir.stderr().contains("configuration loaded"));
    // The next sweep.
    wait_until("the backend's connection is closed", || backend.open() == 0);
    assert!(says_close(&client.get("/")));
    client.assert_closed();
}

#[test]
fn a_backends_connection_carries_as_many_requests_as_it_may_and_none_is_lost() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.upstream]\nmax_requests = 20\n"));
    let load = Load::get(weir.address("web"), 8, "/");
    let closed = || weir.metric("weir_upstream_connections_lived_out_total", &[("cause", "max_requests")]);
    wait_until("many connections have ended", || closed() >= 100.0);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{counts:?}");
    let mut carried: BTreeMap<usize, usize> = BTreeMap::new();
    backend.received().iter().for_each(|request| *carried.entry(request.connection).or_default() += 1);
    assert!(carried.values().all(|requests| *requests <= 20), "{carried:?}");
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0);
}

#[test]
fn a_backends_idle_connection_over_its_age_is_closed_and_a_busy_one_is_not_used_again() {
    let backend = Backend::http(answers::text("ok"));
    let upstream = "[pool.app.upstream]\nmax_age = \"1s\"\nidle_timeout = \"60s\"\n";
    let weir = Weir::start(&one_pool(&[&backend], "", upstream));
    assert_eq!(weir.client().get("/").text(), "ok");
    wait_until("it is kept", || backend.open() == 1);
    wait_until("it is closed", || backend.open() == 0);
    let load = Load::get(weir.address("web"), 4, "/");
    let closed = || weir.metric("weir_upstream_connections_lived_out_total", &[("cause", "max_age")]);
    wait_until("busy ones have ended too", || closed() >= 9.0);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{counts:?}");
}
