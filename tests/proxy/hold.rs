//! Small answers leave whole: a backend that breaks off in the middle of one costs nobody anything. Streams
//! and large answers are not held.

use crate::harness::{Backend, Handler, Response, Then, Weir, answers, one_pool, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

/// A pool in turns, where nothing stops a retry, and a backend may be silent for so long in the middle of an answer.
fn in_turns(between_bytes: &str) -> String {
    format!(
        "policy = \"round_robin\"\n[pool.app.timeouts]\nbetween_bytes = \"{between_bytes}\"\n\
             [pool.app.retry]\nbudget = 1.0\n"
    )
}

/// Longer than any backend here takes, on a busy machine too; and what a test need not wait for long, where one
/// stalls.
const LONG: &str = "20s";
const SHORT: &str = "200ms";

/// Half of an answer, and then what is worse.
fn half(worse: Then) -> Handler {
    answers::by(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        match worse {
            // It stalls: it waits for the next request.
            Then::KeepAlive => {}
            // What was sent must be read before the reset, which would overtake it.
            Then::Close | Then::Reset => sleep(ms(50)),
        }
        Ok(worse)
    })
}

/// Sends `first`, waits until `go`, sends `second`.
fn in_two(first: String, second: String, go: Arc<AtomicBool>) -> Handler {
    answers::by(move |_, wire| {
        wire.send(&first)?;
        let began = Instant::now();
        while !go.load(Ordering::SeqCst) && began.elapsed() < Duration::from_secs(20) {
            sleep(ms(2));
        }
        wire.send(&second)?;
        Ok(Then::KeepAlive)
    })
}

#[test]
fn a_backend_that_breaks_off_in_the_middle_of_small_answers_costs_nobody_anything() {
    for (case, worse, between_bytes, cause) in [
        ("closes", Then::Close, LONG, "truncated"),
        ("resets", Then::Reset, LONG, "truncated"),
        ("stalls", Then::KeepAlive, SHORT, "body_timeout"),
    ] {
        let (sick, well) = (Backend::http(half(worse)), Backend::http(answers::text("helloworld")));
        let weir = Weir::start(&one_pool(&[&sick, &well], "", &in_turns(between_bytes)));
        let mut client = weir.client();
        for n in 0..10 {
            assert_eq!(client.get("/").text(), "helloworld", "{case}, request {n}");
        }
        assert_eq!(sick.requests(), 5, "{case}");
        assert_eq!(weir.metric("weir_retries_total", &[("backend", "0")]), 5.0, "{case}");
        let labels = [("backend", "0"), ("cause", cause)];
        assert_eq!(weir.metric("weir_upstream_failures_total", &labels), 5.0, "{case}");
    }
}

#[test]
fn a_head_that_stops_in_the_middle_is_tried_again_or_a_504() {
    let sick = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Le")?;
        Ok(Then::KeepAlive)
    }));
    let well = Backend::http(answers::text("well"));
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &in_turns(SHORT)));
    let mut client = weir.client();
    (0..4).for_each(|_| assert_eq!(client.get("/").text(), "well"));
    assert_eq!(sick.requests(), 2);
    let weir = Weir::start(&one_pool(&[&sick], "", &in_turns(SHORT)));
    let response = weir.client().get("/");
    assert_eq!(response.status, 504);
    assert!(response.text().contains("stopped in the middle"), "{}", response.text());
}

#[test]
fn pipelined_requests_get_their_answers_whole_and_in_order() {
    let well = Backend::http(answers::echo());
    let sick = Backend::http(half(Then::Close));
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &in_turns(LONG)));
    let mut client = weir.client();
    let requests: String = (0..10).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..10 {
        assert_eq!(client.response().field("X-Target"), Some(&*format!("/{n}")));
    }
}

#[test]
fn where_nobody_else_can_answer_the_client_is_told_so_and_its_connection_lives_on() {
    for (worse, between_bytes, status, phase) in [
        (Then::Close, LONG, 502, "closed the connection in the middle"),
        (Then::Reset, LONG, 502, "closed the connection in the middle"),
        (Then::KeepAlive, SHORT, 504, "stopped in the middle"),
    ] {
        let backend = Backend::http(half(worse));
        let weir = Weir::start(&one_pool(&[&backend], "", &in_turns(between_bytes)));
        let mut client = weir.client();
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(response.status, status, "{}", response.text());
            assert!(response.text().contains(phase), "{}", response.text());
            assert_eq!(response.field("Connection"), None);
        }
    }
}

/// Whether half of an answer goes down while the backend keeps the other half.
/// `expected`: whether it will; then it is not waited for so long.
fn is_held(
    request: &str,
    (head, first, second): (&str, &str, &str),
    retry: &str,
    expected: bool,
) -> (bool, Response) {
    let go = Arc::new(AtomicBool::new(false));
    let backend = Backend::http(in_two(format!("{head}{first}"), second.to_owned(), go.clone()));
    let pool = format!("[pool.app.retry]\n{retry}");
    let weir = Weir::start(&one_pool(&[&backend], "", &pool));
    let mut client = weir.client();
    client.send(request);
    client.patience(if expected { ms(300) } else { Duration::from_secs(15) });
    let held = client.wire.until(first.as_bytes()).is_err();
    go.store(true, Ordering::SeqCst);
    client.patience(Duration::from_secs(15));
    if held {
        return (held, client.response());
    }
    // What has come is put before what follows by asking again.
    assert_eq!(String::from_utf8_lossy(&client.bytes(second.len())), second);
    (held, client.get("/"))
}

#[test]
fn only_what_is_small_and_of_known_length_and_may_be_tried_again_is_held() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let length = |bytes: usize| format!("{ok}Content-Length: {bytes}\r\n\r\n");
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    let events = format!("{ok}content-type: Text/Event-Stream; charset=utf-8\r\nContent-Length: 10\r\n\r\n");
    let text = format!("{ok}Content-Type: text/plain\r\nContent-Length: 10\r\n\r\n");
    for (case, request, head, first, second, retry, expected) in [
        ("GET", GET, &length(10), "hello", "world", "", true),
        ("as long as it may be", GET, &length(10), "hello", "world", "hold = \"10B\"", true),
        ("a byte longer", GET, &length(11), "hello", "world!", "hold = \"10B\"", false),
        ("hold is off", GET, &length(10), "hello", "world", "hold = \"0B\"", false),
        ("there are no retries", GET, &length(10), "hello", "world", "attempts = 0", false),
        ("it is no reason to retry", GET, &length(10), "hello", "world", "on = [\"connect\"]", false),
        ("POST", POST, &length(10), "hello", "world", "", false),
        ("chunks", GET, &chunked, "5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n", "", false),
        ("events", GET, &events, "hello", "world", "", false),
        ("text", GET, &text, "hello", "world", "", true),
    ] {
        let (held, response) = is_held(request, (head, first, second), retry, expected);
        assert_eq!(held, expected, "{case}");
        assert_eq!(response.text(), if second.len() == 6 { "helloworld!" } else { "helloworld" }, "{case}");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_not_held() {
    let go = Arc::new(AtomicBool::new(false));
    let two = in_two("HTTP/1.1 200 OK\r\n\r\nhello".to_owned(), "world".to_owned(), go.clone());
    let backend = Backend::http(answers::closing(two));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    client.send(GET);
    client.wire.until(b"hello").unwrap();
    go.store(true, Ordering::SeqCst);
    client.wire.until(b"world").unwrap();
}

#[test]
fn what_cannot_be_tried_again_any_more_is_cut() {
    let backends = [Backend::http(half(Then::Close)), Backend::http(half(Then::Close))];
    let weir = Weir::start(&one_pool(&[&backends[0], &backends[1]], "", &in_turns(LONG)));
    let mut client = weir.client();
    client.send(GET);
    assert!(client.wire.response("GET").is_err());
    assert_eq!(backends[0].requests() + backends[1].requests(), 2);
}

#[test]
fn after_an_interim_response_nothing_is_tried_again() {
    let sick = || {
        Backend::http(answers::by(|_, wire| {
            wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
            sleep(ms(30));
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
            sleep(ms(5));
            Ok(Then::Close)
        }))
    };
    let (one, two) = (sick(), sick());
    let weir = Weir::start(&one_pool(&[&one, &two], "", &in_turns(LONG)));
    let mut client = weir.client();
    client.send(GET);
    assert_eq!(client.response().status, 103);
    assert!(client.wire.response("GET").is_err(), "it is not held, so it is cut");
    assert_eq!(one.requests() + two.requests(), 1);
}

#[test]
fn a_connection_with_bytes_behind_a_held_answer_is_not_used_again() {
    let backend = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        sleep(ms(20));
        wire.send("worldHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    for round in 1..=3 {
        assert_eq!(client.get("/").text(), "helloworld");
        assert_eq!(backend.connections(), round);
    }
}

#[test]
fn a_connection_whose_held_answer_was_whole_is_used_again() {
    let backend = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")?;
        sleep(ms(5));
        wire.send("hello")?;
        sleep(ms(5));
        wire.send("world")?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").text(), "helloworld"));
    assert_eq!(backend.connections(), 1);
    wait_until("no exchange is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
}

/// What is held is bounded for the shard: beyond it answers go down as they come.
#[test]
fn held_answers_have_a_bound_and_beyond_it_answers_go_down_as_they_come() {
    let go = Arc::new(AtomicBool::new(false));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n".to_owned();
    let backend = Backend::http(in_two(head + "hello", "x".repeat(2995), go.clone()));
    let runtime = "cores = 1\nbuffers = 16\nbuffer_size = \"4KiB\"\n";
    let weir = Weir::start(&one_pool(&[&backend], "", "").replace("cores = 1\n", runtime));
    let mut clients: Vec<_> = (0..40).map(|_| weir.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    wait_until("all are under way", || backend.requests() == 40);
    // 64 KiB hold 21 answers of some 3040 bytes.
    let came = || clients.iter().filter(|client| client.wire.socket.readable_within(Duration::ZERO)).count();
    wait_until("the others' have come", || came() >= 19);
    sleep(ms(100));
    assert_eq!((came(), weir.metric("weir_not_kept_total", &[])), (19, 19.0));
    go.store(true, Ordering::SeqCst);
    drop(clients);
    wait_until("no exchange is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
    // And what was held is given back.
    go.store(false, Ordering::SeqCst);
    let mut client = weir.client();
    client.send(GET);
    client.assert_silent(ms(100));
    go.store(true, Ordering::SeqCst);
    assert_eq!(client.response().body.len(), 3000);
}

#[test]
fn a_small_answer_that_comes_in_drops_is_let_go() {
    let go = Arc::new(AtomicBool::new(false));
    let seen = go.clone();
    let backend = Backend::http(answers::by(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
        let mut left = 1000;
        let began = Instant::now();
        while !seen.load(Ordering::SeqCst) && left > 1 && began.elapsed() < Duration::from_secs(20) {
            wire.send("x")?;
            left -= 1;
            sleep(ms(20));
        }
        wire.send("x".repeat(left))?;
        Ok(Then::KeepAlive)
    }));
    // As long as it is held; a drop is never so late.
    let weir = Weir::start(&one_pool(&[&backend], "", &in_turns("1s")));
    let mut client = weir.client();
    client.send(GET);
    let head = client.bytes(15);
    assert_eq!(head, b"HTTP/1.1 200 OK");
    go.store(true, Ordering::SeqCst);
    let mut rest = String::new();
    while !rest.ends_with("\r\n\r\n") {
        rest.push_str(&String::from_utf8_lossy(&client.bytes(1)));
    }
    assert_eq!(client.bytes(1000), [b'x'; 1000]);
    assert_eq!(client.get("/").status, 200, "the connection lives on");
}
