//! Why a session of TLS did not come about, in words for an operator.
//!
//! rustls' own words are for who reads its code. What goes wrong in practice is told with what to do about it:
//! certificates that have run out, that nobody known has issued, or that are somebody else's. Called by the probe.

use crate::health::ProbeFailure;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use std::io;

const DAY_S: u64 = 24 * 3600;

/// Names of a certificate that are told.
const NAMES_MAX: usize = 5;

/// Whether TLS is what has failed.
pub(super) fn is_of_tls(cause: &io::Error) -> bool {
    of_tls(cause).is_some()
}

fn of_tls(cause: &io::Error) -> Option<&Error> {
    cause.get_ref()?.downcast_ref::<Error>()
}

/// The failure of a check whose handshake, or session, failed like this.
pub(super) fn unsealed(cause: &io::Error) -> ProbeFailure {
    let Some(error) = of_tls(cause) else {
        return match cause.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => ProbeFailure::Reset,
            io::ErrorKind::UnexpectedEof => {
                ProbeFailure::Tls("the backend closed the connection during the handshake".to_owned())
            }
            _ => ProbeFailure::Tls(cause.to_string()),
        };
    };
    ProbeFailure::Tls(match error {
        Error::InvalidCertificate(cause) => certificate(cause),
        Error::InvalidMessage(_) => "the backend does not speak TLS on this port".to_owned(),
        Error::AlertReceived(alert) => refused(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the backend speaks neither TLS 1.2 nor 1.3".to_owned(),
        other => other.to_string(),
    })
}

/// What is wrong with the backend's certificate.
fn certificate(cause: &CertificateError) -> String {
    match cause {
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / DAY_S;
            format!("the backend's certificate has expired, {} ago", in_days(days))
        }
        CertificateError::Expired => "the backend's certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let days = not_before.as_secs().saturating_sub(time.as_secs()) / DAY_S;
            format!(
                "the backend's certificate is not valid yet, for {} (or this host's clock is wrong)",
                in_days(days)
            )
        }
        CertificateError::NotValidYet => "the backend's certificate is not valid yet".to_owned(),
        // The latter: an authority of the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the backend's certificate is issued by nobody in the pool's tls.ca (the system's, without one)"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names =
                presented.iter().take(NAMES_MAX).map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            let more = if presented.len() > NAMES_MAX { ", …" } else { "" };
            let whose = if names.is_empty() { "nobody".to_owned() } else { format!("{names}{more}") };
            format!(
                "the backend's certificate is for {whose}, not for {} (tls.server_name)",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => "the backend's certificate is for another name".to_owned(),
        CertificateError::Revoked => "the backend's certificate has been revoked".to_owned(),
        other => format!("the backend's certificate is not valid: {other}"),
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

/// What the backend says by ending the handshake.
fn refused(alert: AlertDescription) -> String {
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
