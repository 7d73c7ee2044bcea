//! Checks over TLS, against servers whose certificates are good, or each bad in a way of its own.

use super::super::rig::*;
use super::tests::run_over;
use super::tests_http2::{Reply, answer, grpc, impatient, says};
use super::*;
use crate::config::Check;
use crate::fleet::{Carrier, Sealed};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

const LONG: Micros = Micros::from_s(10);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names, changed by `change`.
fn issued(
    authority: &Authority,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

fn server(authority: &Authority, names: &[&str], alpn: &[&str]) -> ServerConfig {
    let (chain, key) = issued(authority, names, |_| ());
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// What a pool that believes `authority` has, for backends by this name.
fn carrier(authority: &Authority, name: &'static str, http2: bool) -> Carrier {
    let config = ClientConfig::builder().with_root_certificates(roots(authority)).with_no_client_auth();
    let server_name = ServerName::try_from(name).unwrap();
    Carrier { http2, tls: Some(Sealed { config: Arc::new(config), server_name }) }
}

/// What a server has seen.
#[derive(Default)]
struct Seen {
    /// The names that were asked for.
    names: Mutex<Vec<String>>,
    /// Requests over HTTP/2.
    requests: Mutex<Vec<(http::request::Parts, Vec<u8>)>>,
}

/// Serves by `config`: `reply` over HTTP/2, 200 over HTTP/1.1.
fn backend(config: ServerConfig, reply: Reply) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (acceptor, seen) = (TlsAcceptor::from(Arc::new(config)), Arc::new(Seen::default()));
    let notes = seen.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let connection = stream.get_ref().1;
                notes.names.lock().unwrap().extend(connection.server_name().map(str::to_owned));
                if connection.alpn_protocol() == Some(b"h2") {
                    let _ = answer(stream, &reply, &notes.requests).await;
                    continue;
                }
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
    });
    (address, seen)
}

fn http() -> Check {
    Check::Http(http_check())
}

/// Why a check by name of `app.internal` fails that believes `authority`.
fn why(authority: &Authority, check: &Check, address: SocketAddr) -> String {
    let carrier = carrier(authority, "app.internal", false);
    run_over(carrier, check, &tcp(address), LONG).expect_err("it passes").to_string()
}

#[test]
fn checks_go_over_tls_in_either_version_of_http_and_ask_for_the_pools_name() {
    let authority = authority();
    let both = ["h2", "http/1.1"];
    let (address, seen) =
        backend(server(&authority, &["app.internal"], &both), Reply { status: 200, ..says(&[8, 1]) });
    for (check, http2) in [(http(), false), (http(), true), (grpc(""), false)] {
        let carrier = carrier(&authority, "app.internal", http2);
        assert_eq!(run_over(carrier, &check, &tcp(address), LONG), Ok(()), "{check:?}, {http2}");
    }
    assert_eq!(*seen.names.lock().unwrap(), ["app.internal"; 3]);
    let requests = seen.requests.lock().unwrap();
    assert_eq!(requests[0].0.uri, "https://app.internal:81/up");
    assert_eq!(requests[1].0.uri, "https://app.internal:81/grpc.health.v1.Health/Check");
    // One without ALPN speaks HTTP/1.1, and that it accepts connections is not asked by a handshake.
    let (old, seen) = backend(server(&authority, &["app.internal"], &[]), Reply::default());
    assert_eq!(run_over(carrier(&authority, "app.internal", false), &http(), &tcp(old), LONG), Ok(()));
    assert_eq!(run_over(carrier(&authority, "app.internal", false), &Check::Tcp, &tcp(old), LONG), Ok(()));
    assert_eq!(*seen.names.lock().unwrap(), ["app.internal"]);
    let found = run_over(carrier(&authority, "app.internal", true), &http(), &tcp(old), LONG);
    let expected = "the backend does not offer HTTP/2 (h2 by ALPN)";
    assert_eq!(found, Err(ProbeFailure::Tls(expected.into())));
}

#[test]
fn a_certificate_that_is_not_believed_fails_the_check_and_the_reason_says_why() {
    let (known, unknown) = (authority(), authority());
    let by = |chain, key| ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let expired = issued(&known, &["app.internal"], |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    let early = issued(&known, &["app.internal"], |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    });
    for (case, config, said) in [
        ("run out", by(expired.0, expired.1), "TLS: the backend's certificate has expired, "),
        ("too early", by(early.0, early.1), "TLS: the backend's certificate is not valid yet, for "),
        (
            "of nobody known",
            server(&unknown, &["app.internal"], &[]),
            "TLS: the backend's certificate is issued by nobody in the pool's tls.ca",
        ),
        (
            "of another",
            server(&known, &["other.internal", "*.example.org"], &[]),
            "TLS: the backend's certificate is for other.internal, *.example.org, not for app.internal (tls.server_name)",
        ),
        (
            "no protocol in common",
            server(&known, &["app.internal"], &["h2"]),
            "TLS: the backend does not speak this version of HTTP over TLS (by ALPN)",
        ),
    ] {
        let (address, _) = backend(config, Reply::default());
        let found = why(&known, &http(), address);
        assert!(found.starts_with(said), "{case}: {found}");
    }
    assert_eq!(why(&known, &http(), impatient()), "TLS: the backend does not speak TLS on this port");
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let (limit, address) = (Micros::from_ms(50), hanging.local_addr().unwrap());
    let found = run_over(carrier(&known, "app.internal", false), &http(), &tcp(address), limit);
    assert_eq!(found, Err(ProbeFailure::Timeout(limit)));
}

#[test]
fn a_backend_that_wants_a_certificate_gets_the_pools() {
    let authority = authority();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(&authority))).build().unwrap();
    let (chain, key) = issued(&authority, &["app.internal"], |_| ());
    let config =
        ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    let (address, _) = backend(config, Reply::default());
    let found = why(&authority, &http(), address);
    assert!(found.contains("it may want another client certificate (tls.cert)"), "{found}");
    let (chain, key) = issued(&authority, &["weir"], |_| ());
    let own = ClientConfig::builder()
        .with_root_certificates(roots(&authority))
        .with_client_auth_cert(chain, key)
        .unwrap();
    let server_name = ServerName::try_from("app.internal").unwrap();
    let carrier = Carrier { http2: false, tls: Some(Sealed { config: Arc::new(own), server_name }) };
    assert_eq!(run_over(carrier, &http(), &tcp(address), LONG), Ok(()));
}

#[test]
fn each_check_shakes_hands_in_full_so_that_a_certificate_that_has_run_out_is_seen() {
    let authority = authority();
    let carrier = carrier(&authority, "app.internal", false);
    let (address, _) = backend(server(&authority, &["app.internal"], &[]), Reply::default());
    let written = crate::config::BackendAddress::Name("app.internal".into(), 81);
    let prepared = Prepared::new(&health(http()), &written, carrier).unwrap();
    let Prepared::Request(question) = &prepared else { panic!("{prepared:?}") };
    let rules = question.carrier.tls.as_ref().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            let stream = TcpStream::connect(address).await.unwrap();
            let connector = TlsConnector::from(rules.config.clone());
            let mut stream = connector.connect(rules.server_name.clone(), stream).await.unwrap();
            // A ticket comes with the answer.
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    });
}
