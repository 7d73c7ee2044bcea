//! What a message says about its connection: `Connection`, `Keep-Alive`, `Upgrade` (RFC 9110 §7.6, §7.8).
//!
//! Here: options, and nominations: the names by which a sender marks fields as meant for the next hop
//! alone, which are not passed on. Nominating is also an attack: a client that could have weir drop
//! `X-Forwarded-For` or `Authorization` would decide what the backend believes. So those that identify,
//! route or frame cannot be nominated. Not here: dropping the fields (`rewrite.rs`).

use super::fields::{CLIENT_NAMES, Field, Fields, Kind};
use super::head::Version;
use super::refusal::{BadHead, Why};
use super::scan;

/// Nominations in one head: each costs a look at all its fields.
const MAX_NOMINATIONS: usize = 32;

/// Names that cannot be nominated, besides those that have a [`Kind`] of their own, and [`CLIENT_NAMES`].
const PROTECTED: [&[u8]; 16] = [
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"max-forwards",
    b"origin",
    b"proxy-authorization",
    b"set-cookie",
    b"via",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-original-url",
    b"x-rewrite-url",
];

/// The options of `Connection` that we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Options {
    /// Whether the connection outlives this message (RFC 9112 §9.3).
    #[inline]
    pub(super) fn keeps_alive(self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }

    /// Whether it may change its protocol. `h2c` is not taken for one: it is gone from RFC 9113, and in a
    /// tunnel it would carry requests past the routes.
    #[inline]
    pub(super) fn upgrades(self, version: Version, bytes: &[u8], fields: &Fields) -> bool {
        self.upgrade
            && version == Version::Http11
            && fields.seen().has(Kind::Upgrade)
            && !fields
                .all(Kind::Upgrade)
                .flat_map(|field| list(field, bytes))
                .any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"))
    }
}

/// Reads `Connection`, and marks the fields that it nominates. An element that is no token names nothing.
#[inline]
pub(super) fn read_options(bytes: &[u8], fields: &mut Fields) -> Result<Options, BadHead> {
    let mut options = Options::default();
    let Some(first) = fields.first(Kind::Connection).copied() else { return Ok(options) };
    if !fields.is_repeated(Kind::Connection) && options.take(first.value.of(bytes)) {
        return Ok(options);
    }
    read_list(bytes, fields)
}

#[cold]
fn read_list(bytes: &[u8], fields: &mut Fields) -> Result<Options, BadHead> {
    let mut options = Options::default();
    let mut nominations = 0;
    for at in 0..fields.list().len() {
        let field = fields.list()[at];
        if field.kind != Kind::Connection {
            continue;
        }
        for name in list(&field, bytes) {
            if options.take(name) || name.is_empty() {
                continue;
            }
            nominations += 1;
            if nominations > MAX_NOMINATIONS {
                return Err(BadHead { why: Why::TooManyNominations, at: field.value.start as usize });
            }
            if !PROTECTED.iter().chain(&CLIENT_NAMES).any(|p| p.eq_ignore_ascii_case(name)) {
                fields.nominate(bytes, name);
            }
        }
    }
    Ok(options)
}

impl Options {
    /// Notes the option, if it is one that we know.
    #[inline]
    fn take(&mut self, option: &[u8]) -> bool {
        let slot = match option.len() {
            5 if option.eq_ignore_ascii_case(b"close") => &mut self.close,
            10 if option.eq_ignore_ascii_case(b"keep-alive") => &mut self.keep_alive,
            7 if option.eq_ignore_ascii_case(b"upgrade") => &mut self.upgrade,
            _ => return false,
        };
        *slot = true;
        true
    }
}

/// The elements of a field that is a list, without the white space around them; some may be empty.
fn list<'a>(field: &Field, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    field.value.of(bytes).split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// What `Connection` names, options apart: of no use but to look for.
pub(super) fn nominations<'a>(bytes: &'a [u8], fields: &'a Fields) -> impl Iterator<Item = &'a [u8]> {
    let is_option = |name: &[u8]| Options::default().take(name);
    let names = fields.all(Kind::Connection).flat_map(|field| list(field, bytes));
    names.filter(move |name| !name.is_empty() && !is_option(name))
}

/// `timeout=N` of the first `Keep-Alive`, in seconds: how long the sender keeps an idle connection.
pub(super) fn keep_alive_timeout_s(bytes: &[u8], fields: &Fields) -> Option<u32> {
    let field = fields.first(Kind::KeepAlive)?;
    list(field, bytes).find_map(|parameter| {
        let (name, value) = parameter.split_at(memchr::memchr(b'=', parameter)?);
        let known = name.trim_ascii().eq_ignore_ascii_case(b"timeout");
        // What does not fit is as good as for ever.
        scan::number(value[1..].trim_ascii()).filter(|_| known)
    })
}
