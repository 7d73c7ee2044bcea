//! Stand-in until the room arrives.
pub mod cpu;
pub mod kernel;
