//! A certificate authority of the test's own, with a folder for what it issues.
//!
//! What it issues is as public authorities issue it, so that strict judges find nothing: version 3, key usages,
//! less than a year. The folder goes when the authority is dropped.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevocationReason, RevokedCertParams, SerialNumber, SigningKey,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What kind of key a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2,048 bits.
    Rsa,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate and that of its authority, PEM.
    pub cert: PathBuf,
    /// PKCS #8, PEM.
    pub key: PathBuf,
    /// SHA-256 of its public key, base64, as Chromium names it.
    pub pin: String,
    serial: SerialNumber,
}

/// DER of this tag.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = match body.len() {
        short @ ..0x80 => vec![short as u8],
        long => vec![0x82, (long >> 8) as u8, long as u8],
    };
    [&[tag], &length[..], &body].concat()
}

impl Issued {
    /// As an entry of `certificates`.
    pub fn entry(&self) -> String {
        format!("{{ {} }}", self.keys())
    }

    /// The same without its braces.
    pub fn keys(&self) -> String {
        format!("cert = \"{}\", key = \"{}\"", self.cert.display(), self.key.display())
    }

    /// The chain and its key, as rustls has them.
    fn load(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(&self.cert).unwrap().map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_file(&self.key).unwrap())
    }
}

/// Issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: PathBuf,
}

impl Authority {
    /// A new one that nobody trusts.
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weir-authority-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut params = params(&[], &format!("weir's test authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(dir.join("ca.pem"), &pem).unwrap();
        private(&dir.join("ca.key"), &key.serialize_pem());
        Self { issuer: Issuer::new(params, key), pem, dir }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its own certificate, PEM.
    pub fn cert(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Its own key, PEM.
    pub fn key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// A server's certificate for names and addresses, in `FILE.pem` and `FILE.key`.
    pub fn server(&self, file: &str, names: &[&str], kind: Key) -> Issued {
        self.sign(file, params(names, names[0]), kind, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// A client's certificate with a common name, in `FILE.pem` and `FILE.key`.
    pub fn client(&self, file: &str, name: &str) -> Issued {
        self.sign(file, params(&[], name), Key::Ecdsa, &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A certificate of servers and clients alike, whose subject is `CN=common,O=Example`, in files of its own.
    pub fn issue(&self, common: &str, names: &[&str]) -> Issued {
        self.issue_of(Key::Ecdsa, common, names)
    }

    /// The same, with a key of this kind.
    pub fn issue_of(&self, kind: Key, common: &str, names: &[&str]) -> Issued {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut params = params(names, common);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, common);
        let file = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&file, params, kind, &usages)
    }

    fn sign(
        &self,
        file: &str,
        mut params: CertificateParams,
        kind: Key,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Issued {
        static SERIAL: AtomicU64 = AtomicU64::new(0x5eed_0000_0000_0001);
        let key = KeyPair::generate_for(match kind {
            Key::Ecdsa => &PKCS_ECDSA_P256_SHA256,
            Key::Rsa => &PKCS_RSA_SHA256,
        })
        .unwrap();
        let serial = SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(serial.clone());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        let [cert, path] = ["pem", "key"].map(|ending| self.dir.join(format!("{file}.{ending}")));
        std::fs::write(&cert, leaf + &self.pem).unwrap();
        private(&path, &key.serialize_pem());
        let pin = data_encoding::BASE64
            .encode(&Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)));
        Issued { cert, key: path, pin, serial }
    }

    /// A response that `issued` is good, for the next week, in `FILE.ocsp` (RFC 6960 section 4.2.1). It has no
    /// signature that is one: `openssl ocsp` makes those.
    pub fn staple(&self, file: &str, issued: &Issued) -> PathBuf {
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        let name = X509Certificate::from_der(&own).unwrap().1.subject().as_raw().to_vec();
        let time = |at: SystemTime| {
            let mut params = CertificateParams::default();
            params.not_before = at.into();
            let at = params.not_before;
            let date = format!("{:04}{:02}{:02}000000Z", at.year(), u8::from(at.month()), at.day());
            der(0x18, &[date.as_bytes()])
        };
        let sha256 = der(0x30, &[&der(0x06, &[&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]])]);
        let serial = der(0x02, &[issued.serial.as_ref()]);
        let id =
            [&sha256[..], &der(0x04, &[&Sha256::digest(name)]), &der(0x04, &[&[7; 32]]), &serial].concat();
        let now = SystemTime::now();
        let (from, until) = (time(now - DAY), der(0xa0, &[&time(now + 7 * DAY)]));
        let answers = der(0x30, &[&der(0x30, &[&der(0x30, &[&id]), &[0x80, 0], &from, &until])]);
        let data = der(0x30, &[&der(0xa2, &[&der(0x04, &[&[7; 20]])]), &from, &answers]);
        let signed = der(0x30, &[&data, &sha256, &der(0x03, &[&[0, 1]])]);
        let kind = der(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
        let bytes = der(0x30, &[&kind, &der(0x04, &[&signed])]);
        let path = self.dir.join(format!("{file}.ocsp"));
        std::fs::write(&path, der(0x30, &[&[0x0a, 1, 0], &der(0xa0, &[&bytes])])).unwrap();
        path
    }

    /// A list of these as revoked, in `FILE.crl`, PEM.
    pub fn crl(&self, file: &str, revoked: &[&Issued]) -> PathBuf {
        let now = SystemTime::now();
        let list = CertificateRevocationListParams {
            this_update: (now - DAY).into(),
            next_update: (now + 30 * DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|issued| RevokedCertParams {
                    serial_number: issued.serial.clone(),
                    revocation_time: (now - DAY).into(),
                    reason_code: Some(RevocationReason::KeyCompromise),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.join(format!("{file}.crl"));
        std::fs::write(&path, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }
}

/// Both sides of rustls, as this authority would have them.
impl Authority {
    /// A client that believes it, and shows `own`.
    pub fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own.map(Issued::load) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }

    /// A server with a certificate for "localhost" and 127.0.0.1.
    pub fn server_config(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
        self.server_with(versions, Arc::new(NoClientAuth))
    }

    /// The same, which asks its clients for certificates.
    pub fn demanding(&self, verifier: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        self.server_with(ALL_VERSIONS, verifier)
    }

    fn server_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Arc<ServerConfig> {
        let (chain, key) = self.issue("backend", &["localhost", "127.0.0.1"]).load();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A file that only its owner reads.
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate from yesterday on for 90 days.
fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + 89 * DAY).into());
    params
}
