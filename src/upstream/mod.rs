//! A shard's side of its backends: who is picked, which idle connections there are, what is in flight.
//!
//! Here: the pickers over the shard's view, the in-flight guard, the idle connections (newest first, seen
//! dead before use), connecting. Not here: what is sent over a connection (`proxy`), and who decides that
//! a backend is usable (`control`). One per shard; called by `proxy` and `shard`.

mod connection;
mod idle;

pub use connection::{Connection, InFlight};

use crate::balance::{Asked, BackendId, Member, Picker, Traffic, View, client_hash, name_hash};
use crate::config::Destination;
use crate::config::{Config, Policy, Timeouts};
use crate::ring::{Fault, Ring};
use crate::time::{Instant, Micros};
use idle::IdleConnections;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

/// The errno of a connect for which there is no place under `max_connections`.
pub const FULL: i32 = libc::ENOBUFS;

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

/// A backend that was picked for an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The pool's index.
    pub pool: u16,
    /// The backend's index in the pool.
    pub member: u16,
    /// Its number in the process.
    pub id: BackendId,
}

struct Backend {
    id: BackendId,
    to: Destination,
    idle: RefCell<IdleConnections>,
    /// Connections of this shard to it, idle ones included.
    open: Cell<usize>,
}

struct Pool {
    policy: Policy,
    timeouts: Timeouts,
    /// Connections of this shard to one of its backends; `usize::MAX`: any number.
    open_max: usize,
    idle_timeout: Micros,
    picker: RefCell<Picker>,
    backends: Box<[Backend]>,
}

/// All pools, as one shard sees them.
pub struct Upstreams {
    ring: Ring,
    /// The shard's picture of the in-flight counts.
    pub view: View,
    pools: Box<[Pool]>,
}

impl Upstreams {
    /// For shard number `shard` of `shards`. A backend that is checked starts unusable.
    pub fn new(
        ring: &Ring,
        config: &Config,
        backends: &[ResolvedBackend],
        shard: u16,
        shards: usize,
    ) -> Rc<Self> {
        let pools = config.pools.iter().enumerate().map(|(index, pool)| {
            let resolved = || backends.iter().filter(|backend| backend.pool == index);
            let members: Vec<Member> = resolved()
                .zip(&pool.backends)
                .map(|(resolved, backend)| Member {
                    id: resolved.id,
                    weight: backend.weight,
                    backup: backend.backup,
                    key: name_hash(&backend.name),
                    traffic: traffic(pool.health.is_none()),
                })
                .collect();
            let picker = Picker::new(pool.policy, &members, u64::from(shard));
            let idle_max = share(pool.upstream.idle_per_backend, shards);
            Pool {
                policy: pool.policy,
                timeouts: pool.timeouts,
                open_max: match pool.upstream.max_connections {
                    0 => usize::MAX,
                    total => share(total, shards),
                },
                idle_timeout: pool.upstream.idle_timeout,
                picker: RefCell::new(picker),
                backends: resolved()
                    .map(|resolved| Backend {
                        id: resolved.id,
                        to: resolved.address.clone(),
                        idle: RefCell::new(IdleConnections::new(idle_max)),
                        open: Cell::new(0),
                    })
                    .collect(),
            }
        });
        Rc::new(Self { ring: ring.clone(), view: View::new(shard, backends.len()), pools: pools.collect() })
    }

    /// Picks a backend of `pool` for `client`, none of `tried`; `None` if no other is usable.
    pub fn pick(&self, pool: usize, client: Option<IpAddr>, tried: &[u16]) -> Option<Picked> {
        let at = &self.pools[pool];
        let client = match at.policy {
            Policy::IpHash => client.map_or(0, |ip| client_hash(&ip)),
            Policy::RoundRobin | Policy::LeastConn | Policy::RandomTwo => 0,
        };
        // Empty, so without an allocation, but for a retry.
        let tried: Vec<BackendId> = tried.iter().map(|&member| at.backends[usize::from(member)].id).collect();
        let asked = Asked { client, tried: &tried, may_retry: false, now: self.ring.now() };
        let member = at.picker.borrow_mut().pick(&self.view, &asked)?;
        Some(Picked { pool: pool as u16, member: member as u16, id: at.backends[member].id })
    }

    /// Counts an exchange as in flight at `picked`, until the guard is dropped.
    pub fn admit(self: &Rc<Self>, picked: Picked) -> InFlight {
        InFlight::new(self, picked.id)
    }

    /// An idle connection to `picked` that looks alive, the one used last.
    pub fn idle(&self, picked: Picked) -> Option<Connection> {
        let backend = self.backend(picked);
        backend.idle.borrow_mut().pop(self.ring.now())
    }

    /// A new connection to `picked`, by `latest` at the latest.
    ///
    /// # Errors
    /// The connect's errno, the pool's connect timeout, or [`FULL`] when this shard has its share of
    /// `max_connections` already.
    pub async fn connect(self: &Rc<Self>, picked: Picked, latest: Instant) -> Result<Connection, Fault> {
        let pool = &self.pools[usize::from(picked.pool)];
        let backend = self.backend(picked);
        if backend.open.get() >= pool.open_max {
            return Err(Fault::Os(FULL));
        }
        // Counted before it stands: connects under way count.
        let place = connection::Place::take(self, picked);
        let due = self.ring.now().deadline(pool.timeouts.connect).min(latest);
        let stream = self.ring.connect(&backend.to, due).await?;
        Ok(Connection::new(stream, place))
    }

    /// Keeps a connection for the next exchange. `timeout`: what the backend's own `Keep-Alive` allows.
    pub fn keep(&self, connection: Connection, timeout: Option<Micros>) {
        let picked = connection.picked();
        let pool = &self.pools[usize::from(picked.pool)];
        // A second less than the backend keeps it, so that it does not close while we write.
        let allowed = timeout.map(|length| Micros::from_us(length.as_us().saturating_sub(1_000_000)));
        let length = match allowed {
            Some(allowed) if pool.idle_timeout.is_zero() => allowed,
            Some(allowed) => allowed.min(pool.idle_timeout),
            None => pool.idle_timeout,
        };
        if allowed.is_some_and(Micros::is_zero) {
            return;
        }
        connection.stream.watch();
        let until = self.ring.now().deadline(length);
        self.backend(picked).idle.borrow_mut().push(connection, until);
    }

    /// The time limits of `pool`.
    pub fn timeouts(&self, pool: usize) -> &Timeouts {
        &self.pools[pool].timeouts
    }

    /// From now on `id` may be picked, or not.
    pub fn set_usable(&self, id: BackendId, usable: bool) {
        for pool in &self.pools {
            if let Some(member) = pool.backends.iter().position(|backend| backend.id == id) {
                pool.picker.borrow_mut().set_traffic(member, traffic(usable));
                if !usable {
                    pool.backends[member].idle.borrow_mut().close_all();
                }
            }
        }
    }

    /// Closes idle connections that are over their time or that the backend has closed.
    pub fn sweep(&self, now: Instant) {
        for backend in self.pools.iter().flat_map(|pool| &pool.backends) {
            backend.idle.borrow_mut().close_dead(now);
        }
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        for backend in self.pools.iter().flat_map(|pool| &pool.backends) {
            backend.idle.borrow_mut().close_all();
        }
    }

    /// Idle connections of this shard.
    pub fn idle_count(&self) -> usize {
        self.pools.iter().flat_map(|pool| &pool.backends).map(|backend| backend.idle.borrow().len()).sum()
    }

    fn backend(&self, picked: Picked) -> &Backend {
        &self.pools[usize::from(picked.pool)].backends[usize::from(picked.member)]
    }
}

/// All or nothing.
fn traffic(usable: bool) -> Traffic {
    if usable { Traffic::ALL } else { Traffic::NOTHING }
}

/// A shard's part of a total that the operator wrote for the process: rounded up, so never nothing.
fn share(total: usize, shards: usize) -> usize {
    total.div_ceil(shards.max(1))
}
