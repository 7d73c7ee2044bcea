//! One pool's policy on one shard: who of the members gets the next exchange.
//!
//! Here: the members, what traffic each of them gets, primaries before backups, never one that this
//! exchange has tried. How a policy chooses among those left is in the file of its name; `slow_start`
//! bounds who has just come up, `trials` says whose turn it is to be tried again. Called by `upstream` at
//! each pick and when control changes the members or their traffic.
//!
//! While everybody has a whole share and nobody is on trial, a first pick reads two tiers that were made
//! before; only otherwise is one made for the pick.

use super::hash::Draws;
use super::ip_hash::Lots;
use super::least_conn::Loads;
use super::slow_start::SlowStart;
use super::tier::{Tier, effective, unit};
use super::trials::Trials;
use super::{Admitted, BackendId, Traffic, View, ip_hash, least_conn, random_two, round_robin};
use crate::config::Policy;
use crate::time::Instant;
use std::collections::HashMap;

/// One backend of a pool, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// Its counts in the [`View`].
    pub id: BackendId,
    /// 1 to 256; 0 counts as 1.
    pub weight: u16,
    /// Traffic only when no other is usable.
    pub backup: bool,
    /// Its identity for `ip_hash`: [`super::name_hash`] of its name, different for each member.
    pub key: u64,
    /// Which exchanges it gets, until [`Picker::set_traffic`].
    pub traffic: Traffic,
}

/// What an exchange asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// [`super::client_hash`] of its client; only `ip_hash` looks at it.
    pub client: u64,
    /// Whom it has tried already: none of those is picked.
    pub tried: &'a [BackendId],
    /// It could be retried elsewhere if this pick fails, so that it may be a trial.
    pub may_retry: bool,
    /// Only looked at during slow starts and trials.
    pub now: Instant,
}

/// A pool's policy with its memory of past picks.
pub struct Picker {
    policy: Policy,
    members: Box<[Member]>,
    /// By member: its weight as it counts now, in [`unit`]s.
    weights: Box<[i32]>,
    primaries: Tier,
    backups: Tier,
    /// What retries and slow starts leave of either, made for one pick.
    narrowed: Tier,
    /// By member: what it has coming to it in smooth weighted turns (`round_robin`, and ties in
    /// `least_conn`).
    credit: Box<[i32]>,
    loads: Loads,
    lots: Lots,
    draws: Draws,
    slow_start: SlowStart,
    trials: Trials,
}

impl Picker {
    /// Over `members` (65,536 at most; further ones are left out). `seed` must differ between the
    /// shards: it says how far into the turns this one starts, so that consecutive seeds start with
    /// different members, and what is drawn.
    pub fn new(policy: Policy, members: &[Member], seed: u64) -> Self {
        let mut picker = Self::unstarted(policy, members, Draws::new(seed));
        for backup in [false, true] {
            // The turns of all, whoever gets traffic yet: else shards whose backends all wait for their
            // first check would start alike.
            let weights: Box<[i32]> = picker.members.iter().map(|of| of.full(backup)).collect();
            round_robin::start_at(&weights, &mut picker.credit, seed);
        }
        picker.credit.iter_mut().for_each(|credit| *credit *= unit(picker.members.len()));
        (0..picker.members.len()).for_each(|member| picker.follow(member));
        picker.refill();
        picker
    }

    fn unstarted(policy: Policy, members: &[Member], draws: Draws) -> Self {
        let members = &members[..members.len().min(1 << 16)];
        let (count, unit) = (members.len(), unit(members.len()));
        Self {
            policy,
            members: members.into(),
            weights: members.iter().map(|of| i32::from(effective(of.weight)) * unit).collect(),
            primaries: Tier::new(count),
            backups: Tier::new(count),
            narrowed: Tier::new(count),
            credit: vec![0; count].into(),
            loads: Loads::new(members),
            lots: Lots::new(members),
            draws,
            slow_start: SlowStart::new(count),
            trials: Trials::new(count),
        }
    }

    /// From here on the policy and the members are these. Who stays, by its [`BackendId`], keeps its
    /// traffic, its ramp, its trial and its place in the turns; who is new begins with the traffic that its
    /// [`Member`] has and somewhere in the turns, on each shard elsewhere.
    pub fn change(&mut self, policy: Policy, members: &[Member]) {
        let next = Self::unstarted(policy, members, self.draws.clone());
        let earlier = std::mem::replace(self, next);
        let was: HashMap<BackendId, usize> =
            earlier.members.iter().enumerate().map(|(member, of)| (of.id, member)).collect();
        let (from, to) = (i64::from(unit(earlier.members.len())), i64::from(unit(self.members.len())));
        let mut new = Vec::new();
        for here in 0..self.members.len() {
            let Some(&member) = was.get(&self.members[here].id) else {
                new.push(here);
                continue;
            };
            self.members[here].traffic = earlier.members[member].traffic;
            self.credit[here] = (i64::from(earlier.credit[member]) * to / from) as i32;
            self.trials.take_over(&earlier.trials, member, here);
            if let Admitted::Trials { gap } = self.members[here].traffic.admitted {
                self.trials.set(here, Some(gap));
            }
            self.slow_start.take_over(&earlier.slow_start, member, here);
        }
        for &member in &new {
            let (next, round) = self.turns(member, |other| !new.contains(&other) || other < member);
            self.credit[member] = next - self.draws.below(round) as i32;
            self.follow(member);
        }
        self.centre_credit();
        self.refill();
    }

    /// Which exchanges `member` gets from here on.
    pub fn set_traffic(&mut self, member: usize, traffic: Traffic) {
        let Some(of) = self.members.get_mut(member) else { return };
        if of.traffic == traffic {
            return;
        }
        let was = std::mem::replace(&mut of.traffic, traffic);
        if traffic.admitted == Admitted::All && (was.admitted != Admitted::All || traffic.ramp.is_some()) {
            // It kept what it had in the turns while it was away, and the others' went on without it.
            let (next, round) = self.turns(member, |other| other != member);
            self.credit[member] = match traffic.ramp {
                Some(_) => next - self.draws.below(round) as i32,
                None => self.credit[member].clamp(next - round as i32, next),
            };
        }
        self.follow(member);
        self.refill();
    }

    /// How many members may be picked for any exchange, backups among them.
    pub fn usable_count(&self) -> usize {
        self.primaries.count + self.backups.count
    }

    /// The members, in the order in which they were given, each with the traffic that it gets now.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether a pick of `member` is a trial, which [`Picker::trial_over`] ends.
    pub fn is_trial(&self, member: usize) -> bool {
        self.members.get(member).is_some_and(|of| matches!(of.traffic.admitted, Admitted::Trials { .. }))
    }

    /// A trial of `backend` has ended, whatever came of it. It may no longer be on trial, or no member.
    pub fn trial_over(&mut self, backend: BackendId) {
        if let Some(member) = self.members.iter().position(|of| of.id == backend) {
            self.trials.end(member);
        }
    }

    /// The member for the next exchange: none of those that it has tried, a trial if one is due, a backup
    /// only when no primary is left. `None`: nobody is left. A member on trial is no last resort: one whose
    /// next trial is not due is left out, and so it is for an exchange that may not be retried. The caller
    /// admits the exchange to the view at once, before it awaits anything.
    pub fn pick(&mut self, view: &View, asked: &Asked) -> Option<usize> {
        if !self.slow_start.is_over() {
            self.refresh(asked.now);
            self.slow_start.pay_in();
        }
        let whole = self.slow_start.is_over() && asked.tried.is_empty();
        for backup in [false, true] {
            if asked.may_retry && !self.trials.is_over() {
                let trial = self.begin_trial(backup, asked);
                if trial.is_some() {
                    return trial;
                }
            }
            if !whole {
                self.narrow(backup, asked.tried);
            }
            let tier = match (whole, backup) {
                (false, _) => &self.narrowed,
                (true, false) => &self.primaries,
                (true, true) => &self.backups,
            };
            let picked = match (tier.count, self.policy) {
                (0, _) => None,
                (1, _) => Some(tier.last),
                (_, Policy::RoundRobin) => round_robin::turn(&tier.weights, tier.weight(), &mut self.credit),
                (_, Policy::LeastConn) => least_conn::pick(tier, &mut self.loads, &mut self.credit, view),
                (_, Policy::IpHash) => ip_hash::pick(tier, &self.lots, asked.client),
                (_, Policy::RandomTwo) => Some(random_two::pick(tier, &mut self.draws, &self.loads, view)),
            };
            if let Some(member) = picked {
                if !whole {
                    self.slow_start.spend(member);
                }
                return picked;
            }
        }
        None
    }

    fn begin_trial(&mut self, backup: bool, asked: &Asked) -> Option<usize> {
        let members = &self.members;
        self.trials.begin(asked.now, |member| {
            members[member].backup == backup && !asked.tried.contains(&members[member].id)
        })
    }

    /// Makes the tier for one pick.
    fn narrow(&mut self, backup: bool, tried: &[BackendId]) {
        let tier = if backup { &self.backups } else { &self.primaries };
        let left = |member: usize| match tier.weights[member] {
            weight if weight > 0 && !tried.contains(&self.members[member].id) => weight,
            _ => 0,
        };
        self.narrowed.fill(|member| if self.slow_start.holds(member) { 0 } else { left(member) });
        if self.narrowed.count == 0 && !self.slow_start.is_over() {
            self.narrowed.fill(left);
        }
    }

    /// Works out the shares of those that ramp, if that is due.
    fn refresh(&mut self, now: Instant) {
        if let Some(shares) = self.slow_start.due(now) {
            shares.into_iter().for_each(|(member, share)| self.weigh(member, share));
            self.refill();
        }
    }

    /// Acts on a member's traffic, all but the tiers.
    fn follow(&mut self, member: usize) {
        let traffic = self.members[member].traffic;
        let gap = match traffic.admitted {
            Admitted::Trials { gap } => Some(gap),
            Admitted::Nothing | Admitted::All => None,
        };
        self.trials.set(member, gap);
        match (traffic.admitted, traffic.ramp) {
            (Admitted::All, Some(ramp)) => {
                self.slow_start.begin(member, ramp, self.draws.unit());
                // The next pick has the time.
                self.weigh(member, ramp.share(ramp.began));
            }
            (Admitted::All, None) | (Admitted::Nothing | Admitted::Trials { .. }, _) => {
                self.slow_start.end(member);
                self.weigh(member, 1.0);
            }
        }
    }

    /// Gives a member a share of its configured weight.
    fn weigh(&mut self, member: usize, share: f64) {
        let weight = f64::from(effective(self.members[member].weight)) * share;
        self.weights[member] = ((weight * f64::from(unit(self.members.len()))).round() as i32).max(1);
        self.loads.weigh(member, weight);
        self.lots.weigh(member, weight);
    }

    /// The turns that a member joins, those of the `others` that share its tier and get traffic: what whose
    /// turn is next has, and what a whole round is. Up to a round behind is a place in them; on each shard
    /// another, or many would send a newcomer their first exchange at the same time.
    fn turns(&self, member: usize, others: impl Fn(usize) -> bool) -> (i32, u64) {
        let backup = self.members[member].backup;
        let tier = || (0..self.members.len()).filter(|&of| self.members[of].backup == backup);
        let round: i64 = tier().map(|of| i64::from(self.weights[of])).sum();
        let open = |&of: &usize| others(of) && self.members[of].traffic.admitted == Admitted::All;
        let next = tier().filter(open).map(|of| self.credit[of]).max().unwrap_or(0);
        (next, round.max(1) as u64)
    }

    /// Credits matter only in comparison; members that come and go must not let them drift off for ever.
    fn centre_credit(&mut self) {
        let count = self.credit.len().max(1) as i64;
        let mean = self.credit.iter().map(|&credit| i64::from(credit)).sum::<i64>() / count;
        self.credit.iter_mut().for_each(|credit| *credit -= mean as i32);
    }

    fn refill(&mut self) {
        let (members, weights) = (&self.members, &self.weights);
        let weight_of = |member: usize, backup: bool| {
            let of = &members[member];
            let open = of.traffic.admitted == Admitted::All && of.backup == backup;
            if open { weights[member] } else { 0 }
        };
        self.primaries.fill(|member| weight_of(member, false));
        self.backups.fill(|member| weight_of(member, true));
        self.slow_start.set_earnings(|member| {
            let tier = if members[member].backup { &self.backups } else { &self.primaries };
            f64::from(weights[member]) / f64::from(tier.weight())
        });
        self.lots.set_ramping(!self.slow_start.is_over());
    }
}

impl Member {
    /// Its configured weight, if it is of this tier.
    fn full(&self, backup: bool) -> i32 {
        if self.backup == backup { i32::from(effective(self.weight)) } else { 0 }
    }
}
