//! An operator's changes: decided by the roster, carried out, and answered when the last shard has confirmed.

use super::Desk;
use crate::fleet::change::{Change, ChangeRefused, Changed};
use crate::fleet::moved::moved;
use crate::fleet::roster::Operated;
use crate::time::Micros;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long the reports of exchanges that began before a drain may be on their way: a lone shard reports
/// every 100 ms.
const REPORTS_WITHIN: Duration = Duration::from_millis(250);

/// At the latest so often it is looked whether a backend is drained.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Desk {
    /// Makes a change, and returns once every live shard acts on it; with `dry_run` says what it would come
    /// to and does nothing.
    ///
    /// # Errors
    /// Why it was not made, or who has not confirmed it.
    pub async fn change(&self, change: &Change, dry_run: bool) -> Result<Changed, ChangeRefused> {
        if !self.is_serving() || self.0.promised.get() {
            return Err(ChangeRefused::ShuttingDown);
        }
        let operated = self.0.world.borrow().roster.consider(change)?;
        let moved = self.share_moved(&operated);
        let (words, unchanged) = (operated.words.clone(), operated.unchanged);
        let (pool, about) = (change.pool().to_owned(), operated.about.first().cloned());
        let mut changed = Changed {
            dry_run,
            words,
            unchanged,
            backend: None,
            shards: 0,
            confirmed_in: Micros::ZERO,
            moved,
        };
        if !dry_run {
            let began = self.now();
            let mark = self.operate(operated)?;
            changed.shards = self.settled(mark).await?;
            changed.confirmed_in = self.now() - began;
            let already = if unchanged { " (it was so already)" } else { "" };
            tracing::info!(%pool, shards = changed.shards, confirmed_in = %changed.confirmed_in, "changed by an operator: {}{already}", changed.words);
        }
        let is_it =
            |name: &String| self.backends().into_iter().find(|now| now.pool == pool && now.name == *name);
        changed.backend = about.as_ref().and_then(is_it);
        Ok(changed)
    }

    fn share_moved(&self, operated: &Operated) -> Option<f64> {
        let world = self.0.world.borrow();
        let policy = world.roster.config().pools[operated.pool].policy;
        let before = &world.roster.pools()[operated.pool].members;
        moved(policy, before, &operated.members, |id| {
            world.standings.get(&id).map_or(crate::balance::Traffic::NOTHING, |standing| standing.traffic)
        })
    }

    /// Carries a change out; the mark by which shards confirm it.
    fn operate(&self, operated: Operated) -> Result<u64, ChangeRefused> {
        let (told, now) = (self.told(), self.now());
        let before = self.0.world.borrow().roster.topology().generation;
        let effects = self.0.world.borrow_mut().operate(operated, &told, now);
        // The check of a pool that serves has been made ready before.
        let effects = effects.map_err(|bad| ChangeRefused::Address {
            address: String::new(),
            wrong: bad.to_string(),
            remedy: "correct the pool's health check".to_owned(),
        })?;
        self.send_topology(before);
        self.carry_out(effects);
        self.follow_groups();
        self.want_round();
        self.save();
        Ok(self.mark())
    }

    /// Writes down what operators have changed.
    pub(super) fn save(&self) {
        if let Some(state) = &self.0.state {
            state.save(&self.export());
        }
    }

    /// Waits until nothing is in flight at a backend, which is only of use once it gets nothing new.
    ///
    /// # Errors
    /// There is no such backend; or shards do not say.
    pub async fn drained(&self, pool: &str, name: &str) -> Result<(), ChangeRefused> {
        let mark = self.mark();
        self.settled(mark).await?;
        sleep(REPORTS_WITHIN).await;
        loop {
            let reported = self.0.reported.notified();
            let in_flight = self.0.merger.borrow().totals();
            let ids: Vec<usize> = {
                let world = self.0.world.borrow();
                world.roster.members(pool, name)?.iter().map(|member| member.id.0 as usize).collect()
            };
            if ids.iter().all(|id| in_flight.get(*id).copied().unwrap_or(0) == 0) {
                return Ok(());
            }
            // A report that says zero may come right now, or the backend may go.
            let _ = timeout(LOOK_EVERY, reported).await;
        }
    }
}
