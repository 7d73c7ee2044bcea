//! A certificate with its private key, checked, and what is to be known of it.
//!
//! Here: whether key and chain belong together, the names, until when it holds. Not here: who gets it (`choice`).

use super::pem::{self, shown};
use super::staple::Staple;
use crate::config::{CertificateFiles, Fault};
use crate::sys::clock::unix_s;
use crate::sys::file::Stamp;
use crate::time::Utc;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Before this many days are left, whoever renews certificates should have done so.
const SOON_DAYS: i64 = 7;

/// What is known of a certificate that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its file.
    pub file: PathBuf,
    /// The names that it is for, as clients ask for them: hosts, "*.host", and addresses.
    pub names: Vec<String>,
    /// What its key is: "ECDSA P-256", "RSA 2048".
    pub key: String,
    /// From when it holds, in seconds since 1970.
    pub not_before_unix_s: i64,
    /// Until when it holds, in seconds since 1970.
    pub not_after_unix_s: i64,
    /// Until when its staple holds, in the same way; `None`: it has none, or one without an end.
    pub staple_until_unix_s: Option<i64>,
}

/// How long it is until then, in days; less than 0: it is over.
fn days_until(until_unix_s: i64, now_unix_s: i64) -> f64 {
    (until_unix_s - now_unix_s) as f64 / DAY as f64
}

impl CertificateFacts {
    /// How long it holds yet; less than 0: it does not any more.
    pub fn days_left(&self, now_unix_s: i64) -> f64 {
        days_until(self.not_after_unix_s, now_unix_s)
    }

    /// The same of its staple; `None`: it has none, or one without an end.
    pub fn staple_days_left(&self, now_unix_s: i64) -> Option<f64> {
        self.staple_until_unix_s.map(|until| days_until(until, now_unix_s))
    }

    /// What is wrong with its time, if anything is: such a certificate is served all the same.
    pub(super) fn untimely(&self, now_unix_s: i64) -> Option<(String, &'static str)> {
        let file = shown(&self.file);
        if now_unix_s > self.not_after_unix_s {
            let what =
                format!("{file} expired on {}: whoever is shown it refuses it", date(self.not_after_unix_s));
            return Some((what, "renew it, then reload"));
        }
        if now_unix_s < self.not_before_unix_s {
            let what = format!(
                "{file} holds from {} only: whoever is shown it refuses it",
                date(self.not_before_unix_s)
            );
            return Some((what, "wait for that, or look whether this host's clock is right"));
        }
        // A certificate for hours is renewed in its last ones.
        let life = self.not_after_unix_s - self.not_before_unix_s;
        let left = self.not_after_unix_s - now_unix_s;
        (left < SOON_DAYS * DAY && left < life / 4)
            .then(|| (format!("{file} expires on {}", date(self.not_after_unix_s)), "renew it, then reload"))
    }
}

/// A certificate, its key, and what its authority says of it.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) facts: Arc<CertificateFacts>,
    /// What its authority says of it.
    staple: Option<Staple>,
    /// A certificate of the chain that belongs to none before it.
    stray: Option<usize>,
}

impl Certificate {
    /// Reads the files; also what tells these from others at the same places.
    pub(super) fn read(
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<(Self, Vec<Stamp>), Fault> {
        let (chain, chain_stamp) = pem::chain(&files.cert)?;
        let (key, key_stamp) = pem::key(&files.key)?;
        let mut stamps = vec![chain_stamp, key_stamp];
        let key = provider.key_provider.load_private_key(key).map_err(|_| {
            let what = format!("{} has a key of a kind or size that weir cannot use", shown(&files.key.path));
            files
                .key
                .written
                .fault(what, "use an RSA key of 2048 bits or more, ECDSA P-256, P-384 or P-521, or Ed25519")
        })?;
        let parsed = parsed(files, &chain)?;
        let mut certified = CertifiedKey::new(chain.clone(), key);
        belongs(files, &certified, &parsed)?;
        let stray = order(files, &parsed)?;
        let mut staple = None;
        if let Some(file) = &files.ocsp {
            let (read, der, stamp) = Staple::read(file, &parsed[0])?;
            (staple, certified.ocsp) = (Some(read), Some(der));
            stamps.push(stamp);
        }
        let facts = Arc::new(facts(files, &parsed[0], staple.as_ref()));
        Ok((Self { certified: Arc::new(certified), facts, staple, stray }, stamps))
    }

    /// Whether they are the same; the key is, if the certificate is.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.certified.cert, &self.certified.ocsp) == (&other.certified.cert, &other.certified.ocsp)
    }

    /// What a client is shown at this time: without a staple that is of no use to it.
    pub(super) fn shown(&self) -> Arc<CertifiedKey> {
        match &self.staple {
            Some(staple) if !staple.holds(unix_s()) => {
                let CertifiedKey { cert, key, .. } = &*self.certified;
                Arc::new(CertifiedKey::new(cert.clone(), key.clone()))
            }
            _ => self.certified.clone(),
        }
    }

    /// What is allowed but probably not meant.
    pub(super) fn warnings(&self, files: &CertificateFiles, now_unix_s: i64) -> Vec<Fault> {
        let mut warnings = Vec::new();
        if let Some((what, remedy)) = self.facts.untimely(now_unix_s) {
            warnings.push(files.cert.written.fault(what, remedy));
        }
        if let (Some(staple), Some(file)) = (&self.staple, &files.ocsp) {
            warnings.extend(staple.warning(file, now_unix_s));
        }
        if let Some(place) = self.stray {
            let what = format!(
                "the {} certificate in {} has issued none before it",
                ordinal(place),
                shown(&files.cert.path)
            );
            warnings.push(files.cert.written.fault(what, "remove it: clients get it for nothing"));
        }
        warnings
    }

    /// The same of one that is shown to clients, who ask for whose it is.
    pub(super) fn nameless(&self, files: &CertificateFiles) -> Option<Fault> {
        self.facts.names.is_empty().then(|| {
            let what = format!("{} names no host, so no client takes it", shown(&files.cert.path));
            files.cert.written.fault(what, "get one with subject alternative names")
        })
    }
}

fn parsed<'a>(
    files: &CertificateFiles,
    chain: &'a [CertificateDer<'static>],
) -> Result<Vec<X509Certificate<'a>>, Fault> {
    let parse = |(place, der): (usize, &'a CertificateDer<'static>)| {
        X509Certificate::from_der(der).map(|(_, certificate)| certificate).map_err(|error| {
            let what =
                format!("the {} certificate in {} is none: {error}", ordinal(place), shown(&files.cert.path));
            files.cert.written.fault(what, "copy it anew, or have it issued again")
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

/// Whether the key is the first certificate's.
fn belongs(
    files: &CertificateFiles,
    certified: &CertifiedKey,
    chain: &[X509Certificate<'_>],
) -> Result<(), Fault> {
    let Some(public) = certified.key.public_key() else { return Ok(()) };
    let is_of = |certificate: &X509Certificate<'_>| certificate.public_key().raw == public.as_ref();
    match chain.iter().position(is_of) {
        Some(0) => Ok(()),
        Some(place) => {
            let what = format!(
                "{} has its certificates in the wrong order: the key's own is the {}",
                shown(&files.cert.path),
                ordinal(place)
            );
            Err(files.cert.written.fault(what, "put it first, then the one that issued it, and so on"))
        }
        None => {
            let what = format!("{} is not the key of {}", shown(&files.key.path), shown(&files.cert.path));
            let remedy = "name the key that the certificate was issued for; if it was just renewed, reload once \
                          both files are there";
            Err(files.key.written.fault(what, remedy))
        }
    }
}

/// Whether each certificate was issued by the next one. The first that has nothing to do with those before it.
fn order(files: &CertificateFiles, chain: &[X509Certificate<'_>]) -> Result<Option<usize>, Fault> {
    for (place, pair) in chain.windows(2).enumerate() {
        if pair[0].issuer().as_raw() == pair[1].subject().as_raw() {
            continue;
        }
        let issuer = |other: &X509Certificate<'_>| other.subject().as_raw() == pair[0].issuer().as_raw();
        // One that issued itself needs no other.
        let is_root = issuer(&pair[0]);
        return match chain.iter().skip(place + 2).position(issuer) {
            Some(at) if !is_root => {
                let what = format!(
                    "{} has its certificates in the wrong order: the {} was issued by the {}",
                    shown(&files.cert.path),
                    ordinal(place),
                    ordinal(place + 2 + at)
                );
                Err(files.cert.written.fault(what, "put each right before the one that issued it"))
            }
            _ => Ok(Some(place + 1)),
        };
    }
    Ok(None)
}

fn facts(
    files: &CertificateFiles,
    certificate: &X509Certificate<'_>,
    staple: Option<&Staple>,
) -> CertificateFacts {
    let validity = certificate.validity();
    CertificateFacts {
        file: files.cert.path.clone(),
        names: names(certificate),
        key: key_kind(certificate),
        not_before_unix_s: validity.not_before.timestamp(),
        not_after_unix_s: validity.not_after.timestamp(),
        staple_until_unix_s: staple.and_then(Staple::until_unix_s),
    }
}

/// The names that it is for. Where it has none of the kind that is meant for it, its common name, which browsers
/// do not look at any more, but others do.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let listed = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let mut names: Vec<String> = listed.filter_map(name).collect();
    if names.is_empty() {
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.filter(|name| name.contains('.')).map(str::to_ascii_lowercase));
    }
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn key_kind(certificate: &X509Certificate<'_>) -> String {
    let public = certificate.public_key();
    match public.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            // Whole bytes of a coordinate are counted, and this curve's are not whole.
            528 => "ECDSA P-521".to_owned(),
            bits => format!("ECDSA P-{bits}"),
        },
        _ => "Ed25519".to_owned(),
    }
}

/// "first", "second" and so on, from 0.
fn ordinal(place: usize) -> String {
    let words = ["first", "second", "third", "fourth"];
    words.get(place).map_or_else(|| format!("{}th", place + 1), |word| (*word).to_owned())
}

/// A day, as people write it.
pub(super) fn date(unix_s: i64) -> String {
    let utc = Utc::of_unix_s(unix_s.max(0).unsigned_abs());
    format!("{:04}-{:02}-{:02}", utc.year, utc.month, utc.day)
}
