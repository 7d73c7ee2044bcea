//! The one place that reads clocks for the rooms that are handed the time: the monotonic one, and the wall's.

use crate::time::Instant;
use nix::time::{ClockId, clock_gettime};

/// Unix time in whole microseconds. It jumps when it is set: a length is never the difference of two.
pub fn unix_us() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(0, |at| at.tv_sec().unsigned_abs() * 1_000_000 + at.tv_nsec().unsigned_abs() / 1_000)
}

/// The same in whole milliseconds.
pub fn unix_ms() -> u64 {
    unix_us() / 1_000
}

/// The same in whole seconds, as certificates and files have it.
pub fn unix_s() -> i64 {
    i64::try_from(unix_ms() / 1_000).unwrap_or(i64::MAX)
}

/// The monotonic clock, in whole microseconds.
pub fn now() -> Instant {
    // CLOCK_MONOTONIC exists on every Linux; were it refused, zero keeps every deadline in the future.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Instant::default(), |at| {
        Instant::from_us(at.tv_sec().unsigned_abs() * 1_000_000 + at.tv_nsec().unsigned_abs() / 1_000)
    })
}
