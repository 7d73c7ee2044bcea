//! `least_conn`: the fewest exchanges in flight for its weight, over all shards.
//!
//! A backend's load is (expected in flight + 1) / weight ([`View::expected`]), what it would be if it
//! were picked; an idle one's is nothing, whatever its weight, which is HAProxy's key. So idle backends
//! tie, and ties are taken in smooth weighted turns that each shard begins elsewhere: one request at a
//! time is shared by weight (with + 1 for the idle too, the heaviest would get them all), and shards
//! that see the same do not all send to the same backend.
//!
//! A load is a float: (in flight + 1) × (the weights' least common multiple / weight), whole numbers
//! both, so that equal loads such as 2/2 and 3/3 are the same float whatever the rounding. Not cross
//! multiplication, which compares one after the other; the compiler makes vectors of this.

use super::tier::{Tier, effective};
use super::{BackendId, Member, View};
use std::cell::Cell;

/// A larger common multiple is not used, as an f32 would not hold it: some dozen coprime weights in
/// one pool. Then equal loads may differ in their last bit, which costs nothing but the turns.
const MULTIPLE_MAX: u32 = 1 << 24;

/// What `least_conn` and `random_two` know of a pool, and the memory in which a pick works.
pub(super) struct Loads {
    /// By member.
    ids: Box<[BackendId]>,
    /// The weights' least common multiple.
    multiple: u32,
    /// By member: the common multiple over its weight.
    scales: Box<[f32]>,
    /// By member: the exchanges expected on it at this pick.
    expected: Box<[i32]>,
    /// By member: its load at this pick, as ordered bits; the maximum if it is not to be picked.
    loads: Box<[i32]>,
}

impl Loads {
    pub(super) fn new(members: &[Member]) -> Self {
        let weights = || members.iter().map(|member| u32::from(effective(member.weight)));
        let multiple =
            weights().fold(1, |multiple, weight| common_multiple(multiple, weight).min(MULTIPLE_MAX));
        Self {
            ids: members.iter().map(|member| member.id).collect(),
            multiple,
            scales: weights().map(|weight| multiple as f32 / weight as f32).collect(),
            expected: vec![0; members.len()].into(),
            loads: vec![0; members.len()].into(),
        }
    }

    /// A member's weight is this, from its configured one downwards.
    pub(super) fn weigh(&mut self, member: usize, weight: f64) {
        self.scales[member] = (f64::from(self.multiple) / weight) as f32;
    }

    /// A member's load, as ordered bits.
    #[inline]
    pub(super) fn of(&self, member: usize, view: &View) -> i32 {
        load(view.expected(self.ids[member]) as i32, self.scales[member])
    }
}

/// The bits of a float that is not negative are ordered like the float.
#[inline]
fn load(expected: i32, scale: f32) -> i32 {
    ((expected + i32::from(expected > 0)) as f32 * scale).to_bits() as i32
}

fn common_multiple(a: u32, b: u32) -> u32 {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor * b
}

/// The least loaded; the turns of `credit` decide between several.
pub(super) fn pick(tier: &Tier, memory: &mut Loads, credit: &mut [i32], view: &View) -> Option<usize> {
    let expectations = view.expectations();
    for (expected, &id) in memory.expected.iter_mut().zip(&memory.ids) {
        *expected = expectations.get(id.0 as usize).map_or(0, Cell::get) as i32;
    }
    let least = weigh(&mut memory.loads, &memory.expected, &memory.scales, &tier.weights);
    let (most, earned) = earn(credit, &memory.loads, &tier.weights, least);
    let richest = credit.iter().zip(&memory.loads).position(|(&has, &load)| has == most && load == least)?;
    credit[richest] -= earned;
    Some(richest)
}

/// Fills in the loads and says which is the least. A call of its own, like the next, since only from
/// arguments does the compiler know that the slices do not overlap, and without that makes no vectors.
#[inline(never)]
fn weigh(loads: &mut [i32], expected: &[i32], scales: &[f32], weights: &[i32]) -> i32 {
    let mut least = i32::MAX;
    let members = expected.iter().zip(scales).zip(weights);
    for (of, ((&expected, &scale), &weight)) in loads.iter_mut().zip(members) {
        *of = if weight > 0 { load(expected, scale) } else { i32::MAX };
        least = least.min(*of);
    }
    least
}

/// `round_robin::turn` among those with the least load, as far as to say what the richest of them
/// has and what all of them earned. One alone earns what it pays: nothing changes.
#[inline(never)]
fn earn(credit: &mut [i32], loads: &[i32], weights: &[i32], least: i32) -> (i32, i32) {
    let (mut most, mut earned) = (i32::MIN, 0);
    for (has, (&load, &weight)) in credit.iter_mut().zip(loads.iter().zip(weights)) {
        let earns = if load == least { weight } else { 0 };
        *has += earns;
        earned += earns;
        most = most.max(if earns > 0 { *has } else { i32::MIN });
    }
    (most, earned)
}
