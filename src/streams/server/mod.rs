//! A client's HTTP/2 connection, and its streams as layers that speak HTTP/1.1 to weir's inside.
//!
//! One task drives the connection, and each of its streams has a task of its own; what they share is the shard's
//! alone. No runtime but the shard's: deadlines are the ring's. Called by `proxy`.
//!
//! | file | what |
//! |---|---|
//! | `driver.rs` | the connection: accepts its streams, watches over it, says goodbye |
//! | `stream.rs` | a stream, as a layer: the request up |
//! | `answering.rs` | the answer down |
//! | `piece.rs` | a piece of a body on its way into DATA |
//! | `leaving.rs` | the same, for who sent it |

mod answering;
mod driver;
mod leaving;
mod piece;
mod stream;

pub use driver::{Ended, ServerSettings, Serves, serve};
