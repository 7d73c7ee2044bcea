//! What `/live` tells: the state and the figures of now, and the last ten minutes.
//!
//! Plain data, written as JSON here and read by the dashboard's script and by `weir top`, so the names of its
//! fields are an interface. `GET /live` is a stream of server-sent events: first `history` ([`History`]), then
//! once a second `live` ([`Live`]), and `slot` ([`Slot`]) whenever one is over.

use serde::{Deserialize, Serialize};

/// Now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Live {
    /// Unix time in ms.
    pub at_ms: u64,
    /// weir's own.
    pub version: String,
    /// Since the process began.
    pub uptime_s: f64,
    /// As `/readyz` says.
    pub ready: bool,
    /// Why it is not.
    pub why: Option<String>,
    /// Whoever asks this way may change what is served without a token.
    pub may_change: bool,
    /// The time that the rates below are of, in seconds.
    pub interval_s: f64,
    /// All pools together.
    pub total: Figures,
    /// Requests that weir answered by itself or gave up, a second.
    pub refusals_per_s: f64,
    /// By cause, since the process began.
    pub refusals: Vec<Refused>,
    /// The phases of all exchanges in the interval: "connect", "first_byte", "whole", "own".
    pub phases: Vec<PhaseFigures>,
    /// In the configuration's order.
    pub pools: Vec<LivePool>,
    /// By number.
    pub shards: Vec<LiveShard>,
    /// Of backends, newest first, 50 at most.
    pub transitions: Vec<Transition>,
}

/// How often something came, and how long it took, in the interval.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Answers passed on, a second.
    pub requests_per_s: f64,
    /// Share of attempts that failed and of answers of 500 and more, 0 to 1.
    pub error_share: f64,
    /// In flight now.
    pub in_flight: u32,
    /// Of whole exchanges, in µs; `null`: there were none.
    pub p50_us: Option<u64>,
    /// As above.
    pub p90_us: Option<u64>,
    /// As above.
    pub p99_us: Option<u64>,
    /// As above.
    pub p99_9_us: Option<u64>,
}

/// One phase.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PhaseFigures {
    /// Its word.
    pub phase: String,
    /// In µs; `null`: nothing was recorded.
    pub p50_us: Option<u64>,
    /// As above.
    pub p90_us: Option<u64>,
    /// As above.
    pub p99_us: Option<u64>,
    /// As above.
    pub p99_9_us: Option<u64>,
}

/// Refusals of one cause.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Refused {
    /// Its word.
    pub cause: String,
    /// 0: no answer.
    pub status: u16,
    /// Since the process began.
    pub count: u64,
}

/// A pool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LivePool {
    /// Its name.
    pub name: String,
    /// Its policy's word.
    pub policy: String,
    /// Backends that may be picked.
    pub usable: usize,
    /// So few are healthy that all get traffic.
    pub panic: bool,
    /// In the roster's order.
    pub backends: Vec<LiveBackend>,
}

/// A backend.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LiveBackend {
    /// Its name in the pool.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Its state's word.
    pub state: String,
    /// It may be picked.
    pub usable: bool,
    /// Traffic only when no other is usable.
    pub backup: bool,
    /// Why it is in this state.
    pub why: String,
    /// For how long.
    pub since_s: f64,
    /// 1 to 256.
    pub weight: u16,
    /// Share of its weight that it has, 0 to 1.
    pub share: f64,
    /// By shard.
    pub in_flight_per_shard: Vec<u32>,
    /// In the interval.
    pub figures: Figures,
}

/// A shard.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LiveShard {
    /// From 0.
    pub number: u16,
    /// "serving", "stalled" or "ended".
    pub state: String,
    /// With clients.
    pub connections: u32,
    /// Exchanges.
    pub in_flight: u32,
    /// Share of the interval in which it did not sleep, 0 to 1. One that spins is always at 1.
    pub load: f64,
    /// Turns of its loop, a second.
    pub turns_per_s: f64,
    /// Completions a turn, in the mean.
    pub completions_per_turn: f64,
    /// How long what completed may have waited for the loop, in µs; `null`: nothing completed.
    pub stall_p50_us: Option<u64>,
    /// As above.
    pub stall_p99_us: Option<u64>,
    /// Age of its view of the other shards at a pick, in µs; `null`: nothing was picked.
    pub view_age_p99_us: Option<u64>,
    /// Receive buffers in use.
    pub buffers_in_use: u64,
}

/// A backend changed its state.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Transition {
    /// Unix time in ms.
    pub at_ms: u64,
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub backend: String,
    /// The state's word before.
    pub from: String,
    /// The state's word since.
    pub to: String,
    /// Why.
    pub why: String,
    /// From its first failure until the last shard stopped picking it, in µs; `null`: it was no failover, or
    /// that is not known yet.
    pub failover_us: Option<u64>,
    /// Exchanges that clients saw fail meanwhile.
    pub lost: u64,
}

/// The last ten minutes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct History {
    /// Length of a slot.
    pub slot_s: u64,
    /// The upper bounds of a slot's counts, in µs; one more count stands behind the last.
    pub bounds_us: Vec<u64>,
    /// Oldest first; where nothing happened there are none.
    pub slots: Vec<Slot>,
}

/// A piece of the past.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Slot {
    /// When it began, Unix time in ms.
    pub at_ms: u64,
    /// How many exchanges of all backends were how long.
    pub phases: Vec<PhaseCounts>,
    /// Of each backend.
    pub backends: Vec<BackendSlot>,
}

/// The lengths of one phase.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PhaseCounts {
    /// Its word.
    pub phase: String,
    /// Under each bound, and over the last.
    pub counts: Vec<u64>,
}

/// A backend's figures in a slot.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BackendSlot {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub backend: String,
    /// In the slot.
    pub figures: Figures,
}
