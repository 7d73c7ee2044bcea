//! A shard's side of the records: finished ones are gathered in batches, which go when they are full or old.
//!
//! A batch costs the queue one slot and the thread behind it one wake at most, so what a record costs its
//! shard is to copy it. Emptied batches come back. Called by `proxy` and, once a turn, by `shard`.

use super::entry::{Draft, Entry};
use crate::log::access::Counts;
use crate::log::export::{Cause, SpanCounts};
use crate::time::{Instant, Micros};
use crossbeam::channel::{Receiver, Sender};
use std::sync::Arc;

/// Records in a batch at most, and bytes of their texts from which it is full.
const ENTRIES_MAX: usize = 256;
const TEXT_FULL: usize = 48 << 10;

/// How old a batch gets before it goes.
const OLD: Micros = Micros::from_ms(20);

/// Records of one shard, behind each other.
#[derive(Debug, Default)]
pub struct Batch {
    /// The shard's number, from 0.
    pub(super) shard: u16,
    pub(super) entries: Vec<Entry>,
    pub(super) texts: Vec<u8>,
}

impl Batch {
    /// The shard's number, from 0.
    pub(in crate::log) fn shard(&self) -> u16 {
        self.shard
    }

    /// The records.
    pub(in crate::log) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Their texts.
    pub(in crate::log) fn texts(&self) -> &[u8] {
        &self.texts
    }

    /// How many lines of the access log it is to become.
    pub(in crate::log) fn lines(&self) -> usize {
        self.entries.iter().filter(|entry| entry.line).count()
    }

    /// How many spans.
    fn spans(&self) -> usize {
        self.entries.iter().filter(|entry| entry.span).count()
    }
}

/// Where a shard's records go.
pub struct Recorder {
    shard: u16,
    queue: Sender<Box<Batch>>,
    /// Emptied batches.
    spares: Receiver<Box<Batch>>,
    batch: Option<Box<Batch>>,
    /// When the batch goes at the latest; `NEVER` while there is none.
    due: Instant,
    /// Where it is told what was dropped.
    counts: Arc<Counts>,
    spans: Arc<SpanCounts>,
}

impl Recorder {
    pub(super) fn new(
        shard: u16,
        queue: Sender<Box<Batch>>,
        spares: Receiver<Box<Batch>>,
        counts: Arc<Counts>,
        spans: Arc<SpanCounts>,
    ) -> Self {
        Self { shard, queue, spares, batch: None, due: Instant::NEVER, counts, spans }
    }

    /// Takes a finished record.
    pub fn take(&mut self, draft: &Draft, now: Instant) {
        let batch = self.batch.get_or_insert_with(|| {
            self.spares.try_recv().unwrap_or_else(|_| {
                let (entries, texts) = (Vec::with_capacity(ENTRIES_MAX), Vec::with_capacity(TEXT_FULL));
                Box::new(Batch { shard: self.shard, entries, texts })
            })
        });
        // It may be one that was emptied because nobody took it.
        if batch.entries.is_empty() {
            self.due = now + OLD;
        }
        let entry = draft.put(&mut batch.texts);
        batch.entries.push(entry);
        if batch.entries.len() >= ENTRIES_MAX || batch.texts.len() >= TEXT_FULL {
            self.send();
        }
    }

    /// When the batch goes at the latest.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Sends the batch on its way, if there is one. If the queue is full, or nobody reads it any more, its
    /// records are dropped: a full queue is never waited for.
    pub fn send(&mut self) {
        self.due = Instant::NEVER;
        let Some(batch) = self.batch.take() else { return };
        if let Err(refused) = self.queue.try_send(batch) {
            let mut batch = refused.into_inner();
            self.counts.dropped(self.shard, batch.lines());
            self.spans.lose(Cause::QueueFull, batch.spans());
            batch.entries.clear();
            batch.texts.clear();
            self.batch = Some(batch);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crossbeam::channel::bounded;

    #[test]
    fn what_comes_after_a_full_queue_is_due_as_soon_as_anything_else() {
        let (queue, batches) = bounded(1);
        let (_, spares) = bounded(1);
        let counts = Arc::new(Counts::new(1));
        let mut recorder = Recorder::new(0, queue, spares, counts.clone(), Arc::default());
        let mut draft = Draft::default();
        draft.entry.line = true;
        let mut at = Instant::from_us(1_000);
        for _ in 0..2 {
            recorder.take(&draft, at);
            recorder.send();
            assert_eq!(recorder.due(), Instant::NEVER);
            at = at + OLD;
        }
        assert_eq!(counts.dropped_by_shard().sum::<u64>(), 1, "the second found the queue full");
        recorder.take(&draft, at);
        assert_eq!(recorder.due(), at + OLD);
        assert_eq!(batches.try_recv().unwrap().lines(), 1);
        recorder.send();
        assert_eq!(batches.try_recv().unwrap().lines(), 1);
    }
}
