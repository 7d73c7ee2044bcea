//! An HTTP/1.1 answer's head as HTTP/2 fields: what weir's inside answers, for the client's stream.
//!
//! Here: status and fields out of the head, interim ones (1xx) included. A 101 is a 200 where the client asked by
//! extended CONNECT (RFC 8441 §5.1). Called by `streams` for each head.

use super::decoding::Decoding;
use super::fields::is_for_one_connection;
use crate::http1::{BadHead, Fields, HeadLimits, Method, Parse, parse_response};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

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

/// No answer comes here that is larger than what was read from a backend, and what weir adds.
const LIMITS: HeadLimits = HeadLimits { max_head: 1 << 20, max_headers: 4096 };

/// Reads the head that `bytes` begin with; `None`: it is not whole. `scratch` is memory for it.
///
/// # Errors
/// It is no head.
pub fn read_answer(bytes: &[u8], asked: Asked, scratch: &mut Fields) -> Result<Option<Answer>, BadHead> {
    let method = match asked {
        Asked::Request(method) => method,
        Asked::WebSocket => Method::Get,
    };
    let head = match parse_response(bytes, &LIMITS, scratch, method)? {
        Parse::Complete(head) => head,
        Parse::Partial => return Ok(None),
    };
    let tunnel = asked == Asked::WebSocket && head.status == 101;
    let (status, body) = match (head.status, asked) {
        (101, Asked::WebSocket) => (200, Decoding::Raw),
        // The client would take it for a WebSocket.
        (200..300, Asked::WebSocket) => (502, Decoding::of_response(head.body)),
        (status, _) => (status, Decoding::of_response(head.body)),
    };
    // One copy for all values, which are parts of it.
    let whole = Bytes::copy_from_slice(&bytes[..head.len]);
    let mut fields = HeaderMap::with_capacity(scratch.len());
    for (name, value) in scratch.iter(&whole) {
        let Ok(name) = HeaderName::from_bytes(name) else { continue };
        if is_for_one_connection(&name) || tunnel && name == header::SEC_WEBSOCKET_ACCEPT {
            continue;
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(whole.slice_ref(value)) {
            // Fails only if there are more than the map can hold, and `LIMITS` has fewer.
            let _ = fields.try_append(name, value);
        }
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    Ok(Some(Answer { len: head.len, status, fields, body, interim: status.is_informational() }))
}
