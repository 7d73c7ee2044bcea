//! `ip_hash`: the same client, the same backend, by weighted rendezvous.
//!
//! Each (client, backend) pair has a fixed lot, and the client goes to the backend with the least lot
//! among those usable. A backend that leaves thus moves its own clients and nobody else's, exactly
//! 1/N of them at equal weights; each goes to its own second choice, always the same, so that a
//! leaver's load spreads over all; and each returns when it is back. A change of weight moves no more
//! clients than it must.
//!
//! Why not Maglev, whose look-up is O(1): its table (65,537 entries for 256 backends within 1 % of
//! their share) takes 128 KiB of a core's cache per pool, has to be built again at every change of
//! health or else needs a second scheme for what is down, and moves a few clients more than it must.
//! Rendezvous has neither table nor rebuild, and O(n) is cheap without logarithms: a lot is
//! −ln(1 − x) / weight for a uniform x. At equal weights the least x wins; else −ln(1 − x) ≥ x tells for
//! nearly every backend that it cannot win. What is left is a multiplication or two and a comparison
//! each (`bench/pick.rs`).

use super::tier::{Tier, effective};
use super::{Member, hash};

/// An f64 holds 53 bits exactly; so many of a hash go without.
const UNUSED: u32 = 64 - 53;
/// Makes 53 bits a number from 0 up to 1.
const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;

/// What `ip_hash` knows of a pool.
pub(super) struct Lots {
    /// By member: its identity.
    keys: Box<[u64]>,
    /// By member: 1 / weight.
    inverses: Box<[f64]>,
    /// All weights are the same, as configured.
    equal: bool,
    /// Not all have their whole weight.
    ramping: bool,
}

impl Lots {
    pub(super) fn new(members: &[Member]) -> Self {
        let weights = || members.iter().map(|member| effective(member.weight));
        Self {
            keys: members.iter().map(|member| member.key).collect(),
            inverses: weights().map(|weight| 1.0 / f64::from(weight)).collect(),
            equal: weights().min() == weights().max(),
            ramping: false,
        }
    }

    /// A member's weight is this, from its configured one downwards.
    pub(super) fn weigh(&mut self, member: usize, weight: f64) {
        self.inverses[member] = 1.0 / weight;
    }

    /// Whether some member has less than its configured weight.
    pub(super) fn set_ramping(&mut self, ramping: bool) {
        self.ramping = ramping;
    }
}

/// The member with the client's least lot.
pub(super) fn pick(tier: &Tier, lots: &Lots, client: u64) -> Option<usize> {
    if lots.equal && !lots.ramping { least(tier, lots, client) } else { least_by_weight(tier, lots, client) }
}

fn least(tier: &Tier, lots: &Lots, client: u64) -> Option<usize> {
    let (mut least, mut member) = (u64::MAX, None);
    for (n, &key) in lots.keys.iter().enumerate() {
        let x = hash::pair(client, key) >> UNUSED;
        // Rare, so a branch: the index keeps the compiler from vectors, which cost twice the time here.
        if x < least && tier.weights[n] > 0 {
            (least, member) = (x, Some(n));
        }
    }
    member
}

fn least_by_weight(tier: &Tier, lots: &Lots, client: u64) -> Option<usize> {
    let (mut least, mut member) = (f64::INFINITY, None);
    for (n, (&key, &inverse)) in lots.keys.iter().zip(&lots.inverses).enumerate() {
        // As i64, since that converts in one instruction.
        let x = (hash::pair(client, key) >> UNUSED) as i64 as f64 * UNIT;
        if x * inverse < least && tier.weights[n] > 0 {
            let lot = -(-x).ln_1p() * inverse;
            if lot < least {
                (least, member) = (lot, Some(n));
            }
        }
    }
    member
}
