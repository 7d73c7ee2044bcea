//! Waking at a point of time, more finely than tokio's timers, which know whole milliseconds only.
//!
//! A timerfd wakes a sleeping thread some 50 µs after its time. Rather that than spinning through the last
//! stretch: who makes load often shares cores with its target, which would pay for it. Used by `weir bench`,
//! which measures how late it was.

use super::clock;
use crate::time::Instant;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel's, as tokio wants a descriptor.
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits for points of time, one at a time, in a tokio runtime.
pub struct Alarm(AsyncFd<Timer>);

impl Alarm {
    /// One that has not been set; to be made inside the runtime.
    ///
    /// # Errors
    /// No descriptor is left.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        // The clock of `clock::now`.
        let timer = Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        // SAFETY: the descriptor must stay open and the same for as long as it is registered: the timer owns it,
        // the `AsyncFd` owns the timer and takes the registration back before it drops it, nobody else sees it.
        Ok(Self(unsafe { AsyncFd::register(timer) }?))
    }

    /// Returns once it is `due`, at once if it was before; never too early.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn until(&self, due: Instant) -> io::Result<()> {
        while clock::now() < due {
            let (seconds, us) = (due.as_us() / 1_000_000, due.as_us() % 1_000_000);
            let at = TimeSpec::new(seconds.try_into().unwrap_or(i64::MAX), us as i64 * 1_000);
            // To set it again takes back what it has told, so there is nothing to read.
            self.0.get_ref().0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.0.readable().await?.clear_ready();
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::time::Micros;

    #[tokio::test(flavor = "current_thread")]
    async fn it_wakes_at_each_point_in_turn_and_never_before_it() {
        let alarm = Alarm::new().unwrap();
        let start = clock::now();
        for step_us in [300, 900, 901, 2_500, 2_500, 0] {
            let due = start + Micros::from_us(step_us);
            alarm.until(due).await.unwrap();
            assert!(clock::now() >= due, "{step_us} µs");
        }
    }
}
