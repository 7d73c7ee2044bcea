//! The admin surface over real sockets, with control behind it and threads as shards.

use super::*;
use crate::config::{Admin, Check, Config, ListenAddress, Pool};
use crate::control::rig::*;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Serves on a free port and on a Unix socket.
fn surface(rig: &Rig, name: &str) -> (SocketAddr, PathBuf) {
    let path = std::env::temp_dir().join(format!("weir-admin-{}-{name}.sock", std::process::id()));
    let any = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listeners =
        bind(&Admin { listen: vec![any, ListenAddress::Unix(path.clone())], token_file: None }).unwrap();
    let AdminListener::Tcp(tcp) = &listeners[0] else { panic!("{listeners:?}") };
    let address = tcp.local_addr().unwrap();
    serve(listeners, None, &rig.desk);
    (address, path)
}

/// Asks over any stream; the status and what follows the head, in any framing.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: S, request: &str) -> (u16, String) {
    send(stream, &format!("{request} HTTP/1.1\r\nHost: weir\r\n\r\n")).await
}

/// Sends a whole request as it is.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let reading = stream.read_to_string(&mut text);
    timeout(Micros::from_s(9).as_duration(), reading).await.expect("the connection stays open").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(TcpStream::connect(address).await.unwrap(), &format!("GET {path}")).await
}

fn plain() -> Config {
    config(vec![app(None)])
}

fn app(health: Option<crate::config::Health>) -> Pool {
    pool("app", &[closed_port()], health)
}

#[test]
fn each_path_answers_what_it_is_for_and_the_rest_is_refused() {
    with_control(plain(), 2, |rig| async move {
        let (address, path) = surface(&rig, "paths");
        for (path, status, part) in [
            ("/", 200, "/backends"),
            ("/healthz", 200, "ok"),
            ("/readyz", 200, "ready"),
            ("/readyz?verbose", 200, "ready"),
            ("/", 200, "/pools/POOL/backends/NAME/drain"),
            ("/nothing", 404, "no /nothing"),
            ("/healthz/", 404, "no /healthz/"),
        ] {
            let (found, body) = get(address, path).await;
            assert!(found == status && body.contains(part), "{path}: {found} {body}");
        }
        for (request, status, empty) in
            [("POST /metrics", 405, false), ("DELETE /", 405, false), ("HEAD /healthz", 200, true)]
        {
            let (found, body) = ask(TcpStream::connect(address).await.unwrap(), request).await;
            assert_eq!((found, body.is_empty()), (status, empty), "{request}: {body}");
        }
        let unix = ask(UnixStream::connect(&path).await.unwrap(), "GET /healthz").await;
        assert_eq!(unix, (200, "ok\n".to_owned()));
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn readyz_says_why_not() {
    let backend = FakeBackend::start(Answer::Hang);
    let config = config(vec![pool("app", &[backend.address], Some(health(Check::Http(http_check()))))]);
    with_control(config, 1, |rig| async move {
        let (address, path) = surface(&rig, "readyz");
        let (status, body) = get(address, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (503, "not ready: the first health checks of pool app have not ended\n")
        );
        rig.shards[0].set(Manner::Busy);
        rig.signals.send(crate::control::Signal::Leave).unwrap();
        until("the signal arrived", || rig.shards[0].told(|told| !told.orders.is_empty())).await;
        assert_eq!(get(address, "/readyz").await, (503, "not ready: shutting down\n".to_owned()));
        assert_eq!(get(address, "/healthz").await.0, 200, "alive all the same");
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn metrics_show_what_the_shards_recorded_until_now() {
    with_control(plain(), 3, |rig| async move {
        let (address, path) = surface(&rig, "metrics");
        rig.report(1, 1, &[4]);
        for scrapes in 1..=2 {
            let (status, body) = get(address, "/metrics").await;
            assert_eq!(status, 200);
            for line in [
                format!("weir_requests_total{{pool=\"app\",backend=\"0\",class=\"2xx\"}} {}", 3 * scrapes),
                format!("weir_connections_accepted_total{{shard=\"2\"}} {scrapes}"),
                "weir_connections_imbalance 1.5".to_owned(),
                "weir_in_flight{pool=\"app\",backend=\"0\"} 4".to_owned(),
                "weir_backend_state{pool=\"app\",backend=\"0\",state=\"no_check\"} 1".to_owned(),
                "weir_ready 1".to_owned(),
                "weir_shards{state=\"serving\"} 3".to_owned(),
            ] {
                assert!(body.lines().any(|found| found == line), "{line} is not in\n{body}");
            }
        }
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn backends_show_state_since_why_counts_and_quantiles() {
    let config = config(vec![app(Some(health(Check::Tcp))), pool("plain", &[closed_port()], None)]);
    with_control(config, 2, |rig| async move {
        let (address, path) = surface(&rig, "backends");
        rig.report(0, 1, &[2, 0]);
        rig.report(1, 1, &[1, 0]);
        until("down", || rig.standing(crate::balance::BackendId(0)).probes_failed > 0).await;
        let (status, body) = get(address, "/backends").await;
        assert_eq!(status, 200);
        let page: Value = serde_json::from_str(&body).unwrap();
        let (first, second) = (&page["backends"][0], &page["backends"][1]);
        assert_eq!(
            (&first["pool"], &first["name"], &first["state"]),
            (&"app".into(), &"0".into(), &"down".into())
        );
        assert!(first["why"].as_str().unwrap().ends_with("connect refused"), "{first}");
        assert_eq!((&first["in_flight"], &first["in_flight_per_shard"]), (&3.into(), &vec![2, 1].into()));
        assert_eq!(
            (&first["weight"], &first["backup"], &first["usable"]),
            (&1.into(), &false.into(), &false.into())
        );
        assert_eq!(first["requests"], 2);
        let p99_us = first["whole"]["p99_us"].as_u64().unwrap();
        assert!((1_980..=2_020).contains(&p99_us), "{p99_us}");
        assert_eq!((&second["state"], &second["usable"]), (&"no_check".into(), &true.into()));
        assert_eq!(second["whole"]["p50_us"], Value::Null);
        let (since, ago) = (second["since"].as_str().unwrap(), second["since_seconds"].as_f64().unwrap());
        assert!(
            since.starts_with("20") && since.ends_with('Z') && (0.0..10.0).contains(&ago),
            "{since} {ago}"
        );
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn connections_are_bounded_and_one_more_is_served_once_another_ends() {
    with_control(plain(), 1, |rig| async move {
        let (address, path) = surface(&rig, "bound");
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut waiting = std::pin::pin!(get(address, "/healthz"));
        // Time enough for a hundred answers; that there is none is what the bound promises.
        let answered = timeout(Micros::from_ms(100).as_duration(), &mut waiting).await;
        assert!(answered.is_err(), "{answered:?}");
        let unix = ask(UnixStream::connect(&path).await.unwrap(), "GET /healthz").await;
        assert_eq!(unix.0, 200, "the other listener is not concerned");
        let began = clock();
        idle.pop();
        assert_eq!(waiting.await.0, 200);
        assert!(clock() - began < HEAD_WITHIN, "the place was free at once, not when a head was overdue");
        std::fs::remove_file(path).unwrap();
    });
}

/// A request that changes something, over the port, as curl sends it.
async fn change(address: SocketAddr, line: &str, body: &str) -> (u16, Value) {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\nHost: {address}\r\n{kind}Content-Length: {length}\r\n\r\n{body}");
    let (status, text) = send(TcpStream::connect(address).await.unwrap(), &request).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}")))
}

#[test]
fn what_a_change_must_not_look_like_is_refused_with_a_remedy_and_changes_nothing() {
    with_control(plain(), 1, |rig| async move {
        let (address, path) = surface(&rig, "refused");
        let before = get(address, "/backends").await.1;
        let long = format!("{{\"address\": \"127.0.0.1:1\", \"name\": \"{}\"}}", "n".repeat(300));
        let huge = format!("{{\"address\": \"{}\"}}", "x".repeat(20 << 10));
        for (line, body, status, part) in [
            ("POST /pools/ap/backends", "{\"address\": \"127.0.0.1:1\"}", 404, "did you mean \\\"app\\\""),
            ("POST /pools/other/backends", "{\"address\": \"127.0.0.1:1\"}", 404, "there are \\\"app\\\""),
            ("POST /pools/app/backends", "", 400, "there is no body"),
            ("POST /pools/app/backends", "{", 400, "EOF"),
            ("POST /pools/app/backends", "[]", 400, "invalid"),
            ("POST /pools/app/backends", "{\"name\": \"b\"}", 400, "missing field `address`"),
            ("POST /pools/app/backends", "{\"adress\": \"127.0.0.1:1\"}", 400, "unknown field `adress`"),
            (
                "POST /pools/app/backends",
                "{\"address\": \"127.0.0.1:1\", \"weight\": 257}",
                400,
                "a weight of 257",
            ),
            ("POST /pools/app/backends", "{\"address\": \"127.0.0.1:1\", \"name\": \"\"}", 400, "no name"),
            (
                "POST /pools/app/backends",
                "{\"address\": \"127.0.0.1:1\", \"name\": \"a\\nb\"}",
                400,
                "control characters",
            ),
            ("POST /pools/app/backends", &long, 400, "no name"),
            ("POST /pools/app/backends", &huge, 413, "over 16384 bytes"),
            ("PUT /pools/app/backends/0/weight", "{\"weight\": 0}", 400, "drain it instead"),
            ("PUT /pools/app/backends/0/weight", "{\"weight\": \"9\"}", 400, "invalid type"),
            ("PUT /pools/app/backends/0/weight", "{\"weight\": 9, \"weight\": 9}", 400, "duplicate field"),
            ("PUT /pools/app/backends/0/weight", "{\"weight\": 9} x", 400, "trailing"),
            ("POST /pools/app/backends/0/weight", "{\"weight\": 9}", 405, "use PUT"),
            ("GET /reload", "", 405, "use POST"),
            ("DELETE /pools/app/backends/0?dry_run=yes", "", 400, "write dry_run=true"),
            ("DELETE /pools/app/backends/0?wait=true", "", 400, "use dry_run"),
            ("POST /pools/app/backends/0/drain?force=true", "", 400, "dry_run and wait"),
            ("POST /pools/app/backends/0/drain", "{}", 400, "no body"),
            ("POST /pools/app/backends/0/stop", "", 404, "drain, ready, maintenance or weight"),
            ("POST /pools/app/backends/%zz/drain", "", 400, "percent-encode"),
        ] {
            let (found, problem) = change(address, line, body).await;
            assert!(
                found == status && problem.to_string().contains(part),
                "{line} {body}: {found} {problem}"
            );
            for field in ["code", "error", "remedy"] {
                assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{line}: {problem}");
            }
        }
        let steady = |page: String| {
            let mut page: Value = serde_json::from_str(&page).unwrap();
            for name in ["since", "since_seconds", "requests", "whole"] {
                page["backends"][0][name].take();
            }
            page
        };
        assert_eq!(steady(get(address, "/backends").await.1), steady(before));
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn another_web_page_changes_nothing_over_the_port_and_the_unix_socket_asks_no_such_questions() {
    with_control(plain(), 1, |rig| async move {
        let (address, path) = surface(&rig, "guard");
        let json = "{\"weight\": 9}";
        let weight =
            format!("PUT /pools/app/backends/0/weight HTTP/1.1\r\nContent-Length: {}\r\n", json.len());
        let of = |fields: &str| format!("{weight}{fields}\r\n\r\n{json}");
        let kind = "Content-Type: application/json";
        for (fields, status) in [
            (format!("Host: evil.example:9900\r\n{kind}"), 403),
            (kind.to_owned(), 403),
            (format!("Host: {address}\r\nOrigin: http://127.0.0.1:1\r\n{kind}"), 403),
            (format!("Host: evil.example\r\nOrigin: http://evil.example\r\n{kind}"), 403),
            (format!("Host: {address}\r\nSec-Fetch-Site: none\r\n{kind}"), 403),
            (format!("Host: {address}\r\nContent-Type: text/plain"), 415),
            (format!("Host: {address}"), 415),
            (format!("Host: {address}\r\n{kind}"), 200),
            (format!("Host: {address}\r\nOrigin: http://{address}\r\n{kind}"), 200),
            (format!("Host: localhost:9900\r\n{kind}; charset=utf-8"), 200),
        ] {
            let request = of(&fields);
            let (found, body) = send(TcpStream::connect(address).await.unwrap(), &request).await;
            assert_eq!(found, status, "{fields}: {body}");
            let (found, body) = send(UnixStream::connect(&path).await.unwrap(), &request).await;
            assert_eq!(found, 200, "over the Unix socket {fields}: {body}");
        }
        let drain = |fields: &str| {
            format!("POST /pools/app/backends/0/drain?dry_run=true HTTP/1.1\r\n{fields}\r\n\r\n")
        };
        let page = drain("Host: 127.0.0.1\r\nOrigin: null");
        assert_eq!(send(TcpStream::connect(address).await.unwrap(), &page).await.0, 403);
        let chunked =
            drain(&format!("Host: {address}\r\nTransfer-Encoding: chunked")) + "2\r\n{}\r\n0\r\n\r\n";
        assert_eq!(send(TcpStream::connect(address).await.unwrap(), &chunked).await.0, 415);
        std::fs::remove_file(path).unwrap();
    });
}
