//! The request head that goes to the backend.
//!
//! Here: the request line in origin form, `Host` from an absolute target, hop-by-hop fields taken out,
//! the `X-Forwarded-*` fields. Not here: which fields are which (`fields.rs`). Called by `proxy` once a
//! backend is picked, again for each retry.

use super::fields::{Fields, Kind, Kinds};
use super::head::{Method, Version};
use super::request::{RequestHead, Target};
use super::rewrite::{HOP_BY_HOP, copy_fields, write_field};
use crate::config::Forwarded;

/// All that say where a request came from. `Forwarded` (RFC 7239) is among them: a client that may not
/// say it in `X-Forwarded-For` may not say it there either.
const FORWARDED: Kinds =
    Kinds::of(&[Kind::XForwardedFor, Kind::XForwardedProto, Kind::XForwardedHost, Kind::ForwardedOther]);

/// What is to be done to a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRewrite<'a> {
    /// What the listener says about `X-Forwarded-*`.
    pub forwarded: Forwarded,
    /// Whether the peer is a trusted proxy, whose `X-Forwarded-*` fields are believed and appended to.
    /// Anybody else's are taken out, the whole family and `Forwarded`, and ours put in their place.
    pub trusted: bool,
    /// The client's address as text.
    pub client: &'a [u8],
    /// The scheme the client used: `http` or `https`.
    pub proto: &'a [u8],
    /// Whether to pass an upgrade on. (Only one that is there: see [`RequestHead::upgrade`].)
    pub upgrade: bool,
}

/// What becomes of the `X-Forwarded-*` fields of one request.
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
    let ours = rewrite.client.len() + rewrite.proto.len() + head.host.map_or(0, |host| host.len());
    out.reserve(head.len + ours + 160);

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
        Origin::Append => Kinds::of(&[Kind::XForwardedFor]),
        Origin::Replace => FORWARDED,
    });
    let chain = match origin {
        Origin::Append => fields.all(Kind::XForwardedFor).last().map(|field| field.name.start),
        Origin::Keep | Origin::Replace => None,
    };
    copy_fields(bytes, fields, end, edited, out, |field, out| match field.kind {
        Kind::Host => write_field(field.name.of(bytes), absolute.unwrap_or_default(), out),
        Kind::MaxForwards => {
            let left = head.max_forwards.unwrap_or_default().saturating_sub(1);
            write_field(field.name.of(bytes), left.to_string().as_bytes(), out);
        }
        Kind::XForwardedFor if origin == Origin::Append => {
            let client = if chain == Some(field.name.start) { rewrite.client } else { b"" };
            write_chain(field.name.of(bytes), field.value.of(bytes), client, out);
        }
        _ => {}
    });

    if origin != Origin::Keep {
        let kept = if origin == Origin::Append { fields.seen() } else { Kinds::NONE };
        add_origin(bytes, head, rewrite, kept, out);
    }
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

/// An `X-Forwarded-For` that was believed, with the client behind the proxies it names.
fn write_chain(name: &[u8], value: &[u8], client: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    if !value.is_empty() && !client.is_empty() {
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(client);
    out.extend_from_slice(b"\r\n");
}

/// Adds those of our three fields that are not among the `kept` ones.
#[inline]
fn add_origin(
    bytes: &[u8],
    head: &RequestHead,
    rewrite: &RequestRewrite<'_>,
    kept: Kinds,
    out: &mut Vec<u8>,
) {
    if !kept.has(Kind::XForwardedFor) {
        write_field(b"X-Forwarded-For", rewrite.client, out);
    }
    if !kept.has(Kind::XForwardedProto) {
        write_field(b"X-Forwarded-Proto", rewrite.proto, out);
    }
    let host = head.host.map_or(b"".as_slice(), |host| host.of(bytes));
    if !kept.has(Kind::XForwardedHost) && !host.is_empty() {
        write_field(b"X-Forwarded-Host", host, out);
    }
}
