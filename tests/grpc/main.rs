//! gRPC through weir, judged by its own library: a real client before it and a real server behind.
//!
//! | file | what |
//! |---|---|
//! | `scene.rs` | weir between the two, in the clear and over TLS |
//! | `server.py`, `client.py` | the two, and what the client expects |
//! | `calls.rs` | calls of all kinds: messages, metadata, statuses, ends |
//! | `failures.rs` | what is tried again, what weir answers itself |
//! | `checks.rs` | the health protocol as a check |
//! | `seen.rs` | how calls end, in the access log and the metrics |
//!
//! The library comes from a registry (`grpcio`); where it is missing the tests are skipped with a line.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod calls;
mod checks;
mod failures;
mod scene;
mod seen;
