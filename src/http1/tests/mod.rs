//! The tests of the room, by direction: tables of cases for each rule, and properties over all inputs.
//!
//! Here: what the files below share. Expected bytes are written out in full.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chunked;
mod client;
mod differential;
mod generate;
mod properties;
mod request;
mod response;
mod rewrite_request;
mod rewrite_response;

use super::*;
use crate::config::Forwarded;

const LIMITS: HeadLimits = HeadLimits { max_head: 32 << 10, max_headers: 100 };

/// The head of a request that is good and whole.
fn request(text: impl AsRef<[u8]>) -> (RequestHead, Fields) {
    let mut fields = Fields::default();
    let bytes = text.as_ref();
    match parse_request(bytes, &LIMITS, &mut fields) {
        Ok(Parse::Complete(head)) => (head, fields),
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Why a request is refused, with which status, and where.
fn refused(text: impl AsRef<[u8]>) -> (Why, u16, usize) {
    match parse_request(text.as_ref(), &LIMITS, &mut Fields::default()) {
        Err(bad) => (bad.why, bad.status(), bad.at),
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(text.as_ref())),
    }
}

/// The head of a response that is good and whole.
fn response(text: impl AsRef<[u8]>, method: Method) -> (ResponseHead, Fields) {
    let mut fields = Fields::default();
    let bytes = text.as_ref();
    match parse_response(bytes, &LIMITS, &mut fields, method) {
        Ok(Parse::Complete(head)) => (head, fields),
        other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Everything off: the head that goes upstream is the one that came, hop-by-hop fields apart.
const PLAIN: RequestRewrite<'static> = RequestRewrite {
    forwarded: Forwarded::Off,
    trusted: false,
    peer: Some(b"192.0.2.17"),
    client: Some(b"192.0.2.17"),
    proto: b"http",
    via: None,
    upgrade: false,
    added: b"",
};

fn rewritten(text: impl AsRef<[u8]>, rewrite: &RequestRewrite<'_>) -> String {
    let (head, fields) = request(&text);
    let mut out = Vec::new();
    write_request(text.as_ref(), &head, &fields, rewrite, &mut out);
    String::from_utf8(out).unwrap()
}

fn crlf(lines: &str) -> String {
    lines.replace('\n', "\r\n")
}
