//! weir: a thread-per-core load balancer on io_uring, for HTTP/1.1, HTTP/2 and gRPC, with and without TLS.
//!
//! One process: a control thread and N shards, each shard pinned to one core and owning all that a
//! request needs. Nothing on the request path is shared between cores; what must cross them crosses as
//! messages. The rooms, in the order in which they may use each other (a room uses only rooms above
//! it; `tests/rooms.rs` holds the code to it). Those marked ★ are pure: no socket, clock, thread or
//! randomness inside.
//!
//! | room | what lives there |
//! |---|---|
//! | [`time`] ★ | lengths and points of time, deadline queue |
//! | [`config`] ★ | TOML text to a checked `Config` |
//! | [`http1`] ★ | heads, framing, chunked coding, head rewriting |
//! | [`trace`] ★ | trace contexts and request ids |
//! | [`http2`] ★ | HTTP/2 fields and DATA as HTTP/1.1 and back, floods measured |
//! | [`health`] ★ | check rules: what state a backend is in, and why |
//! | [`balance`] ★ | views, snapshots, reports; the policies that pick |
//! | [`route`] ★ | listener + host + path → pool |
//! | [`exchange`] ★ | the decisions of one exchange |
//! | [`limit`] ★ | what nobody outside may exhaust: connections counted, and who makes room |
//! | [`topology`] ★ | what a shard serves: pools, backends, listeners, as control decided |
//! | [`fleet`] ★ | the backends of all pools: which there are, what state each is in, what a change does |
//! | [`sys`] | the kernel's surface: sockets, CPU sets, limits, the clock |
//! | [`ring`] | one io_uring per shard as safe async operations |
//! | [`metrics`] | counters, histograms, exact merge, exposition |
//! | [`log`] | the structured log, the access log |
//! | [`mesh`] | mailboxes and doorbells between cores |
//! | [`wire`] | what a connection's bytes go over: a socket, or a layer above one |
//! | [`tls`] | TLS: certificates, who is believed, and rustls driven over the ring |
//! | [`streams`] | HTTP/2 connections: each stream a layer that speaks HTTP/1.1 |
//! | [`upstream`] | a shard's connections to backends |
//! | [`proxy`] | the life of one downstream connection |
//! | [`shard`] | a pinned core: executor, accept loops, mailbox loop |
//! | [`control`] | starts and stops shards, signals, prober, merging of reports |
//! | [`admin`] | the admin HTTP surface |
//! | [`serve`] | a checked configuration, run |
//! | [`cli`] | the command line |

pub mod admin;
pub mod balance;
pub mod cli;
pub mod config;
pub mod control;
pub mod exchange;
pub mod fleet;
pub mod health;
pub mod http1;
pub mod http2;
pub mod limit;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod proxy;
pub mod ring;
pub mod route;
pub mod serve;
pub mod shard;
pub mod streams;
pub mod sys;
pub mod time;
pub mod tls;
pub mod topology;
pub mod trace;
pub mod upstream;
pub mod wire;
