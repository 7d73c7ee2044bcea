//! Response heads: the status line, how the body ends, whether the connection lives on.

use super::*;

fn why(text: &str) -> Why {
    match parse_response(text.as_bytes(), &LIMITS, &mut Fields::default(), Method::Get) {
        Err(bad) => bad.why,
        other => panic!("{other:?} for {text:?}"),
    }
}

#[test]
fn a_status_line_is_read_with_and_without_a_reason() {
    for (line, status, reason, version) in [
        ("HTTP/1.1 200 OK", 200, "OK", Version::Http11),
        ("HTTP/1.1 404 Not Found", 404, "Not Found", Version::Http11),
        ("HTTP/1.1 200 ", 200, "", Version::Http11),
        ("HTTP/1.1 200", 200, "", Version::Http11),
        ("HTTP/1.0 599 a\tb ü", 599, "a\tb ü", Version::Http10),
        ("HTTP/1.3 200 OK", 200, "OK", Version::Http11),
    ] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        let (head, _) = response(&text, Method::Get);
        assert_eq!((head.status, head.version, head.len), (status, version, text.len()), "{line}");
        assert_eq!(head.reason.of(text.as_bytes()), reason.as_bytes(), "{line}");
    }
}

#[test]
fn a_malformed_response_head_is_refused() {
    for (text, expected) in [
        ("HTTP/1.1 000 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 099 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 600 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 999 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 -20 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 20\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 100 x\r\nContent-Length: 0\r\n\r\n", Why::FramedInterim),
        ("HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\n", Why::FramedInterim),
        ("HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n", Why::FramedInterim),
        (
            "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
            Why::FramedInterim,
        ),
        ("<html>an HTTP/0.9 answer</html>", Why::BadVersion),
        ("HTTP/1.1 20 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 2000 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1 2x0 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1  200 x\r\n\r\n", Why::BadStatus),
        ("HTTP/1.1\t200 x\r\n\r\n", Why::BadVersion),
        ("HTTP/1.1\r\n\r\n", Why::BadVersion),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Why::BadVersion),
        ("ICY 200 OK\r\n\r\n", Why::BadVersion),
        ("HTTP/2.0 200 OK\r\n\r\n", Why::UnsupportedVersion),
        ("HTTP/1.1 200 a\0b\r\n\r\n", Why::BadReason),
        ("HTTP/1.1 200 OK\n\n", Why::BareLf),
        ("HTTP/1.1 200\n\n", Why::BareLf),
        ("HTTP/1.1 200 OK\rX: y\r\n\r\n", Why::BareCr),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Why::Folded),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Why::SpaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Why::BadValue),
    ] {
        assert_eq!(why(text), expected, "{text:?}");
    }
}

#[test]
fn the_end_of_a_body_depends_on_request_status_and_fields() {
    use Method::{Connect, Get, Head};
    use ResponseBody::{Chunked, Length, None, UntilClose};
    for (method, status, fields, expected) in [
        (Get, 200, "Content-Length: 5", Length(5)),
        (Get, 200, "Content-Length: 0", Length(0)),
        (Get, 200, "Transfer-Encoding: chunked", Chunked),
        (Get, 200, "X: y", UntilClose),
        (Get, 404, "Content-Length: 5", Length(5)),
        (Get, 205, "Content-Length: 0", Length(0)),
        (Head, 200, "Content-Length: 5", None),
        (Head, 200, "Transfer-Encoding: chunked", None),
        (Head, 200, "X: y", None),
        (Get, 204, "X: y", None),
        (Get, 204, "Content-Length: 5", None),
        (Get, 304, "Content-Length: 5", None),
        (Get, 304, "Transfer-Encoding: chunked", None),
        (Get, 100, "X: y", None),
        (Get, 101, "Upgrade: x", None),
        (Get, 103, "X: y", None),
        (Connect, 200, "X: y", None),
        (Connect, 407, "Content-Length: 5", Length(5)),
    ] {
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n\r\n");
        assert_eq!(response(&text, method).0.body, expected, "{method:?} {status} {fields}");
    }
    let text = "HTTP/1.0 200 OK\r\n\r\n";
    assert_eq!(response(text, Get).0.body, UntilClose);
}

#[test]
fn a_response_framed_in_two_ways_is_refused_even_without_a_body() {
    for (fields, expected) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Why::LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 5", Why::LengthRepeated),
        ("Content-Length: 5\r\nContent-Length: 6", Why::LengthRepeated),
        ("Content-Length: 5, 5", Why::BadLength),
        ("Content-Length: x", Why::BadLength),
        ("Transfer-Encoding: gzip, chunked", Why::UnknownCoding),
        ("Transfer-Encoding: chunked, chunked", Why::BadCoding),
    ] {
        for status in [200, 204, 304] {
            assert_eq!(
                why(&format!("HTTP/1.1 {status} x\r\n{fields}\r\n\r\n")),
                expected,
                "{status} {fields}"
            );
        }
    }
    assert_eq!(why("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Why::CodingInHttp10);
}

#[test]
fn a_backends_connection_is_kept_as_it_says() {
    for (version, fields, expected) in [
        ("1.1", "Content-Length: 0", true),
        ("1.1", "Content-Length: 0\r\nConnection: close", false),
        ("1.1", "X: y", false), // until close
        ("1.0", "Content-Length: 0", false),
        ("1.0", "Content-Length: 0\r\nConnection: keep-alive", true),
        ("1.0", "X: y\r\nConnection: keep-alive", false), // until close
    ] {
        let (head, _) = response(format!("HTTP/{version} 200 OK\r\n{fields}\r\n\r\n"), Method::Get);
        assert_eq!(head.keep_alive, expected, "{version}, {fields}");
    }
}

/// What it says may yet come, and would be taken for the next answer.
#[test]
fn a_204_that_says_that_it_has_a_body_is_the_last_of_its_connection() {
    for (fields, expected) in [
        ("X: y", true),
        ("Content-Length: 0", true),
        ("Content-Length: 5", false),
        ("Transfer-Encoding: chunked", false),
    ] {
        let (head, _) = response(format!("HTTP/1.1 204 x\r\n{fields}\r\n\r\n"), Method::Get);
        assert_eq!((head.body, head.keep_alive), (ResponseBody::None, expected), "{fields}");
        let (head, _) = response(format!("HTTP/1.1 304 x\r\n{fields}\r\n\r\n"), Method::Get);
        assert_eq!((head.body, head.keep_alive), (ResponseBody::None, true), "{fields}");
    }
}

#[test]
fn the_keep_alive_timeout_is_read_where_it_can_be() {
    for (value, expected) in [
        ("timeout=5", Some(5)),
        ("max=100, Timeout = 75 ", Some(75)),
        ("timeout=5, timeout=9", Some(5)),
        ("timeout=0", Some(0)),
        ("timeout=99999999999", Some(u32::MAX)),
        ("timeout=", None),
        ("timeout", None),
        ("timeout=x", None),
        ("timeout=-1", None),
        ("xtimeout=5", None),
        ("", None),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: {value}\r\n\r\n");
        assert_eq!(response(&text, Method::Get).0.keep_alive_timeout_s, expected, "{value}");
    }
    assert_eq!(response("HTTP/1.1 204 x\r\n\r\n", Method::Get).0.keep_alive_timeout_s, None);
}

#[test]
fn an_upgrade_is_seen_only_with_both_fields() {
    for (fields, expected) in
        [("Connection: upgrade\r\nUpgrade: websocket", true), ("Upgrade: websocket", false), ("X: y", false)]
    {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n");
        assert_eq!(response(&text, Method::Get).0.upgrade, expected, "{fields}");
    }
}

#[test]
fn a_response_head_is_refused_where_it_outgrows_its_limits() {
    let text = b"HTTP/1.1 204 x\r\nA: b\r\nC: d\r\n\r\n";
    let parse = |bytes: &[u8], max_head, max_headers| {
        parse_response(bytes, &HeadLimits { max_head, max_headers }, &mut Fields::default(), Method::Get)
            .map_err(|bad| bad.why)
            .map(|parsed| matches!(parsed, Parse::Complete(_)))
    };
    assert_eq!(parse(text, text.len(), 2), Ok(true));
    assert_eq!(parse(text, text.len() - 1, 2), Err(Why::HeadTooLarge));
    assert_eq!(parse(&text[..20], 20, 2), Err(Why::HeadTooLarge));
    assert_eq!(parse(&text[..20], 21, 2), Ok(false));
    assert_eq!(parse(text, text.len(), 1), Err(Why::TooManyFields));
}
