//! The response head that goes to the client.
//!
//! Here: the status line in our version, hop-by-hop fields taken out, the framing and connection fields
//! that this client needs. Not here: deciding which those are (`exchange`). Called by `proxy` for each
//! response head, interim ones (1xx) included.

use super::fields::{Fields, Kind, Kinds};
use super::response::{ResponseHead, never_has_body};
use super::rewrite::{HOP_BY_HOP, copy_fields};

/// How the body is framed to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownstreamFraming {
    /// As the backend framed it.
    AsReceived,
    /// In chunks, which the backend did not use: a body until close, to an HTTP/1.1 client.
    AddChunked,
    /// By closing: chunks or a body until close, to an HTTP/1.0 client. No framing field.
    Bare,
}

/// What the client is told about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionField {
    /// Nothing: the version's default holds.
    None,
    /// `Connection: close`
    Close,
    /// `Connection: keep-alive`, for an HTTP/1.0 client.
    KeepAlive,
}

/// What is to be done to a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseRewrite<'a> {
    /// How the body goes down.
    pub framing: DownstreamFraming,
    /// What is said about the connection.
    pub connection: ConnectionField,
    /// Whether to pass an `Upgrade` on, with a `Connection: upgrade` instead of what `connection` says.
    /// (Only one that is there: see [`ResponseHead::upgrade`].)
    pub upgrade: bool,
    /// Whole field lines that are added.
    pub added: &'a [u8],
}

/// Appends to `out` the head that goes downstream; `bytes` and `fields` are those that `head` was parsed
/// from. A 1xx or 204 loses framing fields that it must not have (RFC 9110 §8.6).
pub fn write_response(
    bytes: &[u8],
    head: &ResponseHead,
    fields: &Fields,
    rewrite: &ResponseRewrite<'_>,
    out: &mut Vec<u8>,
) {
    let upgrade = rewrite.upgrade && head.upgrade;
    let mut edited = HOP_BY_HOP;
    if !upgrade {
        edited = edited.with(Kinds::of(&[Kind::Upgrade]));
    }
    if never_has_body(head.status) {
        edited = edited.with(Kinds::of(&[Kind::ContentLength, Kind::TransferEncoding]));
    }
    if rewrite.framing == DownstreamFraming::Bare {
        // Without chunks there are no trailers to announce.
        edited = edited.with(Kinds::of(&[Kind::ContentLength, Kind::TransferEncoding, Kind::Trailer]));
    }

    out.reserve(head.len + rewrite.added.len() + 80);
    write_line(bytes, head, out);
    copy_fields(bytes, fields, head.len - 2, edited, out, |_, _| {});
    out.extend_from_slice(rewrite.added);
    if rewrite.framing == DownstreamFraming::AddChunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(match (upgrade, rewrite.connection) {
        (true, _) => b"Connection: upgrade\r\n",
        (false, ConnectionField::None) => b"",
        (false, ConnectionField::Close) => b"Connection: close\r\n",
        (false, ConnectionField::KeepAlive) => b"Connection: keep-alive\r\n",
    });
    out.extend_from_slice(b"\r\n");
}

/// `HTTP/1.1`, the status, and the reason as it came; RFC 9112 §4 wants the space even if there is none.
#[inline]
fn write_line(bytes: &[u8], head: &ResponseHead, out: &mut Vec<u8>) {
    let digit = |place: u16| b'0' + (head.status / place % 10) as u8;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[digit(100), digit(10), digit(1), b' ']);
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
}
