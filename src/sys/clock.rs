//! The one place that reads the monotonic clock for the rooms that are handed `now`.

use crate::time::Instant;
use nix::time::{ClockId, clock_gettime};

/// The monotonic clock, in whole microseconds.
pub fn now() -> Instant {
    // CLOCK_MONOTONIC exists on every Linux; were it refused, zero keeps every deadline in the future.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Instant::default(), |at| {
        Instant::from_us(at.tv_sec().unsigned_abs() * 1_000_000 + at.tv_nsec().unsigned_abs() / 1_000)
    })
}
