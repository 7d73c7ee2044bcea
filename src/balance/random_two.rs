//! `random_two`: of two different members drawn by weight, the less busy for its weight.
//!
//! Nearly as even as `least_conn` at a cost that hardly grows with the pool, and immune to herding:
//! shards with the same stale view draw different pairs. The one drawn first wins a tie, so that with
//! nothing in flight the shares are the weights'.

use super::View;
use super::hash::Draws;
use super::least_conn::Load;
use super::tier::{Candidate, Tier};

/// The less busy of two of those untried.
pub(super) fn pick(tier: &Tier, draws: &mut Draws, view: &View, tried: &[u16]) -> Option<u16> {
    let (first, second) = if tried.is_empty() { two(tier, draws)? } else { two_untried(tier, draws, tried)? };
    let second_wins = Load::of(second, view).less_than(Load::of(first, view));
    Some(if second_wins { second.member } else { first.member })
}

/// Two different candidates by weight, O(log n). The second is drawn from the weights without the
/// first's, by stepping over it.
fn two<'a>(tier: &'a Tier, draws: &mut Draws) -> Option<(&'a Candidate, &'a Candidate)> {
    let at = |mark: u64| tier.candidates.get(tier.weight_up_to.partition_point(|&up_to| up_to <= mark));
    let mark = draws.below(tier.weight());
    let first_at = tier.weight_up_to.partition_point(|&up_to| up_to <= mark);
    let first = tier.candidates.get(first_at)?;
    let weight = u64::from(first.weight);
    let rest = tier.weight() - weight;
    if rest == 0 {
        return Some((first, first));
    }
    let mark = draws.below(rest);
    let before_first = tier.weight_up_to[first_at] - weight;
    let second = at(if mark < before_first { mark } else { mark + weight })?;
    Some((first, second))
}

/// The same over those untried, O(n): only a retry comes here. One candidate left is both.
fn two_untried<'a>(
    tier: &'a Tier,
    draws: &mut Draws,
    tried: &'a [u16],
) -> Option<(&'a Candidate, &'a Candidate)> {
    let first = one(tier.untried(tried), draws)?;
    let others = tier.untried(tried).filter(|candidate| candidate.member != first.member);
    Some((first, one(others, draws).unwrap_or(first)))
}

/// One of `candidates` by weight.
fn one<'a>(
    candidates: impl Iterator<Item = &'a Candidate> + Clone,
    draws: &mut Draws,
) -> Option<&'a Candidate> {
    let weight: u64 = candidates.clone().map(|candidate| u64::from(candidate.weight)).sum();
    if weight == 0 {
        return None;
    }
    let mut mark = draws.below(weight);
    for candidate in candidates {
        match mark.checked_sub(u64::from(candidate.weight)) {
            Some(rest) => mark = rest,
            None => return Some(candidate),
        }
    }
    None
}
