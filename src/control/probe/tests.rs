//! Checks against servers on loopback.

use super::super::rig::*;
use super::*;
use crate::config::{BackendAddress, Check, HttpCheck};
use crate::fleet::Carrier;
use std::io::{Read, Write};
use tokio::task::LocalSet;

fn run(check: &Check, address: &Destination, timeout: Micros) -> Result<(), ProbeFailure> {
    run_over(Carrier::default(), check, address, timeout)
}

/// Checks once, over this.
pub(super) fn run_over(
    carrier: Carrier,
    check: &Check,
    address: &Destination,
    timeout: Micros,
) -> Result<(), ProbeFailure> {
    let written = BackendAddress::Name("app.internal".into(), 81);
    let prepared = Prepared::new(&health(check.clone()), &written, carrier).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, prepared.run(address, timeout))
}

fn bytes(text: &str) -> Answer {
    Answer::Bytes(text.as_bytes().to_vec())
}

#[test]
fn an_answer_is_judged_by_its_status_and_body() {
    let contains = |needle: &str| HttpCheck { body_contains: Some(needle.into()), ..http_check() };
    let long = "x".repeat(BODY_MAX - 2) + "needle";
    let mismatch = |needle: &str| Err(ProbeFailure::BodyMismatch(needle.into()));
    let split = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsta\r\n3\r\ntus\r\n0\r\n\r\n";
    let status = |status, expected: &str| Err(ProbeFailure::Status { status, expected: expected.into() });
    for (case, check, answer, expected) in [
        ("expected", http_check(), Answer::status(204, ""), Ok(())),
        ("another status", http_check(), Answer::status(302, ""), status(302, "200-299")),
        ("body", contains("ok"), Answer::status(200, "all is ok here"), Ok(())),
        ("another body", contains("ok"), Answer::status(200, "no"), mismatch("ok")),
        ("status before body", contains("ok"), Answer::status(503, "ok"), status(503, "200-299")),
        ("needle over two chunks", contains("status"), bytes(split), Ok(())),
        ("needle beyond the limit", contains("needle"), Answer::status(200, &long), mismatch("needle")),
        ("nothing asked of no body", contains(""), Answer::status(200, ""), Ok(())),
        (
            "an interim answer first",
            http_check(),
            bytes("HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 X\r\n\r\n"),
            Ok(()),
        ),
        ("closed without an answer", http_check(), bytes(""), Err(ProbeFailure::Closed)),
        (
            "cut short",
            contains("ok"),
            bytes("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\no"),
            Err(ProbeFailure::Closed),
        ),
    ] {
        let backend = FakeBackend::start(answer);
        let found = run(&Check::Http(check), &tcp(backend.address), Micros::from_s(10));
        assert_eq!(found, expected, "{case}");
    }
    let backend = FakeBackend::start(bytes("SSH-2.0-OpenSSH\r\n\r\n"));
    let found = run(&Check::Http(http_check()), &tcp(backend.address), Micros::from_s(10));
    assert!(matches!(found, Err(ProbeFailure::BadResponse(_))), "{found:?}");
}

#[test]
fn nobody_there_and_nobody_answering_are_told_apart_and_take_no_longer_than_the_timeout() {
    let limit = Micros::from_ms(50);
    for check in [Check::Tcp, Check::Http(http_check())] {
        assert_eq!(run(&check, &tcp(closed_port()), Micros::from_s(10)), Err(ProbeFailure::ConnectRefused));
    }
    let missing = run(&Check::Tcp, &Destination::Unix("/nonexistent/weir.sock".into()), Micros::from_s(10));
    assert!(matches!(missing, Err(ProbeFailure::ConnectFailed(_))), "{missing:?}");
    let hanging = FakeBackend::start(Answer::Hang);
    assert_eq!(run(&Check::Tcp, &tcp(hanging.address), Micros::from_s(10)), Ok(()));
    let found = run(&Check::Http(http_check()), &tcp(hanging.address), limit);
    assert_eq!(found, Err(ProbeFailure::Timeout(limit)));
    let stalling = FakeBackend::start(Answer::Hang);
    let body = HttpCheck { body_contains: Some("ok".into()), ..http_check() };
    assert_eq!(run(&Check::Http(body), &tcp(stalling.address), limit), Err(ProbeFailure::Timeout(limit)));
}

#[test]
fn the_request_is_what_the_keys_say() {
    let backend = FakeBackend::start(Answer::status(200, ""));
    let plain = http_check();
    let full = HttpCheck {
        path: "/up?deep=1".into(),
        method: "OPTIONS".into(),
        host: Some("check.example".into()),
        headers: vec![
            ("X-Check".into(), "a".into()),
            ("x-check".into(), "b".into()),
            ("User-Agent".into(), "me".into()),
        ],
        ..http_check()
    };
    for check in [plain, full] {
        run(&Check::Http(check), &tcp(backend.address), Micros::from_s(10)).unwrap();
    }
    let heads: Vec<String> = backend.heads().iter().map(|head| head.to_lowercase()).collect();
    for (head, parts) in heads.iter().zip([
        &[
            "get /up http/1.1\r\n",
            "host: app.internal:81\r\n",
            "user-agent: weir-health\r\n",
            "connection: close\r\n",
        ][..],
        &[
            "options /up?deep=1 http/1.1\r\n",
            "host: check.example\r\n",
            "x-check: a\r\n",
            "x-check: b\r\n",
            "user-agent: me\r\n",
        ],
    ]) {
        for part in parts {
            assert!(head.contains(part), "{part:?} is not in {head}");
        }
        assert_eq!(head.matches("host:").count(), 1);
    }
}

#[test]
fn a_unix_socket_is_checked_like_an_address() {
    let path = std::env::temp_dir().join(format!("weir-probe-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n").unwrap();
        read
    });
    assert_eq!(run(&Check::Http(http_check()), &Destination::Unix(path.clone()), Micros::from_s(10)), Ok(()));
    assert!(served.join().unwrap() > 0);
    std::fs::remove_file(path).unwrap();
}
