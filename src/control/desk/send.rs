//! What is due to the shards, and their confirmations.

use super::Desk;
use crate::control::listening::Group;
use crate::control::outbox::Outbox;
use crate::control::supervisor::Supervisor;
use crate::fleet::Unconfirmed;
use crate::fleet::life::Order;
use crate::time::{Instant, Micros};
use crate::topology::ListenerKey;
use tokio::time::timeout;

/// How soon a mailbox that was full is tried again.
const RETRY_AFTER: Micros = Micros::from_ms(5);

/// How long shards have to confirm what they were told.
const CONFIRM_WITHIN: Micros = Micros::from_s(5);

impl Desk {
    /// Sends what is due. Returns when to come again at the latest.
    pub(in crate::control) fn send_due(&self, now: Instant) -> Instant {
        let tick = self.tick(now);
        let order = self.0.life.borrow_mut().tick(now);
        if order == Some(Order::Stop) {
            tracing::warn!("grace is over: stopping with work in flight");
        }
        self.order(order);
        // All are flushed, also behind one that is full.
        let waiting = self.0.outboxes.borrow_mut().iter_mut().map(Outbox::flush).filter(|all| !all).count();
        let retry = if waiting == 0 { Instant::NEVER } else { now + RETRY_AFTER };
        let life = self.0.life.borrow().next();
        life.min(tick).min(retry).min(self.measure(now)).min(self.send_snapshots(now))
    }

    /// Broadcasts the counts if they changed and `sync` is over. Returns when the next are due.
    fn send_snapshots(&self, now: Instant) -> Instant {
        let mut outboxes = self.0.outboxes.borrow_mut();
        // A lone shard's own counts are the whole process's.
        if !self.0.snapshot_due.get() || outboxes.len() < 2 {
            return Instant::NEVER;
        }
        let sync = self.0.started_with.runtime.sync;
        let due = self.0.last_snapshot.get().map_or(now, |last| last + sync);
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
        if missed { now + sync.max(RETRY_AFTER) } else { Instant::NEVER }
    }

    /// Tells every shard to leave, drain or stop.
    pub(super) fn order(&self, order: Option<Order>) {
        let Some(order) = order else { return };
        self.supervised(Supervisor::stopping);
        if order != Order::LastRequests {
            self.end_watching();
        }
        if order == Order::Drain {
            let promised = self.0.promised.get();
            self.let_go(|group| promised || group.is_lent);
            tracing::info!(grace = %self.config().runtime.grace, "draining: no new connections");
        }
        self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| outbox.order(order));
        self.wake();
    }

    /// Has every shard let go of the sockets of these listeners, before it hears anything that shuts them
    /// down.
    pub(super) fn let_go(&self, wanted: impl Fn(&Group) -> bool) {
        let listening = self.0.listening.borrow();
        let keys: Vec<ListenerKey> =
            listening.groups().iter().filter(|group| wanted(group)).map(|group| group.key).collect();
        self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| outbox.hand_over(&keys));
    }

    /// A shard has confirmed a mark.
    pub(super) fn marked(&self, shard: u16, mark: u64) {
        if let Some(shard) = self.0.shards.borrow_mut().get_mut(usize::from(shard)) {
            shard.mark = shard.mark.max(mark);
        }
        self.confirmed();
    }

    /// A shard has confirmed, or is waited for no longer.
    pub(super) fn confirmed(&self) {
        let settled = {
            let (life, shards) = (self.0.life.borrow(), self.0.shards.borrow());
            let alive = (0u16..).zip(shards.iter()).filter(|(number, _)| life.is_alive(*number));
            alive.map(|(_, shard)| shard.mark).min().unwrap_or(self.0.mark.get())
        };
        if settled > self.0.settled.get() {
            self.0.settled.set(settled);
            self.0.to_measure.borrow_mut().push_back((settled, self.now()));
        }
        self.0.confirmed.notify_waiters();
    }

    /// Live shards that have not confirmed `mark`.
    fn silent(&self, mark: u64) -> Vec<u16> {
        let (life, shards) = (self.0.life.borrow(), self.0.shards.borrow());
        let silent =
            (0u16..).zip(shards.iter()).filter(|(number, shard)| life.is_alive(*number) && shard.mark < mark);
        silent.map(|(number, _)| number).collect()
    }

    /// Waits until every live shard has confirmed `mark`; how many there are.
    ///
    /// # Errors
    /// Some have not within five seconds.
    pub(super) async fn settled(&self, mark: u64) -> Result<usize, Unconfirmed> {
        let all = async {
            loop {
                let confirmed = self.0.confirmed.notified();
                if self.silent(mark).is_empty() {
                    return;
                }
                confirmed.await;
            }
        };
        match timeout(CONFIRM_WITHIN.as_duration(), all).await {
            Ok(()) => Ok(self.serving()),
            Err(_) => Err(Unconfirmed { shards: self.silent(mark), within: CONFIRM_WITHIN }),
        }
    }

    /// Live shards, each with the generation that it was told last.
    pub(super) fn told(&self) -> Vec<(u16, u64)> {
        let (life, outboxes) = (self.0.life.borrow(), self.0.outboxes.borrow());
        let alive = (0u16..).zip(outboxes.iter()).filter(|(number, _)| life.is_alive(*number));
        alive.map(|(number, outbox)| (number, outbox.generation())).collect()
    }

    /// Tells every shard the topology, if it is another one than before, and what of it is said no more.
    pub(super) fn send_topology(&self, before: u64) {
        let world = self.0.world.borrow();
        let topology = world.roster.topology();
        if topology.generation == before {
            return;
        }
        self.name_backends();
        self.0.merger.borrow_mut().grow(topology.backends_end);
        self.0.configuration.borrow_mut().generation = topology.generation;
        for outbox in self.0.outboxes.borrow_mut().iter_mut() {
            outbox.topology(topology.clone());
            outbox.forget_but(|id| world.standings.contains_key(&id));
        }
    }
}
