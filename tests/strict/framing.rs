//! Body framing: every combination of Content-Length and Transfer-Encoding, with the backend as the judge.

use crate::judge::{Judge, raw_body};

/// What a value of one of the fields is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Absent,
    Good,
    /// A coding that another server may know.
    Unknown,
    Bad,
}

/// Lines of Content-Length for the body `hello`, or none.
const LENGTHS: &[(&str, Is)] = &[
    ("", Is::Absent),
    ("Content-Length: 5\r\n", Is::Good),
    ("content-length:5\r\n", Is::Good),
    ("CONTENT-LENGTH: \t 5 \t\r\n", Is::Good),
    ("Content-Length: 05\r\n", Is::Good),
    ("Content-Length: 0000000000000000005\r\n", Is::Good),
    ("Content-Length: 00000000000000000005\r\n", Is::Bad),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", Is::Bad),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", Is::Bad),
    ("Content-Length: 5\r\nX-A: b\r\ncontent-length: 0\r\n", Is::Bad),
    ("Content-Length: \r\nContent-Length: 5\r\n", Is::Bad),
    ("Content-Length: 5,5\r\n", Is::Bad),
    ("Content-Length: 5, 5\r\n", Is::Bad),
    ("Content-Length: 0, 0\r\n", Is::Bad),
    ("Content-Length: 5, 6\r\n", Is::Bad),
    ("Content-Length: 5,\r\n", Is::Bad),
    ("Content-Length: ,5\r\n", Is::Bad),
    ("Content-Length: ,\r\n", Is::Bad),
    ("Content-Length: 5 5\r\n", Is::Bad),
    ("Content-Length: 5\t6\r\n", Is::Bad),
    ("Content-Length: 5;a\r\n", Is::Bad),
    ("Content-Length: +5\r\n", Is::Bad),
    ("Content-Length: -5\r\n", Is::Bad),
    ("Content-Length: -0\r\n", Is::Bad),
    ("Content-Length: - 5\r\n", Is::Bad),
    ("Content-Length: 0x5\r\n", Is::Bad),
    ("Content-Length: 0X5\r\n", Is::Bad),
    ("Content-Length: 0o5\r\n", Is::Bad),
    ("Content-Length: 0b101\r\n", Is::Bad),
    ("Content-Length: 5h\r\n", Is::Bad),
    ("Content-Length: a\r\n", Is::Bad),
    ("Content-Length: 5.0\r\n", Is::Bad),
    ("Content-Length: 5e0\r\n", Is::Bad),
    ("Content-Length: 1_0\r\n", Is::Bad),
    ("Content-Length: \"5\"\r\n", Is::Bad),
    ("Content-Length: (5)\r\n", Is::Bad),
    ("Content-Length: 5%20\r\n", Is::Bad),
    ("Content-Length: \u{0665}\r\n", Is::Bad),
    ("Content-Length: \u{a0}5\r\n", Is::Bad),
    ("Content-Length:\r\n", Is::Bad),
    ("Content-Length: chunked\r\n", Is::Bad),
    ("Content-Length: NaN\r\n", Is::Bad),
    ("Content-Length: 9223372036854775808\r\n", Is::Bad),
    ("Content-Length: 18446744073709551616\r\n", Is::Bad),
    ("Content-Length: 18446744073709551621\r\n", Is::Bad),
    ("Content-Length: 4294967301x\r\n", Is::Bad),
    ("Content-Length: 99999999999999999999999999999999999999\r\n", Is::Bad),
    ("Content-Length: 5\x0b\r\n", Is::Bad),
    ("Content-Length: \x0c5\r\n", Is::Bad),
    ("Content-Length: 5\0\r\n", Is::Bad),
    ("Content-Length : 5\r\n", Is::Bad),
    ("Content-Length:\r\n 5\r\n", Is::Bad),
    ("Content-Length: 5\r\n 5\r\n", Is::Bad),
];

/// Lines of Transfer-Encoding, or none.
const CODINGS: &[(&str, Is)] = &[
    ("", Is::Absent),
    ("Transfer-Encoding: chunked\r\n", Is::Good),
    ("transfer-encoding:chunked\r\n", Is::Good),
    ("Transfer-Encoding: \tChunked \r\n", Is::Good),
    ("TRANSFER-ENCODING: CHUNKED\r\n", Is::Good),
    ("Transfer-Encoding: gzip\r\n", Is::Unknown),
    ("Transfer-Encoding: identity\r\n", Is::Unknown),
    ("Transfer-Encoding: xchunked\r\n", Is::Unknown),
    ("Transfer-Encoding: chunkedx\r\n", Is::Unknown),
    ("Transfer-Encoding: 'chunked'\r\n", Is::Unknown),
    ("Transfer-Encoding: chunk\r\n", Is::Unknown),
    ("Transfer-Encoding: gzip, chunked\r\n", Is::Unknown),
    ("Transfer-Encoding: identity, chunked\r\n", Is::Unknown),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", Is::Unknown),
    ("Transfer-Encoding: gzip, deflate\r\n", Is::Unknown),
    ("Transfer-Encoding: chunked, gzip\r\n", Is::Bad),
    ("Transfer-Encoding: chunked, identity\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", Is::Bad),
    ("Transfer-Encoding: chunked, chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked,chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\r\nX-A: b\r\ntransfer-encoding: Chunked\r\n", Is::Bad),
    ("Transfer-Encoding: gzip, chunked, chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked,\r\n", Is::Bad),
    ("Transfer-Encoding: ,chunked\r\n", Is::Bad),
    ("Transfer-Encoding: , chunked\r\n", Is::Bad),
    ("Transfer-Encoding: ,\r\n", Is::Bad),
    ("Transfer-Encoding:\r\n", Is::Bad),
    ("Transfer-Encoding: \r\nTransfer-Encoding: chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked;q=1\r\n", Is::Bad),
    ("Transfer-Encoding: chunked ; a=b\r\n", Is::Bad),
    ("Transfer-Encoding: \"chunked\"\r\n", Is::Bad),
    ("Transfer-Encoding: (x) chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chu nked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked foo\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\tfoo\r\n", Is::Bad),
    ("Transfer-Encoding: chunked: x\r\n", Is::Bad),
    ("Transfer-Encoding: \u{a0}chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\u{a0}\r\n", Is::Bad),
    ("Transfer-Encoding: \u{212a}chunked\r\n", Is::Bad),
    ("Transfer-Encoding: \x0bchunked\r\n", Is::Bad),
    ("Transfer-Encoding:\x0bchunked\r\n", Is::Bad),
    ("Transfer-Encoding:\x0cchunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\x0b\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\0\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\r\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\n\r\n", Is::Bad),
    ("Transfer-Encoding : chunked\r\n", Is::Bad),
    ("Transfer-Encoding\t: chunked\r\n", Is::Bad),
    (" Transfer-Encoding: chunked\r\n", Is::Bad),
    ("Transfer-Encoding:\r\n chunked\r\n", Is::Bad),
    ("Transfer-Encoding: chunked\r\n \r\n", Is::Bad),
    ("Transfer\u{2010}Encoding: chunked\r\n", Is::Bad),
    ("\0Transfer-Encoding: chunked\r\n", Is::Bad),
];

const CHUNKED: &str = "5\r\nhello\r\n0\r\n\r\n";

#[test]
fn every_combination_of_length_and_coding_is_read_in_one_way_or_refused() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for (row, (length, length_is)) in LENGTHS.iter().enumerate() {
        for (column, (coding, coding_is)) in CODINGS.iter().enumerate() {
            // Either may come first; each of both orders meets each line.
            let length_first = (row + column) % 2 == 0;
            let fields = if length_first { [*length, *coding] } else { [*coding, *length] }.concat();
            let head = format!("POST /f HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let (body, refusal) = match (*length_is, *coding_is) {
                (Is::Absent, Is::Absent) => ("", None),
                (Is::Good, Is::Absent) => ("hello", None),
                (Is::Absent, Is::Good) => (CHUNKED, None),
                (Is::Absent, Is::Unknown) => (CHUNKED, Some(501)),
                _ => (CHUNKED, Some(400)),
            };
            let request = format!("{head}{body}");
            if let Some(status) = refusal {
                judge.refuses(&fields, request, status);
                continue;
            }
            let received = judge.passes_on(&mut client, &fields, request);
            assert_eq!(raw_body(&received.body), body, "{fields:?}");
            let framings = ["Transfer-Encoding", "Content-Length"].map(|name| received.fields.get(name));
            let expected = [(*coding_is == Is::Good).then_some("chunked"), length.split([':', '\r']).nth(1)];
            assert_eq!(framings, [expected[0], expected[1].map(str::trim_ascii)], "{fields:?}");
        }
    }
    judge.serves_another();
}

/// An HTTP/1.0 server may not know chunks, and takes the body for the next request.
#[test]
fn no_coding_is_read_in_http_1_0() {
    let judge = Judge::new();
    for (coding, is) in CODINGS.iter().filter(|(_, is)| *is != Is::Absent) {
        let head = format!("POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n{coding}\r\n");
        judge.refuses(&format!("{is:?}: {coding:?}"), format!("{head}{CHUNKED}"), 400);
    }
    let head = "POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n";
    judge.passes("a length", format!("{head}Content-Length: 5\r\n\r\nhello"));
    judge.passes("no body", format!("{head}\r\n"));
}

#[test]
fn a_body_belongs_to_any_method_and_only_if_it_is_framed() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "QUERY"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: h\r\n");
        for (fields, body) in [
            ("Content-Length: 38\r\n", "GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"),
            (
                "Transfer-Encoding: chunked\r\n",
                "26\r\nGET /canary HTTP/1.1\r\nHost: canary\r\n\r\n\r\n0\r\n\r\n",
            ),
            ("Content-Length: 0\r\n", ""),
            ("", ""),
        ] {
            let received = judge.passes_on(&mut client, method, format!("{head}{fields}\r\n{body}"));
            assert_eq!(received.method(), method);
            assert_eq!(raw_body(&received.body), body, "{method}, {fields:?}");
        }
    }
    assert!(judge.whole().iter().all(|received| received.line().contains(" / ")), "each was one request");
}

#[test]
fn what_stands_behind_a_body_is_the_next_request_and_nothing_else() {
    let judge = Judge::new();
    let mut client = judge.weir.client();
    client.send(
        "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
         POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: h\r\n\r\n\
         POST /4 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nfgh",
    );
    for target in ["/1", "/2", "/3", "/4"] {
        assert_eq!(client.response().field("X-Target"), Some(target));
    }
    // The "h" begins a request line that never ends; with a control byte it is one that is refused.
    client.send("\0");
    assert_eq!(client.response().status, 400);
    client.assert_closed();
    let bodies: Vec<String> = judge.whole().iter().map(|received| raw_body(&received.body)).collect();
    assert_eq!(bodies, ["abc", "2\r\nde\r\n0\r\n\r\n", "", "fg"]);
}

#[test]
fn a_body_that_never_comes_whole_never_arrives_whole() {
    let judge = Judge::new();
    for (case, fields, part) in [
        ("length", "Content-Length: 10", "hello"),
        ("chunk", "Transfer-Encoding: chunked", "a\r\nhello"),
        ("no last chunk", "Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("no blank line", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
        ("in the trailers", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-A: b\r\n"),
        ("in the last CRLF", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r"),
    ] {
        let before = judge.broken().len();
        let mut client = judge.weir.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{part}"));
        crate::harness::wait_until("it has begun to arrive", || judge.backend.open() == 1);
        client.end();
        let _ = client.wire.rest();
        judge.settle();
        crate::harness::wait_until("it has broken off", || judge.broken().len() == before + 1);
        assert!(judge.whole().is_empty(), "{case}");
    }
}
