//! Checks over HTTP/2 and by gRPC's health protocol, against servers of the `h2` library on loopback.

use super::super::rig::*;
use super::tests::run_over;
use super::*;
use crate::config::{Check, GrpcCheck, GrpcStatus, HttpCheck};
use crate::fleet::Carrier;
use http::HeaderName;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

const LONG: Micros = Micros::from_s(10);

/// What a server answers.
#[derive(Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(&'static str, &'static str)>,
    /// It resets the stream instead.
    pub(super) resets: bool,
}

/// A request and its body.
type Seen = (http::request::Parts, Vec<u8>);

/// A server that speaks HTTP/2 with prior knowledge.
pub(super) struct Http2Backend {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<Mutex<Vec<Seen>>>,
}

impl Http2Backend {
    pub(super) fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    // What a check does not wait for fails here.
                    let _ = answer(stream, &reply, &seen).await;
                }
            });
        });
        Self { address, requests }
    }
}

/// Serves one connection.
pub(super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: &Reply,
    seen: &Mutex<Vec<(http::request::Parts, Vec<u8>)>>,
) -> Result<(), h2::Error> {
    let fields = |list: &[(&'static str, &'static str)]| -> HeaderMap {
        list.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    };
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(asked) = connection.accept().await {
        let (request, mut respond) = asked?;
        let (head, mut body) = request.into_parts();
        let mut read = Vec::new();
        while let Some(data) = std::future::poll_fn(|cx| {
            let _ = connection.poll_closed(cx);
            body.poll_data(cx)
        })
        .await
        {
            read.extend_from_slice(&data?);
        }
        seen.lock().unwrap().push((head, read));
        if reply.resets {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        let mut response = Response::builder().status(reply.status).body(()).unwrap();
        *response.headers_mut() = fields(&reply.fields);
        let ends = reply.body.is_empty() && reply.trailers.is_empty();
        let mut sending = respond.send_response(response, ends)?;
        if !reply.body.is_empty() {
            sending.send_data(reply.body.clone().into(), reply.trailers.is_empty())?;
        }
        if !reply.trailers.is_empty() {
            sending.send_trailers(fields(&reply.trailers))?;
        }
    }
    Ok(())
}

/// A server of HTTP/1.1 that takes whatever comes for a bad request.
pub(super) fn impatient() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
            // All of it: a close before that would reset the connection, and take the answer away.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

pub(super) fn grpc(service: &str) -> Check {
    Check::Grpc(GrpcCheck { service: service.to_owned(), host: None, headers: Vec::new() })
}

/// A gRPC server's whole answer with this message.
pub(super) fn says(message: &[u8]) -> Reply {
    let body = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    let (fields, trailers) = (vec![("content-type", "application/grpc")], vec![("grpc-status", "0")]);
    Reply { status: 200, fields, body, trailers, resets: false }
}

#[test]
fn a_grpc_check_passes_only_on_a_server_that_says_that_it_serves() {
    let no_method = vec![
        ("content-type", "application/grpc"),
        ("grpc-status", "12"),
        ("grpc-message", "Method%20not%20found"),
    ];
    let failed = |status, message: &str| Err(ProbeFailure::Grpc { status, message: message.into() });
    let not_grpc = |what: &str| Err(ProbeFailure::NotGrpc(what.into()));
    let html = vec![("content-type", "text/html")];
    for (case, reply, expected) in [
        ("serving", says(&[8, 1]), Ok(())),
        ("not serving", says(&[8, 2]), Err(ProbeFailure::NotServing("NOT_SERVING"))),
        ("no state", says(&[]), Err(ProbeFailure::NotServing("UNKNOWN"))),
        (
            "no health service, in trailers alone",
            Reply { status: 200, fields: no_method, ..Reply::default() },
            failed(GrpcStatus::Unimplemented, "Method not found"),
        ),
        (
            "a status behind the message",
            Reply { trailers: vec![("grpc-status", "14"), ("grpc-message", "busy")], ..says(&[8, 1]) },
            failed(GrpcStatus::Unavailable, "busy"),
        ),
        (
            "no status",
            Reply { trailers: vec![], ..says(&[8, 1]) },
            not_grpc("it ended without a grpc-status"),
        ),
        (
            "a web server",
            Reply { status: 404, fields: html, ..Reply::default() },
            not_grpc("status 404, content-type text/html"),
        ),
        (
            "far too much",
            Reply { body: vec![0; GRPC_ANSWER_MAX + 1], ..says(&[]) },
            not_grpc("more than 4096 bytes"),
        ),
    ] {
        let backend = Http2Backend::start(reply);
        let found = run_over(Carrier::default(), &grpc(""), &tcp(backend.address), LONG);
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_grpc_check_asks_what_the_protocol_says() {
    let backend = Http2Backend::start(says(&[8, 1]));
    let check = GrpcCheck {
        service: "shop.v1.Cart".into(),
        host: Some("shop.internal".into()),
        headers: vec![("authorization".into(), "Bearer t".into())],
    };
    for check in [grpc(""), Check::Grpc(check)] {
        assert_eq!(run_over(Carrier::default(), &check, &tcp(backend.address), LONG), Ok(()));
    }
    let requests = backend.requests.lock().unwrap();
    let [(plain, nothing), (full, named)] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(nothing, &[0, 0, 0, 0, 0]);
    assert_eq!(named[5..], [b"\x0a\x0c".as_slice(), b"shop.v1.Cart"].concat());
    assert_eq!(plain.uri, "http://app.internal:81/grpc.health.v1.Health/Check");
    assert_eq!(full.uri, "http://shop.internal/grpc.health.v1.Health/Check");
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "weir-health"),
        ("grpc-timeout", "10000m"),
    ] {
        assert_eq!(plain.headers.get(name).unwrap(), value, "{name}");
    }
    assert_eq!(full.headers.get("authorization").unwrap(), "Bearer t");
    assert_eq!((&plain.method, plain.headers.get("host")), (&http::Method::POST, None));
}

#[test]
fn an_http_check_over_http2_asks_and_judges_as_over_http1() {
    let http2 = Carrier { http2: true, tls: None };
    let ok = Reply { status: 204, ..Reply::default() };
    let backend = Http2Backend::start(ok.clone());
    let check = HttpCheck { path: "/up?deep=1".into(), method: "OPTIONS".into(), ..http_check() };
    assert_eq!(run_over(http2.clone(), &Check::Http(check), &tcp(backend.address), LONG), Ok(()));
    let (asked, body) = backend.requests.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.method.as_str(), asked.uri.to_string()),
        ("OPTIONS", "http://app.internal:81/up?deep=1".into())
    );
    assert!(!asked.headers.contains_key("connection") && !asked.headers.contains_key("host"));
    assert!(body.is_empty());
    let contains = HttpCheck { body_contains: Some("well".into()), ..http_check() };
    let status = Err(ProbeFailure::Status { status: 503, expected: "200-299".into() });
    for (case, check, reply, expected) in [
        ("another status", http_check(), Reply { status: 503, ..ok.clone() }, status),
        ("body", contains.clone(), Reply { status: 200, body: b"all is well".into(), ..ok.clone() }, Ok(())),
        (
            "another body",
            contains,
            Reply { status: 200, body: b"no".into(), ..ok.clone() },
            Err(ProbeFailure::BodyMismatch("well".into())),
        ),
    ] {
        let backend = Http2Backend::start(reply);
        let found = run_over(http2.clone(), &Check::Http(check), &tcp(backend.address), LONG);
        assert_eq!(found, expected, "{case}");
    }
    let backend = Http2Backend::start(Reply { resets: true, ..ok });
    let found = run_over(http2, &Check::Http(http_check()), &tcp(backend.address), LONG).unwrap_err();
    assert!(found.to_string().contains("refused stream"), "{found}");
}

#[test]
fn a_server_that_does_not_speak_http2_fails_and_the_reason_says_so() {
    let address = impatient();
    let hanging = FakeBackend::start(Answer::Hang);
    for check in [grpc(""), Check::Http(http_check())] {
        let http2 = || Carrier { http2: true, tls: None };
        let found = run_over(http2(), &check, &tcp(address), LONG).unwrap_err();
        assert!(found.to_string().contains("not HTTP/2"), "{found}");
        let limit = Micros::from_ms(50);
        assert_eq!(
            run_over(http2(), &check, &tcp(hanging.address), limit),
            Err(ProbeFailure::Timeout(limit))
        );
        assert_eq!(run_over(http2(), &check, &tcp(closed_port()), LONG), Err(ProbeFailure::ConnectRefused));
    }
}
