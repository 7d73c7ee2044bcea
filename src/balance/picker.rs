//! One pool's policy on one shard: who of the members gets the next exchange.
//!
//! Here: the members, who of them is usable, primaries before backups, never one that this exchange
//! has tried. How a policy chooses among those left is in the file of its name. Called by `proxy` at
//! each pick; `shard` tells it of changes in health.

use super::hash::Draws;
use super::round_robin::Credit;
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
    /// By member: what it has coming to it in smooth weighted turns (`round_robin`, and ties in
    /// `least_conn`).
    credit: Credit,
    draws: Draws,
}

impl Picker {
    /// Over `members` (65,536 at most; further ones are never picked), all of them usable until
    /// [`Picker::set_usable`] says otherwise. `seed` must differ between the shards: it says how far
    /// into the turns this one starts, so that consecutive seeds start with different members, and
    /// what `random_two` draws.
    pub fn new(policy: Policy, members: &[Member], seed: u64) -> Self {
        let mut picker = Self {
            policy,
            members: members.into(),
            usable: vec![true; members.len()].into(),
            primaries: Tier::default(),
            backups: Tier::default(),
            credit: vec![0; members.len()].into(),
            draws: Draws::new(seed),
        };
        picker.rebuild();
        round_robin::start_at(&picker.primaries, &mut picker.credit, seed);
        round_robin::start_at(&picker.backups, &mut picker.credit, seed);
        picker
    }

    /// Whether `member` may be picked from here on: it is up, and neither drained nor ejected.
    pub fn set_usable(&mut self, member: usize, usable: bool) {
        if self.usable.get(member).is_some_and(|&was| was != usable) {
            self.usable[member] = usable;
            self.rebuild();
        }
    }

    /// Whether `member` may be picked.
    pub fn usable(&self, member: usize) -> bool {
        self.usable.get(member).copied().unwrap_or(false)
    }

    /// How many members may be picked, backups among them.
    pub fn usable_count(&self) -> usize {
        self.primaries.candidates.len() + self.backups.candidates.len()
    }

    /// The members, in the pool's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member for the next exchange of `client` ([`super::client_hash`]), which is none of those
    /// that it has `tried`. A backup is picked when no primary is usable and untried. `None`: nobody
    /// is left. The caller admits the exchange to the view at once, before it awaits anything.
    pub fn pick(&mut self, view: &View, client: u64, tried: &[u16]) -> Option<usize> {
        for tier in [&self.primaries, &self.backups] {
            let picked = match (tier.candidates.as_slice(), self.policy) {
                ([], _) => None,
                ([only], _) => (!tried.contains(&only.member)).then_some(only.member),
                (_, Policy::RoundRobin) => round_robin::pick(tier, &mut self.credit, tried),
                (_, Policy::LeastConn) => least_conn::pick(tier, &mut self.credit, view, tried),
                (_, Policy::IpHash) => ip_hash::pick(tier, client, tried),
                (_, Policy::RandomTwo) => random_two::pick(tier, &mut self.draws, view, tried),
            };
            if let Some(member) = picked {
                return Some(usize::from(member));
            }
        }
        None
    }

    fn rebuild(&mut self) {
        self.primaries.rebuild(&self.members, &self.usable, false);
        self.backups.rebuild(&self.members, &self.usable, true);
    }
}
