//! Attacks with real sockets on the real binary, while well-behaved clients go on with their work.
//!
//! Each test shows three things: the attack is bounded by a setting with a safe default, and counted; no
//! request of a well-behaved client fails; and the latency of well-behaved clients stays within twice what
//! it is without the attack (`watch.rs` says how that is measured). One test at a time, since each measures:
//! weir's shard has a core of its own, attackers, clients and backends share the others.
//!
//! | attack | bounded by | default | the attacker sees | counted in `/metrics` |
//! |---|---|---|---|---|
//! | slowloris: a head a byte at a time | `listener.head_timeout` | 10s | 408, closed | `weir_refusals_total{cause="head_timeout"}` |
//! | endless fields, one endless field | `listener.max_head` | 32KiB | 431, closed | `{cause="head_too_large"}` |
//! | many small fields | `listener.max_headers` | 100 | 431, closed | `{cause="head_too_large"}` |
//! | heads just below the limits | the same two | | its answer | `weir_requests_total` |
//! | heads in pieces, on every connection | `runtime.buffers` × `buffer_size` | 16MiB a shard | 503, closed | `{cause="head_memory"}` |
//! | large requests to a backend that does not take them | the same | 16MiB a shard | 503, closed | `{cause="request_memory"}` |
//! | slow body | `listener.body_min_rate_per_s`, 5s of grace | 1KiB | 408, closed | `{cause="body_timeout"}` |
//! | slow read | `listener.body_min_rate_per_s`, 5s of grace | 1KiB | a reset | `{cause="slow_reader"}` |
//! | chunks of one byte | `listener.max_body` | 1GiB | 413, closed | `{cause="body_too_large"}` |
//! | idle connections | `listener.idle_timeout` | 60s | closed | `weir_connections` |
//! | connections opened and closed, or reset | `runtime.max_connections` | 65536 a shard | nothing | `weir_connections_accepted_total` |
//! | connections opened and held | `runtime.max_connections`: who waits longest makes room | 65536 a shard | closed | `weir_connections_evicted_total` |
//! | pipelining | one exchange at a time on a connection | | its answers, in turn | `weir_requests_total` |
//! | requests sent ahead of a slow answer | `runtime.buffers` × `buffer_size` / 4 | 4MiB a shard | closed after the answer | `weir_connections` |
//! | clients that vanish after asking | the exchange ends with its client (`listener.on_half_close`) | | | `{cause="client_gone"}` |
//! | a backend's endless head | 64 KiB, 256 fields | | the client: 502 | `weir_upstream_failures_total{cause="bad_response"}` |
//!
//! | file | what |
//! |---|---|
//! | `swarm.rs` | the attackers: one thread, thousands of nonblocking sockets |
//! | `watch.rs` | well-behaved clients, their latencies, the verdict |
//! | `scene.rs` | weir on a core of its own, its backend, everybody else elsewhere |
//! | `heads.rs`, `bodies.rs`, `connections.rs`, `requests.rs`, `backends.rs` | the attacks |
//! | `tool.rs` | the same by slowhttptest |
//! | `memory.rs` | all that takes memory at once, against what `weir check` says |
//! | `admin.rs` | the admin surface while the data path is saturated |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod backends;
mod bodies;
mod connections;
mod heads;
mod memory;
mod requests;
mod scene;
mod swarm;
mod tool;
mod watch;
