//! A shard's side of its backends: who is picked, which idle connections there are, what is in flight.
//!
//! Here: the pickers over the shard's view, the in-flight guard, the idle connections (newest first, seen
//! dead before use), connecting. Not here: what is sent over a connection (`proxy`), and who decides that
//! a backend is usable (`control`). One per shard; called by `proxy` and `shard`.

mod connection;
mod idle;

pub use connection::{Connection, InFlight};

use crate::balance::{BackendId, Member, Picker, View, client_hash, name_hash};
use crate::config::Destination;
use crate::config::{Config, Policy, Retry, Timeouts};
use crate::exchange::Budget;
use crate::ring::{Fault, Ring};
use crate::time::{Instant, Micros};
use idle::IdleConnections;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

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
#[derive(Clone)]
pub struct Picked {
    pool: Rc<Pool>,
    backend: Rc<Backend>,
}

impl Picked {
    /// Its number in the process.
    pub fn id(&self) -> BackendId {
        self.backend.id
    }

    /// The pool from which it was picked.
    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// It was ejected and is tried again.
    pub fn is_trial(&self) -> bool {
        false
    }
}

/// What a pick is made by.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks; `None`: over a Unix socket.
    pub client: Option<IpAddr>,
    /// Backends that this exchange has tried.
    pub tried: &'a [BackendId],
    /// The exchange could be made again elsewhere.
    pub may_retry: bool,
}

struct Backend {
    id: BackendId,
    to: Destination,
    idle: RefCell<IdleConnections>,
    /// Connections of this shard to it, idle ones included.
    open: Cell<usize>,
}

/// What the exchanges of a pool go by.
pub struct PoolRules {
    /// Time limits.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retry: Retry,
    /// How many retries there are.
    pub budget: Arc<Budget>,
    /// Connections of this shard to one of its backends; `usize::MAX`: any number.
    open_max: usize,
    idle_timeout: Micros,
}

/// A group of backends.
pub struct Pool {
    policy: Policy,
    rules: Rc<PoolRules>,
    picker: RefCell<Picker>,
    backends: Box<[Rc<Backend>]>,
}

impl Pool {
    /// What its exchanges go by.
    pub fn rules(&self) -> Rc<PoolRules> {
        self.rules.clone()
    }
}

/// All pools, as one shard sees them.
pub struct Upstreams {
    ring: Ring,
    /// The shard's picture of the in-flight counts.
    pub view: View,
    pools: Box<[Rc<Pool>]>,
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
                })
                .collect();
            let mut picker = Picker::new(pool.policy, &members, u64::from(shard));
            (0..members.len()).for_each(|member| picker.set_usable(member, pool.health.is_none()));
            let idle_max = share(pool.upstream.idle_per_backend, shards);
            Rc::new(Pool {
                policy: pool.policy,
                rules: Rc::new(PoolRules {
                    timeouts: pool.timeouts,
                    retry: pool.retry.clone(),
                    budget: Arc::new(Budget::new(pool.retry.budget, pool.retry.budget_min_per_s)),
                    open_max: match pool.upstream.max_connections {
                        0 => usize::MAX,
                        total => share(total, shards),
                    },
                    idle_timeout: pool.upstream.idle_timeout,
                }),
                picker: RefCell::new(picker),
                backends: resolved()
                    .map(|resolved| {
                        Rc::new(Backend {
                            id: resolved.id,
                            to: resolved.address.clone(),
                            idle: RefCell::new(IdleConnections::new(idle_max)),
                            open: Cell::new(0),
                        })
                    })
                    .collect(),
            })
        });
        Rc::new(Self { ring: ring.clone(), view: View::new(shard, backends.len()), pools: pools.collect() })
    }

    /// The pool with this index.
    pub fn pool(&self, index: usize) -> Rc<Pool> {
        self.pools[index].clone()
    }

    /// Picks a backend of `pool`; `None` if no other is usable.
    pub fn pick(&self, pool: &Rc<Pool>, asked: &Asked<'_>) -> Option<Picked> {
        let client = match pool.policy {
            Policy::IpHash => asked.client.map_or(0, |ip| client_hash(&ip)),
            Policy::RoundRobin | Policy::LeastConn | Policy::RandomTwo => 0,
        };
        let mut tried = [0; 16];
        let mut count = 0;
        for (member, backend) in pool.backends.iter().enumerate() {
            if asked.tried.contains(&backend.id) && count < tried.len() {
                tried[count] = member as u16;
                count += 1;
            }
        }
        let member = pool.picker.borrow_mut().pick(&self.view, client, &tried[..count])?;
        Some(Picked { pool: pool.clone(), backend: pool.backends[member].clone() })
    }

    /// Counts an exchange as in flight at `picked`, until the guard is dropped.
    pub fn admit(self: &Rc<Self>, picked: &Picked, first: bool) -> InFlight {
        if first {
            picked.pool.rules.budget.deposit(1, self.ring.now());
        }
        InFlight::new(self, picked.id())
    }

    /// An idle connection to `picked` that looks alive, the one used last.
    pub fn idle(&self, picked: &Picked) -> Option<Connection> {
        picked.backend.idle.borrow_mut().pop(self.ring.now())
    }

    /// A new connection to `picked`, by `latest` at the latest.
    ///
    /// # Errors
    /// The connect's errno, the pool's connect timeout, or [`FULL`] when this shard has its share of
    /// `max_connections` already.
    pub async fn connect(self: &Rc<Self>, picked: &Picked, latest: Instant) -> Result<Connection, Fault> {
        let rules = &picked.pool.rules;
        if picked.backend.open.get() >= rules.open_max {
            return Err(Fault::Os(FULL));
        }
        // Counted before it stands: connects under way count.
        let place = connection::Place::take(picked);
        let due = self.ring.now().deadline(rules.timeouts.connect).min(latest);
        let stream = self.ring.connect(&picked.backend.to, due).await?;
        Ok(Connection::new(stream, place))
    }

    /// Keeps a connection for the next exchange. `timeout`: what the backend's own `Keep-Alive` allows.
    pub fn keep(&self, connection: Connection, timeout: Option<Micros>) {
        let picked = connection.picked().clone();
        let idle_timeout = picked.pool.rules.idle_timeout;
        // A second less than the backend keeps it, so that it does not close while we write.
        let allowed = timeout.map(|length| Micros::from_us(length.as_us().saturating_sub(1_000_000)));
        let length = match allowed {
            Some(allowed) if idle_timeout.is_zero() => allowed,
            Some(allowed) => allowed.min(idle_timeout),
            None => idle_timeout,
        };
        if allowed.is_some_and(Micros::is_zero) {
            return;
        }
        connection.stream.watch();
        let until = self.ring.now().deadline(length);
        picked.backend.idle.borrow_mut().push(connection, until);
    }

    /// From now on `id` may be picked, or not.
    pub fn set_usable(&self, id: BackendId, usable: bool) {
        for pool in &self.pools {
            if let Some(member) = pool.backends.iter().position(|backend| backend.id == id) {
                pool.picker.borrow_mut().set_usable(member, usable);
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
}

/// A shard's part of a total that the operator wrote for the process: rounded up, so never nothing.
fn share(total: usize, shards: usize) -> usize {
    total.div_ceil(shards.max(1))
}
