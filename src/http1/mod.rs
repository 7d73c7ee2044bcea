//! HTTP/1.1 as bytes: heads parsed, framing decided, chunks decoded, heads rewritten.
//!
//! Here: what RFC 9112 (and RFC 9110 where it concerns the message as such) asks of one who forwards.
//! Pure: bytes in; values, byte ranges and bytes out. Nothing borrows: what is found is told as offsets
//! ([`Span`]), so the buffer may move and grow under whoever holds a head. Not here: which route a host
//! has (`route`), which status a failure gets (`exchange`), sockets (`proxy`). Called by `proxy` for each
//! head and each piece of a chunked body, by `control` for the answers to health checks.
//!
//! Strict where the RFCs leave a choice, because what two parsers read differently is how requests are
//! smuggled: a bare LF or CR, folding, a space before a colon, two lengths (equal ones too), a length
//! beside a coding, and any coding but `chunked` are refused, in either direction. Whatever is passed on
//! has been read here first: no field and no trailer goes through unlooked at, and no chunk extension at all.
//!
//! | file | what |
//! |---|---|
//! | `head.rs` | the words of both directions: `Span`, `Version`, `Method`, `Parse`, limits |
//! | `refusal.rs` | why a head is refused, and with which status |
//! | `scan.rs` | classes of bytes, runs of them |
//! | `fields.rs` | the field lines, each with what it is to us |
//! | `connection.rs` | `Connection`, `Keep-Alive`, `Upgrade`: options and nominations |
//! | `framing.rs` | `Content-Length` and `Transfer-Encoding` |
//! | `authority.rs` | host and port |
//! | `request.rs`, `response.rs` | whole heads |
//! | `client.rs` | the client behind trusted proxies |
//! | `rewrite.rs`, `write_request.rs`, `write_response.rs` | the head that goes on |
//! | `chunked.rs` | the chunked coding |
//! | `extension.rs`, `trailer.rs` | what of it is never passed on, or refused |
//! | `answer.rs`, `proxy_status.rs` | weir's own answers, and how they say whose they are |

mod answer;
mod authority;
mod chunked;
mod client;
mod connection;
mod extension;
mod fields;
mod framing;
mod head;
mod proxy_status;
mod refusal;
mod request;
mod response;
mod rewrite;
mod scan;
mod trailer;
mod write_request;
mod write_response;

#[cfg(test)]
mod tests;

pub use answer::{
    AnswerHead, GrpcAnswer, reason_phrase, write_answer_head, write_grpc_answer, write_no_content,
    write_trace,
};
pub use chunked::{
    BadChunk, CHUNK_END, ChunkDecoder, ChunkLimits, ChunkWhy, Chunks, LAST_CHUNK, write_chunk_head,
};
pub use client::{AddressText, client_named};
pub use fields::Fields;
pub use head::{HeadLimits, Method, Parse, Span, Version};
pub use proxy_status::ProxyStatus;
pub use refusal::{BadHead, Why};
pub use request::{RequestBody, RequestHead, Target, parse_request};
pub use response::{ResponseBody, ResponseHead, parse_response};
pub use trailer::{Nominations, is_forbidden_trailer};
pub use write_request::{RequestRewrite, Via, write_request};
pub use write_response::{ConnectionField, DownstreamFraming, ResponseRewrite, write_response};
