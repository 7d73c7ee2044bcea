//! What differs between two configurations, in words: for the answer to a reload and its line in the log.
//!
//! Pure. Backends are the roster's to tell of (`roster::follow`), since names and operators have a say in
//! them; here are the keys of pools, listeners and routes, and those that only a restart brings.

use crate::config::{Config, Listener, Pool, Runtime};

/// What a reload changes beside backends.
pub(crate) fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut words = pools(old, new);
    words.extend(listeners(old, new));
    words.extend(routes(old, new));
    let (was, is) = (&old.runtime, &new.runtime);
    let live = [
        ("shutdown_delay", was.shutdown_delay != is.shutdown_delay),
        ("grace", was.grace != is.grace),
        ("watch", was.watch != is.watch),
        ("on_shard_loss", was.on_shard_loss != is.on_shard_loss),
    ];
    words.extend(differing(&live).map(|key| format!("runtime.{key} changed")));
    let records = [("access_log", old.access_log != new.access_log), ("tracing", old.tracing != new.tracing)];
    words.extend(differing(&records).map(|key| format!("{key} changed")));
    words
}

/// What of `new` has no effect before a restart of a process that was started with `started`.
pub(crate) fn needs_restart(started: &Config, new: &Config) -> Vec<String> {
    // Taken apart, so that a new key does not go unnoticed.
    let Runtime {
        cores,
        spin,
        sync,
        max_connections,
        shutdown_delay: _,
        grace: _,
        ring_entries,
        buffer_size,
        buffers,
        state_file,
        watch: _,
        on_shard_loss: _,
        resolver,
        user,
        group,
    } = &new.runtime;
    let was = &started.runtime;
    let keys = [
        ("runtime.cores", was.cores != *cores),
        ("runtime.spin", was.spin != *spin),
        ("runtime.sync", was.sync != *sync),
        ("runtime.max_connections", was.max_connections != *max_connections),
        ("runtime.ring_entries", was.ring_entries != *ring_entries),
        ("runtime.buffer_size", was.buffer_size != *buffer_size),
        ("runtime.buffers", was.buffers != *buffers),
        ("runtime.state_file", was.state_file != *state_file),
        ("runtime.resolver", was.resolver != *resolver),
        ("runtime.user", was.user != *user),
        ("runtime.group", was.group != *group),
        ("admin", started.admin != new.admin),
        ("log", started.log != new.log),
    ];
    differing(&keys).map(str::to_owned).collect()
}

fn differing<'a>(keys: &'a [(&'a str, bool)]) -> impl Iterator<Item = &'a str> {
    keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key)
}

fn pools(old: &Config, new: &Config) -> Vec<String> {
    let mut words = Vec::new();
    for pool in &new.pools {
        match old.pools.iter().find(|other| other.name == pool.name) {
            None => words.push(format!("pool {} added", pool.name)),
            Some(was) => {
                let name = |place: Option<usize>, config: &Config| {
                    place.and_then(|place| config.pools.get(place)).map(|pool| pool.name.clone())
                };
                let fallback = name(was.fallback, old) != name(pool.fallback, new);
                words.extend(
                    pool_keys(was, pool, fallback).map(|key| format!("pool {}: {key} changed", pool.name)),
                );
            }
        }
    }
    let gone = old.pools.iter().filter(|pool| !new.pools.iter().any(|other| other.name == pool.name));
    words.extend(gone.map(|pool| format!("pool {} removed", pool.name)));
    words
}

fn pool_keys(was: &Pool, is: &Pool, fallback: bool) -> impl Iterator<Item = &'static str> {
    let Pool {
        name: _,
        policy,
        timeouts,
        upstream,
        backends: _,
        health,
        retry,
        eject,
        slow_start,
        panic_below,
        fallback: _,
        tls,
    } = is;
    let keys = [
        ("policy", was.policy != *policy),
        ("timeouts", was.timeouts != *timeouts),
        ("upstream", was.upstream != *upstream),
        ("health", was.health != *health),
        ("retry", was.retry != *retry),
        ("eject", was.eject != *eject),
        ("slow_start", was.slow_start != *slow_start),
        ("panic_below", was.panic_below != *panic_below),
        ("fallback", fallback),
        ("tls", was.tls != *tls),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)
}

fn listeners(old: &Config, new: &Config) -> Vec<String> {
    let mut words = Vec::new();
    let same = |listener: &Listener, of: &Config| {
        of.listeners.iter().find(|other| other.address == listener.address).cloned()
    };
    for listener in &new.listeners {
        match same(listener, old) {
            None => words.push(format!("listener {} added ({})", listener.name, listener.address)),
            Some(was) => {
                let Listener { pool, ref name, .. } = *listener;
                if was.name != *name {
                    words.push(format!("listener {name}: was named {} ({})", was.name, listener.address));
                }
                if (Listener { pool, name: name.clone(), ..was }) != *listener {
                    words.push(format!("listener {name}: its rules changed"));
                }
            }
        }
    }
    let gone = old.listeners.iter().filter(|listener| same(listener, new).is_none());
    words.extend(gone.map(|listener| format!("listener {} removed ({})", listener.name, listener.address)));
    words
}

/// Routes by the names that they go by, whose places may have changed.
fn routes(old: &Config, new: &Config) -> Option<String> {
    let named = |config: &Config| {
        let pool = |place: usize| config.pools.get(place).map(|pool| pool.name.clone());
        let address = |place: usize| config.listeners.get(place).map(|listener| listener.address.clone());
        let routes = config.routes.iter();
        let routes: Vec<_> = routes
            .map(|route| (address(route.listener), route.host.clone(), route.path.clone(), pool(route.pool)))
            .collect();
        let defaults: Vec<_> =
            config.listeners.iter().map(|one| (one.address.clone(), one.pool.and_then(pool))).collect();
        (routes, defaults)
    };
    let ((was, was_default), (is, is_default)) = (named(old), named(new));
    let kept = |(address, pool)| was_default.iter().all(|(other, was)| *other != address || *was == pool);
    let same_defaults = is_default.into_iter().all(kept);
    if was != is {
        return Some(format!("routes changed; there are {}", is.len()));
    }
    (!same_defaults).then(|| "what no route takes goes to another pool".to_owned())
}
