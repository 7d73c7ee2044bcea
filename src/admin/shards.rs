//! The page `/shards`: how each shard fares, and whether the process is degraded.

use super::pages::Waiting;
use crate::control::Desk;
use crate::fleet::status::ShardStatus;
use crate::metrics::ShardTotals;
use serde::Serialize;

/// The page.
#[derive(Serialize)]
pub(super) struct Shards {
    /// A shard has ended, so fewer cores serve than configured.
    degraded: bool,
    /// The most connections on one shard over the mean of all; `null` without connections.
    imbalance: Option<f64>,
    shards: Vec<ShardPage>,
}

/// One shard on it.
#[derive(Serialize)]
struct ShardPage {
    number: u16,
    /// "serving", "stalled" or "ended".
    state: &'static str,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    connections: u32,
    in_flight: u64,
    idle_upstream: u32,
    accepted: u64,
    accept_pauses: u64,
    /// How long ago its heart beat.
    beat_ago_us: Option<u64>,
    /// What it was doing then.
    doing: &'static str,
    stalls: u64,
    /// Shards that ended and whose sockets it took over.
    adopted: Vec<u16>,
    waiting: Waiting,
    ring: RingPage,
}

/// What its ring did since it began.
#[derive(Serialize)]
struct RingPage {
    turns: u64,
    completions: u64,
    parks: u64,
    parked_us: u64,
    spun_us: u64,
    no_buffers: u64,
    buffers_in_use: u64,
    buffers: u64,
}

/// What control and the shards know of the shards.
pub(super) fn page(desk: &Desk) -> Shards {
    let totals = desk.totals();
    let shards = desk.shards();
    let mut in_flight = vec![0u64; shards.len()];
    for backend in desk.backends() {
        let counts = desk.in_flight_per_shard(backend.id);
        in_flight.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
    }
    let pages = shards.iter().zip(in_flight).map(|(shard, in_flight)| {
        let recorded = &totals.shards()[usize::from(shard.number)];
        shard_page(shard, in_flight, recorded)
    });
    Shards {
        degraded: shards.iter().any(|shard| !shard.alive),
        imbalance: totals.imbalance(),
        shards: pages.collect(),
    }
}

fn shard_page(shard: &ShardStatus, in_flight: u64, recorded: &ShardTotals) -> ShardPage {
    let ring = recorded.ring;
    ShardPage {
        number: shard.number,
        state: shard.word(),
        error: shard.error.clone(),
        connections: recorded.connections,
        in_flight,
        idle_upstream: recorded.idle_upstream,
        accepted: recorded.accepted,
        accept_pauses: recorded.accept_pauses,
        beat_ago_us: shard.beat_ago.map(|ago| ago.as_us()),
        doing: shard.doing,
        stalls: shard.stalls,
        adopted: shard.adopted.clone(),
        waiting: Waiting::of(&recorded.stall, &recorded.accept_delay),
        ring: RingPage {
            turns: ring.turns,
            completions: ring.completions,
            parks: ring.parks,
            parked_us: ring.parked_us,
            spun_us: ring.spun_us,
            no_buffers: ring.no_buffers,
            buffers_in_use: ring.buffers_in_use,
            buffers: ring.buffers,
        },
    }
}
