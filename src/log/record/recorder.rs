//! A shard's side of the records: finished ones are gathered in batches, which go when they are full or old.
//!
//! A batch costs the queue one slot and the thread behind it one wake at most, so what a record costs its
//! shard is to copy it. Emptied batches come back. Called by `proxy` and, once a turn, by `shard`.

use super::entry::{Draft, Entry};
use crate::time::{Instant, Micros};
use crossbeam::channel::{Receiver, Sender};

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

/// Where a shard's records go.
pub struct Recorder {
    shard: u16,
    queue: Sender<Box<Batch>>,
    /// Emptied batches.
    spares: Receiver<Box<Batch>>,
    batch: Option<Box<Batch>>,
    /// When the batch goes at the latest; `NEVER` while there is none.
    due: Instant,
}

impl Recorder {
    pub(super) fn new(shard: u16, queue: Sender<Box<Batch>>, spares: Receiver<Box<Batch>>) -> Self {
        Self { shard, queue, spares, batch: None, due: Instant::NEVER }
    }

    /// Takes a finished record. Returns how many were dropped to make room: 0, or a batch.
    #[must_use]
    pub fn take(&mut self, draft: &Draft, now: Instant) -> usize {
        let batch = self.batch.get_or_insert_with(|| {
            self.due = now + OLD;
            self.spares.try_recv().unwrap_or_else(|_| {
                let (entries, texts) = (Vec::with_capacity(ENTRIES_MAX), Vec::with_capacity(TEXT_FULL));
                Box::new(Batch { shard: self.shard, entries, texts })
            })
        });
        let entry = draft.put(&mut batch.texts);
        batch.entries.push(entry);
        if batch.entries.len() >= ENTRIES_MAX || batch.texts.len() >= TEXT_FULL { self.send() } else { 0 }
    }

    /// When the batch goes at the latest.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Sends the batch on its way, if there is one. Returns how many records were dropped: the queue is full,
    /// or nobody reads it any more.
    #[must_use]
    pub fn send(&mut self) -> usize {
        self.due = Instant::NEVER;
        let Some(batch) = self.batch.take() else { return 0 };
        match self.queue.try_send(batch) {
            Ok(()) => 0,
            Err(refused) => {
                let mut batch = refused.into_inner();
                let dropped = batch.entries.len();
                batch.entries.clear();
                batch.texts.clear();
                self.batch = Some(batch);
                dropped
            }
        }
    }
}
