//! What crosses cores about in-flight counts: a shard's report, the snapshot of all shards.
//!
//! Absolute counts, not ±1 messages: a lost ±1 is wrong for ever, a lost report till the next.
//! Here: `BackendId`, `Report`, `Outcome`, `Snapshot`, `Traffic`. Pure. `mesh` carries them, `control` merges them.

use crate::health::Ramp;
use crate::time::{Instant, Micros};
use std::sync::Arc;

/// A backend's number in the process: dense, over all pools, in the configuration's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// One shard's own in-flight counts, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The shard's number, from 0.
    pub shard: u16,
    /// Grows by one with each report of this shard, from 1.
    pub sequence: u64,
    /// Exchanges in flight by [`BackendId`]; backends beyond its end have none.
    pub in_flight: Arc<[u32]>,
    /// What exchanges came to, of the backends for which that changed since the last report.
    pub outcomes: Vec<(BackendId, Outcome)>,
}

/// What one backend's exchanges came to on one shard: absolute since the shard first heard of it, so that
/// a lost report heals by the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Exchanges that the backend served.
    pub passed: u64,
    /// Exchanges, or attempts, that it failed: no connection, no response, truncated, stalled, in no
    /// time, or a 5xx.
    pub failed: u64,
    /// Of the failures those in a row, since the last that passed.
    pub run: u32,
    /// When the first of that run ended.
    pub run_began: Instant,
    /// The last failure's word, as in the metrics.
    pub last: &'static str,
    /// Of all failures those that a client noticed: it got weir's error, a 5xx, or a cut response.
    pub noticed: u64,
    /// Of all those that passed and failed, the ones let through by [`Admitted::Trials`].
    pub trials_passed: u64,
    /// See `trials_passed`.
    pub trials_failed: u64,
    /// How many response times are in `log2_sum`.
    pub timed: u64,
    /// Sum of log2(microseconds to the first byte, at least 1) × 256 of responses: a mean of logarithms
    /// is little moved by a few outliers.
    pub log2_sum: u64,
}

/// Whether a backend gets exchanges, and how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Which exchanges it gets.
    pub admitted: Admitted,
    /// It has just come up and gets its share little by little; `None`: its whole share.
    pub ramp: Option<Ramp>,
}

/// Which exchanges a backend gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// None.
    Nothing,
    /// It was ejected and is tried again: only exchanges that can be retried elsewhere, one at a time on
    /// each shard.
    Trials {
        /// How long after the begin of one trial this shard begins the next.
        gap: Micros,
    },
    /// Any.
    All,
}

impl Traffic {
    /// Any exchange, the whole share.
    pub const ALL: Self = Self { admitted: Admitted::All, ramp: None };
    /// No exchange.
    pub const NOTHING: Self = Self { admitted: Admitted::Nothing, ramp: None };
}

/// All shards' counts as control last knew them, made out for one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with each snapshot, from 1; an older one never replaces a newer one.
    pub sequence: u64,
    /// When control merged it.
    pub at: Instant,
    /// In-flight by [`BackendId`], summed over the shards' last reports.
    pub totals: Arc<[u32]>,
    /// The receiving shard's own share in `totals`: its last report that was merged, or zeros.
    pub own: Arc<[u32]>,
}
