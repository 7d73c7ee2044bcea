//! The thread `weir-log`: takes the shards' batches, and writes what is wanted of them.
//!
//! It sleeps for a while between two looks at the queue as long as something comes, so that shards need not
//! wake it; when nothing has come for a second it waits to be woken. What opens files is done on the thread of
//! whoever asks, so that it can be refused before anything changes. Started by `serve`; told by `control` what
//! is wanted.

use super::recorder::{Batch, Recorder};
use crate::config::{AccessFormat, AccessLog, Config};
use crate::log::access::{Counts, Sink, SinkRefused, Writer};
use crate::log::export::{Exporter, SpanCounts};
use crate::sys::clock;
use crate::time::{Instant, Micros};
use crossbeam::channel::{Receiver, Sender, bounded, select, unbounded};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Batches of a shard that may wait.
const BATCHES_PER_SHARD: usize = 64;

/// Emptied ones that are kept for it.
const SPARES_PER_SHARD: usize = 16;

/// Between two looks at the queue, in ms. At 200,000 requests a second a shard fills its part in four times as long.
const LOOK_EVERY_MS: u8 = 20;

/// Looks in vain after which the thread waits to be woken.
const VAIN_LOOKS_MAX: u32 = 50;

/// How long the end waits for the thread, which itself waits two seconds for the last spans; and the thread for a
/// sink that takes no more.
const END_WITHIN: Micros = Micros::from_s(3);
const LAST_LINES_WITHIN: Micros = Micros::from_ms(700);

/// How long whoever has a log opened again waits until the thread uses it.
const REOPEN_WITHIN: Duration = Duration::from_secs(5);

/// What the thread is told.
enum Order {
    /// This configuration holds, and its lines go to another sink, if there is one.
    Configure(Arc<Config>, Option<Sink>),
    /// Lines go to this sink, and it is said when they do.
    Reopen(Sink, Sender<()>),
    /// Write what has come, and end.
    End,
}

/// Records cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalRefused {
    /// No thread.
    #[error("cannot start the thread that writes the access log: {0}")]
    Thread(#[from] io::Error),
    /// The access log has nowhere to go.
    #[error(transparent)]
    Sink(#[from] SinkRefused),
}

/// Why a log was not opened again.
#[derive(Debug, thiserror::Error)]
pub enum ReopenRefused {
    /// It cannot be. The old one goes on.
    #[error(transparent)]
    Sink(#[from] SinkRefused),
    /// The thread is held up, by a stderr that nobody reads.
    #[error("the access log is opened again, but lines are still on their way to the old one")]
    Busy,
}

/// Control's handle to the thread. Dropped, it waits until what has come is written and sent, for a
/// few seconds at most.
pub struct Journal {
    orders: Sender<Order>,
    counts: Arc<Counts>,
    spans: Arc<SpanCounts>,
    thread: Option<JoinHandle<()>>,
}

/// Opens logs again; may do so on any thread.
#[derive(Clone)]
pub struct Reopener(Sender<Order>);

impl Reopener {
    /// Opens the file of the access log again, if it goes to one, and returns its path once nothing goes to the
    /// old one any more.
    ///
    /// # Errors
    /// It cannot be opened, or the thread is held up.
    pub fn reopen(&self, access_log: &AccessLog) -> Result<Option<PathBuf>, ReopenRefused> {
        let Some(sink) = wanted(access_log)? else { return Ok(None) };
        let Some(path) = sink.file() else { return Ok(None) };
        let (done, is_done) = bounded(1);
        // If the thread is gone, nothing goes anywhere.
        let _ = self.0.send(Order::Reopen(sink, done));
        is_done.recv_timeout(REOPEN_WITHIN).map_err(|_| ReopenRefused::Busy)?;
        Ok(Some(path))
    }
}

/// Opens the sink that is asked for; `None`: there are no lines.
fn wanted(access_log: &AccessLog) -> Result<Option<Sink>, SinkRefused> {
    let is_on = access_log.format != AccessFormat::Off;
    is_on.then(|| Sink::open(&access_log.to)).transpose()
}

impl Journal {
    /// Starts the thread. One recorder for each of `shards` comes with it.
    ///
    /// # Errors
    /// The kernel gives no thread, or the access log cannot be opened.
    pub fn start(shards: usize, config: &Config) -> Result<(Self, Vec<Recorder>), JournalRefused> {
        let sink = wanted(&config.access_log)?;
        let (counts, spans) = (Arc::new(Counts::new(shards)), Arc::new(SpanCounts::default()));
        let (queue, batches) = bounded(BATCHES_PER_SHARD * shards.max(1));
        let (orders, told) = unbounded();
        let mut emptied = Vec::new();
        let mut recorders = Vec::new();
        for shard in 0..shards as u16 {
            let (give, spares) = bounded(SPARES_PER_SHARD);
            emptied.push(give);
            recorders.push(Recorder::new(shard, queue.clone(), spares, counts.clone(), spans.clone()));
        }
        let access = Writer::new(&config.access_log, sink, counts.clone());
        let spans = Arc::new(SpanCounts::default());
        let mut exporter = Exporter::new(spans.clone());
        exporter.configure(config.collector());
        let scribe = Scribe { batches, told, emptied, access, exporter };
        let thread = thread::Builder::new().name("weir-log".to_owned()).spawn(move || scribe.run())?;
        Ok((Self { orders, counts, spans, thread: Some(thread) }, recorders))
    }

    /// Opens what `new` asks for and `old` has not, before anything changes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(old: &AccessLog, new: &AccessLog) -> Result<Option<Sink>, SinkRefused> {
        let is_open = old.format != AccessFormat::Off && old.to == new.to;
        if is_open { Ok(None) } else { wanted(new) }
    }

    /// This configuration holds from now on, with the sink that [`Self::open`] gave for it.
    pub fn configure(&self, config: &Arc<Config>, sink: Option<Sink>) {
        // If the thread is gone, nothing is written any more.
        let _ = self.orders.send(Order::Configure(config.clone(), sink));
    }

    /// What opens logs again.
    pub fn reopener(&self) -> Reopener {
        Reopener(self.orders.clone())
    }

    /// What became of the spans of sampled exchanges.
    pub fn spans(&self) -> &SpanCounts {
        &self.spans
    }

    /// What became of the access log's lines.
    pub fn counts(&self) -> &Counts {
        &self.counts
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
struct Scribe {
    batches: Receiver<Box<Batch>>,
    told: Receiver<Order>,
    /// By shard: where emptied batches go.
    emptied: Vec<Sender<Box<Batch>>>,
    access: Writer,
    exporter: Exporter,
}

impl Scribe {
    fn run(mut self) {
        let mut vain = 0;
        loop {
            let came = self.write_what_has_come();
            vain = if came || self.access.has_pending() { 0 } else { vain + 1 };
            let order = match self.told.try_recv() {
                Ok(order) => Some(order),
                Err(_) if vain >= VAIN_LOOKS_MAX => self.wait(),
                Err(_) => {
                    self.access.wait(LOOK_EVERY_MS);
                    None
                }
            };
            match order {
                Some(Order::Configure(config, sink)) => {
                    // What has come was recorded under the one before.
                    self.write_what_has_come();
                    self.access.configure(&config.access_log, sink, clock::now());
                    self.exporter.configure(config.collector());
                }
                Some(Order::Reopen(sink, done)) => {
                    self.access.flush(clock::now());
                    self.access.replace(sink);
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
                Some(Order::End) => return self.end(),
                None => {}
            }
        }
    }

    /// Whether anything has.
    fn write_what_has_come(&mut self) -> bool {
        let unix_us_at_zero = clock::unix_us().saturating_sub(clock::now().as_us());
        let mut came = false;
        while let Ok(batch) = self.batches.try_recv() {
            self.write(batch, unix_us_at_zero);
            came = true;
        }
        let now = clock::now();
        self.access.flush(now);
        self.access.tell_dropped(now);
        came
    }

    /// Waits until something comes. If it is an order, returns it.
    fn wait(&mut self) -> Option<Order> {
        select! {
            recv(self.batches) -> batch => {
                match batch {
                    Ok(batch) => self.write(batch, clock::unix_us().saturating_sub(clock::now().as_us())),
                    // No shard is left; an order is still to come.
                    Err(_) => return self.told.recv().ok(),
                }
                None
            }
            recv(self.told) -> order => order.ok(),
        }
    }

    fn write(&mut self, mut batch: Box<Batch>, unix_us_at_zero: u64) {
        self.exporter.take(&batch.entries, &batch.texts);
        self.access.add(&batch, unix_us_at_zero, clock::now());
        batch.entries.clear();
        batch.texts.clear();
        let shard = usize::from(batch.shard);
        // Full: there are enough of them.
        let _ = self.emptied[shard].try_send(batch);
    }

    /// The last lines; a sink that takes none is not waited for long.
    fn end(mut self) {
        self.write_what_has_come();
        let until: Instant = clock::now() + LAST_LINES_WITHIN;
        while self.access.has_pending() && clock::now() < until {
            self.access.wait(LOOK_EVERY_MS);
            self.access.flush(clock::now());
        }
        self.access.end(clock::now());
        self.exporter.end();
    }
}
