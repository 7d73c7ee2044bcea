//! Backends with TLS.

use crate::harness::{Authority, Backend, Then, Weir, answers, wait_until};
use crate::{pattern, seal};
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

/// weir in front of a backend at `port` that has TLS; `tls` are lines of `[pool.app.tls]`.
fn weir(port: u16, tls: &str) -> Weir {
    Weir::start(&format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         [pool.app]\n[pool.app.retry]\nattempts = 0\n[pool.app.tls]\n{tls}\n\
         [[pool.app.backend]]\nname = \"0\"\naddress = \"127.0.0.1:{port}\"\n"
    ))
}

fn believing(authority: &Authority) -> String {
    format!("ca = \"{}\"\nserver_name = \"localhost\"", authority.cert().display())
}

#[test]
fn requests_go_to_backends_sealed_and_connections_are_kept() {
    let authority = Authority::new();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let backend = Backend::http(answers::echo());
        let weir =
            weir(seal::in_front_of(&backend, &authority.server_config(versions)), &believing(&authority));
        let mut client = weir.client();
        for len in [0, 1, 16_384, 100_000, 2_000_000] {
            let body = pattern(len);
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n");
            let response = client.ask([head.as_bytes(), &body].concat());
            assert!(response.status == 200 && response.body == body, "{len} bytes, {versions:?}");
        }
        assert_eq!(backend.connections(), 1, "it is kept");
        weir.wait_metric("weir_tls_handshakes_total", &[("side", "backend"), ("outcome", "full")], 1.0);
    }
}

#[test]
fn the_next_connection_resumes_the_session() {
    let authority = Authority::new();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let backend = Backend::http(answers::closing(answers::text("again")));
        let weir =
            weir(seal::in_front_of(&backend, &authority.server_config(versions)), &believing(&authority));
        let mut client = weir.client();
        for _ in 0..4 {
            assert_eq!(client.get("/").status, 200);
        }
        weir.wait_metric("weir_tls_handshakes_total", &[("side", "backend"), ("outcome", "full")], 1.0);
        weir.wait_metric("weir_tls_handshakes_total", &[("side", "backend"), ("outcome", "resumed")], 3.0);
    }
}

#[test]
fn a_backend_that_does_not_prove_who_it_is_gets_no_request() {
    let (authority, others) = (Authority::new(), Authority::new());
    let backend = Backend::http(answers::text("secret"));
    let port = seal::in_front_of(&backend, &authority.server_config(&[&TLS13]));
    let wrong_name = format!("ca = \"{}\"\nserver_name = \"elsewhere.example\"", authority.cert().display());
    for (case, tls, word) in [
        ("another authority", believing(&others), "is issued by nobody"),
        ("another name", wrong_name, "not for elsewhere.example"),
    ] {
        let weir = weir(port, &tls);
        let mut client = weir.client();
        let response = client.get("/");
        assert_eq!(response.status, 502, "{case}");
        let said = response.field("Proxy-Status").unwrap();
        assert!(
            said.contains("tls_protocol_error") && said.contains("upstream_failed/tls"),
            "{case}: {said}"
        );
        let failed = [("pool", "app"), ("backend", "0"), ("cause", "tls")];
        weir.wait_metric("weir_upstream_failures_total", &failed, 1.0);
        weir.wait_metric(
            "weir_tls_handshakes_total",
            &[("side", "backend"), ("outcome", "certificate")],
            1.0,
        );
        assert!(weir.stderr().contains(word), "{case}: {}", weir.stderr());
    }
    assert_eq!(backend.requests(), 0);
    let lax = weir(port, "verify = false");
    assert_eq!(lax.client().get("/").status, 200);
}

#[test]
fn a_backend_without_tls_is_a_failed_handshake_within_the_connect_timeout() {
    let authority = Authority::new();
    let plain = Backend::raw(|mut wire, _| {
        if wire.bytes(1).is_ok() {
            let _ = wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let with_tls = weir(plain.port(), &believing(&authority));
    let mut client = with_tls.client();
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("upstream_failed/tls"), "{}", answer.text());
    }
    let log = with_tls.stderr();
    assert!(log.contains("does not speak TLS on this port") && !log.contains("panicked"), "{log}");
    // One that says nothing at all.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let tls = format!("{}\n[pool.app.timeouts]\nconnect = \"200ms\"", believing(&authority));
    let weir = weir(port, &tls);
    assert_eq!(weir.client().get("/").status, 504);
    weir.wait_metric("weir_tls_handshakes_total", &[("side", "backend"), ("outcome", "timeout")], 1.0);
}

#[test]
fn the_name_that_is_asked_for_and_our_own_certificate_reach_the_backend() {
    let authority = Authority::new();
    let own = authority.issue("weir", &[]);
    let verifier = {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.cert()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap()
    };
    let server = authority.demanding(verifier);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(server).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        (tls.server_name().map(str::to_owned), tls.peer_certificates().map(<[_]>::len))
    });
    let weir = weir(port, &format!("{}\n{}", believing(&authority), own.keys().replace(", ", "\n")));
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(seen.join().unwrap(), (Some("localhost".to_owned()), Some(2)));
}

#[test]
fn an_answer_until_the_end_is_whole_only_if_the_backend_said_so() {
    let authority = Authority::new();
    let server = authority.server_config(&[&TLS13]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for says_so in [true, false] {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(server.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).unwrap() > 0);
            // More than is held until it is whole.
            let answer = [&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &pattern(1_000_000)].concat();
            stream.write_all(&answer).unwrap();
            if says_so {
                tls.send_close_notify();
                while tls.wants_write() {
                    tls.write_tls(&mut tcp).unwrap();
                }
            }
            tcp.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = tcp.read_to_end(&mut Vec::new());
        }
    });
    let weir = weir(port, &believing(&authority));
    let whole = weir.client().get("/");
    assert!(whole.status == 200 && whole.body == pattern(1_000_000));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let cut = client.wire.response("GET");
    assert!(cut.is_err(), "what was cut off looks whole");
    let failed = [("pool", "app"), ("backend", "0"), ("cause", "truncated")];
    weir.wait_metric("weir_upstream_failures_total", &failed, 1.0);
}

#[test]
fn a_kept_connection_that_the_backend_ends_by_its_word_is_not_used_again() {
    let authority = Authority::new();
    let backend = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::Close)
    }));
    let weir = weir(seal::in_front_of(&backend, &authority.server_config(&[&TLS13])), &believing(&authority));
    let mut client = weir.client();
    for round in 1..=5 {
        let response = client.get("/");
        assert!(response.status == 200 && response.body == b"ok", "round {round}");
    }
    wait_until("all have been closed", || backend.open() == 0);
}
