//! How the process's descriptors are shared out, so that no client is accepted that none is left for.
//!
//! A connection with a client may need one with a backend, so it counts twice. What weir itself needs comes
//! first: were it last, a flood of clients would take the admin surface and the health checks along. Called
//! once, at start: the kernel's limit does not change under a running process.

use crate::config::Config;
use crate::shard::Descriptors;
use crate::sys::limits;

/// Descriptors that are no connections: the admin surface's 64 and its sockets, the log, those that are about to
/// be closed; for each shard its rings, doorbell and wakers; for each listener its socket for each shard; and for
/// each backend a check under way.
const OTHER: u64 = 128;
const OTHER_PER_SHARD: u64 = 24;

/// Pipes that a shard has in any case, and that it never has more of. Long bodies are copied beyond.
const PIPES_MIN: u64 = 8;
const PIPES_MAX: u64 = 1024;

/// Raises the limit as far as it goes, shares it out over `shards` shards, and says so if that leaves each less
/// than `runtime.max_connections`.
pub(super) fn share(config: &Config, shards: usize) -> Descriptors {
    let wanted = config.runtime.max_connections;
    let checked = config.pools.iter().filter(|pool| pool.health.is_some());
    let other = other(shards, config.listeners.len(), checked.map(|pool| pool.backends.len()).sum());
    let (limit, shared) = match limits::raise_descriptors() {
        Ok(limit) => (limit, share_of(limit.saturating_sub(other), wanted, shards)),
        Err(error) => {
            tracing::warn!(%error, "the limit of descriptors cannot be raised");
            return Descriptors { connections: wanted, pipes: PIPES_MIN as usize };
        }
    };
    if shared.connections < wanted {
        tracing::warn!(
            limit,
            wanted = needed(wanted, shards).saturating_add(other),
            "fewer descriptors than max_connections may need; raise the hard limit (`ulimit -Hn`, LimitNOFILE=) or lower runtime.max_connections to {} (until then it is held to that)",
            shared.connections,
        );
    }
    shared
}

/// The descriptors that `shards` shards with `connections` each may need at once, with one listener and no
/// checks; each further listener needs one a shard, each backend that is checked one.
pub fn descriptors_wanted(connections: usize, shards: usize) -> u64 {
    needed(connections, shards).saturating_add(other(shards, 1, 0))
}

/// What `connections` on each shard need in all.
fn needed(connections: usize, shards: usize) -> u64 {
    (connections as u64).saturating_mul(2).saturating_mul(shards as u64)
}

/// What is needed beside them, for so many listeners and backends that are checked.
fn other(shards: usize, listeners: usize, checked: usize) -> u64 {
    OTHER + checked as u64 + (OTHER_PER_SHARD + 2 * PIPES_MIN + listeners as u64) * shards as u64
}

/// One shard's part of `left` descriptors, beside its [`PIPES_MIN`].
fn share_of(left: u64, wanted: usize, shards: usize) -> Descriptors {
    let each = left / shards.max(1) as u64;
    let connections = (each / 2).clamp(1, wanted as u64);
    let pipes = (PIPES_MIN + each.saturating_sub(2 * connections) / 2).min(PIPES_MAX);
    Descriptors { connections: connections as usize, pipes: pipes as usize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_needed_is_enough_and_one_less_is_not() {
        for (connections, shards) in [(65_536, 2), (100, 1), (2, 64)] {
            let needed = needed(connections, shards);
            assert_eq!(share_of(needed, connections, shards).connections, connections);
            assert_eq!(share_of(needed - 1, connections, shards).connections, connections - 1);
        }
        assert_eq!(share_of(0, 10, 4).connections, 1, "one at least");
    }

    proptest! {
        #[test]
        fn all_parts_together_are_never_more_than_there_is(
            left in 0u64..2_000_000, wanted in 1usize..100_000, shards in 1usize..16,
        ) {
            prop_assume!(left >= 2 * shards as u64);
            let shared = share_of(left, wanted, shards);
            let pipes = 2 * (shared.pipes as u64 - PIPES_MIN) * shards as u64;
            prop_assert!(needed(shared.connections, shards) + pipes <= left);
            prop_assert!((1..=wanted).contains(&shared.connections));
        }
    }
}
