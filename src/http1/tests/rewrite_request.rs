//! The head that goes upstream, byte for byte.

use super::*;

fn forwarded(forwarded: Forwarded, trusted: bool) -> RequestRewrite<'static> {
    RequestRewrite { forwarded, trusted, ..PLAIN }
}

#[test]
fn an_ordinary_head_goes_on_as_it_came() {
    for text in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "POST /x?y HTTP/1.1\nHOST: a\naccept: */*\nX-odd-Case: 1\nContent-Length: 5\nCookie: a=b; c\n\n",
        "PUT /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: Digest\n\n",
        "PURGE /x HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 5\nEmpty: \n\n",
        "GET /x HTTP/1.1\nHost: a\nAuthorization: Basic x\nProxy-Authorization: Basic x\n\n",
        "OPTIONS * HTTP/1.1\nHost: a\n\n",
    ] {
        let text = crlf(text);
        assert_eq!(rewritten(&text, &PLAIN), text);
    }
}

#[test]
fn the_writer_appends_and_leaves_what_follows_the_head() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    let (head, fields) = request(text);
    let mut out = b"before ".to_vec();
    write_request(text, &head, &fields, &PLAIN, &mut out);
    assert_eq!(out, b"before GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn white_space_around_values_is_made_one_space_and_nothing_else_changes() {
    let text =
        "GET / HTTP/1.2\r\nHost:a\r\nA:  b  c\t\r\nB: d\r\nC:\te\r\nD:\r\nE: f\r\nF: g \r\nH: i\r\n\r\n";
    let expected = "GET / HTTP/1.1\nHost: a\nA: b  c\nB: d\nC: e\nD: \nE: f\nF: g\nH: i\n\n";
    assert_eq!(rewritten(text, &PLAIN), crlf(expected));
}

#[test]
fn hop_by_hop_fields_are_taken_out() {
    for (fields, expected) in [
        ("Connection: close\nA: b\n", "A: b\n"),
        ("A: b\nconnection: keep-alive\nKeep-Alive: timeout=5\nC: d\n", "A: b\nC: d\n"),
        ("Proxy-Connection: keep-alive\nTE: trailers\nA: b\n", "A: b\n"),
        ("Upgrade: websocket\nA: b\n", "A: b\n"),
        ("Connection: upgrade\nUpgrade: websocket\n", ""),
        ("X-One: 1\nConnection: x-one, X-TWO\nx-two: 2\nX-One: 3\nX-Three: 3\n", "X-Three: 3\n"),
        ("Connection: x-one\nX-One: 1\nConnection: x-two\nX-Two: 2\n", ""),
        ("Connection: , x-one,, close\nX-One: 1\n", ""),
        ("Connection: x one, =\nX: 1\n", "X: 1\n"),
        ("Transfer-Encoding:Chunked\nA: b\n", "Transfer-Encoding: chunked\nA: b\n"),
        ("TRANSFER-encoding: CHUNKED\n", "TRANSFER-encoding: chunked\n"),
    ] {
        let text = crlf(&format!("GET / HTTP/1.1\nHost: a\n{fields}\n"));
        let expected = crlf(&format!("GET / HTTP/1.1\nHost: a\n{expected}\n"));
        assert_eq!(rewritten(&text, &PLAIN), expected, "{fields}");
    }
}

#[test]
fn what_identifies_routes_or_frames_cannot_be_nominated() {
    for field in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: a",
        "X-Forwarded-Port: 443",
        "Forwarded: for=1.2.3.4",
        "Authorization: Basic x",
        "Proxy-Authorization: Basic x",
        "X-Real-IP: 1.2.3.4",
        "Cookie: a=b",
        "Content-Type: text/plain",
        "Expect: 100-continue",
    ] {
        let name = field.split_once(':').unwrap().0.to_lowercase();
        let text = crlf(&format!("GET / HTTP/1.1\nConnection: host, {name}\nHost: a\n{field}\n\n"));
        let expected = crlf(&format!("GET / HTTP/1.1\nHost: a\n{field}\n\n"));
        assert_eq!(rewritten(&text, &PLAIN), expected);
    }
}

#[test]
fn an_absolute_target_becomes_a_path_and_a_host() {
    for (line, fields, expected) in [
        ("GET http://b/p?q HTTP/1.1", "A: 1\nhost: a\nC: 2\n", "GET /p?q HTTP/1.1\nA: 1\nhost: b\nC: 2\n"),
        ("GET http://b HTTP/1.1", "Host: a\n", "GET / HTTP/1.1\nHost: b\n"),
        ("GET http://b:81?q HTTP/1.1", "Host: b\n", "GET /?q HTTP/1.1\nHost: b:81\n"),
        ("OPTIONS http://b HTTP/1.1", "Host: b\n", "OPTIONS * HTTP/1.1\nHost: b\n"),
        ("OPTIONS http://b?q HTTP/1.1", "Host: b\n", "OPTIONS /?q HTTP/1.1\nHost: b\n"),
        ("OPTIONS http://b/ HTTP/1.1", "Host: b\n", "OPTIONS / HTTP/1.1\nHost: b\n"),
        ("GET http://b/p HTTP/1.0", "A: 1\n", "GET /p HTTP/1.1\nHost: b\nA: 1\n"),
        ("GET http://b/p HTTP/1.0", "", "GET /p HTTP/1.1\nHost: b\n"),
    ] {
        let text = crlf(&format!("{line}\n{fields}\n"));
        assert_eq!(rewritten(&text, &PLAIN), crlf(&format!("{expected}\n")), "{line}");
    }
}

#[test]
fn an_http_1_0_request_says_1_1_only_if_it_has_a_host() {
    for (text, expected) in [
        ("GET / HTTP/1.0\nHost: a\nConnection: keep-alive\n\n", "GET / HTTP/1.1\nHost: a\n\n"),
        ("GET / HTTP/1.0\nConnection: keep-alive\nA: b\n\n", "GET / HTTP/1.0\nA: b\n\n"),
        ("GET / HTTP/1.0\n\n", "GET / HTTP/1.0\n\n"),
        ("GET / HTTP/1.0\nHost: a\nExpect: 100-continue\n\n", "GET / HTTP/1.1\nHost: a\n\n"),
    ] {
        assert_eq!(rewritten(crlf(text), &PLAIN), crlf(expected));
    }
}

#[test]
fn the_forwarded_fields_follow_the_rule_and_the_trust() {
    use Forwarded::{Append, Off, Replace};
    let ours = "X-Forwarded-For: 192.0.2.17\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\n";
    let theirs = "x-forwarded-for: 1.2.3.4\nX-Forwarded-Proto: https\nX-Forwarded-Host: h\nX-Forwarded-Port: 1\n\
                  Forwarded: for=1.2.3.4\n";
    let appended = theirs.replace("1.2.3.4\nX-F", "1.2.3.4, 192.0.2.17\nX-F");
    for (rule, trusted, came, goes) in [
        (Off, false, "", ""),
        (Off, false, theirs, theirs),
        (Off, true, theirs, theirs),
        (Append, false, "", ours),
        (Append, false, theirs, ours),
        (Append, true, "", ours),
        (Append, true, theirs, appended.as_str()),
        (Replace, false, "", ours),
        (Replace, false, theirs, ours),
        (Replace, true, theirs, ours),
        (
            Append,
            true,
            "X-Forwarded-For: 1\nB: c\nX-Forwarded-For: 2, 3\n",
            "X-Forwarded-For: 1\nB: c\nX-Forwarded-For: 2, 3, 192.0.2.17\nX-Forwarded-Proto: http\n\
             X-Forwarded-Host: a\n",
        ),
        (
            Append,
            true,
            "X-Forwarded-Proto: https\nX-Forwarded-For:\n",
            "X-Forwarded-Proto: https\nX-Forwarded-For: 192.0.2.17\nX-Forwarded-Host: a\n",
        ),
    ] {
        let text = crlf(&format!("GET / HTTP/1.1\nHost: a\n{came}\n"));
        let expected = crlf(&format!("GET / HTTP/1.1\nHost: a\n{goes}\n"));
        assert_eq!(rewritten(&text, &forwarded(rule, trusted)), expected, "{rule:?}, {trusted}, {came}");
    }
}

#[test]
fn the_forwarded_host_is_the_one_that_was_meant_and_left_out_if_there_is_none() {
    let rewrite = forwarded(Forwarded::Replace, false);
    let absolute = rewritten("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", &rewrite);
    assert!(absolute.ends_with("X-Forwarded-Host: b\r\n\r\n"), "{absolute}");
    let none = rewritten("GET / HTTP/1.0\r\n\r\n", &rewrite);
    assert!(none.ends_with("X-Forwarded-For: 192.0.2.17\r\nX-Forwarded-Proto: http\r\n\r\n"), "{none}");
}

#[test]
fn an_upgrade_is_passed_on_only_if_both_sides_want_it() {
    let text = crlf("GET / HTTP/1.1\nHost: a\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nA: b\n\n");
    let passed = crlf("GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nA: b\nConnection: upgrade\n\n");
    let dropped = crlf("GET / HTTP/1.1\nHost: a\nA: b\n\n");
    let upgrade = RequestRewrite { upgrade: true, ..PLAIN };
    assert_eq!(rewritten(&text, &upgrade), passed);
    assert_eq!(rewritten(&text, &PLAIN), dropped);
    let unnamed = text.replace(", Upgrade", "");
    assert_eq!(rewritten(unnamed, &upgrade), dropped);
}

#[test]
fn max_forwards_goes_on_as_one_less_in_its_place() {
    for (line, fields, expected) in [
        ("OPTIONS *", "A: b\nmax-Forwards: 10\nC: d\n", "A: b\nmax-Forwards: 9\nC: d\n"),
        ("TRACE /", "Max-Forwards:1\n", "Max-Forwards: 0\n"),
        ("TRACE /", "Max-Forwards: 99999999999\n", "Max-Forwards: 4294967294\n"),
        ("OPTIONS /", "Connection: max-forwards\nMax-Forwards: 2\n", "Max-Forwards: 1\n"),
        ("GET /", "Max-Forwards: 10\n", "Max-Forwards: 10\n"),
        ("GET /", "Max-Forwards: x\nMax-Forwards: y\n", "Max-Forwards: x\nMax-Forwards: y\n"),
    ] {
        let text = crlf(&format!("{line} HTTP/1.1\nHost: a\n{fields}\n"));
        let expected = crlf(&format!("{line} HTTP/1.1\nHost: a\n{expected}\n"));
        assert_eq!(rewritten(&text, &PLAIN), expected);
    }
}
