//! What passes to HTTP/2 backends and back: heads, bodies, trailers, interim responses, both ways at once.

use super::backend::{H2Backend, send};
use super::{h2_pool, in_front_of, pattern};
use crate::frames::{DATA, END_HEADERS, HEADERS, Raw, WINDOW_UPDATE, block, frame, post};
use crate::harness::{Client, Weir, wait_until};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use std::time::Duration;

#[test]
fn a_request_becomes_fields_and_the_answer_becomes_http_1_1() {
    let backend = H2Backend::new(|exchange| {
        let mut head = Response::new(());
        head.headers_mut().insert("x-from-backend", HeaderValue::from_static("Yes, It Is"));
        head.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        exchange.answer(head, "hello")
    });
    let weir = in_front_of(&backend);
    let answer = weir.client().ask(
        "GET /a/b?c=d HTTP/1.1\r\nHost: site.example:8080\r\nX-Some-Thing: One\r\nx-some-thing: two\r\n\
         Connection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(answer.field("Content-Length"), Some("5"));
    let names: Vec<_> = answer.fields.0.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"X-From-Backend"), "{names:?}");
    let request = backend.last();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.uri().to_string(), "http://site.example:8080/a/b?c=d");
    let values: Vec<_> = request.headers().get_all("x-some-thing").iter().collect();
    assert_eq!(values, ["One", "two"]);
    for gone in ["host", "connection", "x-mine", "keep-alive", "te", "transfer-encoding"] {
        assert!(!request.headers().contains_key(gone), "{gone}: {:?}", request.headers());
    }
    assert_eq!(request.headers()["x-forwarded-for"], "127.0.0.1");
}

#[test]
fn paths_and_hosts_that_no_uri_has_arrive_all_the_same() {
    let backend = H2Backend::text("ok");
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for (path, expected) in
        [("/a\"b", "/a%22b"), ("/<x>", "/%3Cx%3E"), ("/a|b^c", "/a|b^c"), ("/?q={1}", "/?q=%7B1%7D")]
    {
        assert_eq!(client.get(path).status, 200, "{path}");
        let seen = backend.last().uri().path_and_query().unwrap().to_string();
        assert!(seen == expected || seen == path, "{path}: {seen}");
    }
    assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    assert_eq!(backend.last().uri().path(), "*");
    let mut old = weir.client();
    assert_eq!(old.ask("GET /old HTTP/1.0\r\n\r\n").status, 200);
    assert_eq!(backend.last().uri().path(), "/old");
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let backend = H2Backend::new(|exchange| {
        let status: u16 = exchange.request.uri.path()[1..].parse().unwrap();
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap();
        if status == 200 {
            head.headers_mut().insert("content-length", HeaderValue::from_static("1234"));
        }
        let text = if exchange.request.method == "HEAD" || status != 201 { "" } else { "made" };
        exchange.answer(head, text)
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let head = client.ask("HEAD /200 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("1234")));
    for status in [204, 304, 404] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!((answer.status, answer.text().as_str()), (status, ""));
    }
    assert_eq!(client.get("/201").text(), "made");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn interim_answers_are_passed_on() {
    let backend = H2Backend::new(|mut exchange| async move {
        let mut early = Response::new(());
        *early.status_mut() = StatusCode::from_u16(103).unwrap();
        early.headers_mut().insert("link", HeaderValue::from_static("</style.css>"));
        exchange.respond.send_informational(early).unwrap();
        exchange.answer(Response::new(()), "late").await;
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let early = client.get("/");
    assert_eq!((early.status, early.field("Link")), (103, Some("</style.css>")));
    assert_eq!(client.response().text(), "late");
}

#[test]
fn bodies_of_every_length_and_framing_pass_both_ways() {
    let backend = H2Backend::echo();
    let weir = in_front_of(&backend);
    for len in [0, 1, 100, 16_384, 65_535, 65_536, 70_000, 1 << 20, 5 << 20] {
        let body = pattern(len);
        let mut client = weir.client();
        let mut request =
            format!("POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n").into_bytes();
        request.extend_from_slice(&body);
        let answer = ask_while_reading(&mut client, request);
        assert!(answer == body, "{len} bytes, with a length: {}", answer.len());
        let mut request = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in body.chunks(10_000) {
            request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let answer = ask_while_reading(&mut client, request);
        assert!(answer == body, "{len} bytes, in chunks: {}", answer.len());
    }
}

/// Sends on a thread of its own, since the answer comes before the request has been read.
fn ask_while_reading(client: &mut Client, request: Vec<u8>) -> Vec<u8> {
    let mut socket = client.wire.socket.try_clone().unwrap();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut socket, &request));
    let answer = client.response_to("POST");
    sending.join().unwrap().unwrap();
    if answer.field("Connection") == Some("close") {
        // It began before all of the request had been sent.
        *client = Client::connect(client_address(client));
    }
    answer.body
}

fn client_address(client: &Client) -> std::net::SocketAddr {
    match &client.wire.socket {
        crate::harness::Socket::Tcp(socket) => socket.peer_addr().unwrap(),
        crate::harness::Socket::Unix(_) => unreachable!("all clients here use TCP"),
    }
}

#[test]
fn trailers_pass_both_ways() {
    let backend = H2Backend::new(|mut exchange| async move {
        let (body, trailers) = exchange.read().await.unwrap();
        let mut stream = exchange.respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from(body), false).unwrap();
        let mut own = HeaderMap::new();
        own.insert("grpc-status", HeaderValue::from_static("0"));
        own.insert("x-got", trailers.unwrap()["x-sum"].clone());
        // No trailer may have this name.
        own.insert("set-cookie", HeaderValue::from_static("a=b"));
        stream.send_trailers(own).unwrap();
    });
    let weir = in_front_of(&backend);
    let answer = weir.client().ask(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
    let trailers = &answer.trailers;
    assert_eq!((trailers.get("Grpc-Status"), trailers.get("X-Got")), (Some("0"), Some("42")));
    assert_eq!(trailers.get("Set-Cookie"), None);
}

#[test]
fn grpc_is_asked_for_trailers_and_keeps_them_beside_a_length() {
    let backend = H2Backend::new(|mut exchange| async move {
        let mut head = Response::new(());
        head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        head.headers_mut().insert("content-length", HeaderValue::from_static("3"));
        let mut stream = exchange.respond.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("7"));
        stream.send_trailers(trailers).unwrap();
    });
    let weir = in_front_of(&backend);
    let answer = weir.client().ask(
        "POST /s/m HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc+proto\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(backend.last().headers()["te"], "trailers");
    assert_eq!((answer.text().as_str(), answer.trailers.get("Grpc-Status")), ("abc", Some("7")));
}

#[test]
fn both_directions_go_on_side_by_side_for_as_long_as_they_like() {
    let backend = H2Backend::echo();
    let weir = Weir::start(&h2_pool(
        &[backend.address()],
        "",
        "[pool.app.timeouts]\nresponse = \"1s\"\nbetween_bytes = \"10s\"",
    ));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for nth in 0..5 {
        let piece = format!("message {nth}");
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        if nth == 0 {
            let head = client.wire.head().unwrap().unwrap();
            assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        }
        let back = client.bytes(piece.len() + 5);
        assert_eq!(String::from_utf8_lossy(&back), format!("{:x}\r\n{piece}\r\n", piece.len()));
        // Longer than the response may take: it has begun.
        std::thread::sleep(Duration::from_millis(300));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.bytes(5), b"0\r\n\r\n");
}

#[test]
fn a_client_that_does_not_read_holds_up_its_own_stream_alone() {
    let backend = H2Backend::new(|mut exchange| async move {
        if exchange.request.uri.path() != "/large" {
            return exchange.answer(Response::new(()), "small").await;
        }
        let mut stream = exchange.respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..2_000 {
            if send(&mut stream, Bytes::from_static(&[7; 16_384])).await.is_err() {
                return;
            }
        }
        let _ = stream.send_data(Bytes::new(), true);
    });
    let weir = in_front_of(&backend);
    let before = weir.resident();
    let slow: Vec<_> = (0..60)
        .map(|_| {
            let mut client = weir.client();
            client.wire.socket.set_receive_buffer(4_096);
            client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    wait_until("all slow ones are at the backend", || backend.in_flight() == 60);
    let mut client = weir.client();
    for _ in 0..500 {
        assert_eq!(client.get("/small").text(), "small");
    }
    assert_eq!(backend.connections(), 1, "they share a connection");
    let grown = weir.resident().saturating_sub(before) >> 20;
    assert!(grown < 64, "{grown} MiB for 60 clients that do not read");
    drop(slow);
    wait_until("the backend is rid of them", || backend.in_flight() == 0);
}

#[test]
fn a_websocket_is_an_extended_connect_where_the_backend_takes_one() {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let backend = H2Backend::with(builder, |exchange| exchange.echo());
    let weir = in_front_of(&backend);
    let upgrade = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut client = weir.client();
    client.send(upgrade);
    let head = String::from_utf8(client.wire.head().unwrap().unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The example of RFC 6455 §1.3.
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let request = backend.last();
    assert_eq!((request.method().as_str(), request.uri().path()), ("CONNECT", "/chat"));
    assert!(!request.headers().contains_key("sec-websocket-key"));
    for nth in 0..3 {
        let message = format!("frame {nth}");
        client.send(&message);
        assert_eq!(client.bytes(message.len()), message.as_bytes());
    }
    client.end();
    assert!(client.rest().is_empty());

    let plain = H2Backend::text("no");
    let weir = in_front_of(&plain);
    assert_eq!(weir.client().ask(upgrade).status, 501);
    assert_eq!(plain.requests(), 0);
}

/// Bytes of one of gRPC's smallest messages, in a frame of its own.
const MESSAGE: &[u8] = b"1234567";

#[test]
fn small_messages_that_a_backend_does_not_read_cost_no_other_stream() {
    let backend = H2Backend::new(|exchange| async move {
        if exchange.request.uri.path() == "/hold" {
            return std::future::pending().await;
        }
        exchange.answer(Response::new(()), "ok").await;
    });
    let weir = in_front_of(&backend);
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.stream();
    raw.frame(HEADERS, END_HEADERS, stream, &block(&post("/hold")));
    // What the backend's window takes, and then what waits in weir, as far as its window goes.
    let send = |raw: &mut Raw, count| raw.send(&frame(DATA, 0, stream, MESSAGE).repeat(count));
    send(&mut raw, 9_000);
    let update = raw.next(|frame| frame.kind == WINDOW_UPDATE && frame.stream == stream).unwrap();
    let room = u32::from_be_bytes(update.payload[..4].try_into().unwrap()) as usize;
    send(&mut raw, room / MESSAGE.len());
    assert_eq!(raw.ask("/other").0, 200);
}

#[test]
fn small_messages_that_clients_do_not_read_cost_no_other_stream() {
    let backend = H2Backend::new(|mut exchange| async move {
        if exchange.request.uri.path() != "/many" {
            return exchange.answer(Response::new(()), "ok").await;
        }
        let mut stream = exchange.respond.send_response(Response::new(()), false).unwrap();
        (0..30_000).for_each(|_| stream.send_data(Bytes::from_static(MESSAGE), false).unwrap());
        std::future::pending().await
    });
    let weir = in_front_of(&backend);
    let mut raw = Raw::connect(weir.address("web"));
    raw.reads = false;
    raw.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
    for _ in 0..6 {
        let stream = raw.get("/many");
        let mut came = 0;
        while came < 65_000 {
            came += raw.next(|frame| frame.kind == DATA && frame.stream == stream).unwrap().payload.len();
        }
    }
    for _ in 0..10 {
        assert_eq!(raw.ask("/small").0, 200);
    }
    assert_eq!(backend.connections(), 1);
}
