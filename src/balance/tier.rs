//! The usable members that stand in for each other: a pool's primaries, or its backups.
//!
//! Kept ready for the policies, so that a pick looks at usable members only and allocates nothing;
//! made anew when a member's usability changes, which is rare. Used by `Picker`, read by the policies.

use super::{BackendId, Member};

/// A usable member, as a pick needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The member's index in the pool.
    pub(super) member: u16,
    /// 1 or more.
    pub(super) weight: u32,
    /// 1 / weight: `ip_hash` multiplies by it.
    pub(super) weight_inverse: f64,
    /// Its counts in the view.
    pub(super) id: BackendId,
    /// Its identity for `ip_hash`.
    pub(super) key: u64,
}

/// The usable primaries, or the usable backups, in the members' order.
#[derive(Default)]
pub(super) struct Tier {
    pub(super) candidates: Vec<Candidate>,
    /// The sum of the weights up to and with each candidate: `random_two` searches in it.
    pub(super) weight_up_to: Vec<u64>,
}

impl Tier {
    /// Makes the tier of those `members` that are usable and whose `backup` is as given.
    pub(super) fn rebuild(&mut self, members: &[Member], usable: &[bool], backup: bool) {
        self.candidates.clear();
        self.weight_up_to.clear();
        let mut sum = 0;
        for (member, (m, &usable)) in (0..=u16::MAX).zip(members.iter().zip(usable)) {
            if usable && m.backup == backup {
                let weight = u32::from(m.weight.max(1));
                let weight_inverse = 1.0 / f64::from(weight);
                self.candidates.push(Candidate { member, weight, weight_inverse, id: m.id, key: m.key });
                sum += u64::from(weight);
                self.weight_up_to.push(sum);
            }
        }
    }

    /// The sum of all weights.
    pub(super) fn weight(&self) -> u64 {
        self.weight_up_to.last().copied().unwrap_or(0)
    }

    /// The candidates that this exchange has not tried yet.
    #[inline]
    pub(super) fn untried<'a>(&'a self, tried: &'a [u16]) -> impl Iterator<Item = &'a Candidate> + Clone {
        self.candidates.iter().filter(move |c| !tried.contains(&c.member))
    }
}
