//! Statuses that are tried again, and how many retries a pool may make.

use crate::harness::{Backend, Handler, Then, Weir, answers, one_pool, wait_until};
use std::time::{Duration, Instant};

const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";

fn ill(body: &'static str) -> Handler {
    answers::fixed(format!("HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A pool in turns that tries 500 again, with more of its rule.
fn on_500(rule: &str) -> String {
    format!("policy = \"round_robin\"\n[pool.app.retry]\non = [\"connect\", \"500\"]\n{rule}")
}

#[test]
fn a_status_of_the_list_is_tried_again_elsewhere_and_no_get_is_lost() {
    let (sick, well) = (Backend::http(ill("ill")), Backend::http(answers::text("well")));
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &on_500("budget = 1.0\n")));
    let mut client = weir.client();
    for n in 0..20 {
        assert_eq!(client.get("/").text(), "well", "request {n}");
    }
    assert_eq!(sick.requests(), 10);
    assert_eq!(sick.connections(), 1, "an answer that was whole leaves its connection free");
    assert_eq!(weir.metric("weir_retries_total", &[("backend", "0")]), 10.0);
    let failures = weir.metric("weir_upstream_failures_total", &[("backend", "0"), ("cause", "status")]);
    assert_eq!(failures, 10.0);
    assert_eq!(weir.metric("weir_requests_total", &[("class", "5xx")]), 0.0, "none was passed on");
    let posts: Vec<u16> = (0..4).map(|_| client.ask(POST).status).collect();
    assert_eq!(posts.iter().filter(|status| **status == 500).count(), 2, "a POST is not tried again");
}

#[test]
fn a_status_that_is_not_in_the_list_is_passed_on() {
    let sick = Backend::http(answers::fixed("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"));
    let well = Backend::http(answers::text("well"));
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &on_500("budget = 1.0\n")));
    let mut client = weir.client();
    let texts: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "busy").count(), 2, "{texts:?}");
}

#[test]
fn where_it_is_not_tried_again_the_backends_own_answer_is_passed_on() {
    let sick = || Backend::http(ill("ill"));
    let chunked = || {
        Backend::http(answers::fixed(
            "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nill\r\n0\r\n\r\n",
        ))
    };
    for (case, backends, rule, requests) in [
        ("there is no other backend", vec![sick()], "budget = 1.0\n", 1),
        ("the other is ill too", vec![sick(), sick()], "budget = 1.0\n", 2),
        ("in chunks", vec![chunked(), chunked()], "budget = 1.0\n", 2),
        ("there is no budget", vec![sick(), sick()], "budget = 0.0\nbudget_min_per_s = 0\n", 1),
        ("there are no retries", vec![sick(), sick()], "attempts = 0\n", 1),
    ] {
        let weir = Weir::start(&one_pool(&backends.iter().collect::<Vec<_>>(), "", &on_500(rule)));
        let mut client = weir.client();
        for round in 1..=3 {
            let response = client.get("/");
            assert_eq!((response.status, &*response.text()), (500, "ill"), "{case}");
            let seen: usize = backends.iter().map(Backend::requests).sum();
            assert_eq!(seen, round * requests, "{case}");
        }
    }
}

#[test]
fn a_head_is_tried_again_too_and_nothing_of_the_first_answer_reaches_the_client() {
    let sick = Backend::http(answers::fixed("HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\n"));
    let well = Backend::http(answers::text("well"));
    let weir = Weir::start(&one_pool(&[&sick, &well], "", &on_500("budget = 1.0\n")));
    let mut client = weir.client();
    for _ in 0..6 {
        let response = client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((response.status, response.field("Content-Length")), (200, Some("4")));
        assert_eq!(client.get("/").text(), "well");
    }
}

#[test]
fn when_all_attempts_fail_there_are_no_more_than_the_budget_allows() {
    const REQUESTS: usize = 400;
    for (case, handler) in [
        ("closed", answers::fixed_and_close("")),
        ("500", ill("ill")),
        ("half", answers::fixed_and_close("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx")),
    ] {
        let backends: Vec<Backend> = (0..3).map(|_| Backend::http(handler.clone())).collect();
        let rule = "attempts = 2\non = [\"no_response\", \"truncated\", \"500\"]\nbudget = 0.25\n\
                    budget_min_per_s = 5\n";
        let pool = format!("[pool.app.retry]\n{rule}");
        let weir = Weir::start(&one_pool(&backends.iter().collect::<Vec<_>>(), "", &pool));
        let began = Instant::now();
        for _ in 0..REQUESTS {
            let mut client = weir.client();
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            // Weir's own answer, the backend's, or one that is cut: none has come well.
            assert!(client.wire.response("GET").ok().flatten().is_none_or(|response| response.status >= 500));
        }
        let seconds = began.elapsed().as_secs() as usize + 1;
        let attempts: usize = backends.iter().map(Backend::requests).sum();
        let most = REQUESTS + REQUESTS / 4 + 5 * seconds;
        assert!(attempts <= most, "{case}: {attempts} attempts for {REQUESTS} requests, over {most}");
        assert!(attempts >= REQUESTS + REQUESTS / 4, "{case}: {attempts}, the budget was not used");
        let metric = |name: &str| weir.metric(name, &[]) as usize;
        wait_until("all retries are counted", || metric("weir_retries_total") == attempts - REQUESTS);
        assert!(metric("weir_retries_denied_total") > 0, "{case}");
    }
}

/// A pooled connection that the backend has closed is no retry: the budget has nothing to say about it.
#[test]
fn a_dead_pooled_connection_needs_no_budget() {
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let backend = Backend::http(answers::by(move |received, wire| {
        if !seen.lock().unwrap().insert(received.connection) {
            return Ok(Then::Close);
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::KeepAlive)
    }));
    let pool = "[pool.app.retry]\nattempts = 0\non = []\nbudget = 0.0\nbudget_min_per_s = 0\n";
    let weir = Weir::start(&one_pool(&[&backend], "", pool));
    let mut client = weir.client();
    for n in 0..10 {
        assert_eq!(client.get("/").text(), "ok", "request {n}");
    }
    assert_eq!(weir.metric("weir_retries_denied_total", &[]), 0.0);
}

#[test]
fn who_finds_no_place_at_a_backend_goes_on_to_one_that_has_some_whatever_the_budget() {
    let slow = || Backend::http(answers::delayed(Duration::from_millis(1500), answers::text("ok")));
    let backends = [slow(), slow(), slow()];
    let rule = "policy = \"ip_hash\"\n[pool.app.upstream]\nmax_connections = 2\n\
                [pool.app.retry]\nbudget = 0.0\nbudget_min_per_s = 0\n";
    let weir = Weir::start(&one_pool(&[&backends[0], &backends[1], &backends[2]], "", rule));
    // They all belong to the same backend.
    let mut clients: Vec<_> = (0..6).map(|_| weir.client()).collect();
    let send = |client: &mut crate::harness::Client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    for (n, client) in clients.iter_mut().enumerate() {
        send(client);
        let connections = || backends.iter().map(Backend::connections).sum::<usize>();
        wait_until("it has gone up", || connections() == n + 1);
    }
    let mut seventh = weir.client();
    send(&mut seventh);
    assert_eq!(seventh.response().status, 503, "there is no place anywhere");
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
}
