//! Strict HTTP/1.1 through the real binary, clause by clause: what weir takes means one thing to everyone
//! behind it, and what could mean two is refused and never seen there.
//!
//! `CLAUSES.md` is the table: each clause of RFC 9112 and of RFC 9110 that binds an intermediary, what weir
//! does, and the tests that show it. Black-box: bytes in, bytes out; the judge is what the backend got.
//!
//! | file | what |
//! |---|---|
//! | `judge.rs` | weir in front of a backend that keeps every byte, and what is asserted of both |
//! | `clauses.rs` | the table is true: its tests exist, and none of this suite is missing from it |
//! | `request_line.rs` | the request line, the forms of targets, versions, methods |
//! | `hosts.rs` | Host, alone and beside an absolute target |
//! | `field_lines.rs` | names, values and line ends, byte by byte |
//! | `framing.rs` | every combination of Content-Length and Transfer-Encoding |
//! | `chunks.rs` | the chunked coding: sizes, extensions, trailers |
//! | `hops.rs` | Connection and what it names, TE, Via, Max-Forwards, Expect |
//! | `ordinary.rs` | ordinary requests arrive byte for byte |
//! | `smuggling.rs` | the vectors that are known, and a second client |
//! | `paths.rs` | encodings of paths against two routes |
//! | `responses.rs` | backends are read as strictly as clients |
//! | `leftovers.rs` | bytes behind a response are never the next client's |
//! | `interim.rs` | 1xx responses |
//! | `upgrades.rs` | who gets raw bytes, and when |
//! | `websocket.rs` | WebSocket by an independent client and server |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod chunks;
mod clauses;
mod field_lines;
mod framing;
mod hops;
mod hosts;
mod interim;
mod judge;
mod leftovers;
mod ordinary;
mod paths;
mod request_line;
mod responses;
mod smuggling;
mod upgrades;
mod websocket;
