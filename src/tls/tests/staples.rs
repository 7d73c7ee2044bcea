//! What authorities say of certificates is stapled while it holds, and to the certificate that it is about.

use super::*;
use crate::sys::clock::unix_ms;
use crate::time::Utc;
use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::UnixTime;
use std::sync::Mutex;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Believes everybody, and keeps what is stapled.
#[derive(Debug, Default)]
struct Staples(Arc<Mutex<Vec<u8>>>);

impl ServerCertVerifier for Staples {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
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

fn time(unix_s: u64) -> Vec<u8> {
    let Utc { year, month, day, hour, minute, second } = Utc::of_unix_s(unix_s);
    der(0x18, &[format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes()])
}

const GOOD: &[u8] = &[0x80, 0];
const UNKNOWN: &[u8] = &[0x82, 0];

fn revoked() -> Vec<u8> {
    der(0xa1, &[&time(1_000_000_000)])
}

/// A response about `issued` (RFC 6960 section 4.2.1); nobody has signed it.
fn response(issued: &Issued, status: &[u8], from: u64, until: Option<u64>) -> Vec<u8> {
    let cert = issued.der();
    let (_, read) = X509Certificate::from_der(&cert).unwrap();
    let sha256 = der(0x30, &[&der(0x06, &[&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]])]);
    let issuer = digest(&SHA256, read.issuer().as_raw());
    let (name, key) = (der(0x04, &[issuer.as_ref()]), der(0x04, &[&[7; 32]]));
    let id = der(0x30, &[&sha256, &name, &key, &der(0x02, &[read.raw_serial()])]);
    let until = until.map_or_else(Vec::new, |until| der(0xa0, &[&time(until)]));
    let answers = der(0x30, &[&der(0x30, &[&id, status, &time(from), &until])]);
    let data = der(0x30, &[&der(0xa2, &[&der(0x04, &[&[7; 20]])]), &time(from), &answers]);
    let signed = der(0x30, &[&data, &sha256, &der(0x03, &[&[0, 1]])]);
    let kind = der(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = der(0x30, &[&kind, &der(0x04, &[&signed])]);
    der(0x30, &[&[0x0a, 1, 0], &der(0xa0, &[&bytes])])
}

fn now_unix_s() -> u64 {
    unix_ms() / 1_000
}

/// A listener whose certificate has this response.
fn stapled(folder: &Folder, entry: &str, response: &[u8]) -> Config {
    let path = folder.write("a.ocsp", response).display().to_string();
    listening(&format!("certificates = [{}]", entry.replace(" }", &format!(", ocsp = {path:?} }}"))))
}

/// What clients are handed.
fn handed(authority: &Authority, loaded: &Loaded) -> Vec<u8> {
    let staples = Staples::default();
    let seen = staples.0.clone();
    let mut client = client(authority);
    client.dangerous().set_certificate_verifier(Arc::new(staples));
    shake(&Arc::new(client), &server(loaded), "a.test").unwrap();
    seen.lock().unwrap().clone()
}

#[test]
fn what_holds_and_is_good_is_handed_on_and_all_else_is_a_warning() {
    const DAY: u64 = 86_400;
    let (folder, authority) = (Folder::new("staples"), Authority::new("root"));
    let issued = authority.issue(&["a.test"]);
    let entry = issued.put(&folder, "a");
    let now = now_unix_s();
    for (status, from, until, warning) in [
        (GOOD, now - DAY, Some(now + DAY), None),
        (GOOD, now - DAY, None, None),
        (GOOD, now - 9 * DAY, Some(now - DAY), Some("is out of date since")),
        (GOOD, now + DAY, Some(now + 9 * DAY), Some("only: it is not stapled until then")),
        (&revoked(), now - DAY, Some(now + DAY), Some("says that the certificate is revoked")),
        (UNKNOWN, now - DAY, Some(now + DAY), Some("knows nothing of the certificate")),
    ] {
        let response = response(&issued, status, from, until);
        let loaded = load(&stapled(&folder, &entry, &response));
        let said: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        match warning {
            None => assert_eq!((handed(&authority, &loaded), said.len()), (response, 0), "{said:?}"),
            Some(warning) => {
                assert!(handed(&authority, &loaded).is_empty(), "{warning}");
                let [said] = said.as_slice() else { panic!("{said:?}") };
                assert!(said.contains(warning) && said.contains("certificates[0].ocsp: "), "{said}");
            }
        }
        let days = loaded.certificates[0][0].staple_days_left(now as i64);
        assert_eq!(days, until.map(|until| (until as f64 - now as f64) / DAY as f64));
    }
}

#[test]
fn a_staple_that_grows_old_meanwhile_is_handed_on_no_more() {
    let (folder, authority) = (Folder::new("old"), Authority::new("root"));
    let issued = authority.issue(&["a.test"]);
    let until = now_unix_s() + 3;
    let response = response(&issued, GOOD, until - 100, Some(until));
    let loaded = load(&stapled(&folder, &issued.put(&folder, "a"), &response));
    assert_eq!(handed(&authority, &loaded), response);
    loop {
        let before = now_unix_s();
        if handed(&authority, &loaded).is_empty() {
            break;
        }
        assert!(before <= until, "it is over");
    }
    assert!(now_unix_s() >= until);
}

#[test]
fn a_response_about_another_certificate_and_one_in_pieces_are_faults() {
    let (folder, authority) = (Folder::new("others-staple"), Authority::new("root"));
    let issued = authority.issue(&["a.test"]);
    let entry = issued.put(&folder, "a");
    let now = now_unix_s();
    let about = |issued: &Issued| response(issued, GOOD, now - 9, Some(now + 99));
    // Another of the same authority, and one with the same number of another authority.
    let namesake = Authority::new("other").issue_with(&["a.test"], &PKCS_ECDSA_P256_SHA256, |params| {
        params.serial_number = Some(issued.serial.clone());
    });
    for other in [authority.issue(&["a.test"]), namesake] {
        let found = faults(&stapled(&folder, &entry, &about(&other)));
        assert!(found[0].wrong.contains("is about another certificate"), "{found:?}");
        assert_eq!(found[0].key, "listener[0].tls.certificates[0].ocsp");
    }
    let whole = about(&issued);
    assert!(Loader::new(Arc::default()).load(&stapled(&folder, &entry, &whole)).is_ok());
    for len in 0..whole.len() {
        let loaded = Loader::new(Arc::default()).load(&stapled(&folder, &entry, &whole[..len]));
        assert!(loaded.is_err(), "{len} of {} bytes", whole.len());
    }
}
