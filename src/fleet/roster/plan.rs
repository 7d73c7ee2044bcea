//! The topology: what the roster comes to for shards, of parts shared with the last one.

use super::{Member, Pool, Roster};
use crate::config::{self, AccessFormat, Config, PoolTls};
use crate::exchange::Budget;
use crate::time::Micros;
use crate::topology::{BackendPlan, BackendTls, Lines, PoolPlan, Recording, Share, Topology};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// Names of which a backend's sessions are kept: it has one. The store keeps at least so many at once for it.
const SESSIONS: usize = 1;

impl Roster {
    /// Makes the topology anew, as generation `generation`.
    pub(super) fn plan(&mut self, generation: u64) {
        for (place, (pool, configured)) in self.pools.iter_mut().zip(&self.config.pools).enumerate() {
            pool.plan = pool_plan(pool, configured, self.sealing.get(place).cloned().flatten());
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
        tls: None,
        backends: Vec::new(),
    })
}

/// The pool's plan: the last one if nothing differs.
fn pool_plan(pool: &Pool, configured: &config::Pool, tls: Option<Arc<ClientConfig>>) -> Arc<PoolPlan> {
    let (last, retry) = (&pool.plan, &configured.retry);
    let budget = if (last.retry.budget, last.retry.budget_min_per_s) == (retry.budget, retry.budget_min_per_s)
    {
        last.budget.clone()
    } else {
        Arc::new(Budget::new(retry.budget, retry.budget_min_per_s))
    };
    let rules = configured.tls.as_ref().zip(tls.as_ref());
    let backends = pool.members.iter().map(|member| backend_plan(member, last, rules)).collect();
    let next = PoolPlan {
        name: pool.name.clone(),
        policy: configured.policy,
        timeouts: configured.timeouts,
        upstream: configured.upstream,
        retry: retry.clone(),
        budget,
        ejects: configured.eject.is_some(),
        fallback: configured.fallback,
        tls,
        backends,
    };
    if is_same(last, &next) { last.clone() } else { Arc::new(next) }
}

fn backend_plan(
    member: &Member,
    last: &PoolPlan,
    tls: Option<(&PoolTls, &Arc<ClientConfig>)>,
) -> Arc<BackendPlan> {
    let plan = BackendPlan {
        id: member.id,
        name: member.name.clone(),
        address: member.address.clone(),
        weight: member.weight,
        backup: member.backup,
        initial: member.initial,
        tls: tls.and_then(|(rules, config)| backend_tls(member, last, rules, config)),
    };
    match last.backends.iter().find(|same| ***same == plan) {
        Some(same) => same.clone(),
        None => Arc::new(plan),
    }
}

/// How connections to a member are sealed: as before, with the sessions that there are, if nothing differs.
fn backend_tls(
    member: &Member,
    last: &PoolPlan,
    rules: &PoolTls,
    config: &Arc<ClientConfig>,
) -> Option<BackendTls> {
    // That there is a name was seen when the configuration or the backend was taken.
    let server_name = ServerName::try_from(rules.name_of(&member.written)?).ok()?;
    let before = last.backends.iter().find(|backend| backend.id == member.id);
    let held = before.and_then(|backend| backend.tls.clone()).filter(|tls| {
        tls.server_name == server_name && last.tls.as_ref().is_some_and(|last| Arc::ptr_eq(last, config))
    });
    held.or_else(|| {
        let mut config = ClientConfig::clone(config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Some(BackendTls { config: Arc::new(config), server_name })
    })
}

fn is_same(a: &PoolPlan, b: &PoolPlan) -> bool {
    let PoolPlan { name, policy, timeouts, upstream, retry, budget, ejects, fallback, tls, backends } = a;
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
        && tls.as_ref().map(Arc::as_ptr) == b.tls.as_ref().map(Arc::as_ptr)
        && same_backends()
}
