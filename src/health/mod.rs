//! What state a backend is in, and why; what it gets of a pool's exchanges.
//!
//! [`Checked`] is the memory of one backend's active check; [`ProbeFailure`] says how a probe failed,
//! in the words of the log; [`first_probe_after`] spreads the first probes. [`Ejector`] is a pool's
//! passive health, fed with [`Delta`]s. [`judge`] makes one verdict of the operator's will, check and
//! ejection, [`SlowStart`] and [`Ramp`] let who comes back begin small, and [`FailoverMeter`] measures
//! what a failure cost. Pure: the probes themselves (sockets, clock) are `control`'s, which hands each
//! outcome in with its time and carries the transitions to the shards and the log.

mod checked;
mod delta;
mod eject;
mod failover;
mod grpc;
mod probe;
mod ramp;
mod standing;

pub use checked::{Checked, Rule, State, Transition, first_probe_after};
pub use delta::Delta;
pub use eject::{
    Carried, Change, Ejection, Ejector, Others, Out, Ruling, TRIAL_GAP, TRIALS_NEEDED, ejected_max,
};
pub use failover::{Failover, FailoverMeter};
pub use grpc::{GRPC_ANSWER_MAX, GRPC_HEALTH_PATH, GrpcAnswer, grpc_question, judge_grpc};
pub use probe::{ProbeFailure, Statuses, body_contains, status_matches};
pub use ramp::Ramp;
pub use standing::{Condition, Exchanges, Facts, Judgement, SlowStart, Verdict, Will, judge};

#[cfg(test)]
mod tests;
