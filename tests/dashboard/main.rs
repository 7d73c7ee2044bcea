//! The dashboard in a real browser: what it shows, what its buttons do, and who can use it.
//!
//! Each test has a weir, its backends and a headless Chromium of its own. A test that finds no Chromium is skipped,
//! under `WEIR_TESTS=all` it fails.
//!
//! | file | what |
//! |---|---|
//! | `scene.rs` | weir, backends and the browser; where things stand on the page |
//! | `shown.rs` | rows, live values, hostile names, nothing from outside, a phone |
//! | `changes.rs` | drain, ready and weight, by mouse and by keyboard |
//! | `secret.rs` | the token |
//! | `losses.rs` | a backend that dies, a weir that restarts |
//! | `access.rs` | what axe-core finds |
//! | `picture.rs` | the README's picture, on demand |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod access;
mod changes;
mod losses;
mod picture;
mod scene;
mod secret;
mod shown;
