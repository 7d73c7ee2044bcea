//! What became of the spans: counted by the threads behind the queue, read by whoever shows metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a span was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many waited.
    QueueFull,
    /// The collector could not be reached, or did not answer, however often it was tried.
    Unreachable,
    /// The collector did not take it.
    Refused,
    /// weir ended, or its configuration names no collector any more.
    Ended,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Unreachable, Self::Refused, Self::Ended];

    /// Its word in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// Spans since the process began.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    dropped: [AtomicU64; Cause::ALL.len()],
}

impl SpanCounts {
    pub(super) fn take(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(in crate::log) fn lose(&self, cause: Cause, spans: usize) {
        if spans > 0 {
            self.dropped[cause as usize].fetch_add(spans as u64, Ordering::Relaxed);
        }
    }

    /// Those that a collector has taken.
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Those that were dropped for this.
    pub fn dropped(&self, cause: Cause) -> u64 {
        self.dropped[cause as usize].load(Ordering::Relaxed)
    }
}
