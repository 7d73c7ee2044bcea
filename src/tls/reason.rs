//! Why a handshake came to nothing, in words for an operator.
//!
//! rustls' own words are for who reads its code. What goes wrong in practice is told with the key that it hangs on:
//! certificates that have run out, that nobody known has issued, or that are somebody else's. Called by whoever logs
//! a failed handshake (`shard`, `upstream`), and by the probe of `control`.

use crate::metrics::Side;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

const DAY_S: u64 = 24 * 3600;

/// Names of a certificate that are told.
const NAMES_MAX: usize = 5;

/// What is wrong with a handshake with a peer on this side.
pub fn reason(error: &Error, side: Side) -> String {
    let peer = peer(side);
    match (error, side) {
        (Error::InvalidCertificate(cause), _) => certificate(cause, side),
        (Error::NoCertificatesPresented, _) => format!("{peer} shows no certificate"),
        (Error::InvalidMessage(_), _) => format!("{peer} does not speak TLS on this port"),
        (Error::AlertReceived(alert), Side::Backend) => refused_by_backend(*alert),
        (Error::AlertReceived(alert), Side::Client) => refused_by_client(*alert),
        (Error::PeerIncompatible(cause), _) => incompatible(cause, side),
        (Error::NoApplicationProtocol, Side::Client) => {
            "the client speaks nothing of what tls.alpn has".to_owned()
        }
        (other, _) => format!("{peer} breaks the rules of TLS: {other}"),
    }
}

fn peer(side: Side) -> &'static str {
    match side {
        Side::Client => "the client",
        Side::Backend => "the backend",
    }
}

/// What is wrong with the peer's certificate.
fn certificate(cause: &CertificateError, side: Side) -> String {
    let peer = peer(side);
    match cause {
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / DAY_S;
            format!("{peer}'s certificate has expired, {} ago", in_days(days))
        }
        CertificateError::Expired => format!("{peer}'s certificate has expired"),
        CertificateError::NotValidYetContext { time, not_before } => {
            let days = not_before.as_secs().saturating_sub(time.as_secs()) / DAY_S;
            let wait = in_days(days);
            format!("{peer}'s certificate is not valid yet, for {wait} (or this host's clock is wrong)")
        }
        CertificateError::NotValidYet => format!("{peer}'s certificate is not valid yet"),
        // The latter: an authority of the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => match side {
            Side::Client => format!("{peer}'s certificate is issued by nobody in tls.client_ca"),
            Side::Backend => {
                format!(
                    "{peer}'s certificate is issued by nobody in the pool's tls.ca (the system's, without one)"
                )
            }
        },
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names =
                presented.iter().take(NAMES_MAX).map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            let more = if presented.len() > NAMES_MAX { ", …" } else { "" };
            let whose = if names.is_empty() { "nobody".to_owned() } else { format!("{names}{more}") };
            format!("{peer}'s certificate is for {whose}, not for {} (tls.server_name)", expected.to_str())
        }
        CertificateError::NotValidForName => format!("{peer}'s certificate is for another name"),
        CertificateError::Revoked => format!("{peer}'s certificate has been revoked"),
        CertificateError::UnknownRevocationStatus => {
            format!("tls.client_crl has no list of the authority that issued {peer}'s certificate")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let role = match side {
                Side::Client => "clients",
                Side::Backend => "servers",
            };
            format!("{peer}'s certificate is not one for {role} (extended key usage)")
        }
        // webpki's own word, which rustls passes on as it is.
        other if other.to_string().contains("CaUsedAsEndEntity") => format!(
            "{peer}'s certificate is an authority's own (CA:TRUE), which is none to show; issue one with CA:FALSE"
        ),
        other => format!("{peer}'s certificate is not valid: {other}"),
    }
}

/// A name as it stands in the certificate: it comes as `DnsName("app.internal")`.
fn bare(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}

fn in_days(days: u64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}

/// What the two have not in common.
fn incompatible(cause: &PeerIncompatible, side: Side) -> String {
    match (cause, side) {
        (
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            _,
        ) => "the backend speaks neither TLS 1.2 nor 1.3".to_owned(),
        // A client of TLS 1.2 says which signatures it can check; older versions have no word for it.
        (PeerIncompatible::SignatureAlgorithmsExtensionRequired, Side::Client) => {
            "the client speaks neither TLS 1.2 nor 1.3".to_owned()
        }
        (
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
            Side::Client,
        ) => "the client speaks no version from tls.min_version on".to_owned(),
        (PeerIncompatible::NoCipherSuitesInCommon, _) => {
            format!("{} has no cipher suite in common with weir", peer(side))
        }
        (PeerIncompatible::NoKxGroupsInCommon, _) => {
            format!("{} has no key exchange in common with weir", peer(side))
        }
        (PeerIncompatible::NoSignatureSchemesInCommon, Side::Client) => {
            "the client cannot check a signature of any certificate that there is for its name".to_owned()
        }
        (other, _) => format!("{} lacks something: {other:?}", peer(side)),
    }
}

/// What a backend says by ending the handshake.
fn refused_by_backend(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::HandshakeFailure
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateUnknown => {
            format!(
                "the backend refuses the handshake ({alert:?}): it may want another client certificate (tls.cert)"
            )
        }
        AlertDescription::UnrecognisedName => {
            "the backend knows no certificate for the name that it was asked for (tls.server_name)".to_owned()
        }
        AlertDescription::NoApplicationProtocol => {
            "the backend does not speak this version of HTTP over TLS (by ALPN)".to_owned()
        }
        AlertDescription::ProtocolVersion => "the backend speaks neither TLS 1.2 nor 1.3".to_owned(),
        other => format!("the backend ends the handshake ({other:?})"),
    }
}

/// The same of a client.
fn refused_by_client(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked => {
            format!("the client does not believe the certificate that it got ({alert:?})")
        }
        other => format!("the client ends the handshake ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::InvalidMessage;

    #[test]
    fn what_goes_wrong_in_practice_is_told_without_words_of_the_librarys() {
        use PeerIncompatible::{NoCipherSuitesInCommon, SignatureAlgorithmsExtensionRequired};
        for (error, side, expected) in [
            (Error::NoCertificatesPresented, Side::Client, "the client shows no certificate"),
            (CertificateError::UnknownIssuer.into(), Side::Client, "nobody in tls.client_ca"),
            (CertificateError::UnknownIssuer.into(), Side::Backend, "nobody in the pool's tls.ca"),
            (CertificateError::UnknownRevocationStatus.into(), Side::Client, "tls.client_crl has no list"),
            (CertificateError::InvalidPurpose.into(), Side::Client, "not one for clients"),
            (CertificateError::InvalidPurpose.into(), Side::Backend, "not one for servers"),
            (SignatureAlgorithmsExtensionRequired.into(), Side::Client, "neither TLS 1.2 nor 1.3"),
            (NoCipherSuitesInCommon.into(), Side::Client, "no cipher suite in common"),
            (Error::NoApplicationProtocol, Side::Client, "nothing of what tls.alpn has"),
            (InvalidMessage::InvalidContentType.into(), Side::Backend, "does not speak TLS on this port"),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                Side::Client,
                "does not believe the certificate",
            ),
            (Error::AlertReceived(AlertDescription::UnknownCA), Side::Backend, "another client certificate"),
        ] {
            let told = reason(&error, side);
            assert!(told.contains(expected), "{error:?}: {told}");
        }
    }
}
