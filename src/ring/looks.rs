//! How long what completed may have waited for the loop, from the times of the loop's looks at its ring.
//!
//! The kernel does not say when something completed, so it is bounded: what a look finds came after the look
//! before, unless the loop slept and nothing was there when it lay down (then it came during the sleep, and
//! ended it). And it is handled before the next look, since the tasks that it woke run before that. So it
//! waited, from completion to handling, no longer than from the look before to the look after, without the
//! sleep in between. On average a completion waits half of that. What is not seen is how long the kernel takes
//! to wake a sleeping thread.
//!
//! Arithmetic only: the clock is `driver.rs`'s, and who counts is beyond [`super::Shift`].

use crate::time::{Instant, Micros};

/// How the loop came to look at its ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// When it lay down to sleep, if it did.
    pub(super) slept_from: Option<Instant>,
    /// Something was there before it slept.
    pub(super) waited_for: bool,
}

impl Look {
    /// One without a sleep.
    pub(super) const AWAKE: Self = Self { slept_from: None, waited_for: false };
}

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When; `None` before the first.
    at: Option<Instant>,
    /// All completions up to then, and how many of them it found.
    completions: u64,
    found: u64,
    /// The longest that what it found may have waited until then.
    waited: Micros,
    /// Polls of tasks up to then.
    polls: u64,
}

impl Looks {
    /// The loop has looked: by now there have been so many completions and polls. Returns how many the look
    /// before had found, if any, and the longest that they may have waited until they were handled.
    pub(super) fn looked(
        &mut self,
        now: Instant,
        look: Look,
        completions: u64,
        polls: u64,
    ) -> Option<(u64, Micros)> {
        let awake = self.at.map_or(Micros::ZERO, |at| look.slept_from.unwrap_or(now).since(at));
        let handled = (self.found > 0)
            .then(|| (self.found, Micros::from_us(self.waited.as_us().saturating_add(awake.as_us()))));
        let came_awake = look.slept_from.is_none() || look.waited_for;
        *self = Self {
            at: Some(now),
            completions,
            found: completions - self.completions,
            waited: if came_awake { awake } else { Micros::ZERO },
            polls,
        };
        handled
    }

    /// Polls of tasks up to the last look.
    pub(super) fn polls(&self) -> u64 {
        self.polls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::from_us(us)
    }

    fn slept(from_us: u64, waited_for: bool) -> Look {
        Look { slept_from: Some(at(from_us)), waited_for }
    }

    fn longest(us: u64) -> Micros {
        Micros::from_us(us)
    }

    #[test]
    fn what_a_look_finds_may_have_waited_from_the_look_before_to_the_look_after() {
        let mut looks = Looks::default();
        assert_eq!(looks.looked(at(1_000), Look::AWAKE, 5, 0), None, "nothing was found before");
        // The first look has none before it: what it found was handled in 100 µs.
        assert_eq!(looks.looked(at(1_100), Look::AWAKE, 8, 0), Some((5, longest(100))));
        // 100 µs before the look, 50,000 behind it.
        assert_eq!(looks.looked(at(51_100), Look::AWAKE, 8, 0), Some((3, longest(50_100))));
        assert_eq!(looks.looked(at(51_200), Look::AWAKE, 9, 0), None, "the look before found nothing");
        assert_eq!(looks.looked(at(51_300), Look::AWAKE, 9, 0), Some((1, longest(200))));
    }

    #[test]
    fn sleep_is_no_waiting_but_what_was_there_before_it_has_waited() {
        let mut looks = Looks::default();
        looks.looked(at(0), Look::AWAKE, 0, 0);
        // Awake for 10 µs, then asleep until something came.
        assert_eq!(looks.looked(at(90_000), slept(10, false), 1, 0), None);
        // Handled in 20 µs, then asleep again.
        assert_eq!(looks.looked(at(99_000), slept(90_020, false), 2, 0), Some((1, longest(20))));
        // A long turn, in which something came: it did not wait for the sleep, which was none.
        assert_eq!(looks.looked(at(599_001), slept(599_000, true), 3, 0), Some((1, longest(500_000))));
        assert_eq!(looks.looked(at(599_031), Look::AWAKE, 3, 0), Some((1, longest(500_030))));
    }
}
