//! What a request is known by beyond one process: its trace context, and its id.
//!
//! Here: W3C Trace Context (`traceparent`, levels 1 and 2), UUIDs of version 7, what an id from a peer may
//! be, and which traces are sampled. Pure: random bits come from [`Dice`] whose seed is handed in, and so is
//! the time. Not here: which peer is believed and what goes up (`exchange`), spans (`log`).
//!
//! | file | what |
//! |---|---|
//! | `context.rs` | `traceparent`: read, continued, written |
//! | `share.rs` | a share of all traces or requests, drawn |
//! | `uuid.rs` | request ids: made, and taken from a peer |
//! | `dice.rs` | random bits out of a seed |

mod context;
mod dice;
mod share;
mod uuid;

#[cfg(test)]
mod tests;

pub use context::{Context, Parent, SpanId, TraceId, TraceParent, hex};
pub use dice::Dice;
pub use share::Share;
pub use uuid::{ID_MAX, Mint, Uuid, UuidText, is_id};
