//! Shards as control sees them: their hearts, their ends, who takes their sockets over.
//!
//! A shard that stalls cannot say so, hence the pulse, looked at four times a second. A shard that ends by
//! itself leaves its listening sockets with whoever waits in their queues: another one accepts on them as
//! well. The process serves on and reports itself degraded, or, if it is told to (`runtime.on_shard_loss`),
//! drains and exits with an error for the supervisor.

use super::Desk;
use crate::config::OnShardLoss;
use crate::fleet::Carried;
use crate::mesh::{Doing, Injected, Pulse};
use crate::time::{Instant, Micros};
use crate::topology::ListenerKey;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at the hearts.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A heart that has not beaten for so long is stalled. Idle, it beats ten times a second.
pub(super) const STALLED_AFTER: Micros = Micros::from_s(1);

/// What control knows of a shard.
pub(super) struct Shard {
    pub(super) pulse: Arc<Pulse>,
    /// The last mark that it confirmed.
    pub(super) mark: u64,
    /// Since when it is stalled.
    pub(super) stalled: Option<Instant>,
    pub(super) stalls: u64,
    /// Why it ended.
    pub(super) error: Option<String>,
    /// The shards whose sockets it took over.
    pub(super) adopted: Vec<u16>,
}

impl Shard {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        Self { pulse, mark: 0, stalled: None, stalls: 0, error: None, adopted: Vec::new() }
    }

    /// When its heart beat last; `None`: not yet.
    pub(super) fn beat(&self) -> Option<Instant> {
        Some(self.pulse.last()).filter(|last| *last > Instant::default())
    }
}

impl Desk {
    /// A shard's thread is over, or will be when its last connection is.
    pub(super) fn ended(&self, shard: u16, error: Option<String>) {
        if !self.0.life.borrow().is_alive(shard) {
            // One that was dying is dead.
            tracing::info!(shard, "shard has finished what it had");
            return;
        }
        let serving = self.0.life.borrow().is_serving();
        match (&error, serving) {
            (Some(error), _) => tracing::error!(shard, %error, "shard ended; the other shards serve on"),
            (None, true) => tracing::error!(shard, "shard ended unasked; the other shards serve on"),
            (None, false) => tracing::debug!(shard, "shard ended"),
        }
        if let Some(known) = self.0.shards.borrow_mut().get_mut(usize::from(shard)) {
            known.error = error;
        }
        if self.0.merger.borrow_mut().forget(shard) {
            self.0.snapshot_due.set(true);
        }
        self.0.collector.borrow_mut().shard_ended(shard);
        if let Some(outbox) = self.0.outboxes.borrow_mut().get_mut(usize::from(shard)) {
            outbox.close();
        }
        let now = self.now();
        let order = self.0.life.borrow_mut().ended(shard, now);
        self.order(order);
        let effects = self.0.world.borrow_mut().shard_ended(shard, self.serving(), now);
        self.carry_out(effects);
        self.ask();
        self.want_round();
        self.confirmed();
        self.0.reported.notify_waiters();
        if serving {
            self.lost(shard);
        }
    }

    /// A shard ended that should not have: another one accepts in its place.
    fn lost(&self, shard: u16) {
        self.supervised(|supervisor| supervisor.status(&self.in_words()));
        if let Some(heir) = self.heir() {
            self.adopt(shard, heir);
        }
        if self.config().runtime.on_shard_loss == OnShardLoss::Exit {
            tracing::error!(
                shard,
                "draining, and exiting with an error, since a shard was lost (runtime.on_shard_loss)"
            );
            let order = self.0.life.borrow_mut().shard_lost(self.now());
            self.order(order);
        }
    }

    /// The live shard that has adopted the least.
    pub(super) fn heir(&self) -> Option<u16> {
        let (life, shards) = (self.0.life.borrow(), self.0.shards.borrow());
        let alive = (0u16..).zip(shards.iter()).filter(|(number, _)| life.is_alive(*number));
        alive.min_by_key(|(_, shard)| shard.adopted.len()).map(|(number, _)| number)
    }

    /// Shard `heir` accepts on the sockets of `dead` from now on, and on those that `dead` had adopted.
    fn adopt(&self, dead: u16, heir: u16) {
        let sockets = self.0.listening.borrow_mut().adopt(usize::from(dead), usize::from(heir));
        let mut shards = self.0.shards.borrow_mut();
        let handed_on = shards.get_mut(usize::from(dead)).map(|shard| std::mem::take(&mut shard.adopted));
        if let Some(shard) = shards.get_mut(usize::from(heir)) {
            shard.adopted.push(dead);
            shard.adopted.extend(handed_on.unwrap_or_default());
        }
        drop(shards);
        if sockets.is_empty() {
            return;
        }
        tracing::warn!(
            shard = heir,
            dead,
            sockets = sockets.len(),
            "shard accepts in the place of one that ended"
        );
        if let Some(outbox) = self.0.outboxes.borrow_mut().get_mut(usize::from(heir)) {
            outbox.accept(sockets);
        }
        self.wake();
    }

    /// Looks at the hearts until control ends.
    pub(in crate::control) async fn watch_hearts(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_at_hearts(self.now());
        }
    }

    #[allow(clippy::panic, reason = "it is what a test of weir itself asked for")]
    fn look_at_hearts(&self, now: Instant) {
        if self.0.panics.get() {
            panic!("a panic that was asked for");
        }
        let life = self.0.life.borrow();
        for (number, shard) in (0u16..).zip(self.0.shards.borrow_mut().iter_mut()) {
            let Some(beat) = shard.beat() else { continue };
            let (silent, doing) = (now - beat, shard.pulse.doing());
            match shard.stalled {
                _ if !life.is_alive(number) => shard.stalled = None,
                None if silent >= STALLED_AFTER && doing != Doing::Ending => {
                    (shard.stalled, shard.stalls) = (Some(beat), shard.stalls + 1);
                    let doing = doing.label();
                    tracing::error!(shard = number, %silent, doing, "shard is stalled: its connections wait");
                }
                Some(since) if silent < STALLED_AFTER => {
                    shard.stalled = None;
                    tracing::warn!(shard = number, for_about = %(beat - since), "shard goes on after a stall");
                }
                None | Some(_) => {}
            }
        }
    }

    /// Whether the heart of every live shard beats: what a supervisor's watchdog is fed by.
    pub fn hearts_beat(&self) -> bool {
        let (life, shards, now) = (self.0.life.borrow(), self.0.shards.borrow(), self.now());
        let alive = (0u16..).zip(shards.iter()).filter(|(number, _)| life.is_alive(*number));
        alive.into_iter().all(|(_, shard)| shard.beat().is_none_or(|beat| now - beat < STALLED_AFTER))
    }

    /// Has a shard fail in some way: for tests of weir itself.
    pub fn inject(&self, shard: u16, fault: Injected) {
        if let Some(outbox) = self.0.outboxes.borrow_mut().get_mut(usize::from(shard)) {
            outbox.inject(fault);
        }
        self.wake();
    }

    /// Has control fail, at the next look at the hearts: for tests of weir itself.
    pub fn inject_panic(&self) {
        self.0.panics.set(true);
    }

    /// Everything that a successor has to know.
    pub fn export(&self) -> Carried {
        self.0.world.borrow().export(self.now())
    }

    /// Whether no signal came yet.
    pub fn is_serving(&self) -> bool {
        self.0.life.borrow().is_serving()
    }

    /// A successor process has the listening sockets (`true`), or is gone before it served (`false`). In
    /// between this process goes on, but takes no change, of which the successor would not know, and will
    /// not shut them down, whatever happens: they are shared.
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
}
