//! Tests of the translation both ways.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::http1::{Fields, HeadLimits, Method as Word, Parse, ResponseBody, parse_request};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn written(
    method: &str,
    uri: &str,
    fields: &[(&str, &str)],
    ends: bool,
) -> Result<(String, Encoding), Malformed> {
    let (method, uri, fields) =
        (Method::from_bytes(method.as_bytes()).unwrap(), uri.parse::<Uri>().unwrap(), map(fields));
    let request =
        RequestFields { method: &method, uri: &uri, protocol: None, fields: &fields, ends, seed: 7 };
    let mut out = Vec::new();
    let encoding = write_request_head(&request, &mut out)?;
    Ok((String::from_utf8(out).unwrap(), encoding))
}

#[test]
fn a_request_becomes_a_head_with_names_in_title_case_and_one_line_of_cookies() {
    let fields = [
        ("user-agent", "x"),
        ("cookie", "a=1"),
        ("x-forwarded-for", "::1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
    ];
    let (head, encoding) = written("GET", "https://example.org:8080/p?q", &fields, true).unwrap();
    assert_eq!(
        head,
        "GET /p?q HTTP/1.1\r\nHost: example.org:8080\r\nUser-Agent: x\r\nX-Forwarded-For: ::1\r\n\
         Cookie: a=1; b=2\r\n\r\n"
    );
    assert_eq!(encoding, Encoding::Nothing);
}

#[test]
fn a_body_is_framed_by_its_length_or_in_chunks() {
    let cases = [
        (true, None, "Content-Length: 0\r\n", Encoding::Nothing),
        (false, None, "Transfer-Encoding: chunked\r\n", Encoding::Chunks),
        (false, Some("5"), "Content-Length: 5\r\n", Encoding::Length(5)),
    ];
    for (ends, length, line, expected) in cases {
        let fields: Vec<_> = length.map(|length| ("content-length", length)).into_iter().collect();
        let (head, encoding) = written("POST", "http://a/", &fields, ends).unwrap();
        assert_eq!(head, format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
        assert_eq!(encoding, expected);
    }
    // What announces trailers goes in chunks, which have room for them.
    for (name, value) in [("trailer", "x-sum"), ("content-type", "application/grpc+proto")] {
        let fields = [("content-length", "5"), (name, value)];
        let (head, encoding) = written("POST", "http://a/", &fields, false).unwrap();
        assert!(head.contains("Transfer-Encoding: chunked") && !head.contains("Content-Length"), "{head}");
        assert_eq!(encoding, Encoding::Chunks);
        assert_eq!(written("POST", "http://a/", &fields, true), Err(Malformed::BadLength));
    }
}

#[test]
fn a_malformed_request_is_no_request() {
    let host = |host| vec![("host", host)];
    for (case, uri, fields, ends, expected) in [
        ("another host", "http://a/", host("b"), true, Malformed::HostsDiffer),
        ("one of two", "http://a/", vec![("host", "a"), ("host", "b")], true, Malformed::HostsDiffer),
        ("no path", "a", host("a"), true, Malformed::BadPath),
        ("an asterisk", "*", host("a"), true, Malformed::BadPath),
        ("connection", "/", vec![("connection", "x")], true, Malformed::ConnectionField),
        ("keep-alive", "/", vec![("keep-alive", "x")], true, Malformed::ConnectionField),
        ("a coding", "/", vec![("transfer-encoding", "chunked")], false, Malformed::ConnectionField),
        ("an upgrade", "/", vec![("upgrade", "h2c")], true, Malformed::ConnectionField),
        ("te", "/", vec![("te", "gzip")], true, Malformed::ConnectionField),
        ("a space before a value", "/", vec![("x-a", " b")], true, Malformed::Padded),
        ("a tab behind a value", "/", vec![("cookie", "b\t")], true, Malformed::Padded),
        ("length but no body", "/", vec![("content-length", "1")], true, Malformed::BadLength),
        ("a signed length", "/", vec![("content-length", "+1")], false, Malformed::BadLength),
        ("lengths", "/", vec![("content-length", "1"), ("content-length", "1")], false, Malformed::BadLength),
    ] {
        assert_eq!(written("GET", uri, &fields, ends), Err(expected), "{case}");
    }
    assert!(written("GET", "http://a/", &host("a"), true).is_ok());
    assert!(written("OPTIONS", "*", &host("a"), true).is_ok());
}

#[test]
fn spaces_around_the_metadata_of_a_call_are_stripped() {
    let fields = [("content-type", "application/grpc"), ("x-note", " a b\t")];
    let (head, _) = written("POST", "http://a/s/M", &fields, false).unwrap();
    assert!(head.ends_with("X-Note: a b\r\nTransfer-Encoding: chunked\r\n\r\n"), "{head}");
}

#[test]
fn a_websocket_by_extended_connect_is_an_upgrade() {
    let (uri, fields) = ("https://a/chat".parse().unwrap(), map(&[("sec-websocket-version", "13")]));
    let request = RequestFields {
        method: &Method::CONNECT,
        uri: &uri,
        protocol: Some("websocket"),
        fields: &fields,
        ends: false,
        seed: 1,
    };
    let mut out = Vec::new();
    assert_eq!(write_request_head(&request, &mut out), Ok(Encoding::Raw));
    let limits = HeadLimits { max_head: 4096, max_headers: 100 };
    let Ok(Parse::Complete(head)) = parse_request(&out, &limits, &mut Fields::default()) else {
        panic!("{}", out.escape_ascii())
    };
    assert!(head.upgrade && head.method == Word::Get, "{}", out.escape_ascii());

    let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: p\r\n\r\n";
    let answer = read_answer(answer, Asked::WebSocket, &mut Fields::default()).unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), answer.interim), (200, false));
    assert_eq!(answer.fields, map(&[("sec-websocket-protocol", "p")]));
    assert!(matches!(answer.body, Decoding::Raw));

    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n";
    let answer = read_answer(answer, Asked::WebSocket, &mut Fields::default()).unwrap().unwrap();
    assert_eq!(answer.status.as_u16(), 502, "a client must not take it for a WebSocket");
}

#[test]
fn a_plain_connect_is_left_to_be_refused() {
    let (head, _) = written("CONNECT", "a:443", &[], false).unwrap();
    assert!(head.starts_with("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n"), "{head}");
}

#[test]
fn an_answer_loses_what_was_for_one_connection() {
    let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
                  Keep-Alive: timeout=5\r\nX-A: 1\r\nX-A: 2\r\n\r\nrest";
    let answer = read_answer(bytes, Asked::Request(Word::Get), &mut Fields::default()).unwrap().unwrap();
    assert_eq!(answer.fields, map(&[("server", "x"), ("x-a", "1"), ("x-a", "2")]));
    assert_eq!(&bytes[answer.len..], b"rest");
    assert!(matches!(answer.body, Decoding::Chunks(_)) && !answer.interim);
    let early = read_answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        Asked::Request(Word::Get),
        &mut Fields::default(),
    );
    assert!(early.unwrap().unwrap().interim);
    assert!(
        read_answer(b"HTTP/1.1 200 OK\r\n", Asked::Request(Word::Get), &mut Fields::default())
            .unwrap()
            .is_none()
    );
}

#[test]
fn an_answers_body_is_what_its_head_and_its_request_say() {
    let (length, none) = ("Content-Length: 5\r\n", Decoding::Nothing);
    for (case, status, asked, fields, expected) in [
        ("a length", "200 OK", Word::Get, length, Decoding::Length(5)),
        ("nothing of it", "200 a: b", Word::Get, "X: \r\n", Decoding::Raw),
        ("of length 0", "404 Not Found", Word::Get, "Content-Length: 0\r\n", none.clone()),
        ("to HEAD", "200 OK", Word::Head, length, none.clone()),
        ("304", "304 Not Modified", Word::Get, length, none.clone()),
        ("204", "204 ", Word::Get, "", none.clone()),
        ("interim", "103 Early Hints", Word::Get, "", none),
    ] {
        let head = format!("HTTP/1.1 {status}\r\n{fields}\r\nrest");
        let answer = read_answer(head.as_bytes(), Asked::Request(asked), &mut Fields::default());
        let answer = answer.unwrap().unwrap();
        assert_eq!(format!("{:?}", answer.body), format!("{expected:?}"), "{case}");
        assert_eq!(answer.len, head.len() - 4, "{case}");
        assert_eq!(answer.fields.len(), usize::from(!fields.is_empty()), "{case}");
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_refused() {
    let mut out = Vec::new();
    assert_eq!(Encoding::Length(2).data(b"abc", &mut out), Err(BadData));
    assert_eq!(Encoding::Length(2).end(None, &mut out), Err(BadData));
    assert_eq!(Encoding::Nothing.data(b"a", &mut out), Err(BadData));
    assert_eq!(Encoding::Nothing.data(b"", &mut out), Ok(()));
}

/// What `bytes` come to, cut into pieces of `size`.
fn decoded(mut decoding: Decoding, bytes: &[u8], size: usize) -> (Vec<u8>, Decoded) {
    let mut payload = Vec::new();
    let mut last = Decoded::More;
    for piece in bytes.chunks(size) {
        last = decoding.decode(piece, |range| payload.extend_from_slice(&piece[range])).unwrap();
    }
    (payload, last)
}

proptest! {
    #[test]
    fn a_body_comes_back_as_it_went(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        trailers in prop::collection::vec(("x-[a-z]{1,8}", "[ -~]{0,12}"), 0..3),
        size in 1usize..50,
    ) {
        let body = pieces.concat();
        let trailers: Vec<(&str, &str)> = trailers.iter().map(|(n, v)| (n.as_str(), v.trim())).collect();
        let fields = map(&trailers);
        for mut encoding in [Encoding::Chunks, Encoding::Length(body.len() as u64), Encoding::Raw] {
            let decoding = match encoding {
                Encoding::Chunks => Decoding::of_response(ResponseBody::Chunked),
                Encoding::Raw => Decoding::Raw,
                _ => Decoding::of_response(ResponseBody::Length(body.len() as u64)),
            };
            let (chunks, raw) = (encoding == Encoding::Chunks, encoding == Encoding::Raw);
            let mut out = Vec::new();
            for piece in &pieces {
                encoding.data(piece, &mut out).unwrap();
            }
            encoding.end((!fields.is_empty()).then_some(&fields), &mut out).unwrap();
            let (payload, last) = decoded(decoding, &out, size);
            prop_assert_eq!(&payload, &body);
            if chunks && !fields.is_empty() {
                prop_assert_eq!(last, Decoded::EndWith(fields.clone()));
            } else if !out.is_empty() {
                prop_assert_eq!(last, if raw { Decoded::More } else { Decoded::End });
            }
        }
    }

    #[test]
    fn whatever_fields_there_are_the_head_is_one_head(
        method in "[A-Z]{1,7}",
        path in "/[!-~]{0,20}",
        fields in prop::collection::vec(("[a-z0-9!#$%&'*+.^_`|~-]{1,12}", "[ -~\t]{0,20}"), 0..8),
        ends in any::<bool>(),
    ) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let Ok(uri) = format!("http://a{path}").parse::<Uri>() else { return Ok(()) };
        let (method, fields) = (Method::from_bytes(method.as_bytes()).unwrap(), map(&fields));
        let request = RequestFields { method: &method, uri: &uri, protocol: None, fields: &fields, ends, seed: 0 };
        let mut out = Vec::new();
        if write_request_head(&request, &mut out).is_ok() {
            prop_assert!(out.ends_with(b"\r\n\r\n"));
            let end = memchr::memmem::find(&out, b"\r\n\r\n").unwrap();
            prop_assert_eq!(end + 4, out.len(), "more than one head");
        }
    }
}
