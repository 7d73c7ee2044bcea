//! What control knows and has still to send: one place, used by its loop, the probers and `admin`.
//!
//! Everything runs on one thread, so the desk is shared by [`Rc`] and its parts are cells; no borrow is
//! held across an await. What changes something that shards must hear of calls [`Desk::wake`], and the
//! loop in [`super::serve`] sends it. What is decided about backends is decided in `world`.
//!
//! | file | what lives there |
//! |---|---|
//! | `carry_out` | what follows from a decision: traffic, marks, the log |
//! | `send` | what is due to the shards, and their confirmations |
//! | `statistics` | collecting what the shards recorded |
//! | `shards` | shards that end, stall, are replaced |
//! | `operate` | an operator's changes |
//! | `reload` | another configuration; names that move |
//! | `files` | files that are watched |
//! | `aside` | what takes long, beside the shards |
//! | `secrets` | certificates, keys, tickets |
//! | `logs` | the logs' files |
//! | `pages` | what is told about it all |
//! | `watch` | what is kept for whoever watches |

mod aside;
mod carry_out;
mod files;
mod logs;
mod operate;
mod pages;
mod reload;
mod secrets;
mod send;
mod shards;
mod statistics;
mod watch;

pub use pages::NotReady;
pub use secrets::{InUse, Secrets};
pub use watch::{Transition, Watch};

use super::collector::Collector;
use super::listening::Listening;
use super::names::{Found, Names};
use super::outbox::Outbox;
use super::prober::{Probers, random};
use super::supervisor::Supervisor;
use super::{ConfigFile, Setup, StateFile};
use crate::balance::{BackendId, Merger};
use crate::config::{BackendAddress, Config};
use crate::fleet::groups::{Group, GroupId};
use crate::fleet::life::{ExitReason, Life, Order};
use crate::fleet::status::ConfigStatus;
use crate::fleet::world::World;
use crate::log::record::Journal;
use crate::mesh::ToControl;
use crate::sys::clock::unix_ms;
use crate::time::Instant;
use carry_out::Failing;
use shards::Shard;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use watch::Watching;

/// A handle to what control knows. Cloning it copies a pointer; it stays on control's thread.
#[derive(Clone)]
pub struct Desk(Rc<Parts>);

struct Parts {
    world: RefCell<World>,
    /// The configuration that the process was started with: what only a restart brings is held against it.
    started_with: Arc<Config>,
    source: Option<ConfigFile>,
    configuration: RefCell<ConfigStatus>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    state: Option<StateFile>,
    clock: fn() -> Instant,
    started: Instant,
    /// For the spreading of checks.
    seed: u64,
    probers: RefCell<Probers>,
    names: Rc<Names>,
    /// The names that are looked up again and again, by their keys.
    watched: RefCell<HashMap<BackendAddress, u64>>,
    /// The last key that was given. None is given twice: what was found of a name that is not watched any
    /// more may still be on its way.
    last_key: Cell<u64>,
    found: UnboundedSender<(u64, Found)>,
    secrets: secrets::Kept,
    listening: Rc<RefCell<Listening>>,
    journal: Option<Rc<Journal>>,
    shards: RefCell<Vec<Shard>>,
    merger: RefCell<Merger>,
    /// A report changed a count.
    reported: Notify,
    /// Counts changed since the last snapshot, or a shard did not get it.
    snapshot_due: Cell<bool>,
    last_snapshot: Cell<Option<Instant>>,
    outboxes: RefCell<Vec<Outbox>>,
    /// The last mark that was sent.
    mark: Cell<u64>,
    /// It was ready when it was asked once, so all shards have confirmed the first that they were told.
    was_ready: Cell<bool>,
    /// A shard has marked something, or ended.
    confirmed: Notify,
    /// The last mark that every live shard has confirmed.
    settled: Cell<u64>,
    /// Marks that every shard has confirmed, and when, whose failovers are still to be counted.
    to_measure: RefCell<VecDeque<(u64, Instant)>>,
    /// Backends that failures have taken out, whose line in the log waits for what that cost.
    failing: RefCell<BTreeMap<BackendId, Failing>>,
    collector: RefCell<Collector>,
    collected: Notify,
    watching: Watching,
    /// A round of statistics that may free numbers is under way, or will be soon.
    round_open: Cell<bool>,
    round_wanted: Cell<bool>,
    life: RefCell<Life>,
    /// A successor process has the listening sockets, but has not said yet that it serves.
    promised: Cell<bool>,
    supervisor: OnceCell<Supervisor>,
    /// A test of weir itself wants control to fail.
    panics: Cell<bool>,
    woken: Notify,
}

impl Desk {
    /// A desk for this world and these shards, before anything happened, and what names come to later.
    pub(super) fn new(setup: Setup) -> (Self, UnboundedReceiver<(u64, Found)>) {
        let Setup { world, source, state, tls, listening, journal, links, clock } = setup;
        let now = clock();
        let config = world.roster.config().clone();
        let (generation, backends) =
            (world.roster.topology().generation, world.roster.topology().backends_end);
        let (shards, runtime) = (links.len(), &config.runtime);
        let (found, names_found) = unbounded_channel();
        let status = ConfigStatus {
            path: source.as_ref().map(|source| source.path.display().to_string()),
            hash: source.as_ref().map_or_else(String::new, |source| source.hash.clone()),
            generation,
            last_success_unix_s: unix_ms() / 1_000,
            ..ConfigStatus::default()
        };
        let parts = Parts {
            started: now,
            seed: random(),
            configuration: RefCell::new(status),
            reloading: tokio::sync::Mutex::new(()),
            probers: RefCell::default(),
            names: Rc::new(Names::new(runtime.resolver)),
            watched: RefCell::default(),
            last_key: Cell::new(0),
            found,
            journal,
            shards: RefCell::new(links.iter().map(|link| Shard::new(link.pulse.clone())).collect()),
            merger: RefCell::new(Merger::new(shards, backends)),
            reported: Notify::new(),
            snapshot_due: Cell::new(false),
            last_snapshot: Cell::new(None),
            outboxes: RefCell::new(
                links.into_iter().map(|link| Outbox::new(link.to_shard, generation)).collect(),
            ),
            mark: Cell::new(0),
            was_ready: Cell::new(false),
            confirmed: Notify::new(),
            settled: Cell::new(0),
            to_measure: RefCell::default(),
            failing: RefCell::default(),
            collector: RefCell::new(Collector::new(backends, shards)),
            collected: Notify::new(),
            watching: Watching::new(now),
            round_open: Cell::new(false),
            round_wanted: Cell::new(false),
            life: RefCell::new(Life::new(shards, runtime.shutdown_delay, runtime.grace)),
            promised: Cell::new(false),
            supervisor: OnceCell::new(),
            panics: Cell::new(false),
            woken: Notify::new(),
            world: RefCell::new(world),
            started_with: config,
            source,
            state,
            secrets: tls.into(),
            listening,
            clock,
        };
        (Self(Rc::new(parts)), names_found)
    }

    /// Begins what goes on beside the loop: checks, looking up names.
    pub(super) fn begin(&self) {
        self.follow_groups();
        self.follow_names();
        self.name_backends();
        if let Some(state) = &self.0.state {
            state.save(&self.export());
        }
    }

    /// The supervisor, once the process serves.
    pub(super) fn supervisor(&self) -> &OnceCell<Supervisor> {
        &self.0.supervisor
    }

    /// The time.
    pub fn now(&self) -> Instant {
        (self.0.clock)()
    }

    /// When control began.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// The configuration that holds.
    pub fn config(&self) -> Arc<Config> {
        self.0.world.borrow().roster.config().clone()
    }

    /// Reads or changes a group; `None`: it is gone.
    pub(super) fn group<T>(&self, number: GroupId, read: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.0.world.borrow_mut().groups.get_mut(number).map(read)
    }

    /// Tasks of checks for the groups that there are.
    fn follow_groups(&self) {
        let numbers: Vec<GroupId> = self.0.world.borrow().groups.numbers().collect();
        self.0.probers.borrow_mut().follow(self, &numbers, self.0.seed);
    }

    /// A shard said something.
    pub(super) fn take(&self, message: ToControl) {
        match message {
            ToControl::Report(report) => self.report(report),
            ToControl::Collected { shard, stats } => self.take_box(shard, stats),
            ToControl::Marked { shard, mark } => self.marked(shard, mark),
            ToControl::Gone { shard, id } => self.gone(shard, id),
            ToControl::Drained { shard } => {
                tracing::info!(shard, "shard is drained");
                let order = self.0.life.borrow_mut().drained(shard, self.now());
                self.order(order);
            }
            ToControl::Ended { shard, error } => self.ended(shard, error),
        }
    }

    /// SIGTERM or SIGINT came.
    pub(super) fn signal(&self) {
        let order = self.0.life.borrow_mut().signal(self.now());
        let runtime = &self.config().runtime;
        match order {
            Some(Order::LastRequests) => {
                tracing::info!(delay = %runtime.shutdown_delay, "not ready any more; still accepting");
            }
            Some(Order::Stop) => tracing::warn!("second signal: stopping at once"),
            Some(Order::Drain) | None => {}
        }
        self.order(order);
    }

    /// Why the process ends, once it does.
    pub(super) fn over(&self, now: Instant) -> Option<ExitReason> {
        self.0.life.borrow().over(now)
    }

    /// Nothing of the desk's own goes on any more.
    pub(super) fn end(&self) {
        self.0.probers.borrow_mut().end();
        self.0.watched.borrow_mut().drain().for_each(|(_, key)| self.0.names.forget(key));
        if let Some(state) = &self.0.state {
            state.settle();
        }
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
