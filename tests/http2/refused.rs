//! What is refused, and how: nothing of it reaches a backend.

use crate::frames::*;
use crate::harness::{Backend, Weir, answers, one_pool};

const PROTOCOL_ERROR: u32 = 1;

/// How weir took a request.
#[derive(Debug, PartialEq, Eq)]
enum Took {
    /// With this status.
    Status(u16),
    /// With a reset, or by closing the connection.
    Refused,
}

fn took(weir: &Weir, fields: &[(&str, &str)], body: Option<&[u8]>) -> Took {
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(fields, if body.is_some() { 0 } else { END_STREAM });
    if let Some(body) = body {
        raw.frame(DATA, END_STREAM, stream, body);
    }
    let ends = |frame: &Frame| {
        frame.kind == GOAWAY || frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM)
    };
    match raw.next(ends) {
        None => Took::Refused,
        Some(frame) if frame.kind == HEADERS => {
            let answer = {
                // Give it back to be read as a whole.
                let mut again = Raw::connect(weir.address("web"));
                let stream = again.request(fields, if body.is_some() { 0 } else { END_STREAM });
                if let Some(body) = body {
                    again.frame(DATA, END_STREAM, stream, body);
                }
                again.answer(stream)
            };
            Took::Status(answer.status)
        }
        Some(frame) => {
            assert_eq!(frame.code(), PROTOCOL_ERROR, "{frame:?}");
            Took::Refused
        }
    }
}

/// The fields of a GET, one of them changed.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = get("/");
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some(field) => field.1 = value,
        None => fields.push((name, value)),
    }
    fields
}

/// The same without one.
fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    let mut fields = get("/");
    fields.retain(|(known, _)| *known != name);
    fields
}

/// Its name, its fields, and its body.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Option<&'a [u8]>);

#[test]
fn malformed_requests_are_refused_and_reach_no_backend() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut late = get("/");
    late.insert(0, ("x-a", "b"));
    let mut twice = get("/");
    twice.push((":path", "/other"));
    let cases: Vec<Case<'_>> = vec![
        ("a name in upper case", with("X-Upper", "v"), None),
        ("an empty name", with("", "v"), None),
        ("a name with a space", with("x a", "v"), None),
        ("a name with a colon", with("x:a", "v"), None),
        ("CR LF in a value", with("x-a", "v\r\nHost: other"), None),
        ("LF in a value", with("x-a", "v\nx"), None),
        ("CR in a value", with("x-a", "v\rx"), None),
        ("NUL in a value", with("x-a", "v\0x"), None),
        ("LF in the path", with(":path", "/\nx"), None),
        ("a space in the path", with(":path", "/ HTTP/1.1"), None),
        ("an empty path", with(":path", ""), None),
        ("a path that is none", with(":path", "foo"), None),
        ("an absolute target in the path", with(":path", "http://other/"), None),
        ("connection", with("connection", "close"), None),
        ("keep-alive", with("keep-alive", "1"), None),
        ("proxy-connection", with("proxy-connection", "x"), None),
        ("upgrade", with("upgrade", "websocket"), None),
        ("transfer-encoding", with("transfer-encoding", "chunked"), Some(b"x")),
        ("te other than trailers", with("te", "gzip"), None),
        ("too short a body", with("content-length", "5"), Some(b"abc")),
        ("too long a body", with("content-length", "2"), Some(b"abc")),
        ("a length and no body", with("content-length", "2"), None),
        ("a length that is none", with("content-length", "+3"), Some(b"abc")),
        ("no method", without(":method"), None),
        ("no path", without(":path"), None),
        ("no scheme", without(":scheme"), None),
        ("an unknown pseudo-field", with(":other", "x"), None),
        ("a response's pseudo-field", with(":status", "200"), None),
        ("a pseudo-field behind a field", late, None),
        ("a pseudo-field twice", twice, None),
        ("a protocol without CONNECT", with(":protocol", "websocket"), None),
    ];
    for (case, fields, body) in &cases {
        assert_eq!(took(&weir, fields, *body), Took::Refused, "{case}");
    }
    for (case, fields, status) in [
        ("another host", with("host", "other"), 400),
        ("no host at all", without(":authority"), 400),
        ("a bad authority", with(":authority", "a@b"), 400),
        ("an asterisk", with(":path", "*"), 400),
        ("two equal lengths", [with("content-length", "0"), vec![("content-length", "0")]].concat(), 400),
        ("an unknown expectation", with("expect", "x"), 417),
    ] {
        assert_eq!(took(&weir, &fields, None), Took::Status(status), "{case}");
    }
    let connect = [(":method", "CONNECT"), (":authority", "other:443")];
    assert_eq!(took(&weir, &connect, None), Took::Status(501), "CONNECT");
    let reached: Vec<String> = backend.received().iter().map(|received| received.text()).collect();
    let whole = |head: &String| head.contains("Content-Length: 5") || head.contains("Content-Length: 2");
    assert!(reached.iter().all(whole), "{reached:?}");
    assert_eq!(reached.len(), 0, "a request whose body disagrees is never whole: {reached:?}");
}

#[test]
fn a_large_head_gets_431_and_so_do_too_many_fields() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "max_head = \"2KiB\"\nmax_headers = 20\n", ""));
    let large = "x".repeat(2100);
    let mut fields = get("/");
    fields.push(("x-large", &large));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&fields, END_STREAM);
    assert_eq!(raw.answer(stream).status, 431);
    let mut fields = get("/");
    fields.extend([("x-a", "b"); 30]);
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&fields, END_STREAM);
    assert_eq!(raw.answer(stream).status, 431);
    assert_eq!(raw.ask("/").0, 200);
    assert_eq!(backend.requests(), 1);
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_go_on() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.rest();
    });
    let weir = Weir::start(&one_pool(&[&backend], "http2.max_streams = 3\n", ""));
    let mut raw = Raw::connect(weir.address("web"));
    // The limit holds from when it has been acknowledged, but is kept from the start.
    let streams: Vec<u32> = (0..5).map(|_| raw.get("/")).collect();
    for stream in &streams[3..] {
        let reset = raw.next(|frame| frame.kind == RST_STREAM && frame.stream == *stream).unwrap();
        assert_eq!(reset.code(), 7, "REFUSED_STREAM: it may be tried again");
    }
    crate::harness::wait_until("three are at the backend", || backend.open() == 3);
}

#[test]
fn violations_of_the_protocol_end_the_connection_with_their_code() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let head = block(&get("/"));
    let cases: Vec<(&str, Vec<u8>, u32)> = vec![
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), 1),
        ("HEADERS on stream 0", frame(HEADERS, 5, 0, &head), 1),
        ("HEADERS on an even stream", frame(HEADERS, 5, 2, &head), 1),
        ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), 1),
        ("RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), 1),
        ("WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 1),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), 1),
        ("PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), 6),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), 6),
        ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), 6),
        ("a window above its most", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), 3),
        ("CONTINUATION without HEADERS", frame(CONTINUATION, 4, 1, &head), 1),
        ("a frame within a block", [frame(HEADERS, 1, 1, &head), frame(PING, 0, 0, &[0; 8])].concat(), 1),
        ("fields that are none", frame(HEADERS, 5, 1, &[0xff; 20]), 9),
        ("a frame that is too large", frame(DATA, 0, 1, &[0; 16_385]), 6),
        ("PUSH_PROMISE", frame(5, 4, 1, &[0, 0, 0, 2]), 1),
        ("a preface that is none", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), 1),
    ];
    for (case, bytes, code) in cases {
        let mut raw = if case.contains("preface") {
            Raw::bare(weir.address("web"))
        } else {
            Raw::connect(weir.address("web"))
        };
        raw.send(&bytes);
        let ended = raw.ended();
        // FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR and COMPRESSION_ERROR may be said more generally.
        assert!(ended.is_none_or(|ended| ended == code || ended == PROTOCOL_ERROR), "{case}: {ended:?}");
    }
    assert_eq!(backend.requests(), 0);
}
