//! The admin surface over real sockets, with control behind it and threads as shards.

use super::*;
use crate::config::{Admin, Check, Config, ListenAddress, Pool};
use crate::control::rig::*;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Serves on a free port and on a Unix socket.
fn surface(rig: &Rig, name: &str) -> (SocketAddr, PathBuf) {
    let path = std::env::temp_dir().join(format!("weir-admin-{}-{name}.sock", std::process::id()));
    let any = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listeners = bind(&Admin { listen: vec![any, ListenAddress::Unix(path.clone())] }).unwrap();
    let AdminListener::Tcp(tcp) = &listeners[0] else { panic!("{listeners:?}") };
    let address = tcp.local_addr().unwrap();
    serve(listeners, &rig.desk);
    (address, path)
}

/// Asks over any stream; the status and what follows the head, in any framing.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> (u16, String) {
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: weir\r\n\r\n").as_bytes()).await.unwrap();
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
