//! The chunked coding: what is passed on is chunks and nothing else; what two servers could end in two
//! places is refused.

use crate::harness::wait_until;
use crate::judge::{CANARY, Judge, raw_body};

const HEAD: &str = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn sizes_are_hexadecimal_digits_in_either_case_with_leading_zeros() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    let body = "x".repeat(0xab);
    for (sent, payload) in [
        ("0\r\n\r\n".to_owned(), ""),
        ("000\r\n\r\n".to_owned(), ""),
        ("5\r\nhello\r\n0\r\n\r\n".to_owned(), "hello"),
        ("0005\r\nhello\r\n0000000000000000\r\n\r\n".to_owned(), "hello"),
        ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n".to_owned(), "abc"),
        (format!("ab\r\n{body}\r\n0\r\n\r\n"), &*body),
        (format!("AB\r\n{body}\r\n0\r\n\r\n"), &*body),
        (format!("aB\r\n{body}\r\n0\r\n\r\n"), &*body),
        ("4\r\n\r\n\r\n\r\n0\r\n\r\n".to_owned(), "\r\n\r\n"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n".to_owned(), "0\r\n\r\n"),
    ] {
        let received = judge.passes_on(&mut client, &sent, format!("{HEAD}{sent}"));
        assert_eq!(String::from_utf8_lossy(&received.body.data), payload, "{sent:?}");
    }
}

const BAD: &[&str] = &[
    // Sizes.
    "\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "\t5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "-0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "0X5\r\nhello\r\n0\r\n\r\n",
    "5h\r\nhello\r\n0\r\n\r\n",
    "h5\r\nhello\r\n0\r\n\r\n",
    "5.0\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "\"5\"\r\nhello\r\n0\r\n\r\n",
    "5\0\r\nhello\r\n0\r\n\r\n",
    "5\x0b\r\nhello\r\n0\r\n\r\n",
    "\u{0665}\r\nhello\r\n0\r\n\r\n",
    "5\u{a0}\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "8000000000000000\r\nhello\r\n0\r\n\r\n",
    "10000000000000000\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "f0000000000000005\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n00000000000000000\r\n\r\n",
    // Line ends.
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\rhello\r\n0\r\n\r\n",
    "5\r\r\nhello\r\n0\r\n\r\n",
    "5\n\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello\r\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "5\r\nhello \r\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\r\n\r\r\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\r",
    "5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    // Payload longer or shorter than its size.
    "4\r\nhello\r\n0\r\n\r\n",
    "6\r\nhello\r\n0\r\n\r\n",
    "3\r\nhello\r\n0\r\n\r\n",
    // Extensions: a line that ends in another place for whoever takes LF, CR or NUL for its end.
    "5;a\nhello\r\n0\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5;a\rhello\r\n0\r\n\r\n",
    "5;a\r\rhello\r\n0\r\n\r\n",
    "5;a\n\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5;\0\r\nhello\r\n0\r\n\r\n",
    "5;a\x7f\r\nhello\r\n0\r\n\r\n",
    "5;a\x08\r\nhello\r\n0\r\n\r\n",
    "5\r;a\r\nhello\r\n0\r\n\r\n",
    "5 a\r\nhello\r\n0\r\n\r\n",
    "5\ta=b\r\nhello\r\n0\r\n\r\n",
    ";a\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;;a\r\nhello\r\n0\r\n\r\n",
    "5;=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\r\nhello\r\n0\r\n\r\n",
    "5;a b\r\nhello\r\n0\r\n\r\n",
    "5;\u{e9}\r\nhello\r\n0\r\n\r\n",
    "0;a\n\r\n\r\n",
    // Trailers.
    "0\r\nX-A : b\r\n\r\n",
    "0\r\n X-A: b\r\n\r\n",
    "0\r\nX-A: b\r\n c\r\n\r\n",
    "0\r\nX-A: b\n\r\n",
    "0\r\nX-A: b\n\n",
    "0\r\nX-A: b\rX-B: c\r\n\r\n",
    "0\r\nX-A: b\0\r\n\r\n",
    "0\r\nX-A\r\n\r\n",
    "0\r\n: b\r\n\r\n",
    "0\r\nX(A): b\r\n\r\n",
];

#[test]
fn chunks_that_are_none_are_refused_and_nothing_arrives() {
    let judge = Judge::new();
    for bad in BAD {
        judge.refuses(&format!("{bad:?}"), format!("{HEAD}{bad}"), 400);
    }
    judge.serves_another();
}

/// The same, when the head and a first chunk have gone up already.
#[test]
fn chunks_that_turn_bad_on_the_way_are_cut_off_at_the_backend() {
    let judge = Judge::new();
    for (row, bad) in BAD.iter().enumerate().filter(|(row, _)| row % 3 == 0) {
        let before = judge.backend.connections();
        let mut client = judge.weir.client();
        client.send(format!("{HEAD}3\r\nabc\r\n"));
        wait_until("the request has begun to arrive", || judge.backend.connections() > before);
        client.send(format!("{bad}{CANARY}"));
        let response = client.response();
        assert_eq!(response.status, 400, "{row}: {bad:?}: {}", response.text());
        client.assert_closed();
        judge.settle();
        assert!(judge.whole().is_empty(), "{bad:?}: it never gets whole");
    }
    let heard = judge.broken().concat();
    assert!(!String::from_utf8_lossy(&heard).contains("canary"), "{}", String::from_utf8_lossy(&heard));
}

#[test]
fn extensions_are_read_and_not_passed_on() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"b c\"",
        ";a=b;c=d",
        " ;a",
        "\t;a",
        "; a = b",
        ";a=\"\\\"\"",
        ";a=\"\u{e9}\"",
        ";a=\"5\"",
        ";chunk-signature=0123456789abcdef",
    ] {
        for last in ["", extension] {
            let sent = format!("{HEAD}5{extension}\r\nhello\r\n1\r\n!\r\n0{last}\r\n\r\n");
            let received = judge.passes_on(&mut client, extension, sent);
            assert_eq!(received.body.data, b"hello!", "{extension:?}");
            assert!(!received.body.raw.contains(&b';'), "{extension:?}: {}", raw_body(&received.body));
        }
    }
}

#[test]
fn extensions_are_bounded_in_a_line_and_in_a_body() {
    let judge = Judge::new();
    let chunk = |extension: usize| format!("1;{}\r\na\r\n", "e".repeat(extension));
    // The line is the digit, the semicolon, the extension and CRLF.
    judge.passes("a line of 200 bytes", format!("{HEAD}{}0\r\n\r\n", chunk(196)));
    for extension in [260, 1000, 5000] {
        judge.refuses("a long line", format!("{HEAD}{}0\r\n\r\n", chunk(extension)), 400);
    }
    let digits = format!("{}1", "0".repeat(300));
    judge.refuses("as many digits", format!("{HEAD}{digits}\r\na\r\n0\r\n\r\n"), 400);

    // Many that are short: cut off wherever the bound is, long before a megabyte.
    let mut client = judge.weir.client();
    client.send(HEAD);
    let flood = chunk(196).repeat(5000);
    let sent = std::io::Write::write_all(&mut client.wire.socket, flood.as_bytes());
    let answer = client.wire.response("POST");
    assert!(sent.is_err() || answer.is_err() || answer.unwrap().is_some_and(|answer| answer.status == 400));
    drop(client);
    judge.settle();
    assert!(!judge.whole().iter().any(|received| received.body.data.len() > 1), "a flood is no body");
}

#[test]
fn trailers_pass_with_their_names_and_values() {
    let judge = Judge::new();
    for trailers in [
        "X-Sum: 1\r\n",
        "X-Sum: 1\r\nX-Other: two words\r\n",
        "ETag: \"x\"\r\n",
        "Digest: sha-256=x\r\n",
        "Server-Timing: a;dur=1\r\n",
        "x-lower: \u{e9}\r\n",
    ] {
        let received = judge.passes(trailers, format!("{HEAD}5\r\nhello\r\n0\r\n{trailers}\r\n"));
        assert_eq!(raw_body(&received.body), format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    }
}

/// RFC 9110 §6.5.1: a recipient that merges them into the fields would believe them.
#[test]
fn trailers_that_frame_route_identify_or_modify_are_refused() {
    let judge = Judge::new();
    for name in [
        // Framing, hop-by-hop.
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Trailer",
        "TE",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Upgrade",
        // Routing.
        "Host",
        "Via",
        // Request modifiers.
        "Expect",
        "Max-Forwards",
        "Cache-Control",
        "Pragma",
        "Range",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "If-Range",
        // Authentication.
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        // Forwarding and identity.
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Anything",
        "X-Real-IP",
        // How the content is to be read.
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        // The same for who reads `_` as `-`.
        "Content_Length",
        "Transfer_Encoding",
        "X_Forwarded_For",
        "X_Real_IP",
    ] {
        for trailers in [format!("{name}: 5\r\n"), format!("X-A: b\r\n{name}: 5\r\nX-C: d\r\n")] {
            judge.refuses(name, format!("{HEAD}5\r\nhello\r\n0\r\n{trailers}\r\n"), 400);
        }
    }
    judge.serves_another();
}

#[test]
fn trailers_that_connection_names_are_refused() {
    let judge = Judge::new();
    let head = |connection: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: {connection}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
    };
    for connection in ["X-Mine", "close, x-mine", "x-other,X-MINE"] {
        judge.refuses(connection, format!("{}0\r\nX-Mine: 1\r\n\r\n", head(connection)), 400);
    }
    judge.passes("another", format!("{}0\r\nX-Mine: 1\r\n\r\n", head("keep-alive, x-other")));
}

#[test]
fn trailers_are_bounded() {
    let judge = Judge::new();
    let long = format!("X-A: {}\r\n", "b".repeat(20_000));
    let many = "X-A: b\r\n".repeat(5_000);
    for (case, trailers) in [("one long", long), ("many", many)] {
        judge.refuses(case, format!("{HEAD}0\r\n{trailers}\r\n"), 400);
    }
}
