//! What a request's path may mean, and whether a route's prefix fits it.
//!
//! Most paths mean one thing: after decoding what RFC 3986 section 6.2.2 calls equivalent (`%61` is
//! `a`), every server reads the same segments. Not so `%2F` and `%5C`, backslashes, empty and dot
//! segments: one backend resolves `/static/../admin`, another takes it as it stands. Such a path has a
//! [`Reading`] for each way in which servers differ, and `Router` asks that all of them lead to the
//! same pool. Nothing is rewritten: the backend gets the path as it came.

use memchr::{memchr_iter, memchr2};

/// A request's path, as it came, without its query.
#[derive(Clone, Copy)]
pub(super) struct Path<'a>(&'a [u8]);

/// How a server may read a path; the plain way is none of these.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// `%2F` is a slash.
    encoded_slashes: bool,
    /// `\` and `%5C` are slashes.
    backslashes: bool,
    /// Empty segments are dropped.
    merges: bool,
    /// `.` and `..` are resolved (RFC 3986 section 5.2.4), also as `..;x`, which Tomcat resolves.
    resolves_dots: bool,
}

impl Reading {
    /// Every mix of those features that `has` has. Servers are known that differ in one alone.
    fn mixes_of(has: Self) -> impl Iterator<Item = Self> {
        (1_u8..16).filter_map(move |mix| {
            let mixed = Self {
                encoded_slashes: mix & 1 != 0,
                backslashes: mix & 2 != 0,
                merges: mix & 4 != 0,
                resolves_dots: mix & 8 != 0,
            };
            let possible = (has.encoded_slashes || !mixed.encoded_slashes)
                && (has.backslashes || !mixed.backslashes)
                && (has.merges || !mixed.merges)
                && (has.resolves_dots || !mixed.resolves_dots);
            possible.then_some(mixed)
        })
    }
}

impl<'a> Path<'a> {
    /// Of a request's target in origin form; the query is cut off.
    pub(super) fn of_target(target: &'a [u8]) -> Self {
        Self(&target[..memchr2(b'?', b'#', target).unwrap_or(target.len())])
    }

    /// Whether `prefix` ([`prefix`]) fits the path in its plain reading, on whole segments.
    pub(super) fn fits(self, prefix: &[u8]) -> bool {
        if !self.0.contains(&b'%') {
            return fits(self.0, prefix);
        }
        let mut left = prefix;
        for unit in Units(self.0) {
            if left.is_empty() {
                return prefix.is_empty() || unit == Unit::Slash;
            }
            match left.strip_prefix(unit.plain()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        left.is_empty()
    }

    /// The readings that may differ from the plain one; none for an ordinary path.
    pub(super) fn other_readings(self) -> impl Iterator<Item = Reading> {
        Reading::mixes_of(if self.is_ordinary() { Reading::default() } else { self.peculiarities() })
    }

    /// Nothing here to be read in two ways, as a quick look shows.
    fn is_ordinary(self) -> bool {
        memchr2(b'%', b'\\', self.0).is_none()
            && memchr_iter(b'/', self.0).all(|at| !matches!(self.0.get(at + 1), Some(b'/' | b'.')))
    }

    /// Which features of a reading the path has anything for.
    fn peculiarities(self) -> Reading {
        let mut found = Reading::default();
        // The segment so far, where its first three bytes tell: "", ".", "..", or something else.
        let mut segment = Dots::None;
        let mut segments_begun = 0;
        for unit in Units(self.0).map(Some).chain([None]) {
            found.encoded_slashes |= unit == Some(Unit::EncodedSlash);
            found.backslashes |= unit == Some(Unit::Backslash);
            match unit {
                None | Some(Unit::Slash | Unit::EncodedSlash | Unit::Backslash) => {
                    found.resolves_dots |= segment.is_dot_segment();
                    // Before the first slash there is no segment, and after the last one none need be.
                    found.merges |= segment == Dots::None && segments_begun > 0 && unit.is_some();
                    segments_begun += 1;
                    segment = Dots::None;
                }
                Some(Unit::Byte(byte)) => segment = segment.then(byte),
                Some(Unit::EncodedPercent) => segment = Dots::Other,
            }
        }
        found
    }

    /// The path in `reading`, decoded; to be matched by [`fits`].
    pub(super) fn read_as(self, reading: Reading) -> Vec<u8> {
        let mut read = Vec::with_capacity(self.0.len());
        let mut segment_at = 0;
        for unit in Units(self.0) {
            let slash = match unit {
                Unit::Slash => true,
                Unit::EncodedSlash => reading.encoded_slashes,
                Unit::Backslash => reading.backslashes,
                Unit::EncodedPercent | Unit::Byte(_) => false,
            };
            if slash {
                end_segment(&mut read, segment_at, reading);
                read.push(b'/');
                segment_at = read.len();
            } else {
                read.extend_from_slice(unit.plain());
            }
        }
        end_segment(&mut read, segment_at, reading);
        read
    }
}

/// Drops the segment that begins at `segment_at`, or the one before it too, if `reading` does.
fn end_segment(read: &mut Vec<u8>, segment_at: usize, reading: Reading) {
    let segment = &read[segment_at..];
    let dots = segment.iter().fold(Dots::None, |dots, &byte| dots.then(byte));
    let (drops, drops_parent) = match dots {
        Dots::None => (reading.merges, false),
        Dots::One | Dots::OneWithParameters => (reading.resolves_dots, false),
        Dots::Two | Dots::TwoWithParameters => (reading.resolves_dots, reading.resolves_dots),
        Dots::Other => (false, false),
    };
    if drops {
        read.truncate(segment_at.saturating_sub(1));
    }
    if drops_parent {
        read.truncate(read.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
    }
}

/// A segment as far as dots go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    None,
    One,
    Two,
    OneWithParameters,
    TwoWithParameters,
    Other,
}

impl Dots {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::None, b'.') => Self::One,
            (Self::One, b'.') => Self::Two,
            (Self::One, b';') | (Self::OneWithParameters, _) => Self::OneWithParameters,
            (Self::Two, b';') | (Self::TwoWithParameters, _) => Self::TwoWithParameters,
            (Self::None | Self::One | Self::Two | Self::Other, _) => Self::Other,
        }
    }

    fn is_dot_segment(self) -> bool {
        !matches!(self, Self::None | Self::Other)
    }
}

/// A route's `path` as [`fits`] wants it: decoded as far as a request's path is, without a slash at
/// its end. "/" becomes the empty prefix, which fits every path.
pub(super) fn prefix(path: &str) -> Vec<u8> {
    let mut prefix = Path(path.as_bytes()).read_as(Reading::default());
    prefix.truncate(prefix.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1));
    prefix
}

/// Whether `prefix` fits `path`, both decoded, on whole segments.
pub(super) fn fits(path: &[u8], prefix: &[u8]) -> bool {
    let rest = path.strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// What matters of a path, character by character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Slash,
    /// `%2F`: not the same as a slash (RFC 3986 section 2.2), but some servers decode before they split.
    EncodedSlash,
    /// `\` or `%5C`.
    Backslash,
    /// `%25`, which stays encoded: otherwise `%252F` would read as `%2F`.
    EncodedPercent,
    /// Any other, decoded.
    Byte(u8),
}

impl Unit {
    /// In the plain reading.
    fn plain(&self) -> &[u8] {
        match self {
            Self::Slash => b"/",
            Self::EncodedSlash => b"%2F",
            Self::Backslash => b"\\",
            Self::EncodedPercent => b"%25",
            Self::Byte(byte) => std::slice::from_ref(byte),
        }
    }
}

/// A path's units. A `%` without two hexadecimal digits after it is itself.
struct Units<'a>(&'a [u8]);

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        if byte == b'%'
            && let [high, low, rest @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = rest;
            return Some(match high << 4 | low {
                b'/' => Unit::EncodedSlash,
                b'\\' => Unit::Backslash,
                b'%' => Unit::EncodedPercent,
                decoded => Unit::Byte(decoded),
            });
        }
        Some(match byte {
            b'/' => Unit::Slash,
            b'\\' => Unit::Backslash,
            _ => Unit::Byte(byte),
        })
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
