//! How long a connection may go on: by its age, and by the requests that it has carried.
//!
//! Each connection ends a little before what the operator wrote, up to a tenth, by a draw of its own: those
//! that were made together (after a restart, say) do not come back together. The rule is the same for clients'
//! connections and backends', of HTTP/1.1 and of HTTP/2. It says whether a connection is to end; that it ends
//! between exchanges, and how its peer is told, is its owner's. Asked by `proxy`, `streams` and `upstream`.

use crate::time::{Instant, Micros};

/// Requests that are counted; the configuration allows no larger limit.
const REQUESTS_MAX: u32 = (1 << COUNT_BITS) - 1;

/// Bits of [`Life::count`] that count; those above them are the draw.
const COUNT_BITS: u32 = 24;

/// Draws that make a tenth.
const DRAWS_PER_TENTH: u64 = 256;

/// A tick is 2^14 us, 16 ms: thirty-two bits of them are two years, and no limit is longer than one.
const TICK_BITS: u32 = 14;

/// How long connections may go on; zero: any time, any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifeLimits {
    /// `max_age`
    pub max_age: Micros,
    /// `max_requests`
    pub max_requests: u32,
}

/// The limit for which a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeOver {
    /// [`LifeLimits::max_age`]
    Age,
    /// [`LifeLimits::max_requests`]
    Requests,
}

impl LifeOver {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Age, Self::Requests];

    /// The key that says how long: its word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Age => "max_age",
            Self::Requests => "max_requests",
        }
    }
}

/// What the rule knows of one connection, in eight bytes: each idle one has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// In ticks.
    born: u32,
    /// Requests so far, and above them the draw.
    count: u32,
}

impl Life {
    /// Of a connection that begins now. `draw`: any bits, of which eight are used; by them it ends earlier.
    pub const fn begin(now: Instant, draw: u64) -> Self {
        Self { born: ticks(now), count: (draw as u32) << COUNT_BITS }
    }

    /// It carries one request more.
    #[inline]
    pub const fn count(&mut self) {
        if self.requests() < REQUESTS_MAX {
            self.count += 1;
        }
    }

    /// Whether it takes no further request, and for which limit. Whether one is under way makes no difference.
    #[inline]
    pub fn over(&self, limits: &LifeLimits, now: Instant) -> Option<LifeOver> {
        if *limits == LifeLimits::default() {
            return None;
        }
        self.over_under(limits, now)
    }

    /// When it will be over by its age, if nothing changes; `NEVER`: there is no such limit. It is the same moment
    /// whenever it is asked for until then, at the beginning of a tick: who waits for it finds it over.
    pub fn ends_at(&self, max_age: Micros, now: Instant) -> Instant {
        if max_age.is_zero() {
            return Instant::NEVER;
        }
        let life = self.shortened(max_age.as_us()).div_ceil(1 << TICK_BITS);
        match life.saturating_sub(u64::from(self.age(now))) {
            0 => now,
            left => Instant::from_us(((now.as_us() >> TICK_BITS) + left) << TICK_BITS),
        }
    }

    fn over_under(&self, limits: &LifeLimits, now: Instant) -> Option<LifeOver> {
        let LifeLimits { max_age, max_requests } = *limits;
        if !max_age.is_zero() && self.ends_at(max_age, now) <= now {
            return Some(LifeOver::Age);
        }
        let max_requests = self.shortened(u64::from(max_requests));
        let over = max_requests > 0 && u64::from(self.requests()) >= max_requests;
        over.then_some(LifeOver::Requests)
    }

    const fn requests(&self) -> u32 {
        self.count & REQUESTS_MAX
    }

    /// In ticks.
    const fn age(&self, now: Instant) -> u32 {
        ticks(now).wrapping_sub(self.born)
    }

    /// What is left of `limit` by the draw: more than nine tenths of it, and never nothing of something.
    const fn shortened(&self, limit: u64) -> u64 {
        let draw = (self.count >> COUNT_BITS) as u64;
        limit - limit * draw / (10 * DRAWS_PER_TENTH)
    }
}

const fn ticks(now: Instant) -> u32 {
    (now.as_us() >> TICK_BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BORN: Instant = Instant::from_us(77_000_000_000);

    fn limits(max_age_s: u64, max_requests: u32) -> LifeLimits {
        LifeLimits { max_age: Micros::from_s(max_age_s), max_requests }
    }

    #[test]
    fn a_connection_ends_by_its_age_or_its_requests_and_without_limits_never() {
        let after = |s: u64| BORN + Micros::from_s(s);
        for (draw, set, s, requests, expected) in [
            (0, limits(0, 0), 1 << 30, 1 << 10, None),
            (0, limits(100, 0), 99, 1 << 10, None),
            (0, limits(100, 0), 101, 0, Some(LifeOver::Age)),
            // The largest draw takes almost a tenth.
            (255, limits(100, 0), 89, 0, None),
            (255, limits(100, 0), 91, 0, Some(LifeOver::Age)),
            (0, limits(0, 100), 1 << 30, 99, None),
            (0, limits(0, 100), 0, 100, Some(LifeOver::Requests)),
            (255, limits(0, 100), 0, 90, None),
            (255, limits(0, 100), 0, 91, Some(LifeOver::Requests)),
            (255, limits(0, 1), 0, 0, None),
            (255, limits(0, 1), 0, 1, Some(LifeOver::Requests)),
            (7, limits(100, 100), 200, 200, Some(LifeOver::Age)),
        ] {
            let mut life = Life::begin(BORN, draw);
            (0..requests).for_each(|_| life.count());
            assert_eq!(life.over(&set, after(s)), expected, "{draw} {set:?} {s} {requests}");
        }
    }

    #[test]
    fn the_count_stops_at_its_end_and_leaves_the_draw_alone() {
        let mut life = Life { born: 0, count: (200 << COUNT_BITS) | (REQUESTS_MAX - 1) };
        (0..3).for_each(|_| life.count());
        assert_eq!((life.requests(), life.count >> COUNT_BITS), (REQUESTS_MAX, 200));
    }

    proptest! {
        #[test]
        fn a_connection_ends_in_the_last_tenth_and_stays_over(
            draw in any::<u64>(), born_us in 0u64..1 << 60, age_us in 1u64 << 20..1 << 45, early_us in 0u64..1 << 20,
        ) {
            let born = Instant::from_us(born_us);
            let max_age = Micros::from_us(age_us);
            let set = LifeLimits { max_age, max_requests: 0 };
            let life = Life::begin(born, draw);
            let end = life.ends_at(max_age, born);
            let tick = Micros::from_us(1 << TICK_BITS);
            prop_assert!(end <= born + max_age + tick);
            prop_assert!(end.as_us() + tick.as_us() >= born.as_us() + age_us - age_us / 10);
            let before = Instant::from_us(end.as_us().saturating_sub(early_us + 1).max(born_us));
            prop_assert_eq!(life.over(&set, before), None);
            prop_assert_eq!(life.ends_at(max_age, before), end);
            prop_assert_eq!(life.over(&set, end), Some(LifeOver::Age));
            prop_assert_eq!(life.over(&set, end + Micros::from_us(age_us / 2)), Some(LifeOver::Age));
        }

        #[test]
        fn connections_that_began_together_end_apart(seed in any::<[u64; 4]>()) {
            let mut dice = crate::trace::Dice::new(seed);
            let max_age = Micros::from_s(1_000);
            let ends = (0..1_000).map(|_| Life::begin(BORN, dice.draw()).ends_at(max_age, BORN));
            let mut per_second = [0; 101];
            ends.for_each(|end| per_second[end.since(BORN).as_us() as usize / 1_000_000 - 900] += 1);
            // A hundred seconds, ten ends each on average.
            prop_assert!(per_second.iter().all(|ends| *ends <= 40), "{:?}", per_second);
        }
    }
}
