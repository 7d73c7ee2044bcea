//! `round_robin`: smooth weighted turns, nginx's algorithm.
//!
//! At each pick every candidate earns its weight, the richest is picked and pays what all earned
//! together. Weights 5, 1, 1 give a a b a c a a, not a a a a a b c. It is deterministic, and whoever
//! was away comes back with what it had. `least_conn` takes its ties in the same turns.

/// More turns than this at the start buy no better spread of the shards and cost time (a turn is
/// O(n), and weights up to 256 make cycles of tens of thousands).
const START_TURNS_MAX: i32 = 1024;

/// Takes the first turns ahead: `seed` of them, round the cycle. Shards whose seeds are consecutive
/// start with different members.
pub(super) fn start_at(weights: &[i32], credit: &mut [i32], seed: u64) {
    let weight = weights.iter().sum::<i32>();
    if weight > 0 {
        for _ in 0..seed % weight.min(START_TURNS_MAX) as u64 {
            turn(weights, weight, credit);
        }
    }
}

/// Whose turn it is among those with a weight; `weight` is their sum. `credit` is, by member, what it
/// has earned and not yet spent.
#[inline]
pub(super) fn turn(weights: &[i32], weight: i32, credit: &mut [i32]) -> Option<usize> {
    // In two runs, since the first then has no branch and the compiler makes vectors of it.
    let mut most = i32::MIN;
    for (has, &weight) in credit.iter_mut().zip(weights) {
        *has += weight;
        most = most.max(if weight > 0 { *has } else { i32::MIN });
    }
    let richest = credit.iter().zip(weights).position(|(&has, &weight)| weight > 0 && has == most)?;
    credit[richest] -= weight;
    Some(richest)
}
