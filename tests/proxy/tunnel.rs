//! Upgrades: raw bytes both ways after the backend's 101, and only then.

use crate::harness::{AT_ONCE, Backend, Client, Weir, answers, one_pool, wait_until};
use crate::{in_front_of, pattern};
use std::time::{Duration, Instant};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Switches, then sends back whatever comes; ends its side when the client has.
fn echoing() -> Backend {
    Backend::raw(|mut wire, _| {
        let Ok(Some(head)) = wire.head() else { return };
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        // The first of its bytes come with the 101.
        wire.send(format!("{SWITCHING}hello")).unwrap();
        while let Ok(byte) = wire.bytes(1) {
            let more = wire.buffered().len();
            let more = wire.bytes(more).unwrap();
            if wire.send([byte, more].concat()).is_err() {
                return;
            }
        }
        let _ = wire.send("bye");
    })
}

fn upgraded(weir: &Weir) -> Client {
    let mut client = weir.client();
    let response = client.ask(UPGRADE);
    assert_eq!(response.status, 101);
    assert_eq!(response.field("Upgrade"), Some("websocket"));
    assert!(response.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert_eq!(client.bytes(5), b"hello");
    client
}

#[test]
fn after_a_101_bytes_pass_both_ways() {
    let backend = echoing();
    let weir = in_front_of(&backend);
    let mut client = upgraded(&weir);
    for message in ["a", "\0\x01\x02", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(message);
        assert_eq!(client.bytes(message.len()), message.as_bytes());
    }
    let body = pattern(2_000_000);
    let (mut writer, sent) = (client.wire.socket.try_clone().unwrap(), body.clone());
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &sent).unwrap());
    assert!(client.bytes(body.len()) == body);
    writing.join().unwrap();
    // One side ends, the other still speaks.
    client.end();
    assert_eq!(client.rest(), b"bye");
    wait_until("the tunnel is over", || weir.metric("weir_in_flight", &[]) == 0.0);
}

#[test]
fn bytes_that_a_client_sends_before_the_101_pass_after_it() {
    let backend = echoing();
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send(format!("{UPGRADE}early"));
    assert_eq!(client.response().status, 101);
    assert_eq!(client.bytes(10), b"helloearly");
}

#[test]
fn a_tunnel_ends_when_the_client_goes_away() {
    let backend = echoing();
    let weir = in_front_of(&backend);
    for reset in [false, true] {
        let client = upgraded(&weir);
        if reset {
            client.wire.reset();
        } else {
            drop(client);
        }
        wait_until("the backend's connection has ended", || backend.open() == 0);
    }
}

#[test]
fn a_tunnel_ends_when_the_backend_goes_away() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.head();
        let _ = wire.send(SWITCHING);
        let _ = wire.bytes(3);
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    assert_eq!(client.ask(UPGRADE).status, 101);
    client.send("end");
    client.assert_closed();
}

#[test]
fn a_silent_tunnel_ends_after_its_time_and_a_busy_one_does_not() {
    let backend = echoing();
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.timeouts]\ntunnel_idle = \"1s\"\n"));
    let mut client = upgraded(&weir);
    let mut last = Instant::now();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        last = Instant::now();
        client.send("x");
        assert_eq!(client.bytes(1), b"x");
    }
    let _ = client.wire.rest();
    let took = last.elapsed();
    assert!(took >= Duration::from_millis(900) && took < AT_ONCE, "{took:?}");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer_but_the_backends_connection_is_not_used_again() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for round in 1..=3 {
        let response = client.ask(UPGRADE);
        assert_eq!((response.status, response.field("X-Target")), (200, Some("/chat")));
        assert_eq!(backend.connections(), round);
        wait_until("the backend's connection has ended", || backend.open() == 0);
    }
}

#[test]
fn an_upgrade_to_cleartext_http2_is_not_passed_on() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let response = weir.client().ask(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(response.text(), "ok");
    let received = backend.last();
    for name in ["Upgrade", "Connection", "HTTP2-Settings"] {
        assert_eq!(received.fields.get(name), None, "{name}");
    }
}
