//! The lines that wait, and their way into the sink: faults pass, and only what is beyond a bound is lost.
//!
//! Lines are gathered, so that a write is for many. A sink that takes no more keeps them waiting; one that fails
//! is opened again, at most once a second. Beyond [`PENDING_MAX`] lines are dropped and counted, and the log says
//! so, at most once a second. Called by `record::journal` on its thread.

use super::counts::Counts;
use super::line::{Lines, Record};
use super::sink::{End, Sink, Written};
use crate::config::AccessLog;
use crate::log::record::Batch;
use crate::time::{Instant, Micros};
use nix::poll::PollTimeout;
use std::sync::Arc;

/// Bytes of lines that are gathered before they are written.
const GATHERED: usize = 128 << 10;

/// Bytes of lines that may wait.
const PENDING_MAX: usize = 1 << 20;

/// Between two tries to open a sink again that fails, and two words about lines that were dropped.
const AGAIN_AFTER: Micros = Micros::from_s(1);

/// Between two words about a sink that fails on and on.
const SAY_EVERY: Micros = Micros::from_s(60);

/// The access log, on its thread.
pub(in crate::log) struct Writer {
    /// `None`: it is off.
    lines: Option<Lines>,
    /// `None`: it is off, and nothing waits.
    sink: Option<Sink>,
    /// Lines that wait, the first `done` bytes of which do not any more.
    pending: Vec<u8>,
    done: usize,
    /// How many they are.
    waiting: u64,
    counts: Arc<Counts>,
    /// It failed the last time.
    failing: bool,
    /// Before this nothing is opened again.
    again_at: Instant,
    say_failing_at: Instant,
    say_dropped_at: Instant,
    /// Dropped lines that the log has told of.
    told: u64,
}

impl Writer {
    /// Writes to `sink` as `config` says.
    pub(in crate::log) fn new(config: &AccessLog, sink: Option<Sink>, counts: Arc<Counts>) -> Self {
        Self {
            lines: Lines::of(&config.format),
            sink,
            pending: Vec::new(),
            done: 0,
            waiting: 0,
            counts,
            failing: false,
            again_at: Instant::default(),
            say_failing_at: Instant::default(),
            say_dropped_at: Instant::default(),
            told: 0,
        }
    }

    /// Writes as `config` says from now on; to `sink`, if there is another one.
    pub(in crate::log) fn configure(&mut self, config: &AccessLog, sink: Option<Sink>, now: Instant) {
        self.flush(now);
        self.lines = Lines::of(&config.format);
        if let Some(sink) = sink {
            self.replace(sink);
        }
        self.close_if_over();
    }

    /// Writes to this sink from now on.
    pub(in crate::log) fn replace(&mut self, sink: Sink) {
        // The beginning of a line is where the last one went: its end has no place here.
        if self.done > 0 && self.pending[self.done - 1] != b'\n' {
            let end = memchr::memchr(b'\n', &self.pending[self.done..]);
            self.done = end.map_or(self.pending.len(), |end| self.done + end + 1);
            // Which shard's it was is not known any more.
            self.counts.dropped(0, 1);
            self.waiting = self.waiting.saturating_sub(1);
        }
        self.sink = Some(sink);
        self.failing = false;
    }

    /// Makes lines of a batch. `unix_us_at_zero`: µs since 1970 at the zero of the records' clock.
    pub(in crate::log) fn add(&mut self, batch: &Batch, unix_us_at_zero: u64, now: Instant) {
        let Some(lines) = &mut self.lines else { return };
        if self.pending.len() - self.done >= PENDING_MAX {
            return self.counts.dropped(batch.shard(), batch.lines());
        }
        for entry in batch.entries().iter().filter(|entry| entry.line) {
            let unix_us = unix_us_at_zero.saturating_add(entry.began.as_us());
            let record = Record { entry, texts: batch.texts(), shard: batch.shard(), unix_us };
            lines.write(record, &mut self.pending);
            self.waiting += 1;
        }
        if self.pending.len() - self.done >= GATHERED {
            self.flush(now);
        }
    }

    /// Whether lines wait for a sink that did not take them.
    pub(in crate::log) fn has_pending(&self) -> bool {
        self.done < self.pending.len()
    }

    /// Waits until they may go on, and no longer than this many ms; as long if there are none.
    pub(in crate::log) fn wait(&self, ms: u8) {
        match &self.sink {
            Some(sink) if self.has_pending() && !self.failing => sink.wait(PollTimeout::from(ms)),
            Some(_) | None => {
                #[allow(clippy::disallowed_methods, reason = "a thread of its own")]
                std::thread::sleep(std::time::Duration::from_millis(ms.into()));
            }
        }
    }

    /// Writes what waits, as far as the sink takes it.
    pub(in crate::log) fn flush(&mut self, now: Instant) {
        if self.failing && now < self.again_at {
            return;
        }
        if self.has_pending()
            && let Err(error) = self.write()
        {
            self.failed(&error, now);
        }
        self.close_if_over();
    }

    /// The log has been switched off, and what waited is written.
    fn close_if_over(&mut self) {
        if self.lines.is_none() && !self.has_pending() {
            self.sink = None;
        }
    }

    /// Says how many lines have been dropped, if any have since it last said so.
    pub(in crate::log) fn tell_dropped(&mut self, now: Instant) {
        let dropped: u64 = self.counts.dropped_by_shard().sum();
        if dropped == self.told || now < self.say_dropped_at {
            return;
        }
        let lines = dropped - self.told;
        (self.told, self.say_dropped_at) = (dropped, now + AGAIN_AFTER);
        tracing::warn!(lines, "the access log is behind: lines were dropped, so that no request waits");
    }

    /// Says what is lost at the end.
    pub(in crate::log) fn end(&mut self, now: Instant) {
        self.say_dropped_at = now;
        self.tell_dropped(now);
        if self.has_pending() {
            tracing::warn!(lines = self.waiting, "the last lines of the access log could not be written");
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let Written { count, end } = sink.write(&self.pending[self.done..]);
        let written = if matches!(end, End::Whole) {
            self.waiting
        } else {
            memchr::memchr_iter(b'\n', &self.pending[self.done..self.done + count]).count() as u64
        };
        self.counts.written(written);
        self.waiting = self.waiting.saturating_sub(written);
        self.done += count;
        if !self.has_pending() {
            self.pending.clear();
            self.done = 0;
        } else if self.done > PENDING_MAX {
            // The byte before says whether a line is torn.
            self.pending.drain(..self.done - 1);
            self.done = 1;
        }
        match end {
            End::Failed(error) => Err(error),
            End::Whole | End::Full => {
                if std::mem::take(&mut self.failing) && count > 0 {
                    tracing::info!("the access log is written again");
                }
                Ok(())
            }
        }
    }

    /// Opens the sink again: the file may have been removed with its folder, the syslog have been restarted.
    fn failed(&mut self, error: &std::io::Error, now: Instant) {
        self.counts.failed();
        if now >= self.again_at {
            self.again_at = now + AGAIN_AFTER;
            let opened = self.sink.as_ref().map(|sink| Sink::open(sink.to()));
            if let Some(Ok(sink)) = opened {
                let was_failing = self.failing;
                self.replace(sink);
                self.failing = was_failing;
                match self.write() {
                    Ok(()) => return,
                    Err(_) => self.counts.failed(),
                }
            }
        }
        self.failing = true;
        if now >= self.say_failing_at {
            self.say_failing_at = now + SAY_EVERY;
            tracing::error!(
                %error,
                "the access log cannot be written; it is tried again each second, and what does not fit into 1 MiB until then is dropped"
            );
        }
    }
}
