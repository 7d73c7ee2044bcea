//! The thread `weir-otlp`, and the journal's handle to it.
//!
//! The thread is there while the configuration names a collector. Whoever hands spans over never waits for
//! it; it never waits for anything else while a request is under way, so what waits is in its pile, whose
//! bound holds.

use super::counts::{Cause, SpanCounts};
use super::pile::{Body, Pile, again_after};
use super::post::{Posted, post};
use super::span;
use crate::config::Collector;
use crate::log::record::Entry;
use crate::sys::{clock, random};
use crate::time::{Instant, Micros};
use crate::trace::{Dice, Mint};
use hyper::body::Bytes;
use serde_json::json;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Batches that may wait to be taken. The thread does little else.
const BATCHES_MAX: usize = 32;

/// How long the last spans may take, and how long the end waits for them.
const LAST_WITHIN: Duration = Duration::from_millis(1_500);
const END_WITHIN: Micros = Micros::from_s(2);

/// Between two lines in the log about the collector.
const TELL_EVERY: Micros = Micros::from_s(60);

/// Exchanges of one batch that are to be told.
struct Told {
    entries: Vec<Entry>,
    texts: Vec<u8>,
}

/// The journal's handle.
pub(in crate::log) struct Exporter {
    counts: Arc<SpanCounts>,
    running: Option<Running>,
}

struct Running {
    queue: Sender<Told>,
    collector: watch::Sender<Arc<Collector>>,
    thread: JoinHandle<()>,
}

impl Exporter {
    /// One that tells nobody anything yet.
    pub(in crate::log) fn new(counts: Arc<SpanCounts>) -> Self {
        Self { counts, running: None }
    }

    /// Tells this collector from now on; `None`: nobody.
    pub(in crate::log) fn configure(&mut self, collector: Option<&Collector>) {
        let Some(collector) = collector else {
            // The thread sends what it has, and ends.
            self.running = None;
            return;
        };
        let collector = Arc::new(collector.clone());
        match &self.running {
            Some(running) => drop(running.collector.send_replace(collector)),
            None => match Running::start(collector, self.counts.clone()) {
                Ok(running) => self.running = Some(running),
                Err(error) => tracing::error!(%error, "no thread, so traces are told to nobody"),
            },
        }
    }

    /// Takes what is to be told of these exchanges.
    pub(in crate::log) fn take(&self, entries: &[Entry], texts: &[u8]) {
        let mut told = Told { entries: Vec::new(), texts: Vec::new() };
        for entry in entries.iter().filter(|entry| entry.span) {
            told.entries.push(entry.copied(texts, &mut told.texts));
        }
        let spans = told.entries.len();
        if spans == 0 {
            return;
        }
        let Some(running) = &self.running else { return self.counts.lose(Cause::Ended, spans) };
        if running.queue.try_send(told).is_err() {
            self.counts.lose(Cause::QueueFull, spans);
        }
    }

    /// Waits until the last spans have been sent, or for two seconds.
    pub(in crate::log) fn end(&mut self) {
        let Some(Running { queue, collector, thread }) = self.running.take() else { return };
        drop((queue, collector));
        let until = clock::now() + END_WITHIN;
        while !thread.is_finished() && clock::now() < until {
            #[allow(
                clippy::disallowed_methods,
                reason = "the process ends, and the journal's thread is its own"
            )]
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Running {
    fn start(collector: Arc<Collector>, counts: Arc<SpanCounts>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (queue, told) = channel(BATCHES_MAX);
        let (collector, followed) = watch::channel(collector);
        let thread = thread::Builder::new().name("weir-otlp".to_owned()).spawn(move || {
            runtime.block_on(Teller::new(followed, counts).run(told));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { queue, collector, thread })
    }
}

/// A body under way.
struct Carried {
    bytes: Bytes,
    spans: usize,
    tries: u32,
    /// When this try begins, or began.
    begins: Instant,
}

type Posting = Pin<Box<dyn Future<Output = Posted>>>;

/// The thread's own.
struct Teller {
    collector: watch::Receiver<Arc<Collector>>,
    counts: Arc<SpanCounts>,
    pile: Pile,
    /// What stands before the spans of a request.
    head: Vec<u8>,
    dice: Dice,
    scratch: Vec<u8>,
    carried: Option<Carried>,
    /// When a line in the log may say again that spans do not arrive; `None`: they do.
    troubled: Option<Instant>,
}

/// What stands behind the spans.
const TAIL: &[u8] = b"]}]}]}";

impl Teller {
    fn new(collector: watch::Receiver<Arc<Collector>>, counts: Arc<SpanCounts>) -> Self {
        let mut dice = Dice::new(random::seed());
        let head = head(&mut dice);
        let (pile, scratch) = (Pile::default(), Vec::new());
        Self { collector, counts, pile, head, dice, scratch, carried: None, troubled: None }
    }

    async fn run(mut self, mut told: Receiver<Told>) {
        let mut posting: Option<Posting> = None;
        loop {
            let now = clock::now();
            if posting.is_none()
                && let Some(body) = self.pile.take(now, false)
            {
                posting = Some(self.carry(body));
            }
            let until_due = self.pile.due().since(now);
            tokio::select! {
                came = told.recv() => match came {
                    Some(told) => self.add(&told),
                    None => break,
                },
                posted = ready(&mut posting) => posting = self.posted(posted),
                () = sleep(until_due.as_duration()), if posting.is_none() && self.pile.due() < Instant::NEVER => {}
            }
        }
        // One that waits for another try has it now; one that is under way goes on, or it would arrive twice.
        let is_under_way = self.carried.as_ref().is_some_and(|carried| clock::now() >= carried.begins);
        let posting = posting.filter(|_| is_under_way);
        let _ = timeout(LAST_WITHIN, self.send_last(posting)).await;
        let carried = self.carried.as_ref().map_or(0, |carried| carried.spans);
        let mut left = carried;
        while let Some(body) = self.pile.take(Instant::NEVER, true) {
            left += body.spans;
        }
        self.counts.lose(Cause::Ended, left);
    }

    /// Makes spans.
    fn add(&mut self, told: &Told) {
        let now = clock::now();
        let unix_us_at_zero = clock::unix_us().saturating_sub(now.as_us());
        for entry in &told.entries {
            let Some(context) = &entry.trace else { continue };
            self.scratch.clear();
            let written = span::write(entry, context, &told.texts, unix_us_at_zero, &mut self.scratch);
            if written.is_err() || !self.pile.add(&self.scratch, now) {
                self.counts.lose(Cause::QueueFull, 1);
            }
        }
    }

    /// A body's first try.
    fn carry(&mut self, body: Body) -> Posting {
        let bytes = Bytes::from([&self.head, body.json.as_slice(), TAIL].concat());
        let carried =
            self.carried.insert(Carried { bytes, spans: body.spans, tries: 1, begins: clock::now() });
        after(Duration::ZERO, self.collector.clone(), carried.bytes.clone())
    }

    /// What became of it; another try, if there is one.
    fn posted(&mut self, posted: Posted) -> Option<Posting> {
        let mut carried = self.carried.take()?;
        match posted {
            Posted::Taken { rejected, why } => {
                let rejected = rejected.min(carried.spans);
                self.counts.take(carried.spans - rejected);
                if rejected > 0 {
                    self.counts.lose(Cause::Refused, rejected);
                    self.tell(&why);
                } else if self.troubled.take().is_some() {
                    tracing::info!(collector = %**self.collector.borrow(), "traces reach the collector again");
                }
                None
            }
            Posted::Refused { why } => {
                self.counts.lose(Cause::Refused, carried.spans);
                self.tell(&why);
                None
            }
            Posted::Again { after: asked, answered, why } => {
                self.tell(&why);
                let Some(wait) = again_after(carried.tries, asked, self.dice.draw()) else {
                    let cause = if answered { Cause::Refused } else { Cause::Unreachable };
                    self.counts.lose(cause, carried.spans);
                    return None;
                };
                carried.tries += 1;
                carried.begins = clock::now() + Micros::from_us(wait.as_micros() as u64);
                let carried = self.carried.insert(carried);
                Some(after(wait, self.collector.clone(), carried.bytes.clone()))
            }
        }
    }

    /// Sends what there is, each body once more at most.
    async fn send_last(&mut self, under_way: Option<Posting>) {
        if let Some(posting) = under_way {
            let posted = posting.await;
            drop(self.posted(posted));
        }
        loop {
            if self.carried.is_none() {
                let Some(body) = self.pile.take(Instant::NEVER, true) else { return };
                drop(self.carry(body));
            }
            let Some(bytes) = self.carried.as_ref().map(|carried| carried.bytes.clone()) else { return };
            let collector = self.collector.borrow().clone();
            let posted = post(&collector, bytes).await;
            let in_vain = matches!(posted, Posted::Again { .. });
            drop(self.posted(posted));
            if in_vain {
                return;
            }
        }
    }

    /// Says that spans do not arrive, once a minute at most.
    fn tell(&mut self, why: &str) {
        let now = clock::now();
        if self.troubled.is_none_or(|until| now >= until) {
            self.troubled = Some(now + TELL_EVERY);
            let dropped: u64 = Cause::ALL.iter().map(|cause| self.counts.dropped(*cause)).sum();
            tracing::warn!(
                collector = %**self.collector.borrow(), dropped, "traces do not reach the collector: {why}"
            );
        }
    }
}

/// Sends `bytes` after a while, to the collector that there is then.
fn after(wait: Duration, collector: watch::Receiver<Arc<Collector>>, bytes: Bytes) -> Posting {
    Box::pin(async move {
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let collector = collector.borrow().clone();
        post(&collector, bytes).await
    })
}

/// Ready when what is under way is; never, if there is nothing.
async fn ready(posting: &mut Option<Posting>) -> Posted {
    match posting {
        Some(posting) => posting.await,
        None => pending().await,
    }
}

/// What stands before the spans of a request: who tells of them.
fn head(dice: &mut Dice) -> Vec<u8> {
    let instance = Mint::default().make(clock::unix_us() / 1_000, dice).text();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let attributes = [
        ("service.name", "weir"),
        ("service.version", version),
        ("service.instance.id", &String::from_utf8_lossy(&instance)),
        ("host.name", host.trim()),
    ]
    .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }));
    let (resource, scope) =
        (json!({ "attributes": attributes }), json!({ "name": "weir", "version": version }));
    format!(r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"scope":{scope},"spans":["#)
        .into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_spans_between_its_ends_is_json() {
        let head = head(&mut Dice::new([1; 4]));
        let body = [&head, b"1,2".as_slice(), TAIL].concat();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let scope = &json["resourceSpans"][0]["scopeSpans"][0];
        assert_eq!((&scope["spans"], &scope["scope"]["name"]), (&json!([1, 2]), &json!("weir")));
        let attributes = json["resourceSpans"][0]["resource"]["attributes"].as_array().unwrap();
        assert!(
            attributes.iter().all(|one| !one["value"]["stringValue"].as_str().unwrap().is_empty()),
            "{json}"
        );
    }
}
