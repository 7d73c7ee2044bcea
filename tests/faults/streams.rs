//! What is not to be held back: a small answer leaves whole, a stream leaves as it comes.

use crate::harness::{Backend, Then, Weir, answers, wait_until};
use crate::{FOUR_SHARDS, site_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

const EVENTS: usize = 8;

/// Sends `head`, and then events, each by `framed`: the head alone, and each event, only when all that was sent before
/// has been seen. Who holds back waits for ever.
fn events(
    head: &'static str,
    framed: fn(&str) -> String,
    end: &'static str,
    seen: Arc<AtomicUsize>,
) -> Backend {
    Backend::http(answers::by(move |_, wire| {
        wire.send(head)?;
        for number in 0..EVENTS {
            wait_until("the client has what was sent", || seen.load(Ordering::SeqCst) > number);
            wire.send(framed(&format!("data: {number}\n\n")))?;
        }
        wire.send(end)?;
        Ok(Then::Close)
    }))
}

#[test]
fn server_sent_events_are_not_delayed() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let until_close = format!("{head}\r\n");
    let chunk = |event: &str| format!("{:x}\r\n{event}\r\n", event.len());
    type Framed = fn(&str) -> String;
    let ways: [(&str, &str, Framed, &str); 2] =
        [("chunked", &chunked, chunk, "0\r\n\r\n"), ("until the end", &until_close, str::to_owned, "")];
    for (case, head, framed, end) in ways {
        let seen = Arc::new(AtomicUsize::new(0));
        let fleet = [events(head.to_owned().leak(), framed, end, seen.clone())];
        let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, ""));
        let mut client = weir.client();
        client.send("GET /events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
        let head = client.wire.until(b"\r\n\r\n").expect(case);
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{case}: {}", String::from_utf8_lossy(&head));
        for number in 0..EVENTS {
            seen.fetch_add(1, Ordering::SeqCst);
            let piece = client.wire.until(format!("data: {number}\n\n").as_bytes()).expect(case);
            assert!(piece.len() < 40, "{case}: {:?}", String::from_utf8_lossy(&piece));
        }
    }
}

/// More than `hold` may be held of no answer, so one that is longer leaves as it comes.
#[test]
fn an_answer_too_large_to_hold_leaves_as_it_comes() {
    let seen = Arc::new(AtomicBool::new(false));
    let half = seen.clone();
    let fleet = [Backend::http(answers::by(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")?;
        wire.send([b'x'; 10_000])?;
        wait_until("the client has the first half", || half.load(Ordering::SeqCst));
        wire.send([b'y'; 10_000])?;
        Ok(Then::KeepAlive)
    }))];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, ""));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.wire.until(b"\r\n\r\n").unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    client.bytes(10_000);
    seen.store(true, Ordering::SeqCst);
    assert!(client.bytes(10_000).iter().all(|byte| *byte == b'y'));
}

/// One that may be held is not sent in part, however it comes.
#[test]
fn a_small_answer_leaves_whole() {
    let whole = Arc::new(AtomicBool::new(false));
    let sent = whole.clone();
    let fleet = [Backend::http(answers::by(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")?;
        wire.send([b'x'; 100])?;
        // Time enough for what has come so far.
        sleep(Duration::from_millis(300));
        sent.store(true, Ordering::SeqCst);
        wire.send([b'y'; 100])?;
        Ok(Then::KeepAlive)
    }))];
    let weir = Weir::start(&site_of(FOUR_SHARDS, &fleet, ""));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.wire.until(b"\r\n").unwrap(), b"HTTP/1.1 200 OK\r\n");
    assert!(whole.load(Ordering::SeqCst), "a part of it left before there was more");
    client.wire.until(b"\r\n\r\n").unwrap();
    assert_eq!(client.bytes(200).len(), 200);
}
