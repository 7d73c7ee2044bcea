//! A line of the log at most once a second, whatever happens how often.

use crate::time::{Instant, Micros};
use std::cell::Cell;

/// Between two lines.
const GAP: Micros = Micros::from_s(1);

/// Lets one in a second through, and counts those that it held back.
#[derive(Default)]
pub struct OncePerSecond {
    next: Cell<Instant>,
    held: Cell<u64>,
}

impl OncePerSecond {
    /// It has happened once more. `Some`: say so now; it has happened so often since the last time.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let times = self.held.get() + 1;
        if now < self.next.get() {
            self.held.set(times);
            return None;
        }
        self.next.set(now + GAP);
        self.held.set(0);
        Some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_said_and_none_is_lost_count_of() {
        let once = OncePerSecond::default();
        let said = |ms: u64| once.count(Instant::from_us(ms * 1_000));
        assert_eq!([said(0), said(1), said(999)], [Some(1), None, None]);
        assert_eq!([said(1_000), said(1_500), said(9_000)], [Some(3), None, Some(2)]);
    }
}
