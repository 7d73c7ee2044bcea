//! Collecting what the shards recorded; numbers of backends that a round sets free.

use super::Desk;
use crate::balance::BackendId;
use crate::log::export::SpanCounts;
use crate::metrics::{ShardStats, Totals};
use crate::time::Micros;
use std::cell::Ref;
use std::sync::Arc;
use tokio::task::spawn_local;

/// How long a scrape waits for the shards' boxes; it then shows what came.
const COLLECT_WITHIN: Micros = Micros::from_ms(250);

/// How long a number whose backend is gone waits for a scrape, before a round is made for it.
const ROUND_AFTER: Micros = Micros::from_s(1);
const ROUND_AT_LEAST: Micros = Micros::from_s(60);

impl Desk {
    /// Asks every shard for what it recorded and waits until all have answered, 250 ms at most. Scrapes
    /// at the same time share one round.
    pub async fn collect(&self) {
        let alive = {
            let life = self.0.life.borrow();
            let shards = 0..self.0.outboxes.borrow().len() as u16;
            shards.filter(|shard| life.is_alive(*shard)).collect::<Vec<u16>>()
        };
        if self.0.collector.borrow().is_settled() {
            self.0.round_open.set(true);
            self.0.world.borrow_mut().roster.ids().round_begins();
        }
        self.0.collector.borrow_mut().begin(alive.into_iter());
        self.ask();
        let settled = async {
            loop {
                let collected = self.0.collected.notified();
                if self.0.collector.borrow().is_settled() {
                    return;
                }
                collected.await;
            }
        };
        if tokio::time::timeout(COLLECT_WITHIN.as_duration(), settled).await.is_err() {
            let silent = self.0.collector.borrow_mut().give_up();
            tracing::warn!(shards = ?silent, "shards did not hand over their statistics within {COLLECT_WITHIN}");
            self.round_ended();
        }
    }

    /// Gives boxes to the shards whose turn it is.
    pub(super) fn ask(&self) {
        let mut collector = self.0.collector.borrow_mut();
        while let Some((shard, spare)) = collector.next() {
            let back = self.0.outboxes.borrow_mut()[usize::from(shard)].collect(spare);
            if let Some(spare) = back {
                collector.not_taken(shard, spare);
            }
        }
        let settled = collector.is_settled();
        drop(collector);
        if settled {
            self.round_ended();
            self.0.collected.notify_waiters();
        }
    }

    /// A shard's box came.
    pub(super) fn take_box(&self, shard: u16, stats: Box<ShardStats>) {
        self.0.collector.borrow_mut().collected(shard, stats);
        self.ask();
    }

    /// The numbers that the round frees are forgotten everywhere.
    fn round_ended(&self) {
        if !self.0.round_open.replace(false) {
            return;
        }
        let complete = self.0.collector.borrow().is_complete();
        let mut world = self.0.world.borrow_mut();
        let free = world.roster.ids().round_ended(complete);
        if free.is_empty() {
            return;
        }
        let mut collector = self.0.collector.borrow_mut();
        for id in &free {
            self.0.watching.freed(*id, collector.recent_mut());
            collector.reset(*id, world.leaving().get(id).map(|pool| &**pool));
        }
        collector.keep_pools(|pool| world.pools.contains_key(pool));
        world.freed(&free);
        for id in &free {
            if self.0.merger.borrow_mut().reset(*id) {
                self.0.snapshot_due.set(true);
            }
        }
    }

    /// A shard has nothing to do with a backend any more that was removed.
    pub(super) fn gone(&self, shard: u16, id: BackendId) {
        self.0.world.borrow_mut().roster.ids().gone(id, shard);
        self.want_round();
    }

    /// If a number waits for a round of statistics, has one made, and again until none waits.
    pub(super) fn want_round(&self) {
        let waits = |desk: &Self| desk.0.world.borrow_mut().roster.ids().wait_for_a_round();
        if !waits(self) || self.0.round_wanted.replace(true) {
            return;
        }
        let desk = self.clone();
        spawn_local(async move {
            let mut after = ROUND_AFTER.as_duration();
            while waits(&desk) {
                tokio::time::sleep(after).await;
                desk.collect().await;
                // A shard that hangs keeps its box; it is asked for it less and less often.
                after = (after * 2).min(ROUND_AT_LEAST.as_duration());
            }
            desk.0.round_wanted.set(false);
        });
    }

    /// Everything recorded so far; [`collect`](Self::collect) first, or it is old.
    pub fn totals(&self) -> Ref<'_, Totals> {
        Ref::map(self.0.collector.borrow(), |collector| collector.totals())
    }

    /// What became of the spans of sampled exchanges.
    pub fn spans(&self) -> Option<&SpanCounts> {
        self.0.journal.as_ref().map(|journal| journal.spans())
    }

    /// In-flight counts by backend: over all shards, as last reported.
    pub fn in_flight(&self) -> Arc<[u32]> {
        self.0.merger.borrow().totals()
    }

    /// One backend's in-flight counts by shard, as last reported.
    pub fn in_flight_per_shard(&self, id: BackendId) -> Vec<u32> {
        let merger = self.0.merger.borrow();
        let shards = self.0.outboxes.borrow().len() as u16;
        let of = |shard| merger.of_shard(shard).get(id.0 as usize).copied().unwrap_or(0);
        (0..shards).map(of).collect()
    }
}
