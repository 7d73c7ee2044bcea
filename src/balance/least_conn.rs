//! `least_conn`: the fewest exchanges in flight for its weight, over all shards.
//!
//! A backend's load is (expected in flight + 1) / weight ([`View::expected`]), what it would be if it were picked; an idle one's is
//! nothing, whatever its weight, which is HAProxy's key. So idle backends tie, and ties are taken in
//! smooth weighted turns that each shard begins elsewhere: one request at a time is shared by weight
//! (with + 1 for the idle too, the heaviest would get them all), and shards that see the same stale
//! minimum do not all send to the same backend. Loads are compared by cross multiplication: exact, so
//! that 2/2 and 3/3 tie.

use super::View;
use super::round_robin::{self, Credit};
use super::tier::{Candidate, Tier};

/// A backend's load: exchanges over weight.
#[derive(Clone, Copy)]
pub(super) struct Load {
    exchanges: u64,
    weight: u64,
}

impl Load {
    #[inline]
    pub(super) fn of(candidate: &Candidate, view: &View) -> Self {
        let in_flight = view.expected(candidate.id);
        let exchanges = if in_flight == 0 { 0 } else { u64::from(in_flight) + 1 };
        Self { exchanges, weight: u64::from(candidate.weight) }
    }

    /// Both as numbers that compare as the loads do.
    #[inline]
    fn scaled(self, other: Self) -> (u64, u64) {
        // 33 bits times 16: it fits.
        (self.exchanges * other.weight, other.exchanges * self.weight)
    }

    #[inline]
    pub(super) fn less_than(self, other: Self) -> bool {
        let (own, others) = self.scaled(other);
        own < others
    }

    #[inline]
    fn equals(self, other: Self) -> bool {
        let (own, others) = self.scaled(other);
        own == others
    }
}

/// The least loaded of those untried.
pub(super) fn pick(tier: &Tier, credit: &mut Credit, view: &View, tried: &[u16]) -> Option<u16> {
    let mut untried = tier.untried(tried);
    let first = untried.next()?;
    let (mut least, mut member, mut tied) = (Load::of(first, view), first.member, false);
    for candidate in untried {
        let load = Load::of(candidate, view);
        let (own, leasts) = load.scaled(least);
        if own < leasts {
            (least, member, tied) = (load, candidate.member, false);
        } else if own == leasts {
            tied = true;
        }
    }
    if !tied {
        return Some(member);
    }
    let tied = tier.untried(tried).filter(|candidate| Load::of(candidate, view).equals(least));
    round_robin::turn(tied, credit)
}
