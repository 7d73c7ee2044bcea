//! HTTP/2 connections, driven over a [`Wire`](crate::wire::Wire) with the `h2` crate: each stream is a layer that
//! speaks HTTP/1.1 to weir's inside.
//!
//! Here: reading and writing frames by the ring, streams as layers, when a connection is idle, full or abusive, and
//! how it says goodbye. Not here: what messages become (`http2`), what is done with a stream (`proxy`), TLS (`tls`).
//! One task drives a connection, and each of its streams has a task of its own; what is shared among them is the
//! shard's alone. No runtime but the shard's: deadlines are the ring's.
//!
//! | file | what |
//! |---|---|
//! | `carrier.rs` | what `h2` reads from and writes to: a wire |
//! | `piece.rs` | a piece of a body on its way into DATA |
//! | `leaving.rs` | the same, for who sent it |
//! | `server.rs` | a client's connection: accepts its streams, watches over it, says goodbye |
//! | `server_stream.rs` | one of its streams, as a layer: the request up |
//! | `answering.rs` | the answer down |

mod answering;
mod carrier;
mod leaving;
mod piece;
mod server;
mod server_stream;

pub use carrier::{Carrier, Io};
pub use leaving::{Away, Waits};
pub use piece::{Left, Piece};
pub use server::{Ended, ServerSettings, Serves, serve};
