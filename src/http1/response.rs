//! Response heads, parsed (RFC 9112 §4, §6.3, §9).
//!
//! Here: the status line, and how a response's body ends, which depends on the request too. As strict as
//! with requests: a backend that frames a response in two ways could have the next client get a part of
//! it. Not here: the field lines (`fields.rs`), what goes down (`write_response.rs`), which status a bad
//! head gets (502, by `exchange`). Called by `proxy` for each response, interim ones (1xx) included, and
//! by `control` for the answers to health checks.

use super::connection::{keep_alive_timeout_s, read_options};
use super::fields::{Fields, Kind, line_end, read_fields};
use super::framing::{Framing, read_framing};
use super::head::{HeadLimits, Method, Parse, Span, Stop, Version};
use super::refusal::{BadHead, Why};
use super::request::read_version;
use super::scan;

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes up to and including the blank line.
    pub len: usize,
    /// 100 to 599.
    pub status: u16,
    /// The version the backend speaks.
    pub version: Version,
    /// How the body is framed.
    pub body: ResponseBody,
    /// Whether the connection can go on after this response, and the backend lets it. Never for
    /// [`UntilClose`], nor for a 204 that says that it has a body: that may come.
    ///
    /// [`UntilClose`]: ResponseBody::UntilClose
    pub keep_alive: bool,
    /// `Keep-Alive: timeout=N`: how many seconds the backend keeps an idle connection.
    pub keep_alive_timeout_s: Option<u32>,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// Whether there is an `Upgrade` that `Connection` names, in HTTP/1.1. With status 101: the protocol
    /// changes after this head.
    pub upgrade: bool,
}

/// How a response's body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever the fields say: to HEAD, and with 1xx, 204, 304; or CONNECT succeeded.
    None,
    /// So many bytes; perhaps 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the backend closes.
    UntilClose,
}

/// Parses the response head that `bytes` begin with: the answer to a request with method `request`.
///
/// # Errors
/// The first fault that was reached. Nothing of such a response may be forwarded, and its connection must
/// be closed. ([`BadHead::status`] speaks of requests; a client gets 502 for this.)
pub fn parse_response(
    bytes: &[u8],
    limits: &HeadLimits,
    fields: &mut Fields,
    request: Method,
) -> Result<Parse<ResponseHead>, BadHead> {
    let (window, room) = limits.window(bytes);
    fields.clear();
    let line = match status_line(window) {
        Ok(line) => line,
        Err(stop) => return stop.told(room, Why::HeadTooLarge, window),
    };
    match read_fields(window, line.len, limits.max_headers, fields) {
        Ok(len) => head(window, len, &line, fields, request).map(Parse::Complete),
        Err(stop) => stop.told(room, Why::HeadTooLarge, window),
    }
}

#[inline]
fn head(
    bytes: &[u8],
    len: usize,
    line: &Line,
    fields: &mut Fields,
    request: Method,
) -> Result<ResponseHead, BadHead> {
    let version = line.version;
    let framing = read_framing(bytes, version, fields)?;
    if line.status < 200 && framing != Framing::Unsaid {
        return Err(BadHead { why: Why::FramedInterim, at: line.len });
    }
    // RFC 9112 §6.1 forbids a 204 to say so, but some do: it ends with its head all the same (§6.3).
    let misframed = line.status == 204 && !matches!(framing, Framing::Unsaid | Framing::Length(0));
    let bodiless = match request {
        Method::Head => true,
        Method::Connect if (200..300).contains(&line.status) => true,
        _ => never_has_body(line.status) || line.status == 304,
    };
    let body = match framing {
        _ if bodiless => ResponseBody::None,
        Framing::Unsaid => ResponseBody::UntilClose,
        Framing::Length(length) => ResponseBody::Length(length),
        Framing::Chunked => ResponseBody::Chunked,
    };
    let options = read_options(bytes, fields)?;
    let keep_alive_timeout_s =
        if fields.seen().has(Kind::KeepAlive) { keep_alive_timeout_s(bytes, fields) } else { None };
    Ok(ResponseHead {
        len,
        status: line.status,
        version,
        body,
        keep_alive: options.keeps_alive(version) && body != ResponseBody::UntilClose && !misframed,
        keep_alive_timeout_s,
        reason: line.reason,
        upgrade: options.upgrades(version, bytes, fields),
    })
}

/// The statuses that have neither a body nor a framing field (RFC 9110 §8.6, RFC 9112 §6.1); a 304 has
/// the framing fields that a 200 would have.
pub(super) const fn never_has_body(status: u16) -> bool {
    status < 200 || status == 204
}

/// The status line.
struct Line {
    /// Bytes up to and including its CRLF.
    len: usize,
    version: Version,
    status: u16,
    reason: Span,
}

#[inline]
fn status_line(window: &[u8]) -> Result<Line, Stop> {
    let (version, version_len) = read_version(window, 0)?;
    match window.get(version_len) {
        Some(b' ') => {}
        None => return Err(Stop::Partial),
        Some(_) => return Err(Stop::bad(Why::BadVersion, version_len)),
    }
    let status = read_status(&window[version_len + 1..], version_len + 1)?;
    let after_status = version_len + 4;
    // Some leave out the space along with the reason; RFC 9112 §4 has only the reason optional.
    let reason_start = match window.get(after_status) {
        Some(b' ') => after_status + 1,
        Some(b'\r' | b'\n') | None => after_status,
        Some(_) => return Err(Stop::bad(Why::BadStatus, after_status)),
    };
    let reason_end = reason_start + scan::value_len(&window[reason_start..]);
    let len = match line_end(window, reason_end, 0) {
        Err(Stop::Bad(BadHead { why: Why::BadValue, at })) => return Err(Stop::bad(Why::BadReason, at)),
        other => other?,
    };
    Ok(Line { len, version, status, reason: Span::new(reason_start, reason_end) })
}

/// Three digits, the first 1 to 5; `at` is where they begin.
#[inline]
fn read_status(digits: &[u8], at: usize) -> Result<u16, Stop> {
    let mut status = 0;
    for place in 0..3 {
        match digits.get(place) {
            Some(&digit) if digit.is_ascii_digit() && (place > 0 || (b'1'..=b'5').contains(&digit)) => {
                status = status * 10 + u16::from(digit - b'0');
            }
            Some(_) => return Err(Stop::bad(Why::BadStatus, at + place)),
            None => return Err(Stop::Partial),
        }
    }
    Ok(status)
}
