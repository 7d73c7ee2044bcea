//! What there is: pools and backends by name, their numbers, and the topology that shards are told.
//!
//! The roster holds what the configuration says, what an operator has changed, and what names resolve to,
//! and makes one [`Topology`] of it, of parts shared with the last one wherever nothing differs. Pure:
//! routers are built and names are looked up elsewhere. Not here: who is healthy (`world`).
//!
//! | file | what lives there |
//! |---|---|
//! | `member` | one backend |
//! | `follow` | another configuration, other addresses of a name |
//! | `operate` | an operator's changes |
//! | `plan` | the topology |
//! | `restore` | what operators did in a process before |

mod follow;
mod member;
mod operate;
mod plan;
mod restore;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

pub(crate) use follow::Next;
pub(crate) use member::Member;
pub(crate) use operate::Operated;

use super::addresses::Addresses;
use super::carried::CarriedRemoval;
use super::change::ChangeRefused;
use super::ids::Ids;
use crate::balance::{BackendId, Traffic};
use crate::config::{self, Config};
use crate::topology::{ListenerPlan, PoolPlan, Topology};
use rustls::ClientConfig;
use std::sync::Arc;

/// Shards that are alive, each with the generation that it was told last.
pub(crate) type Told<'a> = &'a [(u16, u64)];

/// A pool: its place in the roster is its place in the configuration.
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    /// Configured backends that an operator removed.
    pub(crate) removed: Vec<CarriedRemoval>,
    plan: Arc<PoolPlan>,
}

impl Pool {
    /// How connections to its backends are sealed; `None`: they are not.
    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.plan.tls.as_ref()
    }
}

/// All there is.
pub(crate) struct Roster {
    config: Arc<Config>,
    names: Addresses,
    pools: Vec<Pool>,
    listeners: Vec<Arc<ListenerPlan>>,
    /// By pool.
    sealing: Vec<Option<Arc<ClientConfig>>>,
    ids: Ids,
    /// By number: the places of the pool and of the backend in it.
    places: Vec<Option<(usize, usize)>>,
    topology: Arc<Topology>,
}

impl Roster {
    /// Nothing, before the first configuration.
    pub(crate) fn empty() -> Self {
        let runtime = config::Runtime::default();
        let config = Config {
            runtime,
            admin: config::Admin { listen: Vec::new(), token_file: None },
            log: config::Log::default(),
            access_log: config::AccessLog::default(),
            tracing: None,
            listeners: Vec::new(),
            routes: Vec::new(),
            pools: Vec::new(),
        };
        Self {
            config: Arc::new(config),
            names: Addresses::new(),
            pools: Vec::new(),
            listeners: Vec::new(),
            sealing: Vec::new(),
            ids: Ids::default(),
            places: Vec::new(),
            topology: Arc::default(),
        }
    }

    /// The configuration that holds.
    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What names resolve to.
    pub(crate) fn names(&self) -> &Addresses {
        &self.names
    }

    /// What shards are told.
    pub(crate) fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// The listeners, in the configuration's order.
    pub(crate) fn listeners(&self) -> &[Arc<ListenerPlan>] {
        &self.listeners
    }

    /// How connections to the backends are sealed, by pool.
    pub(crate) fn sealing(&self) -> &[Option<Arc<ClientConfig>>] {
        &self.sealing
    }

    /// The pools, in the configuration's order.
    pub(crate) fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Each pool with what the configuration says of it.
    pub(crate) fn configured(&self) -> impl Iterator<Item = (&Pool, &config::Pool)> {
        self.pools.iter().zip(&self.config.pools)
    }

    /// Who has which number.
    pub(crate) fn ids(&mut self) -> &mut Ids {
        &mut self.ids
    }

    /// Places of the pool and of the backend in it: asked for with every report.
    pub(crate) fn place(&self, id: BackendId) -> Option<(usize, usize)> {
        self.places.get(id.0 as usize).copied().flatten()
    }

    /// A pool's place.
    ///
    /// # Errors
    /// There is none of this name.
    pub(crate) fn pool(&self, name: &str) -> Result<usize, ChangeRefused> {
        self.pools.iter().position(|pool| pool.name == name).ok_or_else(|| ChangeRefused::NoPool {
            pool: name.to_owned(),
            known: self.pools.iter().map(|pool| pool.name.clone()).collect(),
        })
    }

    /// The members that `name` means: the backend of this name, or all addresses of the configured name.
    ///
    /// # Errors
    /// There is no such pool or backend.
    pub(crate) fn members(&self, pool: &str, name: &str) -> Result<Vec<&Member>, ChangeRefused> {
        let at = &self.pools[self.pool(pool)?];
        let found: Vec<&Member> = at.members.iter().filter(|member| member.answers_to(name)).collect();
        if found.is_empty() { Err(no_backend(at, name)) } else { Ok(found) }
    }

    /// What the members get at the start, for the first topology, which no shard has seen yet.
    pub(crate) fn begin_with(&mut self, traffic: impl Fn(BackendId) -> Traffic) {
        self.pools.iter_mut().flat_map(|pool| &mut pool.members).for_each(|member| {
            member.initial = traffic(member.id);
        });
        self.plan(self.topology.generation.max(1));
    }
}

fn no_backend(pool: &Pool, name: &str) -> ChangeRefused {
    ChangeRefused::NoBackend {
        pool: pool.name.clone(),
        name: name.to_owned(),
        known: pool.members.iter().map(|member| member.name.clone()).collect(),
    }
}
