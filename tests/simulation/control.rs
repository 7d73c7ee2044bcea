//! Control: the one authority, with production's parts for everything that it decides. Here is only what
//! carries their words from one to the other.

use crate::scene::{Scene, Written};
use crate::shard::{Order, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir::balance::{Admitted, BackendId, Merger, Outcomes, Report, Round, Traffic};
use weir::health::{
    Change, Checked, Delta, Ejector, Exchanges, Facts, Others, ProbeFailure, SlowStart, TRIAL_GAP, Will,
    judge,
};
use weir::time::{Instant, Micros};

/// A backend on the roster.
pub(crate) struct Entry {
    pub(crate) plan: Plan,
    will: Will,
    check: Option<Checked>,
    slow_start: SlowStart,
    pub(crate) told: Traffic,
}

/// What control has to say to every shard, in this order, and what it decided about ejections.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) orders: Vec<Order>,
    pub(crate) changes: Vec<Change>,
}

pub(crate) struct Control {
    scene: Scene,
    merger: Merger,
    outcomes: Outcomes,
    ejector: Option<Ejector>,
    pub(crate) roster: Vec<Entry>,
    /// Removed ones, with the shards that still have something to do with them.
    leaving: BTreeMap<BackendId, BTreeSet<u16>>,
    free: BTreeSet<BackendId>,
    ids_end: u32,
    serials: u32,
    /// Of these every shard has heard, or will before anything that is said from now on.
    serials_known: u32,
    marks: u64,
}

impl Control {
    pub(crate) fn new(scene: &Scene, now: Instant) -> Self {
        let shards = usize::from(scene.shards);
        let mut control = Self {
            merger: Merger::new(shards, 0),
            outcomes: Outcomes::default(),
            ejector: scene.eject.map(Ejector::new),
            roster: Vec::new(),
            leaving: BTreeMap::new(),
            free: BTreeSet::new(),
            ids_end: 0,
            serials: 0,
            serials_known: 0,
            marks: 0,
            scene: scene.clone(),
        };
        for &written in &scene.backends {
            control.enlist(written, now);
        }
        control.settle(now);
        for entry in &mut control.roster {
            entry.plan.initial = entry.told;
        }
        control.serials_known = control.serials;
        control
    }

    fn enlist(&mut self, written: Written, now: Instant) {
        let id = self.free.pop_first().unwrap_or_else(|| {
            self.ids_end += 1;
            BackendId(self.ids_end - 1)
        });
        self.serials += 1;
        let Written { weight, backup } = written;
        let plan = Plan { id, serial: self.serials - 1, weight, backup, initial: Traffic::NOTHING };
        let check = self.scene.check.map(|rule| Checked::new(rule, now));
        let (will, slow_start, told) = (Will::Ready, SlowStart::default(), Traffic::NOTHING);
        self.roster.push(Entry { plan, will, check, slow_start, told });
    }

    pub(crate) fn plans(&self) -> Vec<Plan> {
        self.roster.iter().map(|entry| entry.plan).collect()
    }

    /// The serial of a backend that is on the roster.
    pub(crate) fn serial(&self, id: BackendId) -> Option<u32> {
        self.roster.iter().map(|entry| entry.plan).find(|plan| plan.id == id).map(|plan| plan.serial)
    }

    pub(crate) fn add(&mut self, written: Written, now: Instant) -> Said {
        self.enlist(written, now);
        self.topology(now)
    }

    pub(crate) fn remove(&mut self, place: usize, now: Instant) -> Said {
        let entry = self.roster.remove(place);
        self.leaving.insert(entry.plan.id, (0..self.scene.shards).collect());
        self.topology(now)
    }

    pub(crate) fn set_weight(&mut self, place: usize, weight: u16, now: Instant) -> Said {
        self.roster[place].plan.weight = weight;
        self.topology(now)
    }

    pub(crate) fn set_will(&mut self, place: usize, will: Will, now: Instant) -> Said {
        self.roster[place].will = will;
        self.say(now)
    }

    pub(crate) fn probed(&mut self, serial: u32, passed: bool, now: Instant) -> Said {
        let outcome = if passed { Ok(()) } else { Err(ProbeFailure::ConnectRefused) };
        let entry = self.roster.iter_mut().find(|entry| entry.plan.serial == serial);
        let changed = entry.and_then(|entry| entry.check.as_mut()?.observe(&outcome, now));
        changed.map_or_else(Said::default, |_| self.say(now))
    }

    /// When the backend is probed next; `None`: it is not on the roster, or not checked.
    pub(crate) fn next_probe(&self, serial: u32, draw: u64) -> Option<Micros> {
        let entry = self.roster.iter().find(|entry| entry.plan.serial == serial)?;
        Some(entry.check.as_ref()?.next_in(draw))
    }

    /// Takes a report in: whether a merge is due, what was new in it, and what follows.
    pub(crate) fn absorb(
        &mut self,
        mut report: Report,
        now: Instant,
    ) -> (bool, Vec<(BackendId, Delta)>, Said) {
        let (shard, outcomes) = (report.shard, std::mem::take(&mut report.outcomes));
        let due = self.merger.absorb(report);
        let absorbed = |(id, outcome)| Some((id, self.outcomes.absorb(shard, id, outcome)?));
        let deltas: Vec<(BackendId, Delta)> = outcomes.into_iter().filter_map(absorbed).collect();
        let mut changes = Vec::new();
        if let Some(ejector) = &mut self.ejector {
            deltas.iter().for_each(|(id, delta)| changes.extend(ejector.observe(id.0, delta, now)));
        }
        let said = if changes.is_empty() { Said::default() } else { self.say_with(changes, now) };
        (due, deltas, said)
    }

    pub(crate) fn tick(&mut self, now: Instant) -> Said {
        let changes = self.ejector.as_mut().map_or(Vec::new(), |ejector| ejector.tick(now));
        self.say_with(changes, now)
    }

    pub(crate) fn next_tick(&self) -> Instant {
        self.ejector.as_ref().map_or(Instant::NEVER, Ejector::next)
    }

    /// A shard has nothing to do with a backend any more. Whether a merge is due.
    pub(crate) fn gone(&mut self, shard: u16, id: BackendId) -> bool {
        let waiting = self.leaving.get_mut(&id).expect("it was removed");
        assert!(waiting.remove(&shard), "said twice");
        if !waiting.is_empty() {
            return false;
        }
        self.leaving.remove(&id);
        self.free.insert(id);
        self.outcomes.forget(id);
        self.merger.reset(id)
    }

    pub(crate) fn merge(&mut self, now: Instant) -> Round {
        self.merger.merge(now)
    }

    pub(crate) fn totals(&self) -> Arc<[u32]> {
        self.merger.totals()
    }

    /// All numbers are below this.
    pub(crate) fn ids_end(&self) -> u32 {
        self.ids_end
    }

    /// Whether every backend serves, and not for want of better ones, and has its whole share.
    pub(crate) fn is_calm(&self, now: Instant) -> bool {
        let whole = |entry: &Entry| entry.told.ramp.is_none_or(|ramp| ramp.is_over(now));
        self.counts().2 == self.roster.len() && self.roster.iter().all(whole)
    }

    /// How many backends the ejector counts, how many of them are out, and how many serve.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let facts: Vec<Facts> = self.roster.iter().map(|entry| self.facts(entry)).collect();
        let counted = || facts.iter().filter(|facts| facts.others() != Others::Aside);
        let out = counted().filter(|facts| facts.out.is_some()).count();
        (counted().count(), out, judge(&facts, 0.0).healthy)
    }

    fn facts(&self, entry: &Entry) -> Facts {
        let out = self.ejector.as_ref().and_then(|ejector| Some(ejector.ejection(entry.plan.id.0)?.out));
        Facts { will: entry.will, check: entry.check.as_ref().map(Checked::state), out }
    }

    fn topology(&mut self, now: Instant) -> Said {
        let told = self.settle(now);
        for entry in &mut self.roster {
            // Whoever is known keeps what it was told, whatever stands here.
            let known = entry.plan.serial < self.serials_known;
            entry.plan.initial = if known { Traffic::ALL } else { entry.told };
        }
        self.serials_known = self.serials;
        let mut said = self.with_mark(vec![Order::Topology(self.plans().into())], told.traffic);
        said.changes = told.changes;
        said
    }

    fn say(&mut self, now: Instant) -> Said {
        self.say_with(Vec::new(), now)
    }

    fn say_with(&mut self, mut changes: Vec<Change>, now: Instant) -> Said {
        let told = self.settle(now);
        changes.extend(told.changes);
        let mut said = self.with_mark(Vec::new(), told.traffic);
        said.changes = changes;
        said
    }

    fn with_mark(&mut self, mut orders: Vec<Order>, traffic: Vec<(BackendId, Traffic)>) -> Said {
        if !traffic.is_empty() {
            orders.push(Order::Traffic(traffic));
        }
        if !orders.is_empty() {
            self.marks += 1;
            orders.push(Order::Mark(self.marks));
        }
        Said { orders, changes: Vec::new() }
    }

    /// Judges the pool, and says who gets something else than before.
    fn settle(&mut self, now: Instant) -> Settled {
        let mut changes = Vec::new();
        let others: Vec<_> =
            self.roster.iter().map(|entry| (entry.plan.id.0, self.facts(entry).others())).collect();
        if let Some(ejector) = &mut self.ejector {
            changes = ejector.set_members(&others, now);
        }
        let facts: Vec<Facts> = self.roster.iter().map(|entry| self.facts(entry)).collect();
        let judgement = judge(&facts, self.scene.panic_below);
        let gap = Micros::from_us(TRIAL_GAP.as_us() * u64::from(self.scene.shards));
        let mut traffic = Vec::new();
        for (entry, verdict) in self.roster.iter_mut().zip(judgement.verdicts) {
            entry.slow_start.follow(verdict.condition, now);
            let admitted = match verdict.exchanges {
                Exchanges::Nothing => Admitted::Nothing,
                Exchanges::Trials => Admitted::Trials { gap },
                Exchanges::All => Admitted::All,
            };
            let told = Traffic { admitted, ramp: entry.slow_start.ramp(self.scene.slow_start, now) };
            let was = Traffic { ramp: entry.told.ramp.filter(|ramp| !ramp.is_over(now)), ..entry.told };
            entry.told = told;
            if told != was {
                traffic.push((entry.plan.id, told));
            }
        }
        Settled { traffic, changes }
    }
}

struct Settled {
    traffic: Vec<(BackendId, Traffic)>,
    changes: Vec<Change>,
}
