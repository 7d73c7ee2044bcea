//! Tests of the heads on the way to a backend and back.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::http1::{HeadLimits as Limits, ResponseBody, parse_response};
use proptest::prelude::*;

const PLAIN: Terms = Terms { scheme: Scheme::HTTP, extended_connect: false };

fn read(head: &str) -> Result<BackendRequest, Untranslatable> {
    read_backend_request(head.as_bytes(), &PLAIN, &mut Fields::default())
}

fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(field).collect()
}

fn answer(status: u16, pairs: &[(&str, &str)], method: Method, ended: bool) -> (String, Encoding) {
    let mut out = Vec::new();
    let status = StatusCode::from_u16(status).unwrap();
    let encoding =
        write_backend_answer(status, &fields(pairs), &Expects::Answer(method), ended, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), encoding)
}

#[test]
fn a_request_says_the_same_in_http_2() {
    for (case, head, method, uri, body) in [
        ("origin form", "GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n", "GET", "http://h:1/a?b", "Nothing"),
        ("a body", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n", "PUT", "http://h/", "Length(7)"),
        (
            "no body",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "POST",
            "http://h/",
            "Nothing",
        ),
        ("asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "http://h*", "Nothing"),
        ("a word of its own", "PURGE /x HTTP/1.1\r\nHost: h\r\n\r\n", "PURGE", "http://h/x", "Nothing"),
        ("IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET", "http://[::1]:80/", "Nothing"),
        ("no host", "GET /x HTTP/1.0\r\n\r\n", "GET", "/x", "Nothing"),
    ] {
        let read = read(head).unwrap();
        assert_eq!(read.len, head.len(), "{case}");
        assert_eq!(read.request.method(), method, "{case}");
        let uri_read = read.request.uri();
        let shown = match (uri_read.scheme(), uri_read.authority()) {
            (Some(scheme), Some(authority)) => {
                format!("{scheme}://{authority}{}", uri_read.path_and_query().unwrap())
            }
            _ => uri_read.to_string(),
        };
        assert_eq!(shown, uri, "{case}");
        assert!(format!("{:?}", read.body).starts_with(body), "{case}: {:?}", read.body);
    }
}

#[test]
fn what_is_for_one_connection_stays_behind() {
    let read = read(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nVia: 1.1 weir\r\n\
         Accept: a\r\nAccept: b\r\nHTTP2-Settings: x\r\n\r\n",
    );
    let headers = read.unwrap().request.headers().clone();
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["trailer", "via", "accept"]);
    assert_eq!(headers.get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn only_grpc_is_asked_for_trailers() {
    for (kind, asked) in [
        ("application/grpc", true),
        ("Application/gRPC+proto", true),
        ("application/json", false),
        ("application/grp", false),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: 0\r\n\r\n");
        let headers = read(&head).unwrap().request.headers().clone();
        assert_eq!(headers.get("te").map(HeaderValue::as_bytes), asked.then_some(&b"trailers"[..]), "{kind}");
    }
}

#[test]
fn a_websocket_is_asked_for_where_it_may_be_and_any_other_upgrade_is_not() {
    let head = |more: &str| format!("GET /c HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n{more}\r\n");
    let websocket = head("Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    let allowed = Terms { extended_connect: true, ..PLAIN };
    let mut scratch = Fields::default();
    let read_on = |head: &str, terms: &Terms, scratch: &mut Fields| {
        read_backend_request(head.as_bytes(), terms, scratch)
    };
    let read = read_on(&websocket, &allowed, &mut scratch).unwrap();
    assert_eq!(read.request.method(), "CONNECT");
    // RFC 6455 §1.3
    assert_eq!(read.expects, Expects::WebSocket("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()));
    assert!(matches!(read.body, Decoding::Raw));
    assert!(read.request.headers().is_empty(), "{:?}", read.request.headers());
    for (case, head, terms) in [
        ("not allowed", websocket.as_str(), &PLAIN),
        ("another protocol", &head("Upgrade: foo\r\n"), &allowed),
        ("no key", &head("Upgrade: websocket\r\n"), &allowed),
    ] {
        let refused = read_on(head, terms, &mut scratch).unwrap_err();
        assert_eq!(refused, Untranslatable::Upgrade, "{case}");
        assert!(refused.answer().starts_with(b"HTTP/1.1 501 "), "{case}");
    }
}

#[test]
fn an_answer_is_framed_as_its_body_needs() {
    const LENGTH: &[(&str, &str)] = &[("content-length", "5")];
    const TRAILER: &[(&str, &str)] = &[("content-length", "5"), ("trailer", "x")];
    const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("content-length", "5")];
    for (case, status, fields, method, ended, encoding, line) in [
        ("a length", 200, LENGTH, Method::Get, false, Encoding::Length(5), "Content-Length: 5"),
        ("no length", 200, &[], Method::Get, false, Encoding::Chunks, "Transfer-Encoding: chunked"),
        ("ended", 200, &[], Method::Get, true, Encoding::Length(0), "Content-Length: 0"),
        ("trailers", 200, TRAILER, Method::Get, false, Encoding::Chunks, "Transfer-Encoding: chunked"),
        ("gRPC", 200, GRPC, Method::Post, false, Encoding::Chunks, "Transfer-Encoding: chunked"),
        ("to HEAD", 200, LENGTH, Method::Head, true, Encoding::Nothing, "Content-Length: 5"),
        ("304", 304, LENGTH, Method::Get, true, Encoding::Nothing, "Content-Length: 5"),
        ("204", 204, &[], Method::Get, true, Encoding::Nothing, "HTTP/1.1 204 No Content"),
        ("interim", 103, &[], Method::Get, false, Encoding::Nothing, "HTTP/1.1 103 "),
    ] {
        let (head, found) = answer(status, fields, method, ended);
        assert_eq!(found, encoding, "{case}");
        assert!(head.contains(line), "{case}: {head}");
        let framings = ["Content-Length", "Transfer-Encoding"].map(|name| head.matches(name).count());
        assert!(framings.iter().sum::<usize>() <= 1, "{case}: {head}");
    }
}

#[test]
fn an_answer_that_http_2_has_not_is_a_fault() {
    let expects = Expects::Answer(Method::Get);
    for (case, status, pairs, ended) in [
        ("101", 101, &[][..], false),
        ("no number", 200, &[("content-length", "five")][..], false),
        ("negative", 200, &[("content-length", "-1")][..], false),
        ("over before its length", 200, &[("content-length", "5")][..], true),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let written = write_backend_answer(status, &fields(pairs), &expects, ended, &mut Vec::new());
        assert_eq!(written, Err(BadData), "{case}");
    }
}

#[test]
fn a_websockets_answer_is_the_101_that_the_client_waits_for_and_a_refusal_stays_one() {
    let expects = Expects::WebSocket("abc=".into());
    let mut out = Vec::new();
    let encoding = write_backend_answer(
        StatusCode::OK,
        &fields(&[("sec-websocket-protocol", "chat")]),
        &expects,
        false,
        &mut out,
    );
    assert_eq!(encoding, Ok(Encoding::Raw));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nSec-Websocket-Protocol: chat\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Accept: abc=\r\n\r\n"
    );
    let mut out = Vec::new();
    let refused = write_backend_answer(StatusCode::FORBIDDEN, &fields(&[]), &expects, true, &mut out);
    assert_eq!((refused, out.starts_with(b"HTTP/1.1 403 ")), (Ok(Encoding::Length(0)), true));
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,20}",
        Just("connection".to_owned()),
        Just("keep-alive".to_owned()),
        Just("transfer-encoding".to_owned()),
        Just("content-length".to_owned()),
        Just("trailer".to_owned()),
    ]
}

proptest! {
    /// Whatever fields a backend sends, the proxy's own parser reads a head with the status that it sent, framed
    /// as what is written behind it, or refuses it.
    #[test]
    fn an_answer_is_read_as_it_was_meant(
        status in 100u16..600,
        pairs in prop::collection::vec((names(), "[ -~]{0,30}"), 0..12),
        ended: bool,
        head_only: bool,
    ) {
        let method = if head_only { Method::Head } else { Method::Get };
        let mut map = HeaderMap::new();
        for (name, value) in &pairs {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).unwrap();
        let written = write_backend_answer(status, &map, &Expects::Answer(method), ended, &mut out);
        let Ok(encoding) = written else { return Ok(()) };
        let limits = Limits { max_head: 1 << 20, max_headers: 1_000 };
        let parsed = parse_response(&out, &limits, &mut Fields::default(), method);
        let Ok(Parse::Complete(head)) = parsed else {
            prop_assert!(parsed.is_err(), "half a head");
            return Ok(());
        };
        prop_assert_eq!((head.status, head.len), (status.as_u16(), out.len()));
        let expected = match encoding {
            Encoding::Nothing => ResponseBody::None,
            Encoding::Length(length) => ResponseBody::Length(length),
            Encoding::Chunks => ResponseBody::Chunked,
            Encoding::Raw => ResponseBody::UntilClose,
        };
        prop_assert_eq!(head.body, expected);
    }

    /// No path or host that a client can send makes the translation fail, or say another path.
    #[test]
    fn every_target_that_http_1_1_takes_can_be_said(path in "/[!-\"$-~]{0,40}", host in "[a-z0-9._~-]{1,20}") {
        let read = read(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let Ok(read) = read else { return Err(TestCaseError::fail(format!("{path} {read:?}"))) };
        let said = read.request.uri().path_and_query().unwrap().as_str();
        let plain = |text: &str| {
            ["%22", "%3C", "%3E", "%60", "%7B", "%7D"]
                .iter()
                .zip(["\"", "<", ">", "`", "{", "}"])
                .fold(text.to_owned(), |text, (coded, byte)| text.replace(coded, byte))
        };
        prop_assert_eq!(plain(said), plain(&path));
    }
}
