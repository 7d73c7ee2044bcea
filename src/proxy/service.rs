//! What the connections of a shard share: ring, upstreams, listeners, statistics, scratch memory.

use crate::config::{Config, Forwarded};
use crate::http1::{Fields, HeadLimits};
use crate::metrics::ShardStats;
use crate::ring::Ring;
use crate::route::Router;
use crate::time::{Instant, Micros};
use crate::upstream::Upstreams;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Written buffers that a shard keeps for the next exchange.
const SPARE_MAX: usize = 256;

/// Bytes up to which a spare buffer is worth keeping.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// Where the shard stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connections live as long as the client wants.
    Serving,
    /// weir is going to stop: each answer ends its connection.
    LastRequests,
}

/// What a connection must know of its listener.
pub struct ListenerService {
    /// Finds the pool.
    pub router: Router,
    /// Of a request head.
    pub limits: HeadLimits,
    /// From the first byte of a head to its end.
    pub head_timeout: Micros,
    /// Between two requests.
    pub idle_timeout: Micros,
    /// Bytes a second that a body must make; 0: any.
    pub body_min_rate_per_s: u64,
    /// Bytes of a request body; 0: any.
    pub max_body: u64,
    /// What is done to `X-Forwarded-*`.
    pub forwarded: Forwarded,
}

impl ListenerService {
    /// For the listener with this index.
    pub fn new(config: &Config, index: usize) -> Self {
        let listener = &config.listeners[index];
        Self {
            router: Router::new(config, index),
            limits: HeadLimits { max_head: listener.max_head, max_headers: listener.max_headers },
            head_timeout: listener.head_timeout,
            idle_timeout: listener.idle_timeout,
            body_min_rate_per_s: listener.body_min_rate_per_s,
            max_body: listener.max_body,
            forwarded: listener.forwarded,
        }
    }
}

/// Memory for what lives no longer than a call.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) fields: Fields,
    pub(super) head: Vec<u8>,
}

/// What the connections of a shard share.
pub struct Service {
    /// The shard's ring.
    pub ring: Ring,
    /// The shard's backends.
    pub upstreams: Rc<Upstreams>,
    /// By listener.
    pub listeners: Box<[ListenerService]>,
    /// What is recorded.
    pub stats: RefCell<Box<ShardStats>>,
    /// Where the shard stands.
    pub stage: Cell<Stage>,
    /// Downstream connections.
    pub connections: Cell<usize>,
    /// Bytes that exchanges keep so that they can be made again, and how many they may be.
    pub(super) kept: Cell<usize>,
    pub(super) kept_max: usize,
    pub(super) scratch: RefCell<Scratch>,
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Service {
    /// For a shard with `ring` and `upstreams`.
    pub fn new(config: &Config, ring: Ring, upstreams: Rc<Upstreams>, backends: usize) -> Rc<Self> {
        Rc::new(Self {
            ring,
            upstreams,
            listeners: (0..config.listeners.len()).map(|index| ListenerService::new(config, index)).collect(),
            stats: RefCell::new(Box::new(ShardStats::new(backends))),
            stage: Cell::new(Stage::Serving),
            connections: Cell::new(0),
            kept: Cell::new(0),
            kept_max: (usize::from(config.runtime.buffers)).saturating_mul(config.runtime.buffer_size),
            scratch: RefCell::default(),
            spare: RefCell::default(),
        })
    }

    /// The time as of this turn.
    pub(super) fn now(&self) -> Instant {
        self.ring.now()
    }

    /// An empty buffer to write into.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Takes a written buffer back for the next exchange.
    pub(super) fn give_spare(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if buffer.capacity() > 0 && buffer.capacity() <= SPARE_BYTES_MAX && spare.len() < SPARE_MAX {
            buffer.clear();
            spare.push(buffer);
        }
    }
}
