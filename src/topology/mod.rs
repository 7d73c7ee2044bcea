//! What a shard serves: pools, backends, listeners and their routes, as control has decided.
//!
//! Control makes a new [`Topology`] for every change, of parts shared with the one before; a shard takes
//! it as a whole and changes what differs, in place. Plain data, made off the request path, immutable and
//! shared by all shards, so that what is large (ten thousand routes) is built once and not on a shard.
//! Not here: who is healthy (`balance::Traffic`, which changes far more often), and sockets (`mesh`).

use crate::balance::{BackendId, Traffic};
use crate::config::{Destination, Listener, Policy, Retry, Timeouts, Upstream};
use crate::exchange::Budget;
use crate::limit::ConnectionCounts;
use crate::route::Router;
use crate::time::Micros;
pub use crate::trace::Share;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// How the connections of a configuration are sealed, as `tls` has made it of what the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Sealing {
    /// By place among the listeners.
    pub listeners: Vec<Option<Arc<ServerConfig>>>,
    /// By place among the pools.
    pub pools: Vec<Option<Arc<ClientConfig>>>,
}

/// Everything that is served.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Grows by one with each change, from 1.
    pub generation: u64,
    /// The pools, in the configuration's order: routers give places in this list.
    pub pools: Vec<Arc<PoolPlan>>,
    /// The listeners, in the configuration's order.
    pub listeners: Vec<Arc<ListenerPlan>>,
    /// All backends' numbers are below this.
    pub backends_end: usize,
    /// What is recorded of exchanges.
    pub recording: Recording,
}

/// What is recorded of exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The access log has lines, of these exchanges.
    pub lines: Option<Lines>,
    /// Trace contexts are made and passed on; so many of those begun here are sampled.
    pub traces: Option<Share>,
    /// The sampled ones are exported.
    pub exports: bool,
}

/// Which exchanges get a line in the access log, beside those that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Of the ordinary ones.
    pub sample: Share,
    /// All that lasted this long or longer.
    pub slow: Micros,
}

/// A pool, known by its name: one of the same name in the next topology is the same pool, changed.
#[derive(Clone, Debug)]
pub struct PoolPlan {
    /// Its name.
    pub name: String,
    /// How a backend is picked.
    pub policy: Policy,
    /// Time limits of its exchanges.
    pub timeouts: Timeouts,
    /// Connections to its backends.
    pub upstream: Upstream,
    /// What is tried again.
    pub retry: Retry,
    /// How many retries there are, over all shards.
    pub budget: Arc<Budget>,
    /// Passive health is on, so exchanges that went well are reported as well.
    pub ejects: bool,
    /// Where requests go when none of its backends is usable: a place in [`Topology::pools`].
    pub fallback: Option<usize>,
    /// How connections to its backends are sealed; `None`: they are not.
    pub tls: Option<Arc<ClientConfig>>,
    /// Its backends; there may be none.
    pub backends: Vec<Arc<BackendPlan>>,
}

/// A backend, known by its number.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendPlan {
    /// Its number, which is its alone until every shard has said that it is gone.
    pub id: BackendId,
    /// Its name in the pool, in logs and metrics.
    pub name: String,
    /// Where to connect. Never changes: a backend that moves is another one.
    pub address: Destination,
    /// 1 to 256.
    pub weight: u16,
    /// Traffic only when no other is usable.
    pub backup: bool,
    /// Which exchanges it gets until it is said otherwise, for a shard that did not know it.
    pub initial: Traffic,
    /// How connections to it are sealed; `None`: they are not.
    pub tls: Option<BackendTls>,
}

/// How connections to a backend are sealed.
#[derive(Clone, Debug)]
pub struct BackendTls {
    /// The pool's rules, with the sessions of this backend alone: one backend cannot read another's tickets.
    pub config: Arc<ClientConfig>,
    /// Whom its certificate must name.
    pub server_name: ServerName<'static>,
}

impl PartialEq for BackendTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.server_name == other.server_name
    }
}

/// A listener's lasting number: it keeps it as long as its address stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey(pub u32);

/// A listener. One that is not in the next topology drains: who has begun to connect is served, and
/// its connections end with their next answer.
#[derive(Clone, Debug)]
pub struct ListenerPlan {
    /// Its number.
    pub key: ListenerKey,
    /// Its rules.
    pub rules: Listener,
    /// Its routes.
    pub router: Arc<Router>,
    /// How its connections are sealed; `None`: they are not.
    pub tls: Option<Arc<ServerConfig>>,
    /// Its connections, over all shards. They stay the listener's whatever else changes.
    pub connections: Arc<ConnectionCounts>,
}
