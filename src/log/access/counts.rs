//! Lines of the access log, counted where they are written or dropped and read by whoever shows metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of the lines since the process began.
#[derive(Debug)]
pub struct Counts {
    lines: AtomicU64,
    errors: AtomicU64,
    /// By shard.
    dropped: Box<[AtomicU64]>,
}

impl Counts {
    pub(in crate::log) fn new(shards: usize) -> Self {
        let dropped = (0..shards).map(|_| AtomicU64::new(0)).collect();
        Self { lines: AtomicU64::new(0), errors: AtomicU64::new(0), dropped }
    }

    pub(super) fn written(&self, lines: u64) {
        self.lines.fetch_add(lines, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// A shard calls this for a whole batch that found the queue full, so that an exchange pays nothing for it.
    pub(in crate::log) fn dropped(&self, shard: u16, lines: usize) {
        if lines > 0 {
            self.dropped[usize::from(shard)].fetch_add(lines as u64, Relaxed);
        }
    }

    /// Lines written.
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// Writes that failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Lines dropped, by shard.
    pub fn dropped_by_shard(&self) -> impl Iterator<Item = u64> {
        self.dropped.iter().map(|count| count.load(Relaxed))
    }
}
