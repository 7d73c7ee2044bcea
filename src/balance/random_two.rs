//! `random_two`: of two different members drawn by weight, the less busy for its weight.
//!
//! Less even than `least_conn` (`herd.rs`'s eight shards: 7.3 between busiest and idlest on average
//! with late messages, against 4.5), at a cost that hardly grows with the pool. The one drawn first
//! wins a tie, so that with nothing in flight the shares are the weights'.

use super::View;
use super::hash::Draws;
use super::least_conn::Loads;
use super::tier::Tier;

/// The less busy of two.
pub(super) fn pick(tier: &Tier, draws: &mut Draws, loads: &Loads, view: &View) -> usize {
    let first = at(tier, below(draws, tier.weight()));
    let weight = tier.weights[first];
    let rest = tier.weight() - weight;
    if rest == 0 {
        return first;
    }
    // Drawn from the weights without the first's, by stepping over it.
    let mark = below(draws, rest);
    let before_first = tier.weight_up_to[first] - weight;
    let second = at(tier, if mark < before_first { mark } else { mark + weight });
    if loads.of(second, view) < loads.of(first, view) { second } else { first }
}

/// The member on whose weight `mark` falls when all weights are laid end to end.
fn at(tier: &Tier, mark: i32) -> usize {
    tier.weight_up_to.partition_point(|&up_to| up_to <= mark)
}

/// A number from 0 up to `weight`, which is positive.
fn below(draws: &mut Draws, weight: i32) -> i32 {
    draws.below(weight as u64) as i32
}
