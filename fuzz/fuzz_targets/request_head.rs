//! Request heads: what must hold is in tests/properties/request_head.rs, and how to run this in ../README.md.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::request_head::holds(bytes));
