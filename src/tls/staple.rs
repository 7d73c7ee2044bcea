//! What an authority says of one certificate (an OCSP response, RFC 6960), read from a file and stapled to the
//! certificate while it holds.
//!
//! Here: whether it is about this certificate, what it says, from when and until when. Its signature is for clients,
//! who know whom to believe. A response that has grown old, or says anything but "good", is worse than none: clients
//! end the handshake for it. Not here: who gets a staple when (`choice`).

use super::certificate::date;
use super::pem::{self, shown};
use crate::config::{Fault, NamedFile};
use crate::sys::file::Stamp;
use aws_lc_rs::digest::{self, Algorithm};
use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag, oid};
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

/// What it says of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

/// A response about one certificate.
#[derive(Debug)]
pub(super) struct Staple {
    status: Status,
    from_unix_s: i64,
    /// `None`: there is always something newer to be had, says the authority.
    until_unix_s: Option<i64>,
}

impl Staple {
    /// Reads the response about `certificate`; also its bytes.
    pub(super) fn read(
        file: &NamedFile,
        certificate: &X509Certificate<'_>,
    ) -> Result<(Self, Vec<u8>, Stamp), Fault> {
        let (der, stamp) = pem::staple(file)?;
        let Some(answers) = answers(&der) else {
            let what = format!("{} cannot be read as an OCSP response", shown(&file.path));
            return Err(file
                .written
                .fault(what, "ask the authority again (openssl ocsp -respout), or remove it"));
        };
        let Some(answer) = answers.into_iter().find(|answer| answer.is_about(certificate)) else {
            let what = format!("{} is about another certificate", shown(&file.path));
            let remedy = "ask the authority about this one (openssl ocsp -respout), or remove it";
            return Err(file.written.fault(what, remedy));
        };
        let Answer { status, from_unix_s, until_unix_s, .. } = answer;
        Ok((Self { status, from_unix_s, until_unix_s }, der, stamp))
    }

    /// Whether it is of use to clients.
    pub(super) fn holds(&self, now_unix_s: i64) -> bool {
        self.status == Status::Good
            && now_unix_s >= self.from_unix_s
            && self.until_unix_s.is_none_or(|until| now_unix_s < until)
    }

    /// Until when it is stapled, if that has an end.
    pub(super) fn until_unix_s(&self) -> Option<i64> {
        self.until_unix_s
    }

    /// Why clients do not get it, if they do not.
    pub(super) fn warning(&self, file: &NamedFile, now_unix_s: i64) -> Option<Fault> {
        if self.holds(now_unix_s) {
            return None;
        }
        let name = shown(&file.path);
        let anew = "ask the authority anew (openssl ocsp -respout), then reload";
        let (what, remedy) = match (self.status, self.until_unix_s) {
            (Status::Revoked, _) => (
                format!("{name} says that the certificate is revoked: it is not stapled"),
                "get another certificate",
            ),
            (Status::Unknown, _) => {
                let what = format!(
                    "{name} says that its authority knows nothing of the certificate: it is not stapled"
                );
                (what, anew)
            }
            (Status::Good, Some(until)) if now_unix_s >= until => {
                (format!("{name} is out of date since {}: it is not stapled", date(until)), anew)
            }
            (Status::Good, _) => {
                let from = date(self.from_unix_s);
                let remedy = "wait for that, or look whether this host's clock is right";
                (format!("{name} holds from {from} only: it is not stapled until then"), remedy)
            }
        };
        Some(file.written.fault(what, remedy))
    }
}

/// One of a response's answers.
struct Answer<'a> {
    hash: Oid<'a>,
    issuer_name: &'a [u8],
    serial: &'a [u8],
    status: Status,
    from_unix_s: i64,
    until_unix_s: Option<i64>,
}

impl Answer<'_> {
    fn is_about(&self, certificate: &X509Certificate<'_>) -> bool {
        // Numbers are an authority's own, and two may have the same.
        let issuer = certificate.issuer().as_raw();
        let is_issuer =
            self.algorithm().is_none_or(|hash| digest::digest(hash, issuer).as_ref() == self.issuer_name);
        self.serial == certificate.raw_serial() && is_issuer
    }

    /// How the issuer's name is told; `None`: in no way that is known here.
    fn algorithm(&self) -> Option<&'static Algorithm> {
        let known = [
            (oid!(1.3.14.3.2.26), &digest::SHA1_FOR_LEGACY_USE_ONLY),
            (oid!(2.16.840.1.101.3.4.2.1), &digest::SHA256),
            (oid!(2.16.840.1.101.3.4.2.2), &digest::SHA384),
            (oid!(2.16.840.1.101.3.4.2.3), &digest::SHA512),
        ];
        known.into_iter().find(|(known, _)| *known == self.hash).map(|(_, algorithm)| algorithm)
    }
}

/// The parts of a SEQUENCE, or of something in its place, one after the other.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, part) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(part)
    }

    /// The next, which has this tag.
    fn tagged(&mut self, tag: Tag) -> Option<&'a [u8]> {
        self.next().filter(|part| part.class() == Class::Universal && part.tag() == tag).map(|part| part.data)
    }

    /// What is in the next, a SEQUENCE.
    fn sequence(&mut self) -> Option<Self> {
        self.tagged(Tag::Sequence).map(Self)
    }

    /// What is in the next if it is the optional one of this number.
    fn optional(&mut self, number: u32) -> Option<Self> {
        let (rest, part) = Any::from_der(self.0).ok()?;
        if part.class() != Class::ContextSpecific || part.tag().0 != number {
            return None;
        }
        self.0 = rest;
        Some(Self(part.data))
    }

    fn time_unix_s(&mut self) -> Option<i64> {
        let (rest, time) = ASN1Time::from_der(self.0).ok()?;
        self.0 = rest;
        Some(time.timestamp())
    }
}

/// The answers of a response that went well (RFC 6960 section 4.2.1).
fn answers(der: &[u8]) -> Option<Vec<Answer<'_>>> {
    let mut response = Parts(der).sequence()?;
    response.tagged(Tag::Enumerated)?;
    let mut bytes = response.optional(0)?.sequence()?;
    bytes.tagged(Tag::Oid)?;
    let mut signed = Parts(bytes.tagged(Tag::OctetString)?).sequence()?;
    let mut data = signed.sequence()?;
    // Version, by whom, and when.
    let _ = data.optional(0);
    data.next()?;
    data.time_unix_s()?;
    let mut listed = data.sequence()?;
    let mut answers = Vec::new();
    while !listed.0.is_empty() {
        answers.push(answer(listed.sequence()?)?);
    }
    Some(answers)
}

fn answer(mut parts: Parts<'_>) -> Option<Answer<'_>> {
    let mut id = parts.sequence()?;
    let hash = Oid::new(id.sequence()?.tagged(Tag::Oid)?.into());
    let issuer_name = id.tagged(Tag::OctetString)?;
    id.tagged(Tag::OctetString)?;
    let serial = id.tagged(Tag::Integer)?;
    let status = parts.next()?;
    let status = match (status.class(), status.tag().0) {
        (Class::ContextSpecific, 0) => Status::Good,
        (Class::ContextSpecific, 1) => Status::Revoked,
        (Class::ContextSpecific, 2) => Status::Unknown,
        _ => return None,
    };
    let from_unix_s = parts.time_unix_s()?;
    let until_unix_s = match parts.optional(0) {
        Some(mut until) => Some(until.time_unix_s()?),
        None => None,
    };
    Some(Answer { hash, issuer_name, serial, status, from_unix_s, until_unix_s })
}
