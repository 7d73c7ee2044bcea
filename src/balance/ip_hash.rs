//! `ip_hash`: the same client, the same backend, by weighted rendezvous.
//!
//! Each (client, backend) pair has a fixed lot, and the client goes to the backend with the best lot
//! among those usable. A backend that leaves thus moves its own clients and nobody else's, exactly
//! 1/N of them at equal weights; each goes to its own second choice, always the same, so that a
//! leaver's load spreads over all; and each returns when it is back. A change of weight moves no more
//! clients than it must.
//!
//! Why not Maglev, whose look-up is O(1): its table (65,537 entries for 256 backends within 1 % of
//! their share) takes 128 KiB of a core's cache per pool, has to be built again at every change of
//! health or else needs a second scheme for what is down, and moves a few clients more than it must.
//! Rendezvous has neither table nor rebuild, and O(n) is cheap once the logarithms are gone: the lot
//! is −ln(u) / weight, the least one wins, and −ln(u) ≥ 1 − u tells for nearly every backend that it
//! cannot win. What is left is a multiplication and a comparison each (`bench/pick.rs`).

use super::hash;
use super::tier::Tier;

/// 2⁻⁵³: makes 53 random bits a number from 0 up to 1.
const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;

/// The client's best lot among those untried.
pub(super) fn pick(tier: &Tier, client: u64, tried: &[u16]) -> Option<u16> {
    let mut best = f64::INFINITY;
    let mut member = None;
    for candidate in tier.untried(tried) {
        // u is 1 − short; 53 bits are what an f64 holds exactly, and as i64 they convert in one step.
        let short = (hash::pair(client, candidate.key) >> 11) as i64 as f64 * UNIT;
        if short * candidate.weight_inverse < best {
            let lot = -(-short).ln_1p() * candidate.weight_inverse;
            if lot < best {
                (best, member) = (lot, Some(candidate.member));
            }
        }
    }
    member
}
