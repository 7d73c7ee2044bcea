//! The balance room.
mod counts;
pub use counts::*;
