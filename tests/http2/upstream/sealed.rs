//! HTTP/2 to backends over TLS: what both sides agree on decides.

use super::backend::H2Backend;
use super::{h2_pool, pattern};
use crate::harness::{Authority, Weir, wait_until};
use http::Response;
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

/// A server's rules that agree on one of `alpn`.
fn agreeing(authority: &Authority, alpn: &[&str]) -> ServerConfig {
    let mut config = ServerConfig::clone(&authority.server_config(&[&TLS13, &TLS12]));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn weir(backend: &H2Backend, authority: &Authority) -> Weir {
    let tls = format!("[pool.app.tls]\nca = \"{}\"\nserver_name = \"localhost\"", authority.cert().display());
    Weir::start(&h2_pool(&[backend.address()], "", &tls))
}

#[test]
fn both_sides_agree_on_http_2_and_requests_say_https() {
    let authority = Authority::new();
    let backend = H2Backend::sealed(agreeing(&authority, &["http/1.1", "h2"]), |exchange| exchange.echo());
    let weir = weir(&backend, &authority);
    let mut client = weir.client();
    for len in [0, 1, 20_000, 60_000] {
        let body = pattern(len);
        let head = format!("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n");
        let answer = client.ask([head.as_bytes(), &body].concat());
        assert!(answer.status == 200 && answer.body == body, "{len} bytes");
        if answer.field("Connection") == Some("close") {
            client = weir.client();
        }
    }
    assert_eq!(backend.last().uri().to_string(), "https://h/x");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_backend_that_does_not_agree_is_a_failed_connect_with_its_cause_in_the_log() {
    let authority = Authority::new();
    for (alpn, said) in [
        (&["http/1.1"][..], "does not speak this version of HTTP over TLS (by ALPN)"),
        (&[], "does not offer HTTP/2 (h2 by ALPN)"),
    ] {
        let backend = H2Backend::sealed(agreeing(&authority, alpn), |exchange| {
            exchange.answer(Response::new(()), "never")
        });
        let weir = weir(&backend, &authority);
        let answer = weir.client().get("/");
        assert_eq!(answer.status, 502, "{alpn:?}");
        let said_to_client = answer.field("Proxy-Status").unwrap();
        assert!(said_to_client.contains("error=tls_protocol_error"), "{alpn:?}: {said_to_client}");
        wait_until("the log says why", || weir.stderr().contains(said));
        assert_eq!(backend.requests(), 0);
    }
}
