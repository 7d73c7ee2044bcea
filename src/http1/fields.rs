//! The field lines of a head: found, checked, and each marked with what it is to us.
//!
//! One pass, from the first line to the blank one. A field that weir has to know gets its [`Kind`] as
//! soon as its name is read (length and first letter before any comparison, so that the many others cost
//! nothing), and the kinds seen are kept as bits: what a head is *not* concerned with is then one test of
//! a word, and so is the question whether the whole block may be copied as it stands. Here: the table and
//! its reading. Not here: what a field's value means (`connection.rs`, `framing.rs`, `request.rs`).
//! Read by both directions' parsers and writers.

use super::head::{Span, Stop};
use super::refusal::Why;
use super::scan;

/// What a field is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing: it passes.
    Plain,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Upgrade,
    Expect,
    MaxForwards,
    /// `Content-Length` or `Transfer-Encoding` with something else for the `-` ([`scan::in_variables`]).
    FramingLookAlike,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    /// Any other `X-Forwarded-…`.
    XForwardedOther,
    /// RFC 7239, which says the same.
    Forwarded,
    XRealIp,
    /// One of these with something else for a `-`: `X_Forwarded_For`.
    ForwardingLookAlike,
    /// Named by `Connection`, or taken out: it was for us alone.
    Nominated,
}

impl Kind {
    const COUNT: usize = Self::Nominated as usize + 1;

    /// The kind of the field of this name. `name` is not empty.
    #[inline]
    fn of(name: &[u8]) -> Self {
        let first = name.first().map_or(0, |b| b | 0x20);
        let (kind, is_it) = match (name.len(), first) {
            (2, b't') => (Self::Te, is(name, b"te")),
            (4, b'h') => (Self::Host, is(name, b"host")),
            (6, b'e') => (Self::Expect, is(name, b"expect")),
            (7, b'u') => (Self::Upgrade, is(name, b"upgrade")),
            (7, b't') => (Self::Trailer, is(name, b"trailer")),
            (9, b'f') => (Self::Forwarded, is(name, b"forwarded")),
            (10, b'c') => (Self::Connection, is(name, b"connection")),
            (10, b'k') => (Self::KeepAlive, is(name, b"keep-alive")),
            (12, b'm') => (Self::MaxForwards, is(name, b"max-forwards")),
            (14, b'c') => (Self::ContentLength, is(name, b"content-length")),
            (16, b'p') => (Self::ProxyConnection, is(name, b"proxy-connection")),
            (17, b't') => (Self::TransferEncoding, is(name, b"transfer-encoding")),
            (_, b'x') => return Self::of_x(name),
            _ => return Self::Plain,
        };
        match (is_it, kind) {
            (true, _) => kind,
            (false, Self::ContentLength | Self::TransferEncoding) => Self::framing_look_alike(name),
            (false, _) => Self::Plain,
        }
    }

    /// Of a name as long as a framing field's, and with its first letter, but another.
    #[cold]
    fn framing_look_alike(name: &[u8]) -> Self {
        let alike = |known: &[u8]| name.len() == known.len() && looks_like(name, known);
        if alike(b"content-length") || alike(b"transfer-encoding") {
            Self::FramingLookAlike
        } else {
            Self::Plain
        }
    }

    fn of_x(name: &[u8]) -> Self {
        if name.len() == b"x-real-ip".len() {
            let alike = looks_like(name, b"x-real-ip");
            return match (alike, has_dashes_alone(name)) {
                (false, _) => Self::Plain,
                (true, true) => Self::XRealIp,
                (true, false) => Self::ForwardingLookAlike,
            };
        }
        let Some((prefix, rest)) = name.split_at_checked(b"x-forwarded-".len()) else { return Self::Plain };
        if !looks_like(prefix, b"x-forwarded-") {
            return Self::Plain;
        }
        if !has_dashes_alone(name) {
            return Self::ForwardingLookAlike;
        }
        for (kind, known) in [
            (Self::XForwardedFor, b"for".as_slice()),
            (Self::XForwardedProto, b"proto"),
            (Self::XForwardedHost, b"host"),
        ] {
            if rest.eq_ignore_ascii_case(known) {
                return kind;
            }
        }
        Self::XForwardedOther
    }
}

/// Whether a name, a token, is the `known` one, given in lower case and of the same length, whatever stands
/// for its dashes.
#[inline]
fn looks_like(name: &[u8], known: &[u8]) -> bool {
    name.iter().zip(known).all(|(&n, &k)| scan::in_variables(n) == k)
}

/// Whether a name has nothing but letters, digits and dashes.
fn has_dashes_alone(name: &[u8]) -> bool {
    name.iter().all(|&n| n.is_ascii_alphanumeric() || n == b'-')
}

/// Whether a name, a token, is the `known` one, given in lower case. Its length is a constant here, so it
/// is compared in a few words; and no byte but a letter's other case differs in bit 5 alone from one that
/// `known` may have, since control bytes are in no token.
#[inline]
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    let Some(name) = name.first_chunk::<N>() else { return false };
    name.iter().zip(known).fold(0, |differs, (n, k)| differs | ((n | 0x20) ^ k)) == 0
}

/// Names by which proxies before us say who the client is, besides those that have a [`Kind`] of their own.
/// Whoever could nominate one, or send it as a trailer, would be somebody else, or nobody.
pub(super) const CLIENT_NAMES: [&[u8]; 8] = [
    b"cf-connecting-ip",
    b"client-ip",
    b"fastly-client-ip",
    b"remote-user",
    b"true-client-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-remote-user",
];

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(kinds: &[Kind]) -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < kinds.len() {
            set |= 1 << kinds[i] as u32;
            i += 1;
        }
        Self(set)
    }

    #[inline]
    pub(super) const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    #[inline]
    pub(super) const fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    #[inline]
    pub(super) const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Span,
    /// Without the white space around it.
    pub(super) value: Span,
    pub(super) kind: Kind,
    /// Whether its line is `Name: value CRLF` to the byte, so that it may be copied as it stands.
    pub(super) exact: bool,
}

/// The fields of one head, as offsets into its bytes: a scratch table that is used again for the next
/// head, so that parsing allocates nothing once it has grown.
#[derive(Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
    seen: Kinds,
    repeated: Kinds,
    /// Some line is not exact.
    untidy: bool,
    /// For each kind that was seen, where in `list` its first is (not for nominated ones).
    first: [u32; Kind::COUNT],
}

impl Fields {
    /// Forgets the fields and keeps the memory. (The parsers do so themselves.)
    pub fn clear(&mut self) {
        self.list.clear();
        self.seen = Kinds::NONE;
        self.repeated = Kinds::NONE;
        self.untidy = false;
    }

    /// How many field lines there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each field's name and value (without the white space around it), in order; `bytes` are those that
    /// were parsed.
    pub fn iter<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.list.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)))
    }

    /// The value of the first field of this name, whatever its case.
    pub fn get<'a>(&'a self, bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        self.iter(bytes).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn list(&self) -> &[Field] {
        &self.list
    }

    #[inline]
    pub(super) fn seen(&self) -> Kinds {
        self.seen
    }

    /// Whether some line has to be written anew, whatever its kind.
    #[inline]
    pub(super) fn is_untidy(&self) -> bool {
        self.untidy
    }

    #[inline]
    pub(super) fn is_repeated(&self, kind: Kind) -> bool {
        self.repeated.has(kind)
    }

    /// The first field of this kind.
    #[inline]
    pub(super) fn first(&self, kind: Kind) -> Option<&Field> {
        if self.seen.has(kind) { self.list.get(self.first[kind as usize] as usize) } else { None }
    }

    /// All fields of this kind.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Field> {
        let from = if self.seen.has(kind) { self.first[kind as usize] as usize } else { self.list.len() };
        self.list[from..].iter().filter(move |field| field.kind == kind)
    }

    /// Marks the plain fields of this name as being for us alone.
    pub(super) fn nominate(&mut self, bytes: &[u8], name: &[u8]) {
        for field in &mut self.list {
            if field.kind == Kind::Plain && field.name.of(bytes).eq_ignore_ascii_case(name) {
                field.kind = Kind::Nominated;
                self.seen = self.seen.with(Kinds::of(&[Kind::Nominated]));
            }
        }
    }

    /// Takes the plain fields of this name out: they are not passed on, and neither is what may be taken for
    /// one of them ([`scan::in_variables`]). The value, if there is one such field, and its name is this one.
    pub fn take_out<'a>(&mut self, bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        let (mut value, mut count) = (None, 0);
        for field in &mut self.list {
            if field.kind != Kind::Plain || field.name.len() != name.len() {
                continue;
            }
            let is_named = field.name.of(bytes);
            if is_named.iter().zip(name).all(|(&a, &b)| scan::in_variables(a) == scan::in_variables(b)) {
                field.kind = Kind::Nominated;
                self.seen = self.seen.with(Kinds::of(&[Kind::Nominated]));
                if is_named.eq_ignore_ascii_case(name) {
                    value = Some(field.value.of(bytes));
                    count += 1;
                }
            }
        }
        value.filter(|_| count == 1)
    }

    /// Has the first field of this kind written anew.
    pub(super) fn mark_inexact(&mut self, kind: Kind) {
        if self.seen.has(kind) {
            self.list[self.first[kind as usize] as usize].exact = false;
            self.untidy = true;
        }
    }

    #[inline]
    fn push(&mut self, field: Field) {
        if field.kind != Kind::Plain {
            if self.seen.has(field.kind) {
                self.repeated = self.repeated.with(Kinds::of(&[field.kind]));
            } else {
                self.seen = self.seen.with(Kinds::of(&[field.kind]));
                self.first[field.kind as usize] = self.list.len() as u32;
            }
        }
        self.untidy |= !field.exact;
        self.list.push(field);
    }
}

/// Reads field lines from `at` to the blank line, and answers where the head ends.
#[inline]
pub(super) fn read_fields(
    window: &[u8],
    mut at: usize,
    max_headers: usize,
    fields: &mut Fields,
) -> Result<usize, Stop> {
    loop {
        let line = &window[at..];
        let name_len = scan::token_len(line);
        match line.get(name_len) {
            Some(b':') if name_len > 0 => {}
            Some(b'\r') if name_len == 0 => return Ok(at + line_end(line, 0, at)?),
            other => return Err(bad_name(other.copied(), name_len, at)),
        }
        if fields.list.len() >= max_headers {
            return Err(Stop::bad(Why::TooManyFields, at));
        }
        let after_colon = name_len + 1;
        let mut start = after_colon;
        while line.get(start).is_some_and(|&b| scan::is_space(b)) {
            start += 1;
        }
        let stop = start + scan::value_len(&line[start..]);
        let next = line_end(line, stop, at)?;
        let value = &line[start..stop];
        let end = stop - value.iter().rev().take_while(|&&b| scan::is_space(b)).count();
        fields.push(Field {
            name: Span::new(at, at + name_len),
            value: Span::new(at + start, at + end),
            kind: Kind::of(&line[..name_len]),
            exact: start == after_colon + 1 && line[after_colon] == b' ' && end == stop,
        });
        at += next;
    }
}

/// Where the line that ends at `stop` in `line` is over; `at` is where `line` begins.
#[inline]
pub(super) fn line_end(line: &[u8], stop: usize, at: usize) -> Result<usize, Stop> {
    match (line.get(stop), line.get(stop + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(stop + 2),
        (None, _) | (Some(b'\r'), None) => Err(Stop::Partial),
        (Some(b'\r'), Some(_)) => Err(Stop::bad(Why::BareCr, at + stop)),
        (Some(b'\n'), _) => Err(Stop::bad(Why::BareLf, at + stop)),
        (Some(_), _) => Err(Stop::bad(Why::BadValue, at + stop)),
    }
}

/// What is wrong with a name that ended, after `len` bytes, at `byte`; `at` is where its line begins.
#[cold]
fn bad_name(byte: Option<u8>, len: usize, at: usize) -> Stop {
    let why = match (byte, len) {
        (None, _) => return Stop::Partial,
        (Some(b' ' | b'\t'), 0) => Why::Folded,
        (Some(b' ' | b'\t'), _) => Why::SpaceBeforeColon,
        (Some(b':'), _) => Why::EmptyName,
        (Some(b'\n'), _) => Why::BareLf,
        (Some(_), _) => Why::BadName,
    };
    Stop::bad(why, at + len)
}
