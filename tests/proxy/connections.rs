//! Keep-alive on both sides: pipelining, idle connections kept, found dead, and thrown away.

use crate::harness::{Backend, Client, Then, Weir, answers, one_pool, wait_until};
use crate::{in_front_of, pattern};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_hundred_pipelined_requests_are_answered_in_their_order() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let requests: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..100 {
        assert_eq!(client.response().field("X-Target"), Some(format!("/{n}").as_str()));
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_hundred_pipelined_requests_with_bodies_are_answered_in_their_order() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let body = |n: usize| pattern(n * 37 % 3000 + 1);
    let mut requests = Vec::new();
    for n in 0..100 {
        let body = body(n);
        let (head, end) = if n % 2 == 0 {
            (format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()), "")
        } else {
            let head = "HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            (format!("PUT /{n} {head}{:x}\r\n", body.len()), "\r\n0\r\n\r\n")
        };
        requests.extend_from_slice(head.as_bytes());
        requests.extend_from_slice(&body);
        requests.extend_from_slice(end.as_bytes());
    }
    // In pieces that have nothing to do with where requests end.
    let mut writer = client.wire.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for piece in requests.chunks(10_007) {
            std::io::Write::write_all(&mut writer, piece).unwrap();
        }
    });
    for n in 0..100 {
        let response = client.response();
        assert_eq!(response.field("X-Target"), Some(format!("/{n}").as_str()));
        assert!(response.body == body(n), "the body of request {n}");
    }
    writing.join().unwrap();
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_pipelined_request_waits_for_the_answer_before_it() {
    let backend = Backend::http(answers::by(|received, wire| {
        if received.line().contains("/slow") {
            sleep(Duration::from_millis(100));
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", received.line().len()))?;
        wire.send(received.line())?;
        Ok(Then::KeepAlive)
    }));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /fast HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().text(), "GET /slow HTTP/1.1");
    assert_eq!(client.response().text(), "GET /fast HTTP/1.1");
}

#[test]
fn nothing_behind_a_last_request_is_answered() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send("GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.assert_closed();
    assert_eq!(backend.requests(), 1);
}

/// Clients come and go, the backend's connection stays.
#[test]
fn an_idle_connection_serves_the_next_client() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    for _ in 0..20 {
        assert_eq!(weir.client().get("/").text(), "ok");
    }
    assert_eq!(backend.connections(), 1);
    weir.wait_metric("weir_upstream_connects_total", &[("pool", "app"), ("backend", "0")], 1.0);
}

#[test]
fn the_idle_connection_used_last_is_used_first() {
    let backend = Backend::http(answers::by(|received, wire| {
        let length = if received.line().contains("/slow") { 200 } else { 1 };
        sleep(Duration::from_millis(length));
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    }));
    let weir = in_front_of(&backend);
    let (mut one, mut two) = (weir.client(), weir.client());
    one.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("the backend has the slow request", || backend.requests() == 1);
    two.get("/fast");
    one.response();
    assert_eq!(backend.connections(), 2);
    for _ in 0..5 {
        two.get("/fast");
    }
    let slow = backend.received().iter().find(|r| r.line().contains("/slow")).unwrap().connection;
    let later: Vec<usize> = backend.received()[2..].iter().map(|received| received.connection).collect();
    assert_eq!(later, [slow; 5], "the slow exchange gave its connection back last");
}

#[test]
fn no_more_idle_connections_are_kept_than_configured() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(100), answers::text("ok")));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.upstream]\nidle_per_backend = 2\n"));
    let mut clients: Vec<Client> = (0..6).map(|_| weir.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "ok"));
    assert_eq!(backend.connections(), 6);
    wait_until("four of six connections have been closed", || backend.open() == 2);
}

#[test]
fn an_idle_connection_ends_after_its_time() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.upstream]\nidle_timeout = \"1s\"\n"));
    let mut client = weir.client();
    client.get("/");
    client.get("/");
    assert_eq!(backend.connections(), 1);
    wait_until("the idle connection has ended", || backend.open() == 0);
    client.get("/");
    assert_eq!(backend.connections(), 2);
}

#[test]
fn a_backends_own_keep_alive_shortens_that_time() {
    for (says, connections) in [("timeout=1", 3), ("timeout=60", 1), ("max=5, timeout=1", 3)] {
        let answer = format!("HTTP/1.1 200 OK\r\nKeep-Alive: {says}\r\nContent-Length: 0\r\n\r\n");
        let backend = Backend::http(answers::fixed(answer));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        (0..3).for_each(|_| drop(client.get("/")));
        assert_eq!(backend.connections(), connections, "{says}");
    }
}

#[test]
fn a_dead_idle_connection_is_found_before_it_is_used() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for round in 1..=5 {
        let response = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(response.text(), "ok", "a POST, which would not be sent twice");
        assert_eq!(backend.connections(), round);
        backend.end_connections();
        wait_until("the backend's connection has ended", || backend.open() == 0);
        // It is there before the next request in any case; this has the shard see it in a turn of its own.
        sleep(Duration::from_millis(20));
    }
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0);
}

#[test]
fn bytes_behind_a_response_never_reach_the_next_client() {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    for (case, answer, delay_ms) in [
        ("with it", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{stray}"), 0),
        ("after it", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 30),
        ("behind a 204", format!("HTTP/1.1 204 No Content\r\n\r\n{stray}"), 0),
        (
            "behind chunks",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{stray}"),
            0,
        ),
    ] {
        let strayed = Arc::new(AtomicUsize::new(0));
        let has = strayed.clone();
        let backend = Backend::http(answers::by(move |_, wire| {
            wire.send(&answer)?;
            if delay_ms > 0 {
                sleep(Duration::from_millis(delay_ms));
                wire.send(stray)?;
            }
            has.fetch_add(1, Ordering::SeqCst);
            Ok(Then::KeepAlive)
        }));
        let weir = in_front_of(&backend);
        for round in 1..=3 {
            let mut client = weir.client();
            assert!(!client.get("/").text().contains("secret"), "{case}");
            wait_until("they have been sent", || strayed.load(Ordering::SeqCst) == round);
            client.assert_silent(Duration::from_millis(60));
            assert_eq!(backend.connections(), round, "{case}: such a connection is not used again");
        }
    }
}

#[test]
fn a_body_behind_the_answer_to_a_head_never_reaches_the_next_client() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    let backend = Backend::http(answers::fixed(answer));
    let weir = in_front_of(&backend);
    for round in 1..=3 {
        let mut client = weir.client();
        let response = client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(response.field("Content-Length"), Some("6"));
        client.assert_silent(Duration::from_millis(30));
        assert_eq!(backend.connections(), round);
    }
}

#[test]
fn a_client_that_goes_away_takes_nothing_with_it() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(50), answers::text("ok")));
    let weir = in_front_of(&backend);
    for n in 0..30 {
        let mut client = weir.client();
        match n % 3 {
            0 => client.send("GET / HT"),
            1 => client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            _ => client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx"),
        }
        if n % 2 == 0 {
            client.wire.reset();
        }
    }
    assert_eq!(weir.client().get("/").text(), "ok");
    wait_until("no exchange is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
    wait_until("no client is connected", || weir.metric("weir_connections", &[]) == 0.0);
}
