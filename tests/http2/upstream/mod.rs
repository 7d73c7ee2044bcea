//! HTTP/2 to backends: the `h2` crate, and frames written by hand where one breaks the rules.
//!
//! | file | what |
//! |---|---|
//! | `backend.rs` | an HTTP/2 backend that does as it is told |
//! | `frames.rs` | frames of a backend, written by hand |
//! | `passing.rs` | what passes to backends and back |
//! | `shared.rs` | which connections exchanges share, and how many |
//! | `sealed.rs` | HTTP/2 over TLS |
//! | `endings.rs` | backends that go away, refuse, misbehave |
#![allow(unreachable_pub)]

mod backend;
mod endings;
mod frames;
mod passing;
mod sealed;
mod shared;

use crate::harness;
use backend::H2Backend;

/// A configuration with one shard, a listener on `{web}` and one pool of these HTTP/2 backends. `upstream`: further
/// keys of its `upstream` section; `pool`: further sections.
fn h2_pool(backends: &[String], upstream: &str, pool: &str) -> String {
    let mut config = format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         pool = \"app\"\n[pool.app.upstream]\nprotocol = \"h2\"\n{upstream}\n{pool}\n"
    );
    for (name, address) in backends.iter().enumerate() {
        config.push_str(&format!("[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n"));
    }
    config
}

/// weir in front of one HTTP/2 backend.
fn in_front_of(backend: &H2Backend) -> harness::Weir {
    harness::Weir::start(&h2_pool(&[backend.address()], "", ""))
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
