//! What a configuration's certificates and rules do in handshakes: rustls on both sides, in memory.

mod clients;
mod faults;
mod names;
mod reload;
mod staples;
mod tickets;

use super::proof::Proof;
use super::{Loaded, Loader, Tickets};
use crate::config::{self, Config};
use crate::time::Instant;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of a test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        // As who renews certificates should: another file takes the name.
        fs::write(path.with_extension("draft"), text).unwrap();
        fs::rename(path.with_extension("draft"), &path).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind it would do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whoever issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
struct Issued {
    cert: String,
    key: String,
    serial: rcgen::SerialNumber,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(Self::params(name), key).unwrap())
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// One that this one vouches for.
    fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(Self::params(name), key, &self.0).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    fn issue_with(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate_for(kind).unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "test");
        let serial = rcgen::SerialNumber::from(key.public_key_raw()[..8].to_vec());
        params.serial_number = Some(serial.clone());
        change(&mut params);
        let cert = params.signed_by(&key, &self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem(), serial }
    }

    /// An RSA key's.
    fn issue_rsa(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &PKCS_RSA_SHA256, |_| {})
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

impl Issued {
    /// In `folder`, as the inside of an entry of `certificates`.
    fn put(&self, folder: &Folder, name: &str) -> String {
        let cert = folder.write(&format!("{name}.pem"), &self.cert);
        let key = folder.write(&format!("{name}.key"), &self.key);
        format!("{{ cert = {:?}, key = {:?} }}", cert.display().to_string(), key.display().to_string())
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A configuration with one listener, whose `[listener.tls]` has these lines from line 5 on.
fn listening(tls: &str) -> Config {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n[listener.tls]\n{tls}\n\
         [[pool.app.backend]]\naddress = \"127.0.0.1:2\"\n"
    );
    config::parse(&text, "weir.toml").unwrap_or_else(|faults| panic!("{faults}")).config
}

/// A configuration whose pool has these lines in `[pool.app.tls]`.
fn pooled(tls: &str) -> Config {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n[pool.app.tls]\n{tls}\n\
         [[pool.app.backend]]\naddress = \"app.internal:2\"\n"
    );
    config::parse(&text, "weir.toml").unwrap_or_else(|faults| panic!("{faults}")).config
}

fn loader() -> Loader {
    Loader::new(Arc::new(Tickets::new(Instant::from_us(1))))
}

fn load(config: &Config) -> Loaded {
    loader().load(config).unwrap_or_else(|refused| panic!("{refused}"))
}

/// The one listener's rules.
fn server(loaded: &Loaded) -> Arc<ServerConfig> {
    loaded.sealing.listeners[0].clone().unwrap()
}

/// The one pool's rules.
fn upstream(loaded: &Loaded) -> Arc<ClientConfig> {
    loaded.sealing.pools[0].clone().unwrap()
}

/// A client that believes `authority`.
fn client(authority: &Authority) -> ClientConfig {
    client_of(authority, provider(), None)
}

fn client_of(authority: &Authority, provider: Arc<CryptoProvider>, own: Option<&Issued>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots());
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![own.der()], key).unwrap()
        }
    }
}

/// Two ends after their handshake.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

impl Pair {
    /// The certificate that the client got.
    fn shown(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0].clone().into_owned()
    }

    fn resumed(&self) -> bool {
        self.client.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }
}

/// A handshake in memory; whose error it was, if it failed.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Result<Pair, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut proof = Proof::default();
    // Some more turns for what comes after the handshake: tickets.
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        let judged = proof.during(|| server.process_new_packets());
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        judged?;
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Pair { client, server })
}

/// The faults of a configuration.
fn faults(config: &Config) -> Vec<config::Fault> {
    loader().load(config).map(|_| Vec::new()).unwrap_or_else(|refused| refused.0.0)
}

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
