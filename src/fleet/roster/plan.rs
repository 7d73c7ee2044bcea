//! The topology: what the roster comes to for shards, of parts shared with the last one.

use super::{Member, Pool, Roster};
use crate::config::{self, AccessFormat, Config};
use crate::exchange::Budget;
use crate::time::Micros;
use crate::topology::{BackendPlan, Lines, PoolPlan, Recording, Share, Topology};
use std::sync::Arc;

impl Roster {
    /// Makes the topology anew, as generation `generation`.
    pub(super) fn plan(&mut self, generation: u64) {
        for (pool, configured) in self.pools.iter_mut().zip(&self.config.pools) {
            pool.plan = pool_plan(pool, configured);
        }
        self.places = vec![None; self.ids.end()];
        for (place, pool) in self.pools.iter().enumerate() {
            for (at, member) in pool.members.iter().enumerate() {
                self.places[member.id.0 as usize] = Some((place, at));
            }
        }
        self.topology = Arc::new(Topology {
            generation,
            pools: self.pools.iter().map(|pool| pool.plan.clone()).collect(),
            listeners: self.listeners.clone(),
            backends_end: self.ids.end(),
            recording: recording(&self.config),
        });
    }
}

/// What shards record of exchanges.
fn recording(config: &Config) -> Recording {
    let log = &config.access_log;
    let lines = (log.format != AccessFormat::Off)
        .then(|| Lines { sample: Share::of(log.sample), slow: log.slow.unwrap_or(Micros::MAX) });
    let tracing = config.tracing.as_ref();
    Recording {
        lines,
        traces: tracing.map(|tracing| Share::of(tracing.sample)),
        exports: config.collector().is_some(),
    }
}

/// A plan without backends, for a pool that is new.
pub(super) fn empty(configured: &config::Pool) -> Arc<PoolPlan> {
    let retry = &configured.retry;
    Arc::new(PoolPlan {
        name: configured.name.clone(),
        policy: configured.policy,
        timeouts: configured.timeouts,
        upstream: configured.upstream,
        retry: retry.clone(),
        budget: Arc::new(Budget::new(retry.budget, retry.budget_min_per_s)),
        ejects: configured.eject.is_some(),
        fallback: configured.fallback,
        backends: Vec::new(),
    })
}

/// The pool's plan: the last one if nothing differs.
fn pool_plan(pool: &Pool, configured: &config::Pool) -> Arc<PoolPlan> {
    let (last, retry) = (&pool.plan, &configured.retry);
    let budget = if (last.retry.budget, last.retry.budget_min_per_s) == (retry.budget, retry.budget_min_per_s)
    {
        last.budget.clone()
    } else {
        Arc::new(Budget::new(retry.budget, retry.budget_min_per_s))
    };
    let next = PoolPlan {
        name: pool.name.clone(),
        policy: configured.policy,
        timeouts: configured.timeouts,
        upstream: configured.upstream,
        retry: retry.clone(),
        budget,
        ejects: configured.eject.is_some(),
        fallback: configured.fallback,
        backends: pool.members.iter().map(|member| backend_plan(member, last)).collect(),
    };
    if is_same(last, &next) { last.clone() } else { Arc::new(next) }
}

fn backend_plan(member: &Member, last: &PoolPlan) -> Arc<BackendPlan> {
    let plan = BackendPlan {
        id: member.id,
        name: member.name.clone(),
        address: member.address.clone(),
        weight: member.weight,
        backup: member.backup,
        initial: member.initial,
    };
    match last.backends.iter().find(|same| ***same == plan) {
        Some(same) => same.clone(),
        None => Arc::new(plan),
    }
}

fn is_same(a: &PoolPlan, b: &PoolPlan) -> bool {
    let PoolPlan { name, policy, timeouts, upstream, retry, budget, ejects, fallback, backends } = a;
    let same_backends = || {
        backends.len() == b.backends.len() && backends.iter().zip(&b.backends).all(|(a, b)| Arc::ptr_eq(a, b))
    };
    *name == b.name
        && *policy == b.policy
        && *timeouts == b.timeouts
        && *upstream == b.upstream
        && *retry == b.retry
        && Arc::ptr_eq(budget, &b.budget)
        && *ejects == b.ejects
        && *fallback == b.fallback
        && same_backends()
}
