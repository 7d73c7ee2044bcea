//! One pool's policy on one shard: who of the members gets the next exchange.
//!
//! Here: the members, who of them is usable, primaries before backups, never one that this exchange
//! has tried. How a policy chooses among those left is in the file of its name. Called by `proxy` at
//! each pick; `shard` tells it of changes in health.

use super::hash::Draws;
use super::ip_hash::Lots;
use super::least_conn::Loads;
use super::tier::Tier;
use super::{BackendId, View, ip_hash, least_conn, random_two, round_robin};
use crate::config::Policy;

/// One backend of a pool, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its counts in the [`View`].
    pub id: BackendId,
    /// 1 to 256; 0 counts as 1.
    pub weight: u16,
    /// Traffic only when no other is usable.
    pub backup: bool,
    /// Its identity for `ip_hash`: [`super::name_hash`] of its name, different for each member.
    pub key: u64,
}

/// A pool's policy with its memory of past picks.
pub struct Picker {
    policy: Policy,
    members: Box<[Member]>,
    usable: Box<[bool]>,
    primaries: Tier,
    backups: Tier,
    /// What a retry has left of either, made for one pick.
    untried: Tier,
    /// By member: what it has coming to it in smooth weighted turns (`round_robin`, and ties in
    /// `least_conn`).
    credit: Box<[i32]>,
    loads: Loads,
    lots: Lots,
    draws: Draws,
}

impl Picker {
    /// Over `members` (65,536 at most; further ones are left out), all of them usable until
    /// [`Picker::set_usable`] says otherwise. `seed` must differ between the shards: it says how far
    /// into the turns this one starts, so that consecutive seeds start with different members, and
    /// what `random_two` draws.
    pub fn new(policy: Policy, members: &[Member], seed: u64) -> Self {
        let members = &members[..members.len().min(1 << 16)];
        let tier = || Tier::new(members.len());
        let mut picker = Self {
            policy,
            members: members.into(),
            usable: vec![true; members.len()].into(),
            primaries: tier(),
            backups: tier(),
            untried: tier(),
            credit: vec![0; members.len()].into(),
            loads: Loads::new(members),
            lots: Lots::new(members),
            draws: Draws::new(seed),
        };
        picker.refill();
        round_robin::start_at(&picker.primaries, &mut picker.credit, seed);
        round_robin::start_at(&picker.backups, &mut picker.credit, seed);
        picker
    }

    /// Whether `member` may be picked from here on: it is up, and neither drained nor ejected.
    pub fn set_usable(&mut self, member: usize, usable: bool) {
        if self.usable.get(member).is_some_and(|&was| was != usable) {
            self.usable[member] = usable;
            self.refill();
        }
    }

    /// Whether `member` may be picked.
    pub fn usable(&self, member: usize) -> bool {
        self.usable.get(member).copied().unwrap_or(false)
    }

    /// How many members may be picked, backups among them.
    pub fn usable_count(&self) -> usize {
        self.primaries.count + self.backups.count
    }

    /// The members, in the pool's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member for the next exchange of `client` ([`super::client_hash`]), which is none of those
    /// that it has `tried`. A backup is picked when no primary is usable and untried. `None`: nobody
    /// is left. The caller admits the exchange to the view at once, before it awaits anything.
    pub fn pick(&mut self, view: &View, client: u64, tried: &[u16]) -> Option<usize> {
        for backup in [false, true] {
            let mut tier = if backup { &self.backups } else { &self.primaries };
            if !tried.is_empty() {
                let is_tried = |member: usize| tried.iter().any(|&tried| usize::from(tried) == member);
                let (members, usable) = (&self.members, &self.usable);
                self.untried.fill(|member| {
                    let open = usable[member] && members[member].backup == backup && !is_tried(member);
                    open.then_some(members[member].weight)
                });
                tier = &self.untried;
            }
            let picked = match (tier.count, self.policy) {
                (0, _) => None,
                (1, _) => Some(tier.last),
                (_, Policy::RoundRobin) => round_robin::turn(&tier.weights, tier.weight(), &mut self.credit),
                (_, Policy::LeastConn) => least_conn::pick(tier, &mut self.loads, &mut self.credit, view),
                (_, Policy::IpHash) => ip_hash::pick(tier, &self.lots, client),
                (_, Policy::RandomTwo) => Some(random_two::pick(tier, &mut self.draws, &self.loads, view)),
            };
            if picked.is_some() {
                return picked;
            }
        }
        None
    }

    fn refill(&mut self) {
        let (members, usable) = (&self.members, &self.usable);
        let weight_of = |member: usize, backup: bool| {
            (usable[member] && members[member].backup == backup).then_some(members[member].weight)
        };
        self.primaries.fill(|member| weight_of(member, false));
        self.backups.fill(|member| weight_of(member, true));
    }
}
