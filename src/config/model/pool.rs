//! What a pool is: its backends, and what is done about them. Defaults as everywhere in the model.

use super::GrpcStatus;
use super::tls::{PoolTls, Protocol};
use crate::time::Micros;
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// `[pool.NAME.tls]`; `None`: connections to the backends begin with requests.
    pub tls: Option<PoolTls>,
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
    /// Statuses of gRPC, in ascending order.
    pub grpc: Vec<GrpcStatus>,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            connect: true,
            no_response: true,
            truncated: true,
            response_timeout: false,
            statuses: Vec::new(),
            grpc: Vec::new(),
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

impl Policy {
    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConn => "least_conn",
            Self::IpHash => "ip_hash",
            Self::RandomTwo => "random_two",
        }
    }
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
    /// What is spoken with the backends: in HTTP/2 exchanges share connections. Without TLS it begins at once (prior
    /// knowledge, RFC 9113 §3.3).
    pub protocol: Protocol,
    /// Idle connections kept to one backend, over all shards. There are never more than exchanges at once in the last
    /// `idle_timeout`: the one used last is taken first, and the others run out. So this is for backends to which many
    /// idle ones are a burden; where it is less than there are exchanges at once, many make a connection anew.
    pub idle_per_backend: usize,
    /// How long one is kept; a backend's own `Keep-Alive` may shorten it.
    pub idle_timeout: Micros,
    /// Connections to one backend, over all shards; 0: no limit.
    pub max_connections: usize,
    /// How long a connection may go on, up to a tenth less for each; zero: no limit.
    pub max_age: Micros,
    /// Requests on a connection, up to a tenth less for each; 0: no limit.
    pub max_requests: u32,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            idle_per_backend: 4096,
            idle_timeout: Micros::from_s(4),
            max_connections: 0,
            max_age: Micros::ZERO,
            max_requests: 0,
        }
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
    /// It says by gRPC's health protocol that it serves.
    Grpc(GrpcCheck),
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

/// What a gRPC check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCheck {
    /// The name of the service that is asked about; empty: the server as a whole.
    pub service: String,
    /// The request's authority; `None`: the backend's address.
    pub host: Option<String>,
    /// Further fields, in the file's order.
    pub headers: Vec<(String, String)>,
}
