//! HTTP/2 connections, driven over a wire with the `h2` crate; each of their streams is a wire for weir's inside.
//!
//! A stream speaks HTTP/1.1 to whoever has it, so that parsing, refusing, trying again and recording are written
//! once. Here: connections and their streams, flow control end to end, what a peer may cost. Not here: what a message
//! of one version is in the other (`http2`), which connection a stream is opened on (`upstream`), which request is
//! served how (`proxy`).
//!
//! | file | what |
//! |---|---|
//! | `carrier.rs` | a wire as `h2` wants it |
//! | `timer.rs` | the deadline of a wait |
//! | `ending.rs` | streams that are over but for the peer's word |
//! | `client/` | connections to backends |
//! | `server/` | connections of clients |

mod carrier;
mod client;
mod ending;
mod server;
mod timer;

pub use client::{Broken, ClientConnection, ClientStream, Driver, Fate, NotEstablished, STREAMS_MAX};
pub use server::{Ended, ServerSettings, Serves, serve};
