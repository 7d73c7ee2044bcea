//! How many retries a pool may make: a share of its first attempts, over all shards.
//!
//! Retries multiply the load of backends that are failing because of their load. So they may be no more
//! than a share of the first attempts of the last ten seconds, and a few a second in any case. One
//! [`Budget`] a pool, shared by all shards: the one thing that cores share by atomics, since a budget by
//! messages would be exceeded by what is on its way. A shard deposits its first attempts with its reports,
//! not one by one, and only a retry touches the budget on the way of a request. Called by `upstream`.

use crate::time::Instant;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds that the budget looks back on.
const WINDOW_S: u64 = 10;

/// Bits of a cell's count; the second that it counts is above.
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// A pool's retries and first attempts of the last ten seconds.
#[derive(Debug)]
pub struct Budget {
    /// Retries for a thousand first attempts.
    per_mille: u64,
    min_per_s: u64,
    firsts: [AtomicU64; WINDOW_S as usize],
    retries: [AtomicU64; WINDOW_S as usize],
    /// Retries beyond the share, of this second.
    beyond: AtomicU64,
}

/// A retry that was reserved.
#[derive(Debug)]
#[must_use = "it is to be made or given back"]
pub struct Grant {
    second: u64,
    /// It is one of the few beyond the share.
    beyond: bool,
}

impl Budget {
    /// Retries may be `share` of the first attempts, 0 to 1, and `min_per_s` a second in any case.
    pub fn new(share: f64, min_per_s: u32) -> Self {
        Self {
            per_mille: (share.clamp(0.0, 1.0) * 1000.0).round() as u64,
            min_per_s: u64::from(min_per_s),
            firsts: Default::default(),
            retries: Default::default(),
            beyond: AtomicU64::new(0),
        }
    }

    /// `count` exchanges made their first attempts.
    pub fn deposit(&self, count: u64, now: Instant) {
        if count > 0 {
            let second = second(now);
            add(cell(&self.firsts, second), second, count, COUNT_MASK);
        }
    }

    /// Reserves one retry; `None`: there is none to be had, and nothing is changed.
    pub fn reserve(&self, now: Instant) -> Option<Grant> {
        let second = second(now);
        let retries = add(cell(&self.retries, second), second, 1, COUNT_MASK);
        if retries && sum(&self.retries, second) * 1000 <= sum(&self.firsts, second) * self.per_mille {
            return Some(Grant { second, beyond: false });
        }
        if add(&self.beyond, second, 1, self.min_per_s) {
            return Some(Grant { second, beyond: true });
        }
        take_one(cell(&self.retries, second), second);
        None
    }

    /// A retry that was reserved was not made.
    pub fn give_back(&self, grant: Grant) {
        let Grant { second, beyond } = grant;
        take_one(cell(&self.retries, second), second);
        if beyond {
            take_one(&self.beyond, second);
        }
    }
}

/// Seconds since the clock's origin, from 1: an empty cell counts none of them.
fn second(now: Instant) -> u64 {
    (now.as_us() / 1_000_000 + 1) & (u64::MAX >> COUNT_BITS)
}

fn cell(cells: &[AtomicU64; WINDOW_S as usize], second: u64) -> &AtomicU64 {
    &cells[(second % WINDOW_S) as usize]
}

/// Adds to a cell, which begins anew with each second; `false`: it would count more than `max`.
fn add(cell: &AtomicU64, second: u64, count: u64, max: u64) -> bool {
    cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        let counted = if word >> COUNT_BITS == second { word & COUNT_MASK } else { 0 };
        let counts = counted + count;
        (counts <= max).then_some(second << COUNT_BITS | counts)
    })
    .is_ok()
}

/// Takes one from a cell. If its second is over and it counts another, there is nothing to take.
fn take_one(cell: &AtomicU64, second: u64) {
    let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        let counts = word >> COUNT_BITS == second && word & COUNT_MASK > 0;
        counts.then(|| word - 1)
    });
}

/// What the cells of the window count.
fn sum(cells: &[AtomicU64; WINDOW_S as usize], second: u64) -> u64 {
    cells
        .iter()
        .map(|cell| cell.load(Ordering::Relaxed))
        .filter(|word| second.saturating_sub(word >> COUNT_BITS) < WINDOW_S)
        .map(|word| word & COUNT_MASK)
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Instant {
        Instant::from_us(ms * 1000)
    }

    #[test]
    fn retries_are_a_share_of_the_firsts_of_ten_seconds_and_a_few_in_any_case() {
        let budget = Budget::new(0.2, 3);
        budget.deposit(100, at(500));
        assert_eq!((0..100).filter(|_| budget.reserve(at(900)).is_some()).count(), 23);
        assert_eq!(
            (0..100).filter(|_| budget.reserve(at(1_100)).is_some()).count(),
            3,
            "the next second's few"
        );
        budget.deposit(100, at(9_000));
        // 40 of 200, less the 26 that were made.
        assert_eq!((0..100).filter(|_| budget.reserve(at(9_500)).is_some()).count(), 14 + 3);
        // The first 100 and their retries are out of the window.
        assert_eq!((0..100).filter(|_| budget.reserve(at(11_500)).is_some()).count(), 20 - 17 + 3 - 3 + 3);
        assert_eq!((0..100).filter(|_| budget.reserve(at(60_000)).is_some()).count(), 3);
    }

    #[test]
    fn a_retry_that_was_not_made_can_be_made_by_another() {
        let budget = Budget::new(0.1, 0);
        budget.deposit(10, at(0));
        let grant = budget.reserve(at(1)).unwrap();
        assert!(budget.reserve(at(2)).is_none());
        budget.give_back(grant);
        assert!(budget.reserve(at(3)).is_some() && budget.reserve(at(4)).is_none());
    }

    #[test]
    fn one_of_the_few_in_any_case_can_be_made_by_another_too() {
        let budget = Budget::new(0.0, 1);
        for _ in 0..3 {
            let grant = budget.reserve(at(1)).unwrap();
            assert!(budget.reserve(at(2)).is_none());
            budget.give_back(grant);
        }
        assert!(budget.reserve(at(3)).is_some());
        assert!(budget.reserve(at(1_003)).is_some(), "the next second's");
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_share_of_all_firsts_and_the_minimum(
            steps in prop::collection::vec((0u64..800, 0u64..20, 0usize..20), 1..60),
            share in 0.0f64..1.0,
            min in 0u32..5,
        ) {
            let budget = Budget::new(share, min);
            let (mut ms, mut firsts, mut retries) = (0, 0, 0);
            for (later, first, wanted) in steps {
                ms += later;
                firsts += first;
                budget.deposit(first, at(ms));
                retries += (0..wanted).filter(|_| budget.reserve(at(ms)).is_some()).count() as u64;
                let allowed = (share * 1000.0).round() / 1000.0 * firsts as f64;
                prop_assert!(retries as f64 <= allowed + (u64::from(min) * (ms / 1000 + 1)) as f64 + 1e-6);
            }
        }
    }
}
