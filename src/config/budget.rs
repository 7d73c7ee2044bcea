//! What a configuration may cost at worst, for `weir check` to print before it does.
//!
//! Here: sums over a [`Config`] and a number of shards. Not here: what the host has (`sys`).

use super::model::{Config, Pool, Runtime};

/// A connection's future, its struct and its place in the shard's tables, downstream or idle upstream.
const CONNECTION_BYTES: u64 = 1 << 10;

/// Beside each receive buffer in use: the rewritten head of the exchange and its operations in flight.
const EXCHANGE_BYTES: u64 = 2 << 10;

/// What has arrived and waits for a slow peer, while half of the buffers are in use: as a multiple of the
/// buffers (`ring::SPILLED_FACTOR`), each piece at most as large.
const SPILLED_FACTOR: u64 = 8;

/// Of a ring, for each entry: 64 bytes of submission entry and four completions of 16 bytes each, since
/// the completion queue is made four times as large.
const RING_ENTRY_BYTES: u64 = 64 + 4 * 16;

/// Bytes of weir's own memory with everything at its limit, over `shards` shards.
///
/// For each shard: 9 × buffers × (`buffer_size` + 2 KiB), eight of the nine only while thousands of pieces
/// wait for peers that do not read; `max_connections` × 1 KiB; what exchanges keep for another attempt
/// ([`kept_max_bytes`]); and the ring. Over all shards: the idle upstream connections of every backend ×
/// 1 KiB. The kernel's socket buffers are not in it: they are the kernel's to give (`net.ipv4.tcp_mem`).
pub fn worst_case_memory_bytes(config: &Config, shards: usize) -> u64 {
    let runtime = &config.runtime;
    let pieces = u64::from(runtime.buffers) * (1 + SPILLED_FACTOR);
    let buffers = pieces.saturating_mul(runtime.buffer_size as u64 + EXCHANGE_BYTES);
    let connections = (runtime.max_connections as u64).saturating_mul(CONNECTION_BYTES);
    let ring = u64::from(runtime.ring_entries) * RING_ENTRY_BYTES;
    let kept = kept_max_bytes(runtime) as u64;
    let a_shard = buffers.saturating_add(kept).saturating_add(connections).saturating_add(ring);
    let idle = config.pools.iter().map(|pool| {
        (pool.upstream.idle_per_backend as u64)
            .saturating_mul(pool.backends.len() as u64)
            .saturating_mul(CONNECTION_BYTES)
    });
    idle.fold(a_shard.saturating_mul(shards as u64), u64::saturating_add)
}

/// Bytes that the exchanges of one shard may keep so that they can be made again: held responses
/// (`retry.hold`) and request bodies (`retry.body_buffer`). As much as the receive buffers; beyond it
/// exchanges go on with nothing kept, so that no client can have weir keep more by asking more.
pub fn kept_max_bytes(runtime: &Runtime) -> usize {
    usize::from(runtime.buffers).saturating_mul(runtime.buffer_size)
}

/// The most connections that each backend of `pool` can see from weir: `upstream.max_connections`, or,
/// where that is 0, as many as all `shards` shards may have downstream.
pub fn worst_case_connections(config: &Config, pool: &Pool, shards: usize) -> u64 {
    match pool.upstream.max_connections {
        0 => (config.runtime.max_connections as u64).saturating_mul(shards as u64),
        limit => limit as u64,
    }
}
