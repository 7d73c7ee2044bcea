//! HTTP/2 to clients and to backends: the real binary, and ends that are not weir's: frames written by hand, the
//! `h2` crate, programs of others.
//!
//! | file | what |
//! |---|---|
//! | `frames.rs` | that client: frames, and fields as literals |
//! | `messages.rs` | what requests become, and what answers come back |
//! | `refused.rs` | what is refused, and how |
//! | `flow.rs` | windows, slow streams, slow readers, memory |
//! | `floods.rs` | attacks: backends' work and weir's memory while they go on |
//! | `goodbye.rs` | drains, reloads, idle connections |
//! | `websocket.rs` | WebSocket by extended CONNECT |
//! | `clients.rs` | clients of others: curl, h2load |
//! | `upstream/` | HTTP/2 to backends |
#![allow(unreachable_pub)]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod floods;
mod flow;
mod frames;
mod goodbye;
#[path = "../harness/mod.rs"]
mod harness;
mod messages;
mod refused;
mod upstream;
mod websocket;
