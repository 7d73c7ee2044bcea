//! The request head that goes to the backend.
//!
//! Here: the request line in origin form, `Host` from an absolute target, hop-by-hop fields taken out,
//! what is said of the client (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`) and of weir (`Via`). Not here:
//! which fields are which (`fields.rs`), who the client is (`client.rs`). Called by `proxy` once for each
//! request, before a backend is picked.

use super::fields::{Field, Fields, Kind, Kinds};
use super::head::{Method, Span, Version};
use super::request::{RequestHead, Target};
use super::rewrite::{HOP_BY_HOP, copy_fields, write_field};
use super::scan;
use crate::config::Forwarded;

/// All that say where a request came from: a client that may not say it in one may not in another.
const FORWARDING: Kinds = Kinds::of(&[
    Kind::XForwardedFor,
    Kind::XForwardedProto,
    Kind::XForwardedHost,
    Kind::XForwardedOther,
    Kind::Forwarded,
    Kind::XRealIp,
    Kind::ForwardingLookAlike,
]);

/// Those of them that a trusted proxy's request does not keep as they are. A look-alike is not the proxy's
/// own: it has passed on what it did not know.
const SAID_ANEW: Kinds =
    Kinds::of(&[Kind::XForwardedFor, Kind::Forwarded, Kind::XRealIp, Kind::ForwardingLookAlike]);

/// What is to be done to a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRewrite<'a> {
    /// What the listener says about `X-Forwarded-*`, `Forwarded` and `X-Real-IP`.
    pub forwarded: Forwarded,
    /// Whether the peer is a trusted proxy, whose fields are believed and appended to. Anybody else's are
    /// taken out, the whole family, and ours put in their place.
    pub trusted: bool,
    /// The peer's address as text; `None`: it came through a Unix socket.
    pub peer: Option<&'a [u8]>,
    /// The client's address as text: the peer's, or what a trusted peer named. `None`: it has none.
    pub client: Option<&'a [u8]>,
    /// The scheme the client used: `http` or `https`.
    pub proto: &'a [u8],
    /// The `Via` that is added.
    pub via: Option<&'a Via>,
    /// Whether to pass an upgrade on. (Only one that is there: see [`RequestHead::upgrade`].)
    pub upgrade: bool,
    /// Whole field lines that are added. (What came of these names is not here, but [taken
    /// out](Fields::take_out).)
    pub added: &'a [u8],
}

/// The `Via` line that requests get (RFC 9110 §7.6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    http10: Box<[u8]>,
    http11: Box<[u8]>,
}

impl Via {
    /// Of an intermediary with this pseudonym, which is a token.
    pub fn new(pseudonym: &str) -> Self {
        Self { http10: via_line("1.0", pseudonym), http11: via_line("1.1", pseudonym) }
    }

    /// For requests that came over HTTP/2, whatever version their head has here.
    pub fn of_http2(pseudonym: &str) -> Self {
        let line = via_line("2.0", pseudonym);
        Self { http10: line.clone(), http11: line }
    }

    /// The line for a request that came in this version.
    fn line(&self, version: Version) -> &[u8] {
        match version {
            Version::Http10 => &self.http10,
            Version::Http11 => &self.http11,
        }
    }
}

fn via_line(version: &str, pseudonym: &str) -> Box<[u8]> {
    format!("Via: {version} {pseudonym}\r\n").into_bytes().into()
}

/// What becomes of the fields that say where one request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Keep,
    Append,
    Replace,
}

/// Appends to `out` the head that goes upstream; `bytes` and `fields` are those that `head` was parsed
/// from.
///
/// The version is 1.1, but for an HTTP/1.0 request without a host: 1.1 would need a `Host`, and there is
/// none to give, so it goes on as what it is.
pub fn write_request(
    bytes: &[u8],
    head: &RequestHead,
    fields: &Fields,
    rewrite: &RequestRewrite<'_>,
    out: &mut Vec<u8>,
) {
    let origin = match (rewrite.forwarded, rewrite.trusted) {
        (Forwarded::Off, _) => Origin::Keep,
        (Forwarded::Append, true) => Origin::Append,
        (Forwarded::Append, false) | (Forwarded::Replace, _) => Origin::Replace,
    };
    let upgrade = rewrite.upgrade && head.upgrade;
    let end = head.len - 2;
    let via = rewrite.via.map_or(b"".as_slice(), |via| via.line(head.version));
    // Addresses are 39 bytes at most and there are four; the host is said thrice at most.
    out.reserve(
        head.len
            + 3 * head.host.map_or(0, Span::len)
            + via.len()
            + rewrite.proto.len()
            + rewrite.added.len()
            + 320,
    );

    write_line(bytes, head, out);
    let absolute = match head.target {
        Target::Absolute { authority, .. } => Some(authority.of(bytes)),
        Target::Origin(_) | Target::Authority(_) | Target::Asterisk => None,
    };
    if let (Some(authority), false) = (absolute, fields.seen().has(Kind::Host)) {
        write_field(b"Host", authority, out);
    }

    let mut edited = HOP_BY_HOP;
    if !upgrade {
        edited = edited.with(Kinds::of(&[Kind::Upgrade]));
    }
    if absolute.is_some() {
        edited = edited.with(Kinds::of(&[Kind::Host]));
    }
    if head.max_forwards.is_some() {
        edited = edited.with(Kinds::of(&[Kind::MaxForwards]));
    }
    if head.version == Version::Http10 {
        // It expects nothing (RFC 9110 §10.1.1), but would seem to, once it says 1.1.
        edited = edited.with(Kinds::of(&[Kind::Expect]));
    }
    edited = edited.with(match origin {
        Origin::Keep => Kinds::NONE,
        Origin::Append => SAID_ANEW,
        Origin::Replace => FORWARDING,
    });
    copy_fields(bytes, fields, end, edited, out, |field, out| match field.kind {
        Kind::Host => write_field(field.name.of(bytes), absolute.unwrap_or_default(), out),
        Kind::MaxForwards => {
            let left = head.max_forwards.unwrap_or_default().saturating_sub(1);
            write_field(field.name.of(bytes), left.to_string().as_bytes(), out);
        }
        Kind::XForwardedFor | Kind::Forwarded if origin == Origin::Append => {
            append_origin(bytes, head, fields, rewrite, field, out);
        }
        _ => {}
    });

    match origin {
        Origin::Keep => {}
        Origin::Append => add_missing(bytes, head, fields.seen(), rewrite, out),
        Origin::Replace => write_origin(bytes, head, rewrite, out),
    }
    out.extend_from_slice(rewrite.added);
    out.extend_from_slice(via);
    if upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// The request line: the target in origin form, unless it is CONNECT's or `*`.
#[inline]
fn write_line(bytes: &[u8], head: &RequestHead, out: &mut Vec<u8>) {
    // The method and the space after it.
    out.extend_from_slice(&bytes[head.method_span.start as usize..head.method_span.end as usize + 1]);
    match head.target {
        Target::Origin(span) | Target::Authority(span) => out.extend_from_slice(span.of(bytes)),
        Target::Asterisk => out.push(b'*'),
        Target::Absolute { path, .. } => {
            let path = path.of(bytes);
            match path.first() {
                Some(b'/') => {}
                None if head.method == Method::Options => out.push(b'*'), // RFC 9112 §3.2.4
                None | Some(_) => out.push(b'/'),
            }
            out.extend_from_slice(path);
        }
    }
    out.extend_from_slice(if head.version == Version::Http10 && head.host.is_none() {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    });
}

/// All our fields, in as few pieces as can be: what nearly every request gets.
#[inline]
fn write_origin(bytes: &[u8], head: &RequestHead, rewrite: &RequestRewrite<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    out.extend_from_slice(rewrite.client.unwrap_or_else(|| peer_name(rewrite)));
    out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
    out.extend_from_slice(rewrite.proto);
    let host = host(bytes, head);
    if !host.is_empty() {
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        out.extend_from_slice(host);
    }
    if let Some(client) = rewrite.client {
        out.extend_from_slice(b"\r\nX-Real-IP: ");
        out.extend_from_slice(client);
    }
    out.extend_from_slice(b"\r\n");
}

/// Those of our fields that a trusted proxy did not send.
fn add_missing(
    bytes: &[u8],
    head: &RequestHead,
    seen: Kinds,
    rewrite: &RequestRewrite<'_>,
    out: &mut Vec<u8>,
) {
    if !seen.has(Kind::XForwardedFor) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        // Whom `Forwarded` names is named here too: whoever is next may look at this one alone.
        if let Some(client) = rewrite.client.filter(|_| rewrite.client != rewrite.peer) {
            out.extend_from_slice(client);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(peer_name(rewrite));
        out.extend_from_slice(b"\r\n");
    }
    if !seen.has(Kind::XForwardedProto) {
        write_field(b"X-Forwarded-Proto", rewrite.proto, out);
    }
    let host = host(bytes, head);
    if !seen.has(Kind::XForwardedHost) && !host.is_empty() {
        write_field(b"X-Forwarded-Host", host, out);
    }
    if let Some(client) = rewrite.client {
        write_field(b"X-Real-IP", client, out);
    }
}

/// An `X-Forwarded-For` or a `Forwarded` that was believed; if it is the last of its name, with the peer
/// behind those that it names.
fn append_origin(
    bytes: &[u8],
    head: &RequestHead,
    fields: &Fields,
    rewrite: &RequestRewrite<'_>,
    field: &Field,
    out: &mut Vec<u8>,
) {
    let value = field.value.of(bytes);
    out.extend_from_slice(field.name.of(bytes));
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    let last = fields.list().iter().rfind(|other| other.kind == field.kind);
    if last.is_some_and(|last| last.name.start == field.name.start) {
        if !value.is_empty() {
            out.extend_from_slice(b", ");
        }
        if field.kind == Kind::Forwarded {
            write_element(host(bytes, head), rewrite, out);
        } else {
            out.extend_from_slice(peer_name(rewrite));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Our element of `Forwarded` (RFC 7239 §4, §6).
fn write_element(host: &[u8], rewrite: &RequestRewrite<'_>, out: &mut Vec<u8>) {
    let (before, node, after) = match rewrite.peer {
        Some(v6) if v6.contains(&b':') => (b"\"[".as_slice(), v6, b"]\"".as_slice()),
        Some(v4) => (b"".as_slice(), v4, b"".as_slice()),
        None => (b"".as_slice(), b"unknown".as_slice(), b"".as_slice()),
    };
    for part in [b"for=".as_slice(), before, node, after] {
        out.extend_from_slice(part);
    }
    if !host.is_empty() {
        let quote = if host.iter().all(|&b| scan::is_token(b)) { b"".as_slice() } else { b"\"" };
        for part in [b";host=".as_slice(), quote, host, quote] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(rewrite.proto);
}

fn peer_name<'a>(rewrite: &RequestRewrite<'a>) -> &'a [u8] {
    rewrite.peer.unwrap_or(b"unix")
}

/// The host that was meant; empty if there is none.
fn host<'a>(bytes: &'a [u8], head: &RequestHead) -> &'a [u8] {
    head.host.map_or(b"", |host| host.of(bytes))
}
