//! Backends that close their idle connections at the worst moment: no request is lost that may be repeated,
//! and nothing runs twice that may not.
//!
//! `WEIR_TESTS=all` sends a hundred thousand POSTs; otherwise forty thousand.

use crate::harness::{Backend, Client, Weir, one_pool};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// The ids of requests that a backend has seen, and how often it saw one again.
#[derive(Default)]
struct Seen {
    ids: Mutex<HashSet<String>>,
    twice: AtomicUsize,
}

/// Answers a few requests of each connection, then closes: at once, or a moment later, when the next
/// request is on its way; sometimes with its head read. The first of a connection is always answered.
fn closes_at_reuse(seen: Arc<Seen>) -> Backend {
    Backend::raw(move |mut wire, number| {
        let lives = 1 + number % 7;
        for served in 0.. {
            let Ok(Some(head)) = wire.head() else { return };
            let text = String::from_utf8_lossy(&head).into_owned();
            let line = text.split("\r\n").next().unwrap_or_default();
            if line.starts_with("POST") && !seen.ids.lock().unwrap().insert(line.to_owned()) {
                seen.twice.fetch_add(1, Ordering::SeqCst);
            }
            if line.starts_with("POST") && wire.bytes(3).is_err() {
                return;
            }
            if served == lives {
                // The request has been read and gets no answer.
                return;
            }
            if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
            if served + 1 == lives && number % 3 != 0 {
                let began = Instant::now();
                let pause = Duration::from_micros((number as u64 * 37) % 300);
                while began.elapsed() < pause {
                    std::hint::spin_loop();
                }
                return;
            }
        }
    })
}

#[test]
fn posts_run_at_most_once_and_gets_are_not_lost_when_backends_close_at_the_instant_of_reuse() {
    let all = std::env::var("WEIR_TESTS").is_ok_and(|tests| tests == "all");
    let posts: usize = if all { 100_000 } else { 40_000 };
    let seen = Arc::new(Seen::default());
    let (one, two) = (closes_at_reuse(seen.clone()), closes_at_reuse(seen.clone()));
    let weir = Weir::start(&one_pool(&[&one, &two], "", ""));
    let address = weir.address("web");
    let threads: Vec<_> = (0..CLIENTS)
        .map(|of| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let (mut ok, mut lost) = (0, 0);
                for n in 0..posts / CLIENTS {
                    let head = format!("POST /{of}-{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
                    let response = client.ask(head);
                    match response.status {
                        200 => ok += 1,
                        502 => lost += 1,
                        other => panic!("status {other}: {}", response.text()),
                    }
                    if response.field("Connection") == Some("close") {
                        client = Client::connect(address);
                    }
                    if n % 4 == 0 {
                        assert_eq!(client.get("/").status, 200, "a GET is never lost");
                    }
                }
                (ok, lost)
            })
        })
        .collect();
    let counts: Vec<(usize, usize)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (ok, lost) = counts.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    println!("{ok} answered, {lost} lost");
    assert_eq!(seen.twice.load(Ordering::SeqCst), 0, "a POST ran twice");
    assert!(seen.ids.lock().unwrap().len() >= ok, "an answer without a request");
    assert!(lost > 0, "no connection closed under a POST: this test shows nothing");
}
