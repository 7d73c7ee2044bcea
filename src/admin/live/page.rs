//! From what control knows to what `/live` tells.

use super::model::{
    BackendSlot, Figures, History, Live, LiveBackend, LivePool, LiveShard, PhaseCounts, PhaseFigures,
    Refused, Slot, Transition,
};
use crate::control::{Desk, Transition as Transited};
use crate::fleet::status::{BackendStatus, ShardStatus};
use crate::metrics::{self, BOUNDS, Marks, Recent, SLOT};
use crate::sys::clock::unix_ms;
use crate::time::Micros;

/// Now. `may_change`: whoever asks may change what is served without a token.
pub(super) fn live(desk: &Desk, may_change: bool) -> Live {
    let (recent, backends, ready) = (desk.recent(), desk.backends(), desk.ready());
    let in_flight: Vec<Vec<u32>> =
        backends.iter().map(|backend| desk.in_flight_per_shard(backend.id)).collect();
    let total = metrics::Figures { in_flight: in_flight.iter().flatten().sum(), ..recent.total };
    Live {
        at_ms: unix_ms(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: seconds(desk.now() - desk.started()),
        ready: ready.is_ok(),
        why: ready.err().map(|why| why.to_string()),
        may_change,
        interval_s: seconds(recent.length),
        total: figures(&total),
        refusals_per_s: rounded(recent.refusals_per_s),
        refusals: desk
            .totals()
            .refusals()
            .map(|(cause, status, count)| Refused { cause: cause.to_owned(), status, count })
            .collect(),
        phases: recent.phases.iter().map(|(phase, marks)| phase_figures(phase.label(), *marks)).collect(),
        shards: shards(desk, &recent, &in_flight),
        pools: pools(desk, &recent, &backends, in_flight),
        transitions: desk.transitions().into_iter().map(transition).collect(),
    }
}

/// The last ten minutes, without their slots.
pub(super) fn empty_history() -> History {
    History {
        slot_s: SLOT.as_us() / 1_000_000,
        bounds_us: BOUNDS.iter().map(|bound| bound.as_us()).collect(),
        slots: Vec::new(),
    }
}

/// A piece of the past.
pub(super) fn slot(slot: &metrics::Slot) -> Slot {
    let phase = |(phase, counts): &(metrics::Phase, Vec<u64>)| PhaseCounts {
        phase: phase.label().to_owned(),
        counts: counts.clone(),
    };
    let backends = slot.backends.iter().map(|(name, recorded)| BackendSlot {
        pool: name.pool.clone(),
        backend: name.name.clone(),
        figures: figures(recorded),
    });
    Slot {
        at_ms: slot.began_unix_ms,
        phases: slot.phases.iter().map(phase).collect(),
        backends: backends.collect(),
    }
}

fn pools(
    desk: &Desk,
    recent: &Recent,
    backends: &[BackendStatus],
    in_flight: Vec<Vec<u32>>,
) -> Vec<LivePool> {
    let config = desk.config();
    // Both stand in the roster's order: pool by pool.
    let mut rest = backends.iter().zip(in_flight).peekable();
    let status = |pool: crate::fleet::status::PoolStatus| {
        let mut of_pool = Vec::with_capacity(pool.backends);
        while let Some((backend, in_flight)) = rest.next_if(|(backend, _)| backend.pool == pool.name) {
            of_pool.push(live_backend(desk, recent, backend, in_flight));
        }
        let policy = config.pools.iter().find(|configured| configured.name == pool.name);
        LivePool {
            policy: policy.map_or("", |configured| configured.policy.word()).to_owned(),
            name: pool.name,
            usable: pool.usable,
            panic: pool.panic,
            backends: of_pool,
        }
    };
    desk.pools().into_iter().map(status).collect()
}

fn live_backend(
    desk: &Desk,
    recent: &Recent,
    backend: &BackendStatus,
    in_flight_per_shard: Vec<u32>,
) -> LiveBackend {
    let recorded = recent.backends.get(backend.id.0 as usize).copied().unwrap_or_default();
    let recorded = metrics::Figures { in_flight: in_flight_per_shard.iter().sum(), ..recorded };
    LiveBackend {
        name: backend.name.clone(),
        address: backend.address.to_string(),
        state: backend.state.label().to_owned(),
        usable: backend.usable,
        backup: backend.backup,
        why: backend.why.clone(),
        since_s: seconds(desk.now() - backend.since),
        weight: backend.weight,
        share: rounded(backend.share),
        in_flight_per_shard,
        figures: figures(&recorded),
    }
}

fn shards(desk: &Desk, recent: &Recent, in_flight: &[Vec<u32>]) -> Vec<LiveShard> {
    let totals = desk.totals();
    let shard = |status: ShardStatus| {
        let number = usize::from(status.number);
        let (connections, buffers_in_use) = totals
            .shards()
            .get(number)
            .map_or((0, 0), |recorded| (recorded.connections, recorded.ring.buffers_in_use));
        let figures = recent.shards.get(number).copied().filter(|_| status.alive).unwrap_or_default();
        LiveShard {
            number: status.number,
            state: status.word().to_owned(),
            connections,
            in_flight: in_flight.iter().filter_map(|counts| counts.get(number)).sum(),
            load: rounded(figures.load),
            turns_per_s: rounded(figures.turns_per_s),
            completions_per_turn: rounded(figures.completions_per_turn),
            stall_p50_us: figures.stall.p50.map(Micros::as_us),
            stall_p99_us: figures.stall.p99.map(Micros::as_us),
            view_age_p99_us: figures.view_age.p99.map(Micros::as_us),
            buffers_in_use,
        }
    };
    desk.shards().into_iter().map(shard).collect()
}

fn transition(transition: Transited) -> Transition {
    Transition {
        at_ms: transition.at_unix_ms,
        pool: transition.pool,
        backend: transition.name,
        from: transition.from.to_owned(),
        to: transition.to.to_owned(),
        why: transition.why,
        failover_us: transition.took.map(Micros::as_us),
        lost: transition.lost,
    }
}

fn phase_figures(phase: &str, marks: Marks) -> PhaseFigures {
    PhaseFigures {
        phase: phase.to_owned(),
        p50_us: marks.p50.map(Micros::as_us),
        p90_us: marks.p90.map(Micros::as_us),
        p99_us: marks.p99.map(Micros::as_us),
        p99_9_us: marks.p99_9.map(Micros::as_us),
    }
}

fn figures(recorded: &metrics::Figures) -> Figures {
    let marks = recorded.whole;
    Figures {
        requests_per_s: rounded(recorded.requests_per_s),
        error_share: rounded(recorded.error_share),
        in_flight: recorded.in_flight,
        p50_us: marks.p50.map(Micros::as_us),
        p90_us: marks.p90.map(Micros::as_us),
        p99_us: marks.p99.map(Micros::as_us),
        p99_9_us: marks.p99_9.map(Micros::as_us),
    }
}

/// To four digits behind the point: more would only be more to send.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn seconds(length: Micros) -> f64 {
    rounded(length.as_duration().as_secs_f64())
}
