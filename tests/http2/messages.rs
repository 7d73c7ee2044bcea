//! What requests become, and what answers come back.

use crate::frames::*;
use crate::harness::{Backend, Client, Then, Weir, answers, one_pool, wait_until};
use std::time::Duration;

#[test]
fn a_request_reaches_the_backend_as_http_1_with_names_in_title_case() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let mut fields = get("/path?query");
    fields.extend([("x-some-field", "v"), ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2")]);
    let stream = raw.request(&fields, END_STREAM);
    let answer = raw.answer(stream);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    let head = backend.last().text();
    assert!(head.starts_with("GET /path?query HTTP/1.1\r\n"), "{head}");
    for line in ["Host: test", "X-Some-Field: v", "Cookie: a=1; b=2", "Via: 2.0 weir"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("Transfer-Encoding") && !head.contains("Content-Length"), "{head}");
}

#[test]
fn streams_share_a_connection_and_overtake_each_other() {
    let backend = Backend::http(answers::by(|request, wire| {
        if request.line().contains("/slow") {
            std::thread::sleep(Duration::from_millis(300));
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let slow = raw.get("/slow");
    for _ in 0..20 {
        assert_eq!(raw.ask("/fast").0, 200);
    }
    assert_eq!(raw.answer(slow).status, 200);
    weir.wait_metric("weir_connections", &[], 1.0);
}

#[test]
fn a_body_goes_up_by_its_length_or_in_chunks_with_its_trailers() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));

    let mut fields = post("/length");
    fields.push(("content-length", "10"));
    let stream = raw.request(&fields, 0);
    raw.frame(DATA, 0, stream, b"01234");
    raw.frame(DATA, END_STREAM, stream, b"56789");
    assert_eq!(raw.answer(stream).body, b"0123456789");
    assert!(backend.last().text().contains("\r\nContent-Length: 10\r\n"));

    let stream = raw.request(&post("/chunks"), 0);
    raw.frame(DATA, 0, stream, b"one ");
    raw.frame(DATA, 0, stream, b"two");
    raw.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-sum", "7")]));
    assert_eq!(raw.answer(stream).body, b"one two");
    let received = backend.last();
    assert!(received.text().contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert_eq!(received.body.trailers.get("x-sum"), Some("7"));

    let mut fields = post("/announced");
    fields.extend([("content-length", "3"), ("trailer", "x-sum")]);
    let stream = raw.request(&fields, 0);
    raw.frame(DATA, 0, stream, b"abc");
    raw.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-sum", "8")]));
    assert_eq!(raw.answer(stream).body, b"abc");
    assert_eq!(backend.last().body.trailers.get("x-sum"), Some("8"));
    let stream = raw.request(&fields, 0);
    raw.frame(DATA, END_STREAM, stream, b"ab");
    assert!(raw.answer(stream).reset.is_some(), "it is held to its length all the same");

    let stream = raw.request(&post("/empty"), END_STREAM);
    assert_eq!(raw.answer(stream).status, 200);
    assert!(backend.last().text().contains("\r\nContent-Length: 0\r\n"));
}

#[test]
fn a_client_may_end_a_body_of_known_length_after_its_answer_has_come() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let mut fields = post("/");
    fields.push(("content-length", "5"));
    let begin = |raw: &mut Raw| {
        let stream = raw.request(&fields, 0);
        raw.frame(DATA, 0, stream, b"hello");
        assert_eq!(raw.answer(stream).body, b"hello");
        stream
    };
    let stream = begin(&mut raw);
    assert_eq!(raw.ask("/").0, 200);
    raw.frame(PING, 0, 0, b"any more");
    let next = raw.next(|frame| frame.kind == RST_STREAM || frame.kind == PING).unwrap();
    assert_eq!(next.kind, PING, "a reset before the client's last frame, which is about to come");
    raw.frame(DATA, END_STREAM, stream, b"");
    assert_eq!(raw.ask("/").0, 200);

    // Who does not end it is not waited for, and told that nothing is wrong.
    let stream = begin(&mut raw);
    let reset = loop {
        assert_eq!(raw.ask("/").0, 200);
        raw.frame(PING, 0, 0, b"any more");
        let next = raw.next(|frame| frame.kind == RST_STREAM || frame.kind == PING).unwrap();
        if next.kind == RST_STREAM {
            break next;
        }
    };
    assert_eq!((reset.stream, reset.code()), (stream, 0));
}

#[test]
fn answers_of_every_framing_come_down() {
    let cases: &[(&str, &str, u16, &[u8], bool)] = &[
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", false),
        ("none", "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, b"", false),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            200,
            b"hello",
            false,
        ),
        (
            "trailers",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
            200,
            b"hello",
            true,
        ),
        (
            "only trailers",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
            200,
            b"",
            true,
        ),
        ("until close", "HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello", false),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n", 204, b"", false),
        ("304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, b"", false),
        ("teapot", "HTTP/1.1 418 Teapot\r\nContent-Length: 1\r\n\r\nx", 418, b"x", false),
    ];
    for (case, bytes, status, body, trailers) in cases {
        let backend = Backend::http(answers::fixed_and_close(*bytes));
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        let mut raw = Raw::connect(weir.address("web"));
        let stream = raw.get("/");
        let answer = raw.answer(stream);
        assert_eq!((answer.status, &answer.body[..]), (*status, *body), "{case}");
        assert_eq!((answer.trailers.is_some(), answer.reset), (*trailers, None), "{case}");
    }
}

#[test]
fn a_head_request_gets_no_body() {
    let backend = Backend::http(answers::fixed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let mut fields = get("/");
    fields[0].1 = "HEAD";
    let stream = raw.request(&fields, END_STREAM);
    let answer = raw.answer(stream);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(backend.last().method(), "HEAD");
}

#[test]
fn interim_answers_come_down_and_a_body_waits_for_100_continue() {
    let backend = Backend::raw(|mut wire, _| {
        while let Ok(Some(head)) = wire.head() {
            let asked = String::from_utf8_lossy(&head).into_owned();
            let _ = wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            if asked.contains("Expect: 100-continue") {
                let _ = wire.send("HTTP/1.1 100 Continue\r\n\r\n");
                let _ = wire.bytes(4);
            }
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.get("/");
    assert_eq!(raw.answer(stream).interim, [103]);
    let mut fields = post("/");
    fields.extend([("content-length", "4"), ("expect", "100-continue")]);
    let stream = raw.request(&fields, 0);
    let _ = raw.next(|frame| frame.kind == HEADERS && frame.stream == stream).unwrap();
    let _ = raw.next(|frame| frame.kind == HEADERS && frame.stream == stream).unwrap();
    raw.frame(DATA, END_STREAM, stream, b"body");
    assert_eq!(raw.answer(stream).status, 200);
}

#[test]
fn an_answer_that_breaks_off_resets_its_stream_alone() {
    let backend = Backend::http(answers::by(|request, wire| {
        if request.line().contains("/cut") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello")?;
            return Ok(Then::Close);
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.retry]\nattempts = 0\n"));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.get("/cut");
    let answer = raw.answer(stream);
    assert!(
        answer.reset.is_some() || answer.status == 502,
        "a client must not take it for whole: {answer:?}"
    );
    assert_eq!(raw.ask("/").0, 200);
}

#[test]
fn an_answer_before_the_request_is_whole_ends_the_stream_without_an_error() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.head();
        let _ = wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = wire.rest();
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&post("/"), 0);
    raw.frame(DATA, 0, stream, b"begin");
    let answer = raw.answer(stream);
    assert_eq!((answer.status, answer.reset), (413, None));
    let reset = raw.next(|frame| frame.kind == RST_STREAM && frame.stream == stream).unwrap();
    assert_eq!(reset.code(), 0, "RFC 9113 §8.1: no error");
}

#[test]
fn a_cancelled_request_ends_at_the_backend_too() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.rest();
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.get("/");
    wait_until("it is there", || backend.open() == 1);
    raw.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    wait_until("weir leaves the backend", || backend.open() == 0);
    weir.wait_none("weir_in_flight", &[("pool", "app"), ("backend", "0")]);
}

#[test]
fn http_1_clients_are_served_beside_and_h2c_can_be_switched_off() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    assert_eq!(weir.client().get("/").status, 200);
    let mut client = weir.client();
    assert_eq!(client.get("/").status, 200);
    client.send(PREFACE);
    assert_eq!(client.response().status, 505, "a connection does not change its version");

    let weir = Weir::start(&one_pool(&[&backend], "h2c = false", ""));
    let mut client = Client::connect(weir.address("web"));
    client.send(PREFACE);
    assert_eq!(client.response().status, 505);
}

#[test]
fn a_preface_may_come_byte_by_byte() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::bare(weir.address("web"));
    let stream = raw.stream();
    let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/")));
    for byte in [PREFACE, &frame(SETTINGS, 0, 0, b""), &request].concat() {
        raw.send(&[byte]);
    }
    assert_eq!(raw.answer(stream).status, 200);
}

#[test]
fn a_preface_may_come_in_two_pieces_cut_anywhere() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    for at in 1..PREFACE.len() {
        let mut raw = Raw::bare(weir.address("web"));
        raw.send(&PREFACE[..at]);
        // An answer of the only shard says that it has seen the first piece.
        assert_eq!(weir.client().get("/").text(), "hello");
        raw.send(&PREFACE[at..]);
        raw.frame(SETTINGS, 0, 0, b"");
        assert_eq!(raw.ask("/").0, 200, "cut at {at}");
    }
}
