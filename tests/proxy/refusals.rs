//! Requests that weir answers itself: the right status, the connection closed, nothing forwarded.

use crate::harness::{Backend, Framing, Weir, answers, one_pool, wait_until};
use crate::in_front_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Sends each of `requests` and asserts that it gets `status`, that the connection ends, that what stands
/// behind it is not taken for a request, and that the backend sees nothing of it.
fn assert_refused(weir: &Weir, backend: &Backend, status: u16, requests: &[&str]) {
    const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for request in requests {
        let shown = &request[..request.len().min(120)];
        let mut client = weir.client();
        client.send(format!("{request}{SMUGGLED}"));
        let response = client.response();
        assert_eq!(response.status, status, "{shown:?}: {}", response.text());
        assert_eq!(response.field("Connection"), Some("close"), "{shown:?}");
        assert!(response.text().starts_with(&status.to_string()), "{shown:?}: {}", response.text());
        assert!(response.text().len() < 200, "{shown:?}: {}", response.text());
        client.assert_closed();
        assert_eq!(backend.connections(), 0, "{shown:?}: nothing is forwarded");
    }
    let counted = weir.metric("weir_refusals_total", &[("status", &status.to_string())]);
    assert!(counted >= requests.len() as f64, "{counted} refusals with {status} are counted");
}

#[test]
fn framing_that_two_servers_may_read_differently_is_refused() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let requests: Vec<String> = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5a\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        // Who makes variables of names takes these for what they look like.
        "Content_Length: 5\r\n",
        "Content-Length: 5\r\nTransfer_Encoding: chunked\r\n",
    ]
    .iter()
    .map(|fields| post(fields))
    .chain(["POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()])
    .collect();
    assert_refused(&weir, &backend, 400, &requests.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_head_request_that_is_refused_gets_no_body() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    for request in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "\r\nHEAD / HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let mut client = weir.client();
        client.send(request);
        assert_eq!(client.response_to("HEAD").status, 400, "{request:?}");
        client.assert_closed();
    }
}

#[test]
fn a_malformed_head_is_refused() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    assert_refused(
        &weir,
        &backend,
        400,
        &[
            // Obsolete folding.
            "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\tc\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
            // Lone CR and LF.
            "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\nX-A: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\n",
            // White space before a colon, and names that are none.
            "GET / HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX(A): b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nX-A: \0\r\n\r\n",
            // Request lines.
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /\r\nHost: h\r\n\r\n",
            "G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / http/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.x\r\nHost: h\r\n\r\n",
            "GET path HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            "\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            // Hosts.
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: \r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n",
            "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET http://h/ HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /#f HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h, i\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h/path\r\n\r\n",
            // An upgrade with a body.
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nx",
            // TRACE and OPTIONS.
            "TRACE / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
            "TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n",
        ],
    );
}

#[test]
fn what_weir_does_not_do_is_refused_by_its_own_status() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    assert_refused(
        &weir,
        &backend,
        505,
        &[
            "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
            "GET / HTTP/0.9\r\nHost: h\r\n\r\n",
            "GET / HTTP/3.1\r\nHost: h\r\n\r\n",
        ],
    );
    assert_refused(
        &weir,
        &backend,
        501,
        &[
            "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ],
    );
    assert_refused(&weir, &backend, 417, &["POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n"]);
}

#[test]
fn who_traces_the_way_gets_as_far_as_it_asked_for() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let ask = |method: &str, left: &str| {
        let mut client = weir.client();
        let secret = "Cookie: c\r\nAuthorization: Basic x\r\n";
        client
            .send(format!("{method} /a HTTP/1.1\r\nHost: h\r\n{secret}max-forwards: {left}\r\nA: b\r\n\r\n"));
        (client.response_to(method), client)
    };
    let (traced, mut client) = ask("TRACE", "0");
    assert_eq!((traced.status, traced.field("Content-Type")), (200, Some("message/http")));
    assert_eq!(traced.text(), "TRACE /a HTTP/1.1\r\nHost: h\r\nmax-forwards: 0\r\nA: b\r\n\r\n");
    client.assert_closed();
    assert_eq!(ask("OPTIONS", "0").0.status, 204);
    assert_eq!(backend.requests(), 0);
    for (method, left, passed) in [("TRACE", "1", "0"), ("OPTIONS", "10", "9"), ("GET", "0", "0")] {
        assert_eq!(ask(method, left).0.text(), "ok");
        assert_eq!(backend.last().fields.get("max-forwards"), Some(passed), "{method}");
    }
    assert_eq!(weir.metric("weir_refusals_total", &[("cause", "last_hop")]), 2.0);
}

#[test]
fn what_is_no_http_at_all_is_refused() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), // TLS
        b"SSH-2.0-x\r\n",
        b"\0\0\0\0",
    ] {
        let mut client = weir.client();
        client.send(bytes);
        assert_eq!(client.response().status, 400, "{bytes:?}");
        client.assert_closed();
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_head = \"2KiB\"\nmax_headers = 10\n", ""));
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(len));
    let field = |len: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {}\r\n\r\n", "x".repeat(len));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X-A: b\r\n".repeat(count));
    assert_refused(&weir, &backend, 414, &[&line(2100), &line(100_000)]);
    assert_refused(&weir, &backend, 431, &[&field(2100), &field(100_000), &fields(10), &fields(50)]);
    // One without an end is refused as soon as it is too large.
    let mut client = weir.client();
    client.send(&field(3000)[..2500]);
    assert_eq!(client.response().status, 431);
    client.assert_closed();

    let mut client = weir.client();
    for fits in [line(1900), field(1900), fields(9)] {
        assert_eq!(client.ask(fits).status, 200);
    }
}

#[test]
fn a_head_larger_than_a_receive_buffer_arrives() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let long = "x".repeat(30_000);
    let mut client = weir.client();
    for _ in 0..2 {
        let response = client.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {long}\r\n\r\n"));
        assert_eq!(response.status, 200);
        assert_eq!(backend.last().fields.get("X-A"), Some(long.as_str()));
    }
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "max_body = \"1KiB\"\n", ""));
    let chunk = |len: usize| format!("{len:x}\r\n{}\r\n", "x".repeat(len));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_refused(
        &weir,
        &backend,
        413,
        &[
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n",
            &format!("{head}{}0\r\n\r\n", chunk(1025)),
            &format!("{head}{}{}0\r\n\r\n", chunk(1000), chunk(25)),
        ],
    );
    let mut client = weir.client();
    for fits in [
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024)),
        format!("{head}{}{}0\r\n\r\n", chunk(1000), chunk(24)),
    ] {
        assert_eq!(client.ask(fits).body.len(), 1024);
    }
}

#[test]
fn a_chunked_body_that_grows_too_large_is_refused_on_the_way() {
    let whole = Arc::new(AtomicUsize::new(0));
    let seen = whole.clone();
    let backend = Backend::raw(move |mut wire, _| {
        if let Ok(Some(_)) = wire.head() {
            seen.fetch_add(usize::from(wire.body(Framing::Chunked).is_ok()), Ordering::SeqCst);
        }
    });
    let weir = Weir::start(&one_pool(&[&backend], "max_body = \"1KiB\"\n", ""));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n");
    client.send([b'x'; 512]);
    wait_until("the request has begun to arrive", || backend.connections() == 1);
    client.send("\r\n400\r\n");
    client.send([b'x'; 1024]);
    client.send("\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 413);
    client.assert_closed();
    wait_until("the backend's connection has ended", || backend.open() == 0);
    assert_eq!(whole.load(Ordering::SeqCst), 0);
}

#[test]
fn bad_chunks_are_refused() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let requests: Vec<String> = [
        "x\r\n",
        "-1\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "\r\n",
        "1\na\r\n0\r\n\r\n",
        "1;a\nb\r\na\r\n0\r\n\r\n",
        "1;\r\na\r\n0\r\n\r\n",
        "00000000000000001\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\r\n0\r\nX-A: b\n\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nHost: evil\r\n\r\n",
        "0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
        "0\r\nAuthorization: Basic x\r\n\r\n",
        "0\r\nContent_Length: 5\r\n\r\n",
        "0\r\nX A: b\r\n\r\n",
        "0\r\n folded: b\r\n\r\n",
    ]
    .iter()
    .map(|chunks| format!("{head}{chunks}"))
    .chain([
        format!("{head}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(256)),
        format!("{head}{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100)),
        format!("{}0\r\nX-Sum: 1\r\n\r\n", head.replace("Host", "Connection: x-sum\r\nHost")),
    ])
    .collect();
    assert_refused(&weir, &backend, 400, &requests.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_bad_chunk_on_the_way_is_refused_and_the_request_never_gets_whole() {
    let whole = Arc::new(AtomicUsize::new(0));
    let seen = whole.clone();
    let backend = Backend::raw(move |mut wire, _| {
        if let Ok(Some(_)) = wire.head() {
            seen.fetch_add(usize::from(wire.body(Framing::Chunked).is_ok()), Ordering::SeqCst);
        }
    });
    let weir = in_front_of(&backend);
    for (round, bad) in
        ["zz\r\n", "0\r\nContent-Length: 1\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n"].iter().enumerate()
    {
        let mut client = weir.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        wait_until("the request has begun to arrive", || backend.connections() == round + 1);
        sleep(Duration::from_millis(20));
        client.send(bad);
        assert_eq!(client.response().status, 400, "{bad:?}");
        client.assert_closed();
        wait_until("the backend's connection has ended", || backend.open() == 0);
        assert_eq!(whole.load(Ordering::SeqCst), 0, "{bad:?}");
    }
}

#[test]
fn a_refused_client_can_read_its_answer_even_if_it_has_more_to_send() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "max_body = \"1KiB\"\n", ""));
    for _ in 0..5 {
        let mut client = weir.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n");
        let mut writer = client.wire.socket.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            for piece in vec![b'x'; 3_000_000].chunks(100_000) {
                if std::io::Write::write_all(&mut writer, piece).is_err() {
                    return;
                }
            }
        });
        writing.join().unwrap();
        assert_eq!(client.response().status, 413);
    }
    assert_eq!(backend.connections(), 0);
}

/// Its descriptor's number is soon another connection's.
#[test]
fn the_end_of_a_refused_connection_is_no_other_connections_end() {
    let backend = Backend::http(answers::closing(answers::text("ok")));
    let weir = in_front_of(&backend);
    for n in 0..300 {
        let mut refused = weir.client();
        assert_eq!(refused.ask("GET / HTTP/1.1\r\n\r\n").status, 400);
        drop(refused);
        assert_eq!(weir.client().get("/").text(), "ok", "request {n}");
    }
}

#[test]
fn a_refusal_stands_behind_the_answers_before_it() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(50), answers::echo()));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client
        .send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().field("X-Target"), Some("/1"));
    assert_eq!(client.response().field("X-Target"), Some("/2"));
    assert_eq!(client.response().status, 400);
    client.assert_closed();
}
