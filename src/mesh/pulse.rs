//! A shard's heartbeat: when it last turned, and what it was at.
//!
//! Written by a shard with plain stores, a few a turn; read by `control`, which says when one has
//! stopped. Not a message: a shard that hangs sends none, and that is what has to be seen.

use crate::time::Instant;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a shard is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// Its thread starts.
    Starting,
    /// Its connections: reading, deciding, writing.
    Connections,
    /// Control's messages.
    Messages,
    /// Taking in another topology.
    Topology,
    /// Waiting in the kernel for something to happen; it comes back ten times a second.
    Waiting,
    /// Ending.
    Ending,
}

impl Doing {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Connections, Self::Messages, Self::Topology, Self::Waiting, Self::Ending];

    /// Its words in logs and on `/shards`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Connections => "connections",
            Self::Messages => "messages",
            Self::Topology => "topology",
            Self::Waiting => "waiting",
            Self::Ending => "ending",
        }
    }
}

/// One shard's heartbeat, shared with control.
#[derive(Debug, Default)]
pub struct Pulse {
    last_us: AtomicU64,
    doing: AtomicU8,
}

impl Pulse {
    /// The shard turned, at `now`.
    #[inline]
    pub fn beat(&self, now: Instant) {
        self.last_us.store(now.as_us(), Ordering::Relaxed);
    }

    /// From now on it is at something else.
    #[inline]
    pub fn begin(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// When it turned last; the clock's zero before the first time.
    pub fn last(&self) -> Instant {
        Instant::from_us(self.last_us.load(Ordering::Relaxed))
    }

    /// What it is at.
    pub fn doing(&self) -> Doing {
        let at = usize::from(self.doing.load(Ordering::Relaxed));
        // Only `begin` writes it.
        Doing::ALL.get(at).copied().unwrap_or(Doing::Starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_what_is_read() {
        let pulse = Pulse::default();
        assert_eq!((pulse.last(), pulse.doing()), (Instant::default(), Doing::Starting));
        for doing in Doing::ALL {
            pulse.begin(doing);
            assert_eq!(pulse.doing(), doing);
        }
        pulse.beat(Instant::from_us(7));
        assert_eq!(pulse.last(), Instant::from_us(7));
    }
}
