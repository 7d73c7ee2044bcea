//! What a backend's exchanges came to in the last while: counts in slices of time.
//!
//! Slices lie on the clock, not on a backend's own beginning, so that the newest three of two backends
//! speak of the same time.

use crate::health::Delta;
use crate::time::{Instant, Micros};

/// Slices of a window. A backend that begins to fail is judged by a slice that knows nothing but that
/// after at most a twentieth of the window.
pub(super) const SLICES: usize = 20;

/// Exchanges of a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) timed: u64,
    pub(super) log2_sum: u64,
}

impl Counts {
    pub(super) fn exchanges(&self) -> u64 {
        self.passed + self.failed
    }

    /// Share of failures, 0 to 1.
    pub(super) fn failing(&self) -> f64 {
        self.failed as f64 / self.exchanges().max(1) as f64
    }

    /// Mean of log2(microseconds) of the response times.
    pub(super) fn mean_log2(&self) -> f64 {
        self.log2_sum as f64 / 256.0 / self.timed.max(1) as f64
    }

    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.timed += other.timed;
        self.log2_sum += other.log2_sum;
    }
}

impl From<&Delta> for Counts {
    fn from(delta: &Delta) -> Self {
        let &Delta { passed, failed, timed, log2_sum, .. } = delta;
        Self { passed, failed, timed, log2_sum }
    }
}

/// The slices, each under its number since the clock's zero, in the place of that number modulo
/// [`SLICES`].
#[derive(Clone, Debug)]
pub(super) struct Window {
    slice_us: u64,
    slices: [(u64, Counts); SLICES],
}

impl Window {
    /// An empty window that looks back on `length`.
    pub(super) fn new(length: Micros) -> Self {
        Self {
            slice_us: (length.as_us() / SLICES as u64).max(1),
            slices: [(u64::MAX, Counts::default()); SLICES],
        }
    }

    pub(super) fn add(&mut self, counts: &Counts, now: Instant) {
        let number = now.as_us() / self.slice_us;
        let (of, slice) = &mut self.slices[(number % SLICES as u64) as usize];
        if *of != number {
            (*of, *slice) = (number, Counts::default());
        }
        slice.add(counts);
    }

    pub(super) fn clear(&mut self) {
        self.slices = [(u64::MAX, Counts::default()); SLICES];
    }

    /// What the newest `count` slices hold.
    pub(super) fn newest(&self, count: usize, now: Instant) -> Counts {
        let mut sum = Counts::default();
        self.slices_back(now).take(count).for_each(|slice| sum.add(slice));
        sum
    }

    /// The fewest newest slices whose sum is `enough`, and that sum.
    pub(super) fn newest_with(
        &self,
        now: Instant,
        enough: impl Fn(&Counts) -> bool,
    ) -> Option<(usize, Counts)> {
        let mut sum = Counts::default();
        for (n, slice) in self.slices_back(now).enumerate() {
            sum.add(slice);
            if enough(&sum) {
                return Some((n + 1, sum));
            }
        }
        None
    }

    /// How much time `count` slices cover.
    pub(super) fn length(&self, count: usize) -> Micros {
        Micros::from_us(self.slice_us * count as u64)
    }

    /// From the slice of `now` backwards.
    fn slices_back(&self, now: Instant) -> impl Iterator<Item = &Counts> {
        const EMPTY: &Counts = &Counts { passed: 0, failed: 0, timed: 0, log2_sum: 0 };
        let newest = now.as_us() / self.slice_us;
        (0..SLICES as u64).map(move |back| match newest.checked_sub(back) {
            Some(number) => {
                let (of, slice) = &self.slices[(number % SLICES as u64) as usize];
                if *of == number { slice } else { EMPTY }
            }
            None => EMPTY,
        })
    }
}
