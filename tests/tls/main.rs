//! TLS through the real binary: handshakes, what is sealed, backends that speak it, floods. Judged by other
//! implementations (openssl, curl), and by rustls where bytes must be put just so.
//!
//! | file | what |
//! |---|---|
//! | `seal.rs` | clients and backends of the harness, sealed |
//! | `handshake.rs` | versions, what ends a handshake, clients' certificates |
//! | `traffic.rs` | bytes both ways, records in any shape, new keys, ends |
//! | `flood.rs` | many handshakes, and who is served meanwhile |
//! | `certificates.rs` | which certificate a client gets, what is said of them, and of those of no use |
//! | `reload.rs` | certificates that are renewed, one or thousands, under load |
//! | `tickets.rs` | sessions resumed on every shard and by the next process |
//! | `upstream.rs` | backends with TLS |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod certificates;
mod flood;
mod handshake;
mod reload;
mod seal;
mod tickets;
mod traffic;
mod upstream;

use harness::{Authority, Backend, Weir, one_pool};

/// weir in front of one backend, with a certificate for "localhost"; `tls` are further lines of `[listener.tls]`.
fn in_front_of(backend: &Backend, authority: &Authority, tls: &str) -> Weir {
    Weir::start(&one_pool(&[backend], &listener(authority, tls), ""))
}

/// The listener's part of a configuration.
fn listener(authority: &Authority, tls: &str) -> String {
    let own = authority.issue("localhost", &["localhost"]);
    format!("[listener.tls]\nalpn = [\"http/1.1\"]\ncertificates = [{{ {} }}]\n{tls}\n", own.keys())
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
