//! `round_robin`: smooth weighted turns, nginx's algorithm.
//!
//! At each pick every candidate earns its weight, the richest is picked and pays what all earned
//! together. Weights 5, 1, 1 give a a b a c a a, not a a a a a b c. It is deterministic, and whoever
//! was away comes back with what it had. `least_conn` takes its ties in the same turns.

use super::tier::{Candidate, Tier};

/// By member: what it has earned and not yet spent.
pub(super) type Credit = Box<[i64]>;

/// More turns than this at the start buy no better spread of the shards and cost time (a turn is
/// O(n), and weights up to 256 make cycles of tens of thousands).
const START_TURNS_MAX: u64 = 1024;

/// Takes the first turns ahead: `seed` of them, round the cycle. Shards whose seeds are consecutive
/// start with different members.
pub(super) fn start_at(tier: &Tier, credit: &mut Credit, seed: u64) {
    if tier.weight() > 0 {
        for _ in 0..seed % tier.weight().min(START_TURNS_MAX) {
            pick(tier, credit, &[]);
        }
    }
}

/// Whose turn it is among those untried.
pub(super) fn pick(tier: &Tier, credit: &mut Credit, tried: &[u16]) -> Option<u16> {
    turn(tier.untried(tried), credit)
}

/// Whose turn it is among `candidates`.
#[inline]
pub(super) fn turn<'a>(candidates: impl Iterator<Item = &'a Candidate>, credit: &mut Credit) -> Option<u16> {
    let mut richest: Option<(i64, u16)> = None;
    let mut earned = 0;
    for candidate in candidates {
        let weight = i64::from(candidate.weight);
        let has = &mut credit[usize::from(candidate.member)];
        *has += weight;
        earned += weight;
        if richest.is_none_or(|(most, _)| *has > most) {
            richest = Some((*has, candidate.member));
        }
    }
    let (_, member) = richest?;
    credit[usize::from(member)] -= earned;
    Some(member)
}
