//! What fuzzing found, each by name; and faults planted to see that the properties notice.

use super::properties::relay::Planted;
use super::properties::{chunk_decoder, exchange, request_head, response_head};
use std::panic::catch_unwind;

/// A HEAD that weir refuses gets an answer without a body, even if its head was not understood: a client
/// reads none (RFC 9110 §9.3.2).
#[test]
fn a_head_request_that_is_refused_gets_no_body() {
    exchange::holds(b"HEAD / HTTP/1.1\r\n\r\n");
    exchange::holds(b"\r\nHEAD /\0 HTTP/1.1\r\nHost: a\r\n\r\n");
    exchange::holds(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n");
}

/// A trailer's name is judged as a field's is: by what whoever makes variables of names takes it for.
#[test]
fn a_trailer_that_looks_like_one_of_who_the_client_is_does_not_pass() {
    chunk_decoder::holds(b"0\r\nX-Forwarded%For: 192.0.2.1\r\n\r\n");
    chunk_decoder::holds(b"0\r\nContent.Length: 5\r\n\r\n");
}

#[test]
fn heads_that_readers_read_differently_are_noticed() {
    for (case, head) in [
        ("a look-alike length", "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n"),
        ("a look-alike coding", "GET / HTTP/1.1\r\nHost: a\r\nTransfer.Encoding: chunked\r\n\r\n"),
        ("LF alone", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        ("CR alone", "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        ("folding", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (
            "two framings",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        (
            "a coding that only looks like it",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        ),
        ("a tab in the first line", "GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bytes behind it", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"),
    ] {
        assert!(catch_unwind(|| request_head::read_by_all(head.as_bytes())).is_err(), "{case}");
    }
    for (case, head) in [
        ("two framings", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("no CR", "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n"),
        ("a long status", "HTTP/1.1 2000 OK\r\n\r\n"),
    ] {
        assert!(catch_unwind(|| response_head::read_by_all(head.as_bytes(), b"GET")).is_err(), "{case}");
    }
}

#[test]
fn bodies_that_readers_read_differently_are_noticed() {
    for (case, body) in [
        ("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n"),
        ("a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a space", "5 \r\nhello\r\n0\r\n\r\n"),
        ("LF alone", "5\nhello\n0\n\n"),
        ("a chunk that is too long", "5\r\nhello!\r\n0\r\n\r\n"),
        ("a length among the trailers", "0\r\nContent-Length: 5\r\n\r\n"),
        ("a look-alike of who the client is", "0\r\nX_Real_IP: 192.0.2.1\r\n\r\n"),
    ] {
        assert!(catch_unwind(|| chunk_decoder::read_by_all(body.as_bytes())).is_err(), "{case}");
    }
    chunk_decoder::read_by_all(b"5\r\nhello\r\n0\r\nDigest: x\r\n\r\n");
}

#[test]
fn exchanges_that_go_wrong_are_noticed() {
    const OK: &str = "\u{1}bHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (planted, script) in [
        (Planted::UsesItAgain, format!("{GET}{OK}HTTP/1.1 200 OK\r\n\r\n\u{1}c{GET}{OK}")),
        (Planted::PassesWhatFollows, format!("{POST}\u{1}c0\r\n\r\n{GET}{OK}")),
        (Planted::ReadsOn, format!("{POST}\u{1}c{GET}{OK}")),
        (Planted::JustCloses, format!("GET / HTTP/1.0\r\n\r\n{CHUNKED}\u{1}B")),
        (Planted::PassesWhatIsBehind, format!("{GET}{OK}{OK}")),
    ] {
        // 0xFF is in no text.
        let script: Vec<u8> = script.bytes().map(|b| if b == 1 { 0xff } else { b }).collect();
        exchange::holds(&script);
        let noticed = catch_unwind(|| exchange::holds_with(&script, Some(planted))).is_err();
        assert!(noticed, "{planted:?}");
    }
}

/// The first chunk of an answer.
const CHUNKED: &str = "\u{1}bHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
