//! What a checked configuration is: plain structs, their defaults in one place, every key by the name
//! that the contract gives it.
//!
//! Here: the types that all other rooms read; what a pool is stands in `pool.rs`, what is recorded in `records.rs`. Not here: reading TOML and
//! finding faults (`read.rs` and those beside it). Lengths of time are [`Micros`], sizes are bytes, and a
//! reference to a pool is its index in [`Config::pools`], so nothing can dangle.

mod error_pages;
mod grpc;
mod pool;
mod records;
mod tls;

pub use error_pages::{Answers, ErrorPage, ErrorPages, PageBody};
pub use grpc::GrpcStatus;
pub use pool::*;
pub use records::*;
pub use tls::*;

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
    /// `[access_log]`
    pub access_log: AccessLog,
    /// `[tracing]`; `None`: trace contexts pass untouched.
    pub tracing: Option<Tracing>,
    /// `[[listener]]`, in the file's order.
    pub listeners: Vec<Listener>,
    /// `[[route]]`, in the file's order.
    pub routes: Vec<Route>,
    /// `[pool.NAME]`, in the file's order.
    pub pools: Vec<Pool>,
}

impl Config {
    /// The collector that traces are told to.
    pub fn collector(&self) -> Option<&Collector> {
        self.tracing.as_ref()?.otlp.as_ref()
    }

    /// Whether anything is sealed.
    pub fn has_tls(&self) -> bool {
        self.listeners.iter().any(|listener| listener.tls.is_some())
            || self.pools.iter().any(|pool| pool.tls.is_some())
    }

    /// The files that are read for TLS.
    pub fn tls_files(&self) -> impl Iterator<Item = &NamedFile> {
        let listeners = || self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let pools = || self.pools.iter().filter_map(|pool| pool.tls.as_ref());
        let certificates = listeners().flat_map(|tls| &tls.certificates);
        let certificates = certificates.chain(pools().filter_map(|tls| tls.certificate.as_ref()));
        let files = certificates.flat_map(|files| [&files.cert, &files.key].into_iter().chain(&files.ocsp));
        let authorities = listeners().filter_map(|tls| tls.client_ca.as_ref());
        let revoked = listeners().filter_map(|tls| tls.client_crl.as_ref());
        files.chain(authorities).chain(revoked).chain(pools().filter_map(|tls| tls.ca.as_ref()))
    }
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
    /// Everything: the same in a release build, which has no more.
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
    /// How long a connection may go on, up to a tenth less for each; zero: no limit.
    pub max_age: Micros,
    /// Requests on a connection, up to a tenth less for each; 0: no limit.
    pub max_requests: u32,
    /// What is done to the fields that say where a request came from: `X-Forwarded-*`, `Forwarded`,
    /// `X-Real-IP`.
    pub forwarded: Forwarded,
    /// Whose word about the client is believed.
    pub trusted_proxies: TrustedProxies,
    /// weir's name in the `Via` of requests; `None`: there is none.
    pub via: Option<String>,
    /// What is done when a client ends its side while its answer is awaited.
    pub on_half_close: OnHalfClose,
    /// The field that names each request; `None`: none does.
    pub request_id: Option<String>,
    /// Connections at once, over all shards; 0: no limit but the shards' own.
    pub max_connections: usize,
    /// Connections at once of one client (IPv6: of one /64), over all shards; 0: no limit.
    pub max_connections_per_client: usize,
    /// What weir's own refusals look like, where they are not its own short text.
    pub error_pages: ErrorPages,
    /// Whether clients may begin with HTTP/2 where nothing is sealed ("prior knowledge").
    pub h2c: bool,
    /// `[listener.http2]`
    pub http2: Http2,
    /// `[listener.tls]`; `None`: connections begin with requests.
    pub tls: Option<ListenerTls>,
    /// The fields in which any listener tells backends whose certificate a client has, each once. What clients send
    /// under these names is removed here too: it is the same backends that believe it.
    pub subject_fields: Vec<String>,
}

/// `[listener.http2]`: what an HTTP/2 connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Streams at once on one connection.
    pub max_streams: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { max_streams: 128 }
    }
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
