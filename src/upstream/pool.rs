//! A pool as one shard sees it: its rules, its members, who of them is picked.
//!
//! Known by its name and changed in place, so an exchange that holds it sees what holds now. Called by
//! `mod.rs` beside it, which knows all pools.

use super::backend::Backend;
use crate::balance::{Asked, BackendId, Member, Picker, Traffic, View, client_hash, name_hash};
use crate::config::{Policy, Retry, Timeouts};
use crate::exchange::{Budget, Grant};
use crate::limit::{LifeLimits, OncePerSecond};
use crate::time::{Instant, Micros};
use crate::topology::PoolPlan;
use std::cell::{Cell, Ref, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What exchanges must know of their pool.
#[derive(Debug)]
pub struct PoolRules {
    /// Time limits of an exchange.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retry: Retry,
    /// How long an idle connection to a backend is kept.
    pub(super) idle_timeout: Micros,
    /// How long a connection to a backend may go on.
    pub(super) life_limits: LifeLimits,
    /// Connections of this shard to one backend; `usize::MAX`: any number.
    pub(super) open_max: usize,
    budget: Arc<Budget>,
    policy: Policy,
    ejects: bool,
}

/// A pool.
pub struct Pool {
    rules: RefCell<Rc<PoolRules>>,
    plan: RefCell<Arc<PoolPlan>>,
    picker: RefCell<Picker>,
    members: RefCell<Vec<Rc<Backend>>>,
    /// The middle response time as log2(us) × 256, as far as this shard has seen; 0: nothing yet.
    middle: Cell<u32>,
    /// First attempts that the budget has not heard of yet.
    firsts: Cell<u64>,
    closed: Cell<bool>,
    /// When the log was told of a handshake that failed.
    pub(super) unsealed: OncePerSecond,
}

/// How far one response moves the middle, in units of it: a thousand of them go round 31 doublings.
const STEP: u32 = 8;

impl Pool {
    pub(super) fn new(
        plan: &Arc<PoolPlan>,
        members: Vec<Rc<Backend>>,
        shard: u16,
        shards: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            rules: RefCell::new(Rc::new(rules(plan, shards))),
            plan: RefCell::new(plan.clone()),
            picker: RefCell::new(Picker::new(plan.policy, &seats(plan), u64::from(shard))),
            members: RefCell::new(members),
            middle: Cell::new(0),
            firsts: Cell::new(0),
            closed: Cell::new(false),
            unsealed: OncePerSecond::default(),
        })
    }

    pub(super) fn change(&self, plan: &Arc<PoolPlan>, members: Vec<Rc<Backend>>, shards: usize) {
        *self.rules.borrow_mut() = Rc::new(rules(plan, shards));
        self.picker.borrow_mut().change(plan.policy, &seats(plan));
        *self.members.borrow_mut() = members;
        *self.plan.borrow_mut() = plan.clone();
    }

    /// The pool is no more: nobody is picked from it, nor from where its fallback was, which is another's
    /// place now.
    pub(super) fn close(&self) {
        self.closed.set(true);
        let policy = self.rules.borrow().policy;
        self.picker.borrow_mut().change(policy, &[]);
        self.members.borrow_mut().clear();
    }

    /// What exchanges must know of it.
    pub fn rules(&self) -> Rc<PoolRules> {
        self.rules.borrow().clone()
    }

    /// Reserves a retry from the pool's budget; `None`: there is none to be had.
    pub fn reserve_retry(&self, now: Instant) -> Option<Grant> {
        self.deposit(now);
        self.rules.borrow().budget.reserve(now)
    }

    /// A retry that was reserved was not made.
    pub fn give_back_retry(&self, grant: Grant) {
        self.rules.borrow().budget.give_back(grant);
    }

    /// Tells the budget of the first attempts since the last time.
    pub(super) fn deposit(&self, now: Instant) {
        self.rules.borrow().budget.deposit(self.firsts.take(), now);
    }

    pub(super) fn count_first(&self) {
        self.firsts.set(self.firsts.get() + 1);
    }

    pub(super) fn is(&self, plan: &Arc<PoolPlan>) -> bool {
        Arc::ptr_eq(&self.plan.borrow(), plan)
    }

    /// Its name.
    pub fn name(&self) -> Ref<'_, str> {
        Ref::map(self.plan.borrow(), |plan| plan.name.as_str())
    }

    pub(super) fn fallback(&self) -> Option<usize> {
        self.plan.borrow().fallback.filter(|_| !self.closed.get())
    }

    pub(super) fn members(&self) -> Ref<'_, Vec<Rc<Backend>>> {
        self.members.borrow()
    }

    pub(super) fn ejects(&self) -> bool {
        self.rules.borrow().ejects
    }

    /// Who is picked, and whether that is a trial of one that was ejected.
    pub(super) fn pick(
        &self,
        view: &View,
        client: Option<IpAddr>,
        tried: &[BackendId],
        may_retry: bool,
        now: Instant,
    ) -> Option<(Rc<Backend>, bool)> {
        let client = match self.rules.borrow().policy {
            Policy::IpHash => client.map_or(0, |ip| client_hash(&ip)),
            Policy::RoundRobin | Policy::LeastConn | Policy::RandomTwo => 0,
        };
        let mut picker = self.picker.borrow_mut();
        let member = picker.pick(view, &Asked { client, tried, may_retry, now })?;
        Some((self.members.borrow()[member].clone(), picker.is_trial(member)))
    }

    pub(super) fn trial_over(&self, id: BackendId) {
        self.picker.borrow_mut().trial_over(id);
    }

    pub(super) fn set_traffic(&self, id: BackendId, traffic: Traffic) {
        let member = self.members.borrow().iter().position(|backend| backend.id() == id);
        if let Some(member) = member {
            self.picker.borrow_mut().set_traffic(member, traffic);
        }
    }

    /// A response's first byte came after so long, as log2(us) × 256.
    pub(super) fn responded(&self, log2: u32) {
        let middle = self.middle.get();
        self.middle.set(match middle {
            0 => log2.max(1),
            _ if log2 > middle => middle + STEP,
            _ => middle.saturating_sub(STEP).max(1),
        });
    }

    /// The middle response time, as far as this shard has seen.
    pub(super) fn middle_response(&self) -> Micros {
        match self.middle.get() {
            0 => Micros::ZERO,
            log2 => Micros::from_us((f64::from(log2) / 256.0).exp2() as u64),
        }
    }
}

fn rules(plan: &PoolPlan, shards: usize) -> PoolRules {
    PoolRules {
        timeouts: plan.timeouts,
        retry: plan.retry.clone(),
        idle_timeout: plan.upstream.idle_timeout,
        life_limits: LifeLimits { max_age: plan.upstream.max_age, max_requests: plan.upstream.max_requests },
        open_max: match plan.upstream.max_connections {
            0 => usize::MAX,
            total => share(total, shards),
        },
        budget: plan.budget.clone(),
        policy: plan.policy,
        ejects: plan.ejects,
    }
}

fn seats(plan: &PoolPlan) -> Vec<Member> {
    let seat = |backend: &Arc<crate::topology::BackendPlan>| Member {
        id: backend.id,
        weight: backend.weight,
        backup: backend.backup,
        key: name_hash(&backend.name),
        traffic: backend.initial,
    };
    plan.backends.iter().map(seat).collect()
}

/// A shard's part of a total that the operator wrote for the process: rounded up, so never nothing.
pub(super) fn share(total: usize, shards: usize) -> usize {
    total.div_ceil(shards.max(1))
}

/// log2(us) × 256, of at least 1 us, between two powers of two by a straight line.
pub(super) fn log2_of(length: Micros) -> u32 {
    let us = length.as_us().max(1);
    let whole = us.ilog2();
    let rest = if whole >= 8 { us >> (whole - 8) } else { us << (8 - whole) };
    (whole << 8) + (rest as u32 & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithm_is_right_to_a_tenth_and_grows() {
        let mut last = 0;
        for us in [0, 1, 2, 3, 5, 255, 256, 257, 1_000, 65_535, 1_000_000, 30_000_000] {
            let log2 = log2_of(Micros::from_us(us));
            let exact = (us.max(1) as f64).log2() * 256.0;
            assert!((f64::from(log2) - exact).abs() < 25.0 && log2 >= last, "{us}: {log2} {exact}");
            last = log2;
        }
    }
}
