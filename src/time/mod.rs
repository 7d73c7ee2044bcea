//! Lengths and points of time, and the queue of deadlines.
//!
//! Here: [`Micros`] (a length), [`Instant`] (a point), [`Deadlines`] (which of many keys is due),
//! [`Utc`] (a date).
//! Pure: nobody in this room looks at a clock; `now` comes in as an argument. Not here: reading the
//! clock (`sys::clock`). Used by every room below.

mod deadlines;
mod utc;

pub use deadlines::Deadlines;
pub use utc::Utc;

use std::fmt;
use std::ops::{Add, Sub};

/// A length of time in whole microseconds; in TOML a string with its unit: "250us", "2s".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(u64);

impl Micros {
    /// No time at all; as a limit it means "none" (see the contract: 0 means no limit).
    pub const ZERO: Self = Self(0);

    /// Longer than anything lasts.
    pub const MAX: Self = Self(u64::MAX);

    /// A length of `us` microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// A length of `ms` milliseconds; the longest length if it does not fit.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// A length of `s` seconds; the longest length if it does not fit.
    pub const fn from_s(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }

    /// The length in microseconds.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The length as the standard library's type, for the calls that want one.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

impl fmt::Display for Micros {
    /// The largest unit that states the length in whole numbers: "2s", "1500ms", "0us".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, us) in [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)] {
            if self.0 != 0 && self.0.is_multiple_of(us) {
                return write!(f, "{}{unit}", self.0 / us);
            }
        }
        write!(f, "{}us", self.0)
    }
}

/// A point of monotonic time: whole microseconds since some moment before the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// After every other point: the deadline of what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `us` microseconds after the clock's zero.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the clock's zero.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; no time at all if it lies ahead.
    pub const fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }

    /// The deadline `limit` from here, where a limit of zero means none.
    pub const fn deadline(self, limit: Micros) -> Self {
        if limit.is_zero() { Self::NEVER } else { Self(self.0.saturating_add(limit.0)) }
    }
}

impl Add<Micros> for Instant {
    type Output = Self;
    fn add(self, length: Micros) -> Self {
        Self(self.0.saturating_add(length.0))
    }
}

impl Sub for Instant {
    type Output = Micros;
    fn sub(self, earlier: Self) -> Micros {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_prints_in_its_largest_whole_unit() {
        for (us, expected) in
            [(0, "0us"), (250, "250us"), (1_500_000, "1500ms"), (2_000_000, "2s"), (3_600_000_000, "1h")]
        {
            assert_eq!(Micros::from_us(us).to_string(), expected);
        }
    }

    #[test]
    fn a_limit_of_zero_is_no_deadline() {
        assert_eq!(Instant::from_us(5).deadline(Micros::ZERO), Instant::NEVER);
        assert_eq!(Instant::from_us(5).deadline(Micros::from_us(3)), Instant::from_us(8));
    }
}
