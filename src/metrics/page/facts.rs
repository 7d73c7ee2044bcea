//! What control knows and the page shows, beside what the shards recorded, in the page's own terms.
//!
//! `metrics` is a room above `control` and cannot read its types; `admin` tells it over.

use crate::balance::BackendId;
use crate::limit::Exceeded;
use crate::sys::process::Usage;
use crate::time::Micros;

/// What control knows about one backend, beside what the shards recorded.
#[derive(Clone, Copy, Debug)]
pub struct BackendFacts<'a> {
    /// Its number, by which the shards recorded.
    pub id: BackendId,
    /// Its pool's name.
    pub pool: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its state's word.
    pub state: &'a str,
    /// Whether it may be picked.
    pub usable: bool,
    /// In flight over all shards, as last reported.
    pub in_flight: u32,
    /// Checks passed.
    pub probes_passed: u64,
    /// Checks failed.
    pub probes_failed: u64,
    /// How long the last check took; `None` before the first, and without a check.
    pub probe_took: Option<Micros>,
    /// 1 to 256, as it holds now.
    pub weight: u16,
    /// Share of its weight that it has, 0 to 1.
    pub share: f64,
    /// What has become of it so far.
    pub past: Past,
    /// How long it took the last time until no shard picked it any more; `None`: it never did.
    pub failover_last: Option<Micros>,
}

/// What control has counted of a backend, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Changes of state.
    pub transitions: u64,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Times that it failed and every shard stopped picking it.
    pub failovers: u64,
    /// How long that took, in all.
    pub failover_time: Micros,
    /// Exchanges that clients saw fail meanwhile.
    pub failover_lost: u64,
}

impl Past {
    /// Adds what another came to.
    pub fn add(&mut self, other: &Self) {
        self.transitions += other.transitions;
        self.ejections += other.ejections;
        self.failovers += other.failovers;
        self.failover_time =
            Micros::from_us(self.failover_time.as_us().saturating_add(other.failover_time.as_us()));
        self.failover_lost += other.failover_lost;
    }
}

/// What control knows about one pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Backends that may be picked.
    pub usable: usize,
    /// All of them get traffic, because so few are healthy.
    pub panic: bool,
    /// What has become of the backends that left it.
    pub left: Past,
}

/// What control knows about one listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Connections that were closed at once, by the key that says how many there may be.
    pub refused: [(&'static str, u64); Exceeded::ALL.len()],
}

/// What control knows about one certificate.
#[derive(Clone, Debug)]
pub struct CertificateDays<'a> {
    /// The name of the listener that has it; empty: it is a pool's.
    pub listener: &'a str,
    /// The name of the pool whose backends are shown it; empty: it is a listener's.
    pub pool: &'a str,
    /// Its file.
    pub file: String,
    /// How long it holds yet.
    pub days_left: f64,
    /// The same of its staple; `None`: it has none, or one without an end.
    pub staple_days_left: Option<f64>,
}

/// What control knows about one shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardFacts {
    /// Its number, from 0.
    pub number: u16,
    /// Its heart does not beat.
    pub stalled: bool,
    /// Times that it did not.
    pub stalls: u64,
    /// How long ago it beat; `None`: it is not watched, or the shard has ended.
    pub beat_ago: Option<Micros>,
}

/// What control knows about the configuration.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFacts<'a> {
    /// The text's hash; empty if it came from no file.
    pub hash: &'a str,
    /// Changes of what is served.
    pub generation: u64,
    /// Reloads that succeeded.
    pub reloads: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// The last one was not refused.
    pub last_succeeded: bool,
    /// When the one that holds was loaded, in seconds since 1970.
    pub loaded_unix_s: u64,
    /// Changes in the file that only a restart can bring.
    pub needs_restart: usize,
}

/// What became of the spans of sampled exchanges.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanFacts {
    /// A collector has taken them.
    pub exported: u64,
    /// Dropped, by cause.
    pub dropped: [(&'static str, u64); 4],
}

/// What became of the access log's lines.
#[derive(Clone, Debug, Default)]
pub struct AccessLogFacts {
    /// Lines written.
    pub lines: u64,
    /// Writes that failed.
    pub errors: u64,
    /// Lines dropped, by shard.
    pub dropped: Vec<u64>,
}

/// What control knows, beside what the shards recorded.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// In the order in which they are shown.
    pub backends: Vec<BackendFacts<'a>>,
    /// Backends that left, whose numbers were not given to others yet, and the pools that they were of.
    pub leaving: Vec<(BackendId, &'a str)>,
    /// The pools.
    pub pools: Vec<PoolFacts<'a>>,
    /// The listeners.
    pub listeners: Vec<ListenerFacts<'a>>,
    /// The listeners' certificates.
    pub certificates: Vec<CertificateDays<'a>>,
    /// The shards.
    pub shards: Vec<ShardFacts>,
    /// The configuration that holds.
    pub config: ConfigFacts<'a>,
    /// The access log.
    pub access_log: AccessLogFacts,
    /// Traces.
    pub spans: SpanFacts,
    /// What the process uses.
    pub usage: Usage,
    /// Since the process began.
    pub uptime: Micros,
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// Shards that have not ended.
    pub serving: usize,
}
