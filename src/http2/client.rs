//! The client's half: heads between weir's HTTP/1.1 and an HTTP/2 backend.
//!
//! The request head that weir has written for a backend becomes HTTP/2 fields; the backend's fields become an
//! HTTP/1.1 response head, which the proxy reads like any other backend's, so that nothing is believed here that
//! it would refuse. A WebSocket is asked for by extended CONNECT (RFC 8441) where the backend allows it. Not here:
//! bodies (`decoding.rs`, `encoding.rs`), frames and connections (`streams`). Called by `streams` for each head.

use super::decoding::Decoding;
use super::encoding::{BadData, Encoding};
use super::fields::{announces_trailers, is_for_one_connection, is_grpc, write_line};
use crate::http1::{
    Fields, HeadLimits, Method, Parse, RequestHead, Target, is_forbidden_trailer, parse_request,
    reason_phrase,
};
use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{Request, StatusCode, Version};

/// The listener's limits held when the client sent it; what weir has added since is bounded too.
const LIMITS: HeadLimits = HeadLimits { max_head: 1 << 30, max_headers: 1 << 14 };

/// What a server adds to a WebSocket's key before it answers with the digest (RFC 6455 §4.2.2).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request for an HTTP/2 backend.
#[derive(Debug)]
pub struct BackendRequest {
    /// Bytes of the head that it was made of.
    pub len: usize,
    /// Its fields.
    pub request: Request<()>,
    /// What of its body comes behind the head.
    pub body: Decoding,
    /// On what its answer depends.
    pub expects: Expects,
}

/// What a request's answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expects {
    /// The answer to a request with this method.
    Answer(Method),
    /// A WebSocket, by extended CONNECT; the client expects this `Sec-WebSocket-Accept`.
    WebSocket(Box<str>),
}

/// Why a request cannot go to an HTTP/2 backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untranslatable {
    /// It offers to change the protocol, which HTTP/2 does not know (RFC 9113 §8.6), and this backend not by
    /// extended CONNECT either.
    #[error("the backend speaks HTTP/2 and takes no upgrade")]
    Upgrade,
    /// Its head has what no HTTP/2 field may have.
    #[error("the request cannot be said in HTTP/2")]
    Malformed,
}

impl Untranslatable {
    /// The HTTP/1.1 answer that the request gets in the backend's place.
    pub const fn answer(self) -> &'static [u8] {
        match self {
            Self::Upgrade => b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n",
            Self::Malformed => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        }
    }
}

/// What of its connection a request must know.
#[derive(Clone, Debug)]
pub struct Terms {
    /// `:scheme`
    pub scheme: Scheme,
    /// The backend has said that it takes extended CONNECT.
    pub extended_connect: bool,
}

/// Makes HTTP/2 fields of the request head that `bytes` begin with. `scratch` is memory for it.
///
/// # Errors
/// Why that cannot be.
pub fn read_backend_request(
    bytes: &[u8],
    terms: &Terms,
    scratch: &mut Fields,
) -> Result<BackendRequest, Untranslatable> {
    let Ok(Parse::Complete(head)) = parse_request(bytes, &LIMITS, scratch) else {
        return Err(Untranslatable::Malformed);
    };
    // One copy for all values, which are parts of it.
    let whole = Bytes::copy_from_slice(&bytes[..head.len]);
    let accept = match head.upgrade {
        true => Some(websocket(&whole, &head, terms, scratch).ok_or(Untranslatable::Upgrade)?),
        false => None,
    };
    let mut fields = HeaderMap::with_capacity(scratch.len() + 1);
    for (name, value) in scratch.iter(&whole) {
        let name = HeaderName::from_bytes(name).map_err(|_| Untranslatable::Malformed)?;
        let is_key = accept.is_some() && name == header::SEC_WEBSOCKET_KEY;
        if is_for_one_connection(&name) || name == header::HOST || name == "http2-settings" || is_key {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(whole.slice_ref(value));
        let value = value.map_err(|_| Untranslatable::Malformed)?;
        fields.try_append(name, value).map_err(|_| Untranslatable::Malformed)?;
    }
    if is_grpc(&fields) {
        // Hop by hop, so it was taken out on the way here; but gRPC asks whoever is next for it.
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(());
    (*request.uri_mut(), *request.version_mut()) = target(&whole, &head, &terms.scheme, &mut fields)?;
    *request.method_mut() = match accept {
        Some(_) => http::Method::CONNECT,
        None => {
            http::Method::from_bytes(head.method_span.of(&whole)).map_err(|_| Untranslatable::Malformed)?
        }
    };
    *request.headers_mut() = fields;
    let (body, expects) = match accept {
        Some(accept) => (Decoding::Raw, Expects::WebSocket(accept)),
        None => (Decoding::of_request(head.body), Expects::Answer(head.method)),
    };
    Ok(BackendRequest { len: head.len, request, body, expects })
}

/// What the client expects as `Sec-WebSocket-Accept`, if it asks for a WebSocket and the backend takes one.
fn websocket(bytes: &[u8], head: &RequestHead, terms: &Terms, fields: &Fields) -> Option<Box<str>> {
    let asked = fields.get(bytes, b"upgrade")?.eq_ignore_ascii_case(b"websocket");
    if !terms.extended_connect || !asked || head.method != Method::Get || head.host.is_none() {
        return None;
    }
    let key = fields.get(bytes, b"sec-websocket-key")?;
    let accept = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, WEBSOCKET_GUID].concat());
    Some(BASE64.encode(accept.as_ref()).into())
}

/// Scheme, authority and path. A host that no `:authority` can have stays a `Host` field (RFC 9113 §8.3.1); the
/// `h2` crate takes that with the version that the request came in.
fn target(
    bytes: &Bytes,
    head: &RequestHead,
    scheme: &Scheme,
    fields: &mut HeaderMap,
) -> Result<(Uri, Version), Untranslatable> {
    let path = match head.target {
        Target::Origin(path) | Target::Absolute { path, .. } => path.of(bytes),
        Target::Asterisk => b"*",
        Target::Authority(_) => return Err(Untranslatable::Malformed),
    };
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(path_and_query(bytes, path)?);
    let host = head.host.map(|host| bytes.slice_ref(host.of(bytes)));
    let version = match host.clone().map(Authority::from_maybe_shared) {
        Some(Ok(authority)) => {
            parts.scheme = Some(scheme.clone());
            parts.authority = Some(authority);
            Version::HTTP_2
        }
        Some(Err(_)) | None => {
            if let Some(host) = host {
                let host = HeaderValue::from_maybe_shared(host).map_err(|_| Untranslatable::Malformed)?;
                fields.insert(header::HOST, host);
            }
            Version::HTTP_11
        }
    };
    Ok((Uri::from_parts(parts).map_err(|_| Untranslatable::Malformed)?, version))
}

/// The path as it is; if it has bytes that are in no URI, though clients send them, with those in percents.
fn path_and_query(bytes: &Bytes, path: &[u8]) -> Result<PathAndQuery, Untranslatable> {
    let as_it_is = match path {
        b"*" => return Ok(PathAndQuery::from_static("*")),
        b"" => return Ok(PathAndQuery::from_static("/")),
        _ => PathAndQuery::from_maybe_shared(bytes.slice_ref(path)),
    };
    as_it_is.or_else(|_| {
        let mut encoded = String::with_capacity(path.len() + 16);
        for &byte in path {
            match byte {
                b'"' | b'<' | b'>' | b'`' | b'{' | b'}' => encoded.push_str(&format!("%{byte:02X}")),
                _ => encoded.push(char::from(byte)),
            }
        }
        PathAndQuery::try_from(encoded).map_err(|_| Untranslatable::Malformed)
    })
}

/// Appends to `out` the HTTP/1.1 head of a backend's response, interim ones (1xx) included, and answers how its
/// body goes on. `ended`: the stream has ended with it.
///
/// # Errors
/// It is a 101, which HTTP/2 does not know (RFC 9113 §8.6), or its length is none, or not the body's.
pub fn write_backend_answer(
    status: StatusCode,
    fields: &HeaderMap,
    expects: &Expects,
    ended: bool,
    out: &mut Vec<u8>,
) -> Result<Encoding, BadData> {
    let tunnel = match expects {
        Expects::WebSocket(accept) if status.is_success() => Some(accept),
        Expects::WebSocket(_) | Expects::Answer(_) => None,
    };
    let encoding = match tunnel {
        Some(_) => Encoding::Raw,
        None => encoding(status, fields, expects, ended)?,
    };
    write_status_line(if tunnel.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { status }, out);
    for (name, value) in fields {
        let is_other_framing =
            name == header::CONTENT_LENGTH && matches!(encoding, Encoding::Chunks | Encoding::Raw);
        if !is_for_one_connection(name) && !is_other_framing {
            write_line(name.as_str(), value.as_bytes(), out);
        }
    }
    match (encoding, tunnel) {
        (Encoding::Raw, Some(accept)) => {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ");
            out.extend_from_slice(accept.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        (Encoding::Chunks, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Encoding::Length(0), _) if !fields.contains_key(header::CONTENT_LENGTH) => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        (Encoding::Nothing | Encoding::Length(_) | Encoding::Raw, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(encoding)
}

fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status.as_u16()).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Takes out of a response's trailers what must not be one, and of which no more would come down than a cut answer:
/// anybody may leave trailers out (RFC 9110 §6.5.1).
pub fn without_forbidden(trailers: &mut HeaderMap) {
    let is_forbidden = |name: &&HeaderName| is_forbidden_trailer(name.as_str().as_bytes());
    let forbidden: Vec<HeaderName> = trailers.keys().filter(is_forbidden).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// How a response's body goes on.
fn encoding(
    status: StatusCode,
    fields: &HeaderMap,
    expects: &Expects,
    ended: bool,
) -> Result<Encoding, BadData> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadData);
    }
    let never = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *expects == Expects::Answer(Method::Head);
    if never {
        return Ok(Encoding::Nothing);
    }
    let length = match fields.get(header::CONTENT_LENGTH) {
        Some(length) => Some(length.to_str().ok().and_then(|length| length.parse().ok()).ok_or(BadData)?),
        None => None,
    };
    match length {
        Some(1..) if ended => Err(BadData),
        Some(_) | None if ended => Ok(Encoding::Length(0)),
        Some(length) if !announces_trailers(fields) => Ok(Encoding::Length(length)),
        Some(_) | None => Ok(Encoding::Chunks),
    }
}

#[cfg(test)]
mod tests;
