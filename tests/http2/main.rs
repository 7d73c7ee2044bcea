//! HTTP/2 to clients: the real binary, and a client that writes every frame by itself.
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
mod websocket;
