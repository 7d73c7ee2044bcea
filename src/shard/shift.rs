//! What a shard does beside its connections: its mailbox, its reports, its heartbeat.
//!
//! Messages are looked for once a turn, and a doorbell wakes the shard when it sleeps. Reports go out when
//! counts changed, at most every `sync`. Called by the ring's loop.

use super::ShardPlan;
use super::accept::Accepting;
use crate::balance::BackendId;
use crate::mesh::{Doing, Injected, Pulse, Receiver, Refused, Sender, ToControl, ToShard};
use crate::metrics::{RingCounters, ShardStats, Side};
use crate::proxy::{Service, Stage};
use crate::ring::{HEARTBEAT, Shift};
use crate::sys::clock;
use crate::time::{Instant, Micros};
use crate::topology::ListenerKey;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// A shard that is alone has nobody to tell but the operator.
const SYNC_ALONE: Micros = Micros::from_ms(100);

/// How long a drain waits for the next request on connections that clients still hold: each gets one
/// answer that says `Connection: close`. Closing at once would cut requests that are on their way.
const LAST_REQUEST: Micros = Micros::from_s(1);

/// The longest that a shard whose loop has panicked finishes what it has, if `grace` has no limit.
const DYING_MAX: Micros = Micros::from_s(3600);

pub(super) struct ShardShift {
    service: Rc<Service>,
    accepting: Rc<Accepting>,
    number: u16,
    sync: Micros,
    alone: bool,
    mail: Receiver<ToShard>,
    to_control: Sender<ToControl>,
    pulse: Arc<Pulse>,
    reported: Cell<Instant>,
    /// A full box that control's mailbox had no room for.
    collected: Cell<Option<Box<ShardStats>>>,
    /// Counts changed since the last report went out, as far as the last look said.
    unreported: Cell<bool>,
    /// When the next failed exchange gives its place back.
    lingers_until: Cell<Instant>,
    /// Marks that hold and that control has not been told of yet.
    marks: RefCell<VecDeque<u64>>,
    /// The same of backends that are gone.
    gone: RefCell<VecDeque<BackendId>>,
    /// Until when a drain waits for last requests; `NEVER` while none is under way.
    interrupt_at: Cell<Instant>,
    draining: Cell<bool>,
    grace: Micros,
    /// Why it will end, after its loop panicked, until control has been told.
    ends_for: Cell<Option<String>>,
    /// When it ends at the latest, after its loop panicked; `NEVER` before.
    dies_at: Cell<Instant>,
    drained: Cell<bool>,
    stopped: Cell<bool>,
}

impl ShardShift {
    pub(super) fn new(service: Rc<Service>, accepting: Rc<Accepting>, plan: ShardPlan) -> Self {
        Self {
            service,
            accepting,
            number: plan.number,
            sync: plan.runtime.sync,
            alone: plan.shards == 1,
            mail: plan.mail,
            to_control: plan.to_control,
            pulse: plan.pulse,
            reported: Cell::new(Instant::default()),
            collected: Cell::new(None),
            unreported: Cell::new(false),
            lingers_until: Cell::new(Instant::NEVER),
            marks: RefCell::default(),
            gone: RefCell::default(),
            interrupt_at: Cell::new(Instant::NEVER),
            draining: Cell::new(false),
            grace: plan.runtime.grace,
            ends_for: Cell::new(None),
            dies_at: Cell::new(Instant::NEVER),
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
                ToShard::Topology(topology) => {
                    self.pulse.begin(Doing::Topology);
                    for listener in self.service.apply(&topology) {
                        self.accepting.drain(Some(listener));
                    }
                }
                ToShard::Traffic(changes) => {
                    for (id, traffic) in changes {
                        self.service.upstreams.set_traffic(id, traffic);
                    }
                }
                ToShard::Accept(sockets) => self.accept(&sockets),
                ToShard::Connection(connection) => self.accepting.take_in(*connection),
                ToShard::Mark(mark) => self.marks.borrow_mut().push_back(mark),
                ToShard::Inject(fault) => inject(fault),
                ToShard::Collect(spare) => self.hand_over(spare),
                ToShard::LastRequests => {
                    self.service.stage.set(Stage::LastRequests);
                    self.accepting.take_in_no_more();
                }
                ToShard::Drain => {
                    self.accepting.drain(None);
                    self.drain();
                }
                ToShard::HandOver(listeners) => self.accepting.hand_over(&listeners),
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
            parked_us: counts.parked_us,
            spun_us: counts.spun_us,
            no_buffers: counts.no_buffers,
            buffers_in_use: self.service.ring.buffers_in_use() as u64,
            buffers: self.service.ring.buffers() as u64,
        };
        for came_to in self.service.upstreams.take_handshakes() {
            stats.shook_hands(Side::Backend, came_to, Micros::ZERO);
        }
        stats.connections_max = u32::try_from(self.accepting.connections_max()).unwrap_or(u32::MAX);
        stats.set_connections(
            self.service.connections.get() as u32,
            self.service.upstreams.idle_count() as u32,
        );
        stats.set_http2_connections(self.service.http2_connections.get() as u32);
        stats.upstream_lived_out(self.service.upstreams.take_lived_out());
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
        self.accepting.take_in_no_more();
        self.draining.set(true);
        self.interrupt_at.set(self.service.ring.now() + LAST_REQUEST);
    }

    /// The shard's loop has panicked: what it does alone is not to be trusted much longer. Others accept in
    /// its place from now on; what it has is served to its end, so that no client loses anything.
    pub(super) fn die(&self) {
        self.ends_for.set(Some("its loop panicked; it finishes what it has".to_owned()));
        self.accepting.hand_over_all();
        self.drain();
        let now = self.service.ring.now();
        self.dies_at.set(now.deadline(self.grace).min(now + DYING_MAX));
    }

    /// Accepts on these sockets, each for its listener.
    pub(super) fn accept(&self, sockets: &[(ListenerKey, Arc<OwnedFd>)]) {
        for (key, socket) in sockets {
            match self.service.listener(*key) {
                Some(listener) => self.accepting.open(&listener, socket),
                // It was removed while the socket was on its way.
                None => tracing::debug!(shard = self.number, ?key, "a socket without a listener"),
            }
        }
    }

    /// Says what holds now; a full mailbox is tried again next turn.
    fn say(&self) {
        if let Some(error) = self.ends_for.take() {
            let message = ToControl::Ended { shard: self.number, error: Some(error) };
            // If control is gone, the process is ending.
            if let Err(Refused::Full(ToControl::Ended { error, .. })) = self.to_control.send(message) {
                self.ends_for.set(error);
            }
        }
        let mut marks = self.marks.borrow_mut();
        while let Some(&mark) = marks.front() {
            if self.to_control.send(ToControl::Marked { shard: self.number, mark }).is_err() {
                break;
            }
            marks.pop_front();
        }
        let mut gone = self.gone.borrow_mut();
        while let Some(&id) = gone.front() {
            if self.to_control.send(ToControl::Gone { shard: self.number, id }).is_err() {
                break;
            }
            gone.pop_front();
        }
    }

    /// Between two reports. A shard that is alone has only outcomes to tell in a hurry.
    fn every(&self) -> Micros {
        if self.alone && !self.service.upstreams.has_outcomes() {
            self.sync.max(SYNC_ALONE)
        } else {
            self.sync
        }
    }

    fn report(&self, now: Instant) {
        let upstreams = &self.service.upstreams;
        if now.since(self.reported.get()) < self.every() {
            self.unreported.set(true);
            return;
        }
        self.unreported.set(false);
        if upstreams.has_outcomes() {
            upstreams.view.report_lost();
        }
        if let Some(mut report) = upstreams.view.report() {
            self.reported.set(now);
            report.outcomes = upstreams.outcomes();
            if let Err(
                Refused::Full(ToControl::Report(report)) | Refused::Closed(ToControl::Report(report)),
            ) = self.to_control.send(ToControl::Report(report))
            {
                upstreams.view.report_lost();
                upstreams.outcomes_lost(&report.outcomes);
            }
        }
    }

    fn watch_drain(&self, now: Instant) {
        if now >= self.interrupt_at.get() {
            // Again and again until the drain is over: a connection may have begun to wait since.
            self.service.ring.interrupt();
            self.interrupt_at.set(now + HEARTBEAT);
        }
        let left = self.service.connections.get() > 0 || self.accepting.is_expecting();
        let over = self.accepting.is_over() && !left;
        if self.dies_at.get() != Instant::NEVER {
            self.stopped.set(over || now >= self.dies_at.get());
            return;
        }
        if !self.drained.get() && over {
            let told = self.to_control.send(ToControl::Drained { shard: self.number });
            self.drained.set(told.is_ok());
        }
    }
}

impl Shift for ShardShift {
    fn each_turn(&self, now: Instant) {
        self.pulse.beat(now);
        self.pulse.begin(Doing::Messages);
        self.read_mail();
        self.accepting.tell_neighbours();
        self.send_collected();
        self.lingers_until.set(self.service.upstreams.release_lingering(now));
        self.report(now);
        self.service.send_records(now, self.stopped.get());
        self.say();
        self.service.turns.begin();
        self.service.upstreams.begin_turn();
        if self.draining.get() {
            self.watch_drain(now);
        }
        self.pulse.begin(Doing::Connections);
    }

    fn handled(&self, completions: u64, at_most: Micros) {
        self.service.stats.borrow_mut().handled(completions, at_most);
    }

    fn may_sleep(&self) -> bool {
        let waits = self.service.turns.are_waited_for() || self.service.upstreams.wait_for_turn();
        let may = self.mail.may_sleep() && !self.stopped.get() && !waits;
        if may {
            self.pulse.begin(Doing::Waiting);
        }
        may
    }

    fn sleep_until(&self) -> Instant {
        let report = if self.unreported.get() { self.reported.get() + self.every() } else { Instant::NEVER };
        report.min(self.lingers_until.get()).min(self.service.records_due())
    }

    fn awake(&self) {
        self.pulse.begin(Doing::Connections);
        self.mail.awake();
    }
}

/// What a test of weir itself asked for.
fn inject(fault: Injected) {
    match fault {
        #[allow(clippy::panic, reason = "it is what was asked for")]
        Injected::Panic => panic!("a panic that was asked for"),
        Injected::Stall(length) => {
            let until = clock::now() + length;
            while clock::now() < until {
                std::hint::spin_loop();
            }
        }
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
        // The turn that follows reads the mail.
        shift.mail.silence();
    }
}

/// Ten times a second: looks after what grows old, and says which backends are gone.
pub(super) async fn mind_heart(shift: Rc<ShardShift>) {
    let ring = &shift.service.ring;
    while !shift.stopped.get() {
        ring.sleep_until(ring.now() + HEARTBEAT).await;
        shift.service.upstreams.sweep(ring.now());
        shift.gone.borrow_mut().extend(shift.service.upstreams.gone());
    }
}
