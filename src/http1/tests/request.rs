//! Request heads: every rule, with what is taken and what is refused.

use super::*;

fn with_fields(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

#[test]
fn an_ordinary_request_is_read_in_all_its_parts() {
    let text = "GET /a/b?c=d HTTP/1.1\r\nHost: example.org:8080\r\nAccept:\t */* \t\r\nX-Empty:\r\n\r\nrest";
    let (head, fields) = request(text);
    let expected = RequestHead {
        len: text.len() - 4,
        method: Method::Get,
        method_span: Span { start: 0, end: 3 },
        target: Target::Origin(Span { start: 4, end: 12 }),
        version: Version::Http11,
        host: Some(Span { start: 29, end: 45 }),
        body: RequestBody::None,
        keep_alive: true,
        expects_continue: false,
        upgrade: false,
        max_forwards: None,
    };
    assert_eq!(head, expected);
    assert_eq!(head.host.unwrap().of(text.as_bytes()), b"example.org:8080");
    let read: Vec<_> = fields.iter(text.as_bytes()).collect();
    let names_and_values: [(&[u8], &[u8]); 3] =
        [(b"Host", b"example.org:8080"), (b"Accept", b"*/*"), (b"X-Empty", b"")];
    assert_eq!(read, names_and_values);
    assert_eq!(fields.get(text.as_bytes(), b"aCCEPT"), Some(b"*/*".as_slice()));
    assert_eq!(fields.get(text.as_bytes(), b"Cookie"), None);
}

#[test]
fn methods_are_told_apart_by_name_and_case() {
    for (name, method, idempotent) in [
        ("GET", Method::Get, true),
        ("HEAD", Method::Head, true),
        ("POST", Method::Post, false),
        ("PUT", Method::Put, true),
        ("PATCH", Method::Patch, false),
        ("DELETE", Method::Delete, true),
        ("OPTIONS", Method::Options, true),
        ("TRACE", Method::Trace, true),
        ("get", Method::Other, false),
        ("PURGE", Method::Other, false),
        ("M-SEARCH", Method::Other, false),
    ] {
        let text = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (head, _) = request(&text);
        assert_eq!((head.method, head.method.is_idempotent()), (method, idempotent), "{name}");
        assert_eq!(head.method_span.of(text.as_bytes()), name.as_bytes());
    }
}

#[test]
fn each_form_of_target_is_recognised() {
    let part = |bytes: &str, span: Span| String::from_utf8_lossy(span.of(bytes.as_bytes())).into_owned();
    for (line, form, first, second) in [
        ("GET /", "origin", "/", ""),
        ("GET /a%20b?x=|{}\"<>", "origin", "/a%20b?x=|{}\"<>", ""),
        ("GET //a", "origin", "//a", ""),
        ("OPTIONS *", "asterisk", "", ""),
        ("CONNECT a.example:443", "authority", "a.example:443", ""),
        ("CONNECT [::1]:443", "authority", "[::1]:443", ""),
        ("GET http://b.example/p?q", "absolute", "b.example", "/p?q"),
        ("GET HTTPS://b.example:8443", "absolute", "b.example:8443", ""),
        ("GET http://b.example?q", "absolute", "b.example", "?q"),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (head, _) = request(&text);
        let found = match head.target {
            Target::Origin(span) => ("origin", part(&text, span), String::new()),
            Target::Absolute { authority, path } => ("absolute", part(&text, authority), part(&text, path)),
            Target::Authority(span) => ("authority", part(&text, span), String::new()),
            Target::Asterisk => ("asterisk", String::new(), String::new()),
        };
        assert_eq!(found, (form, first.to_owned(), second.to_owned()), "{line}");
        let host = part(&text, head.host.unwrap());
        assert_eq!(host, if matches!(form, "absolute" | "authority") { first } else { "a" }, "{line}");
    }
}

#[test]
fn a_malformed_request_line_is_refused() {
    for (line, why, at) in [
        (" GET / HTTP/1.1\r\n", Why::BadMethod, 0),
        ("G@T / HTTP/1.1\r\n", Why::BadMethod, 1),
        ("GET\t/ HTTP/1.1\r\n", Why::BadMethod, 3),
        ("GET\r\n", Why::BadMethod, 3),
        ("GET\n", Why::BareLf, 3),
        ("GET  / HTTP/1.1\r\n", Why::BadTarget, 4),
        ("GET /\t HTTP/1.1\r\n", Why::BadTarget, 5),
        ("GET /\0 HTTP/1.1\r\n", Why::BadTarget, 5),
        ("GET /\u{7f} HTTP/1.1\r\n", Why::BadTarget, 5),
        ("GET /ü HTTP/1.1\r\n", Why::BadTarget, 5),
        ("GET /a#b HTTP/1.1\r\n", Why::BadTarget, 6),
        ("GET /\r\n", Why::BadVersion, 5),
        ("GET /\n", Why::BareLf, 5),
        ("GET /  HTTP/1.1\r\n", Why::BadVersion, 6),
        ("GET / HTTP/1.1 \r\n", Why::BadVersion, 14),
        ("GET / HTTP/1.1\n", Why::BareLf, 14),
        ("GET / HTTP/1.1\r\r\n", Why::BareCr, 14),
        ("GET / HTTP/1.10\r\n", Why::BadVersion, 14),
        ("GET / http/1.1\r\n", Why::BadVersion, 6),
        ("GET / HTTP/11\r\n", Why::BadVersion, 12),
        ("GET / HTTP\n", Why::BareLf, 10),
        ("GET / HTTP/x.1\r\n", Why::BadVersion, 11),
        ("GET a HTTP/1.1\r\n", Why::BadTarget, 4),
        ("GET ftp://a/ HTTP/1.1\r\n", Why::BadTarget, 4),
        ("GET http:// HTTP/1.1\r\n", Why::BadTarget, 11),
        ("GET http:///x HTTP/1.1\r\n", Why::BadTarget, 11),
        ("GET http://u@a/ HTTP/1.1\r\n", Why::BadTarget, 11),
        ("GET http://a:b/ HTTP/1.1\r\n", Why::BadTarget, 11),
        ("GET * HTTP/1.1\r\n", Why::TargetFormNotForMethod, 4),
        ("GET a:443 HTTP/1.1\r\n", Why::BadTarget, 4),
        ("CONNECT / HTTP/1.1\r\n", Why::BadTarget, 8),
        ("CONNECT a HTTP/1.1\r\n", Why::BadTarget, 8),
        ("CONNECT a: HTTP/1.1\r\n", Why::BadTarget, 8),
        ("CONNECT :443 HTTP/1.1\r\n", Why::BadTarget, 8),
    ] {
        assert_eq!(refused(line), (why, 400, at), "{line:?}");
    }
}

#[test]
fn versions_are_taken_by_their_major_number() {
    for (version, expected) in [("1.1", Version::Http11), ("1.2", Version::Http11), ("1.9", Version::Http11)]
    {
        assert_eq!(request(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")).0.version, expected);
    }
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").0.version, Version::Http10);
    for version in ["0.9", "2.0", "3.0", "9.1"] {
        let bad = refused(format!("GET / HTTP/{version}\r\n\r\n"));
        assert_eq!(bad, (Why::UnsupportedVersion, 505, 6), "{version}");
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").0, Why::UnsupportedVersion);
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    for count in 0..=4 {
        let text = "\r\n".repeat(count) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(request(&text).0.len, text.len());
    }
    assert_eq!(refused("\r\n".repeat(5)).0, Why::EmptyLines);
    assert_eq!(refused("\nGET / HTTP/1.1\r\n").0, Why::BareLf);
    assert_eq!(refused("\rGET / HTTP/1.1\r\n").0, Why::BareCr);
}

#[test]
fn a_malformed_field_line_is_refused() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\n".len();
    for (line, why, at) in [
        ("A: b\nC: d\r\n", Why::BareLf, 4),
        ("A: b\rC: d\r\n", Why::BareCr, 4),
        ("A: b\r\r\n", Why::BareCr, 4),
        ("A: b\0c\r\n", Why::BadValue, 4),
        ("A: b\u{1b}\r\n", Why::BadValue, 4),
        ("A: b\u{7f}\r\n", Why::BadValue, 4),
        ("A : b\r\n", Why::SpaceBeforeColon, 1),
        ("A\t: b\r\n", Why::SpaceBeforeColon, 1),
        ("A B: c\r\n", Why::SpaceBeforeColon, 1),
        (": b\r\n", Why::EmptyName, 0),
        (" A: b\r\n", Why::Folded, 0),
        ("A: b\r\n c\r\n", Why::Folded, 6),
        ("A: b\r\n\tc\r\n", Why::Folded, 6),
        ("A\r\n", Why::BadName, 1),
        ("A\n", Why::BareLf, 1),
        ("\n", Why::BareLf, 0),
        ("\rA: b\r\n", Why::BareCr, 0),
        ("A\0: b\r\n", Why::BadName, 1),
        ("Ä: b\r\n", Why::BadName, 0),
        ("A(: b\r\n", Why::BadName, 1),
        ("A;B: c\r\n", Why::BadName, 1),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        assert_eq!(refused(text), (why, 400, start + at), "{line:?}");
    }
    // Directly after the request line, white space is what RFC 9112 §2.2 warns of.
    assert_eq!(refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n").0, Why::Folded);
}

#[test]
fn values_may_have_tabs_inside_and_bytes_above_ascii() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nA:  b\tc \xff\xe4  \r\nB: \t \r\n\r\n";
    let (_, fields) = request(text);
    assert_eq!(fields.get(text, b"a"), Some(b"b\tc \xff\xe4".as_slice()));
    assert_eq!(fields.get(text, b"b"), Some(b"".as_slice()));
    assert_eq!(fields.len(), 3);
}

#[test]
fn a_host_is_there_once_and_is_one() {
    let with = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    for good in
        ["a", "A.example", "a:80", "a:", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:80", "a_b-c~d", "a%2Fb"]
    {
        let text = with(&format!("Host: {good}\r\n"));
        assert_eq!(request(&text).0.host.unwrap().of(text.as_bytes()), good.as_bytes(), "{good}");
    }
    for bad in [
        "a b",
        "a/b",
        "a@b",
        "u:p@b",
        "a:b",
        "a:65536",
        "a:000080",
        "a:80:90",
        ":80",
        ":",
        "[::1",
        "::1",
        "[]",
        "[a]",
        "[::1]80",
        "[::1%25eth0]",
        "a\"",
        "a%2",
        "a%zz",
        "ä",
        "a#",
        "a?",
        "a\\b",
        "a,b",
        "[1.2.3.4]",
    ] {
        assert_eq!(refused(with(&format!("Host: {bad}\r\n"))), (Why::BadHost, 400, 22), "{bad}");
    }
    for empty in ["Host:", "Host: ", "Host:\t "] {
        assert_eq!(refused(with(&format!("{empty}\r\n"))).0, Why::HostEmpty);
        assert_eq!(refused(format!("GET / HTTP/1.0\r\n{empty}\r\n\r\n")).0, Why::HostEmpty);
        assert_eq!(refused(format!("GET http://a/ HTTP/1.1\r\n{empty}\r\n\r\n")).0, Why::HostEmpty);
    }
    assert_eq!(refused(with("")), (Why::HostMissing, 400, 16));
    assert_eq!(refused(with("Host: a\r\nHost: a\r\n")), (Why::HostRepeated, 400, 22));
    assert_eq!(refused(with("host: a\r\nB: c\r\nHOST: b\r\n")), (Why::HostRepeated, 400, 22));
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").0, Why::HostRepeated);
    assert_eq!(request("GET / HTTP/1.0\r\n\r\n").0.host, None);
    // RFC 9112 §3.2.2: an absolute target wins, but Host must be there and be a host.
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n").0, Why::HostMissing);
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\nHost: /\r\n\r\n").0, Why::BadHost);
}

#[test]
fn a_body_is_framed_in_one_way_or_refused() {
    for (fields, expected) in [
        ("X: y", Ok(RequestBody::None)),
        ("Content-Length: 0", Ok(RequestBody::Length(0))),
        ("content-length: 5", Ok(RequestBody::Length(5))),
        ("Content-Length:5 ", Ok(RequestBody::Length(5))),
        ("Content-Length: 0005", Ok(RequestBody::Length(5))),
        ("Content-Length: 0000000000000000005", Ok(RequestBody::Length(5))),
        ("Content-Length: 00000000000000000005", Err((Why::LengthTooLarge, 400))),
        ("Content_Length: 5", Err((Why::FramingLookAlike, 400))),
        ("CONTENT.LENGTH: 5", Err((Why::FramingLookAlike, 400))),
        ("transfer_encoding: chunked", Err((Why::FramingLookAlike, 400))),
        ("Content-Length: 5\r\nTransfer_Encoding: chunked", Err((Why::FramingLookAlike, 400))),
        ("Transfer-Encoding: chunked\r\nContent_Length: 5", Err((Why::FramingLookAlike, 400))),
        ("ContentxLength: 5\r\nCookies-Length: 3", Ok(RequestBody::None)),
        ("Content-Length: 9223372036854775807", Ok(RequestBody::Length(i64::MAX as u64))),
        ("Content-Length: 9223372036854775808", Err((Why::LengthTooLarge, 400))),
        ("Content-Length: 18446744073709551616", Err((Why::LengthTooLarge, 400))),
        ("Content-Length: 99999999999999999999999", Err((Why::LengthTooLarge, 400))),
        ("Content-Length:", Err((Why::BadLength, 400))),
        ("Content-Length: +5", Err((Why::BadLength, 400))),
        ("Content-Length: -5", Err((Why::BadLength, 400))),
        ("Content-Length: 0x5", Err((Why::BadLength, 400))),
        ("Content-Length: 5 5", Err((Why::BadLength, 400))),
        ("Content-Length: 5, 5", Err((Why::BadLength, 400))),
        ("Content-Length: 5,6", Err((Why::BadLength, 400))),
        ("Content-Length: 5.0", Err((Why::BadLength, 400))),
        ("Content-Length: 5\r\nContent-Length: 5", Err((Why::LengthRepeated, 400))),
        ("Content-Length: 5\r\nX: y\r\nContent-length: 6", Err((Why::LengthRepeated, 400))),
        ("Transfer-Encoding: chunked", Ok(RequestBody::Chunked)),
        ("transfer-encoding:\tCHUNKED ", Ok(RequestBody::Chunked)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Err((Why::LengthAndCoding, 400))),
        ("Content-Length: 5\r\nTransfer-Encoding: identity", Err((Why::LengthAndCoding, 400))),
        ("Transfer-Encoding: gzip", Err((Why::UnknownCoding, 501))),
        ("Transfer-Encoding: identity", Err((Why::UnknownCoding, 501))),
        ("Transfer-Encoding: xchunked", Err((Why::UnknownCoding, 501))),
        ("Transfer-Encoding: gzip, chunked", Err((Why::UnknownCoding, 501))),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", Err((Why::UnknownCoding, 501))),
        ("Transfer-Encoding: chunked, gzip", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: chunked, chunked", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: chunked;a=b", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: \"chunked\"", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: chunked,", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding:", Err((Why::BadCoding, 400))),
        ("Transfer-Encoding: \u{b}chunked", Err((Why::BadValue, 400))),
        ("Transfer-Encoding : chunked", Err((Why::SpaceBeforeColon, 400))),
    ] {
        let found = parse_request(with_fields(fields).as_bytes(), &LIMITS, &mut Fields::default());
        let found = found.map_err(|bad| (bad.why, bad.status())).map(|parsed| match parsed {
            Parse::Complete(head) => head.body,
            Parse::Partial => panic!("{fields} is whole"),
        });
        assert_eq!(found, expected, "{fields}");
    }
    let chunked_1_0 = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(chunked_1_0), (Why::CodingInHttp10, 400, 36));
}

#[test]
fn a_connection_is_kept_as_its_version_and_options_say() {
    for (version, fields, expected) in [
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: CLOSE", false),
        ("1.1", "Connection: foo, close", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close", false),
        ("1.1", "Connection: keep-alive", true),
        ("1.1", "Connection: closed", true),
        ("1.1", "Connection:", true),
        ("1.0", "X: y", false),
        ("1.0", "Connection: keep-alive", true),
        ("1.0", "Connection: foo ,\tKeep-Alive", true),
        ("1.0", "Connection: keep-alive, close", false),
        ("1.0", "Proxy-Connection: keep-alive", false),
    ] {
        let (head, _) = request(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n"));
        assert_eq!(head.keep_alive, expected, "{version}, {fields}");
    }
    let too_many = "Connection: ".to_owned() + &"x,".repeat(33);
    assert_eq!(refused(with_fields(&too_many)).0, Why::TooManyNominations);
    request(with_fields(&("Connection: ".to_owned() + &"x,".repeat(32))));
}

#[test]
fn an_upgrade_needs_both_fields_and_http_1_1() {
    for (version, fields, expected) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket", true),
        ("1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade", true),
        ("1.1", "Connection: Upgrade", false),
        ("1.1", "Upgrade: websocket", false),
        ("1.1", "Connection: close\r\nUpgrade: websocket", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c", false),
        ("1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: a, H2C\r\nHTTP2-Settings: x", false),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket", false),
    ] {
        let (head, _) = request(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n"));
        assert_eq!(head.upgrade, expected, "{version}, {fields}");
    }
}

#[test]
fn only_100_continue_is_expected() {
    assert!(request(with_fields("Content-Length: 1\r\nExpect: 100-Continue")).0.expects_continue);
    assert!(!request(with_fields("Content-Length: 1")).0.expects_continue);
    for other in ["Expect: 200-ok", "Expect:", "Expect: 100-continue, x", "Expect: 100-continue\r\nExpect: x"]
    {
        let (why, status, _) = refused(with_fields(other));
        assert_eq!((why, status), (Why::UnknownExpectation, 417), "{other}");
    }
    let text = "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    assert!(!request(text).0.expects_continue);
}

#[test]
fn max_forwards_counts_for_trace_and_options_alone() {
    let with = |method: &str, fields: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    for (fields, expected) in [
        ("", Ok(None)),
        ("Max-Forwards: 0\r\n", Ok(Some(0))),
        ("max-forwards:\t10 \r\n", Ok(Some(10))),
        ("Max-Forwards: 00000000000000000007\r\n", Ok(Some(7))),
        ("Max-Forwards: 99999999999999999999\r\n", Ok(Some(u32::MAX))),
        ("Max-Forwards:\r\n", Err(Why::BadMaxForwards)),
        ("Max-Forwards: -1\r\n", Err(Why::BadMaxForwards)),
        ("Max-Forwards: 1, 2\r\n", Err(Why::BadMaxForwards)),
        ("Max-Forwards: x\r\n", Err(Why::BadMaxForwards)),
        ("Max-Forwards: 1\r\nMax-Forwards: 1\r\n", Err(Why::MaxForwardsRepeated)),
    ] {
        for method in ["TRACE", "OPTIONS"] {
            let text = with(method, fields);
            match expected {
                Ok(left) => assert_eq!(request(&text).0.max_forwards, left, "{text}"),
                Err(why) => assert_eq!((refused(&text).0, refused(&text).1), (why, 400), "{text}"),
            }
        }
        assert_eq!(request(with("GET", fields)).0.max_forwards, None, "{fields}");
    }
}

#[test]
fn a_head_is_refused_where_it_outgrows_its_limits() {
    let parse = |text: &str, max_head, max_headers| {
        parse_request(text.as_bytes(), &HeadLimits { max_head, max_headers }, &mut Fields::default())
            .map_err(|bad| bad.status())
            .map(|parsed| matches!(parsed, Parse::Complete(_)))
    };
    let text = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"; // 33 bytes, the request line 16
    for (case, text, max_head, max_headers, expected) in [
        ("just fits", text, 33, 2, Ok(true)),
        ("just fits, more behind it", "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\nmore", 33, 2, Ok(true)),
        ("one byte too many", text, 32, 2, Err(431)),
        ("line alone is too long", text, 15, 2, Err(414)),
        ("line fills it", text, 16, 2, Err(431)),
        ("no more room, not whole", &text[..32], 32, 2, Err(431)),
        ("room for one more byte", &text[..32], 33, 2, Ok(false)),
        ("no more room in the line", &text[..10], 10, 2, Err(414)),
        ("one field too many", text, 33, 1, Err(431)),
        ("one field too many, not whole", &text[..30], 33, 1, Err(431)),
    ] {
        assert_eq!(parse(text, max_head, max_headers), expected, "{case}");
    }
}

/// A table serves all connections of a shard: what one client sent must not count against the next.
#[test]
fn a_refused_head_leaves_nothing_behind_in_the_table() {
    let good = with_fields("Content-Length: 5\r\nTransfer: x");
    for bad in [
        "Host: b",
        "Content-Length: 5\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Expect: x",
        "Connection: transfer\r\nA : b",
    ] {
        let mut fields = Fields::default();
        assert!(parse_request(with_fields(bad).as_bytes(), &LIMITS, &mut fields).is_err(), "{bad}");
        let found = parse_request(good.as_bytes(), &LIMITS, &mut fields);
        assert_eq!(found, Ok(Parse::Complete(request(&good).0)), "after {bad}");
    }
}

#[test]
fn a_refusal_says_what_and_where() {
    let bad = parse_request(b"GET / HTTP/1.1\r\nA : b\r\n", &LIMITS, &mut Fields::default()).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "there is white space between a field name and its colon (byte 17 of the head)"
    );
}
