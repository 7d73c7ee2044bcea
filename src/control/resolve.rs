//! Where the backends are: names looked up once, at start, and every backend given its number.
//!
//! Called by `main` before any shard starts, so that a name that does not resolve is an error of the
//! start and not a surprise in traffic. The look-up blocks (`getaddrinfo`), which hurts nobody then.

use super::probe::{BadCheck, Prepared};
use crate::balance::BackendId;
use crate::config::Destination;
use crate::config::{BackendAddress, Config, Pool};
use std::fmt;
use std::io;
use std::net::ToSocketAddrs;

/// A backend with its address resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedBackend {
    /// Its number in the process.
    pub id: BackendId,
    /// The pool's index in the configuration.
    pub pool: usize,
    /// The backend's index in the pool.
    pub index: usize,
    /// Its name in logs and metrics.
    pub name: String,
    /// Where to connect.
    pub address: Destination,
    /// It serves only after a passed health check.
    pub checked: bool,
}

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
        cause: io::Error,
    },
    /// A health check's request cannot be written as HTTP.
    #[error("pool.{pool}.health: {cause}")]
    Check {
        /// The pool's name.
        pool: String,
        /// What is wrong with it.
        cause: BadCheck,
    },
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

/// Looks up every backend's name, in the configuration's order; of a name's addresses the first is used.
///
/// # Errors
/// All names that do not resolve and all checks that are no HTTP, at once.
pub fn resolve(config: &Config) -> Result<Vec<ResolvedBackend>, ResolveRefused> {
    let (mut resolved, mut refused) = (Vec::new(), Vec::new());
    let mut ids = (0..).map(BackendId);
    for (pool_index, pool) in config.pools.iter().enumerate() {
        if let Some(cause) = bad_check(pool) {
            refused.push(Unresolved::Check { pool: pool.name.clone(), cause });
        }
        for ((index, backend), id) in pool.backends.iter().enumerate().zip(&mut ids) {
            match look_up(&backend.address) {
                Ok(address) => resolved.push(ResolvedBackend {
                    id,
                    pool: pool_index,
                    index,
                    name: backend.name.clone(),
                    address,
                    checked: pool.health.is_some(),
                }),
                Err((host, cause)) => refused.push(Unresolved::Name {
                    pool: pool.name.clone(),
                    backend: backend.name.clone(),
                    host,
                    cause,
                }),
            }
        }
    }
    if refused.is_empty() { Ok(resolved) } else { Err(ResolveRefused(refused)) }
}

fn bad_check(pool: &Pool) -> Option<BadCheck> {
    let (health, backend) = (pool.health.as_ref()?, pool.backends.first()?);
    Prepared::new(&health.check, &backend.address).err()
}

fn look_up(address: &BackendAddress) -> Result<Destination, (String, io::Error)> {
    match address {
        BackendAddress::Tcp(address) => Ok(Destination::Tcp(*address)),
        BackendAddress::Unix(path) => Ok(Destination::Unix(path.clone())),
        BackendAddress::Service(name) => {
            Err((name.clone(), io::Error::other("SRV records are not looked up yet")))
        }
        BackendAddress::Name(host, port) => {
            let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
            (host.as_str(), *port)
                .to_socket_addrs()
                .and_then(|mut found| found.next().ok_or_else(none))
                .map(Destination::Tcp)
                .map_err(|cause| (host.clone(), cause))
        }
    }
}
