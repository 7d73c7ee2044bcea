//! An HTTP/1.1 answer's head as HTTP/2 fields: what weir's inside answers, for the client's stream.
//!
//! Here: status and fields out of the head, interim ones (1xx) included. A 101 is a 200 where the client asked by
//! extended CONNECT (RFC 8441 §5.1). Called by `streams` for each head.

use super::decoding::Decoding;
use super::fields::{field_lines, is_for_one_connection};
use crate::http1::{Method, ResponseBody};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use memchr::{memchr_iter, memmem};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The answer to a request with this method.
    Request(Method),
    /// A WebSocket, by extended CONNECT.
    WebSocket,
}

/// An answer's head.
#[derive(Debug)]
pub struct Answer {
    /// Bytes of the HTTP/1.1 head.
    pub len: usize,
    /// `:status`
    pub status: StatusCode,
    /// All other fields.
    pub fields: HeaderMap,
    /// What comes behind it.
    pub body: Decoding,
    /// It is interim: another one follows.
    pub interim: bool,
}

/// Reads the head that `bytes` begin with; `None`: it is none, or not whole.
///
/// weir's inside has written it, and parsed it strictly before if a backend has: here it is only taken apart.
pub fn read_answer(bytes: &[u8], asked: Asked) -> Option<Answer> {
    let len = memmem::find(bytes, b"\r\n\r\n")? + 4;
    // One copy for all values, which are parts of it.
    let head = Bytes::copy_from_slice(&bytes[..len]);
    let said = StatusCode::from_bytes(head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?;
    let tunnel = asked == Asked::WebSocket && said == StatusCode::SWITCHING_PROTOCOLS;
    let mut fields = HeaderMap::try_with_capacity(memchr_iter(b'\n', &head).count()).ok()?;
    let mut body = ResponseBody::UntilClose;
    for (name, value) in field_lines(&head) {
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(head.slice_ref(value)))
        else {
            continue;
        };
        if name == header::TRANSFER_ENCODING {
            body = ResponseBody::Chunked;
        } else if name == header::CONTENT_LENGTH {
            body = ResponseBody::Length(value.to_str().ok()?.parse().ok()?);
        }
        if is_for_one_connection(&name) || tunnel && name == header::SEC_WEBSOCKET_ACCEPT {
            continue;
        }
        fields.try_append(name, value).ok()?;
    }
    if asked == Asked::Request(Method::Head) || has_no_body(said) {
        body = ResponseBody::None;
    }
    let (status, body) = match asked {
        Asked::WebSocket if tunnel => (StatusCode::OK, Decoding::Raw),
        // The client would take it for a WebSocket.
        Asked::WebSocket if said.is_success() => (StatusCode::BAD_GATEWAY, Decoding::of_response(body)),
        Asked::WebSocket | Asked::Request(_) => (said, Decoding::of_response(body)),
    };
    Some(Answer { len, status, fields, body, interim: status.is_informational() })
}

/// Whether it ends with its head whatever that says (RFC 9112 §6.3).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
