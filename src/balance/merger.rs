//! Control's side of the counts: the last report of each shard, and their sum as snapshots.
//!
//! The sum is made anew at each merge from what the shards last said, so that nothing can drift: a
//! report that was lost, doubled or overtaken matters only until that shard's next one. Called by
//! `control`, which says when a merge is worth it (`absorb` tells) and carries the snapshots off.

use super::{BackendId, Report, Snapshot};
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
    /// How many backends the totals have at least.
    backends: usize,
    sequence: u64,
}

impl Merger {
    /// For `shards` shards, of which none has said anything yet, and `backends` backends to begin with.
    pub fn new(shards: usize, backends: usize) -> Self {
        let silent = || Said { sequence: 0, in_flight: Arc::new([]), ended: false };
        Self { shards: (0..shards).map(|_| silent()).collect(), backends, sequence: 0 }
    }

    /// From here on there are `backends` backends at least.
    pub fn grow(&mut self, backends: usize) {
        self.backends = self.backends.max(backends);
    }

    /// The number was given to another backend, which has nothing in flight anywhere. `true`: that
    /// changes a total, so that a merge is due.
    pub fn reset(&mut self, backend: BackendId) -> bool {
        let mut changed = false;
        for said in &mut self.shards {
            if said.in_flight.get(backend.0 as usize).is_some_and(|&count| count > 0) {
                Arc::make_mut(&mut said.in_flight)[backend.0 as usize] = 0;
                changed = true;
            }
        }
        changed
    }

    /// Takes a report in. `true`: it is newer than what was known and says something else, so that a
    /// merge is due. An older or repeated one changes nothing, nor does one of a shard that has ended
    /// or that does not exist. It may count fewer backends or more than the last: those beyond its end
    /// have nothing in flight. Its outcomes are none of this room's business.
    pub fn absorb(&mut self, report: Report) -> bool {
        let Some(said) = self.shards.get_mut(usize::from(report.shard)) else { return false };
        if said.ended || report.sequence <= said.sequence {
            return false;
        }
        said.sequence = report.sequence;
        let changed = !says_the_same(&said.in_flight, &report.in_flight);
        said.in_flight = report.in_flight;
        changed
    }

    /// The shard has ended: it counts zero from here on, whatever still arrives from it. `true`: that
    /// changes a total, so that a merge is due.
    pub fn forget(&mut self, shard: u16) -> bool {
        let Some(said) = self.shards.get_mut(usize::from(shard)) else { return false };
        said.ended = true;
        let counted = said.in_flight.iter().any(|&count| count > 0);
        said.in_flight = Arc::new([]);
        counted
    }

    /// The sum over the shards' last reports, by backend: as many as the longest report has, and no
    /// fewer than this was made or grown for.
    pub fn totals(&self) -> Arc<[u32]> {
        let longest = self.shards.iter().map(|said| said.in_flight.len()).max().unwrap_or(0);
        let mut totals = vec![0_u32; longest.max(self.backends)];
        for said in &self.shards {
            for (total, &count) in totals.iter_mut().zip(said.in_flight.iter()) {
                *total = total.saturating_add(count);
            }
        }
        totals.into()
    }

    /// What a shard last reported, by backend; those beyond its end have nothing in flight, nor has one
    /// that never reported or has ended.
    pub fn of_shard(&self, shard: u16) -> &[u32] {
        self.shards.get(usize::from(shard)).map_or(&[], |said| &said.in_flight)
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
        }
    }
}

/// Whether two reports count the same; what is missing at the end of either is zero.
fn says_the_same(a: &[u32], b: &[u32]) -> bool {
    let common = a.len().min(b.len());
    a[..common] == b[..common] && a[common..].iter().chain(&b[common..]).all(|&count| count == 0)
}

/// One merge: the totals, and each shard's share in them.
pub struct Round {
    sequence: u64,
    at: Instant,
    totals: Arc<[u32]>,
    shares: Vec<Arc<[u32]>>,
}

impl Round {
    /// The snapshot made out for `shard`; no copy of any count.
    pub fn for_shard(&self, shard: u16) -> Snapshot {
        let own = self.shares.get(usize::from(shard)).map_or_else(|| Arc::from([]), Arc::clone);
        Snapshot { sequence: self.sequence, at: self.at, totals: Arc::clone(&self.totals), own }
    }
}
