//! A handshake, as a server or as a client: from a socket to a [`Sealed`] connection, or why there is none.
//!
//! rustls does it all; `steps.rs` drives it. When it is over rustls hands the keys over, and what it kept for the
//! handshake is freed. Called by `shard` for clients and by `upstream` for backends.

use super::layer::Sealed;
use super::reason::reason;
use super::session::{Role, Session};
use super::steps::{Driven, Side, Steps};
use super::subject::subject;
use super::turns::Turns;
use crate::metrics::{self, Handshake, TlsVersion};
use crate::ring::{Fault, Ring, Stream};
use crate::time::{Instant, Micros};
use crate::wire::Secured;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};
use std::sync::Arc;

/// How long a client that was refused is read on from, at most.
const LINGER: Micros = Micros::from_s(1);

/// And how much of it.
const LINGER_BYTES_MAX: usize = 256 << 10;

/// What is spoken over the connection, as both sides agreed (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also where nothing was agreed.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Handshaken {
    /// Under which name it is counted.
    pub fn counted_as(&self) -> Handshake {
        if self.resumed { Handshake::Resumed } else { Handshake::Full }
    }
}

/// A handshake that is over.
pub struct Handshaken {
    /// The connection.
    pub sealed: Sealed,
    /// What is spoken over it.
    pub protocol: Protocol,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The version of TLS that was agreed on.
    pub version: Option<TlsVersion>,
}

/// Why there is no connection. Told by [`Failure::reason`], since it hangs on whose handshake it was.
#[derive(Debug)]
pub enum Failure {
    /// It took too long.
    TimedOut,
    /// The peer ended or reset the connection.
    Gone,
    /// The peer speaks plain HTTP.
    NotTls,
    /// The peer's certificate is not good.
    Certificate(Error),
    /// Both sides have no version, cipher or protocol in common.
    NothingInCommon(Error),
    /// The peer has refused; it is the peer's word.
    Refused(Error),
    /// What the peer said is wrong.
    Protocol(Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TimedOut => Self::TimedOut,
            Fault::Os(_) => Self::Gone,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::UnsupportedNameType
            | Error::InvalidCertRevocationList(_) => Self::Certificate(error),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon(error),
            Error::AlertReceived(_) => Self::Refused(error),
            _ => Self::Protocol(error),
        }
    }
}

impl Failure {
    /// What is wrong, if the peer was on this side.
    pub fn reason(&self, side: metrics::Side) -> String {
        match self {
            Self::TimedOut => "it took too long".to_owned(),
            Self::Gone => "the connection ended in the middle of it".to_owned(),
            Self::NotTls if side == metrics::Side::Backend => {
                "the backend does not speak TLS on this port".to_owned()
            }
            Self::NotTls => "plain HTTP on a port with TLS".to_owned(),
            Self::Certificate(error)
            | Self::NothingInCommon(error)
            | Self::Refused(error)
            | Self::Protocol(error) => reason(error, side),
        }
    }

    /// Under which name it is counted.
    pub fn counted_as(&self) -> Handshake {
        match self {
            Self::TimedOut => Handshake::Timeout,
            Self::Gone => Handshake::Gone,
            Self::NotTls => Handshake::NotTls,
            Self::Certificate(_) => Handshake::Certificate,
            Self::NothingInCommon(_) => Handshake::NothingInCommon,
            Self::Refused(_) => Handshake::Refused,
            Self::Protocol(_) => Handshake::Protocol,
        }
    }
}

/// Shakes hands with a client by `due`.
///
/// # Errors
/// Why it came to nothing. The client has been told, where it can be.
pub async fn accept(
    ring: &Ring,
    stream: Stream,
    config: &Arc<ServerConfig>,
    due: Instant,
    turns: &Turns,
) -> Result<Handshaken, Failure> {
    let mut server = Box::new(UnbufferedServerConnection::new(config.clone())?);
    let driven = Steps::new(ring, &stream, turns, due).drive(&mut *server).await;
    let driven = match driven {
        Ok(driven) => driven,
        Err(failure) => {
            say(&stream, &failure);
            if matches!(failure, Failure::Certificate(_) | Failure::NotTls) {
                linger(ring, &stream).await;
            }
            return Err(failure);
        }
    };
    let client = server.common().peer_certificates().and_then(<[_]>::first);
    let client_subject = client.and_then(|certificate| subject(certificate));
    let known = Known::of(server.common());
    Ok(known.finish(stream, Role::Server(server), driven, client_subject))
}

/// Shakes hands with the backend that calls itself `name`, by `due`.
///
/// # Errors
/// Why it came to nothing.
pub async fn connect(
    ring: &Ring,
    stream: Stream,
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    due: Instant,
    turns: &Turns,
) -> Result<Handshaken, Failure> {
    let mut client = Box::new(UnbufferedClientConnection::new(config.clone(), name.clone())?);
    let driven = Steps::new(ring, &stream, turns, due).drive(&mut *client).await?;
    let known = Known::of(client.common());
    Ok(known.finish(stream, Role::Client(client), driven, None))
}

/// Tells a client that cannot read an alert.
fn say(stream: &Stream, failure: &Failure) {
    const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 56\r\n\
        Connection: close\r\n\r\nThis port speaks TLS: ask for https://, not for http://\n";
    if matches!(failure, Failure::NotTls) {
        stream.send_at_once(PLAIN);
    }
}

/// Reads on, for a moment, and throws away what comes. A client of TLS 1.3 sends its request before its certificate is
/// judged: unread it would reset the connection, and the reset overtake the alert that says what is wrong.
async fn linger(ring: &Ring, stream: &Stream) {
    stream.shutdown_write();
    let due = ring.now() + LINGER;
    let mut left = LINGER_BYTES_MAX;
    while let Ok(Some(chunk)) = stream.receive(due).await {
        left = left.saturating_sub(chunk.len());
        if left == 0 || ring.now() >= due {
            return;
        }
    }
}

/// The suite's name as IANA has it; rustls has its own for those of TLS 1.3.
fn name_of(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or_default(),
    }
}

/// What a handshake has settled.
struct Known {
    version: Option<TlsVersion>,
    cipher: &'static str,
    protocol: Protocol,
    resumed: bool,
}

impl Known {
    fn of(common: &CommonState) -> Self {
        Self {
            version: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::Tls12),
                Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
                _ => None,
            },
            cipher: common.negotiated_cipher_suite().map(|suite| name_of(suite.suite())).unwrap_or_default(),
            protocol: match common.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            },
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    fn finish(
        self,
        stream: Stream,
        role: Role,
        driven: Driven,
        client_subject: Option<Box<str>>,
    ) -> Handshaken {
        let Self { version, cipher, protocol, resumed } = self;
        let is_server = matches!(role, Role::Server(_));
        let spoken = version.map_or("", TlsVersion::label);
        let secured = Secured { version: spoken, cipher, server_name: driven.server_name, client_subject };
        let session = Session::new(role, driven.unsent);
        let sealed = Sealed::new(stream, session, secured, driven.rest);
        // A client's last word goes with its request.
        if is_server {
            sealed.send_queued();
        }
        Handshaken { sealed, protocol, resumed, version }
    }
}
