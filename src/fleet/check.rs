//! A health check made ready: the request that is sent, what it goes over, and what its answer must be.
//!
//! Here: [`Prepared`], made once for a backend and sent again and again. Not here: sending it (`control`'s
//! probe), when (`groups`), and what follows (`health`).

use crate::config::{BackendAddress, Check, GrpcCheck, Health, HttpCheck};
use crate::health::{GRPC_HEALTH_PATH, grpc_question};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// Why a check's request cannot be sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key} = {value:?} cannot be sent in an HTTP request; write it without blanks and control characters"
)]
pub struct BadCheck {
    /// The key of `[pool.NAME.health]`.
    pub key: &'static str,
    /// What it says.
    pub value: String,
}

/// A check, made ready for one backend.
#[derive(Clone, Debug)]
pub(crate) enum Prepared {
    /// Connecting is all.
    Tcp,
    /// A request, and what its answer must be.
    Request(Box<Question>),
}

/// A check's request.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) request: Request<Vec<u8>>,
    pub(crate) passes: Passes,
    pub(crate) carrier: Carrier,
}

/// What a check's request goes over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carrier {
    /// It is HTTP/2's, with prior knowledge where there is no TLS to ask.
    pub(crate) http2: bool,
    /// It is sealed.
    pub(crate) tls: Option<Sealed>,
}

/// How a check's connection is sealed.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    /// The pool's rules.
    pub(crate) config: Arc<ClientConfig>,
    /// Whom the backend's certificate must name.
    pub(crate) server_name: ServerName<'static>,
}

impl Carrier {
    /// Makes the rules ready for checks: each shakes hands in full, or a session that goes on would hide that the
    /// backend's certificate has run out; and asks for the one protocol that it is about to speak.
    fn ready(mut self) -> Self {
        if let Some(sealed) = &mut self.tls {
            let mut config = ClientConfig::clone(&sealed.config);
            config.resumption = Resumption::disabled();
            config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
            sealed.config = Arc::new(config);
        }
        self
    }
}

/// Which answer passes.
#[derive(Clone, Debug)]
pub(crate) enum Passes {
    /// One of these statuses, with this in its body.
    Answer { expect: Vec<(u16, u16)>, contains: Option<String> },
    /// gRPC's SERVING.
    Serving,
}

impl Prepared {
    /// Makes the check ready; a Host that it does not name is `backend`'s address as it was configured.
    pub(crate) fn new(health: &Health, backend: &BackendAddress, carrier: Carrier) -> Result<Self, BadCheck> {
        let (request, passes, carrier) = match &health.check {
            Check::Tcp => return Ok(Self::Tcp),
            Check::Http(check) => {
                let passes =
                    Passes::Answer { expect: check.expect.clone(), contains: check.body_contains.clone() };
                (http_request(check, backend, &carrier)?, passes, carrier)
            }
            Check::Grpc(check) => {
                let carrier = Carrier { http2: true, ..carrier };
                (grpc_request(check, health, backend, &carrier)?, Passes::Serving, carrier)
            }
        };
        Ok(Self::Request(Box::new(Question { request, passes, carrier: carrier.ready() })))
    }

    /// Whether the request differs by the backend's address as it is written: in its Host.
    pub(crate) fn names_backend(&self, health: &Health) -> bool {
        match &health.check {
            Check::Tcp => false,
            Check::Http(check) => check.host.is_none(),
            Check::Grpc(check) => check.host.is_none(),
        }
    }
}

fn http_request(
    check: &HttpCheck,
    backend: &BackendAddress,
    carrier: &Carrier,
) -> Result<Request<Vec<u8>>, BadCheck> {
    let mut request = Request::new(Vec::new());
    *request.method_mut() = Method::from_bytes(check.method.as_bytes())
        .map_err(|_| BadCheck { key: "method", value: check.method.clone() })?;
    *request.headers_mut() = fields(&check.headers, (check.host.as_ref(), backend))?;
    request.headers_mut().entry(CONNECTION).or_insert(HeaderValue::from_static("close"));
    let bad = || BadCheck { key: "path", value: check.path.clone() };
    *request.uri_mut() = check.path.parse::<Uri>().map_err(|_| bad())?;
    if carrier.http2 { absolute(request, carrier) } else { Ok(request) }
}

fn grpc_request(
    check: &GrpcCheck,
    health: &Health,
    backend: &BackendAddress,
    carrier: &Carrier,
) -> Result<Request<Vec<u8>>, BadCheck> {
    let mut request = Request::new(grpc_question(&check.service));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(GRPC_HEALTH_PATH);
    let mut fields = fields(&check.headers, (check.host.as_ref(), backend))?;
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(TE, HeaderValue::from_static("trailers"));
    // At most eight digits: the configuration has no timeout longer than a day.
    let timeout = format!("{}m", health.timeout.as_us().div_ceil(1000));
    if let (false, Ok(timeout)) = (health.timeout.is_zero(), HeaderValue::from_str(&timeout)) {
        fields.insert(HeaderName::from_static("grpc-timeout"), timeout);
    }
    *request.headers_mut() = fields;
    absolute(request, carrier)
}

/// The request as HTTP/2 has it: the host stands in the target, and nothing is said of the connection.
fn absolute(mut request: Request<Vec<u8>>, carrier: &Carrier) -> Result<Request<Vec<u8>>, BadCheck> {
    let host = request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let scheme = if carrier.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path);
    *request.uri_mut() = uri.build().map_err(|_| BadCheck { key: "host", value: host.to_owned() })?;
    Ok(request)
}

/// The check's own fields, and those of ours that it leaves out.
fn fields(
    own: &[(String, String)],
    (host, backend): (Option<&String>, &BackendAddress),
) -> Result<HeaderMap, BadCheck> {
    let mut fields = HeaderMap::new();
    for (name, value) in own {
        let bad = || BadCheck { key: "headers", value: format!("{name}: {value}") };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        fields.append(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    let named = match (host, backend) {
        (Some(host), _) => host.clone(),
        (None, BackendAddress::Tcp(address)) => address.to_string(),
        (None, BackendAddress::Name(host, port)) => format!("{host}:{port}"),
        (None, BackendAddress::Service(name)) => name.clone(),
        (None, BackendAddress::Unix(_)) => "localhost".to_owned(),
    };
    let value = HeaderValue::from_str(&named).map_err(|_| BadCheck { key: "host", value: named })?;
    fields.insert(HOST, value);
    fields.entry(USER_AGENT).or_insert(HeaderValue::from_static("weir-health"));
    Ok(fields)
}
