//! HTTP/2 messages as HTTP/1.1: what must hold is in tests/properties/http2.rs, and how to run this in ../README.md.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::http2::holds(bytes));
