//! A shard's side of its backends: who is picked, which idle connections there are, what is in flight.
//!
//! Here: the pools and backends of the topology, changed in place; the pickers over the shard's view, the
//! in-flight guard and what exchanges came to, the idle connections (newest first, seen dead before use),
//! connecting. Not here: what is sent over a connection (`proxy`), and who decides that a backend gets
//! traffic (`control`). One per shard; called by `proxy` and `shard`.

mod backend;
mod connection;
mod idle;
mod lingering;
mod pool;
mod sealing;
mod shared;
mod unreachable;

pub use backend::Backend;
pub use connection::{Connection, InFlight, Picked};
pub use pool::{Pool, PoolRules};

use crate::balance::{BackendId, Outcome, Traffic, View};
use crate::config::Protocol;
use crate::limit::{Life, LifeOver};
use crate::metrics::Handshake;
use crate::ring::{Fault, Ring};
use crate::sys::random;
use crate::time::{Instant, Micros};
use crate::topology::{BackendPlan, PoolPlan, Topology};
use crate::trace::Dice;
use crate::wire::Wire;
use connection::Place;
use http::uri::Scheme;
use lingering::Lingering;
use pool::share;
use sealing::Sealing;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use unreachable::{Unreachable, is_ours};

/// The errno of a connect for which there is no place under `max_connections`, or in this host.
pub const FULL: i32 = libc::ENOBUFS;

/// The errno of a connect after which no TLS handshake succeeded.
pub const UNSEALED: i32 = libc::EPROTO;

/// Pools that one request may go through, each being the fallback of the one before. The configuration
/// has no circles; this bounds what a fault of ours could do.
const FALLBACKS_MAX: usize = 8;

/// What a request asks of a pick.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Whose request it is.
    pub client: Option<IpAddr>,
    /// Backends that it has tried already.
    pub tried: &'a [BackendId],
    /// It can be tried again elsewhere, so it may try a backend that was ejected.
    pub may_retry: bool,
}

/// A backend and the pool that it is a member of.
type Seat = (Rc<Backend>, Rc<Pool>);

/// All pools, as one shard sees them.
pub struct Upstreams {
    ring: Ring,
    /// The shard's picture of the in-flight counts.
    pub view: View,
    shard: u16,
    shards: usize,
    /// In the topology's order.
    pools: RefCell<Vec<Rc<Pool>>>,
    /// By [`BackendId`].
    backends: RefCell<Vec<Option<Seat>>>,
    /// Backends that the topology names no more, until nothing of them is left.
    leaving: RefCell<Vec<Rc<Backend>>>,
    /// Failed exchanges that keep their place a while.
    lingering: RefCell<Lingering>,
    /// Backends that could not be reached, and are left alone for a while.
    unreachable: RefCell<Unreachable>,
    /// Backends whose outcomes changed since the last report.
    unreported: RefCell<Vec<Rc<Backend>>>,
    /// TLS handshakes with backends.
    sealing: Sealing,
    /// Connections to all backends, and how many there may be before idle ones are closed for a new one.
    open: Rc<Cell<usize>>,
    open_max: Cell<usize>,
    /// For draws that nothing depends on but when connections end.
    dice: RefCell<Dice>,
    /// By [`LifeOver`]: connections that were closed for it since that was last asked.
    lived_out: Cell<[u64; LifeOver::ALL.len()]>,
}

impl Upstreams {
    /// For shard number `shard` of `shards`, without a pool.
    pub fn new(ring: &Ring, shard: u16, shards: usize) -> Rc<Self> {
        Rc::new(Self {
            ring: ring.clone(),
            view: View::new(shard, 0),
            shard,
            shards,
            pools: RefCell::default(),
            backends: RefCell::default(),
            leaving: RefCell::default(),
            lingering: RefCell::default(),
            unreachable: RefCell::default(),
            unreported: RefCell::default(),
            sealing: Sealing::default(),
            open: Rc::default(),
            open_max: Cell::new(usize::MAX),
            dice: RefCell::new(Dice::new(random::seed())),
            lived_out: Cell::default(),
        })
    }

    /// So many connections to all backends at most from now on, as long as idle ones are among them. A shard
    /// with as many clients at most always has one: an exchange has one connection, and this one has none yet.
    pub fn bound(&self, open_max: usize) {
        self.open_max.set(open_max);
    }

    /// Closes an idle connection of the backend that has most, if any has one.
    fn close_an_idle(&self) {
        let backends = self.backends.borrow();
        let most = backends.iter().flatten().max_by_key(|(backend, _)| backend.idle_len());
        if let Some((backend, _)) = most {
            backend.close_oldest_idle();
        }
    }

    /// Serves this topology from now on. What is in it already stays as it is; backends that are not in it
    /// any more get nothing new and are [gone](Self::gone) when their last exchange is over.
    pub fn apply(&self, topology: &Topology) {
        self.view.grow(topology.backends_end);
        let named = |pool: Rc<Pool>| {
            let name = pool.name().to_owned();
            (name, pool)
        };
        let mut known: HashMap<String, Rc<Pool>> = self.pools.take().into_iter().map(named).collect();
        let mut pools = Vec::with_capacity(topology.pools.len());
        for plan in &topology.pools {
            pools.push(match known.remove(&plan.name) {
                Some(pool) if pool.is(plan) => pool,
                Some(pool) => {
                    self.change(&pool, plan);
                    pool
                }
                None => self.open(plan),
            });
        }
        for pool in known.into_values() {
            pool.members().iter().for_each(|backend| self.leave(backend));
            pool.close();
        }
        *self.pools.borrow_mut() = pools;
    }

    fn open(&self, plan: &Arc<PoolPlan>) -> Rc<Pool> {
        let members: Vec<Rc<Backend>> =
            plan.backends.iter().map(|backend| self.enter(plan, backend)).collect();
        let pool = Pool::new(plan, members, self.shard, self.shards);
        self.seat(&pool);
        pool
    }

    fn change(&self, pool: &Rc<Pool>, plan: &Arc<PoolPlan>) {
        let before = pool.members().clone();
        let member = |backend: &Arc<BackendPlan>| match before.iter().find(|old| old.id() == backend.id) {
            Some(old) => {
                old.change(plan.upstream.protocol, share(plan.upstream.idle_per_backend, self.shards));
                old.set_tls(backend.tls.as_ref());
                old.clone()
            }
            None => self.enter(plan, backend),
        };
        let members: Vec<Rc<Backend>> = plan.backends.iter().map(member).collect();
        let left = |old: &&Rc<Backend>| !members.iter().any(|member| Rc::ptr_eq(member, old));
        before.iter().filter(left).for_each(|old| self.leave(old));
        pool.change(plan, members, self.shards);
        self.seat(pool);
    }

    fn enter(&self, pool: &PoolPlan, plan: &BackendPlan) -> Rc<Backend> {
        self.view.reset(plan.id);
        let idle_max = share(pool.upstream.idle_per_backend, self.shards);
        Rc::new(Backend::new(plan, pool.upstream.protocol, idle_max))
    }

    /// Makes the pool's backends known by their numbers.
    fn seat(&self, pool: &Rc<Pool>) {
        let mut backends = self.backends.borrow_mut();
        for backend in pool.members().iter() {
            let at = backend.id().0 as usize;
            if backends.len() <= at {
                backends.resize_with(at + 1, || None);
            }
            backends[at] = Some((backend.clone(), pool.clone()));
        }
    }

    fn leave(&self, backend: &Rc<Backend>) {
        backend.tell(Traffic::NOTHING);
        self.unreachable.borrow_mut().remove(backend.id());
        if let Some(place) = self.backends.borrow_mut().get_mut(backend.id().0 as usize) {
            *place = None;
        }
        self.leaving.borrow_mut().push(backend.clone());
    }

    /// Backends that have left the topology and of which nothing is left on this shard since the last
    /// call.
    pub fn gone(&self) -> Vec<BackendId> {
        let mut gone = Vec::new();
        self.leaving.borrow_mut().retain(|backend| {
            // What its last exchanges came to is told first, or it would be another's with its number.
            let over =
                self.view.own(backend.id()) == 0 && backend.open.get() == 0 && !backend.is_unreported();
            if over {
                gone.push(backend.id());
            }
            !over
        });
        gone
    }

    /// All pools, in the topology's order.
    pub fn pools(&self) -> Vec<Rc<Pool>> {
        self.pools.borrow().clone()
    }

    /// The pool at this place in the topology, as routers give it.
    pub fn pool(&self, index: usize) -> Option<Rc<Pool>> {
        self.pools.borrow().get(index).cloned()
    }

    /// Picks a backend of `pool`, or of its fallback when none is usable; `None` if nobody is.
    pub fn pick(&self, pool: &Rc<Pool>, asking: &Asking<'_>) -> Option<Picked> {
        let Asking { client, tried, may_retry } = *asking;
        let now = self.ring.now();
        let mut pool = pool.clone();
        for _ in 0..FALLBACKS_MAX {
            let pick = || pool.pick(&self.view, client, tried, may_retry, now);
            // One that could not be reached is better than nobody.
            let again = || self.try_unreachable(&pool).then(pick).flatten();
            if let Some((backend, trial)) = pick().or_else(again) {
                return Some(Picked { backend, pool, trial });
            }
            let fallback = pool.fallback()?;
            pool = self.pool(fallback)?;
        }
        None
    }

    /// Counts an exchange as in flight at `picked`, until the guard ends. `first`: it is the exchange's
    /// first attempt, which the retry budget counts.
    pub fn admit(self: &Rc<Self>, picked: &Picked, first: bool) -> InFlight {
        if first {
            picked.pool.count_first();
        }
        InFlight::new(self, picked)
    }

    /// An idle connection to `picked` that looks alive, the one used last; or a stream of one that has room.
    pub fn idle(&self, picked: &Picked) -> Option<Connection> {
        match picked.backend.protocol.get() {
            Protocol::Http1 => {
                let idle = picked.backend.idle.borrow_mut().pop(self.ring.now());
                idle.map(|connection| connection.reused(picked))
            }
            Protocol::Http2 => self.stream(picked),
        }
    }

    /// A new connection to `picked`, by `latest` at the latest. If there is no place for it, an idle one's
    /// is taken: who asks has found none to use, or trusts none. Of HTTP/2, a stream: one that has come to have room
    /// will do, since those that are of no use are known.
    ///
    /// # Errors
    /// The connect's errno, the pool's connect timeout, or [`FULL`] when this shard has its share of
    /// `max_connections` already.
    pub async fn connect(self: &Rc<Self>, picked: &Picked, latest: Instant) -> Result<Connection, Fault> {
        if picked.backend.protocol.get() == Protocol::Http2 {
            return self.stream_of_new(picked, latest).await;
        }
        let place = self.place(picked)?;
        let due = self.ring.now().deadline(picked.pool.rules().timeouts.connect);
        match self.dial(picked, due.min(latest)).await {
            Ok((stream, _)) => {
                picked.backend.reached();
                Ok(Connection::new(stream, picked, place, self.new_life()))
            }
            Err(Fault::Os(errno)) if is_ours(errno) => Err(Fault::Os(FULL)),
            // It did not have the time that a connect has.
            Err(Fault::TimedOut) if latest < due => Err(Fault::TimedOut),
            Err(fault) => {
                self.leave_alone(picked);
                Err(fault)
            }
        }
    }

    /// A place for one more connection to `picked`. It counts before the connection stands: connects under way do.
    fn place(&self, picked: &Picked) -> Result<Place, Fault> {
        let open_max = picked.pool.rules().open_max;
        if picked.backend.open.get() >= open_max {
            picked.backend.close_oldest_idle();
        }
        if picked.backend.open.get() >= open_max {
            return Err(Fault::Os(FULL));
        }
        if self.open.get() >= self.open_max.get() {
            self.close_an_idle();
        }
        Ok(Place::take(picked, &self.open))
    }

    /// A connection to `picked`, sealed if its pool's are, and the scheme of what goes over it.
    async fn dial(&self, picked: &Picked, due: Instant) -> Result<(Wire, Scheme), Fault> {
        let stream = self.ring.connect(&picked.backend.to, due).await?;
        let Some(tls) = picked.backend.tls() else { return Ok((stream.into(), Scheme::HTTP)) };
        // In a box: who has no TLS has not its future either.
        let sealed = Box::pin(self.sealing.seal(&self.ring, stream, &tls, due, picked)).await?;
        Ok((Wire::Layered(Box::new(sealed)), Scheme::HTTPS))
    }

    /// The ring has turned.
    pub fn begin_turn(&self) {
        self.sealing.turns.begin();
    }

    /// Whether a handshake waits for the ring's next turn.
    pub fn wait_for_turn(&self) -> bool {
        self.sealing.turns.are_waited_for()
    }

    /// What handshakes with backends have come to since the last call.
    pub fn take_handshakes(&self) -> Vec<Handshake> {
        self.sealing.come_to.take()
    }

    /// Keeps a connection for the next exchange, if its backend still gets any and it has not lived long enough.
    /// `timeout`: what the backend's own `Keep-Alive` allows.
    pub fn keep(&self, mut connection: Connection, timeout: Option<Micros>) {
        let Picked { backend, pool, .. } = connection.picked().clone();
        let rules = pool.rules();
        let idle_timeout = rules.idle_timeout;
        // A second less than the backend keeps it, so that it does not close while we write.
        let allowed = timeout.map(|length| Micros::from_us(length.as_us().saturating_sub(1_000_000)));
        let length = match allowed {
            Some(allowed) if idle_timeout.is_zero() => allowed,
            Some(allowed) => allowed.min(idle_timeout),
            None => idle_timeout,
        };
        if connection.ends() || allowed.is_some_and(Micros::is_zero) || !backend.is_served() {
            return;
        }
        let now = self.ring.now();
        connection.count();
        if let Some(limit) = connection.life().and_then(|life| life.over(&rules.life_limits, now)) {
            return self.lived_out(limit);
        }
        let unheard = if connection.stream.watch() { None } else { Some(now) };
        backend.idle.borrow_mut().push(connection, now.deadline(length), unheard);
    }

    /// From now on `id` gets this traffic.
    pub fn set_traffic(&self, id: BackendId, traffic: Traffic) {
        if let Some((backend, pool)) = self.seat_of(id) {
            // Control knows more than this shard's connects.
            self.unreachable.borrow_mut().remove(id);
            pool.set_traffic(id, traffic);
            backend.tell(traffic);
        }
    }

    /// A connect failed: the backend is not picked for a while, as long as there are others. That is no
    /// verdict, which is control's; but each pick until then would cost a client a retry.
    fn leave_alone(&self, picked: &Picked) {
        let Picked { backend, pool, .. } = picked;
        // It may have left the topology meanwhile, and its number may be another's before this is over.
        let stays = self.seat_of(backend.id()).is_some_and(|(known, _)| Rc::ptr_eq(&known, backend));
        let mut unreachable = self.unreachable.borrow_mut();
        if stays && !unreachable.has(backend) {
            unreachable.add(self.ring.now() + backend.not_reached(), backend, pool);
            pool.set_traffic(backend.id(), Traffic::NOTHING);
        }
    }

    fn seat_of(&self, id: BackendId) -> Option<Seat> {
        self.backends.borrow().get(id.0 as usize).cloned().flatten()
    }

    /// Lets the pool's unreachable backends be picked again; `false`: it has none.
    fn try_unreachable(&self, pool: &Rc<Pool>) -> bool {
        self.unreachable.borrow_mut().release(|(_, of)| Rc::ptr_eq(of, pool))
    }

    /// Looks after what grows old: idle connections that are over their time or that the backend has
    /// closed, and the budgets.
    pub fn sweep(&self, now: Instant) {
        self.unreachable.borrow_mut().release(|(until, _)| now >= until);
        for pool in self.pools.borrow().iter() {
            pool.deposit(now);
            let idle_timeout = pool.rules().idle_timeout;
            let limits = pool.rules().life_limits;
            for backend in pool.members().iter() {
                backend.idle.borrow_mut().close_dead(now, &limits, |limit| self.lived_out(limit));
                backend.shared.end_lives(now, &limits, |limit| self.lived_out(limit));
                let idle_max = backend.idle.borrow().max();
                backend.shared.sweep(now, idle_timeout, idle_max);
            }
        }
        // Whoever had picked one before it left may have made a connection since.
        self.leaving.borrow().iter().for_each(|backend| backend.close_idle());
    }

    /// Of a connection that begins now.
    fn new_life(&self) -> Life {
        Life::begin(self.ring.now(), self.dice.borrow_mut().draw())
    }

    /// A connection has lived long enough, and ends.
    fn lived_out(&self, limit: LifeOver) {
        let mut counts = self.lived_out.get();
        counts[limit as usize] += 1;
        self.lived_out.set(counts);
    }

    /// Connections that were closed for each [`LifeOver`] since this was last asked.
    pub fn take_lived_out(&self) -> [u64; LifeOver::ALL.len()] {
        self.lived_out.take()
    }

    /// Gives back the places of failed exchanges whose time is over. Returns when the next one is.
    pub fn release_lingering(&self, now: Instant) -> Instant {
        self.lingering.borrow_mut().release(now, |id| self.view.release(id))
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        for (backend, _) in self.backends.borrow().iter().flatten() {
            backend.close_idle();
        }
    }

    /// Idle connections of this shard.
    pub fn idle_count(&self) -> usize {
        self.backends.borrow().iter().flatten().map(|(backend, _)| backend.idle_len()).sum()
    }

    /// Whether [`outcomes`](Self::outcomes) has something to say.
    pub fn has_outcomes(&self) -> bool {
        !self.unreported.borrow().is_empty()
    }

    /// What exchanges came to, of the backends for which that changed since the last time.
    pub fn outcomes(&self) -> Vec<(BackendId, Outcome)> {
        let changed = |backend: Rc<Backend>| backend.report().map(|outcome| (backend.id(), outcome));
        self.unreported.borrow_mut().drain(..).filter_map(changed).collect()
    }

    /// What [`outcomes`](Self::outcomes) gave last did not reach control.
    pub fn outcomes_lost(&self, lost: &[(BackendId, Outcome)]) {
        let backends = self.backends.borrow();
        let known = lost.iter().filter_map(|(id, _)| backends.get(id.0 as usize)?.as_ref());
        known.for_each(|(backend, _)| self.to_report(backend));
    }

    fn to_report(&self, backend: &Rc<Backend>) {
        if backend.to_report() {
            self.unreported.borrow_mut().push(backend.clone());
        }
    }

    fn linger(&self, backend: &Rc<Backend>, length: Micros) {
        self.lingering.borrow_mut().add(self.ring.now() + length, backend.id());
    }

    fn now(&self) -> Instant {
        self.ring.now()
    }
}
