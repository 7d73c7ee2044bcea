//! A health check made ready: the request that is sent, and what its answer must be.
//!
//! Here: [`Prepared`], made once for a backend and sent again and again. Not here: sending it (`control`'s
//! probe), when (`groups`), and what follows (`health`).

use crate::config::{BackendAddress, Check, Health, HttpCheck};
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};

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
    Http { request: Box<Request<()>>, expect: Vec<(u16, u16)>, contains: Option<String> },
}

impl Prepared {
    /// Makes `check` ready; a Host that it does not name is `backend`'s address as it was configured.
    pub(crate) fn new(check: &Check, backend: &BackendAddress) -> Result<Self, BadCheck> {
        let Check::Http(check) = check else { return Ok(Self::Tcp) };
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(check.method.as_bytes())
            .map_err(|_| BadCheck { key: "method", value: check.method.clone() })?;
        *request.uri_mut() =
            check.path.parse::<Uri>().map_err(|_| BadCheck { key: "path", value: check.path.clone() })?;
        *request.headers_mut() = fields(check, backend)?;
        Ok(Self::Http {
            request: Box::new(request),
            expect: check.expect.clone(),
            contains: check.body_contains.clone(),
        })
    }

    /// Whether the request differs by the backend's address as it is written: in its Host.
    pub(crate) fn names_backend(&self, health: &Health) -> bool {
        match (self, &health.check) {
            (Self::Http { .. }, Check::Http(check)) => check.host.is_none(),
            (Self::Tcp, _) | (_, Check::Tcp) => false,
        }
    }
}

/// The check's own fields, and those of ours that it leaves out.
fn fields(check: &HttpCheck, backend: &BackendAddress) -> Result<HeaderMap, BadCheck> {
    let mut fields = HeaderMap::new();
    for (name, value) in &check.headers {
        let bad = || BadCheck { key: "headers", value: format!("{name}: {value}") };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        fields.append(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    let host = match (&check.host, backend) {
        (Some(host), _) => host.clone(),
        (None, BackendAddress::Tcp(address)) => address.to_string(),
        (None, BackendAddress::Name(host, port)) => format!("{host}:{port}"),
        (None, BackendAddress::Service(name)) => name.clone(),
        (None, BackendAddress::Unix(_)) => "localhost".to_owned(),
    };
    let value = HeaderValue::from_str(&host).map_err(|_| BadCheck { key: "host", value: host })?;
    if check.host.is_some() {
        fields.insert(HOST, value);
    } else {
        fields.entry(HOST).or_insert(value);
    }
    fields.entry(USER_AGENT).or_insert(HeaderValue::from_static("weir-health"));
    fields.entry(CONNECTION).or_insert(HeaderValue::from_static("close"));
    Ok(fields)
}
