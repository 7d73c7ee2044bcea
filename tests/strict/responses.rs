//! Backends are read as strictly as clients: what is not exactly HTTP is a 502, and its connection is never
//! used again.

use crate::harness::{Backend, Then, Weir, answers, one_pool};
use crate::judge::{assert_own, shown};
use std::sync::{Arc, Mutex};

/// A backend whose answer can be changed, and weir in front of it.
struct Script {
    weir: Weir,
    backend: Backend,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Script {
    fn new() -> Self {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let says = answer.clone();
        let backend = Backend::http(answers::by(move |_, wire| {
            wire.send(&*says.lock().unwrap())?;
            Ok(Then::KeepAlive)
        }));
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        Self { weir, backend, answer }
    }

    /// Asserts that `answer` becomes a 502, on a client's connection that goes on, and that the backend's
    /// connection is not used again.
    fn refuses(&self, case: &str, answer: impl AsRef<[u8]>) {
        self.refuses_to("GET", case, answer);
    }

    fn refuses_to(&self, method: &str, case: &str, answer: impl AsRef<[u8]>) {
        *self.answer.lock().unwrap() = answer.as_ref().to_vec();
        let shown = shown(answer.as_ref());
        let mut client = self.weir.client();
        let response = client.ask(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n"));
        if method == "HEAD" {
            assert_eq!(response.status, 502, "{case}: {shown}");
        } else {
            assert_own(&format!("{case}: {shown}"), &response, 502);
        }
        // It would be used again by the next request, which gets its own answer.
        *self.answer.lock().unwrap() = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        let connections = self.backend.connections();
        let response = client.get("/next");
        assert_eq!((response.status, &*response.text()), (200, "ok"), "{case}: {shown}");
        assert_eq!(self.backend.connections(), connections + 1, "{case}: {shown}: the connection was kept");
    }

    /// Asserts that `answer` arrives with this body, and that the backend's connection lives.
    fn passes(&self, case: &str, answer: impl AsRef<[u8]>, body: &str) {
        *self.answer.lock().unwrap() = answer.as_ref().to_vec();
        let mut client = self.weir.client();
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(response.text(), body, "{case}: {}", shown(answer.as_ref()));
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[test]
fn a_status_line_that_is_not_exactly_one_is_a_502() {
    let script = Script::new();
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 2",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 600 OK",
        "HTTP/1.1 999 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 2a0 OK",
        "HTTP/1.1 0x0 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 200OK",
        "HTTP/1.1-200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/3.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1 200 OK",
        "HTTP/1.10 200 OK",
        "http/1.1 200 OK",
        "HTTP/1,1 200 OK",
        "ICY 200 OK",
        "200 OK",
        "GET / HTTP/1.1",
        "<html>",
        "",
        "\r\n",
        "\u{feff}HTTP/1.1 200 OK",
        "HTTP/1.1 \u{0662}00 OK",
    ] {
        script.refuses(line, format!("{line}\r\nContent-Length: 2\r\n\r\nno"));
    }
    for byte in (0..0x20u8).chain([0x7f]).filter(|byte| *byte != b'\t') {
        let line = [b"HTTP/1.1 200 O".as_slice(), &[byte], b"K\r\nContent-Length: 2\r\n\r\nno"].concat();
        script.refuses("a reason with a control byte", line);
    }
    // An empty line in front of a response is no courtesy that RFC 9112 section 2.2 knows.
    script.refuses("an empty line", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
}

#[test]
fn a_field_line_that_is_not_exactly_one_is_a_502() {
    let script = Script::new();
    let with = |line: &[u8]| [b"HTTP/1.1 200 OK\r\n", line, b"\r\nContent-Length: 2\r\n\r\nno"].concat();
    for byte in (0..=255u8).filter(|byte| !is_token(*byte) && *byte != b':') {
        script
            .refuses(&format!("{byte:#04x} in a name"), with(&[b"X".as_slice(), &[byte], b"A: b"].concat()));
    }
    for byte in (0..0x20u8).chain([0x7f]).filter(|byte| *byte != b'\t') {
        script.refuses(
            &format!("{byte:#04x} in a value"),
            with(&[b"X-A: b".as_slice(), &[byte], b"c"].concat()),
        );
    }
    for line in [
        "X-A : b",
        "X-A\t: b",
        " X-A: b",
        "\tX-A: b",
        "X-A: b\r\n c",
        "X-A: b\r\n\tc",
        "X-A:\r\n b",
        ": b",
        "X-A",
        "Content-Length : 2",
        "Set-Cookie: a=b\nSet-Cookie: c=d",
        "Location: /\rX: y",
    ] {
        script.refuses(line, with(line.as_bytes()));
    }
}

#[test]
fn every_combination_of_length_and_coding_in_a_response_is_read_in_one_way_or_a_502() {
    let script = Script::new();
    let lengths = [
        ("", true),
        ("Content-Length: 2\r\n", true),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", false),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", false),
        ("Content-Length: 2, 2\r\n", false),
        ("Content-Length: +2\r\n", false),
        ("Content-Length: -2\r\n", false),
        ("Content-Length: 0x2\r\n", false),
        ("Content-Length: 2a\r\n", false),
        ("Content-Length: \r\n", false),
        ("Content-Length: 2\x0b\r\n", false),
        ("Content-Length: 9223372036854775808\r\n", false),
        ("Content-Length: 18446744073709551618\r\n", false),
    ];
    let codings = [
        ("", true),
        ("Transfer-Encoding: chunked\r\n", true),
        ("transfer-encoding: CHUNKED\r\n", true),
        ("Transfer-Encoding: chunked, chunked\r\n", false),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", false),
        ("Transfer-Encoding: gzip, chunked\r\n", false),
        ("Transfer-Encoding: chunked, gzip\r\n", false),
        ("Transfer-Encoding: identity\r\n", false),
        ("Transfer-Encoding: xchunked\r\n", false),
        ("Transfer-Encoding: \x0bchunked\r\n", false),
        ("Transfer-Encoding: chunked;a\r\n", false),
        ("Transfer-Encoding: ,chunked\r\n", false),
        ("Transfer-Encoding: \r\n", false),
    ];
    for (length, length_is_good) in lengths {
        for (coding, coding_is_good) in codings {
            let fields = format!("{length}{coding}");
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            match (length.is_empty(), coding.is_empty()) {
                // Until close: the backend of this test does not.
                (true, true) => {}
                (false, true) if length_is_good => script.passes(&fields, format!("{head}ok"), "ok"),
                (true, false) if coding_is_good => {
                    script.passes(&fields, format!("{head}2\r\nok\r\n0\r\n\r\n"), "ok");
                }
                _ => script.refuses(&fields, format!("{head}2\r\nno\r\n0\r\n\r\n")),
            }
        }
        // Chunks in HTTP/1.0 (RFC 9112 section 6.1).
        script.refuses(
            length,
            format!("HTTP/1.0 200 OK\r\n{length}Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
        );
    }
}

/// A HEAD's answer, or a 304, has no body, but the same fields; they are held to the same rules.
#[test]
fn framing_is_checked_where_there_is_no_body_too() {
    let script = Script::new();
    for fields in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: x\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        script.refuses_to("HEAD", fields, format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        script.refuses(fields, format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
    }
}

#[test]
fn chunks_that_are_none_in_an_answer_are_a_502_if_they_come_with_its_head() {
    let script = Script::new();
    for chunks in [
        "x\r\n",
        "-2\r\nno\r\n0\r\n\r\n",
        "+2\r\nno\r\n0\r\n\r\n",
        "0x2\r\nno\r\n0\r\n\r\n",
        " 2\r\nno\r\n0\r\n\r\n",
        "2 \r\nno\r\n0\r\n\r\n",
        "2\nno\r\n0\r\n\r\n",
        "2\r\nno\n0\r\n\r\n",
        "2\r\nnono\r\n0\r\n\r\n",
        "2;a\nno\r\n0\r\n\r\n",
        "2;\0\r\nno\r\n0\r\n\r\n",
        "10000000000000002\r\nno\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nno",
        "2\r\nno\r\n0\r\nX-A : b\r\n\r\n",
        "2\r\nno\r\n0\r\nX-A: b\r\n c\r\n\r\n",
        "2\r\nno\r\n0\r\nX-A: b\n\r\n",
        "2\r\nno\r\n0\r\n\n",
    ] {
        script.refuses(chunks, format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
}

#[test]
fn trailers_that_frame_or_authenticate_or_that_connection_names_are_a_502() {
    let script = Script::new();
    for name in ["Content-Length", "Transfer-Encoding", "Set-Cookie", "Content-Type", "Connection", "Trailer"]
    {
        let chunks = format!("2\r\nno\r\n0\r\n{name}: 5\r\n\r\n");
        script.refuses(name, format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
    let head = "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n";
    script.refuses("named", format!("{head}2\r\nno\r\n0\r\nx-hop: 1\r\n\r\n"));
    script.passes("another", format!("{head}2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"), "ok");
}

#[test]
fn extensions_of_an_answers_chunks_are_not_passed_on() {
    let script = Script::new();
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0;c\r\n\r\n";
    script.passes("extensions", answer, "ok");
    let raw = script.weir.client().get("/").raw_body;
    assert!(!raw.contains(&b';'), "{}", shown(&raw));
}

#[test]
fn what_connection_names_in_a_response_is_not_passed_on() {
    let script = Script::new();
    *script.answer.lock().unwrap() =
        b"HTTP/1.1 200 OK\r\nX-Hop: hop\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\n\
          Proxy-Connection: hop\r\nUpgrade: hop\r\nTE: hop\r\nContent-Length: 2\r\n\r\nok"
            .to_vec();
    let response = script.weir.client().get("/");
    let expected = "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&response.head), expected);
    // None of these may be named away: they frame, identify or say how to read the content.
    for field in ["Content-Length: 2", "Set-Cookie: a=b", "Content-Type: text/html", "Date: x"] {
        let name = field.split(':').next().unwrap();
        let length = if name == "Content-Length" { "" } else { "Content-Length: 2\r\n" };
        *script.answer.lock().unwrap() =
            format!("HTTP/1.1 200 OK\r\nConnection: {name}\r\n{field}\r\n{length}\r\nok").into_bytes();
        let response = script.weir.client().get("/");
        assert!(String::from_utf8_lossy(&response.head).contains(&format!("\r\n{field}\r\n")), "{field}");
        assert_eq!(response.text(), "ok");
    }
}

#[test]
fn unknown_statuses_pass_as_they_are_with_the_body_of_their_class() {
    let script = Script::new();
    for status in [200, 205, 226, 299, 300, 399, 418, 451, 499, 500, 599] {
        let answer = format!("HTTP/1.1 {status} Any\r\nContent-Length: 2\r\n\r\nok");
        script.passes("status", answer, "ok");
        let response = script.weir.client().get("/");
        assert_eq!((response.status, &*response.reason), (status, "Any"));
    }
}
