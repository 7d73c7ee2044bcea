//! Upgrades: raw bytes pass only after the backend's 101, which was asked for; until then they are HTTP.

use crate::harness::{Backend, Weir, Wire, one_pool, wait_until};
use crate::judge::Judge;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// All bytes that each connection brought, in the order of the connections.
type Brought = Arc<Mutex<Vec<Vec<u8>>>>;

/// Answers a head that asks for an upgrade with `answer`, others with their target; keeps what came.
fn refusing(answer: &str) -> (Backend, Brought) {
    let brought = Brought::default();
    let (keeps, answer) = (brought.clone(), answer.to_owned());
    let backend = Backend::raw(move |mut wire, number| {
        let keep = |bytes: &[u8]| {
            let mut all = keeps.lock().unwrap();
            let len = all.len().max(number + 1);
            all.resize(len, Vec::new());
            all[number].extend_from_slice(bytes);
        };
        while let Ok(Some(head)) = wire.head() {
            keep(&head);
            let text = String::from_utf8_lossy(&head).into_owned();
            let target = text.split(' ').nth(1).unwrap_or_default();
            let own = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
            let asked = text.to_lowercase().contains("\r\nupgrade:");
            if wire.send(if asked { &answer } else { &own }).is_err() {
                return;
            }
        }
        keep(wire.buffered());
    });
    (backend, brought)
}

/// What a client sends behind its request is its next request until there is a 101, to weir and to every
/// backend: a refusing backend never sees it on the connection that was to be upgraded.
#[test]
fn bytes_sent_early_are_the_clients_next_request_if_the_upgrade_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let (backend, brought) = refusing(answer);
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        // A request: it is the client's own next one, and goes by another connection.
        let mut client = weir.client();
        client.send(format!("{UPGRADE}GET /early HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_ne!(client.response().status, 101, "{answer:?}");
        assert_eq!(client.response().text(), "/early", "{answer:?}");
        // Bytes of another protocol: no request.
        let mut client = weir.client();
        client.send(format!("{UPGRADE}\u{1}\u{5}hello\r\n\r\n"));
        assert_ne!(client.response().status, 101, "{answer:?}");
        assert_eq!(client.response().status, 400, "{answer:?}");
        client.assert_closed();

        wait_until("those asked to upgrade have ended", || backend.open() <= 1);
        assert_eq!(weir.client().get("/other").text(), "/other");
        for bytes in brought.lock().unwrap().iter() {
            let text = String::from_utf8_lossy(bytes).into_owned();
            // A connection may have served others before.
            let asked = text.split_once("/chat").map_or("", |(_, rest)| rest);
            assert!(!asked.contains("GET "), "{answer:?}: used again: {text}");
            assert!(!text.contains("hello"), "{answer:?}: raw bytes reached it: {text}");
        }
    }
}

#[test]
fn raw_bytes_wait_for_the_101() {
    let backend = Backend::raw(|mut wire, _| {
        let Ok(Some(_)) = wire.head() else { return };
        assert!(
            wire.buffered().is_empty() && !wire.socket.readable_within(Duration::from_millis(80)),
            "early"
        );
        wire.send(SWITCHING).unwrap();
        let early = wire.bytes(5).unwrap();
        wire.send(early).unwrap();
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    client.send(format!("{UPGRADE}early"));
    assert_eq!(client.response().status, 101);
    assert_eq!(client.bytes(5), b"early");
    client.assert_closed();
}

#[test]
fn an_interim_response_may_come_before_the_101() {
    let backend = Backend::raw(|mut wire: Wire, _| {
        let _ = wire.head();
        let _ = wire.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{SWITCHING}raw"));
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    client.send(UPGRADE);
    assert_eq!(client.response().status, 103);
    assert_eq!(client.response().status, 101);
    assert_eq!(client.bytes(3), b"raw");
}

#[test]
fn a_101_that_is_none_or_was_not_asked_for_is_a_502() {
    for (request, answer) in [
        (UPGRADE, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
        (UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n"),
        (UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n"),
        (UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        (UPGRADE, "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", SWITCHING),
        ("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", SWITCHING),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\r\n", SWITCHING),
        (
            "GET / HTTP/1.0\r\nHost: h\r\nConnection: upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
            SWITCHING,
        ),
    ] {
        let (says, brought) = (answer.to_owned(), Brought::default());
        let keeps = brought.clone();
        let backend = Backend::raw(move |mut wire, _| {
            let _ = wire.head();
            let _ = wire.send(&says);
            let rest = wire.rest().unwrap_or_default();
            keeps.lock().unwrap().push(rest);
        });
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        let mut client = weir.client();
        assert_eq!(client.ask(request).status, 502, "{request:?} {answer:?}");
        let _ = client.wire.send("raw");
        wait_until("the backend's connection has ended", || backend.open() == 0);
        assert_eq!(*brought.lock().unwrap(), [b""], "{request:?} {answer:?}: raw bytes passed");
    }
}

#[test]
fn an_upgrade_with_a_body_is_refused() {
    let judge = Judge::new();
    for method in ["GET", "POST"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n");
        for (case, rest) in [
            ("length", "Content-Length: 5\r\n\r\nhello"),
            ("length, not there yet", "Content-Length: 5\r\n\r\n"),
            ("chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            ("chunks of nothing", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ] {
            judge.refuses(case, format!("{head}{rest}"), 400);
        }
    }
}

/// RFC 9113 has no such upgrade any more; in a tunnel its requests would pass every rule unseen.
#[test]
fn h2c_is_not_passed_on_in_any_spelling() {
    let judge = Judge::new();
    for upgrade in ["h2c", "H2C", "websocket, h2c", "h2c,websocket", "h2c\r\nUpgrade: websocket"] {
        for connection in ["Upgrade", "upgrade, HTTP2-Settings", "HTTP2-Settings\r\nConnection: Upgrade"] {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: h\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAM\r\n\r\n"
            );
            let received = judge.passes(upgrade, head);
            assert_eq!(received.fields.get("Upgrade"), None, "{upgrade:?}: {}", received.text());
            assert_eq!(received.fields.get("Connection"), None, "{upgrade:?}: {}", received.text());
        }
    }
}

#[test]
fn what_is_passed_on_of_an_upgrade_is_its_protocols_and_connection_upgrade_alone() {
    let judge = Judge::new();
    let head = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade, X-Hop\r\nX-Hop: 1\r\n\r\n";
    let received = judge.passes("upgrade", head);
    assert_eq!(received.fields.all("Upgrade").collect::<Vec<_>>(), ["websocket"]);
    let connection: Vec<&str> = received.fields.all("Connection").collect();
    assert_eq!(connection.len(), 1);
    assert!(connection[0].eq_ignore_ascii_case("upgrade"), "{connection:?}");
    assert_eq!(received.fields.get("X-Hop"), None);
}
