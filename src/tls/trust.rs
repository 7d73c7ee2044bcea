//! Who is believed: clients that show a certificate to a listener, backends that show theirs to weir.
//!
//! Here: authorities and lists of revoked certificates, read and made into rustls' verifiers, and the rules of a
//! pool's connections. Not here: a listener's own certificates (`certificate`, `choice`).

use super::certificate::Certificate;
use super::pem::{self, shown};
use super::proof::Noting;
use crate::config::{ClientAuth, Fault, ListenerTls, NamedFile, Pool, PoolTls};
use crate::sys::file::Stamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Authorities.
#[derive(Debug)]
pub(super) struct Authorities {
    roots: Arc<RootCertStore>,
    /// What tells them from others.
    digest: [u8; 32],
}

impl Authorities {
    /// Reads them.
    pub(super) fn read(file: &NamedFile) -> Result<(Self, Vec<Stamp>), Fault> {
        let (certificates, stamp) = pem::authorities(file)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| {
                let what = format!("{} has a certificate that is no authority's: {error}", shown(&file.path));
                file.written.fault(what, "leave authorities' certificates in it, and no others")
            })?;
        }
        let digest = digest(certificates.iter().map(AsRef::as_ref));
        Ok((Self { roots: Arc::new(roots), digest }, vec![stamp]))
    }

    /// The system's; what is wrong, if it has none.
    pub(super) fn of_system() -> Result<Self, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs.iter().cloned());
        if roots.is_empty() {
            let cause = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(format!("this host has no authorities of its own{cause}"));
        }
        Ok(Self { roots: Arc::new(roots), digest: digest(found.certs.iter().map(AsRef::as_ref)) })
    }

    /// Whether they are the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Lists of revoked certificates.
#[derive(Debug)]
pub(super) struct Revoked {
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// Until when the first of them to grow old holds, in seconds since 1970.
    next_update_unix_s: Option<i64>,
    digest: [u8; 32],
}

impl Revoked {
    /// Reads them.
    pub(super) fn read(file: &NamedFile) -> Result<(Self, Vec<Stamp>), Fault> {
        let (lists, stamp) = pem::revoked(file)?;
        let mut next_update_unix_s = None;
        for list in &lists {
            let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|error| {
                let what = format!("{} has a list that is none: {error}", shown(&file.path));
                file.written.fault(what, "fetch it anew from the authority")
            })?;
            if parsed.version().is_none() {
                // It has no room for whose list it is, and where it ends.
                let what = format!("{} has a list of version 1, which cannot be used", shown(&file.path));
                let remedy = "have one of version 2 made (RFC 5280): `openssl ca -gencrl` does so with \
                              crl_extensions in its configuration, of authorityKeyIdentifier = keyid";
                return Err(file.written.fault(what, remedy));
            }
            let next = parsed.next_update().map(|at| at.timestamp());
            next_update_unix_s = next_update_unix_s.into_iter().chain(next).min();
        }
        let digest = digest(lists.iter().map(AsRef::as_ref));
        Ok((Self { lists, next_update_unix_s, digest }, vec![stamp]))
    }

    /// Whether they are the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// That it is older than its authority wants it to be. It holds all the same: with an old list some who were
    /// revoked since get in, without one everybody or nobody does.
    pub(super) fn warning(&self, file: &NamedFile, now_unix_s: i64) -> Option<Fault> {
        self.next_update_unix_s.is_some_and(|next| next < now_unix_s).then(|| {
            let what = format!("{} is out of date: who was revoked since gets in", shown(&file.path));
            file.written.fault(what, "fetch it anew from the authority, then reload")
        })
    }
}

/// What is in a ticket, by a number: a process that takes over opens none of another form.
const TICKET_FORM: &[u8] = b"2";

/// What a ticket of a listener is bound to: it is of no use where clients are asked for something else, or other
/// authorities are believed, or others are revoked.
pub(super) fn binding(
    auth: ClientAuth,
    authorities: Option<&Authorities>,
    revoked: Option<&Revoked>,
) -> [u8; 32] {
    let parts = [authorities.map(|them| them.digest), revoked.map(|them| them.digest)];
    // Zeros stand for none: no digest is so.
    let parts = parts.map(Option::unwrap_or_default);
    digest([TICKET_FORM, auth.word().as_bytes(), &parts[0], &parts[1]].into_iter())
}

/// Each part by its length, so that no two lists of parts look the same.
fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Who checks the clients of a listener; `None`: they are not asked.
pub(super) fn clients(
    tls: &ListenerTls,
    authorities: Option<&Authorities>,
    revoked: Option<&Revoked>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Fault> {
    let (Some(authorities), Some(file), false) =
        (authorities, &tls.client_ca, tls.client_auth == ClientAuth::Off)
    else {
        return Ok(None);
    };
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider.clone());
    if let Some(revoked) = revoked {
        builder = builder.with_crls(revoked.lists.iter().cloned());
    }
    if tls.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    let named = if revoked.is_some() { tls.client_crl.as_ref().unwrap_or(file) } else { file };
    let built = builder.build().map_err(|error| {
        let what = format!("clients cannot be checked by {}: {error}", shown(&named.path));
        named.written.fault(what, "name authorities' certificates, and lists that they have signed")
    })?;
    Ok(Some(Arc::new(Noting(built))))
}

/// The rules of a pool's connections. Each backend gets a copy with sessions of its own.
pub(super) fn backends(
    pool: &Pool,
    tls: &PoolTls,
    authorities: Option<&Authorities>,
    certificate: Option<&Certificate>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, Fault> {
    let wrong = |error: &dyn std::fmt::Display| {
        tls.written.fault(format!("the pool's TLS cannot be set up: {error}"), "look at what its keys name")
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match authorities {
        Some(authorities) => {
            WebPkiServerVerifier::builder_with_provider(authorities.roots.clone(), provider.clone())
                .build()
                .map_err(|error| wrong(&error))?
        }
        None => Arc::new(Anybody(provider.clone())),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some(own) => {
            let own: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(own.certified.clone()));
            builder.with_client_cert_resolver(own)
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![pool.upstream.protocol.alpn().as_bytes().to_vec()];
    Ok(config)
}

/// Believes whoever answers, where the operator has said so (`verify = false`). That who answers has the key of the
/// certificate that it shows is checked even then.
#[derive(Debug)]
pub(super) struct Anybody(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
