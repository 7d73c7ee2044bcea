//! Bytes behind a response are never the next client's, whenever they come: each client's answer is its own.

use crate::harness::{Backend, Framing, Weir, Wire, one_pool, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// What a backend has left behind its answer, and what the next client must not get.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// Answers `head`, whose bodies are `body`, and then the rest; as pieces, with pauses between them.
fn answers_in(pieces: &[&str], pause: Duration, poisoned: Arc<AtomicUsize>) -> Backend {
    let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    Backend::raw(move |mut wire, number| {
        while let Ok(Some(head)) = wire.head() {
            let text = String::from_utf8_lossy(&head).into_owned();
            if text.starts_with("GET /own") || text.starts_with("HEAD /own") {
                if own(&mut wire, &text).is_err() {
                    return;
                }
                continue;
            }
            for (at, piece) in pieces.iter().enumerate() {
                if at > 0 {
                    sleep(pause);
                }
                if wire.send(piece).is_err() {
                    return;
                }
            }
            poisoned.store(number + 1, Ordering::SeqCst);
        }
    })
}

/// An answer that says what was asked for.
fn own(wire: &mut Wire, head: &str) -> std::io::Result<()> {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let body = if head.starts_with("HEAD") { "" } else { target };
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", target.len()))
}

/// Asserts that after a request by `method`, whose answer has these pieces, the next clients get their own.
fn assert_own_answers(method: &str, case: &str, pieces: &[&str], pause: Duration) {
    let poisoned = Arc::new(AtomicUsize::new(0));
    let backend = answers_in(pieces, pause, poisoned.clone());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    for round in 0..2 {
        poisoned.store(0, Ordering::SeqCst);
        let mut first = weir.client();
        let response = first.ask(format!("{method} /first HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!([200, 204, 304].contains(&response.status), "{case}: {}", response.status);
        assert!(!response.text().contains("poison"), "{case}");
        // Whatever the backend had to leave has been left.
        wait_until("the backend has sent it all", || {
            poisoned.load(Ordering::SeqCst) > 0 || backend.open() == 0
        });
        sleep(Duration::from_millis(20));
        let before = backend.connections();
        assert_eq!(weir.client().get("/own").text(), "/own", "{case}, round {round}");
        assert_eq!(backend.connections(), before + 1, "{case}, round {round}: the connection was used again");
        for target in ["/own/a", "/own/b"] {
            let mut other = weir.client();
            assert_eq!(other.get(target).text(), target, "{case}, round {round}: another client");
            assert_eq!(first.get(target).text(), target, "{case}, round {round}: the same client");
        }
    }
}

const NOW: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_millis(40);

#[test]
fn bytes_that_come_with_an_answer_are_nobodys() {
    let big = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    for (method, case, answer) in [
        ("GET", "behind a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", "behind no body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", "behind chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        (
            "GET",
            "behind trailers",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n",
        ),
        ("HEAD", "behind a HEAD's head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        ("HEAD", "a body to a HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 62\r\n\r\n"),
        ("GET", "a body of a 204", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "a body of a 204 that has a length", "HTTP/1.1 204 No Content\r\nContent-Length: 50\r\n\r\n"),
        ("GET", "a body of a 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n"),
        (
            "GET",
            "an old server that keeps alive",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        ),
        ("GET", "behind a long body", &big),
    ] {
        for behind in [POISON, "\r\n", "x", "\0"] {
            assert_own_answers(method, case, &[&format!("{answer}{behind}")], NOW);
        }
    }
}

#[test]
fn bytes_that_come_later_on_an_idle_connection_are_nobodys() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for behind in
        [POISON, "x", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]
    {
        assert_own_answers("GET", "idle", &[answer, behind], LATER);
    }
}

#[test]
fn bytes_behind_a_body_in_pieces_are_nobodys() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let with_last = format!("hello{POISON}");
    assert_own_answers("GET", "with the last piece", &[head, "hello", &with_last], LATER);
    assert_own_answers("GET", "after the last piece", &[head, "hello", "hello", POISON], LATER);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let last = format!("0\r\n\r\n{POISON}");
    assert_own_answers("GET", "with the last chunk", &[chunked, &last], LATER);
    assert_own_answers("GET", "after the last chunk", &[chunked, "0\r\n\r\n", POISON], LATER);
    // Long enough to go by splice.
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let body = "x".repeat(500_000);
    let with_last = format!("{body}{POISON}");
    assert_own_answers("GET", "with a long body's last piece", &[long, &body, &with_last], LATER);
    assert_own_answers("GET", "after a long body", &[long, &body, &body, POISON], LATER);
}

/// Two answers to one request, in one piece, and the next client's request already waiting. (Of one that
/// comes by itself while the next request is on its way, nobody can tell whose it is.)
#[test]
fn an_answer_that_nobody_asked_for_is_nobodys_under_load() {
    let backend = Backend::raw(|mut wire, number| {
        while let Ok(Some(head)) = wire.head() {
            let text = String::from_utf8_lossy(&head).into_owned();
            let target = text.split(' ').nth(1).unwrap_or_default();
            let poison = if number % 2 == 0 { POISON } else { "" };
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}{poison}", target.len());
            if wire.send(answer).is_err() {
                return;
            }
        }
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let address = weir.address("web");
    let clients: Vec<_> = (0..4)
        .map(|of| {
            std::thread::spawn(move || {
                let mut client = crate::harness::Client::connect(address);
                for n in 0..100 {
                    let target = format!("/own/{of}/{n}");
                    assert_eq!(client.get(&target).text(), target);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// The body that a client did not send whole must not be filled up by the next client's request.
#[test]
fn an_answer_that_came_before_the_body_ends_both_connections() {
    let filled = Arc::new(AtomicUsize::new(0));
    let seen = filled.clone();
    let backend = Backend::raw(move |mut wire, _| {
        let Ok(Some(head)) = wire.head() else { return };
        let text = String::from_utf8_lossy(&head).into_owned();
        if text.starts_with("POST") {
            let _ = wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            // It would take whatever comes next for the body.
            let body = wire.body(Framing::Length(38));
            seen.fetch_add(usize::from(body.is_ok()), Ordering::SeqCst);
            return;
        }
        let _ = own(&mut wire, &text);
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut client = weir.client();
        let response =
            client.ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{expect}Content-Length: 38\r\n\r\n"));
        assert_eq!((response.status, response.field("Connection")), (403, Some("close")));
        // What the client sends now is a body, not a request.
        let _ = client.wire.send("GET /own/canary HTTP/1.1\r\nHost: h\r\n\r\n");
        let rest = client.wire.rest().unwrap_or_default();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        assert_eq!(weir.client().get("/own/x").text(), "/own/x");
        wait_until("the backend's connections have ended", || backend.open() == 0);
        assert_eq!(filled.load(Ordering::SeqCst), 0, "{expect:?}: something came as the body");
    }
}
