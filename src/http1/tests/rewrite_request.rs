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
        "Via: 1.1 before",
        "True-Client-IP: 1.2.3.4",
        "X_Forwarded_For: 1.2.3.4",
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

const OURS: &str = "X-Forwarded-For: 192.0.2.17\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\n\
                    X-Real-IP: 192.0.2.17\n";

/// All there are, and look-alikes.
const THEIRS: &str = "x-forwarded-for: 1.2.3.4\nX-Forwarded-Proto: https\nX-Forwarded-Host: h\n\
                      X-Forwarded-Port: 1\nForwarded: for=1.2.3.4\nx-real-IP: 1.2.3.4\nX_Forwarded_For: 1.2.3.4\n\
                      X-Forwarded_Proto: https\nx_real-ip: 1.2.3.4\nX.Real.IP: 1.2.3.4\nX_FORWARDED_PORT: 1\n";

#[test]
fn the_forwarded_fields_follow_the_rule_and_the_trust() {
    use Forwarded::{Append, Off, Replace};
    let appended = "x-forwarded-for: 1.2.3.4, 192.0.2.17\nX-Forwarded-Proto: https\nX-Forwarded-Host: h\n\
                    X-Forwarded-Port: 1\nForwarded: for=1.2.3.4, for=192.0.2.17;host=a;proto=http\n\
                    X-Real-IP: 192.0.2.17\n";
    for (rule, trusted, came, goes) in [
        (Off, false, "", ""),
        (Off, false, THEIRS, THEIRS),
        (Off, true, THEIRS, THEIRS),
        (Append, false, "", OURS),
        (Append, false, THEIRS, OURS),
        (Append, true, "", OURS),
        (Append, true, THEIRS, appended),
        (Replace, false, "", OURS),
        (Replace, false, THEIRS, OURS),
        (Replace, true, THEIRS, OURS),
        (
            Append,
            true,
            "X-Forwarded-For: 1\nB: c\nX-Forwarded-For: 2, 3\nForwarded: for=_a\nforwarded: for=_b\n",
            "X-Forwarded-For: 1\nB: c\nX-Forwarded-For: 2, 3, 192.0.2.17\nForwarded: for=_a\n\
             forwarded: for=_b, for=192.0.2.17;host=a;proto=http\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\n\
             X-Real-IP: 192.0.2.17\n",
        ),
        (
            Append,
            true,
            "X-Forwarded-Proto: https\nX-Forwarded-For:\nForwarded:\n",
            "X-Forwarded-Proto: https\nX-Forwarded-For: 192.0.2.17\n\
             Forwarded: for=192.0.2.17;host=a;proto=http\nX-Forwarded-Host: a\nX-Real-IP: 192.0.2.17\n",
        ),
    ] {
        let text = crlf(&format!("GET / HTTP/1.1\nHost: a\n{came}\n"));
        let expected = crlf(&format!("GET / HTTP/1.1\nHost: a\n{goes}\n"));
        assert_eq!(rewritten(&text, &forwarded(rule, trusted)), expected, "{rule:?}, {trusted}, {came}");
    }
}

#[test]
fn names_that_only_begin_alike_pass() {
    let others = "X-Real-IPs: 1\nX-Real-I: 1\nX_Real_IPs: 1\nX-Forwarded: 1\nX_Forwarded: 1\nForwarded-For: 1\n\
                  XForwarded-For: 1\nX-Forwardedfor-: 1\nX-Request_ID: 1\nForwarder: 1\n";
    let text = crlf(&format!("GET / HTTP/1.1\nHost: a\n{others}\n"));
    let expected = crlf(&format!("GET / HTTP/1.1\nHost: a\n{others}{OURS}\n"));
    assert_eq!(rewritten(&text, &forwarded(Forwarded::Replace, false)), expected);
}

#[test]
fn a_client_behind_a_trusted_proxy_is_said_as_it_was_found() {
    use Forwarded::{Append, Replace};
    let behind = |rule| RequestRewrite { client: Some(b"2001:db8::7"), ..forwarded(rule, true) };
    let tail = "X-Forwarded-Proto: http\nX-Forwarded-Host: a\nX-Real-IP: 2001:db8::7\n";
    for (rule, came, goes) in [
        (
            Append,
            "X-Forwarded-For: 2001:db8::7\nX-Real-IP: 9.9.9.9\n",
            "X-Forwarded-For: 2001:db8::7, 192.0.2.17\n",
        ),
        // What only `Forwarded` says is said in the other too.
        (
            Append,
            "Forwarded: for=\"[2001:db8::7]\"\n",
            "Forwarded: for=\"[2001:db8::7]\", for=192.0.2.17;host=a;proto=http\n\
             X-Forwarded-For: 2001:db8::7, 192.0.2.17\n",
        ),
        (Replace, "X-Forwarded-For: 2001:db8::7\n", "X-Forwarded-For: 2001:db8::7\n"),
    ] {
        let text = crlf(&format!("GET / HTTP/1.1\nHost: a\n{came}\n"));
        let expected = crlf(&format!("GET / HTTP/1.1\nHost: a\n{goes}{tail}\n"));
        assert_eq!(rewritten(&text, &behind(rule)), expected, "{rule:?}, {came}");
    }
}

#[test]
fn a_peer_without_an_address_is_called_unix_and_has_no_real_ip() {
    let rewrite = |rule, trusted| RequestRewrite { peer: None, client: None, ..forwarded(rule, trusted) };
    let text = crlf("GET / HTTP/1.1\nHost: a\nX-Real-IP: 1.2.3.4\n\n");
    let tail = "X-Forwarded-Proto: http\nX-Forwarded-Host: a\n";
    for (rule, trusted) in
        [(Forwarded::Append, false), (Forwarded::Append, true), (Forwarded::Replace, false)]
    {
        let expected = format!("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: unix\n{tail}\n");
        assert_eq!(rewritten(&text, &rewrite(rule, trusted)), crlf(&expected), "{rule:?}, {trusted}");
    }
    let text = crlf("GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1.2.3.4\nForwarded: for=1.2.3.4\n\n");
    let trusted = RequestRewrite { client: Some(b"1.2.3.4"), ..rewrite(Forwarded::Append, true) };
    let expected = format!(
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1.2.3.4, unix\n\
         Forwarded: for=1.2.3.4, for=unknown;host=a;proto=http\n{tail}X-Real-IP: 1.2.3.4\n\n"
    );
    assert_eq!(rewritten(&text, &trusted), crlf(&expected));
}

#[test]
fn an_element_of_forwarded_is_quoted_where_it_is_no_token() {
    for (peer, line, element) in [
        ("192.0.2.17", "GET / HTTP/1.1\nHost: a.b-c", "for=192.0.2.17;host=a.b-c;proto=http"),
        ("192.0.2.17", "GET / HTTP/1.1\nHost: a:80", "for=192.0.2.17;host=\"a:80\";proto=http"),
        ("2001:db8::1", "GET / HTTP/1.1\nHost: a", "for=\"[2001:db8::1]\";host=a;proto=http"),
        ("2001:db8::1", "GET / HTTP/1.1\nHost: [::1]", "for=\"[2001:db8::1]\";host=\"[::1]\";proto=http"),
        ("192.0.2.17", "GET / HTTP/1.1\nHost: a;by=b", "for=192.0.2.17;host=\"a;by=b\";proto=http"),
        ("192.0.2.17", "GET / HTTP/1.0\nA: b", "for=192.0.2.17;proto=http"),
        ("192.0.2.17", "GET http://b:1/ HTTP/1.1\nHost: a", "for=192.0.2.17;host=\"b:1\";proto=http"),
    ] {
        let rewrite = RequestRewrite { peer: Some(peer.as_bytes()), ..forwarded(Forwarded::Append, true) };
        let head = rewritten(crlf(&format!("{line}\nForwarded: for=_x\n\n")), &rewrite);
        assert!(head.contains(&format!("\r\nForwarded: for=_x, {element}\r\n")), "{line}: {head}");
    }
}

#[test]
fn via_is_a_line_of_its_own_behind_all_others_and_says_what_came() {
    let via = Via::new("edge-1");
    let rewrite = RequestRewrite { via: Some(&via), upgrade: true, ..forwarded(Forwarded::Off, false) };
    for (came, goes) in [
        ("GET / HTTP/1.1\nHost: a\n", "GET / HTTP/1.1\nHost: a\nVia: 1.1 edge-1\n"),
        (
            "GET / HTTP/1.1\nvia: 1.0 b, 1.1 c\nHost: a\n",
            "GET / HTTP/1.1\nvia: 1.0 b, 1.1 c\nHost: a\nVia: 1.1 edge-1\n",
        ),
        ("GET / HTTP/1.0\nHost: a\n", "GET / HTTP/1.1\nHost: a\nVia: 1.0 edge-1\n"),
        ("GET / HTTP/1.0\n", "GET / HTTP/1.0\nVia: 1.0 edge-1\n"),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: w\n",
            "GET / HTTP/1.1\nHost: a\nUpgrade: w\nVia: 1.1 edge-1\nConnection: upgrade\n",
        ),
    ] {
        assert_eq!(rewritten(crlf(&format!("{came}\n")), &rewrite), crlf(&format!("{goes}\n")), "{came}");
    }
    let http2 = RequestRewrite { via: Some(&Via::of_http2("edge-1")), ..PLAIN };
    let head = rewritten("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &http2);
    assert!(head.ends_with("\r\nVia: 2.0 edge-1\r\n\r\n"), "{head}");
    let both = RequestRewrite { via: Some(&via), ..forwarded(Forwarded::Append, false) };
    let head = rewritten("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &both);
    assert!(head.ends_with("X-Real-IP: 192.0.2.17\r\nVia: 1.1 edge-1\r\n\r\n"), "{head}");
}

#[test]
fn the_forwarded_host_is_the_one_that_was_meant_and_left_out_if_there_is_none() {
    let rewrite = forwarded(Forwarded::Replace, false);
    let absolute = rewritten("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", &rewrite);
    assert!(absolute.contains("X-Forwarded-Host: b\r\n"), "{absolute}");
    let none = rewritten("GET / HTTP/1.0\r\n\r\n", &rewrite);
    let expected = "X-Forwarded-For: 192.0.2.17\r\nX-Forwarded-Proto: http\r\nX-Real-IP: 192.0.2.17\r\n\r\n";
    assert!(none.ends_with(expected), "{none}");
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
