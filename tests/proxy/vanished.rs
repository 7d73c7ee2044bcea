//! Clients that vanish while their answer is awaited.

use crate::harness::{Backend, Client, Framing, Then, Weir, Wire, answers, one_pool, wait_until, wait_up_to};
use crate::in_front_of;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Far less than what a backend is waited for, which is 30 s.
const SOON: Duration = Duration::from_secs(15);

/// A backend that reads a request, sends this of an answer, and then nothing until weir closes.
fn stops_after(answer: &'static [u8]) -> Backend {
    Backend::raw(move |mut wire, _| {
        let Ok(Some(head)) = wire.head() else { return };
        if String::from_utf8_lossy(&head).contains("Content-Length: 3")
            && wire.body(Framing::Length(3)).is_err()
        {
            return;
        }
        let _ = wire.send(answer);
        silent(&mut wire);
    })
}

/// Waits for the end, however long it takes.
fn silent(wire: &mut Wire) {
    wire.socket.set_timeout(Duration::from_secs(60));
    let _ = wire.rest();
}

fn gone(weir: &Weir) -> f64 {
    weir.metric("weir_refusals_total", &[("cause", "client_gone")])
}

#[test]
fn a_client_that_vanishes_while_a_small_answer_drips_is_noticed() {
    // It is held until it is whole, and never waited for as long as a client is watched after.
    let backend = Backend::raw(|mut wire, _| {
        let Ok(Some(_)) = wire.head() else { return };
        let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
        while wire.send("x").is_ok() {
            sleep(Duration::from_millis(20));
        }
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send(GET);
    wait_until("it is at the backend", || weir.metric("weir_in_flight", &[]) == 1.0);
    client.wire.reset();
    wait_up_to(SOON, "nobody waits for it", || backend.open() == 0);
}

#[test]
fn a_thousand_clients_that_reset_leave_no_exchange_behind() {
    const CLIENTS: usize = 1_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    if hard < 5 * CLIENTS as u64 {
        println!("skipped: no more than {hard} descriptors (ulimit -Hn)");
        return;
    }
    let backend = stops_after(b"");
    let weir = in_front_of(&backend);
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = weir.client();
            client.send(GET);
            client
        })
        .collect();
    let in_flight = || weir.metric("weir_in_flight", &[]);
    wait_until("all are in flight", || in_flight() == CLIENTS as f64);
    let began = Instant::now();
    clients.into_iter().for_each(|client| client.wire.reset());
    wait_up_to(SOON, "none is in flight", || in_flight() == 0.0);
    println!("none in flight after {:?}", began.elapsed());
    wait_up_to(SOON, "the backend is rid of them", || backend.open() == 0);
    assert_eq!(gone(&weir), CLIENTS as f64);
    assert_eq!(weir.metric("weir_upstream_failures_total", &[]), 0.0, "it is not the backend's failure");
    assert_eq!(weir.metric("weir_connections", &[]), 0.0);
}

#[test]
fn a_reset_is_noticed_wherever_the_backend_stops() {
    for (case, request, answer) in [
        ("before the answer", GET, &b""[..]),
        ("after an interim answer", GET, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("in the head", GET, b"HTTP/1.1 200 OK\r\nContent-"),
        ("in an answer that is held", GET, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"),
        ("in a long body", GET, b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\nabc"),
        ("in a chunked body", GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ("after a body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", b""),
    ] {
        let backend = stops_after(answer);
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        client.send(request);
        if request.starts_with("POST") {
            wait_until("the head has gone up", || backend.connections() > 0);
            client.send("abc");
        }
        // On its second wait, in which it is watched, and before that.
        for early in [false, true] {
            if !early {
                wait_until("the exchange is under way", || weir.metric("weir_in_flight", &[]) == 1.0);
                sleep(Duration::from_millis(250));
            } else {
                client = weir.client();
                client.send(request);
                if request.starts_with("POST") {
                    client.send("abc");
                }
                wait_until("the exchange is under way", || weir.metric("weir_in_flight", &[]) == 1.0);
            }
            std::mem::replace(&mut client, weir.client()).wire.reset();
            wait_up_to(SOON, &format!("{case}, early: {early}: the backend is rid of it"), || {
                backend.open() == 0
            });
            wait_until("nothing is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
        }
        assert_eq!(gone(&weir), 2.0, "{case}");
        assert_eq!(weir.metric("weir_upstream_failures_total", &[]), 0.0, "{case}");
    }
}

#[test]
fn a_client_that_ends_its_side_gets_its_answer_however_long_it_takes_or_not_as_the_key_says() {
    let slow = || Backend::http(answers::delayed(Duration::from_millis(700), answers::text("late")));
    let backend = slow();
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send(GET);
    client.end();
    assert_eq!(client.response().text(), "late");
    client.assert_closed();
    let silent = stops_after(b"");
    let weir = Weir::start(&one_pool(&[&silent], "on_half_close = \"abort\"", ""));
    let mut client = weir.client();
    client.send(GET);
    client.end();
    wait_up_to(SOON, "the backend was asked and is rid of it", || {
        silent.connections() == 1 && silent.open() == 0
    });
    client.assert_closed();
    assert_eq!(gone(&weir), 1.0);
}

#[test]
fn a_client_that_ended_its_side_and_then_resets_is_noticed_too() {
    let backend = stops_after(b"");
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send(GET);
    client.end();
    wait_until("the exchange is under way", || weir.metric("weir_in_flight", &[]) == 1.0);
    sleep(Duration::from_millis(250));
    assert_eq!(backend.open(), 1, "its answer is still awaited");
    client.wire.reset();
    wait_up_to(SOON, "the backend is rid of it", || backend.open() == 0);
    wait_until("it is counted", || gone(&weir) == 1.0);
}

#[test]
fn requests_that_come_while_an_answer_is_awaited_are_answered_in_their_turn() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(250), answers::echo()));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    sleep(Duration::from_millis(150));
    for n in 2..=3 {
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    for n in 1..=3 {
        assert_eq!(client.response().field("X-Target"), Some(&*format!("/{n}")));
    }
    assert_eq!(client.get("/4").field("X-Target"), Some("/4"));
}

#[test]
fn nothing_is_tried_again_for_a_client_that_is_gone() {
    let (heads, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let backend = || {
        let (heads, left) = (heads.clone(), left.clone());
        Backend::raw(move |mut wire, _| {
            if let Ok(Some(_)) = wire.head() {
                heads.fetch_add(1, Ordering::SeqCst);
                wait_until("the client has gone or need not", || left.load(Ordering::SeqCst));
                // So that the reset is there before this end.
                sleep(Duration::from_millis(5));
            }
        })
    };
    let backends = [backend(), backend()];
    let weir = Weir::start(&one_pool(&[&backends[0], &backends[1]], "", ""));
    let mut client = weir.client();
    client.send(GET);
    wait_until("a backend has the request", || heads.load(Ordering::SeqCst) == 1);
    client.wire.reset();
    left.store(true, Ordering::SeqCst);
    wait_until("the exchange is over", || gone(&weir) == 1.0);
    assert_eq!(heads.load(Ordering::SeqCst), 1);
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0);
    // And a client that stays has its retry.
    assert_eq!(weir.client().get("/").status, 502);
    assert_eq!(heads.load(Ordering::SeqCst), 3);
}

#[test]
fn an_answer_that_pauses_for_long_is_passed_on_whole() {
    let backend = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n")?;
        for _ in 0..4 {
            wire.send([b'x'; 100_000])?;
            sleep(Duration::from_millis(250));
        }
        Ok(Then::KeepAlive)
    }));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.body.len(), 400_000);
    }
}
