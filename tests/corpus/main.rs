//! What is fuzzed, as ordinary tests: the kept corpus, what was found before, and generated messages.
//!
//! The properties are those of the fuzz targets (`tests/properties`); how to fuzz is in `fuzz/README.md`.
//!
//! | file | what |
//! |---|---|
//! | `kept.rs` | every file of `fuzz/corpus` and `fuzz/seeds` |
//! | `found.rs` | what fuzzing found, each by name; and broken readers, which the properties must notice |
//! | `generated.rs` | realistic and smuggling material, put together and mutated |
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../properties/mod.rs"]
mod properties;

mod found;
mod generated;
mod kept;
