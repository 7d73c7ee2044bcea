//! How a response goes down to the client, and which connections live on after it.
//!
//! RFC 9112 §6.3 (a response's length), §9.3 (persistence); RFC 9110 §7.6.1 (`Connection` is per hop).
//! Called by `proxy` when a response head is there.

use crate::http1::{
    ConnectionField, DownstreamFraming, Method, RequestBody, RequestHead, ResponseBody, ResponseHead, Version,
};

/// What of a request matters once its head has been sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// Its method.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// How its body is framed.
    pub body: RequestBody,
    /// The client wants to send another request on this connection.
    pub keep_alive: bool,
    /// The client asks for another protocol.
    pub upgrade: bool,
    /// It is a call of gRPC.
    pub grpc: bool,
}

impl RequestFacts {
    /// The facts of `head`. `grpc`: it is a call of gRPC.
    pub const fn of(head: &RequestHead, grpc: bool) -> Self {
        Self {
            method: head.method,
            version: head.version,
            body: head.body,
            keep_alive: head.keep_alive,
            upgrade: head.upgrade,
            grpc,
        }
    }
}

/// What is done with a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPass {
    /// There is none.
    Nothing,
    /// So many bytes, as they come.
    Length(u64),
    /// Chunks, read and passed as they come.
    Chunks,
    /// Chunks, to a client that does not know them: their payload, and the close is the end.
    Unchunk,
    /// Until the backend closes, in chunks of ours.
    Chunk,
    /// Until the backend closes, and then we close.
    UntilClose,
}

/// How a response goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// What the new head says about the body.
    pub framing: DownstreamFraming,
    /// What it says about the connection.
    pub connection: ConnectionField,
    /// What is done with the body.
    pub body: BodyPass,
    /// The client's connection ends with this response.
    pub close: bool,
}

/// Decides how `response` goes down. `closing`: this connection ends for a reason of weir's own (it is
/// shutting down, or the request's body is not all read).
pub fn pass_response(request: &RequestFacts, response: &ResponseHead, closing: bool) -> Passing {
    let old_client = request.version == Version::Http10;
    let (framing, body) = match (response.body, old_client) {
        (ResponseBody::None, _) => (DownstreamFraming::AsReceived, BodyPass::Nothing),
        (ResponseBody::Length(0), _) => (DownstreamFraming::AsReceived, BodyPass::Nothing),
        (ResponseBody::Length(length), _) => (DownstreamFraming::AsReceived, BodyPass::Length(length)),
        (ResponseBody::Chunked, false) => (DownstreamFraming::AsReceived, BodyPass::Chunks),
        (ResponseBody::Chunked, true) => (DownstreamFraming::Bare, BodyPass::Unchunk),
        (ResponseBody::UntilClose, false) => (DownstreamFraming::AddChunked, BodyPass::Chunk),
        (ResponseBody::UntilClose, true) => (DownstreamFraming::Bare, BodyPass::UntilClose),
    };
    let bare = framing == DownstreamFraming::Bare;
    let close = closing || bare || !request.keep_alive;
    let connection = match (close, old_client) {
        (true, _) => ConnectionField::Close,
        (false, true) => ConnectionField::KeepAlive,
        (false, false) => ConnectionField::None,
    };
    Passing { framing, connection, body, close }
}

/// Whether the upstream connection may serve another exchange, once the whole request has gone up and the
/// whole response has come, with nothing behind it: the response ends by its own framing, and the backend
/// wants it.
pub fn may_pool(response: &ResponseHead) -> bool {
    response.keep_alive && response.body != ResponseBody::UntilClose
}
