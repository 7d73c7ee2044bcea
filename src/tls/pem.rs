//! What is in a file that a configuration names: certificates, a key, lists of revoked ones; or why it is of no use.
//!
//! Each fault stands where the configuration names the file, and says what to do. Here too: telling one writing of a
//! file from another. Not here: what the certificates say (`certificate`).

use crate::config::{Fault, NamedFile};
use crate::sys::file::{self, Stamp};
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::io;
use std::path::Path;

/// Bytes of a file with a certificate and those above it.
const CERTIFICATE_MAX: usize = 1 << 20;

/// Bytes of a file with one key.
const KEY_MAX: usize = 64 << 10;

/// Bytes of a file with authorities: those of all the web have a quarter of a mebibyte.
const AUTHORITIES_MAX: usize = 16 << 20;

/// Bytes of a file with lists of revoked certificates, which grow long.
const REVOKED_MAX: usize = 64 << 20;

/// Bytes of an answer of an authority about one certificate.
const STAPLE_MAX: usize = 16 << 10;

/// A DER file begins with a SEQUENCE, whose length has more than one byte; no text begins so.
const DER_SEQUENCE: [u8; 1] = [0x30];

/// What some editors begin a file with.
const UTF_8_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// The same of text in two bytes for each character, which nobody reads as PEM.
const UTF_16_LE: [u8; 2] = [0xFF, 0xFE];
const UTF_16_BE: [u8; 2] = [0xFE, 0xFF];

/// The certificates of a chain, the server's own first.
pub(super) fn chain(file: &NamedFile) -> Result<(Vec<CertificateDer<'static>>, Stamp), Fault> {
    certificates(file, CERTIFICATE_MAX)
}

/// The certificates of authorities.
pub(super) fn authorities(file: &NamedFile) -> Result<(Vec<CertificateDer<'static>>, Stamp), Fault> {
    certificates(file, AUTHORITIES_MAX)
}

fn certificates(file: &NamedFile, max: usize) -> Result<(Vec<CertificateDer<'static>>, Stamp), Fault> {
    let (bytes, stamp) = read(file, max)?;
    let found: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| broken(file, &error))?;
    if !found.is_empty() {
        return Ok((found, stamp));
    }
    let (what, remedy) = if is_pkcs12(&bytes) {
        from_pkcs12(&file.path, "-nokeys")
    } else if bytes.starts_with(&DER_SEQUENCE) {
        ("is DER, not PEM", in_pem(&file.path, "x509"))
    } else if contains(&bytes, b"PRIVATE KEY-----") {
        (
            "has a private key and no certificate",
            "name the certificate's file; are cert and key swapped?".into(),
        )
    } else {
        ("has no certificate", "name a file with -----BEGIN CERTIFICATE-----".into())
    };
    Err(file.written.fault(format!("{} {what}", shown(&file.path)), remedy))
}

/// A private key.
pub(super) fn key(file: &NamedFile) -> Result<(PrivateKeyDer<'static>, Stamp), Fault> {
    let (bytes, stamp) = read(file, KEY_MAX)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        // What is encrypted in the old way is inside a section that does not say so.
        Ok(key) if !contains(&bytes, b"Proc-Type: 4,ENCRYPTED") => return Ok((key, stamp)),
        Ok(_) | Err(Error::NoItemsFound) => {}
        Err(error) if !contains(&bytes, b"ENCRYPTED") => return Err(broken(file, &error)),
        Err(_) => {}
    }
    let path = file.path.display();
    let (what, remedy) = if contains(&bytes, b"ENCRYPTED") {
        (
            "has an encrypted key",
            format!("decrypt it: openssl pkey -in {path} -out {path}.plain; weir asks nobody"),
        )
    } else if is_pkcs12(&bytes) {
        from_pkcs12(&file.path, "-nocerts -nodes")
    } else if bytes.starts_with(&DER_SEQUENCE) {
        ("is DER, not PEM", in_pem(&file.path, "pkey"))
    } else if contains(&bytes, b"BEGIN CERTIFICATE-----") {
        ("has a certificate and no private key", "name the key's file; are cert and key swapped?".to_owned())
    } else {
        ("has no private key", "name a file with -----BEGIN PRIVATE KEY-----".to_owned())
    };
    Err(file.written.fault(format!("{} {what}", shown(&file.path)), remedy))
}

/// Lists of revoked certificates, PEM or one in DER.
pub(super) fn revoked(
    file: &NamedFile,
) -> Result<(Vec<CertificateRevocationListDer<'static>>, Stamp), Fault> {
    let (bytes, stamp) = read(file, REVOKED_MAX)?;
    if bytes.starts_with(&DER_SEQUENCE) {
        return Ok((vec![CertificateRevocationListDer::from(bytes)], stamp));
    }
    let found: Result<Vec<_>, Error> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| broken(file, &error))?;
    if found.is_empty() {
        let what = format!("{} has no list of revoked certificates", shown(&file.path));
        return Err(file.written.fault(what, "name a file with -----BEGIN X509 CRL-----"));
    }
    Ok((found, stamp))
}

/// What an authority says of one certificate.
pub(super) fn staple(file: &NamedFile) -> Result<(Vec<u8>, Stamp), Fault> {
    let (bytes, stamp) = read(file, STAPLE_MAX)?;
    // OCSPResponse: a SEQUENCE that begins with an ENUMERATED, 0 for "successful" (RFC 6960 §4.2.1).
    let body = match bytes.as_slice() {
        [0x30, 0x81, _, body @ ..] | [0x30, 0x82, _, _, body @ ..] => body,
        [0x30, length, body @ ..] if *length < 0x80 => body,
        _ => &[],
    };
    match body {
        [0x0a, 1, 0, ..] => Ok((bytes, stamp)),
        [0x0a, 1, status, ..] => {
            let what = format!("{} is an answer that says nothing (status {status})", shown(&file.path));
            Err(file.written.fault(what, "ask the authority again (openssl ocsp -respout), or remove it"))
        }
        _ => {
            let what = format!("{} is no OCSP response in DER", shown(&file.path));
            Err(file.written.fault(what, "write it by openssl ocsp -respout, or remove it"))
        }
    }
}

fn read(file: &NamedFile, max: usize) -> Result<(Vec<u8>, Stamp), Fault> {
    let (mut bytes, stamp) = file::read_stamped(&file.path, max).map_err(|error| unreadable(file, &error))?;
    if bytes.len() > max {
        let what = format!("{} has more than {max} bytes", shown(&file.path));
        return Err(file.written.fault(what, "name a smaller file"));
    }
    if bytes.starts_with(&UTF_16_LE) || bytes.starts_with(&UTF_16_BE) {
        let what = format!("{} is text in UTF-16", shown(&file.path));
        return Err(file.written.fault(what, "save it as plain text (ASCII or UTF-8)"));
    }
    // Behind it the first line would not be seen, and with it the first certificate.
    if bytes.starts_with(&UTF_8_MARK) {
        bytes.drain(..UTF_8_MARK.len());
    }
    Ok((bytes, stamp))
}

/// What is said of a file that cannot be read.
pub(super) fn unreadable(file: &NamedFile, cause: &io::Error) -> Fault {
    let what = format!("{} cannot be read: {cause}", shown(&file.path));
    let remedy = match cause.kind() {
        io::ErrorKind::PermissionDenied => "let weir's user read it, and enter the folders above it",
        io::ErrorKind::NotFound => "create it, readable to weir's user, or name the right one",
        _ => "name a file that weir's user can read",
    };
    file.written.fault(what, remedy)
}

fn broken(file: &NamedFile, error: &Error) -> Fault {
    let why = match error {
        Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", String::from_utf8_lossy(end_marker))
        }
        Error::IllegalSectionStart { line } => {
            format!("{} begins nothing", String::from_utf8_lossy(line).trim_end())
        }
        other => other.to_string(),
    };
    let what = format!("{} is not whole: {why}", shown(&file.path));
    file.written.fault(what, "copy it anew; each part ends with a line -----END …-----")
}

/// A path in quotes.
pub(super) fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// PFX: a SEQUENCE of the version 3 and what is in it (RFC 7292 section 4).
fn is_pkcs12(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x82, _, _, 2, 1, 3, ..])
}

fn from_pkcs12(path: &Path, what: &str) -> (&'static str, String) {
    let path = path.display();
    ("is PKCS #12, not PEM", format!("convert it: openssl pkcs12 -in {path} {what} -out {path}.pem"))
}

fn in_pem(path: &Path, command: &str) -> String {
    let path = path.display();
    format!("convert it: openssl {command} -inform der -in {path} -out {path}.pem")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}
