//! HTTP/2 messages as HTTP/1.1 and back (RFC 9113 §8), and the meter of floods.
//!
//! Each stream of an HTTP/2 connection speaks HTTP/1.1 to weir's inside, so that parsing, refusing, routing, trying
//! again and recording are written once. What is synthesised here is read by the strict parser of `http1` like what
//! a client sent, so whatever that refuses is refused here too; this room refuses only what HTTP/1.1 could not show.
//! Pure: fields and bytes in; bytes, fields and ranges out. Not here: frames, HPACK and flow control (the `h2`
//! crate, driven by `streams`). Called by `streams` for each message and each piece of a body.
//!
//! | file | what |
//! |---|---|
//! | `fields.rs` | field lines of one version as those of the other |
//! | `encoding.rs` | DATA and trailers as an HTTP/1.1 body |
//! | `decoding.rs` | an HTTP/1.1 body as DATA and trailers |
//! | `request.rs` | a client's request as an HTTP/1.1 head |
//! | `answer.rs` | an HTTP/1.1 answer's head as fields |
//! | `client.rs` | heads on the way to a backend, and back |
//! | `frames.rs`, `meter.rs` | what a connection's frames cost, and when it is a flood |

mod answer;
mod client;
mod decoding;
mod encoding;
mod fields;
mod frames;
mod meter;
mod request;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Asked, read_answer};
pub use client::{
    BackendRequest, Expects, Terms, Untranslatable, read_backend_request, without_forbidden,
    write_backend_answer,
};
pub use decoding::{Decoded, Decoding};
pub use encoding::{BadData, Encoding};
pub use fields::{fields_of_lines, is_for_one_connection, write_line};
pub use meter::{Flood, Meter};
pub use request::{Malformed, RequestFields, write_request_head};
