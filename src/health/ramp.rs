//! Slow start: what share of its weight a backend has that has just come up.

use crate::time::{Instant, Micros};

/// A backend begins with this share, so that it is seen to work at all.
const BEGINS_WITH: f64 = 0.05;

/// The ramp of a backend that came up at a known time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// When it came up.
    pub began: Instant,
    /// How long it takes to its whole share.
    pub length: Micros,
}

impl Ramp {
    /// The share of its weight that it has at `now`, above 0 and up to 1; grows evenly.
    pub fn share(&self, now: Instant) -> f64 {
        if self.is_over(now) {
            return 1.0;
        }
        let gone = now.since(self.began).as_us() as f64 / self.length.as_us() as f64;
        BEGINS_WITH + (1.0 - BEGINS_WITH) * gone
    }

    /// Whether it has its whole share at `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.began + self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_begins_small_grows_evenly_and_ends_whole() {
        let ramp = Ramp { began: Instant::from_us(1_000_000), length: Micros::from_s(10) };
        for (us, expected) in [(0, 0.05), (1_000_000, 0.05), (6_000_000, 0.525), (11_000_000, 1.0)] {
            assert!((ramp.share(Instant::from_us(us)) - expected).abs() < 1e-9, "{us}");
        }
        assert!(!ramp.is_over(Instant::from_us(10_999_999)) && ramp.is_over(Instant::from_us(11_000_000)));
        let none = Ramp { began: Instant::from_us(5), length: Micros::ZERO };
        assert_eq!(none.share(Instant::from_us(5)), 1.0);
    }
}
