//! What is kept for whoever watches: the figures of the last round, ten minutes of history, the last changes of
//! backends' states.
//!
//! Rounds of statistics are made for it: one a second while somebody watches, shared by all who do, and one a
//! slot of the history while nobody does, but only after a shard has reported something. So an idle process
//! exchanges nothing. Not here: the round itself (`statistics`), how it is shown (`admin`).

use super::Desk;
use crate::balance::BackendId;
use crate::fleet::standing::Named;
use crate::health::{Condition, Failover};
use crate::metrics::{History, Interval, Recent, SLOT};
use crate::sys::clock::unix_ms;
use crate::time::{Instant, Micros};
use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use tokio::sync::{Notify, watch};

/// Between two rounds while somebody watches.
const ROUND: Micros = Micros::from_s(1);

/// The share of its time, as one of so many, that control spends on rounds at most: a round takes it 50 ms for
/// each shard if a thousand backends are busy.
const SHARE: u64 = 10;

/// Changes of backends' states that are kept.
const TRANSITIONS_MAX: usize = 50;

/// A backend entered another state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// When, in ms since 1970.
    pub at_unix_ms: u64,
    id: BackendId,
    /// The pool's name.
    pub pool: String,
    /// The backend's name.
    pub name: String,
    /// The state's word before.
    pub from: &'static str,
    /// The state's word since.
    pub to: &'static str,
    /// Why.
    pub why: String,
    /// From the first failure until the last shard stopped picking it; `None`: it was no failover, or that is
    /// not known yet.
    pub took: Option<Micros>,
    /// Exchanges that clients saw fail meanwhile.
    pub lost: u64,
}

/// How far the rounds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    /// Rounds so far.
    number: u64,
    /// The process drains: whoever watches is to watch its successor.
    over: bool,
}

/// The parts of the desk that are for watching.
pub(super) struct Watching {
    rounds: watch::Sender<Round>,
    /// Somebody has begun to watch, or a shard has reported after a while.
    looked: Notify,
    /// A shard has reported something since the last round.
    active: Cell<bool>,
    /// How long the last round took.
    took: Cell<Micros>,
    /// When what the next round brings began, by the clock and in ms since 1970.
    began: Cell<(Instant, u64)>,
    recent: RefCell<Recent>,
    history: RefCell<History>,
    transitions: RefCell<VecDeque<Transition>>,
}

/// Somebody who watches. Rounds are made as long as it lives.
pub struct Watch {
    desk: Desk,
    rounds: watch::Receiver<Round>,
}

impl Watching {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rounds: watch::Sender::new(Round { number: 0, over: false }),
            looked: Notify::new(),
            active: Cell::new(false),
            took: Cell::new(Micros::ZERO),
            began: Cell::new((now, unix_ms())),
            recent: RefCell::default(),
            history: RefCell::default(),
            transitions: RefCell::default(),
        }
    }
}

impl Watch {
    /// Waits until the figures are no older than a second.
    pub async fn fresh(&mut self) {
        self.rounds.mark_unchanged();
        if self.desk.0.watching.is_due(self.desk.now()) {
            self.next().await;
        }
    }

    /// Waits for the next round, or for the end. Rounds that went by meanwhile are left out.
    pub async fn next(&mut self) {
        // The sender lives on the desk, which lives in here.
        let _ = self.rounds.changed().await;
    }

    /// Whether the process drains, and nothing is to be watched here any more.
    pub fn is_over(&self) -> bool {
        self.rounds.borrow().over
    }

    /// The number of the last round.
    pub fn round(&self) -> u64 {
        self.rounds.borrow().number
    }
}

impl Watching {
    /// A number will be given to another backend; `recent`: what was recorded since the last round.
    pub(super) fn freed(&self, id: BackendId, recent: &mut Interval) {
        self.history.borrow_mut().freed(id, recent);
    }

    /// Whether what is known is older than a round may be.
    fn is_due(&self, now: Instant) -> bool {
        let (began, _) = self.began.get();
        now >= began + self.every()
    }

    /// Between two rounds while somebody watches.
    fn every(&self) -> Micros {
        ROUND.max(Micros::from_us(self.took.get().as_us().saturating_mul(SHARE)))
    }

    /// When the next round is.
    fn next(&self) -> Instant {
        let (began, _) = self.began.get();
        let slot = self.history.borrow().ends_at();
        if self.rounds.receiver_count() > 0 {
            began + self.every()
        } else if self.active.get() {
            slot.min(began + SLOT)
        } else {
            slot
        }
    }
}

impl Desk {
    /// Begins to watch.
    pub fn watch(&self) -> Watch {
        let rounds = self.0.watching.rounds.subscribe();
        self.0.watching.looked.notify_one();
        Watch { desk: self.clone(), rounds }
    }

    /// Makes rounds when they are due, until control ends.
    pub(in crate::control) async fn keep_history(self) {
        loop {
            loop {
                let (now, next) = (self.now(), self.0.watching.next());
                if now >= next {
                    break;
                }
                tokio::select! {
                    () = crate::control::sleep_until(now, next) => {}
                    () = self.0.watching.looked.notified() => {}
                }
            }
            let began = self.now();
            self.collect().await;
            self.keep();
            self.0.watching.took.set(self.now() - began);
        }
    }

    /// A shard has reported something, so there is something to collect.
    pub(super) fn stirred(&self) {
        let watching = &self.0.watching;
        if watching.active.replace(true) {
            return;
        }
        let (now, (began, _)) = (self.now(), watching.began.get());
        // Nothing has happened for as long as nothing was collected: what comes now is of now.
        if now - began > ROUND {
            watching.began.set((now, unix_ms()));
        }
        watching.looked.notify_one();
    }

    /// Keeps what was collected since the last round.
    fn keep(&self) {
        let (watching, now, in_flight) = (&self.0.watching, self.now(), self.in_flight());
        let (began, began_unix_ms) = watching.began.replace((now, unix_ms()));
        watching.active.set(false);
        let mut collector = self.0.collector.borrow_mut();
        let interval = collector.recent_mut();
        *watching.recent.borrow_mut() = interval.recent(now, now - began, &in_flight);
        watching.history.borrow_mut().add(interval, began, began_unix_ms, now, &in_flight);
        interval.clear(now);
        drop(collector);
        watching.rounds.send_modify(|round| round.number += 1);
    }

    /// Whoever watches stops.
    pub(super) fn end_watching(&self) {
        self.0.watching.rounds.send_modify(|round| *round = Round { number: round.number + 1, over: true });
    }

    /// The history learns the backends' names.
    pub(super) fn name_backends(&self) {
        let (world, mut history) = (self.0.world.borrow(), self.0.watching.history.borrow_mut());
        for pool in world.roster.pools() {
            pool.members.iter().for_each(|member| history.name(member.id, &pool.name, &member.name));
        }
    }

    /// A backend entered another state.
    pub(super) fn remember(&self, id: BackendId, backend: &Named, from: Condition, to: Condition, why: &str) {
        let mut transitions = self.0.watching.transitions.borrow_mut();
        if transitions.len() == TRANSITIONS_MAX {
            transitions.pop_front();
        }
        transitions.push_back(Transition {
            at_unix_ms: unix_ms(),
            id,
            pool: backend.pool.clone(),
            name: backend.name.clone(),
            from: from.word(),
            to: to.word(),
            why: why.to_owned(),
            took: None,
            lost: 0,
        });
    }

    /// What the last change of a backend's state cost is known.
    pub(super) fn remember_cost(&self, id: BackendId, failover: &Failover) {
        let mut transitions = self.0.watching.transitions.borrow_mut();
        if let Some(last) = transitions.iter_mut().rev().find(|transition| transition.id == id) {
            (last.took, last.lost) = (Some(failover.took), failover.noticed);
        }
    }

    /// What the last round came to.
    pub fn recent(&self) -> Ref<'_, Recent> {
        self.0.watching.recent.borrow()
    }

    /// The last ten minutes.
    pub fn history(&self) -> Ref<'_, History> {
        self.0.watching.history.borrow()
    }

    /// The last changes of backends' states, newest first.
    pub fn transitions(&self) -> Vec<Transition> {
        self.0.watching.transitions.borrow().iter().rev().cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::rig::{closed_port, config, pool, until, with_control};

    fn app() -> crate::config::Config {
        config(vec![pool("app", &[closed_port()], None)])
    }

    #[test]
    fn rounds_are_made_when_a_shard_has_reported_and_then_no_more() {
        with_control(app(), 2, |rig| async move {
            let watching = &rig.desk.0.watching;
            let rounds = || watching.rounds.borrow().number;
            assert_eq!((watching.next(), rounds()), (Instant::NEVER, 0), "nothing has happened");
            rig.report(0, 1, &[1]);
            until("the report has come", || watching.active.get()).await;
            let (began, _) = watching.began.get();
            assert_eq!(watching.next(), began + SLOT);
            until("a round is made for it", || rounds() > 0).await;
            assert_eq!((rounds(), watching.next()), (1, Instant::NEVER), "one is enough");
            // What a fake shard records whenever it is asked.
            let slots = rig.desk.history().since(0);
            assert_eq!((slots.len(), slots[0].ends.answers), (1, 2));
            assert_eq!(slots[0].backends[0].0.name, "0");
        });
    }

    #[test]
    fn all_who_watch_share_a_round_a_second_and_the_last_who_leaves_ends_them() {
        with_control(app(), 1, |rig| async move {
            let watching = &rig.desk.0.watching;
            let (mut first, mut second) = (rig.desk.watch(), rig.desk.watch());
            let began = rig.desk.now();
            for round in 1..=2 {
                first.next().await;
                second.next().await;
                assert_eq!((first.round(), second.round()), (round, round));
            }
            assert!(rig.desk.now() - began >= ROUND, "the first may come at once, the second not before");
            assert_eq!(
                rig.desk.recent().total.requests_per_s.round(),
                1.0,
                "what the shard records each time"
            );
            drop(first);
            assert!(watching.next() < Instant::NEVER);
            drop(second);
            until("the slot is over", || watching.next() == Instant::NEVER).await;
        });
    }

    #[test]
    fn who_asks_now_and_then_gets_figures_of_a_second_at_least() {
        with_control(app(), 1, |rig| async move {
            let mut watch = rig.desk.watch();
            for _ in 0..3 {
                watch.next().await;
            }
            let round = watch.round();
            rig.desk.watch().fresh().await;
            assert_eq!(watch.round(), round, "the last round is fresh enough");
            assert!(rig.desk.recent().length >= ROUND);
        });
    }
}
