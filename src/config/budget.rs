//! What a configuration may cost at worst, for `weir check` to print before it does.
//!
//! Here: sums over a [`Config`] and a number of shards. Not here: what the host has (`sys`). Every bound that
//! the code keeps on its memory has its term here; `tests/attack/memory.rs` takes all of it at once and
//! compares.

use super::model::{AccessFormat, Config, Listener, Pool, Protocol, Runtime};

/// A connection at its most expensive, with an exchange whose body goes up: the futures, the sockets' slots
/// and deadlines on both sides, the smallest buffers, decoders. An idle one takes a twelfth of it.
const CONNECTION_BYTES: u64 = 12 << 10;

/// An idle upstream connection.
const IDLE_BYTES: u64 = 1 << 10;

/// What a receive buffer takes beyond its size (`ring::OVERHEAD`).
const BUFFER_OVERHEAD: u64 = 2 << 10;

/// What has arrived and waits for a slow peer, while half of the buffers are in use: as a multiple of the
/// buffers (`ring::SPILLED_FACTOR`), each piece at most as large.
const SPILLED_FACTOR: u64 = 8;

/// Pieces are numbered in 16 bits, behind the buffers.
const PIECES_MAX: u64 = u16::MAX as u64;

/// How often [`kept_max_bytes`] may be taken: for what exchanges keep (and as much again, since a request
/// grows by doubling while its body is kept), for incomplete heads of clients, for those of backends, for large
/// requests on their way, for large answers of weir's own making.
const KEPT_TIMES: u64 = 6;

/// Of a ring: a submission entry, and a completion. There are four times as many of those, and never few.
const SUBMISSION_BYTES: u64 = 64;
const COMPLETION_BYTES: u64 = 16;
const COMPLETIONS_MIN: u64 = 16_384;

/// A shard without anything to do: its thread, executor, spare buffers, mailbox.
const SHARD_BYTES: u64 = 2 << 20;

/// What records of exchanges take, if there are any: the draft of a connection's exchange, with each text as long as
/// it may be; a shard's batches, waiting and emptied; and the lines that wait to be written.
const DRAFT_BYTES: u64 = 17 << 10;
const BATCHES_BYTES: u64 = 82 * (160 << 10);
const LINES_BYTES: u64 = 4 << 20;

/// Counters of the lengths of a backend's exchanges: four phases of 3,328.
const LENGTHS: u64 = 4 * 3_328;

/// The same of a shard's own: how long completions and connections waited for it, and the age of its view.
const SHARD_LENGTHS: u64 = 3 * 3_328;

/// Bytes of each counter: on a shard, which records into one box while another is on its way, and in control.
const SHARD_COUNTER_BYTES: u64 = 2 * 4;
const CONTROL_COUNTER_BYTES: u64 = 8;

/// What control keeps of the last second and of the last five beside its totals: lengths of each backend's whole
/// exchanges, twice, two kinds of each shard, in 32 bits; and ten minutes of figures (`metrics::History`).
const RECENT_BACKEND_BYTES: u64 = 2 * 3_328 * 4;
const RECENT_SHARD_BYTES: u64 = 2 * 3_328 * 4;
const HISTORY_BYTES: u64 = 3 << 20;

/// Messages that wait for control at most, and what a backend takes in one.
const CONTROL_MAIL: u64 = 8_192;
const MESSAGE_BYTES: u64 = 160;
const MESSAGE_BACKEND_BYTES: u64 = 4;

/// Connections of each admin listener, what one takes, and what a backend and a shard take in the longest page.
const ADMIN_CONNECTIONS: u64 = 64;
const ADMIN_BYTES: u64 = 64 << 10;
const PAGE_BACKEND_BYTES: u64 = 16 << 10;
const PAGE_SHARD_BYTES: u64 = 8 << 10;

/// What an exchange over HTTP/2 to a backend may keep beyond what it has in any case: a window of its answer, while its
/// client does not read; and of its request what waits for the socket, while the backend does not.
pub const HTTP2_EXCHANGE_BYTES: u64 = 128 << 10;

/// Of a client's HTTP/2 connection (`streams`): the window of each stream, and those of all at least; what small pieces
/// of bodies take beyond their bytes, and what is on its way out and in.
const HTTP2_WINDOW_BYTES: u64 = 64 << 10;
const HTTP2_WINDOWS_BYTES_MIN: u64 = 1 << 20;
const HTTP2_SMALL_PIECES_BYTES: u64 = 4 << 20;
const HTTP2_BUFFERS_BYTES: u64 = 150 << 10;

/// Heads for each stream that may be open: its own, and of one that waits while its place is not free yet.
const HTTP2_HEADS: u64 = 2;

/// What `h2` counts for a field beyond its bytes.
const HTTP2_FIELD_BYTES: u64 = 32;

/// Of a pool: what backends that left it came to, and its sum while a page by pool is made.
const POOL_RECORDS: u64 = 2;

/// The process without shards: its threads, its tables, its configuration. The program's own text, which the
/// kernel can drop and read again, is not in it.
const PROCESS_BYTES: u64 = 8 << 20;

/// Bytes of weir's own memory with everything at its limit, over `shards` shards.
///
/// For each shard: 9 × buffers × (`buffer_size` + 2 KiB), eight of the nine only while thousands of pieces
/// wait for peers that do not read; 6 × [`kept_max_bytes`] for what exchanges keep, incomplete heads,
/// large requests and answers; `max_connections` × 12 KiB; the ring; the histograms of the shard and of its
/// backends. For the process: idle upstream connections × 1 KiB, control's histograms, its history, mail and
/// admin pages, error pages twice (while a reload brings others). Where exchanges are recorded, their drafts
/// (17 KiB a connection) and batches come on top. What HTTP/2 may take is not in the sum, since no operator has the
/// memory for all connections at their worst at once, and the figure would say nothing: it is told for each that is
/// ([`http2_connection_bytes`], [`HTTP2_EXCHANGE_BYTES`]).
/// An eighth more for what the allocator needs to manage it. The kernel's socket buffers are not in it: they are the kernel's to give
/// (`net.ipv4.tcp_mem`). Backends are those of the file: each that a name resolves to beyond one, or that is
/// added at run time, takes its histograms.
pub fn worst_case_memory_bytes(config: &Config, shards: usize) -> u64 {
    let shards = shards as u64;
    let backends: u64 = config.pools.iter().map(|pool| pool.backends.len() as u64).sum();
    let a_shard = shard_bytes(&config.runtime)
        .saturating_add(SHARD_LENGTHS * (SHARD_COUNTER_BYTES + CONTROL_COUNTER_BYTES) + RECENT_SHARD_BYTES)
        .saturating_add(backends.saturating_mul(LENGTHS * SHARD_COUNTER_BYTES));
    let idle = config.pools.iter().map(|pool| {
        (pool.upstream.idle_per_backend as u64)
            .saturating_mul(pool.backends.len() as u64)
            .saturating_mul(IDLE_BYTES)
    });
    // The old ones stay until the last client has read them.
    let pages = config.listeners.iter().map(|listener| 2 * listener.error_pages.bytes()).sum::<u64>();
    let control = PROCESS_BYTES
        + HISTORY_BYTES
        + pages
        + (backends + POOL_RECORDS * config.pools.len() as u64) * LENGTHS * CONTROL_COUNTER_BYTES
        + backends * RECENT_BACKEND_BYTES
        + CONTROL_MAIL * (MESSAGE_BYTES + backends * MESSAGE_BACKEND_BYTES);
    let admin = config.admin.listen.len() as u64
        * ADMIN_CONNECTIONS
        * (ADMIN_BYTES + backends.saturating_mul(PAGE_BACKEND_BYTES) + shards * PAGE_SHARD_BYTES);
    let all = idle.fold(a_shard.saturating_mul(shards), u64::saturating_add);
    let all = all.saturating_add(control).saturating_add(admin).saturating_add(records_bytes(config, shards));
    all.saturating_add(all / 8)
}

/// Bytes that a client's HTTP/2 connection with `listener` may take at most, beyond what any connection does: each of
/// its streams an exchange that waits, each body as much as the windows let in, in the smallest pieces, and as many
/// heads as may wait. `None`: it speaks no HTTP/2.
pub fn http2_connection_bytes(listener: &Listener) -> Option<u64> {
    let speaks = match &listener.tls {
        Some(tls) => tls.alpn.contains(&Protocol::Http2),
        None => listener.h2c,
    };
    let fields = (listener.max_headers as u64).saturating_mul(HTTP2_FIELD_BYTES);
    let head = (listener.max_head as u64).saturating_add(fields);
    let stream = head.saturating_mul(HTTP2_HEADS).saturating_add(CONNECTION_BYTES);
    let max_streams = u64::from(listener.http2.max_streams);
    let streams = stream.saturating_mul(max_streams);
    let windows = HTTP2_WINDOW_BYTES.saturating_mul(max_streams).max(HTTP2_WINDOWS_BYTES_MIN);
    let rest = windows + HTTP2_SMALL_PIECES_BYTES + HTTP2_BUFFERS_BYTES;
    speaks.then_some(streams.saturating_add(rest))
}

/// What the records of exchanges take.
fn records_bytes(config: &Config, shards: u64) -> u64 {
    if config.access_log.format == AccessFormat::Off && config.tracing.is_none() {
        return 0;
    }
    let drafts = (config.runtime.max_connections as u64).saturating_mul(DRAFT_BYTES);
    drafts.saturating_add(BATCHES_BYTES).saturating_mul(shards).saturating_add(LINES_BYTES)
}

/// What one shard takes, without its backends' statistics.
fn shard_bytes(runtime: &Runtime) -> u64 {
    let buffers = u64::from(runtime.buffers);
    let pieces = buffers + (buffers * SPILLED_FACTOR).min(PIECES_MAX - buffers);
    let pieces = pieces.saturating_mul(runtime.buffer_size as u64 + BUFFER_OVERHEAD);
    let kept = (kept_max_bytes(runtime) as u64).saturating_mul(KEPT_TIMES);
    let connections = (runtime.max_connections as u64).saturating_mul(CONNECTION_BYTES);
    let entries = u64::from(runtime.ring_entries);
    let ring = entries * SUBMISSION_BYTES + (4 * entries).max(COMPLETIONS_MIN) * COMPLETION_BYTES;
    pieces.saturating_add(kept).saturating_add(connections).saturating_add(ring + SHARD_BYTES)
}

/// Bytes that the exchanges of one shard may keep so that they can be made again: held responses
/// (`retry.hold`) and request bodies (`retry.body_buffer`). As much as the receive buffers; beyond it
/// exchanges go on with nothing kept, so that no client can have weir keep more by asking more. Incomplete
/// heads of clients, those of backends, large requests on their way and large answers of weir's own making
/// may take as much again, each.
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
