//! The thread `weir-log`: takes the shards' batches, and writes what is wanted of them.
//!
//! It sleeps for a while between two looks at the queue as long as something comes, so that shards need not
//! wake it; when nothing has come for a second it waits to be woken. Started by `serve`; told by `control` what
//! is wanted.

use super::recorder::{Batch, Recorder};
use crate::config::{AccessFormat, AccessLog, Config};
use crate::log::export::{Exporter, SpanCounts};
use crate::sys::clock;
use crate::time::Micros;
use crossbeam::channel::{Receiver, Sender, bounded, select, unbounded};
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Batches of a shard that may wait.
const BATCHES_PER_SHARD: usize = 64;

/// Between two looks at the queue.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks in vain after which the thread waits to be woken.
const VAIN_LOOKS_MAX: u32 = 100;

/// What the thread is told.
enum Order {
    /// This configuration holds.
    Configure(Arc<Config>),
    /// Write what has come, and end.
    End,
}

/// The thread cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that writes the access log: {0}")]
pub struct JournalRefused(#[from] io::Error);

/// Control's handle to the thread. Dropped, it waits until what has come is written and sent, for a
/// few seconds at most.
pub struct Journal {
    orders: Sender<Order>,
    spans: Arc<SpanCounts>,
    thread: Option<JoinHandle<()>>,
}

/// How long the end waits for the thread, which itself waits two seconds for the last spans.
const END_WITHIN: Micros = Micros::from_s(3);

impl Journal {
    /// Starts the thread. One recorder for each of `shards` comes with it.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(shards: usize, config: Arc<Config>) -> Result<(Self, Vec<Recorder>), JournalRefused> {
        let (queue, batches) = bounded(BATCHES_PER_SHARD * shards.max(1));
        let (orders, told) = unbounded();
        let mut emptied = Vec::new();
        let mut recorders = Vec::new();
        for shard in 0..shards as u16 {
            let (give, spares) = bounded(BATCHES_PER_SHARD);
            emptied.push(give);
            recorders.push(Recorder::new(shard, queue.clone(), spares));
        }
        let spans = Arc::new(SpanCounts::default());
        let mut exporter = Exporter::new(spans.clone());
        exporter.configure(config.collector());
        let writer = Writer { batches, told, emptied, access_log: config.access_log.clone(), exporter };
        let thread = thread::Builder::new().name("weir-log".to_owned()).spawn(move || writer.run())?;
        Ok((Self { orders, spans, thread: Some(thread) }, recorders))
    }

    /// What became of the spans of sampled exchanges.
    pub fn spans(&self) -> &SpanCounts {
        &self.spans
    }

    /// This configuration holds from now on.
    pub fn configure(&self, config: &Arc<Config>) {
        // If the thread is gone, nothing is written any more.
        let _ = self.orders.send(Order::Configure(config.clone()));
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        let until = clock::now() + END_WITHIN;
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && clock::now() < until {
            #[allow(
                clippy::disallowed_methods,
                reason = "the process ends, and nothing else is on this thread"
            )]
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The thread's own.
struct Writer {
    batches: Receiver<Box<Batch>>,
    told: Receiver<Order>,
    /// By shard: where emptied batches go.
    emptied: Vec<Sender<Box<Batch>>>,
    access_log: AccessLog,
    exporter: Exporter,
}

impl Writer {
    fn run(mut self) {
        let mut vain = 0;
        loop {
            let came = self.write_what_has_come();
            vain = if came { 0 } else { vain + 1 };
            let order = match self.told.try_recv() {
                Ok(order) => Some(order),
                Err(_) if vain >= VAIN_LOOKS_MAX => self.wait(),
                Err(_) => {
                    #[allow(clippy::disallowed_methods, reason = "a thread of its own")]
                    thread::sleep(LOOK_EVERY);
                    None
                }
            };
            match order {
                Some(Order::Configure(config)) => {
                    self.access_log = config.access_log.clone();
                    self.exporter.configure(config.collector());
                }
                Some(Order::End) => {
                    self.write_what_has_come();
                    self.exporter.end();
                    return;
                }
                None => {}
            }
        }
    }

    /// Whether anything has.
    fn write_what_has_come(&mut self) -> bool {
        let mut came = false;
        while let Ok(batch) = self.batches.try_recv() {
            self.write(batch);
            came = true;
        }
        came
    }

    /// Waits until something comes. If it is an order, returns it.
    fn wait(&mut self) -> Option<Order> {
        select! {
            recv(self.batches) -> batch => {
                match batch {
                    Ok(batch) => self.write(batch),
                    // No shard is left; an order is still to come.
                    Err(_) => return self.told.recv().ok(),
                }
                None
            }
            recv(self.told) -> order => order.ok(),
        }
    }

    fn write(&mut self, mut batch: Box<Batch>) {
        self.exporter.take(&batch.entries, &batch.texts);
        if self.access_log.format != AccessFormat::Off {
            let _ = writeln!(io::stderr(), "{} records", batch.entries.len());
        }
        batch.entries.clear();
        batch.texts.clear();
        let shard = usize::from(batch.shard);
        // Full: there are enough of them.
        let _ = self.emptied[shard].try_send(batch);
    }
}
