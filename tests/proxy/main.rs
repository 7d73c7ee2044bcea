//! HTTP/1.1 through the real binary: what arrives at the backend, what comes back to the client, who may go
//! on afterwards. Black-box: bytes in, bytes out, counters on the admin page.
//!
//! | file | what |
//! |---|---|
//! | `requests.rs` | methods and request bodies of every framing |
//! | `responses.rs` | response bodies of every framing, 1xx, 204, 304, HEAD, HTTP/1.0 |
//! | `fields.rs` | which fields pass, which do not, which are added; byte for byte |
//! | `forwarded.rs` | who the client is, and what the backend is told of it |
//! | `marks.rs` | request ids and trace contexts |
//! | `ages.rs` | connections that end for their age or their number of requests |
//! | `connections.rs` | keep-alive on both sides, pipelining, the idle connections |
//! | `interim.rs` | Expect, early responses, half-close |
//! | `retry.rs` | which failed attempts are made again |
//! | `budget.rs` | statuses that are tried again, and how many retries there are |
//! | `hold.rs` | small answers leave whole; streams are not delayed |
//! | `replay.rs` | bodies that are sent again |
//! | `reuse.rs` | backends that close at the instant of reuse: nothing runs twice |
//! | `refusals.rs` | requests that weir answers itself |
//! | `error_pages.rs` | what those answers look like where the listener has pages for them |
//! | `failures.rs` | backends that answer badly or not at all |
//! | `slow.rs` | time limits |
//! | `memory.rs` | slow readers and writers, and who else is affected |
//! | `vanished.rs` | clients that go away while their answer is awaited |
//! | `tunnel.rs` | upgrades |
//! | `addresses.rs` | Unix sockets and IPv6 |
//! | `chaos.rs` | everybody misbehaves at once: no answer is another's, nothing is left over |
//! | `splits.rs` | the property: any message cut anywhere arrives whole |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod addresses;
mod ages;
mod budget;
mod chaos;
mod connections;
mod error_pages;
mod failures;
mod fields;
mod forwarded;
mod hold;
mod interim;
mod marks;
mod memory;
mod refusals;
mod replay;
mod requests;
mod responses;
mod retry;
mod reuse;
mod slow;
mod splits;
mod tunnel;
mod vanished;

use harness::{Backend, Weir, one_pool};

/// weir with all defaults in front of one backend.
fn in_front_of(backend: &Backend) -> Weir {
    Weir::start(&one_pool(&[backend], "", ""))
}

/// Bytes that are not the same anywhere, so that a piece lost, doubled or swapped shows.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}
