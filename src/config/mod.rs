//! TOML text to a checked `Config`.
mod model;
pub use model::*;
