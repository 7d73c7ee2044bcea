//! What state a checked backend is in, and why.
//!
//! [`Checked`] is the memory of one backend's active check; [`ProbeFailure`] says how a probe failed,
//! in the words of the log; [`first_probe_after`] spreads the first probes. Pure: the probes
//! themselves (sockets, clock) are `control`'s, which hands each outcome in with its time and carries
//! the transitions to the shards and the log.

mod checked;
mod probe;
mod ramp;

pub use checked::{Checked, Rule, State, Transition, first_probe_after};
pub use probe::{ProbeFailure, Statuses, body_contains, status_matches};
pub use ramp::Ramp;

#[cfg(test)]
mod tests;
