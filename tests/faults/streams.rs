//! What is not to be held back: a small answer leaves whole, a stream leaves as it comes.

use crate::harness::{Backend, Then, Weir, answers};
use crate::{CAREFUL, FOUR_SHARDS, site_of};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(150);
const EVENTS: usize = 8;

/// Sends `head`, and then events, each by `framed`, with a pause before each but the first.
fn events(head: &'static str, framed: fn(&str) -> String, end: &'static str) -> Backend {
    Backend::http(answers::by(move |_, wire| {
        wire.send(head)?;
        for number in 0..EVENTS {
            if number > 0 {
                sleep(PAUSE);
            }
            wire.send(framed(&format!("data: {number}\n\n")))?;
        }
        wire.send(end)?;
        Ok(Then::Close)
    }))
}

/// When the head and each event came, from the request on.
fn arrivals(backend: Backend) -> Vec<Duration> {
    let fleet = [backend];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, CAREFUL));
    let mut client = weir.client();
    client.send("GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    let began = Instant::now();
    let mut arrivals = Vec::new();
    let head = client.wire.until(b"\r\n\r\n").unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    arrivals.push(began.elapsed());
    for number in 0..EVENTS {
        let piece = client.wire.until(format!("data: {number}\n\n").as_bytes()).unwrap();
        assert!(piece.len() < 40, "{:?}", String::from_utf8_lossy(&piece));
        arrivals.push(began.elapsed());
    }
    arrivals
}

#[test]
fn server_sent_events_are_not_delayed() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let until_close = format!("{head}\r\n");
    let chunk = |event: &str| format!("{:x}\r\n{event}\r\n", event.len());
    for (case, backend) in [
        ("chunked", events(chunked.leak(), chunk, "0\r\n\r\n")),
        ("until the end", events(until_close.leak(), str::to_owned, "")),
    ] {
        let arrivals = arrivals(backend);
        for (number, arrival) in arrivals[1..].iter().enumerate() {
            let due = PAUSE * number as u32;
            let late = arrival.saturating_sub(due);
            assert!(late < PAUSE, "{case}: event {number} came {late:?} after it was sent: {arrivals:?}");
        }
        assert!(arrivals[0] < PAUSE, "{case}: the head came after {:?}", arrivals[0]);
    }
}

/// More than `hold` may be held of no answer, so one that is longer leaves as it comes.
#[test]
fn an_answer_too_large_to_hold_leaves_as_it_comes() {
    let fleet = [Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")?;
        wire.send([b'x'; 10_000])?;
        sleep(Duration::from_millis(300));
        wire.send([b'y'; 10_000])?;
        Ok(Then::KeepAlive)
    }))];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, CAREFUL));
    let mut client = weir.client();
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.wire.until(b"\r\n\r\n").unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    client.bytes(10_000);
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    assert!(client.bytes(10_000).iter().all(|byte| *byte == b'y'));
}

/// One that may be held is not sent in part, however it comes.
#[test]
fn a_small_answer_leaves_whole() {
    let fleet = [Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")?;
        wire.send([b'x'; 100])?;
        sleep(Duration::from_millis(300));
        wire.send([b'y'; 100])?;
        Ok(Then::KeepAlive)
    }))];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, CAREFUL));
    let mut client = weir.client();
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.wire.until(b"\r\n").unwrap(), b"HTTP/1.1 200 OK\r\n");
    let first = began.elapsed();
    client.wire.until(b"\r\n\r\n").unwrap();
    assert_eq!(client.bytes(200).len(), 200);
    assert!(first >= Duration::from_millis(290), "its first byte came after {first:?}");
}
