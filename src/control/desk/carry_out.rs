//! What follows from a decision: traffic and a mark for every shard, lines for the log, hurried checks.
//!
//! A backend that failures take out of traffic has its line in the log once every shard has confirmed it,
//! with what it cost: from the first failure until the last shard stopped picking it, and how many exchanges
//! clients saw fail meanwhile.

use super::Desk;
use crate::balance::{BackendId, Report};
use crate::fleet::groups::GroupId;
use crate::fleet::standing::{Effects, Named, Notice};
use crate::health::{Condition, Failover, ProbeFailure};
use crate::time::{Instant, Micros};

/// How long after the last shard's confirmation its reports of failed exchanges are waited for: those that
/// a lone shard sends are the least often, every 100 ms.
pub(super) const LAST_REPORTS: Micros = Micros::from_ms(150);

/// The longest that a line in the log waits for shards to confirm.
const LINE_WITHIN: Micros = Micros::from_s(2);

/// A line that waits.
pub(super) struct Failing {
    notice: Notice,
    until: Instant,
}

impl Desk {
    /// A group's check ended.
    pub(in crate::control) fn checked(
        &self,
        number: GroupId,
        outcome: &Result<(), ProbeFailure>,
        began: Instant,
    ) {
        let effects = self.0.world.borrow_mut().checked(number, outcome, began, self.now());
        self.carry_out(effects);
    }

    /// A shard reported its counts.
    pub(super) fn report(&self, mut report: Report) {
        self.stirred();
        let (shard, outcomes) = (report.shard, std::mem::take(&mut report.outcomes));
        if !outcomes.is_empty() {
            let effects = self.0.world.borrow_mut().outcomes(shard, outcomes, self.now());
            self.carry_out(effects);
        }
        if self.0.merger.borrow_mut().absorb(report) {
            self.0.snapshot_due.set(true);
            self.0.reported.notify_waiters();
        }
    }

    /// Does what is due to ejections.
    pub(super) fn tick(&self, now: Instant) -> Instant {
        let effects = self.0.world.borrow_mut().tick(now);
        self.carry_out(effects);
        self.0.world.borrow().next()
    }

    /// Tells the shards, the log and the probers.
    pub(super) fn carry_out(&self, effects: Effects) {
        let Effects { traffic, failing, notices, hurry, doubted } = effects;
        if !traffic.is_empty() {
            let mut outboxes = self.0.outboxes.borrow_mut();
            for (id, traffic) in traffic {
                outboxes.iter_mut().for_each(|outbox| outbox.traffic(id, traffic));
            }
            drop(outboxes);
            self.mark();
        }
        let mark = self.0.mark.get();
        for (id, first_failed) in failing {
            self.0.world.borrow_mut().stopping(id, first_failed, mark);
        }
        let until = self.now() + LINE_WITHIN;
        for notice in notices {
            match notice {
                Notice::Transition { id, failed_over, ref backend, from, to, ref why } => {
                    self.say_before(id);
                    self.remember(id, backend, from, to, why);
                    if failed_over {
                        self.0.failing.borrow_mut().insert(id, Failing { notice, until });
                    } else {
                        say(&notice, None);
                    }
                }
                Notice::HeldBack { .. } | Notice::Panic { .. } => say(&notice, None),
            }
        }
        hurry.into_iter().for_each(|number| self.0.probers.borrow().hurry(number));
        for address in &doubted {
            if let Some(key) = self.0.watched.borrow().get(address) {
                self.0.names.doubt(*key);
            }
        }
    }

    /// Everything that was said so far is to be confirmed by every shard.
    pub(super) fn mark(&self) -> u64 {
        let mark = self.0.mark.get() + 1;
        self.0.mark.set(mark);
        self.0.outboxes.borrow_mut().iter_mut().for_each(|outbox| outbox.mark(mark));
        self.wake();
        mark
    }

    /// Measures the failovers that are over. Returns when the next are.
    pub(super) fn measure(&self, now: Instant) -> Instant {
        let mut next = Instant::NEVER;
        loop {
            let first = self.0.to_measure.borrow().front().copied();
            let Some((mark, at)) = first else { break };
            if now < at + LAST_REPORTS {
                next = at + LAST_REPORTS;
                break;
            }
            self.0.to_measure.borrow_mut().pop_front();
            let ended = self.0.world.borrow_mut().marked(mark, at);
            ended.iter().for_each(|failover| self.say_failed_over(failover));
        }
        let due: Vec<BackendId> = {
            let failing = self.0.failing.borrow();
            next = failing.values().map(|failing| failing.until).min().map_or(next, |until| next.min(until));
            failing.iter().filter(|(_, failing)| failing.until <= now).map(|(id, _)| *id).collect()
        };
        due.into_iter().for_each(|id| self.say_failing(id, None));
        next
    }

    /// Measures the failovers of the first mark that waits for it.
    fn measure_first(&self, mark: u64, at: Instant) {
        self.0.to_measure.borrow_mut().pop_front();
        let ended = self.0.world.borrow_mut().marked(mark, at);
        ended.iter().for_each(|failover| self.say_failed_over(failover));
    }

    fn say_failed_over(&self, failover: &Failover) {
        let id = BackendId(failover.backend);
        self.remember_cost(id, failover);
        self.say_failing(id, Some(failover));
    }

    /// Says what of a backend waits, since something else is to be said of it.
    fn say_before(&self, id: BackendId) {
        while self.0.failing.borrow().contains_key(&id) {
            let first = self.0.to_measure.borrow().front().copied();
            match first {
                // Without the last reports, then.
                Some((mark, at)) => self.measure_first(mark, at),
                None => self.say_failing(id, None),
            }
        }
    }

    fn say_failing(&self, id: BackendId, failover: Option<&Failover>) {
        if let Some(failing) = self.0.failing.borrow_mut().remove(&id) {
            say(&failing.notice, failover);
        }
    }
}

/// Writes a line.
fn say(notice: &Notice, failover: Option<&Failover>) {
    match notice {
        Notice::Transition { backend, from, to, why, failed_over, .. } => {
            say_transition(backend, *from, *to, why, *failed_over, failover);
        }
        Notice::HeldBack { backend: Named { pool, name, address }, why } => {
            tracing::warn!(%pool, backend = %name, %address, %why, "backend should be ejected, but stays");
        }
        Notice::Panic { pool, begins: true, healthy, counted } => tracing::error!(
            %pool, healthy, backends = counted,
            "panic: too few backends are healthy, so all of them get traffic (panic_below)"
        ),
        Notice::Panic { pool, begins: false, healthy, counted } => {
            tracing::info!(%pool, healthy, backends = counted, "panic is over: only healthy backends get traffic");
        }
    }
}

fn say_transition(
    backend: &Named,
    from: Condition,
    to: Condition,
    why: &str,
    failed_over: bool,
    failover: Option<&Failover>,
) {
    let Named { pool, name, address } = backend;
    let (from, to) = (from.word(), to.word());
    match failover {
        Some(failover) => {
            let (took, lost) = (failover.took, failover.noticed);
            tracing::warn!(%pool, backend = %name, %address, %from, %why, %took, lost, "backend is {to}");
        }
        None if failed_over => {
            tracing::warn!(%pool, backend = %name, %address, %from, %why, "backend is {to}; not every shard has confirmed it yet");
        }
        None if matches!(to, "down" | "ejected") => {
            tracing::warn!(%pool, backend = %name, %address, %from, %why, "backend is {to}");
        }
        None => tracing::info!(%pool, backend = %name, %address, %from, %why, "backend is {to}"),
    }
}
