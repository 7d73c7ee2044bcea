//! What a shard does beside its connections: its mailbox, its reports, its heartbeat.
//!
//! Messages are looked for once a turn, and a doorbell wakes the shard when it sleeps. Reports go out when
//! counts changed, at most every `sync`. Called by the ring's loop.

use super::ShardPlan;
use super::accept::Accepting;
use crate::mesh::{Receiver, Refused, Sender, ToControl, ToShard};
use crate::metrics::{RingCounters, ShardStats};
use crate::proxy::{Service, Stage};
use crate::ring::{HEARTBEAT, Shift};
use crate::time::{Instant, Micros};
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// A shard that is alone has nobody to tell but the operator.
const SYNC_ALONE: Micros = Micros::from_ms(100);

/// How long a drain waits for the next request on connections that clients still hold: each gets one
/// answer that says `Connection: close`. Closing at once would cut requests that are on their way.
const LAST_REQUEST: Micros = Micros::from_s(1);

pub(super) struct ShardShift {
    service: Rc<Service>,
    accepting: Rc<Accepting>,
    number: u16,
    sync: Micros,
    mail: Receiver<ToShard>,
    to_control: Sender<ToControl>,
    /// Kept open as long as the shard lives.
    _listeners: Vec<Arc<OwnedFd>>,
    reported: Cell<Instant>,
    /// A full box that control's mailbox had no room for.
    collected: Cell<Option<Box<ShardStats>>>,
    /// Counts changed since the last report went out, as far as the last look said.
    unreported: Cell<bool>,
    /// Until when a drain waits for last requests; `NEVER` while none is under way.
    interrupt_at: Cell<Instant>,
    draining: Cell<bool>,
    drained: Cell<bool>,
    stopped: Cell<bool>,
}

impl ShardShift {
    pub(super) fn new(service: Rc<Service>, accepting: Rc<Accepting>, plan: ShardPlan) -> Self {
        let sync = plan.config.runtime.sync;
        Self {
            service,
            accepting,
            number: plan.number,
            sync: if plan.shards == 1 { sync.max(SYNC_ALONE) } else { sync },
            mail: plan.mail,
            to_control: plan.to_control,
            _listeners: plan.listeners,
            reported: Cell::new(Instant::default()),
            collected: Cell::new(None),
            unreported: Cell::new(false),
            interrupt_at: Cell::new(Instant::NEVER),
            draining: Cell::new(false),
            drained: Cell::new(false),
            stopped: Cell::new(false),
        }
    }

    /// Set once the shard is to end.
    pub(super) fn stopped(&self) -> &Cell<bool> {
        &self.stopped
    }

    fn read_mail(&self) {
        while let Some(message) = self.mail.try_recv() {
            match message {
                ToShard::Snapshot(snapshot) => {
                    self.service.upstreams.view.apply(&snapshot);
                }
                ToShard::Usable(changes) => {
                    for (id, usable) in changes {
                        self.service.upstreams.set_usable(id, usable);
                    }
                }
                ToShard::Topology(_) | ToShard::Traffic(_) | ToShard::Mark(_) | ToShard::Accept(_) => {}
                ToShard::Collect(spare) => self.hand_over(spare),
                ToShard::LastRequests => self.service.stage.set(Stage::LastRequests),
                ToShard::Drain => self.drain(),
                ToShard::Stop => self.stopped.set(true),
            }
        }
    }

    fn hand_over(&self, spare: Box<ShardStats>) {
        let counts = self.service.ring.counts();
        let mut stats = self.service.stats.borrow_mut();
        stats.ring = RingCounters {
            turns: counts.enters,
            completions: counts.completions,
            parks: counts.parks,
            no_buffers: counts.no_buffers,
            buffers_in_use: self.service.ring.buffers_in_use() as u64,
        };
        stats.set_connections(
            self.service.connections.get() as u32,
            self.service.upstreams.idle_count() as u32,
        );
        self.collected.set(Some(ShardStats::swap(&mut stats, spare)));
        drop(stats);
        self.send_collected();
    }

    /// Hands over what was collected; a full mailbox is tried again next turn, for nothing may be lost.
    fn send_collected(&self) {
        if let Some(stats) = self.collected.take() {
            let message = ToControl::Collected { shard: self.number, stats };
            if let Err(Refused::Full(ToControl::Collected { stats, .. })) = self.to_control.send(message) {
                self.collected.set(Some(stats));
            }
        }
    }

    fn drain(&self) {
        self.service.stage.set(Stage::LastRequests);
        self.accepting.drain();
        self.draining.set(true);
        self.interrupt_at.set(self.service.ring.now() + LAST_REQUEST);
    }

    fn report(&self, now: Instant) {
        if now.since(self.reported.get()) < self.sync {
            self.unreported.set(true);
            return;
        }
        self.unreported.set(false);
        if let Some(report) = self.service.upstreams.view.report() {
            self.reported.set(now);
            if self.to_control.send(ToControl::Report(report)).is_err() {
                self.service.upstreams.view.report_lost();
            }
        }
    }

    fn watch_drain(&self, now: Instant) {
        if now >= self.interrupt_at.get() {
            // Again and again until the drain is over: a connection may have begun to wait since.
            self.service.ring.interrupt();
            self.interrupt_at.set(now + HEARTBEAT);
        }
        if !self.drained.get() && self.accepting.is_over() && self.service.connections.get() == 0 {
            let told = self.to_control.send(ToControl::Drained { shard: self.number });
            self.drained.set(told.is_ok());
        }
    }
}

impl Shift for ShardShift {
    fn each_turn(&self, now: Instant) {
        self.read_mail();
        self.send_collected();
        self.report(now);
        if self.draining.get() {
            self.watch_drain(now);
        }
    }

    fn may_sleep(&self) -> bool {
        self.mail.may_sleep() && !self.stopped.get()
    }

    fn sleep_until(&self) -> Instant {
        if self.unreported.get() { self.reported.get() + self.sync } else { Instant::NEVER }
    }

    fn awake(&self) {
        self.mail.awake();
    }
}

/// Keeps a poll of the doorbell in the ring: that is what wakes a sleeping shard for a message.
pub(super) async fn mind_doorbell(shift: Rc<ShardShift>) {
    while !shift.stopped.get() {
        let rung = shift.service.ring.readable(shift.mail.doorbell()).await;
        if shift.stopped.get() {
            return;
        }
        if let Err(fault) = rung {
            tracing::error!(shard = shift.number, %fault, "the doorbell cannot be read; messages wait for the heartbeat");
            return;
        }
        shift.mail.silence();
        shift.read_mail();
    }
}

/// Ten times a second: closes idle connections to backends that are over their time or dead.
pub(super) async fn mind_heart(shift: Rc<ShardShift>) {
    let ring = &shift.service.ring;
    while !shift.stopped.get() {
        ring.sleep_until(ring.now() + HEARTBEAT).await;
        shift.service.upstreams.sweep(ring.now());
    }
}
