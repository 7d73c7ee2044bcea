//! Which failed attempts are made again, and that nothing that may have run runs twice.

use crate::harness::{Backend, Handler, Then, Weir, answers, one_pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";

/// Answers the first request of each connection; closes on any later one without a word.
fn dies_at_the_second() -> Handler {
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    answers::by(move |received, wire| {
        if !seen.lock().unwrap().insert(received.connection) {
            return Ok(Then::Close);
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::KeepAlive)
    })
}

#[test]
fn a_get_on_an_idle_connection_that_closes_under_it_is_tried_again() {
    let backend = Backend::http(dies_at_the_second());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    for n in 0..6 {
        assert_eq!(client.get("/").text(), "ok", "request {n}");
    }
    assert!(backend.requests() > 6, "some requests met a connection that had died");
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0, "that is no retry");
    assert_eq!(weir.metric("weir_upstream_failures_total", &[]), 0.0, "that is no failure of the backend");
}

#[test]
fn a_connection_that_has_died_sends_nobody_to_the_fallback_or_to_another_clients_backend() {
    for policy in ["least_conn", "ip_hash"] {
        let (own, other) = (Backend::http(dies_at_the_second()), Backend::http(answers::text("other")));
        let spare = format!(
            "policy = \"{policy}\"\nfallback = \"spare\"\n[[pool.spare.backend]]\naddress = \"{}\"\n",
            other.address()
        );
        let weir = Weir::start(&one_pool(&[&own], "", &spare));
        let mut client = weir.client();
        for n in 0..6 {
            assert_eq!(client.get("/").text(), "ok", "{policy}, request {n}");
        }
        assert_eq!(other.requests(), 0, "{policy}");
    }
}

#[test]
fn who_has_tried_all_of_a_pool_goes_on_in_its_fallback() {
    let (absent, other) = (Backend::absent(answers::text("back")), Backend::http(answers::text("other")));
    let spare = format!(
        "fallback = \"spare\"\n[pool.app.retry]\nbudget = 1.0\n[[pool.spare.backend]]\naddress = \"{}\"\n",
        other.address()
    );
    let weir = Weir::start(&one_pool(&[&absent], "", &spare));
    let mut client = weir.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").text(), "other"));
}

#[test]
fn a_get_is_tried_again_on_another_backend() {
    let (one, two) = (Backend::http(dies_at_the_second()), Backend::http(dies_at_the_second()));
    let weir = Weir::start(&one_pool(&[&one, &two], "", "policy = \"round_robin\""));
    let mut client = weir.client();
    for n in 0..20 {
        assert_eq!(client.get("/").text(), "ok", "request {n}");
    }
}

#[test]
fn a_put_or_delete_is_tried_again_but_not_a_post_or_a_patch() {
    for (method, again) in [
        ("PUT", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("HEAD", true),
        ("TRACE", true),
        ("POST", false),
        ("PATCH", false),
        ("LOCK", false),
    ] {
        let backend = Backend::http(dies_at_the_second());
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        let mut client = weir.client();
        assert_eq!(client.get("/").status, 200);
        let body = if method == "HEAD" || method == "TRACE" { "" } else { "abc" };
        let length = if body.is_empty() { "" } else { "Content-Length: 3\r\n" };
        client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n{length}\r\n{body}"));
        // The answer to a HEAD of this backend has a body: its length alone matters here.
        let status = client.response_to("HEAD").status;
        assert_eq!(status, if again { 200 } else { 502 }, "{method}");
        let seen = backend.received().iter().filter(|r| r.method() == method).count();
        assert_eq!(seen, if again { 2 } else { 1 }, "{method}");
    }
}

#[test]
fn a_post_runs_at_most_once_whatever_happens_to_its_connection() {
    let ran = Arc::new(AtomicUsize::new(0));
    let dying = |ran: Arc<AtomicUsize>| {
        let count = AtomicUsize::new(0);
        answers::by(move |_, wire| {
            ran.fetch_add(1, Ordering::SeqCst);
            match count.fetch_add(1, Ordering::SeqCst) % 5 {
                3 => return Ok(Then::Close),
                4 => return Ok(Then::Reset),
                _ => {}
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            Ok(Then::KeepAlive)
        })
    };
    let (one, two) = (Backend::http(dying(ran.clone())), Backend::http(dying(ran.clone())));
    let weir = Weir::start(&one_pool(&[&one, &two], "", "policy = \"round_robin\""));
    let mut client = weir.client();
    let mut failed = 0;
    for n in 1..=100 {
        let response = client.ask(POST);
        assert!([200, 502].contains(&response.status), "{}", response.status);
        failed += usize::from(response.status == 502);
        assert_eq!(ran.load(Ordering::SeqCst), n, "each request ran once");
        if response.field("Connection") == Some("close") {
            client = weir.client();
        }
    }
    assert_eq!(failed, 40, "two of five");
}

#[test]
fn a_get_that_a_fresh_connection_does_not_answer_is_tried_once_more_and_a_post_is_not() {
    let (one, two) =
        (Backend::http(answers::fixed_and_close("")), Backend::http(answers::fixed_and_close("")));
    let weir = Weir::start(&one_pool(&[&one, &two], "", ""));
    assert_eq!(weir.client().get("/").status, 502);
    assert_eq!(one.requests() + two.requests(), 2, "once at each, then enough");
    assert_eq!(weir.client().ask(POST).status, 502);
    assert_eq!(one.requests() + two.requests(), 3, "a POST runs at most once");
}

#[test]
fn a_failed_connect_is_tried_again_elsewhere_for_any_method_and_any_body() {
    let absent = Backend::absent(answers::text("back"));
    let there = Backend::http(answers::echo());
    let pool = "policy = \"round_robin\"\n[pool.app.retry]\nbudget = 1.0\n";
    let weir = Weir::start(&one_pool(&[&absent, &there], "", pool));
    let mut client = weir.client();
    for n in 0..10 {
        assert_eq!(client.get("/").status, 200, "GET {n}");
        assert_eq!(client.ask(POST).text(), "abc", "POST {n}");
        // Head and body apart: the body is not there yet when the connect fails.
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
        client.send("xyz");
        assert_eq!(client.response().text(), "xyz", "POST in two {n}");
    }
    assert_eq!(there.requests(), 30);
    assert!(weir.metric("weir_retries_total", &[("backend", "0")]) > 0.0);
    assert!(weir.metric("weir_upstream_failures_total", &[("backend", "0"), ("cause", "connect")]) > 0.0);
}

#[test]
fn as_many_attempts_are_made_as_the_rule_allows_and_each_at_another_backend() {
    for attempts in [0, 1, 3, 9] {
        let backends: Vec<Backend> = (0..5).map(|_| Backend::absent(answers::text("back"))).collect();
        let pool = format!("[pool.app.retry]\nattempts = {attempts}\nbudget = 1.0\nbudget_min_per_s = 20\n");
        let weir = Weir::start(&one_pool(&backends.iter().collect::<Vec<_>>(), "", &pool));
        let response = weir.client().get("/");
        assert_eq!(response.status, 502);
        assert!(response.text().contains("connect"), "{}", response.text());
        let retries = f64::from(attempts.min(4));
        assert_eq!(weir.metric("weir_retries_total", &[]), retries);
        assert_eq!(weir.metric("weir_upstream_failures_total", &[("cause", "connect")]), retries + 1.0);
        for (name, _) in backends.iter().enumerate().filter(|_| attempts == 9) {
            let labels = [("cause", "connect"), ("backend", &*name.to_string())];
            assert_eq!(weir.metric("weir_upstream_failures_total", &labels), 1.0);
        }
    }
}
