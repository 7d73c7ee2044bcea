//! The two vocabularies: what control tells a shard, what a shard tells control.
//!
//! Only types. Sent by `control` and `shard`, carried by [`super::mailbox`].

use crate::balance::{BackendId, Report, Snapshot};
use crate::metrics::ShardStats;

/// What control tells a shard.
#[derive(Debug)]
pub enum ToShard {
    /// All shards' in-flight counts, for the shard's view.
    Snapshot(Snapshot),
    /// These backends may be picked from now on (`true`) or no longer (`false`).
    Usable(Vec<(BackendId, bool)>),
    /// An empty box to record into from now on; the full one goes back as [`ToControl::Collected`].
    Collect(Box<ShardStats>),
    /// From now on answers say `Connection: close`; the shard still accepts (`shutdown_delay`).
    LastRequests,
    /// Stop accepting; idle connections close, the others after their exchange. Answered by
    /// [`ToControl::Drained`] once none is left.
    Drain,
    /// End at once, whatever is in flight. Answered by [`ToControl::Ended`].
    Stop,
}

/// What a shard tells control.
#[derive(Debug)]
pub enum ToControl {
    /// The shard's own in-flight counts.
    Report(Report),
    /// The box that [`ToShard::Collect`] replaced.
    Collected {
        /// The shard's number, from 0.
        shard: u16,
        /// What it recorded since the last time.
        stats: Box<ShardStats>,
    },
    /// After [`ToShard::Drain`]: the last connection is closed.
    Drained {
        /// The shard's number, from 0.
        shard: u16,
    },
    /// The shard's thread is over; nothing more comes from it.
    Ended {
        /// The shard's number, from 0.
        shard: u16,
        /// Why, if not because it was told to.
        error: Option<String>,
    },
}
