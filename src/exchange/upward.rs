//! A request out of the client's bytes: whose it is, which pool gets it, and what goes up for it.
//!
//! From bytes to bytes, so that whoever tests what is forwarded tests what production runs. Here: that, and
//! why a request is refused. Not here: reading the bytes, the text that a refused client reads (`proxy`),
//! the rules of heads (`http1`) and of routes (`route`). Called by `proxy` for each request.

use super::bodies::{BadBody, RequestLeft};
use super::grpc::is_grpc;
use super::marks::{MarkRules, Marker};
use super::passing::RequestFacts;
use crate::config::TrustedProxies;
use crate::http1::{
    AddressText, BadHead, Fields, HeadLimits, Method, Parse, RequestBody, RequestHead, RequestRewrite,
    Target, client_named, parse_request, write_no_content, write_request, write_trace,
};
use crate::route::Router;
use std::net::IpAddr;

/// What a listener allows, and does to a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestRules<'a> {
    /// Of a head.
    pub limits: &'a HeadLimits,
    /// Finds the pool.
    pub router: &'a Router,
    /// Bytes of a body's payload; 0: any number.
    pub max_body: u64,
    /// Whose word about the client is believed, if the peer is one of them.
    pub believed: Option<&'a TrustedProxies>,
    /// What is done to the head, if the peer is the client. (Its `upgrade`, `trusted` and `added` are decided
    /// here.)
    pub rewrite: RequestRewrite<'a>,
    /// What requests are marked with.
    pub marks: MarkRules<'a>,
}

/// A request that goes up.
#[derive(Debug)]
pub struct Upward {
    /// Bytes that were taken: the head, and what of the body was behind it.
    pub len: usize,
    /// Of these, bytes of the body, as the client framed it.
    pub body_len: usize,
    /// What of the body is still to come.
    pub body: RequestLeft,
    /// What the answer depends on.
    pub facts: RequestFacts,
    /// The client that a trusted peer named; `None`: the peer.
    pub client: Option<IpAddr>,
    /// Its pool, as the router numbers them.
    pub pool: usize,
}

/// Why a request does not go up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Its head is refused.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// Its body is.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// A tunnel is asked for.
    #[error("weir does not do CONNECT")]
    Connect,
    /// After the upgrade the backend would take the body for the new protocol's first bytes.
    #[error("a request with a body cannot ask for an upgrade")]
    UpgradeWithBody,
    /// RFC 9110 §9.3.8.
    #[error("a TRACE cannot have a body")]
    TraceWithBody,
    /// Its Max-Forwards is 0: weir is the last to have it, and answers itself.
    #[error("Max-Forwards is 0")]
    LastHop {
        /// The answer's status.
        status: u16,
    },
    /// No route takes it.
    #[error("no route for this host and path")]
    NoRoute,
    /// Two readers of the path would send it to different pools.
    #[error("the path can be read in two ways")]
    AmbiguousPath,
}

/// Takes one request out of `bytes`, and appends to `out` what goes up for it now; `None` if its head is
/// not whole yet. `marker` has then what it was marked with. `fields` is scratch memory.
///
/// # Errors
/// Why it does not go up, and nothing behind it may be read as a request. What is in `out` then is of no use,
/// but for [`BadRequest::LastHop`]: then it is the answer, whole. But for a [`BadRequest::Head`], `marker` has
/// its marks, and `fields` its fields.
pub fn take_request(
    bytes: &[u8],
    rules: &RequestRules<'_>,
    marker: &mut Marker,
    fields: &mut Fields,
    out: &mut Vec<u8>,
) -> Result<Option<Upward>, BadRequest> {
    let head = match parse_request(bytes, rules.limits, fields)? {
        Parse::Complete(head) => head,
        Parse::Partial => return Ok(None),
    };
    marker.mark(bytes, fields, rules.believed.is_some(), &rules.marks);
    if head.upgrade && head.body != RequestBody::None {
        return Err(BadRequest::UpgradeWithBody);
    }
    if matches!(head.method, Method::Connect | Method::Trace | Method::Options) {
        about_the_way(bytes, &head, fields, out)?;
    }
    let pool = route(rules.router, &head, bytes)?;
    let mut body = RequestLeft::of(head.body, rules.max_body)?;
    let client = rules.believed.and_then(|proxies| client_named(bytes, fields, proxies));
    let named = client.map(AddressText::of);
    let rewrite = RequestRewrite {
        trusted: rules.believed.is_some(),
        client: named.as_ref().map(AddressText::bytes).or(rules.rewrite.client),
        upgrade: head.upgrade,
        added: marker.lines(),
        ..rules.rewrite
    };
    write_request(bytes, &head, fields, &rewrite, out);
    body.heed(bytes, fields, rules.marks.names());
    let rest = &bytes[head.len..];
    let taken = body.take(rest, rules.max_body)?;
    out.extend_from_slice(taken.goes_on(rest));
    let facts = RequestFacts::of(&head, head.method == Method::Post && is_grpc(bytes, fields));
    Ok(Some(Upward { len: head.len + taken.count, body_len: taken.count, body, facts, client, pool }))
}

/// Whether the request that `bytes` begin with is a HEAD, even if it is refused or not whole: its answer has
/// no body (RFC 9110 §9.3.2).
pub fn is_head(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"HEAD ")
}

/// The methods that are about the way to the server.
#[cold]
fn about_the_way(
    bytes: &[u8],
    head: &RequestHead,
    fields: &Fields,
    out: &mut Vec<u8>,
) -> Result<(), BadRequest> {
    if head.method == Method::Connect {
        return Err(BadRequest::Connect);
    }
    let trace = head.method == Method::Trace;
    if trace && !matches!(head.body, RequestBody::None | RequestBody::Length(0)) {
        return Err(BadRequest::TraceWithBody);
    }
    match (head.max_forwards, trace) {
        (Some(0), true) => {
            write_trace(bytes, head, fields, out);
            Err(BadRequest::LastHop { status: 200 })
        }
        (Some(0), false) => {
            write_no_content(out);
            Err(BadRequest::LastHop { status: 204 })
        }
        (Some(_) | None, _) => Ok(()),
    }
}

/// The pool for a request.
fn route(router: &Router, head: &RequestHead, bytes: &[u8]) -> Result<usize, BadRequest> {
    if let Some(pool) = router.only() {
        return Ok(pool);
    }
    let path = match head.target {
        Target::Origin(path) | Target::Absolute { path, .. } if !path.is_empty() => path.of(bytes),
        Target::Asterisk => b"*",
        Target::Origin(_) | Target::Absolute { .. } | Target::Authority(_) => b"/",
    };
    match router.find(head.host.map(|host| host.of(bytes)), path) {
        Ok(Some(pool)) => Ok(pool),
        Ok(None) => Err(BadRequest::NoRoute),
        Err(_) => Err(BadRequest::AmbiguousPath),
    }
}
