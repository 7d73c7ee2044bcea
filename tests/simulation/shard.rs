//! One shard: what production does around its view and its picker, without sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir::balance::{Asked, BackendId, Member, Outcome, Picker, Report, Traffic, View, name_hash};
use weir::config::Policy;
use weir::time::Instant;

/// A backend as control tells of it. `serial` names it for ever, `id` only until it is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) id: BackendId,
    pub(crate) serial: u32,
    pub(crate) weight: u16,
    pub(crate) backup: bool,
    pub(crate) initial: Traffic,
}

impl Plan {
    pub(crate) fn member(&self) -> Member {
        let key = name_hash(&self.serial.to_string());
        Member { id: self.id, weight: self.weight, backup: self.backup, key, traffic: self.initial }
    }
}

/// What keeps its order on its way to a shard.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Topology(Arc<[Plan]>),
    Traffic(Vec<(BackendId, Traffic)>),
    Mark(u64),
}

/// An exchange, or an attempt of one.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) client: u64,
    pub(crate) may_retry: bool,
    pub(crate) tried: Vec<BackendId>,
    /// Where it is now.
    pub(crate) at: BackendId,
    pub(crate) trial: bool,
}

struct Known {
    serial: u32,
    outcome: Outcome,
    /// Exchanges in flight, counted apart from the view.
    in_flight: u32,
    /// It is no longer in the topology.
    leaving: bool,
}

pub(crate) struct Shard {
    number: u16,
    pub(crate) view: View,
    pub(crate) picker: Picker,
    known: BTreeMap<BackendId, Known>,
    /// Whose outcomes changed since they were last reported.
    changed: BTreeSet<BackendId>,
    pub(crate) sync_under_way: bool,
}

impl Shard {
    pub(crate) fn new(number: u16, policy: Policy, plans: &[Plan]) -> Self {
        let members: Vec<Member> = plans.iter().map(Plan::member).collect();
        let mut shard = Self {
            number,
            view: View::new(number, plans.len()),
            picker: Picker::new(policy, &members, u64::from(number)),
            known: BTreeMap::new(),
            changed: BTreeSet::new(),
            sync_under_way: false,
        };
        plans.iter().for_each(|plan| shard.meet(plan));
        shard
    }

    fn meet(&mut self, plan: &Plan) {
        let known = Known { serial: plan.serial, outcome: Outcome::default(), in_flight: 0, leaving: false };
        self.known.insert(plan.id, known);
    }

    /// Acts on a topology; who is gone from here at once.
    pub(crate) fn apply(&mut self, policy: Policy, plans: &[Plan]) -> Vec<BackendId> {
        for plan in plans {
            match self.known.get(&plan.id) {
                Some(known) => assert_eq!(known.serial, plan.serial, "given again while it was in use"),
                None => {
                    self.view.reset(plan.id);
                    self.meet(plan);
                }
            }
        }
        for (&id, known) in &mut self.known {
            known.leaving = plans.iter().all(|plan| plan.id != id);
        }
        let members: Vec<Member> = plans.iter().map(Plan::member).collect();
        self.picker.change(policy, &members);
        let idle = |(&id, known): (&BackendId, &Known)| (known.leaving && known.in_flight == 0).then_some(id);
        let gone: Vec<BackendId> = self.known.iter().filter_map(idle).collect();
        self.known.retain(|id, _| !gone.contains(id));
        gone
    }

    pub(crate) fn set_traffic(&mut self, traffic: &[(BackendId, Traffic)]) {
        for &(id, traffic) in traffic {
            if let Some(member) = self.picker.members().iter().position(|member| member.id == id) {
                self.picker.set_traffic(member, traffic);
            }
        }
    }

    /// Sends an exchange somewhere: the backend's serial.
    pub(crate) fn pick(&mut self, exchange: &mut Exchange, now: Instant) -> Option<u32> {
        let Exchange { client, may_retry, ref tried, .. } = *exchange;
        let member = self.picker.pick(&self.view, &Asked { client, tried, may_retry, now })?;
        exchange.at = self.picker.members()[member].id;
        exchange.trial = self.picker.is_trial(member);
        self.view.admit(exchange.at);
        let known = self.known.get_mut(&exchange.at).expect("a member is known");
        known.in_flight += 1;
        Some(known.serial)
    }

    /// Which backend bears this number here.
    pub(crate) fn serial(&self, id: BackendId) -> u32 {
        self.known[&id].serial
    }

    /// An exchange is over. Whether its backend is gone from here with it.
    pub(crate) fn end(&mut self, exchange: &Exchange, passed: bool, now: Instant) -> bool {
        let id = exchange.at;
        self.view.release(id);
        if exchange.trial {
            self.picker.trial_over(id);
        }
        let known = self.known.get_mut(&id).expect("known as long as it has exchanges");
        known.in_flight -= 1;
        count(&mut known.outcome, passed, exchange.trial, now);
        self.changed.insert(id);
        let gone = known.leaving && known.in_flight == 0;
        if gone {
            self.known.remove(&id);
            self.changed.remove(&id);
        }
        gone
    }

    /// What it really has in flight on a backend.
    pub(crate) fn in_flight(&self, id: BackendId) -> u32 {
        self.known.get(&id).map_or(0, |known| known.in_flight)
    }

    pub(crate) fn in_flight_of_all(&self) -> u32 {
        self.known.values().map(|known| known.in_flight).sum()
    }

    pub(crate) fn report(&mut self) -> Option<Report> {
        if !self.changed.is_empty() {
            self.view.report_lost();
        }
        let mut report = self.view.report()?;
        assert_eq!(report.shard, self.number);
        let outcome = |id| (id, self.known.get(&id).map_or(Outcome::default(), |known| known.outcome));
        report.outcomes = std::mem::take(&mut self.changed).into_iter().map(outcome).collect();
        Some(report)
    }

    /// A report did not reach control's mailbox.
    pub(crate) fn report_lost(&mut self, report: &Report) {
        self.view.report_lost();
        let still = report.outcomes.iter().map(|&(id, _)| id).filter(|id| self.known.contains_key(id));
        self.changed.extend(still);
    }
}

fn count(outcome: &mut Outcome, passed: bool, trial: bool, now: Instant) {
    if passed {
        outcome.passed += 1;
        outcome.run = 0;
        outcome.trials_passed += u64::from(trial);
    } else {
        outcome.run_began = if outcome.run == 0 { now } else { outcome.run_began };
        outcome.failed += 1;
        outcome.run += 1;
        outcome.last = "no_response";
        outcome.trials_failed += u64::from(trial);
    }
}
