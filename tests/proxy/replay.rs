//! Request bodies that did not come with their head are sent again from what was kept of them.

use crate::harness::{AT_ONCE, Backend, Weir, answers, ending, one_pool, wait_until};
use crate::pattern;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Takes a head and `bytes` of a body, and dies; says how often it did.
fn dies_after(bytes: usize, died: Arc<AtomicUsize>) -> Backend {
    Backend::raw(move |mut wire, _| {
        if wire.head().is_ok_and(|head| head.is_some()) && wire.bytes(bytes).is_ok() {
            died.fetch_add(1, Ordering::SeqCst);
            wire.reset();
        }
    })
}

/// Turns that begin at the backend that dies, since it is the first; any number of retries.
fn pool(rule: &str) -> String {
    format!("policy = \"round_robin\"\n[pool.app.retry]\nbudget = 1.0\nbudget_min_per_s = 50\n{rule}")
}

/// Sends a request whose first attempt dies after `first` of its body, and the rest when it has.
fn ask_in_two(head: &str, first: &[u8], rest: &[u8], rule: &str) -> (u16, Vec<u8>, usize) {
    let died = Arc::new(AtomicUsize::new(0));
    let dying = dies_after(first.len(), died.clone());
    let well = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&dying, &well], "", &pool(rule)));
    // Until its turn comes to the one that dies.
    for _ in 0..4 {
        let mut client = weir.client();
        let (before, connections) = (died.load(Ordering::SeqCst), dying.connections() + well.connections());
        client.send(head);
        // Head and body must not come in one piece.
        wait_until("the head has gone up", || dying.connections() + well.connections() > connections);
        client.send(first);
        if well.requests() == 0 {
            let began = std::time::Instant::now();
            while died.load(Ordering::SeqCst) == before && began.elapsed() < Duration::from_millis(500) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let its_turn = died.load(Ordering::SeqCst) > before;
        if its_turn {
            std::thread::sleep(Duration::from_millis(20));
        }
        // It may have been refused by now.
        let _ = client.wire.send(rest);
        let response = client.response();
        if its_turn {
            return (response.status, response.body.clone(), died.load(Ordering::SeqCst));
        }
    }
    panic!("the backend that dies was never picked");
}

fn head(method: &str, length: usize) -> String {
    format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_put_whose_backend_dies_in_the_middle_of_its_body_goes_on_at_another() {
    let body = pattern(60_000);
    for cut in [1, 5_000, 30_000, 59_999] {
        let (first, rest) = body.split_at(cut);
        let (status, echoed, died) = ask_in_two(&head("PUT", body.len()), first, rest, "");
        assert_eq!((status, died), (200, 1), "cut at {cut}");
        assert!(echoed == body, "cut at {cut}: the body is another");
    }
}

#[test]
fn a_chunked_put_is_sent_again_as_the_client_framed_it() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (status, echoed, _) = ask_in_two(head, b"5\r\nhello\r\n3\r\n, ", b"w\r\n4\r\norld\r\n0\r\n\r\n", "");
    assert_eq!((status, &*echoed), (200, &b"hello, world"[..]));
}

#[test]
fn a_body_that_is_not_kept_or_may_not_be_repeated_is_not_sent_again() {
    for (case, method, rule, length, first) in [
        ("POST", "POST", "", 2_000, 1_000),
        ("longer than what is kept", "PUT", "body_buffer = \"1KiB\"\n", 2_000, 1_000),
        ("nothing is kept", "PUT", "body_buffer = \"0B\"\n", 2_000, 1_000),
        ("no retries", "PUT", "attempts = 0\n", 2_000, 1_000),
    ] {
        let body = pattern(length);
        let (status, _, _) = ask_in_two(&head(method, length), &body[..first], &body[first..], rule);
        assert_eq!(status, 502, "{case}");
    }
}

#[test]
fn a_chunked_body_is_kept_as_far_as_the_buffer_goes() {
    let head = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = [b"7d0\r\n", &*pattern(2_000), b"\r\n"].concat();
    for (buffer, expected) in [("4KiB", 200), ("1KiB", 502)] {
        let rule = format!("body_buffer = \"{buffer}\"\n");
        let (status, _, _) = ask_in_two(head, &first, b"0\r\n\r\n", &rule);
        assert_eq!(status, expected, "{buffer}");
    }
}

#[test]
fn after_a_100_nothing_is_sent_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let dying = |count: Arc<AtomicUsize>| {
        Backend::raw(move |mut wire, _| {
            if wire.head().is_ok_and(|head| head.is_some()) {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = wire.send("HTTP/1.1 100 Continue\r\n\r\n");
                let _ = wire.bytes(5);
            }
        })
    };
    let (one, two) = (dying(count.clone()), dying(count.clone()));
    let weir = Weir::start(&one_pool(&[&one, &two], "", &pool("")));
    let mut client = weir.client();
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 100);
    client.send("hello");
    assert_eq!(client.response().status, 502);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn an_expectation_that_was_not_answered_is_answered_by_the_next_backend() {
    let died = Arc::new(AtomicUsize::new(0));
    let dying = dies_after(0, died.clone());
    let well = Backend::raw(|mut wire, _| {
        while wire.head().is_ok_and(|head| head.is_some()) {
            let _ = wire.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = wire.bytes(5).unwrap_or_default();
            let _ = wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            let _ = wire.send(body);
        }
    });
    let weir = Weir::start(&one_pool(&[&dying, &well], "", &pool("")));
    for _ in 0..4 {
        let mut client = weir.client();
        client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.response().status, 100);
        client.send("hello");
        assert_eq!(client.response().text(), "hello");
    }
    assert!(died.load(Ordering::SeqCst) > 0);
}

#[test]
fn an_early_answer_of_a_listed_status_is_tried_again_while_the_body_still_comes() {
    let answered = Arc::new(AtomicBool::new(false));
    let told = answered.clone();
    let sick = Backend::raw(move |mut wire, _| {
        if wire.head().is_ok_and(|head| head.is_some()) {
            let _ = wire.bytes(5);
            let _ = wire.send("HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nill");
            told.store(true, Ordering::SeqCst);
            let _ = wire.rest();
        }
    });
    let well = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &pool("on = [\"500\"]\n")));
    for _ in 0..4 {
        let mut client = weir.client();
        client.send(head("PUT", 10));
        client.send("hello");
        std::thread::sleep(Duration::from_millis(50));
        client.send("world");
        let response = client.response();
        assert_eq!((response.status, &*response.text()), (200, "helloworld"));
        assert_eq!(response.field("Connection"), None, "the body has gone up whole");
    }
    assert!(answered.load(Ordering::SeqCst), "the sick one had its turn");
}

#[test]
fn a_held_answer_to_a_body_that_came_later_is_tried_again() {
    let sick = Backend::http(answers::fixed_and_close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"));
    let well = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &pool("")));
    let mut client = weir.client();
    for n in 0..6 {
        client.send(head("PUT", 10));
        client.send("hello");
        client.send("world");
        assert_eq!(client.response().text(), "helloworld", "{n}");
    }
    assert_eq!(sick.requests(), 3);
    wait_until("no exchange is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
}

#[test]
fn a_connection_on_which_a_request_did_not_go_up_whole_serves_no_other() {
    const LENGTH: usize = 6 << 20;
    let died = Arc::new(AtomicUsize::new(0));
    let mut dying = dies_after(LENGTH, died.clone());
    // Answers early, and reads no more of its first request.
    let (_over, end) = ending();
    let early = Backend::raw(move |mut wire, number| {
        while wire.head().is_ok_and(|head| head.is_some()) {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").unwrap();
            if number == 0 {
                return end.wait();
            }
        }
    });
    let rule = "body_buffer = \"8MiB\"\n[pool.app.timeouts]\nresponse = \"20s\"\n";
    let weir = Weir::start(&one_pool(&[&dying, &early], "", &pool(rule)));
    let mut client = weir.client();
    client.send(head("PUT", LENGTH));
    wait_until("the head has gone up", || dying.connections() == 1);
    client.send(pattern(LENGTH));
    assert_eq!(client.response().text(), "early");
    assert_eq!(died.load(Ordering::SeqCst), 1);
    dying.stop();
    let mut client = weir.client();
    let began = std::time::Instant::now();
    let texts: Vec<u16> = (0..2).map(|_| client.get("/").status).collect();
    assert_eq!(texts, [200, 200]);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(early.connections(), 2);
}
