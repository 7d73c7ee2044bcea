//! What must hold whatever happens, checked as it happens: the simulation's eyes, which see every shard
//! and control at the same time, as nobody in production can.

use crate::scene::Scene;
use crate::shard::{Exchange, Order, Plan};
use std::collections::BTreeMap;
use weir::balance::{Admitted, BackendId, Member};
use weir::health::{Change, Delta, Ruling};
use weir::time::{Instant, Micros};

/// What a backend's exchanges came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// The picks of a backend in slow start, in a window of time: how many it got, and how many its share of
/// its tier's weight would have been, by what the picking shards knew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ramped {
    pub(crate) expected: f64,
    pub(crate) got: u32,
}

/// How a backend is out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Out {
    Ejected,
    Tried,
}

#[derive(Default)]
pub(crate) struct Watch {
    /// By shard: the last mark that it has passed.
    marked: Vec<u64>,
    /// By serial: what control last decided, and the mark after which every shard knows.
    decided: BTreeMap<u32, (u64, Admitted)>,
    /// By shard and serial: when the last trial began, if one is in flight.
    trials: BTreeMap<(u16, u32), (Instant, bool)>,
    /// By serial.
    pub(crate) truth: BTreeMap<u32, Sum>,
    pub(crate) heard: BTreeMap<u32, Sum>,
    /// By id and the ramp's begin, which together name one ramp, and the window's number.
    pub(crate) ramped: BTreeMap<(u32, Instant, u64), Ramped>,
    pub(crate) ramp_window: Micros,
    /// By serial: how it is out, and what it had failed when it last came in.
    out: BTreeMap<u32, Out>,
    failed_before: BTreeMap<u32, u64>,
    pub(crate) ejections: u32,
    pub(crate) readmissions: u32,
    pub(crate) removed_while_out: u32,
    pub(crate) picks: BTreeMap<u32, u32>,
    pub(crate) refused: u32,
}

impl Watch {
    pub(crate) fn new(scene: &Scene) -> Self {
        let shards = usize::from(scene.shards);
        Self { marked: vec![0; shards], ramp_window: Micros::from_s(3600), ..Self::default() }
    }

    /// Control has decided something; `serial_of` names those on its roster.
    pub(crate) fn ordered(&mut self, orders: &[Order], serial_of: impl Fn(BackendId) -> Option<u32>) {
        let Some(Order::Mark(mark)) = orders.last() else { return };
        for order in orders {
            match order {
                Order::Topology(plans) => self.planned(plans, *mark),
                Order::Traffic(traffic) => {
                    for (id, traffic) in traffic {
                        let serial = serial_of(*id).expect("only those on the roster get traffic");
                        self.decided.insert(serial, (*mark, traffic.admitted));
                    }
                }
                Order::Mark(_) => {}
            }
        }
    }

    fn planned(&mut self, plans: &[Plan], mark: u64) {
        for (serial, decided) in &mut self.decided {
            if plans.iter().all(|plan| plan.serial != *serial) && decided.1 != Admitted::Nothing {
                *decided = (mark, Admitted::Nothing);
            }
        }
        for plan in plans {
            self.decided.entry(plan.serial).or_insert((mark, plan.initial.admitted));
        }
        let gone: Vec<u32> = self.out.keys().copied().collect();
        for serial in gone.into_iter().filter(|serial| plans.iter().all(|plan| plan.serial != *serial)) {
            self.out.remove(&serial);
            self.removed_while_out += 1;
        }
    }

    pub(crate) fn passed_mark(&mut self, shard: u16, mark: u64) {
        let last = &mut self.marked[usize::from(shard)];
        assert!(mark > *last, "marks arrive in order");
        *last = mark;
    }

    /// A shard sent an exchange to a backend; `members` is its pool as it knows it.
    pub(crate) fn picked(
        &mut self,
        shard: u16,
        serial: u32,
        exchange: &Exchange,
        members: &[Member],
        now: Instant,
    ) {
        *self.picks.entry(serial).or_default() += 1;
        assert!(!exchange.tried.contains(&exchange.at), "it has tried {serial} already");
        let every_shard_knows = self.marked.iter().copied().min().unwrap_or(0);
        if let Some(&(mark, admitted)) = self.decided.get(&serial)
            && mark <= every_shard_knows
        {
            assert!(admitted != Admitted::Nothing, "every shard knows that {serial} gets nothing");
            assert_eq!(exchange.trial, admitted != Admitted::All, "of {serial}, as every shard knows");
        }
        if exchange.trial {
            self.tried(shard, serial, exchange, members, now);
        } else {
            self.ramps(exchange, members, now);
        }
    }

    /// A shard refused a request, or gave its retries up, for want of a backend.
    pub(crate) fn nobody(&mut self, exchange: &Exchange, members: &[Member]) {
        self.refused += 1;
        let open = |member: &Member| {
            member.traffic.admitted == Admitted::All && !exchange.tried.contains(&member.id)
        };
        assert!(!members.iter().any(open), "there was somebody left");
    }

    fn tried(&mut self, shard: u16, serial: u32, exchange: &Exchange, members: &[Member], now: Instant) {
        assert!(exchange.may_retry, "a trial with what cannot be retried");
        let of = members.iter().find(|member| member.id == exchange.at).expect("a member");
        let Admitted::Trials { gap } = of.traffic.admitted else { panic!("{serial} is not on trial") };
        if let Some((began, in_flight)) = self.trials.insert((shard, serial), (now, true)) {
            assert!(!in_flight, "a second trial of {serial} at the same time");
            assert!(now.since(began) >= gap, "{} between two trials of {serial}", now.since(began));
        }
    }

    fn ramps(&mut self, exchange: &Exchange, members: &[Member], now: Instant) {
        if members.iter().all(|member| member.traffic.ramp.is_none()) {
            return;
        }
        let open = |member: &&Member| {
            member.traffic.admitted == Admitted::All && !exchange.tried.contains(&member.id)
        };
        let picked = members.iter().find(|member| member.id == exchange.at).expect("a member");
        let tier = || members.iter().filter(open).filter(|member| member.backup == picked.backup);
        let share = |member: &Member| member.traffic.ramp.map_or(1.0, |ramp| ramp.share(now));
        let weight = |member: &Member| f64::from(member.weight) * share(member);
        let sum: f64 = tier().map(weight).sum();
        for member in tier() {
            let Some(ramp) = member.traffic.ramp.filter(|ramp| !ramp.is_over(now)) else { continue };
            let window = now.since(ramp.began).as_us() / self.ramp_window.as_us();
            let ramped = self.ramped.entry((member.id.0, ramp.began, window)).or_default();
            ramped.expected += weight(member) / sum;
            ramped.got += u32::from(member.id == exchange.at);
        }
    }

    pub(crate) fn ended(&mut self, shard: u16, serial: u32, exchange: &Exchange, passed: bool) {
        let truth = self.truth.entry(serial).or_default();
        truth.passed += u64::from(passed);
        truth.failed += u64::from(!passed);
        if exchange.trial {
            self.trials.get_mut(&(shard, serial)).expect("it began").1 = false;
        }
    }

    pub(crate) fn heard(&mut self, serial: u32, delta: &Delta) {
        let heard = self.heard.entry(serial).or_default();
        heard.passed += delta.passed;
        heard.failed += delta.failed;
        let truth = self.truth[&serial];
        assert!(
            heard.passed <= truth.passed && heard.failed <= truth.failed,
            "{serial}: {heard:?} {truth:?}"
        );
        let trials = delta.trials_passed + delta.trials_failed;
        assert!(trials <= delta.passed + delta.failed && u64::from(delta.run) <= heard.failed);
    }

    /// Control's ejector has decided this; afterwards `out` of `counted` backends are out and `serving` serve.
    pub(crate) fn ejected(
        &mut self,
        serial: u32,
        change: &Change,
        scene: &Scene,
        counts: (usize, usize, usize),
    ) {
        let (counted, out, serving) = counts;
        // What control had heard: a failure may end before a readmission and be heard of after it.
        let failed = self.heard.get(&serial).map_or(0, |sum| sum.failed);
        let was = self.out.get(&serial).copied();
        match change.ruling {
            Ruling::Ejected { .. } => {
                let before = self.failed_before.get(&serial).copied().unwrap_or(0);
                assert!(failed > before, "{serial} was ejected, but has failed nothing: {}", change.why);
                assert_ne!(was, Some(Out::Ejected), "{serial} was ejected twice");
                self.out.insert(serial, Out::Ejected);
                if was.is_none() {
                    let share = scene.eject.map_or(0.0, |eject| eject.max_share);
                    let max = ((counted as f64 * share + 1e-9) as usize).max(1);
                    assert!(out <= max && counted > 1, "{out} of {counted} are out, at most {max} may be");
                    assert!(serving > 0, "the last one was ejected");
                    self.ejections += 1;
                }
            }
            Ruling::Tried => {
                assert_eq!(was, Some(Out::Ejected), "{serial}");
                self.out.insert(serial, Out::Tried);
            }
            Ruling::Readmitted => {
                assert!(self.out.remove(&serial).is_some(), "{serial} was in");
                self.failed_before.insert(serial, failed);
                self.readmissions += 1;
            }
            Ruling::HeldBack => assert_eq!(was, None, "{serial}"),
        }
    }

    /// How many are out now.
    pub(crate) fn out(&self) -> u32 {
        self.out.len() as u32
    }
}
