//! Until when the next bytes of a body must have come or gone: a minimum rate, not a total time.
//!
//! A total time would cut long uploads that are well; a time between two reads would let a byte a minute
//! through for ever. Called by `proxy` for bodies from and to the client.

use crate::time::{Instant, Micros};

/// Time that a body gets beyond what its bytes take at the minimum rate: for a slow start, and a pause.
const ALLOWANCE: Micros = Micros::from_s(5);

/// The pace that a body must keep.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    began: Instant,
    rate_per_s: u64,
    bytes: u64,
}

impl Pace {
    /// A body that begins now and must keep `rate_per_s` bytes a second; 0: any pace will do.
    pub const fn new(began: Instant, rate_per_s: u64) -> Self {
        Self { began, rate_per_s, bytes: 0 }
    }

    /// `bytes` more have come, or are about to go.
    pub const fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// `length` of time does not count: the body waited for somebody else.
    pub fn pardon(&mut self, length: Micros) {
        self.began = self.began + length;
    }

    /// When the pace is lost, unless more comes before.
    pub fn due(&self) -> Instant {
        match self.bytes.saturating_mul(1_000_000).checked_div(self.rate_per_s) {
            Some(us) => self.began + ALLOWANCE + Micros::from_us(us),
            None => Instant::NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_five_seconds_more_than_its_bytes_take_at_the_minimum_rate() {
        let mut pace = Pace::new(Instant::from_us(1_000_000), 1_000);
        assert_eq!(pace.due(), Instant::from_us(6_000_000));
        pace.count(2_000);
        assert_eq!(pace.due(), Instant::from_us(8_000_000));
        assert_eq!(Pace::new(Instant::default(), 0).due(), Instant::NEVER);
    }
}
