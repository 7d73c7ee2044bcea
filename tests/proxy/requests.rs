//! Methods, and request bodies of every framing, as they arrive at the backend.

use crate::harness::{Backend, answers};
use crate::{in_front_of, pattern};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn every_method_arrives_as_it_was_sent() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "get"] {
        let response = client.ask(format!("{method} /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(response.field("X-Method"), Some(method));
        assert_eq!(response.field("X-Target"), Some("/a?b=c"), "{method}");
        assert_eq!(backend.last().line(), format!("{method} /a?b=c HTTP/1.1"));
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "REPORT", "GET"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        let response = client.ask(request);
        assert_eq!((response.field("X-Method"), response.text().as_str()), (Some(method), "hello"));
    }
    let response = client.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(response.field("X-Target"), Some("*"));
    assert_eq!(backend.connections(), 1, "one connection does for all");
}

#[test]
fn an_absolute_target_goes_on_in_origin_form_with_its_own_host() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.ask("GET http://real.example:81/p?q HTTP/1.1\r\nHost: other.example\r\n\r\n");
    let received = backend.last();
    assert_eq!(received.line(), "GET /p?q HTTP/1.1");
    assert_eq!(received.fields.all("Host").collect::<Vec<_>>(), ["real.example:81"]);
}

#[test]
fn a_body_of_known_length_arrives_whole() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for len in [0, 1, 1000, 16 << 10, (16 << 10) + 1, 100_000, 3_000_000] {
        let body = pattern(len);
        let mut request =
            format!("POST /{len} HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n").into_bytes();
        request.extend_from_slice(&body);
        let response = client.ask(request);
        assert_eq!(response.status, 200, "{len} bytes");
        assert!(backend.last().body.data == body, "{len} bytes arrive as they were");
        assert!(response.body == body, "{len} bytes come back as they were");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_chunked_body_arrives_chunked_with_trailers_and_without_extensions() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let body = "5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0\r\nX-Sum: 1\r\nX-Other: two words\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    let response = client.ask(format!("{head}{body}"));
    assert_eq!(response.text(), "hello world");
    let received = backend.last();
    assert_eq!(received.body.data, b"hello world");
    let without = body.replace(";name=\"v\"", "");
    assert_eq!(String::from_utf8_lossy(&received.body.raw), without);
    for cut in 1..body.len() {
        client.send(format!("{head}{}", &body[..cut]));
        sleep(Duration::from_millis(1));
        client.send(&body[cut..]);
        assert_eq!(client.response().text(), "hello world", "cut at {cut}");
        assert_eq!(String::from_utf8_lossy(&backend.last().body.raw), without, "cut at {cut}");
    }
    assert_eq!(received.body.trailers.get("X-Sum"), Some("1"));
    assert_eq!(received.body.trailers.get("X-Other"), Some("two words"));
    assert_eq!(received.fields.get("Transfer-Encoding"), Some("chunked"));
    assert_eq!(received.fields.get("Trailer"), Some("X-Sum"));
    assert_eq!(received.fields.get("Content-Length"), None);
    assert_eq!(client.get("/next").status, 200, "the connection goes on");
}

#[test]
fn a_large_chunked_body_arrives_whole() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let body = pattern(1_000_000);
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in body.chunks(77_777) {
        client.send(format!("{:X}\r\n", piece.len()));
        client.send(piece);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let response = client.response();
    assert!(response.body == body);
    assert!(backend.last().body.data == body);
    assert_eq!(client.get("/next").status, 200);
}

#[test]
fn an_http10_request_is_answered_and_the_connection_ends_unless_it_asks() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);

    let mut client = weir.client();
    let response = client.ask("GET /once HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("Connection"), Some("close"));
    client.assert_closed();

    let mut client = weir.client();
    for _ in 0..3 {
        let response = client.ask("GET /again HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(response.status, 200);
        assert_eq!(response.field("Connection"), Some("keep-alive"));
    }
    let response = client.ask("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(response.text(), "abc");
    let response = client.ask("GET /last HTTP/1.0\r\n\r\n");
    assert_eq!(response.field("Connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn a_request_that_says_close_is_the_last() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let response = client.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
    client.assert_closed();
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(backend.connections(), 1, "the client's close is not the backend's");
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send("\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab\r\n");
    assert_eq!(client.response().text(), "ab");
    assert_eq!(client.get("/next").status, 200);
    assert!(backend.last().head.starts_with(b"GET /next"));
}
