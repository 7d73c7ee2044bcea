//! Collecting what the shards recorded, a few boxes at a time.
//!
//! A round asks every shard for its box. A box has room for every backend (53 KiB each), so there is
//! not a spare for every shard: a few are out at once, and each that comes back is merged, cleared and
//! handed to the next shard. A shard that does not answer within the round is late: its box is written
//! off, the rest of the round ends without it, and it is asked again only once it has answered, or after
//! many rounds, as a box can be lost on its way: a shard that hangs must not have its mailbox filled.
//! No channels and no clock here: the caller sends and says when a round has lasted long enough.

use crate::balance::BackendId;
use crate::metrics::{Interval, ShardStats, Totals};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Boxes that are out at once.
const OUT_MAX: usize = 4;

/// Rounds after which a shard that is late is asked again.
const LATE_ROUNDS: u32 = 16;

/// The totals and the round under way.
pub(super) struct Collector {
    totals: Totals,
    backends: usize,
    /// Boxes, because that is what travels: it goes out and comes back without a copy.
    #[allow(clippy::vec_box)]
    spares: Vec<Box<ShardStats>>,
    /// Shards of this round that were not asked yet.
    to_ask: VecDeque<u16>,
    /// Shards of this round that have a box.
    asked: BTreeSet<u16>,
    /// A shard was left out of this round, or did not answer.
    incomplete: bool,
    /// Shards that have a box from an earlier round, and how many rounds went by without them.
    late: BTreeMap<u16, u32>,
}

impl Collector {
    pub(super) fn new(backends: usize, shards: usize) -> Self {
        Self {
            totals: Totals::new(backends, shards),
            backends,
            spares: Vec::new(),
            to_ask: VecDeque::new(),
            asked: BTreeSet::new(),
            incomplete: false,
            late: BTreeMap::new(),
        }
    }

    /// Everything that came so far.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What came since it was last cleared.
    pub(super) fn recent_mut(&mut self) -> &mut Interval {
        self.totals.recent_mut()
    }

    /// Begins a round over these shards; one that is under way goes on instead.
    pub(super) fn begin(&mut self, shards: impl Iterator<Item = u16>) {
        if self.is_settled() {
            self.late.values_mut().for_each(|rounds| *rounds += 1);
            self.late.retain(|_, rounds| *rounds < LATE_ROUNDS);
            self.incomplete = !self.late.is_empty();
            self.to_ask = shards.filter(|shard| !self.late.contains_key(shard)).collect();
        }
    }

    /// The next shard to ask, and the box to give it; `None` while enough are out.
    pub(super) fn next(&mut self) -> Option<(u16, Box<ShardStats>)> {
        if self.asked.len() >= OUT_MAX {
            return None;
        }
        let shard = self.to_ask.pop_front()?;
        self.asked.insert(shard);
        let spare = self.spares.pop().unwrap_or_else(|| Box::new(ShardStats::new(self.backends)));
        Some((shard, spare))
    }

    /// The shard did not take the box: it is left out of this round.
    pub(super) fn not_taken(&mut self, shard: u16, spare: Box<ShardStats>) {
        self.asked.remove(&shard);
        self.incomplete = true;
        self.spares.push(spare);
    }

    /// A shard's box came.
    pub(super) fn collected(&mut self, shard: u16, mut stats: Box<ShardStats>) {
        self.asked.remove(&shard);
        self.late.remove(&shard);
        self.totals.absorb(shard, &stats);
        if self.spares.len() < OUT_MAX {
            stats.clear();
            self.spares.push(stats);
        }
    }

    /// Nothing more comes from this shard.
    pub(super) fn shard_ended(&mut self, shard: u16) {
        self.asked.remove(&shard);
        self.late.remove(&shard);
        self.to_ask.retain(|waiting| *waiting != shard);
        self.totals.shard_ended(shard);
    }

    /// The round has lasted long enough. Returns the shards that did not answer.
    pub(super) fn give_up(&mut self) -> Vec<u16> {
        let silent = self.asked.iter().copied().chain(self.to_ask.drain(..)).collect();
        self.incomplete = true;
        self.late.extend(std::mem::take(&mut self.asked).into_iter().map(|shard| (shard, 0)));
        silent
    }

    /// Whether the last round has everything that live shards had recorded when it began.
    pub(super) fn is_complete(&self) -> bool {
        self.is_settled() && !self.incomplete
    }

    /// A number is given to another backend: what was recorded under it is from now on its pool's alone.
    pub(super) fn reset(&mut self, id: BackendId, pool: Option<&str>) {
        self.totals.reset(id, pool);
    }

    /// Forgets what backends came to that left other pools than these.
    pub(super) fn keep_pools(&mut self, is_there: impl Fn(&str) -> bool) {
        self.totals.keep_pools(is_there);
    }

    /// Whether no round is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.asked.is_empty() && self.to_ask.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_round_reaches_every_shard_with_four_boxes_out_and_uses_them_again() {
        let mut collector = Collector::new(1, 10);
        for round in 1..=2 {
            collector.begin(0..10);
            let (mut out, mut most) = (VecDeque::new(), 0);
            loop {
                while let Some(asked) = collector.next() {
                    out.push_back(asked);
                }
                most = most.max(out.len());
                let Some((shard, mut stats)) = out.pop_front() else { break };
                stats.accepted(None);
                collector.collected(shard, stats);
            }
            assert!(collector.is_settled());
            assert_eq!((most, collector.spares.len()), (OUT_MAX, OUT_MAX));
            assert!(collector.totals().shards().iter().all(|shard| shard.accepted == round));
        }
    }

    #[test]
    fn a_silent_shard_holds_up_one_round_and_counts_again_once_it_answers() {
        let mut collector = Collector::new(1, 2);
        collector.begin(0..2);
        let (_, first) = collector.next().unwrap();
        let (silent, mut held) = collector.next().unwrap();
        collector.collected(0, first);
        assert_eq!(collector.give_up(), [silent]);
        collector.begin(0..2);
        let (shard, stats) = collector.next().unwrap();
        assert_eq!((shard, collector.next().is_none()), (0, true), "the silent one is not asked again");
        collector.collected(0, stats);
        assert!(collector.is_settled());
        held.accepted(None);
        collector.collected(silent, held);
        assert_eq!(collector.totals().shards()[1].accepted, 1, "what it recorded is not lost");
        collector.begin(0..2);
        assert_eq!(std::iter::from_fn(|| collector.next()).count(), 2);
    }

    #[test]
    fn a_shard_whose_box_was_lost_is_asked_again_after_many_rounds() {
        let mut collector = Collector::new(1, 1);
        collector.begin(0..1);
        assert!(collector.next().is_some());
        collector.give_up();
        let asked_in = (1..100).find(|_| {
            collector.begin(0..1);
            collector.next().is_some()
        });
        assert_eq!(asked_in, Some(LATE_ROUNDS));
    }

    #[test]
    fn a_shard_that_ended_or_took_no_box_does_not_hold_up_the_round() {
        let mut collector = Collector::new(1, 6);
        collector.begin(0..6);
        let (full, spare) = collector.next().unwrap();
        collector.not_taken(full, spare);
        assert_eq!(std::iter::from_fn(|| collector.next()).count(), OUT_MAX);
        (1..6).for_each(|shard| collector.shard_ended(shard));
        assert!(collector.is_settled());
    }
}
