//! What one backend's exchanges came to lately, over all shards: what passive health is fed with.
//!
//! Made by `balance::Outcomes` from what the shards report; read by the ejector and the failover meter.

use crate::time::Instant;

/// What one backend's exchanges came to since the last time, and the run of failures it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Exchanges that it served.
    pub passed: u64,
    /// Exchanges, or attempts, that it failed.
    pub failed: u64,
    /// Failures in a row since the last that passed, over all shards, those before this delta included.
    pub run: u32,
    /// When the first of that run ended; [`Instant::NEVER`]: no later than now, but it is not known when.
    pub first_failed_at: Instant,
    /// The last failure's word, as in the metrics.
    pub last: &'static str,
    /// Of the failures those that a client noticed.
    pub noticed: u64,
    /// Of those that passed the trials.
    pub trials_passed: u64,
    /// Of those that failed the trials.
    pub trials_failed: u64,
    /// How many response times are in `log2_sum`.
    pub timed: u64,
    /// Sum of log2(microseconds to the first byte, at least 1) × 256.
    pub log2_sum: u64,
}

impl Default for Delta {
    fn default() -> Self {
        Self {
            passed: 0,
            failed: 0,
            run: 0,
            first_failed_at: Instant::NEVER,
            last: "",
            noticed: 0,
            trials_passed: 0,
            trials_failed: 0,
            timed: 0,
            log2_sum: 0,
        }
    }
}
