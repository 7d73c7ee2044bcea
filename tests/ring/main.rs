//! The ring from the outside: each of its rules, on real sockets.
//!
//! Here: what the tables beside it share is in `harness.rs` (a shard's thread for one test) and `child.rs`
//! (a test that needs a process of its own). By subject: `given_up.rs` (cancelled operations, futures
//! dropped anywhere), `accept.rs`, `buffers.rs`, `starved.rs` (buffer exhaustion), `deadlines.rs`,
//! `queue.rs` (a full submission queue), `quiet.rs` (sends that wake nobody), `wake.rs` (parking and
//! waking), `rounds.rs` (hundreds of thousands of parks, glommio's lost wake), `process.rs` (kill -9,
//! EMFILE, many connections), `stress.rs` (random histories), `backends.rs` (a shard's backends, which a ring
//! is all they need).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "tests start threads and processes, and read the clock")]

mod accept;
mod backends;
mod buffers;
mod child;
mod deadlines;
mod given_up;
mod harness;
mod process;
mod queue;
mod quiet;
mod rounds;
mod sent;
mod starved;
mod stress;
mod wake;
