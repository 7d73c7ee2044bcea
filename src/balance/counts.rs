//! What crosses cores about in-flight counts: a shard's report, the snapshot of all shards.
//!
//! Absolute counts, not ±1 messages: a lost ±1 is wrong for ever, a lost report till the next.
//! Here: `BackendId`, `Report`, `Snapshot`. Pure. `mesh` carries them, `control` merges them.

use crate::time::Instant;
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
    /// Exchanges in flight by [`BackendId`].
    pub in_flight: Arc<[u32]>,
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
