//! `[listener.tls]` and `[pool.NAME.tls]` as the other rooms read them: which files, and what is asked of whom.
//!
//! What is in the files is no part of the configuration: a certificate that is renewed is none that changed. Who
//! reads them is `tls`.

use super::super::fault::Fault;
use super::pool::BackendAddress;
use std::path::PathBuf;
use std::sync::Arc;

/// Where something stands in the configuration's file, so that what is found wrong with it later is told with its
/// line and key. It is no part of what is configured: any two are the same.
#[derive(Clone, Debug)]
pub struct Written {
    /// The file, as [`parse`](crate::config::parse) was given it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The dotted path of the key.
    pub key: Box<str>,
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Written {
    /// What is wrong here, and what to write instead.
    pub fn fault(&self, wrong: impl Into<String>, remedy: impl Into<String>) -> Fault {
        Fault {
            file: self.file.to_string(),
            line: self.line,
            column: None,
            key: self.key.to_string(),
            wrong: wrong.into(),
            remedy: remedy.into(),
        }
    }
}

/// A file that is read when the configuration is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Its absolute path.
    pub path: PathBuf,
    /// Where it is named.
    pub written: Written,
}

/// `[listener.tls]`: connections of this listener begin with a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one; the first is for whoever asks for no name, or for one that none has.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// What is spoken inside, most wanted first (ALPN, RFC 7301); empty: clients are not asked.
    pub alpn: Vec<Protocol>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The authorities that clients' certificates come from; there if clients are asked for any.
    pub client_ca: Option<NamedFile>,
    /// The authorities' lists of certificates that hold no more.
    pub client_crl: Option<NamedFile>,
    /// The request's field with the subject of the client's verified certificate; what clients send under this
    /// name is removed in any case. `None`: there is none.
    pub client_subject: Option<String>,
    /// Handshakes under way at once on one shard; 0: no limit.
    pub max_handshakes: usize,
}

/// An entry of `tls.certificates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those between it and its authority's, PEM.
    pub cert: NamedFile,
    /// Its private key, PEM.
    pub key: NamedFile,
    /// What its authority says of it (OCSP, RFC 6960), DER; handed to clients that ask for it.
    pub ocsp: Option<NamedFile>,
}

/// `tls.min_version`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// "1.2"
    #[default]
    Tls12,
    /// "1.3"
    Tls13,
}

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// "h2"
    Http2,
    /// "http/1.1"
    Http1,
}

impl Protocol {
    /// Its name in the handshake.
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Http2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

/// `tls.client_auth`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients are not asked for a certificate.
    #[default]
    Off,
    /// They are asked; one that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

impl ClientAuth {
    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// `[pool.NAME.tls]`: connections to the backends begin with a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTls {
    /// Whom the backends' certificates must name, and who is asked for (SNI); `None`: the host of each backend's
    /// address.
    pub server_name: Option<String>,
    /// The authorities that the backends' certificates come from; `None`: the system's.
    pub ca: Option<NamedFile>,
    /// Whether backends must prove who they are.
    pub verify: bool,
    /// What weir shows to backends that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// Where the section stands.
    pub written: Written,
}

impl PoolTls {
    /// Whom the backend at this address must prove to be: a host name or an IP address; `None`: nothing says so.
    pub fn name_of(&self, address: &BackendAddress) -> Option<String> {
        self.server_name.clone().or_else(|| match address {
            BackendAddress::Tcp(address) => Some(address.ip().to_string()),
            BackendAddress::Name(host, _) => Some(host.clone()),
            BackendAddress::Service(_) | BackendAddress::Unix(_) => None,
        })
    }
}
