//! The admin pages, against what was sent.

use crate::backends;
use crate::exposition::Page;
use crate::harness::{Backend, Client, Handler, Load, Then, Weir, answers, one_pool, wait_until};
use crate::pool_of;
use std::time::{Duration, Instant};

/// Answers /s/NNN with that status, after `length`.
fn statuses(length: Duration) -> Handler {
    answers::by(move |received, wire| {
        std::thread::sleep(length);
        let line = received.line();
        let status: u16 = line.split_once("/s/").unwrap().1[..3].parse().unwrap();
        let body =
            if status == 204 || status == 304 || received.method() == "HEAD" { "" } else { "ten bytes\n" };
        let length = if status == 204 { "" } else { "Content-Length: 10\r\n" };
        wire.send(format!("HTTP/1.1 {status} X\r\n{length}\r\n{body}"))?;
        Ok(Then::KeepAlive)
    })
}

fn page(weir: &Weir) -> Page {
    Page::read(&weir.admin("/metrics").text())
}

const SENT: [(&str, usize); 8] =
    [("200", 7), ("204", 2), ("301", 3), ("304", 1), ("404", 5), ("410", 1), ("500", 2), ("503", 1)];

#[test]
fn metrics_count_exactly_what_was_sent() {
    let backend = Backend::http(statuses(Duration::ZERO));
    let config = pool_of("0,1", &[(&backend, "")], "").replace("pool = \"app\"\n", "")
        + "[[route]]\npath = \"/s\"\npool = \"app\"\n";
    let weir = Weir::start(&config);
    let mut clients = [weir.client(), weir.client(), weir.client()];
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        turn % 3
    };
    for (status, count) in SENT {
        for _ in 0..count {
            assert_eq!(clients[next()].get(&format!("/s/{status}")).status.to_string(), status);
        }
    }
    for _ in 0..4 {
        clients[next()].ask("HEAD /s/200 HTTP/1.1\r\nHost: h\r\n\r\n");
        clients[next()].ask(
            "POST /s/200 HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n".to_owned() + &"x".repeat(100),
        );
    }
    assert_eq!(clients[next()].get("/elsewhere").status, 404);
    wait_until("the last has been told of", || weir.metric("weir_in_flight", &[]) == 0.0);
    let page = page(&weir);
    for (class, count) in [("1xx", 0.0), ("2xx", 17.0), ("3xx", 4.0), ("4xx", 6.0), ("5xx", 3.0)] {
        let labels = [("pool", "app"), ("backend", "0"), ("class", class)];
        assert_eq!(page.sum("weir_requests_total", &labels), count, "{class}");
    }
    assert_eq!(page.sum("weir_refusals_total", &[("status", "404")]), 1.0);
    assert_eq!(page.sum("weir_refusals_total", &[]), 1.0);
    assert_eq!(page.sum("weir_upstream_failures_total", &[]), 0.0);
    assert_eq!(page.sum("weir_connections_accepted_total", &[]), 3.0);
    assert_eq!(page.sum("weir_connections", &[]), 3.0);
    assert_eq!(page.sum("weir_upstream_connects_total", &[]), backend.connections() as f64);
    assert_eq!(page.sum("weir_upstream_connections_idle", &[]), backend.open() as f64);
    for phase in ["connect", "first_byte", "whole", "own"] {
        assert_eq!(page.sum("weir_phase_seconds_count", &[("phase", phase)]), 30.0, "{phase}");
    }
    assert_eq!(page.sum("weir_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!((page.sum("weir_ready", &[]), page.sum("weir_shards", &[("state", "serving")])), (1.0, 2.0));
}

#[test]
fn metrics_count_body_bytes() {
    let backend = Backend::http(statuses(Duration::ZERO));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    client
        .ask("POST /s/200 HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n".to_owned() + &"x".repeat(100));
    client.send("POST /s/200 HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n");
    client.send("x".repeat(50_000));
    assert_eq!(client.response_to("POST").status, 200);
    assert_eq!(client.get("/s/204").status, 204);
    let page = page(&weir);
    assert_eq!(page.sum("weir_request_body_bytes_total", &[("backend", "0")]), 50_100.0);
    assert_eq!(page.sum("weir_response_body_bytes_total", &[("backend", "0")]), 20.0);
}

#[test]
fn backends_tell_state_times_and_quantiles_that_fit_what_happened() {
    const LENGTH: Duration = Duration::from_millis(30);
    let slow = Backend::http(statuses(LENGTH));
    let unused = Backend::http(statuses(LENGTH));
    let weir = Weir::start(&pool_of("0,1", &[(&slow, "weight = 7"), (&unused, "backup = true")], ""));
    let (mut client, began) = (weir.client(), Instant::now());
    for _ in 0..30 {
        assert_eq!(client.get("/s/200").status, 200);
    }
    // One after the other: all of weir's times together are no longer than this.
    let took = began.elapsed().as_secs_f64();
    let pages = backends(&weir);
    let page = &pages[0];
    assert_eq!(page["pool"], "app");
    assert_eq!((page["name"].as_str(), page["address"].as_str()), (Some("0"), Some(slow.address().as_str())));
    assert_eq!((page["weight"].as_u64(), page["backup"].as_bool()), (Some(7), Some(false)));
    assert_eq!((pages[1]["weight"].as_u64(), pages[1]["backup"].as_bool()), (Some(1), Some(true)));
    assert_eq!((page["state"].as_str(), page["usable"].as_bool()), (Some("no_check"), Some(true)));
    assert_eq!(page["why"], "no health check is configured");
    let since = page["since"].as_str().unwrap();
    assert!(since.len() >= 20 && since.ends_with('Z') && since.as_bytes()[10] == b'T', "{since}");
    let seconds = page["since_seconds"].as_f64().unwrap();
    assert!(seconds >= 0.9, "{seconds} of {took}");
    assert_eq!((page["requests"].as_u64(), pages[1]["requests"].as_u64()), (Some(30), Some(0)));
    let marks: Vec<u64> =
        ["p50_us", "p90_us", "p99_us", "p99_9_us"].map(|mark| page["whole"][mark].as_u64().unwrap()).into();
    assert!(marks.is_sorted(), "{marks:?}");
    // To two digits.
    let most = took * 1e6 * 1.01 / 15.0;
    assert!(marks[0] >= 29_700 && (marks[0] as f64) <= most, "30 ms are waited for: {marks:?} of {took} s");
    assert!(pages[1]["whole"]["p50_us"].is_null());
    // The same times in the metrics.
    let metrics = self::page(&weir);
    let sum = |phase: &str| metrics.sum("weir_phase_seconds_sum", &[("phase", phase), ("backend", "0")]);
    assert!((0.9..=took * 1.02).contains(&sum("whole")), "{} of {took}", sum("whole"));
    assert!((0.9..=sum("whole") * 1.02).contains(&sum("first_byte")), "{}", sum("first_byte"));
    assert!((1e-6..=took).contains(&sum("connect")), "one connect: {} of {took}", sum("connect"));
    // What is left when the backend's 30 ms are taken off each.
    assert!(sum("own") <= took - 0.9 + 0.02, "weir's own share: {} of {took}", sum("own"));
}

#[test]
fn in_flight_is_told_in_all_and_by_shard() {
    let backend = Backend::http(statuses(Duration::from_millis(1_500)));
    let weir = Weir::start(&pool_of("0,1", &[(&backend, "")], ""));
    let mut clients: Vec<Client> = (0..10).map(|_| weir.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET /s/200 HTTP/1.1\r\nHost: h\r\n\r\n"));
    wait_until("all are told of", || backends(&weir)[0]["in_flight"] == 10);
    let page = backends(&weir)[0].clone();
    let shards: Vec<u64> =
        page["in_flight_per_shard"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    assert_eq!((shards.len(), shards.iter().sum::<u64>()), (2, 10), "{shards:?}");
    for (shard, count) in ["0", "1"].iter().zip(shards) {
        assert_eq!(weir.metric("weir_connections", &[("shard", shard)]), count as f64, "one each");
    }
    assert_eq!(weir.metric("weir_in_flight", &[("backend", "0")]), 10.0);
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    wait_until("none is left", || backends(&weir)[0]["in_flight"] == 0);
}

#[test]
fn every_scrape_under_load_is_well_formed_and_counters_only_grow() {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::http(answers::text("ok"))).collect();
    let all: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
    let check = "[pool.app.health]\ninterval = \"50ms\"\ntimeout = \"20s\"\n";
    let weir = Weir::start(&pool_of("0,1", &all, check));
    let load = Load::get(weir.address("web"), 4, "/");
    let mut before: Option<Page> = None;
    for _ in 0..12 {
        let now = page(&weir);
        if let Some(before) = &before {
            for (series, value) in &before.samples {
                let kind = before.kinds.get(&series.0);
                if kind.is_none_or(|kind| kind == "counter") {
                    assert!(now.samples[series] >= *value, "{series:?} shrinks");
                }
            }
        }
        before = Some(now);
        std::thread::sleep(Duration::from_millis(40));
    }
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
    let end = page(&weir);
    assert_eq!(
        end.sum("weir_requests_total", &[]),
        counts.ok as f64,
        "no request is counted twice or not at all"
    );
    assert_eq!(end.sum("weir_phase_seconds_count", &[("phase", "whole")]), counts.ok as f64);
    assert_eq!(end.sum("weir_backend_state", &[("state", "up")]), 3.0);
    assert_eq!(end.sum("weir_backend_usable", &[]), 3.0);
}

#[test]
fn scrapes_at_the_same_time_are_all_answered() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&pool_of("0,1", &[(&backend, "")], ""));
    let load = Load::get(weir.address("admin"), 8, "/metrics");
    wait_until("300 scrapes are answered", || load.counts().ok >= 300);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{counts:?}");
    assert_eq!(weir.client().get("/").status, 200);
}

#[test]
fn paths_methods_and_types_are_as_a_client_expects() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    for (path, kind, part) in [
        ("/healthz", "text/plain", "ok\n"),
        ("/readyz", "text/plain", "ready\n"),
        ("/metrics", "text/plain; version=0.0.4", "weir_uptime_seconds"),
        ("/backends", "application/json", "\"backends\""),
        ("/", "text/plain", "/backends"),
    ] {
        let response = weir.admin(path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.field("Content-Type").unwrap().starts_with(kind), "{path}");
        assert!(response.text().contains(part), "{path}: {}", response.text());
        let head = weir.try_admin("HEAD", path).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "HEAD {path}");
        let post = weir.try_admin("POST", path).unwrap();
        assert_eq!((post.status, post.field("Allow")), (405, Some("GET, HEAD")), "POST {path}");
    }
    assert_eq!(weir.admin("/secret").status, 404);
}

#[test]
fn admin_over_a_unix_socket_and_not_at_all() {
    let backend = Backend::http(answers::text("ok"));
    let both = one_pool(&[&backend], "", "")
        + "[admin]\nlisten = [\"127.0.0.1:{admin}\", \"unix:{dir}/admin.sock\"]\n";
    let weir = Weir::start(&both);
    let mut client = Client::connect_unix(&weir.dir().join("admin.sock"));
    let page = Page::read(&client.get("/metrics").text());
    assert_eq!(page.sum("weir_ready", &[]), 1.0);
    let mut none = Weir::spawn(&(one_pool(&[&backend], "", "") + "[admin]\nlisten = []\n"));
    wait_until("it serves", || std::net::TcpStream::connect(none.address("web")).is_ok());
    assert_eq!(none.client().get("/").status, 200);
    none.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(none.wait_exit(Duration::from_secs(20)).code(), Some(0));
}
