//! Control's side of the counts: the last report of each shard, and their sum as snapshots.
//!
//! The sum is made anew at each merge from what the shards last said, so that nothing can drift: a
//! report that was lost, doubled or overtaken matters only until that shard's next one. Called by
//! `control`, which says when a merge is worth it (`absorb` tells) and carries the snapshots off.

use super::{Report, Snapshot};
use crate::time::Instant;
use std::sync::Arc;

/// What a shard last said.
struct Said {
    sequence: u64,
    in_flight: Arc<[u32]>,
    /// The shard has ended; what is still under way from it counts no more.
    ended: bool,
}

/// The last report of each shard.
pub struct Merger {
    shards: Vec<Said>,
    zeros: Arc<[u32]>,
    sequence: u64,
}

impl Merger {
    /// For `shards` shards, of which none has said anything yet, and `backends` backends.
    pub fn new(shards: usize, backends: usize) -> Self {
        let zeros: Arc<[u32]> = vec![0; backends].into();
        let silent = || Said { sequence: 0, in_flight: Arc::clone(&zeros), ended: false };
        Self { shards: (0..shards).map(|_| silent()).collect(), zeros, sequence: 0 }
    }

    /// Takes a report in. `true`: it is newer than what was known and says something else, so that a
    /// merge is due. An older or repeated one changes nothing, nor does one of a shard that has ended
    /// or that does not exist, nor one that counts another number of backends.
    pub fn absorb(&mut self, report: Report) -> bool {
        let Some(said) = self.shards.get_mut(usize::from(report.shard)) else { return false };
        let fits = report.in_flight.len() == said.in_flight.len();
        if said.ended || !fits || report.sequence <= said.sequence {
            return false;
        }
        said.sequence = report.sequence;
        let changed = said.in_flight != report.in_flight;
        said.in_flight = report.in_flight;
        changed
    }

    /// The shard has ended: it counts zero from here on, whatever still arrives from it. `true`: that
    /// changes a total, so that a merge is due.
    pub fn forget(&mut self, shard: u16) -> bool {
        let Some(said) = self.shards.get_mut(usize::from(shard)) else { return false };
        said.ended = true;
        let counted = said.in_flight.iter().any(|&count| count > 0);
        said.in_flight = Arc::clone(&self.zeros);
        counted
    }

    /// The sum over the shards' last reports, by backend.
    pub fn totals(&self) -> Arc<[u32]> {
        let mut totals = vec![0_u32; self.zeros.len()];
        for said in &self.shards {
            for (total, &count) in totals.iter_mut().zip(said.in_flight.iter()) {
                *total = total.saturating_add(count);
            }
        }
        totals.into()
    }

    /// What a shard last reported, by backend; zeros if it never did or has ended.
    pub fn of_shard(&self, shard: u16) -> &[u32] {
        self.shards.get(usize::from(shard)).map_or(&self.zeros, |said| &said.in_flight)
    }

    /// Sums up, under a new sequence number. What comes back holds until the next merge for all
    /// shards, which share its totals.
    pub fn merge(&mut self, now: Instant) -> Round {
        self.sequence += 1;
        Round {
            sequence: self.sequence,
            at: now,
            totals: self.totals(),
            shares: self.shards.iter().map(|said| Arc::clone(&said.in_flight)).collect(),
            zeros: Arc::clone(&self.zeros),
        }
    }
}

/// One merge: the totals, and each shard's share in them.
pub struct Round {
    sequence: u64,
    at: Instant,
    totals: Arc<[u32]>,
    shares: Vec<Arc<[u32]>>,
    zeros: Arc<[u32]>,
}

impl Round {
    /// The snapshot made out for `shard`; no copy of any count.
    pub fn for_shard(&self, shard: u16) -> Snapshot {
        let own = self.shares.get(usize::from(shard)).unwrap_or(&self.zeros);
        Snapshot {
            sequence: self.sequence,
            at: self.at,
            totals: Arc::clone(&self.totals),
            own: Arc::clone(own),
        }
    }
}
