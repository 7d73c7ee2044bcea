//! Where the backends are: names looked up before anything is changed.
//!
//! Called at the start and by a reload, aside from everything that serves, so that a name that does not
//! resolve is an error of the start, or of the reload, and not a surprise in traffic. One look-up, and
//! looking up again later, is `names`.

use super::names::Names;
use crate::config::{BackendAddress, Config};
use crate::fleet::{Addresses, BadCheck, Carrier, Prepared, is_name};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use tokio::task::{JoinSet, LocalSet};

/// One reason why a configuration that is right in itself cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// A backend's host name could not be looked up.
    #[error(
        "pool.{pool}: backend {backend:?}: cannot look up {host:?}: {cause}; correct the name, or give an address"
    )]
    Name {
        /// The pool's name.
        pool: String,
        /// The backend's name.
        backend: String,
        /// The name that was looked up.
        host: String,
        /// What the look-up said.
        cause: String,
    },
    /// A health check's request cannot be written as HTTP.
    #[error("pool.{pool}.health: {cause}")]
    Check {
        /// The pool's name.
        pool: String,
        /// What is wrong with it.
        cause: BadCheck,
    },
    /// Nothing can be looked up.
    #[error("names cannot be looked up: {0}; raise the limit of open files (ulimit -n)")]
    Runtime(io::Error),
}

/// Everything that hinders the start, one line each.
#[derive(Debug)]
pub struct ResolveRefused(pub Vec<Unresolved>);

impl std::error::Error for ResolveRefused {}

impl fmt::Display for ResolveRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Unresolved::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Looks up every name of `config` that is not among those `known` already, all at the same time. To be
/// called within a `LocalSet`.
///
/// # Errors
/// All names that do not resolve and all checks that are no HTTP, at once.
pub(super) async fn resolve(
    config: &Config,
    known: &Addresses,
    names: &Rc<Names>,
) -> Result<Addresses, ResolveRefused> {
    let mut refused = bad_checks(config);
    let mut looked_up = JoinSet::new();
    let (mut addresses, mut asked) = (Addresses::new(), Vec::new());
    for address in all_names(config) {
        match known.get(address) {
            Some(found) => drop(addresses.insert(address.clone(), found.clone())),
            None if asked.contains(&address) => {}
            None => {
                asked.push(address);
                let (address, names) = (address.clone(), names.clone());
                looked_up.spawn_local(async move { (names.first(&address).await, address) });
            }
        }
    }
    let mut failed = HashMap::new();
    while let Some(ended) = looked_up.join_next().await {
        match ended {
            Ok((Ok(found), address)) => drop(addresses.insert(address, found)),
            Ok((Err(why), address)) => drop(failed.insert(address, why.cause)),
            // Nobody cancels them; a panic has been told already, and its name is missing below.
            Err(_) => {}
        }
    }
    for (pool, backend) in config.pools.iter().flat_map(|pool| pool.backends.iter().map(move |b| (pool, b))) {
        if is_name(&backend.address) && !addresses.contains_key(&backend.address) {
            refused.push(Unresolved::Name {
                pool: pool.name.clone(),
                backend: backend.name.clone(),
                host: host(&backend.address),
                cause: failed.get(&backend.address).cloned().unwrap_or_default(),
            });
        }
    }
    if refused.is_empty() { Ok(addresses) } else { Err(ResolveRefused(refused)) }
}

/// As [`resolve`], for when nothing runs yet.
///
/// # Errors
/// As there; and without a descriptor for the runtime, which says so for each name.
pub(super) fn resolve_at_start(config: &Config, known: &Addresses) -> Result<Addresses, ResolveRefused> {
    let names = Rc::new(Names::new(config.runtime.resolver));
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, resolve(config, known, &names)),
        Err(error) => Err(ResolveRefused(vec![Unresolved::Runtime(error)])),
    }
}

/// The names of a configuration, one as often as it stands there.
pub(super) fn all_names(config: &Config) -> impl Iterator<Item = &BackendAddress> {
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    backends.map(|backend| &backend.address).filter(|address| is_name(address))
}

fn bad_checks(config: &Config) -> Vec<Unresolved> {
    let bad = config.pools.iter().filter_map(|pool| {
        let (health, backend) = (pool.health.as_ref()?, pool.backends.first()?);
        let cause = Prepared::new(health, &backend.address, Carrier::default()).err()?;
        Some(Unresolved::Check { pool: pool.name.clone(), cause })
    });
    bad.collect()
}

fn host(address: &BackendAddress) -> String {
    match address {
        BackendAddress::Name(host, _) => host.clone(),
        other => other.to_string(),
    }
}
