//! Which fields pass, which do not, which are added: byte for byte as the backend or the client gets them.

use crate::harness::{Backend, Weir, answers};
use crate::in_front_of;

/// What weir adds for a client on loopback that asked for host `h`.
const ADDED: &str = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\
                     X-Real-IP: 127.0.0.1\r\nVia: 1.1 weir\r\n";

fn head_at_backend(weir: &Weir, backend: &Backend, fields: &str) -> String {
    let response = weir.client().ask(format!("GET /p HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(response.status, 200, "{fields:?}: {}", response.text());
    backend.last().text()
}

#[test]
fn names_keep_their_case_and_order_and_host_stays() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    let fields = "x-lower: 1\r\nHOST: h\r\nX-UPPER: 2\r\naCCept: */*\r\nx-lower: 3\r\nCookie: a=b; c=d\r\n\
                  Authorization: Basic x\r\nX-Empty:\r\nUser-Agent: t (x; y)\r\nX-Bytes: \u{e9}\u{1f600}\r\n";
    let expected = format!("GET /p HTTP/1.1\r\n{}{ADDED}\r\n", fields);
    let head = head_at_backend(&weir, &backend, fields);
    assert_eq!(head.replace("X-Empty: \r\n", "X-Empty:\r\n"), expected);
}

#[test]
fn hop_by_hop_fields_are_taken_out_with_those_that_they_name() {
    let backend = Backend::http(answers::text("ok"));
    let weir = in_front_of(&backend);
    for (fields, left) in [
        ("Host: h\r\nConnection: keep-alive\r\nX-A: 1\r\n", "Host: h\r\nX-A: 1\r\n"),
        (
            "Host: h\r\nConnection: X-Mine, x-yours\r\nX-Mine: 1\r\nX-Yours: 2\r\nX-A: 3\r\n",
            "Host: h\r\nX-A: 3\r\n",
        ),
        ("X-Mine: 1\r\nHost: h\r\nConnection: x-mine\r\nX-MINE: 2\r\n", "Host: h\r\n"),
        (
            "Host: h\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n",
            "Host: h\r\n",
        ),
        ("Host: h\r\nUpgrade: websocket\r\n", "Host: h\r\n"),
        // None of these may be named away.
        (
            "Host: h\r\nConnection: Host, Authorization, Cookie, X-Forwarded-For\r\nAuthorization: a\r\nCookie: b\r\n",
            "Host: h\r\nAuthorization: a\r\nCookie: b\r\n",
        ),
    ] {
        let head = head_at_backend(&weir, &backend, fields);
        assert_eq!(head, format!("GET /p HTTP/1.1\r\n{left}{ADDED}\r\n"), "{fields:?}");
    }
}

#[test]
fn a_nominated_length_still_frames_the_body() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let response = client
        .ask("POST / HTTP/1.1\r\nHost: h\r\nConnection: Content-Length\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(response.text(), "abc");
    assert_eq!(backend.last().fields.get("Content-Length"), Some("3"));
    let response = client.ask(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(response.text(), "abc");
}

#[test]
fn a_response_passes_byte_for_byte_but_for_what_is_of_the_hop() {
    for (backend_sent, to_client) in [
        (
            "HTTP/1.1 200 Very Well\r\nserver: s\r\nX-B: 2\r\nSET-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 Very Well\r\nserver: s\r\nX-B: 2\r\nSET-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=60\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        ),
        (
            "HTTP/1.1 599 \r\nProxy-Connection: keep-alive\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 599 \r\nContent-Length: 2\r\n\r\n",
        ),
    ] {
        let backend = Backend::http(answers::fixed(format!("{backend_sent}ok")));
        let weir = in_front_of(&backend);
        let response = weir.client().get("/");
        assert_eq!(String::from_utf8_lossy(&response.head), to_client);
        assert_eq!(response.text(), "ok");
    }
}
