//! What the connections of a shard share: ring, upstreams, listeners, statistics, scratch memory.

use super::collecting::Shelf;
use super::ledger::Ledger;
use super::said::{About, Said};
use super::seats::{Seats, Waiting};
use crate::config::{ErrorPages, Forwarded, ListenAddress, OWN_STATUSES, OnHalfClose, TrustedProxies};
use crate::exchange::{MarkRules, Marker};
use crate::http1::{Fields, HeadLimits, Via};
use crate::limit::{ClientKey, ConnectionLimits, Exceeded, Life, LifeLimits, Place};
use crate::log::record::Recorder;
use crate::metrics::{Refusal, ShardStats};
use crate::ring::Ring;
use crate::route::Router;
use crate::sys::{clock, random};
use crate::time::{Instant, Micros};
use crate::tls::Turns;
use crate::topology::{ListenerKey, ListenerPlan, Topology};
use crate::trace::Dice;
use crate::upstream::{Pool, Upstreams};
use crate::wire::Secured;
use rustls::ServerConfig;
use std::cell::{Cell, Ref, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Written buffers that a shard keeps for the next exchange.
const SPARE_MAX: usize = 256;

/// Bytes up to which a spare buffer is kept. Whatever is larger is counted, so it must not be handed out
/// uncounted.
pub(super) const SPARE_BYTES_MAX: usize = 2 << 10;

/// Editions of a listener's rules that are told apart: what `Peer` has bits for.
const EDITIONS: u32 = 1 << 31;

/// How long the wall's clock is taken to go as the other one does.
const WALL_GOOD_FOR: Micros = Micros::from_s(1);

/// Where the shard stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connections live as long as the client wants.
    Serving,
    /// weir is going to stop: each answer ends its connection.
    LastRequests,
}

/// A page for one of weir's own statuses. Its bytes are the process's, and held for this shard.
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Rc<Arc<[u8]>>,
}

impl Page {
    fn all(pages: &ErrorPages) -> Box<[Self]> {
        let page = |status| {
            let page = pages.of(status)?;
            Some(Self { status, content_type: page.content_type, body: Rc::new(page.body.0.clone()) })
        };
        OWN_STATUSES.into_iter().filter_map(page).collect()
    }
}

/// What a connection must know of its listener.
pub struct ListenerRules {
    /// Finds the pool.
    pub router: Arc<Router>,
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
    /// What is done to `X-Forwarded-*`, `Forwarded` and `X-Real-IP`.
    pub forwarded: Forwarded,
    /// Whose word about the client is believed.
    pub trusted_proxies: TrustedProxies,
    /// What requests say of weir.
    pub via: Option<Via>,
    /// The same, of those that came over HTTP/2.
    pub via_http2: Option<Via>,
    /// What weir's own answers say of it.
    pub(super) pseudonym: Option<Box<str>>,
    /// What its own answers look like.
    pub(super) pages: Box<[Page]>,
    /// Changes whenever the rules do; 1 to [`EDITIONS`] - 1.
    pub(super) edition: u32,
    /// Clients may begin with HTTP/2.
    pub(super) h2c: bool,
    /// Streams at once on one HTTP/2 connection.
    pub(super) max_streams: u32,
    /// What is done when a client ends its side while its answer is awaited.
    pub on_half_close: OnHalfClose,
    /// The field that names each request; `None`: none does.
    pub(super) request_id: Option<String>,
    /// The field with the subject of the client's certificate; `None`: none has it.
    pub(super) client_subject: Option<String>,
    /// Those in which any listener says so.
    pub(super) subject_fields: Vec<String>,
    /// The pools that the router gives places among, if those are not the topology's any more.
    left_with: Option<Vec<Rc<Pool>>>,
}

impl ListenerRules {
    fn of(plan: &ListenerPlan, edition: u32) -> Self {
        let listener = &plan.rules;
        // A TCP peer that has gone already has no address either.
        let unix = listener.trusted_proxies.unix && matches!(listener.address, ListenAddress::Unix(_));
        Self {
            router: plan.router.clone(),
            limits: HeadLimits { max_head: listener.max_head, max_headers: listener.max_headers },
            head_timeout: listener.head_timeout,
            idle_timeout: listener.idle_timeout,
            body_min_rate_per_s: listener.body_min_rate_per_s,
            max_body: listener.max_body,
            forwarded: listener.forwarded,
            trusted_proxies: TrustedProxies { unix, ..listener.trusted_proxies.clone() },
            via: listener.via.as_deref().map(Via::new),
            via_http2: listener.via.as_deref().map(Via::of_http2),
            pseudonym: listener.via.as_deref().map(Box::from),
            pages: Page::all(&listener.error_pages),
            edition,
            h2c: listener.h2c && listener.tls.is_none(),
            max_streams: listener.http2.max_streams,
            on_half_close: listener.on_half_close,
            request_id: listener.request_id.clone(),
            client_subject: listener.tls.as_ref().and_then(|tls| tls.client_subject.clone()),
            subject_fields: listener.subject_fields.clone(),
            left_with: None,
        }
    }

    /// The pool at this place, as the router gives it.
    pub(super) fn pool(&self, upstreams: &Upstreams, place: usize) -> Option<Rc<Pool>> {
        match &self.left_with {
            Some(pools) => pools.get(place).cloned(),
            None => upstreams.pool(place),
        }
    }
}

/// A listener; its rules change in place, under connections that live on.
pub struct ListenerService {
    key: ListenerKey,
    plan: RefCell<Arc<ListenerPlan>>,
    rules: RefCell<Rc<ListenerRules>>,
    /// Beside the rules, since each answer asks for it.
    life_limits: Cell<LifeLimits>,
    leaving: Cell<bool>,
}

impl ListenerService {
    fn new(plan: &Arc<ListenerPlan>) -> Rc<Self> {
        Rc::new(Self {
            key: plan.key,
            plan: RefCell::new(plan.clone()),
            rules: RefCell::new(Rc::new(ListenerRules::of(plan, 1))),
            life_limits: Cell::new(life_limits(plan)),
            leaving: Cell::new(false),
        })
    }

    /// Its lasting number.
    pub fn key(&self) -> ListenerKey {
        self.key
    }

    /// Its name in logs.
    pub fn name(&self) -> String {
        self.named().to_owned()
    }

    /// The same, for whoever needs it for a moment.
    pub(super) fn named(&self) -> Ref<'_, str> {
        Ref::map(self.plan.borrow(), |plan| plan.rules.name.as_str())
    }

    /// Connections that may wait in its queue.
    pub fn backlog(&self) -> usize {
        self.plan.borrow().rules.backlog as usize
    }

    /// How its connections are sealed; `None`: they are not.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.plan.borrow().tls.clone()
    }

    /// When a handshake that begins at `now` must be done.
    pub fn handshake_due(&self, now: Instant) -> Instant {
        now.deadline(self.rules.borrow().head_timeout)
    }

    /// A place for a connection of this peer under the listener's limits; `None`: there are none. A proxy that
    /// is trusted carries many clients and has as many connections as it wants, and so has a Unix socket's peer.
    ///
    /// # Errors
    /// The limit that leaves no place.
    pub fn admit(&self, peer: Option<IpAddr>) -> Result<Option<Box<Place>>, Exceeded> {
        let plan = self.plan.borrow();
        let rules = &plan.rules;
        let limits =
            ConnectionLimits { all: rules.max_connections, per_client: rules.max_connections_per_client };
        let counted = peer.filter(|_| limits.per_client > 0 && !rules.trusted_proxies.trusts(peer));
        plan.connections.admit(limits, counted.map(ClientKey::of))
    }

    /// Handshakes that may be under way on a shard when another one begins; `None`: any number.
    pub fn max_handshakes(&self) -> Option<usize> {
        let plan = self.plan.borrow();
        plan.rules.tls.as_ref().map(|tls| tls.max_handshakes).filter(|max| *max > 0)
    }

    /// There is no place for one more handshake: it is counted.
    pub fn refuse_handshake(&self) -> Exceeded {
        self.plan.borrow().connections.refuse(Exceeded::Handshakes)
    }

    /// What holds now.
    pub(super) fn rules(&self) -> Rc<ListenerRules> {
        self.rules.borrow().clone()
    }

    /// How long its connections may go on.
    pub(super) fn life_limits(&self) -> LifeLimits {
        self.life_limits.get()
    }

    /// It is in the topology no more: its connections end with their next answer.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// It is in the topology no more. Its router stays of the one before, and so do the pools that it is
    /// asked for: the same places are other pools' now.
    fn leave(&self, pools: &[Rc<Pool>]) {
        let rules = ListenerRules::of(&self.plan.borrow(), self.next_edition());
        *self.rules.borrow_mut() = Rc::new(ListenerRules { left_with: Some(pools.to_vec()), ..rules });
        self.leaving.set(true);
    }

    fn next_edition(&self) -> u32 {
        match self.rules.borrow().edition + 1 {
            EDITIONS => 1,
            next => next,
        }
    }

    fn change(&self, plan: &Arc<ListenerPlan>) {
        if !Arc::ptr_eq(&self.plan.borrow(), plan) {
            let rules = ListenerRules::of(plan, self.next_edition());
            *self.rules.borrow_mut() = Rc::new(rules);
            *self.plan.borrow_mut() = plan.clone();
            self.life_limits.set(life_limits(plan));
        }
    }
}

fn life_limits(plan: &ListenerPlan) -> LifeLimits {
    LifeLimits { max_age: plan.rules.max_age, max_requests: plan.rules.max_requests }
}

/// Memory for what lives no longer than a call.
pub(super) struct Scratch {
    pub(super) fields: Fields,
    pub(super) head: Vec<u8>,
    pub(super) marker: Marker,
}

/// What the connections of a shard share.
pub struct Service {
    /// The shard's ring.
    pub ring: Ring,
    /// The shard's backends.
    pub upstreams: Rc<Upstreams>,
    listeners: RefCell<Vec<Rc<ListenerService>>>,
    /// What is recorded.
    pub stats: RefCell<Box<ShardStats>>,
    /// Where the shard stands.
    pub stage: Cell<Stage>,
    /// Downstream connections, those that still shake hands among them.
    pub connections: Cell<usize>,
    /// Connections with clients that speak HTTP/2.
    pub http2_connections: Cell<usize>,
    /// Who of those that shake hands may take a step.
    pub turns: Turns,
    pub(super) seats: Seats,
    /// Bytes that exchanges keep so that they can be made again.
    pub(super) kept: Rc<Cell<usize>>,
    /// Bytes of large requests on their way to backends.
    pub(super) requests: Rc<Cell<usize>>,
    /// Bytes of large answers of weir's own making that clients have not read.
    pub(super) written: Rc<Cell<usize>>,
    /// How many each of these may be.
    pub(super) kept_max: usize,
    /// Incomplete heads of clients.
    pub(super) heads: Rc<Shelf>,
    /// Incomplete heads of backends.
    pub(super) answers: Rc<Shelf>,
    pub(super) scratch: RefCell<Scratch>,
    /// A moment on both clocks: the ring's, and Unix time in microseconds.
    wall: Cell<(Instant, u64)>,
    pub(super) ledger: Ledger,
    /// For draws that nothing depends on but when.
    dice: RefCell<Dice>,
    said: Said,
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Service {
    /// For a shard with `ring` and `upstreams`. `kept_max`: bytes that exchanges may keep so that they can be
    /// made again; and, each for itself, those of incomplete heads of clients, of backends, and of large
    /// requests and answers on their way. `recorder`: takes the records of exchanges.
    pub fn new(ring: Ring, upstreams: Rc<Upstreams>, kept_max: usize, recorder: Recorder) -> Rc<Self> {
        let ledger = Ledger::new(recorder, clock::now().as_us());
        Rc::new(Self {
            ring,
            upstreams,
            listeners: RefCell::default(),
            stats: RefCell::new(Box::new(ShardStats::new(0))),
            stage: Cell::new(Stage::Serving),
            connections: Cell::new(0),
            http2_connections: Cell::new(0),
            turns: Turns::default(),
            seats: Seats::default(),
            kept: Rc::default(),
            requests: Rc::default(),
            written: Rc::default(),
            kept_max,
            heads: Shelf::new(kept_max),
            answers: Shelf::new(kept_max),
            scratch: RefCell::new(Scratch {
                fields: Fields::default(),
                head: Vec::new(),
                marker: Marker::new(random::seed()),
            }),
            wall: Cell::default(),
            ledger,
            dice: RefCell::new(Dice::new(random::seed())),
            said: Said::default(),
            spare: RefCell::default(),
        })
    }

    /// Serves this topology from now on. Returns the listeners that are in it no more.
    pub fn apply(&self, topology: &Topology) -> Vec<ListenerKey> {
        self.stats.borrow_mut().grow(topology.backends_end);
        self.ledger.want(topology.recording);
        let pools = self.upstreams.pools();
        self.upstreams.apply(topology);
        let mut listeners = self.listeners.borrow_mut();
        let mut left = Vec::new();
        listeners.retain(|listener| {
            let stays = topology.listeners.iter().any(|plan| plan.key == listener.key);
            if !stays {
                listener.leave(&pools);
                left.push(listener.key);
            }
            stays
        });
        for plan in &topology.listeners {
            match listeners.iter().find(|listener| listener.key == plan.key) {
                Some(listener) => listener.change(plan),
                None => listeners.push(ListenerService::new(plan)),
            }
        }
        left
    }

    /// The listener with this number, if the topology has it.
    pub fn listener(&self, key: ListenerKey) -> Option<Rc<ListenerService>> {
        self.listeners.borrow().iter().find(|listener| listener.key == key).cloned()
    }

    /// TLS handshakes with clients under way, without those that were told to make room.
    pub fn shaking(&self) -> usize {
        self.seats.shaking()
    }

    /// Has at most `count` connections end that have waited for their client longest; how many. `whose`: among which.
    pub fn make_room(&self, whose: Waiting, count: usize) -> usize {
        let ended = self.seats.make_room(self.now(), whose, count);
        self.stats.borrow_mut().evicted(ended);
        ended
    }

    /// weir itself answered a request, or gave it up: it is counted, and now and then said.
    pub(super) fn refused(&self, refusal: Refusal, about: &About<'_>) {
        self.stats.borrow_mut().refused(about.status, refusal);
        self.said.refused(refusal, self.now(), about);
    }

    /// The life of a client's connection that begins now.
    pub(super) fn begin_life(&self) -> Life {
        Life::begin(self.now(), self.dice.borrow_mut().draw())
    }

    /// The time as of this turn.
    pub(super) fn now(&self) -> Instant {
        self.ring.now()
    }

    /// What requests under these rules are marked with.
    #[inline]
    pub(super) fn marks_of<'a>(
        &self,
        rules: &'a ListenerRules,
        secured: Option<&'a Secured>,
    ) -> MarkRules<'a> {
        let id_field = rules.request_id.as_deref();
        let unix_ms = if id_field.is_some() { self.unix_ms() } else { 0 };
        let shown = secured.and_then(|known| known.client_subject.as_deref());
        let subject = rules.client_subject.as_deref().zip(shown);
        let sample = self.ledger.recording().traces;
        MarkRules { id_field, sample, unix_ms, subject_fields: &rules.subject_fields, subject }
    }

    /// Unix time, as of this turn. The wall's clock is looked at once a second.
    fn unix_ms(&self) -> u64 {
        let now = self.now();
        let (mut at, mut unix_us) = self.wall.get();
        if unix_us == 0 || now.since(at) >= WALL_GOOD_FOR {
            (at, unix_us) = (now, clock::unix_us());
            self.wall.set((at, unix_us));
        }
        (unix_us + now.since(at).as_us()) / 1_000
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
