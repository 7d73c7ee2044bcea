//! For how long a client has proven who it is: a session that is resumed is no new proof.
//!
//! rustls takes a client's certificate from its ticket without a look at it, and gives a new ticket with it, so that
//! whoever comes again in time would never have to show it once more, not even when it has expired. So each ticket
//! says until when the proof holds: as long as the certificate, and no longer than a ticket lives. What comes of a
//! resumed session says the same.
//!
//! rustls' verifier and ticketer are a listener's and do not know whose handshake they are asked in. Both are asked
//! within a step, on the step's thread: there they find that handshake's proof. Not here: what a ticket is bound to
//! (`tickets`), and who is believed (`trust`).

use super::tickets::TICKET_LIFE;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::cell::Cell;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

thread_local! {
    /// Of the handshake that takes a step; `None`: none does.
    static STEPPING: Cell<Option<Proof>> = const { Cell::new(None) };
}

/// Until when a client's proof holds, in seconds since 1970. One that has shown nothing has nothing that could end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof(u64);

impl Default for Proof {
    fn default() -> Self {
        Self(u64::MAX)
    }
}

impl Proof {
    /// Bytes that it takes in a ticket.
    pub(super) const LEN: usize = 8;

    /// Takes a step of this handshake.
    pub(super) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        STEPPING.set(Some(*self));
        let came_to = step();
        *self = STEPPING.take().unwrap_or(*self);
        came_to
    }

    /// Of the handshake that takes a step.
    pub(super) fn current() -> Self {
        STEPPING.get().unwrap_or_default()
    }

    /// It is that of the handshake that takes a step.
    pub(super) fn hold(self) {
        if STEPPING.get().is_some() {
            STEPPING.set(Some(self));
        }
    }

    /// Whether it holds at `now_unix_s`.
    pub(super) fn holds(self, now_unix_s: u64) -> bool {
        now_unix_s < self.0
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        self.0.to_be_bytes()
    }

    pub(super) fn of_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// By `certificate`, which was shown at `now_unix_s`.
    fn by(certificate: &CertificateDer<'_>, now_unix_s: u64) -> Self {
        // One that cannot be read was not believed.
        let expires = X509Certificate::from_der(certificate)
            .map_or(0, |(_, read)| u64::try_from(read.validity().not_after.timestamp()).unwrap_or(0));
        Self(expires.min(now_unix_s.saturating_add(TICKET_LIFE.as_us() / 1_000_000)))
    }
}

/// A verifier of clients that notes until when their proof holds.
#[derive(Debug)]
pub(super) struct Noting(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Noting {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now)?;
        Proof::by(end_entity, now.as_secs()).hold();
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }
}
