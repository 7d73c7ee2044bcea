//! The words that request and response heads share: where something lies, how far parsing came, the
//! version, the method, the limits.
//!
//! Offsets instead of slices: a head is parsed in a receive buffer that its owner goes on using, and a
//! `RequestHead` that borrowed from it could not be kept beside it.

use super::refusal::{BadHead, Why};

/// Where something lies in the bytes that were parsed: `start..end`, as offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One beyond the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`; the parsers keep their window below 4 GiB, so both fit.
    pub(super) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes themselves, out of those that were parsed.
    ///
    /// # Panics
    /// If `bytes` is shorter than what was parsed.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, the blank line at its end included.
    pub max_head: usize,
    /// Field lines.
    pub max_headers: usize,
}

impl HeadLimits {
    /// The part of `bytes` in which a head must end, and whether there is no room for more of it.
    pub(super) fn window<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], Room) {
        let max = self.max_head.min(u32::MAX as usize);
        match bytes.get(..max) {
            Some(window) => (window, Room::Full),
            None => (bytes, Room::Left),
        }
    }
}

/// Whether a head that is not complete yet may still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    Full,
}

/// How far parsing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse<T> {
    /// The head is whole.
    Complete(T),
    /// No fault so far, but the end has not come: parse again from the start when more bytes are there.
    Partial,
}

/// Why a parser stops before the end: inside this room, so that `?` carries both.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes end here.
    Partial,
    /// They are wrong.
    Bad(BadHead),
}

impl Stop {
    pub(super) const fn bad(why: Why, at: usize) -> Self {
        Self::Bad(BadHead { why, at })
    }

    /// What the caller is told: more bytes, or, if there is no room for more, `too_long`.
    pub(super) fn told<T>(self, room: Room, too_long: Why, window: &[u8]) -> Result<Parse<T>, BadHead> {
        match (self, room) {
            (Self::Partial, Room::Left) => Ok(Parse::Partial),
            (Self::Partial, Room::Full) => Err(BadHead { why: too_long, at: window.len() }),
            (Self::Bad(bad), _) => Err(bad),
        }
    }
}

impl From<BadHead> for Stop {
    fn from(bad: BadHead) -> Self {
        Self::Bad(bad)
    }
}

/// The version a message was sent in. A minor version above 1 reads as 1.1 (RFC 9110 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// The method, by name and case (RFC 9110 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// CONNECT
    Connect,
    /// Any other token; its name is at the head's `method_span`.
    Other,
}

impl Method {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether sending it twice means the same as once (RFC 9110 §9.2.2), so that it may be tried again.
    pub const fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace => true,
            Self::Post | Self::Patch | Self::Connect | Self::Other => false,
        }
    }
}
