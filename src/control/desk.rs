//! What control knows and has still to send: one place, used by its loop, the probers and `admin`.
//!
//! Everything runs on one thread, so the desk is shared by [`Rc`] and its parts are cells; no borrow is
//! held across an await. What changes something that shards must hear of calls [`Desk::wake`], and the
//! loop in [`super::serve`] sends it.

use super::ResolvedBackend;
use super::Setup;
use super::collector::Collector;
use super::life::{ExitReason, Life, Order};
use super::outbox::Outbox;
use super::probe::BadCheck;
use super::prober::{Group, groups};
use crate::balance::{BackendId, Merger, Report, Traffic};
use crate::config::Config;
use crate::health::{ProbeFailure, State, Transition};
use crate::mesh::ToControl;
use crate::metrics::{ShardStats, Totals};
use crate::time::{Instant, Micros};
use crate::topology::ListenerKey;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// How long a scrape waits for the shards' boxes; it then shows what came.
const COLLECT_WITHIN: Micros = Micros::from_ms(250);

/// How soon a mailbox that was full is tried again.
const RETRY_AFTER: Micros = Micros::from_ms(5);

/// A handle to what control knows. Cloning it copies a pointer; it stays on control's thread.
#[derive(Clone)]
pub struct Desk(Rc<Parts>);

struct Parts {
    config: Arc<Config>,
    backends: Arc<[ResolvedBackend]>,
    clock: fn() -> Instant,
    started: Instant,
    groups: RefCell<Vec<Group>>,
    /// By [`BackendId`]; `None`: no check.
    group_of: Vec<Option<usize>>,
    merger: RefCell<Merger>,
    /// Counts changed since the last snapshot, or a shard did not get it.
    snapshot_due: Cell<bool>,
    last_snapshot: Cell<Option<Instant>>,
    outboxes: RefCell<Vec<Outbox>>,
    collector: RefCell<Collector>,
    collected: Notify,
    life: RefCell<Life>,
    /// A successor process has the listening sockets, but has not said yet that it serves.
    promised: Cell<bool>,
    woken: Notify,
}

/// What state a backend is in, checked or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// It is not checked and always counts as usable.
    NoCheck,
    /// What its check says.
    Checked(State),
}

impl BackendState {
    /// Its word in metrics and in `/backends`.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoCheck => "no_check",
            Self::Checked(State::Unchecked) => "unchecked",
            Self::Checked(State::Up) => "up",
            Self::Checked(State::Down) => "down",
        }
    }

    /// Whether a backend in this state may be picked.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::NoCheck | Self::Checked(State::Up))
    }
}

/// A backend's health, for people and for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: BackendState,
    /// When it entered it.
    pub since: Instant,
    /// Why.
    pub why: String,
    /// Checks passed.
    pub probes_passed: u64,
    /// Checks failed.
    pub probes_failed: u64,
    /// How long the last check took.
    pub probe_took: Option<Micros>,
    /// Changes of state.
    pub transitions: u64,
}

/// Why `/readyz` says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// A signal came.
    #[error("shutting down")]
    ShuttingDown,
    /// Every shard has ended.
    #[error("no shard is left that serves")]
    NoShard,
    /// A pool has no usable backend, and one that was never checked.
    #[error("the first health checks of pool {0} have not ended")]
    Unchecked(String),
}

impl Desk {
    /// A desk for these backends and shards, before anything happened. Also gives how many groups are
    /// to be [checked](super::prober::check).
    ///
    /// # Errors
    /// A check whose request is no HTTP.
    pub(super) fn new(setup: Setup) -> Result<(Self, usize), BadCheck> {
        let Setup { config, backends, links, clock } = setup;
        let now = clock();
        let groups = groups(&config, &backends, now)?;
        let mut group_of = vec![None; backends.len()];
        for (index, group) in groups.iter().enumerate() {
            group.members.iter().for_each(|id| group_of[id.0 as usize] = Some(index));
        }
        let (shards, count) = (links.len(), groups.len());
        let runtime = &config.runtime;
        let parts = Parts {
            started: now,
            groups: RefCell::new(groups),
            group_of,
            merger: RefCell::new(Merger::new(shards, backends.len())),
            snapshot_due: Cell::new(false),
            last_snapshot: Cell::new(None),
            outboxes: RefCell::new(links.into_iter().map(Outbox::new).collect()),
            collector: RefCell::new(Collector::new(backends.len(), shards)),
            collected: Notify::new(),
            life: RefCell::new(Life::new(shards, runtime.shutdown_delay, runtime.grace)),
            promised: Cell::new(false),
            woken: Notify::new(),
            config,
            backends,
            clock,
        };
        Ok((Self(Rc::new(parts)), count))
    }

    /// The time.
    pub fn now(&self) -> Instant {
        (self.0.clock)()
    }

    /// When control began.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The backends, by their numbers.
    pub fn backends(&self) -> &[ResolvedBackend] {
        &self.0.backends
    }

    /// A backend's health.
    pub fn standing(&self, id: BackendId) -> Standing {
        match self.0.group_of.get(id.0 as usize).copied().flatten() {
            None => Standing {
                state: BackendState::NoCheck,
                since: self.0.started,
                why: "no health check is configured".to_owned(),
                probes_passed: 0,
                probes_failed: 0,
                probe_took: None,
                transitions: 0,
            },
            Some(index) => self.group(index, |group| Standing {
                state: BackendState::Checked(group.checked.state()),
                since: group.checked.since(),
                why: group.checked.why().to_owned(),
                probes_passed: group.passed,
                probes_failed: group.failed,
                probe_took: group.took,
                transitions: group.transitions,
            }),
        }
    }

    /// In-flight counts by backend: over all shards, as last reported.
    pub fn in_flight(&self) -> Arc<[u32]> {
        self.0.merger.borrow().totals()
    }

    /// One backend's in-flight counts by shard, as last reported.
    pub fn in_flight_per_shard(&self, id: BackendId) -> Vec<u32> {
        let merger = self.0.merger.borrow();
        let shards = 0..self.0.outboxes.borrow().len() as u16;
        shards.map(|shard| merger.of_shard(shard).get(id.0 as usize).copied().unwrap_or(0)).collect()
    }

    /// Everything that the shards recorded, as of the last [`collect`](Self::collect).
    pub fn totals(&self) -> Ref<'_, Totals> {
        Ref::map(self.0.collector.borrow(), Collector::totals)
    }

    /// Shards whose thread is not over.
    pub fn serving(&self) -> usize {
        self.0.life.borrow().serving()
    }

    /// Whether a load balancer in front should send traffic here: no signal came, a shard serves, and
    /// each pool has a usable backend or knows that it has none. A pool that is down does not make weir
    /// unready: other pools may be up, and restarting weir would not bring it back.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), NotReady> {
        let life = self.0.life.borrow();
        if !life.is_serving() {
            return Err(NotReady::ShuttingDown);
        }
        if life.serving() == 0 {
            return Err(NotReady::NoShard);
        }
        for (index, pool) in self.0.config.pools.iter().enumerate() {
            let members = self.0.backends.iter().filter(|backend| backend.pool == index);
            let states: Vec<BackendState> = members.map(|backend| self.standing(backend.id).state).collect();
            let unchecked = states.contains(&BackendState::Checked(State::Unchecked));
            if unchecked && !states.iter().any(|state| state.is_usable()) {
                return Err(NotReady::Unchecked(pool.name.clone()));
            }
        }
        Ok(())
    }

    /// Asks every shard for what it recorded and waits until all have answered, 250 ms at most. Scrapes
    /// at the same time share one round.
    pub async fn collect(&self) {
        let alive = {
            let life = self.0.life.borrow();
            let shards = 0..self.0.outboxes.borrow().len() as u16;
            shards.filter(|shard| life.is_alive(*shard)).collect::<Vec<u16>>()
        };
        self.0.collector.borrow_mut().begin(alive.into_iter());
        self.ask();
        let settled = async {
            loop {
                let collected = self.0.collected.notified();
                if self.0.collector.borrow().is_settled() {
                    return;
                }
                collected.await;
            }
        };
        if tokio::time::timeout(COLLECT_WITHIN.as_duration(), settled).await.is_err() {
            let silent = self.0.collector.borrow_mut().give_up();
            tracing::warn!(shards = ?silent, "shards did not hand over their statistics within {COLLECT_WITHIN}");
        }
    }

    /// Gives boxes to the shards whose turn it is.
    fn ask(&self) {
        let mut collector = self.0.collector.borrow_mut();
        while let Some((shard, spare)) = collector.next() {
            let back = self.0.outboxes.borrow_mut()[usize::from(shard)].collect(spare);
            if let Some(spare) = back {
                collector.not_taken(shard, spare);
            }
        }
        if collector.is_settled() {
            self.0.collected.notify_waiters();
        }
    }

    /// Reads a group.
    pub(super) fn group<T>(&self, index: usize, read: impl FnOnce(&Group) -> T) -> T {
        read(&self.0.groups.borrow()[index])
    }

    /// A group's check ended. A transition goes to every shard and, once for each member, to the log.
    pub(super) fn checked(&self, index: usize, outcome: &Result<(), ProbeFailure>, began: Instant) {
        let mut groups = self.0.groups.borrow_mut();
        let group = &mut groups[index];
        let Some(transition) = group.observe(outcome, began, self.now()) else { return };
        let was = BackendState::Checked(transition.from).is_usable();
        let usable = BackendState::Checked(transition.to).is_usable();
        for id in &group.members {
            self.log_transition(*id, &transition);
            if usable != was {
                self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| {
                    outbox.traffic(*id, if usable { Traffic::ALL } else { Traffic::NOTHING })
                });
            }
        }
        self.wake();
    }

    fn log_transition(&self, id: BackendId, transition: &Transition) {
        let backend = &self.0.backends[id.0 as usize];
        let (pool, address) = (&self.0.config.pools[backend.pool].name, &backend.address);
        let Transition { from, to, why, .. } = transition;
        match to {
            State::Up => {
                tracing::info!(%pool, backend = %backend.name, %address, %from, %why, "backend is {to}")
            }
            State::Down | State::Unchecked => {
                tracing::warn!(%pool, backend = %backend.name, %address, %from, %why, "backend is {to}");
            }
        }
    }

    /// A shard said something.
    pub(super) fn take(&self, message: ToControl) {
        match message {
            ToControl::Report(report) => self.report(report),
            ToControl::Collected { shard, stats } => self.take_box(shard, stats),
            ToControl::Drained { shard } => {
                tracing::info!(shard, "shard is drained");
                let order = self.0.life.borrow_mut().drained(shard, self.now());
                self.order(order);
            }
            ToControl::Marked { .. } | ToControl::Gone { .. } => {}
            ToControl::Ended { shard, error } => self.ended(shard, error),
        }
    }

    fn report(&self, report: Report) {
        if self.0.merger.borrow_mut().absorb(report) {
            self.0.snapshot_due.set(true);
        }
    }

    fn take_box(&self, shard: u16, stats: Box<ShardStats>) {
        self.0.collector.borrow_mut().collected(shard, stats);
        self.ask();
    }

    fn ended(&self, shard: u16, error: Option<String>) {
        let serving = self.0.life.borrow().is_serving();
        match (error, serving) {
            (Some(error), _) => tracing::error!(shard, %error, "shard ended; the other shards serve on"),
            (None, true) => tracing::error!(shard, "shard ended unasked; the other shards serve on"),
            (None, false) => tracing::debug!(shard, "shard ended"),
        }
        if self.0.merger.borrow_mut().forget(shard) {
            self.0.snapshot_due.set(true);
        }
        self.0.collector.borrow_mut().shard_ended(shard);
        if let Some(outbox) = self.0.outboxes.borrow_mut().get_mut(usize::from(shard)) {
            outbox.close();
        }
        self.ask();
        let order = self.0.life.borrow_mut().ended(shard, self.now());
        self.order(order);
    }

    /// SIGTERM or SIGINT came.
    pub(super) fn signal(&self) {
        let order = self.0.life.borrow_mut().signal(self.now());
        match order {
            Some(Order::LastRequests) => {
                tracing::info!(delay = %self.0.config.runtime.shutdown_delay, "not ready any more; still accepting");
            }
            Some(Order::Stop) => tracing::warn!("second signal: stopping at once"),
            Some(Order::Drain) | None => {}
        }
        self.order(order);
    }

    /// What a successor has to know.
    pub fn export(&self) -> super::Carried {
        super::Carried::default()
    }

    /// Whether no signal came yet.
    pub fn is_serving(&self) -> bool {
        self.0.life.borrow().is_serving()
    }

    /// A successor process has the listening sockets (`true`), or is gone before it served (`false`). In
    /// between this process goes on, but will not shut them down, whatever happens: they are shared.
    pub fn promise(&self, promised: bool) {
        self.0.promised.set(promised);
    }

    /// A successor process accepts on the sockets of these listeners: this one lets go of them, and drains.
    pub fn hand_over(&self, listeners: &[ListenerKey]) {
        self.0.promised.set(false);
        self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| outbox.hand_over(listeners));
        let order = self.0.life.borrow_mut().succeeded(self.now());
        self.order(order);
        self.wake();
    }

    fn order(&self, order: Option<Order>) {
        let Some(order) = order else { return };
        if order == Order::Drain && self.0.promised.get() {
            let all: Vec<ListenerKey> = (0..self.0.config.listeners.len() as u32).map(ListenerKey).collect();
            self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| outbox.hand_over(&all));
        }
        if order == Order::Drain {
            tracing::info!(grace = %self.0.config.runtime.grace, "draining: no new connections");
        }
        self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| outbox.order(order));
    }

    /// Sends what is due. Returns when to come again at the latest.
    pub(super) fn send_due(&self, now: Instant) -> Instant {
        let order = self.0.life.borrow_mut().tick(now);
        if order == Some(Order::Stop) {
            tracing::warn!("grace is over: stopping with work in flight");
        }
        self.order(order);
        // All are flushed, also behind one that is full.
        let waiting = self.0.outboxes.borrow_mut().iter_mut().map(Outbox::flush).filter(|all| !all).count();
        let retry = if waiting == 0 { Instant::NEVER } else { now + RETRY_AFTER };
        self.0.life.borrow().next().min(retry).min(self.send_snapshots(now))
    }

    /// Broadcasts the counts if they changed and `sync` is over. Returns when the next are due.
    fn send_snapshots(&self, now: Instant) -> Instant {
        let mut outboxes = self.0.outboxes.borrow_mut();
        // A lone shard's own counts are the whole process's.
        if !self.0.snapshot_due.get() || outboxes.len() < 2 {
            return Instant::NEVER;
        }
        let due = self.0.last_snapshot.get().map_or(now, |last| last + self.0.config.runtime.sync);
        if now < due {
            return due;
        }
        let round = self.0.merger.borrow_mut().merge(now);
        let mut missed = false;
        for (shard, outbox) in (0u16..).zip(outboxes.iter_mut()) {
            missed |= !outbox.snapshot(round.for_shard(shard));
        }
        self.0.snapshot_due.set(missed);
        self.0.last_snapshot.set(Some(now));
        if missed { now + self.0.config.runtime.sync.max(RETRY_AFTER) } else { Instant::NEVER }
    }

    /// Why the process ends, once it does.
    pub(super) fn over(&self, now: Instant) -> Option<ExitReason> {
        self.0.life.borrow().over(now)
    }

    /// Something is to be sent.
    fn wake(&self) {
        self.0.woken.notify_one();
    }

    /// Waits until something is to be sent.
    pub(super) async fn woken(&self) {
        self.0.woken.notified().await;
    }
}
