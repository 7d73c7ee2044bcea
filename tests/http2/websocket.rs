//! WebSocket by extended CONNECT (RFC 8441), through to an HTTP/1.1 backend.

use crate::frames::*;
use crate::harness::{Backend, Weir, answers, one_pool, wait_until};

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "test"),
    (":path", "/chat"),
    ("sec-websocket-version", "13"),
];

#[test]
fn a_websocket_goes_through_both_ways() {
    let backend = Backend::raw(|mut wire, _| {
        let head = String::from_utf8(wire.head().unwrap().unwrap()).unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        assert!(
            head.contains("\r\nUpgrade: websocket\r\n") && head.contains("\r\nSec-WebSocket-Key: "),
            "{head}"
        );
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .unwrap();
        let asked = wire.bytes(4).unwrap();
        wire.send([b"re ".as_slice(), &asked].concat()).unwrap();
        let rest = wire.rest().unwrap();
        wire.send([b" and ".as_slice(), &rest].concat()).unwrap();
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let settings = raw.next(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap();
    assert!(settings.payload.chunks(6).any(|one| one == [0, 8, 0, 0, 0, 1]), "it says that it can");
    let stream = raw.request(&CONNECT, 0);
    let head = raw.next(|frame| frame.kind == HEADERS && frame.stream == stream).unwrap();
    assert_eq!(head.payload[0], 0x88, "200");
    assert_eq!(head.flags & END_STREAM, 0);
    raw.frame(DATA, 0, stream, b"ping");
    let data = raw.next(|frame| frame.kind == DATA && frame.stream == stream).unwrap();
    assert_eq!(data.payload, b"re ping");
    raw.frame(DATA, END_STREAM, stream, b"bye");
    let mut rest = Vec::new();
    loop {
        let data = raw.next(|frame| frame.kind == DATA && frame.stream == stream).unwrap();
        rest.extend_from_slice(&data.payload);
        if data.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(rest, b" and bye");
    wait_until("the tunnel is over", || backend.open() == 0);
}

#[test]
fn a_websocket_that_its_backend_resets_is_cancelled() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.head();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .unwrap();
        let _ = wire.bytes(1);
        wire.reset();
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&CONNECT, 0);
    raw.frame(DATA, 0, stream, b"x");
    let reset = raw.next(|frame| frame.kind == RST_STREAM && frame.stream == stream).unwrap();
    assert_eq!(reset.code(), 8, "CANCEL");
}

#[test]
fn a_backend_that_does_not_do_it_makes_no_websocket() {
    let backend = Backend::http(answers::text("just a page"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&CONNECT, 0);
    assert_eq!(raw.answer(stream).status, 502);
    let mut other = CONNECT;
    other[1].1 = "connect-udp";
    other[3].1 = "test:80";
    let stream = raw.request(&other, 0);
    assert_eq!(raw.answer(stream).status, 501, "another protocol");
    assert_eq!(backend.requests(), 1);
}
