//! The page `/metrics`: what control knows, handed to the exposition in its own terms.
//!
//! `metrics` is a room below `control` and cannot read its types; so they are told over here.

use crate::control::Desk;
use crate::fleet::status::{BackendStatus, PoolStatus, ShardStatus};
use crate::limit::Exceeded;
use crate::log::export::{Cause, SpanCounts};
use crate::metrics::{
    BackendFacts, ConfigFacts, Facts, ListenerFacts, PoolFacts, ShardFacts, SpanFacts, page,
};
use crate::topology::ListenerPlan;

/// The whole page.
pub(super) fn metrics(desk: &Desk) -> String {
    let (backends, pools, held) = (desk.backends(), desk.pools(), desk.configuration());
    let listeners = desk.listeners();
    let facts = Facts {
        backends: backends.iter().map(backend).collect(),
        pools: pools.iter().map(pool).collect(),
        listeners: listeners.iter().map(|plan| listener(plan)).collect(),
        shards: desk.shards().iter().map(shard).collect(),
        config: ConfigFacts {
            hash: &held.hash,
            generation: held.generation,
            reloads: held.reloads,
            refused: held.refused,
            last_succeeded: held.last_reload.is_none(),
            loaded_unix_s: held.last_success_unix_s,
            needs_restart: held.needs_restart.len(),
        },
        spans: desk.spans().map(spans).unwrap_or_default(),
        uptime: desk.now() - desk.started(),
        ready: desk.ready().is_ok(),
        serving: desk.serving(),
    };
    page(&desk.totals(), &facts)
}

fn spans(counts: &SpanCounts) -> SpanFacts {
    let dropped = Cause::ALL.map(|cause| (cause.label(), counts.dropped(cause)));
    SpanFacts { exported: counts.exported(), dropped }
}

fn backend(backend: &BackendStatus) -> BackendFacts<'_> {
    BackendFacts {
        id: backend.id,
        pool: &backend.pool,
        name: &backend.name,
        state: backend.state.label(),
        usable: backend.usable,
        in_flight: backend.in_flight,
        probes_passed: backend.probes_passed,
        probes_failed: backend.probes_failed,
        probe_took: backend.probe_took,
        transitions: backend.transitions,
        weight: backend.weight,
        share: backend.share,
        ejections: backend.ejections,
        failovers: backend.failovers.count,
        failover_time: backend.failovers.sum,
        failover_last: backend.failovers.last,
        failover_lost: backend.failovers.lost,
    }
}

fn pool(pool: &PoolStatus) -> PoolFacts<'_> {
    PoolFacts { name: &pool.name, usable: pool.usable, panic: pool.panic }
}

fn listener(plan: &ListenerPlan) -> ListenerFacts<'_> {
    let refused = Exceeded::ALL.map(|exceeded| (exceeded.label(), plan.connections.refused(exceeded)));
    ListenerFacts { name: &plan.rules.name, refused }
}

fn shard(shard: &ShardStatus) -> ShardFacts {
    ShardFacts {
        number: shard.number,
        stalled: shard.stalled,
        stalls: shard.stalls,
        beat_ago: shard.beat_ago.filter(|_| shard.alive),
    }
}
