//! Who may be picked in place of whom, by weight: a pool's usable primaries, its usable backups, or
//! what retries and slow starts leave of either.
//!
//! By member, with weight 0 for who is not to be picked, so that the policies run through plain arrays
//! without a branch or an index of indices; made anew, in place, when a member's traffic changes, for a
//! retry, and at each pick while somebody is in slow start. Used by `Picker`, read by the policies.

/// Weights are 1 to 256.
const WEIGHT_MAX: u16 = 256;
/// The sum of a pool's weights in units: SWRR's credits stay within an `i32` by a factor of eight.
const SUM_MAX: usize = 1 << 28;

/// The members that may be picked.
pub(super) struct Tier {
    /// By member; 0: not to be picked.
    pub(super) weights: Box<[i32]>,
    /// By member: the sum of the weights up to and with its own. `random_two` searches in it.
    pub(super) weight_up_to: Box<[i32]>,
    /// How many there are.
    pub(super) count: usize,
    /// The last of them.
    pub(super) last: usize,
}

impl Tier {
    /// Of a pool of `members`, none of whom is to be picked yet.
    pub(super) fn new(members: usize) -> Self {
        let nothing = || vec![0; members].into();
        Self { weights: nothing(), weight_up_to: nothing(), count: 0, last: 0 }
    }

    /// Fills the tier with those members of whom `weight_of` gives a weight that is not 0.
    pub(super) fn fill(&mut self, weight_of: impl Fn(usize) -> i32) {
        (self.count, self.last) = (0, 0);
        let mut sum = 0;
        let by_member = self.weights.iter_mut().zip(&mut self.weight_up_to);
        for (member, (weight, up_to)) in by_member.enumerate() {
            *weight = weight_of(member);
            if *weight > 0 {
                (self.count, self.last) = (self.count + 1, member);
            }
            sum += *weight;
            *up_to = sum;
        }
    }

    /// The sum of all weights.
    pub(super) fn weight(&self) -> i32 {
        self.weight_up_to.last().copied().unwrap_or(0)
    }
}

/// A configured weight as it counts.
pub(super) fn effective(weight: u16) -> u16 {
    weight.clamp(1, WEIGHT_MAX)
}

/// What a weight of 1 is in a pool of so many members: a weight times a ramp's share is a whole number too,
/// to a 256th up to 4,096 members and to a 16th up to 65,536.
pub(super) fn unit(members: usize) -> i32 {
    (SUM_MAX / usize::from(WEIGHT_MAX) / members.next_power_of_two()).clamp(1, 256) as i32
}
