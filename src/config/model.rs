//! What a checked configuration is: plain structs, their defaults in one place, every key by the name
//! that the contract gives it.
//!
//! Here: the types that all other rooms read. Not here: reading TOML and finding faults
//! (`read.rs` and those beside it). Lengths of time are [`Micros`], sizes are bytes, and a
//! reference to a pool is its index in [`Config::pools`], so nothing can dangle.

use super::network::TrustedProxies;
use crate::time::Micros;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A whole configuration, checked: every reference resolves and every value is possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[[listener]]`, in the file's order.
    pub listeners: Vec<Listener>,
    /// `[[route]]`, in the file's order.
    pub routes: Vec<Route>,
    /// `[pool.NAME]`, in the file's order.
    pub pools: Vec<Pool>,
}

/// Which cores the shards run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Every core that the process may use.
    Auto,
    /// The first so many of them.
    Count(usize),
    /// These, one shard an entry; a core named twice gets two shards.
    List(Vec<usize>),
}

/// `[runtime]`: shards, rings and the process's life.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Which cores the shards run on.
    pub cores: Cores,
    /// How long an idle shard looks at its ring before it sleeps.
    pub spin: Micros,
    /// How often at most a shard reports its in-flight counts.
    pub sync: Micros,
    /// Downstream connections a shard.
    pub max_connections: usize,
    /// After SIGTERM: how long weir is not ready any more but still accepts.
    pub shutdown_delay: Micros,
    /// Then: how long in-flight work may take.
    pub grace: Micros,
    /// Entries in a shard's submission queue; a power of two.
    pub ring_entries: u32,
    /// Bytes of one receive buffer.
    pub buffer_size: usize,
    /// Receive buffers a shard.
    pub buffers: u16,
    /// Where run-time changes are kept over a restart; `None`: nowhere.
    pub state_file: Option<PathBuf>,
    /// The configuration is loaded again when its file changes.
    pub watch: bool,
    /// What the process does when a shard's thread dies.
    pub on_shard_loss: OnShardLoss,
    /// The DNS server that is asked for host names; `None`: those of `/etc/resolv.conf`.
    pub resolver: Option<SocketAddr>,
    /// The user that the process becomes once it has bound its addresses; `None`: it stays who it is.
    pub user: Option<String>,
    /// Its group; `None`: the user's own.
    pub group: Option<String>,
}

/// `runtime.on_shard_loss`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnShardLoss {
    /// The other shards adopt its listening sockets; the process reports itself degraded.
    #[default]
    ServeOn,
    /// The process drains and exits with an error, for the supervisor to start it again.
    Exit,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            cores: Cores::Auto,
            spin: Micros::ZERO,
            sync: Micros::from_ms(1),
            max_connections: 65_536,
            shutdown_delay: Micros::ZERO,
            grace: Micros::from_s(30),
            ring_entries: 4096,
            buffer_size: 16 << 10,
            buffers: 1024,
            state_file: None,
            watch: false,
            on_shard_loss: OnShardLoss::default(),
            resolver: None,
            user: None,
            group: None,
        }
    }
}

/// `[admin]`: where the admin surface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; none switches the admin surface off. Beyond loopback there is a token.
    pub listen: Vec<ListenAddress>,
    /// The file with the token that whoever comes through a port must have; `None`: none is needed.
    pub token_file: Option<PathBuf>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: vec![ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 9900)))], token_file: None }
    }
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// The severities of the log, most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something will break.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// An address that weir listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket's path, written "unix:/path".
    Unix(PathBuf),
}

/// `[[listener]]`: an address on which weir accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name in routes, logs and metrics; by default its address.
    pub name: String,
    /// Where it accepts.
    pub address: ListenAddress,
    /// The default route's pool, an index into [`Config::pools`].
    pub pool: Option<usize>,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// From a request's first byte to the end of its head.
    pub head_timeout: Micros,
    /// Between two requests on a connection.
    pub idle_timeout: Micros,
    /// Bytes per second below which a body that is sent or read too slowly is given up; 0: none.
    pub body_min_rate_per_s: u64,
    /// Bytes of a request head.
    pub max_head: usize,
    /// Fields of a request head.
    pub max_headers: usize,
    /// Bytes of a request body; 0: no limit.
    pub max_body: u64,
    /// What is done to the fields that say where a request came from: `X-Forwarded-*`, `Forwarded`,
    /// `X-Real-IP`.
    pub forwarded: Forwarded,
    /// Whose word about the client is believed.
    pub trusted_proxies: TrustedProxies,
    /// weir's name in the `Via` of requests; `None`: there is none.
    pub via: Option<String>,
    /// What is done when a client ends its side while its answer is awaited.
    pub on_half_close: OnHalfClose,
    /// Connections at once, over all shards; 0: no limit but the shards' own.
    pub max_connections: usize,
    /// Connections at once of one client (IPv6: of one /64), over all shards; 0: no limit.
    pub max_connections_per_client: usize,
}

/// `listener.on_half_close`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHalfClose {
    /// It gets its answer: it may have ended its side only (RFC 9112 §9.6).
    #[default]
    Answer,
    /// It is taken to have gone, and the exchange ends.
    Abort,
}

/// `listener.forwarded`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// Append to what a trusted proxy sent; replace what anybody else sent.
    #[default]
    Append,
    /// Replace whatever came.
    Replace,
    /// Pass through what came, add nothing.
    Off,
}

/// `[[route]]`: host and path prefix on a listener, pointing to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// An index into [`Config::listeners`].
    pub listener: usize,
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// A prefix on whole segments, "/" first; `None`: any path.
    pub path: Option<String>,
    /// An index into [`Config::pools`].
    pub pool: usize,
}

/// What a route asks of the host; always in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Any host that ends in this, which begins with a dot: ".example.org" for "*.example.org".
    Suffix(String),
}

/// `[pool.NAME]`: a group of backends.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// NAME.
    pub name: String,
    /// How a backend is picked.
    pub policy: Policy,
    /// `[pool.NAME.timeouts]`
    pub timeouts: Timeouts,
    /// `[pool.NAME.upstream]`
    pub upstream: Upstream,
    /// `[[pool.NAME.backend]]`, at least one.
    pub backends: Vec<Backend>,
    /// `[pool.NAME.health]`; `None`: no check.
    pub health: Option<Health>,
    /// `[pool.NAME.retry]`
    pub retry: Retry,
    /// `[pool.NAME.eject]`; `None`: no passive ejection.
    pub eject: Option<Eject>,
    /// How long a backend that comes up, or comes back, takes to reach its whole share; zero: at once.
    pub slow_start: Micros,
    /// Share of healthy backends, 0 to 1, under which all of them get traffic; 0: never.
    pub panic_below: f64,
    /// Where requests go when no backend of this pool is usable, an index into [`Config::pools`]. Never
    /// leads back to this pool.
    pub fallback: Option<usize>,
}

/// `[pool.NAME.retry]`: what is tried again, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts beyond the first; 0: none.
    pub attempts: u8,
    /// What is tried again.
    pub on: RetryOn,
    /// Bytes of a response, its body only, of known length that is sent on only when it is complete;
    /// 0: none is held.
    pub hold: usize,
    /// Retries as a share of requests, 0 to 1, over all shards.
    pub budget: f64,
    /// Retries a second that are allowed in any case, over all shards.
    pub budget_min_per_s: u32,
    /// Bytes of a request body that are kept for another attempt; 0: none.
    pub body_buffer: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            on: RetryOn::default(),
            hold: 16 << 10,
            budget: 0.2,
            budget_min_per_s: 3,
            body_buffer: 64 << 10,
        }
    }
}

/// `retry.on`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// "connect": no connection, or not in time, or not a byte of the request was taken.
    pub connect: bool,
    /// "no_response": the connection ended before a byte of the response, or what came is not HTTP.
    pub no_response: bool,
    /// "truncated": a held response broke off or stalled.
    pub truncated: bool,
    /// "response_timeout": no response in time.
    pub response_timeout: bool,
    /// Statuses, in ascending order.
    pub statuses: Vec<u16>,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            connect: true,
            no_response: true,
            truncated: true,
            response_timeout: false,
            statuses: Vec::new(),
        }
    }
}

/// `[pool.NAME.eject]`: passive health, by what exchanges come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eject {
    /// Failures in a row, over all shards; 0: does not eject.
    pub consecutive_failures: u32,
    /// Share of failures over `window`, 0 to 1; 0: does not eject.
    pub error_share: f64,
    /// What `error_share` and `latency_factor` look back on.
    pub window: Micros,
    /// How long a first ejection lasts; each repetition lasts longer.
    pub base_time: Micros,
    /// Share of the pool, 0 to 1, that may be ejected at once.
    pub max_share: f64,
    /// So many times slower than the pool's median is too slow; 0: does not eject.
    pub latency_factor: f64,
}

impl Default for Eject {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            error_share: 0.5,
            window: Micros::from_s(10),
            base_time: Micros::from_s(10),
            max_share: 0.5,
            latency_factor: 0.0,
        }
    }
}

/// `pool.policy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest exchanges in flight for its weight, over all shards.
    #[default]
    LeastConn,
    /// The same client, the same backend.
    IpHash,
    /// The less busy of two picked at random.
    RandomTwo,
}

/// `[pool.NAME.timeouts]`; zero: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to a backend.
    pub connect: Micros,
    /// From the request's end to the first byte of the response.
    pub response: Micros,
    /// Between two bytes of the response.
    pub between_bytes: Micros,
    /// Without a byte in either direction of a tunnel.
    pub tunnel_idle: Micros,
    /// For the whole exchange.
    pub total: Micros,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Micros::from_s(1),
            response: Micros::from_s(30),
            between_bytes: Micros::from_s(30),
            tunnel_idle: Micros::from_s(3600),
            total: Micros::ZERO,
        }
    }
}

/// `[pool.NAME.upstream]`: connections to the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Idle connections kept to one backend, over all shards.
    pub idle_per_backend: usize,
    /// How long one is kept; a backend's own `Keep-Alive` may shorten it.
    pub idle_timeout: Micros,
    /// Connections to one backend, over all shards; 0: no limit.
    pub max_connections: usize,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { idle_per_backend: 256, idle_timeout: Micros::from_s(4), max_connections: 0 }
    }
}

/// `[[pool.NAME.backend]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name in logs and metrics; by default its address.
    pub name: String,
    /// Where it is.
    pub address: BackendAddress,
    /// 1 to 256.
    pub weight: u16,
    /// Traffic only when no other is usable.
    pub backup: bool,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A host name, resolved again and again, and a port. All its addresses are backends.
    Name(String, u16),
    /// The name of SRV records (RFC 2782), written "_service._proto.name": hosts, ports and weights.
    Service(String),
    /// A Unix socket's path, written "unix:/path".
    Unix(PathBuf),
}

/// Where to connect: a backend's address after its name was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[pool.NAME.health]`: how a backend is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// The port to ask; 0: the backend's.
    pub port: u16,
    /// Between two checks.
    pub interval: Micros,
    /// Between two checks of a backend that is down.
    pub interval_down: Micros,
    /// Share of the interval by which a check may come earlier or later, 0 to 1.
    pub jitter: f64,
    /// How long one check may take.
    pub timeout: Micros,
    /// Checks passed in a row that bring a backend up.
    pub rise: u32,
    /// Checks failed in a row that take it down.
    pub fall: u32,
}

/// `health.type` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It accepts a connection.
    Tcp,
    /// It answers a request as expected.
    Http(HttpCheck),
}

/// The request of an HTTP check and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The request's target.
    pub path: String,
    /// The request's method.
    pub method: String,
    /// The request's Host; `None`: the backend's address.
    pub host: Option<String>,
    /// Further fields, in the file's order.
    pub headers: Vec<(String, String)>,
    /// The statuses that pass, as inclusive ranges.
    pub expect: Vec<(u16, u16)>,
    /// What the body must contain; `None`: anything.
    pub body_contains: Option<String>,
}
