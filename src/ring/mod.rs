//! Stand-in until the room arrives.
mod refused;
pub use refused::{OLDEST, RECOMMENDED, RingRefused, probe};
