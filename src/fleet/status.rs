//! What control tells about the process: backends, pools, shards, the configuration.
//!
//! Plain data, made when asked for. Read by `admin` for its pages, its metrics and the answers to changes.

use crate::balance::BackendId;
use crate::config::Destination;
use crate::health::State;
use crate::time::{Instant, Micros};

/// Whether an operator lets a backend have traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Will {
    /// As its check says.
    #[default]
    Ready,
    /// Nothing new; checks go on.
    Draining,
    /// Nothing new, and no checks.
    Maintenance,
}

/// Where a backend comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration names it, by its address.
    Configured,
    /// An operator added it to the running process.
    Added,
    /// It is one of the addresses of a name in the configuration.
    Resolved,
}

impl Origin {
    /// Its word in `/backends`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Added => "added",
            Self::Resolved => "resolved",
        }
    }
}

/// What state a backend is in, for people and metrics; the strongest reason wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// An operator took it out, and it is not checked.
    Maintenance,
    /// An operator took it out; what it has is finished.
    Draining,
    /// Its exchanges failed, whatever its check says.
    Ejected,
    /// It was ejected and is tried with a few exchanges.
    Trial,
    /// It is not checked and always counts as usable.
    NoCheck,
    /// What its check says.
    Checked(State),
}

impl BackendState {
    /// Its word in metrics and in `/backends`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Trial => "trial",
            Self::NoCheck => "no_check",
            Self::Checked(State::Unchecked) => "unchecked",
            Self::Checked(State::Up) => "up",
            Self::Checked(State::Down) => "down",
        }
    }
}

/// How long failures of a backend were noticed before the last shard stopped picking it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failovers {
    /// The last one: from the first failed probe or exchange until the last shard stopped picking.
    pub last: Option<Micros>,
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: Micros,
    /// Exchanges that clients saw fail meanwhile, in all of them.
    pub lost: u64,
}

/// What became of the backends that left a pool, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Changes of state.
    pub transitions: u64,
    /// Times that they were ejected.
    pub ejections: u64,
    /// How long their failures were noticed; `last` is nobody's.
    pub failovers: Failovers,
}

/// A backend as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendStatus {
    /// Its number, for the counts that go by number.
    pub id: BackendId,
    /// Its pool's name.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: Destination,
    /// 1 to 256, as it holds now.
    pub weight: u16,
    /// What the configuration says, where an operator has changed it.
    pub configured_weight: Option<u16>,
    /// Traffic only when no other is usable.
    pub backup: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// What the operator wants.
    pub will: Will,
    /// Its state.
    pub state: BackendState,
    /// Whether it may be picked, if only for trials.
    pub usable: bool,
    /// Share of its weight that it has, below 1 during slow start.
    pub share: f64,
    /// When it entered its state.
    pub since: Instant,
    /// Why.
    pub why: String,
    /// Checks passed.
    pub probes_passed: u64,
    /// Checks failed.
    pub probes_failed: u64,
    /// How long the last check took.
    pub probe_took: Option<Micros>,
    /// Changes of state.
    pub transitions: u64,
    /// Times that it was ejected.
    pub ejections: u64,
    /// How long its failures were noticed.
    pub failovers: Failovers,
    /// In flight over all shards, as last reported.
    pub in_flight: u32,
}

/// A pool as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// So few are healthy that all get traffic (`panic_below`).
    pub panic: bool,
    /// Backends that may be picked.
    pub usable: usize,
    /// Backends.
    pub backends: usize,
    /// Of those, ejected.
    pub ejected: usize,
    /// What became of those that left it.
    pub left: Left,
}

/// A shard as control sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardStatus {
    /// From 0.
    pub number: u16,
    /// Its thread is not over.
    pub alive: bool,
    /// Why it ended, if it did.
    pub error: Option<String>,
    /// How long ago its heart beat; `None`: it has none that can be watched.
    pub beat_ago: Option<Micros>,
    /// What it was doing when its heart beat last.
    pub doing: &'static str,
    /// It is stalled: no beat for a second.
    pub stalled: bool,
    /// Times that it was.
    pub stalls: u64,
    /// The shards that ended and whose sockets it took over.
    pub adopted: Vec<u16>,
    /// The last mark that it confirmed.
    pub mark: u64,
}

impl ShardStatus {
    /// Its state in one word.
    pub fn word(&self) -> &'static str {
        match (self.alive, self.stalled) {
            (false, _) => "ended",
            (true, true) => "stalled",
            (true, false) => "serving",
        }
    }
}

/// The configuration that holds, and how the last attempt at another one went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigStatus {
    /// The file, if there is one.
    pub path: Option<String>,
    /// The text's hash, 16 hexadecimal digits; empty without a file.
    pub hash: String,
    /// The topology's generation.
    pub generation: u64,
    /// Why the last reload was refused; `None`: it succeeded, or there was none.
    pub last_reload: Option<String>,
    /// When the last successful one was, in seconds since 1970.
    pub last_success_unix_s: u64,
    /// Reloads that succeeded.
    pub reloads: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// What the file says and only a restart can bring.
    pub needs_restart: Vec<String>,
}
