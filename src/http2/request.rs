//! A client's HTTP/2 request as an HTTP/1.1 head.
//!
//! Here: the request line out of the pseudo-header fields, `Host` out of `:authority`, cookies put together again,
//! and WebSocket by extended CONNECT (RFC 8441) as the upgrade that it is in HTTP/1.1. What HTTP/1.1 cannot show
//! without saying something else is refused here; all else is judged by `http1` when it reads the head. Called by
//! `streams` for each request.

use super::encoding::Encoding;
use super::fields::{announces_trailers, is_for_one_connection, is_grpc, write_line};
use data_encoding::BASE64;
use http::header::{self, HeaderMap};
use http::{Method, Uri};

/// A request's fields.
#[derive(Clone, Copy, Debug)]
pub struct RequestFields<'a> {
    /// `:method`
    pub method: &'a Method,
    /// `:authority` and `:path`
    pub uri: &'a Uri,
    /// `:protocol`, of an extended CONNECT.
    pub protocol: Option<&'a str>,
    /// All others.
    pub fields: &'a HeaderMap,
    /// The stream ends with them: there is no body.
    pub ends: bool,
    /// What the key of a WebSocket is made of. A key proves nothing to a backend but that it was read.
    pub seed: u128,
}

/// A message that must not be taken for one (RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// RFC 9113 §8.2.2.
    #[error("a field is there that is for one HTTP/1.1 connection alone")]
    ConnectionField,
    /// RFC 9113 §8.3.1.
    #[error(":authority and host differ")]
    HostsDiffer,
    /// RFC 9113 §8.2.1.
    #[error("a field's value begins or ends with a space or a tab")]
    Padded,
    /// RFC 9113 §8.3.1.
    #[error(":scheme is empty")]
    BadScheme,
    /// Neither a path nor, for OPTIONS, an asterisk.
    #[error(":path does not begin with a slash")]
    BadPath,
    /// More than one, no number, or the stream has ended and it is not 0.
    #[error("the content-length is none, or is not the body's")]
    BadLength,
}

/// Appends the HTTP/1.1 head of a request to `out`, and answers how its body is to be written. A CONNECT is written
/// as one, which `exchange` refuses.
///
/// # Errors
/// Why it is malformed; what is in `out` then is of no use.
pub fn write_request_head(request: &RequestFields<'_>, out: &mut Vec<u8>) -> Result<Encoding, Malformed> {
    let RequestFields { method, uri, fields, .. } = request;
    let tunnel = *method == Method::CONNECT && request.protocol == Some("websocket");
    if uri.scheme_str() == Some("") {
        return Err(Malformed::BadScheme);
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    out.extend_from_slice(if tunnel { b"GET" } else { method.as_str().as_bytes() });
    out.push(b' ');
    if *method == Method::CONNECT && !tunnel {
        out.extend_from_slice(authority.unwrap_or("*").as_bytes());
    } else {
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        if !(path.starts_with('/') || path == "*" && *method == Method::OPTIONS) {
            return Err(Malformed::BadPath);
        }
        out.extend_from_slice(path.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        if fields.get_all(header::HOST).iter().any(|host| host.as_bytes() != authority.as_bytes()) {
            return Err(Malformed::HostsDiffer);
        }
        write_line("host", authority.as_bytes(), out);
    }
    let in_chunks = !request.ends && announces_trailers(fields);
    let length = write_fields(fields, authority.is_some(), in_chunks, out)?;
    if tunnel {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ");
        let key = BASE64.encode(&request.seed.to_be_bytes());
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let encoding = match (length, request.ends) {
        (_, _) if tunnel => Encoding::Raw,
        (Some(0) | None, true) => Encoding::Nothing,
        (Some(_), true) => return Err(Malformed::BadLength),
        (Some(length), false) if !in_chunks => Encoding::Length(length),
        (_, false) => Encoding::Chunks,
    };
    match encoding {
        Encoding::Chunks => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // Some servers answer 411 to one of these without a length, and the client has said that there is no body.
        Encoding::Nothing if length.is_none() && has_a_body(method) => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Encoding::Nothing | Encoding::Length(_) | Encoding::Raw => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(encoding)
}

/// Whether a request with this method usually has a body (RFC 9110 §8.6).
fn has_a_body(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT || *method == Method::PATCH
}

/// Writes the fields but for `host`, if the authority says it, and for the content-length of a body in chunks, and
/// answers that length.
fn write_fields(
    fields: &HeaderMap,
    has_authority: bool,
    in_chunks: bool,
    out: &mut Vec<u8>,
) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    let mut cookies = 0;
    for (name, value) in fields {
        let value = match value.as_bytes() {
            // gRPC's own libraries send what their callers say, and who has it on the way may strip it.
            padded if is_padded(padded) && is_grpc(fields) => padded.trim_ascii(),
            padded if is_padded(padded) => return Err(Malformed::Padded),
            value => value,
        };
        if *name == header::CONTENT_LENGTH {
            let number = digits(value).ok_or(Malformed::BadLength)?;
            if length.replace(number).is_some() {
                return Err(Malformed::BadLength);
            }
            if in_chunks {
                continue;
            }
        } else if *name == header::COOKIE {
            cookies += 1;
            continue;
        } else if *name == header::HOST && has_authority {
            continue;
        } else if *name == header::TE {
            if !value.eq_ignore_ascii_case(b"trailers") {
                return Err(Malformed::ConnectionField);
            }
            // In HTTP/1.1 it is for one connection, and `Connection` would have to name it.
            continue;
        } else if is_for_one_connection(name) {
            return Err(Malformed::ConnectionField);
        }
        write_line(name.as_str(), value, out);
    }
    if cookies > 0 {
        write_cookies(fields, out);
    }
    Ok(length)
}

fn is_padded(value: &[u8]) -> bool {
    matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

/// One line of what HTTP/2 may take apart, so that it compresses better (RFC 9113 §8.2.3).
fn write_cookies(fields: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Cookie: ");
    for (nth, value) in fields.get_all(header::COOKIE).iter().enumerate() {
        if nth > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A length: digits alone, as `http1` has it.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}
