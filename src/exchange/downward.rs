//! A response out of the backend's bytes: its head for the client, and how its body goes down.
//!
//! From bytes to bytes, as in `upward.rs`. Not here: putting the new head in front of the body where that
//! was received (`proxy`). Called by `proxy` for each response head, interim ones included.

use super::bodies::ResponseLeft;
use super::grpc::status_in_head;
use super::marks::name_in;
use super::passing::{RequestFacts, may_pool, pass_response};
use crate::config::GrpcStatus;
use crate::http1::{
    BadHead, ConnectionField, DownstreamFraming, Fields, HeadLimits, Parse, ResponseRewrite, Version,
    parse_response, write_response,
};
use crate::time::Micros;

/// Bytes of a backend's response head: backends are trusted more than clients, but not with all memory.
pub const RESPONSE_HEAD_MAX: usize = 64 << 10;

const LIMITS: HeadLimits = HeadLimits { max_head: RESPONSE_HEAD_MAX, max_headers: 256 };

/// Interim responses (1xx) of one exchange. Each costs a send, and none ends the wait for a final one.
pub const INTERIMS_MAX: u8 = 8;

/// Why a response does not go down. Its connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Its head is refused.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// It changes the protocol, and nobody asked for that.
    #[error("the backend switches protocols unasked")]
    UnaskedUpgrade,
    /// More than [`INTERIMS_MAX`].
    #[error("the backend sends too many interim responses")]
    TooManyInterims,
}

/// A response head that was taken.
#[derive(Debug)]
pub enum Downward {
    /// An interim response (1xx), to be passed on at once. Its head, of so many bytes, has been written
    /// anew, unless the client must not have it.
    Interim {
        /// Bytes that were taken.
        len: usize,
    },
    /// The response.
    Final(FinalHead),
}

/// A final response's head.
#[derive(Debug)]
pub struct FinalHead {
    /// Bytes that were taken: the head alone.
    pub len: usize,
    /// 200 to 599, or 101 that was asked for.
    pub status: u16,
    /// Its body, of which nothing has been taken yet.
    pub body: ResponseLeft,
    /// The client's connection ends with this response.
    pub close: bool,
    /// The backend's connection may be kept, once the body is whole and if nothing came behind it.
    pub pool: bool,
    /// How long the backend says that it keeps it.
    pub keep_alive_timeout: Option<Micros>,
    /// It is a 101 that was asked for: raw bytes follow.
    pub tunnel: bool,
    /// How a call of gRPC has ended, where there is nothing but this head.
    pub grpc: Option<GrpcStatus>,
}

/// Takes one response head out of `bytes`, and appends to `out` what the client gets for it; `None` if it
/// is not whole yet. `interims`: how many interim responses there were in this exchange. `closing`: the
/// client's connection ends with this response, for weir's own reasons. `id_line`: the field line that names
/// the request, which a final response gets instead of the backend's own; empty: there is none. `fields` is
/// scratch memory, and filled for whoever looks fields up.
///
/// # Errors
/// Why it is refused.
pub fn take_response(
    bytes: &[u8],
    facts: &RequestFacts,
    interims: u8,
    closing: bool,
    id_line: &[u8],
    fields: &mut Fields,
    out: &mut Vec<u8>,
) -> Result<Option<Downward>, BadResponse> {
    let head = match parse_response(bytes, &LIMITS, fields, facts.method)? {
        Parse::Complete(head) => head,
        Parse::Partial => return Ok(None),
    };
    let tunnel = head.status == 101;
    if tunnel && !(facts.upgrade && head.upgrade) {
        return Err(BadResponse::UnaskedUpgrade);
    }
    if head.status < 200 && !tunnel {
        if interims >= INTERIMS_MAX {
            return Err(BadResponse::TooManyInterims);
        }
        let rewrite = ResponseRewrite {
            framing: DownstreamFraming::AsReceived,
            connection: ConnectionField::None,
            upgrade: false,
            added: b"",
        };
        // An HTTP/1.0 client knows no interim responses (RFC 9110 §15.2).
        if facts.version == Version::Http11 {
            write_response(bytes, &head, fields, &rewrite, out);
        }
        return Ok(Some(Downward::Interim { len: head.len }));
    }
    let passing = pass_response(facts, &head, closing && !tunnel);
    if !id_line.is_empty() {
        fields.take_out(bytes, name_in(id_line));
    }
    let rewrite = ResponseRewrite {
        framing: passing.framing,
        connection: passing.connection,
        upgrade: tunnel,
        added: id_line,
    };
    write_response(bytes, &head, fields, &rewrite, out);
    let mut body = if tunnel { ResponseLeft::UntilClose } else { ResponseLeft::of(passing.body) };
    body.heed(bytes, fields);
    let grpc = if facts.grpc && body.is_done() { status_in_head(bytes, fields) } else { None };
    Ok(Some(Downward::Final(FinalHead {
        len: head.len,
        status: head.status,
        body,
        close: passing.close,
        pool: may_pool(&head) && !facts.upgrade,
        keep_alive_timeout: head.keep_alive_timeout_s.map(|s| Micros::from_s(u64::from(s))),
        tunnel,
        grpc,
    })))
}
