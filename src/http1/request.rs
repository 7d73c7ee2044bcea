//! Request heads, parsed (RFC 9112 §3, §6, §9).
//!
//! Here: the request line, the rules that hold for requests alone, and the whole head. Not here: the
//! field lines (`fields.rs`), what goes upstream (`write_request.rs`), whether the proxy serves the
//! method or form (a CONNECT is parsed like any other). Called by `proxy` for each request.
//!
//! One pass over the bytes, no search for the head's end before it: in the ordinary case the head is
//! whole in one buffer, and a second pass would be the dearer half. A head that comes in pieces is parsed
//! from its start each time; faults are reported as soon as they are reached.

use super::authority::{Authority, authority};
use super::connection::read_options;
use super::fields::{Fields, Kind, Kinds, line_end, read_fields};
use super::framing::{Framing, read_framing};
use super::head::{HeadLimits, Method, Parse, Span, Stop, Version};
use super::refusal::{BadHead, Why};
use super::scan;

/// RFC 9112 §2.2 would have at least one skipped; a careless client sends one after each body.
const MAX_EMPTY_LINES: usize = 4;

/// A request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes up to and including the blank line, empty lines before the request line included.
    pub len: usize,
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_span: Span,
    /// What is asked for.
    pub target: Target,
    /// The version the client speaks.
    pub version: Version,
    /// The host, perhaps with a port: that of an absolute target or of CONNECT's, else that of `Host`.
    /// Never empty; `None` if there is none, which only HTTP/1.0 may do.
    pub host: Option<Span>,
    /// How the body is framed.
    pub body: RequestBody,
    /// Whether the client lets the connection go on after the response.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. Never in HTTP/1.0.
    pub expects_continue: bool,
    /// Whether the client offers to change the protocol: `Connection` names `upgrade`, there is an
    /// `Upgrade` (other than to `h2c`, which is not passed on), and it is HTTP/1.1.
    pub upgrade: bool,
    /// How many more may pass it on (RFC 9110 §7.6.2); what does not fit is the largest that does. Only for
    /// TRACE and OPTIONS: for other methods the field means nothing.
    pub max_forwards: Option<u32>,
}

/// How a request's body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none.
    None,
    /// So many bytes; perhaps 0.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// The four forms of a target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`
    Origin(Span),
    /// `http://host/path?query`
    Absolute {
        /// Host and perhaps port; never empty.
        authority: Span,
        /// Path and query. Empty means "/", or "*" for OPTIONS; where it begins with "?", "/" is missing.
        path: Span,
    },
    /// `host:port`, for CONNECT.
    Authority(Span),
    /// `*`, for OPTIONS.
    Asterisk,
}

/// Parses the request head that `bytes` begin with; `fields` is filled for the writer, and for whoever
/// looks fields up.
///
/// # Errors
/// The first fault that was reached; [`BadHead::status`] is what the client should be told. Nothing of
/// such a request may be forwarded, and its connection must be closed: where the next request begins is
/// not known.
pub fn parse_request(
    bytes: &[u8],
    limits: &HeadLimits,
    fields: &mut Fields,
) -> Result<Parse<RequestHead>, BadHead> {
    let (window, room) = limits.window(bytes);
    fields.clear();
    let line = match request_line(window) {
        Ok(line) => line,
        Err(stop) => return stop.told(room, Why::LineTooLong, window),
    };
    match read_fields(window, line.len, limits.max_headers, fields) {
        Ok(len) => head(window, len, &line, fields).map(Parse::Complete),
        Err(stop) => stop.told(room, Why::HeadTooLarge, window),
    }
}

/// What the fields say, now that all are there.
#[inline]
fn head(bytes: &[u8], len: usize, line: &Line, fields: &mut Fields) -> Result<RequestHead, BadHead> {
    let version = line.version;
    let host = host(bytes, line, fields)?;
    let max_forwards =
        if fields.seen().meets(RARE) { rare_fields(bytes, line.method, fields)? } else { None };
    let body = match read_framing(bytes, version, fields)? {
        Framing::Unsaid => RequestBody::None,
        Framing::Length(length) => RequestBody::Length(length),
        Framing::Chunked => RequestBody::Chunked,
    };
    let expects_continue = expects_continue(bytes, version, fields)?;
    let options = read_options(bytes, fields)?;
    Ok(RequestHead {
        len,
        method: line.method,
        method_span: line.method_span,
        target: line.target,
        version,
        host,
        body,
        keep_alive: options.keeps_alive(version),
        expects_continue,
        upgrade: options.upgrades(version, bytes, fields),
        max_forwards,
    })
}

/// Kinds that hardly any request has.
const RARE: Kinds = Kinds::of(&[Kind::FramingLookAlike, Kind::MaxForwards]);

/// `Max-Forwards`, if it means something; and what looks like a framing field is refused.
#[cold]
fn rare_fields(bytes: &[u8], method: Method, fields: &Fields) -> Result<Option<u32>, BadHead> {
    if let Some(alike) = fields.first(Kind::FramingLookAlike) {
        return Err(BadHead { why: Why::FramingLookAlike, at: alike.name.start as usize });
    }
    let Some(field) = fields.first(Kind::MaxForwards) else { return Ok(None) };
    if !matches!(method, Method::Trace | Method::Options) {
        return Ok(None);
    }
    let bad = |why| Err(BadHead { why, at: field.value.start as usize });
    if fields.is_repeated(Kind::MaxForwards) {
        return bad(Why::MaxForwardsRepeated);
    }
    match scan::number(field.value.of(bytes)) {
        None => bad(Why::BadMaxForwards),
        number => Ok(number),
    }
}

/// The host that is meant. `Host` must be right even where the target's own authority wins.
#[inline]
fn host(bytes: &[u8], line: &Line, fields: &Fields) -> Result<Option<Span>, BadHead> {
    let given = match fields.first(Kind::Host) {
        Some(host) => {
            let at = host.value.start as usize;
            if fields.is_repeated(Kind::Host) {
                return Err(BadHead { why: Why::HostRepeated, at });
            }
            match authority(host.value.of(bytes)) {
                Some(Authority::Host | Authority::HostAndPort) => Some(host.value),
                Some(Authority::Empty) => return Err(BadHead { why: Why::HostEmpty, at }),
                None => return Err(BadHead { why: Why::BadHost, at }),
            }
        }
        None if line.version == Version::Http11 => {
            return Err(BadHead { why: Why::HostMissing, at: line.len });
        }
        None => None,
    };
    Ok(match line.target {
        Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
        Target::Origin(_) | Target::Asterisk => given,
    })
}

/// RFC 9110 §10.1.1: `100-continue` is the only expectation there is, and HTTP/1.0 has none.
#[inline]
fn expects_continue(bytes: &[u8], version: Version, fields: &Fields) -> Result<bool, BadHead> {
    if version == Version::Http10 || !fields.seen().has(Kind::Expect) {
        return Ok(false);
    }
    for field in fields.all(Kind::Expect) {
        if !field.value.of(bytes).eq_ignore_ascii_case(b"100-continue") {
            return Err(BadHead { why: Why::UnknownExpectation, at: field.value.start as usize });
        }
    }
    Ok(true)
}

/// The request line.
struct Line {
    /// Bytes up to and including its CRLF, empty lines before it included.
    len: usize,
    method: Method,
    method_span: Span,
    target: Target,
    version: Version,
}

#[inline]
fn request_line(window: &[u8]) -> Result<Line, Stop> {
    let start = skip_empty_lines(window)?;
    let method_end = start + scan::token_len(&window[start..]);
    match window.get(method_end) {
        Some(b' ') if method_end > start => {}
        None => return Err(Stop::Partial),
        Some(b'\n') => return Err(Stop::bad(Why::BareLf, method_end)),
        Some(_) => return Err(Stop::bad(Why::BadMethod, method_end)),
    }
    let target_start = method_end + 1;
    let target_end = target_start + scan::target_len(&window[target_start..]);
    match window.get(target_end) {
        Some(b' ') if target_end > target_start => {}
        None => return Err(Stop::Partial),
        Some(b'\r') => return Err(Stop::bad(Why::BadVersion, target_end)),
        Some(b'\n') => return Err(Stop::bad(Why::BareLf, target_end)),
        Some(_) => return Err(Stop::bad(Why::BadTarget, target_end)),
    }
    let (version, version_len) = read_version(window, target_end + 1)?;
    let version_end = target_end + 1 + version_len;
    let len = match line_end(window, version_end, 0) {
        Err(Stop::Bad(BadHead { why: Why::BadValue, at })) => return Err(Stop::bad(Why::BadVersion, at)),
        other => other?,
    };
    let method_span = Span::new(start, method_end);
    let method = Method::of(method_span.of(window));
    let target = target(window, Span::new(target_start, target_end), method)?;
    Ok(Line { len, method, method_span, target, version })
}

#[inline]
fn skip_empty_lines(window: &[u8]) -> Result<usize, Stop> {
    let mut at = 0;
    while let Some(b'\r' | b'\n') = window.get(at) {
        at = line_end(window, at, 0)?;
        if at > 2 * MAX_EMPTY_LINES {
            return Err(Stop::bad(Why::EmptyLines, at - 2));
        }
    }
    Ok(at)
}

const HTTP_1_1: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_1_0: u64 = u64::from_le_bytes(*b"HTTP/1.0");

/// `HTTP/1.x` at `at`, and its length (RFC 9112 §2.3).
#[inline]
pub(super) fn read_version(window: &[u8], at: usize) -> Result<(Version, usize), Stop> {
    let rest = &window[at..];
    // Compared as one word each.
    match rest.first_chunk::<8>().map(|name| u64::from_le_bytes(*name)) {
        Some(HTTP_1_1) => Ok((Version::Http11, 8)),
        Some(HTTP_1_0) => Ok((Version::Http10, 8)),
        _ => unusual_version(rest, at),
    }
}

#[cold]
fn unusual_version(rest: &[u8], at: usize) -> Result<(Version, usize), Stop> {
    const FORM: [u8; 8] = *b"HTTP/0.0"; // where 0 stands for any digit
    for (place, &form) in FORM.iter().enumerate() {
        match rest.get(place) {
            None => return Err(Stop::Partial),
            Some(b'\n') => return Err(Stop::bad(Why::BareLf, at + place)),
            Some(digit) if form == b'0' && digit.is_ascii_digit() => {}
            Some(&byte) if byte == form && form != b'0' => {}
            Some(_) => return Err(Stop::bad(Why::BadVersion, at + place)),
        }
    }
    if rest[5] == b'1' { Ok((Version::Http11, 8)) } else { Err(Stop::bad(Why::UnsupportedVersion, at)) }
}

#[inline]
fn target(window: &[u8], span: Span, method: Method) -> Result<Target, Stop> {
    let bytes = span.of(window);
    let start = span.start as usize;
    match (method, bytes) {
        (Method::Connect, _) => match authority(bytes) {
            Some(Authority::HostAndPort) => Ok(Target::Authority(span)),
            Some(Authority::Host | Authority::Empty) | None => Err(Stop::bad(Why::BadTarget, start)),
        },
        (_, [b'/', ..]) => Ok(Target::Origin(span)),
        (Method::Options, b"*") => Ok(Target::Asterisk),
        (_, b"*") => Err(Stop::bad(Why::TargetFormNotForMethod, start)),
        _ => absolute_target(bytes, start),
    }
}

/// `http://…` or `https://…`: what else could be asked of a proxy is no business of a balancer.
#[cold]
fn absolute_target(bytes: &[u8], start: usize) -> Result<Target, Stop> {
    let scheme_len = ["http://", "https://"]
        .iter()
        .find(|scheme| bytes.get(..scheme.len()).is_some_and(|b| b.eq_ignore_ascii_case(scheme.as_bytes())))
        .map(|scheme| scheme.len())
        .ok_or(Stop::bad(Why::BadTarget, start))?;
    let rest = &bytes[scheme_len..];
    let len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let middle = start + scheme_len + len;
    match authority(&rest[..len]) {
        Some(Authority::Host | Authority::HostAndPort) => Ok(Target::Absolute {
            authority: Span::new(start + scheme_len, middle),
            path: Span::new(middle, start + bytes.len()),
        }),
        Some(Authority::Empty) | None => Err(Stop::bad(Why::BadTarget, start + scheme_len)),
    }
}
