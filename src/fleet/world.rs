//! Who gets traffic: the roster, the checks' verdicts, the ejections and the operator's will, put together.
//!
//! Everything that control decides about backends is decided here, for whole pools at once, by the pure
//! rules of `health`; each call says what follows: traffic to be carried to the shards, lines for the log,
//! checks to be hurried. No socket and no clock: the desk carries and logs, and hands `now` in.

use super::addresses::{Addresses, is_name};
use super::carried::Carried;
use super::check::BadCheck;
use super::groups::{GroupId, Groups};
use super::merge::merge;
use super::roster::{Next, Operated, Pool, Roster, Told};
use super::standing::{Effects, Notice, Standing, note};
use super::status::{Left, Will};
use crate::balance::{Admitted, BackendId, Outcome, Outcomes, Traffic};
use crate::config::{Config, Eject};
use crate::health::{
    self, Condition, Ejector, Exchanges, Facts, Failover, FailoverMeter, ProbeFailure, State, TRIAL_GAP,
    judge,
};
use crate::time::{Instant, Micros};
use crate::topology::{ListenerPlan, Topology};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pool's passive health.
#[derive(Default)]
pub(crate) struct PoolHealth {
    pub(crate) ejector: Option<Ejector>,
    /// So few are healthy that all get traffic.
    pub(crate) panic: bool,
    /// What became of the backends that left.
    pub(crate) left: Left,
}

/// All that control decides about.
pub struct World {
    pub(crate) roster: Roster,
    pub(crate) groups: Groups,
    pub(crate) pools: BTreeMap<String, PoolHealth>,
    pub(crate) standings: BTreeMap<BackendId, Standing>,
    /// Backends that left, and their pools, until their numbers are free.
    leaving: BTreeMap<BackendId, Arc<str>>,
    outcomes: Outcomes,
    meter: FailoverMeter,
    /// Shards that serve: trials are spread over them.
    shards: usize,
}

impl World {
    /// The world of a process that begins: this configuration with these addresses and listeners; what
    /// was carried from another process holds as far as the configuration says what it said then.
    ///
    /// # Errors
    /// A check whose request is no HTTP.
    pub fn of(
        config: Arc<Config>,
        addresses: Addresses,
        listeners: Vec<Arc<ListenerPlan>>,
        sealing: Vec<Option<Arc<ClientConfig>>>,
        shards: usize,
        carried: Option<Carried>,
        now: Instant,
    ) -> Result<Self, BadCheck> {
        let next = Next { config: config.clone(), names: addresses, listeners, sealing };
        let mut world = Self::new(next, shards, now)?;
        if let Some(carried) = carried {
            let (carried, forgotten) = merge(carried, &config.pools);
            forgotten.iter().for_each(|forgotten| tracing::warn!("{forgotten}"));
            world.restore(&carried, now)?;
        }
        Ok(world)
    }

    /// What shards are told.
    pub fn topology(&self) -> &Arc<Topology> {
        self.roster.topology()
    }

    fn new(next: Next, shards: usize, now: Instant) -> Result<Self, BadCheck> {
        let mut world = Self {
            roster: Roster::empty(),
            groups: Groups::default(),
            pools: BTreeMap::new(),
            standings: BTreeMap::new(),
            leaving: BTreeMap::new(),
            outcomes: Outcomes::default(),
            meter: FailoverMeter::default(),
            shards,
        };
        world.roster.follow(next, &[]);
        world.settle(now)?;
        world.begin(now);
        Ok(world)
    }

    /// Makes the first topology say what its backends get.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.judge_all(now, &mut Effects::default());
        let standings = &self.standings;
        self.roster.begin_with(|id| standings.get(&id).map_or(Traffic::NOTHING, |standing| standing.traffic));
    }

    /// Another configuration, or other addresses, hold. Says what changed among the backends.
    ///
    /// # Errors
    /// A check whose request is no HTTP.
    pub(crate) fn follow(
        &mut self,
        next: Next,
        told: Told<'_>,
        now: Instant,
    ) -> Result<(Vec<String>, Effects), BadCheck> {
        let words = self.roster.follow(next, told);
        self.settle(now)?;
        let mut effects = Effects::default();
        self.judge_all(now, &mut effects);
        Ok((words, effects))
    }

    /// An operator's change is made.
    ///
    /// # Errors
    /// A check whose request is no HTTP.
    pub(crate) fn operate(
        &mut self,
        operated: Operated,
        told: Told<'_>,
        now: Instant,
    ) -> Result<Effects, BadCheck> {
        let pool = operated.pool;
        let about = operated.about.clone();
        let checked = self.roster.config().pools[pool].health.is_some();
        let initial = if checked { Traffic::NOTHING } else { Traffic::ALL };
        self.roster.operate(operated, initial, told);
        self.settle(now)?;
        let mut effects = Effects::default();
        self.forgive(pool, &about, now, &mut effects);
        self.judge(pool, now, &mut effects);
        Ok(effects)
    }

    /// Whom the operator declares ready begins anew.
    fn forgive(&mut self, pool: usize, about: &[String], now: Instant, effects: &mut Effects) {
        let entry = &self.roster.pools()[pool];
        let ready = entry.members.iter().filter(|member| member.will == Will::Ready);
        let ids: Vec<BackendId> =
            ready.filter(|member| about.contains(&member.name)).map(|member| member.id).collect();
        let Some(ejector) = self.pools.get_mut(&entry.name).and_then(|health| health.ejector.as_mut()) else {
            return;
        };
        let changes: Vec<health::Change> = ids
            .iter()
            .filter(|id| ejector.ejection(id.0).is_some())
            .map(|id| id.0)
            .collect::<Vec<u32>>()
            .into_iter()
            .flat_map(|id| ejector.forgive(id, now))
            .collect();
        note(entry, &changes, &mut self.standings, effects);
    }

    /// Groups, ejectors and standings become those of the roster.
    pub(crate) fn settle(&mut self, now: Instant) -> Result<(), BadCheck> {
        let served = |id| {
            use Condition::{Ejected, NoCheck, Trial};
            let condition = self.standings.get(&id).and_then(|standing| standing.condition);
            matches!(condition, Some(NoCheck | Ejected | Trial))
        };
        self.groups.follow(&self.roster, served, now)?;
        let mut pools = std::mem::take(&mut self.pools);
        let mut standings = std::mem::take(&mut self.standings);
        for (pool, configured) in self.roster.configured() {
            let mut health = pools.remove(&pool.name).unwrap_or_default();
            health.ejector = ejector(health.ejector.take(), configured.eject);
            self.pools.insert(pool.name.clone(), health);
            for member in &pool.members {
                let standing = standings.remove(&member.id);
                let standing = standing.unwrap_or_else(|| Standing::new(&pool.name, now));
                self.standings.insert(member.id, standing);
            }
        }
        for (id, standing) in standings {
            if let Some(health) = self.pools.get_mut(&*standing.pool) {
                standing.leaves(&mut health.left);
            }
            self.leaving.insert(id, standing.pool);
        }
        Ok(())
    }

    /// A group's check ended.
    pub(crate) fn checked(
        &mut self,
        number: GroupId,
        outcome: &Result<(), ProbeFailure>,
        began: Instant,
        now: Instant,
    ) -> Effects {
        let mut effects = Effects::default();
        let Some(group) = self.groups.get_mut(number) else { return effects };
        let Some(transition) = group.observe(outcome, began, now) else { return effects };
        let members = group.members.clone();
        let mut pools: Vec<usize> = Vec::new();
        for id in members {
            if transition.to == State::Down
                && let Some(standing) = self.standings.get_mut(&id)
            {
                standing.first_failed = Some(transition.began);
            }
            pools.extend(self.roster.place(id).map(|(pool, _)| pool));
        }
        pools.sort_unstable();
        pools.dedup();
        pools.into_iter().for_each(|pool| self.judge(pool, now, &mut effects));
        effects
    }

    /// A shard said what its exchanges came to.
    pub(crate) fn outcomes(
        &mut self,
        shard: u16,
        outcomes: Vec<(BackendId, Outcome)>,
        now: Instant,
    ) -> Effects {
        let mut effects = Effects::default();
        for (id, outcome) in outcomes {
            let Some(delta) = self.outcomes.absorb(shard, id, outcome) else { continue };
            self.meter.observe(id.0, &delta, now);
            if delta.failed > 0
                && let Some(number) = self.groups.number_of(id)
                && self.groups.get_mut(number).is_some_and(super::groups::Group::suspect)
            {
                effects.hurry.push(number);
            }
            let Some((place, at)) = self.roster.place(id) else { continue };
            let pool = &self.roster.pools()[place];
            if let Some(standing) = self.standings.get_mut(&id) {
                let cannot = delta.passed == 0 && delta.failed > 0 && delta.last.starts_with("connect");
                standing.cannot_connect = cannot;
            }
            let written = &pool.members[at].written;
            let cannot = |member: &super::roster::Member| {
                self.standings.get(&member.id).is_some_and(|standing| standing.cannot_connect)
            };
            if delta.failed > 0
                && is_name(written)
                && pool.members.iter().filter(|member| member.written == *written).all(cannot)
            {
                effects.doubted.push(written.clone());
            }
            let ejector = self.pools.get_mut(&pool.name).and_then(|health| health.ejector.as_mut());
            let changes = ejector.map_or_else(Vec::new, |ejector| ejector.observe(id.0, &delta, now));
            if !changes.is_empty() {
                note(pool, &changes, &mut self.standings, &mut effects);
                self.judge(place, now, &mut effects);
            }
        }
        effects
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Effects {
        let mut effects = Effects::default();
        if now < self.next() {
            return effects;
        }
        for place in 0..self.roster.pools().len() {
            let pool = &self.roster.pools()[place];
            let ejector = self.pools.get_mut(&pool.name).and_then(|health| health.ejector.as_mut());
            let changes = ejector.map_or_else(Vec::new, |ejector| ejector.tick(now));
            if !changes.is_empty() {
                note(pool, &changes, &mut self.standings, &mut effects);
                self.judge(place, now, &mut effects);
            }
        }
        effects
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next(&self) -> Instant {
        let ejectors = self.pools.values().filter_map(|health| health.ejector.as_ref());
        ejectors.map(Ejector::next).min().unwrap_or(Instant::NEVER)
    }

    /// A shard has ended: so many serve on.
    pub(crate) fn shard_ended(&mut self, shard: u16, serving: usize, now: Instant) -> Effects {
        self.outcomes.forget_shard(shard);
        self.roster.ids().shard_ended(shard);
        self.shards = serving.max(1);
        let mut effects = Effects::default();
        self.judge_all(now, &mut effects);
        effects
    }

    /// The shards are told of a failing backend's traffic before the mark `mark`.
    pub(crate) fn stopping(&mut self, id: BackendId, first_failed: Instant, mark: u64) {
        self.meter.stopping(id.0, first_failed, mark);
    }

    /// Every shard has marked `mark`: what failovers that ends.
    pub(crate) fn marked(&mut self, mark: u64, now: Instant) -> Vec<Failover> {
        let ended = self.meter.marked(mark, now);
        for failover in &ended {
            if let Some(standing) = self.standings.get_mut(&BackendId(failover.backend)) {
                let failovers = &mut standing.failovers;
                failovers.last = Some(failover.took);
                failovers.count += 1;
                failovers.sum = Micros::from_us(failovers.sum.as_us().saturating_add(failover.took.as_us()));
                failovers.lost += failover.noticed;
            }
        }
        ended
    }

    /// These numbers are free: nothing of their last holders may count for the next.
    pub(crate) fn freed(&mut self, ids: &[BackendId]) {
        for id in ids {
            self.leaving.remove(id);
            self.outcomes.forget(*id);
            self.meter.forget(id.0);
        }
    }

    /// Backends that left and whose numbers are not free yet, and the pools that they were of.
    pub(crate) fn leaving(&self) -> &BTreeMap<BackendId, Arc<str>> {
        &self.leaving
    }

    fn judge_all(&mut self, now: Instant, effects: &mut Effects) {
        (0..self.roster.pools().len()).for_each(|pool| self.judge(pool, now, effects));
    }

    /// Judges a pool, and says what that changes.
    fn judge(&mut self, place: usize, now: Instant, effects: &mut Effects) {
        let (pool, configured) = (&self.roster.pools()[place], &self.roster.config().pools[place]);
        let Some(health) = self.pools.get_mut(&pool.name) else { return };
        let facts = facts(pool, &self.groups, health, &mut self.standings, now, effects);
        let mut judged = judge(&facts, configured.panic_below);
        if judged.healthy == 0 && configured.fallback.is_some() {
            // Panic would hold everybody here, with those that are all believed to be down.
            judged = judge(&facts, 0.0);
        }
        if health.panic != judged.panic {
            health.panic = judged.panic;
            let (healthy, counted) = (judged.healthy, judged.counted);
            let pool = pool.name.clone();
            effects.notices.push(Notice::Panic { pool, begins: judged.panic, healthy, counted });
        }
        let gap = Micros::from_us(TRIAL_GAP.as_us() * self.shards.max(1) as u64);
        for (member, verdict) in pool.members.iter().zip(&judged.verdicts) {
            let Some(standing) = self.standings.get_mut(&member.id) else { continue };
            standing.slow.follow(verdict.condition, now);
            let admitted = match verdict.exchanges {
                Exchanges::Nothing => Admitted::Nothing,
                Exchanges::Trials => Admitted::Trials { gap },
                Exchanges::All => Admitted::All,
            };
            let ramp = standing.slow.ramp(configured.slow_start, now).filter(|_| admitted == Admitted::All);
            let traffic = Traffic { admitted, ramp };
            let check_says = self.groups.of(member.id).map(|group| group.checked.why());
            standing.enter((pool, member), verdict.condition, check_says, traffic, now, effects);
        }
    }
}

/// What speaks about each member, once the ejector knows what else does.
fn facts(
    pool: &Pool,
    groups: &Groups,
    health: &mut PoolHealth,
    standings: &mut BTreeMap<BackendId, Standing>,
    now: Instant,
    effects: &mut Effects,
) -> Vec<Facts> {
    let mut facts: Vec<Facts> = pool
        .members
        .iter()
        .map(|member| Facts {
            will: member.will.into(),
            check: groups.of(member.id).map(|group| group.checked.state()),
            out: None,
        })
        .collect();
    if let Some(ejector) = &mut health.ejector {
        let others: Vec<(u32, health::Others)> =
            pool.members.iter().zip(&facts).map(|(member, facts)| (member.id.0, facts.others())).collect();
        let changes = ejector.set_members(&others, now);
        note(pool, &changes, standings, effects);
        for (member, facts) in pool.members.iter().zip(&mut facts) {
            facts.out = ejector.ejection(member.id.0).map(|ejection| ejection.out);
        }
    }
    facts
}

fn ejector(held: Option<Ejector>, rule: Option<Eject>) -> Option<Ejector> {
    let rule = rule?;
    let Some(mut ejector) = held else { return Some(Ejector::new(rule)) };
    ejector.set_rule(rule);
    Some(ejector)
}

impl From<Will> for health::Will {
    fn from(will: Will) -> Self {
        match will {
            Will::Ready => Self::Ready,
            Will::Draining => Self::Draining,
            Will::Maintenance => Self::Maintenance,
        }
    }
}
