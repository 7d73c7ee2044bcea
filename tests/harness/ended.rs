//! How the requests of a load ended: what a test asks about them afterwards.
//!
//! Only data. Made by `open_loop.rs`.

use super::ticket::Ticket;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With its right answer, whole.
    Right,
    /// With an answer of weir's own, which says why.
    Refused(u16, String),
    /// With a backend's error, which was meant for it.
    Failed(u16),
    /// With something that it ought not to have got.
    Wrong(String),
    /// Its answer began and broke off.
    Cut(String),
    /// Its connection ended before a byte of an answer.
    Lost(String),
    /// There was no connection for it.
    Unconnected(String),
    /// There was no end to it within the patience.
    TimedOut,
}

impl End {
    /// The end in a word, weir's answers with their status.
    pub fn word(&self) -> String {
        match self {
            Self::Right => "right".to_owned(),
            Self::Refused(status, _) => format!("refused {status}"),
            Self::Failed(status) => format!("failed {status}"),
            Self::Wrong(_) => "wrong".to_owned(),
            Self::Cut(_) => "cut".to_owned(),
            Self::Lost(_) => "lost".to_owned(),
            Self::Unconnected(_) => "unconnected".to_owned(),
            Self::TimedOut => "timed out".to_owned(),
        }
    }
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct Record {
    pub ticket: Ticket,
    /// When it ought to have been sent.
    pub due: Instant,
    /// From then to its end.
    pub took: Duration,
    /// It had a connection of its own.
    pub fresh: bool,
    /// Which backend says that it answered.
    pub backend: Option<String>,
    pub end: End,
}

impl Record {
    /// When it ended.
    pub fn ended(&self) -> Instant {
        self.due + self.took
    }
}

/// Requests that have ended, in the order of their ends.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub records: Vec<Record>,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that weir ended while they were idle, without having said so.
    pub closed_idle: u64,
}

impl Ended {
    /// Those for which `which` holds.
    pub fn only(&self, which: impl Fn(&Record) -> bool) -> Self {
        let records = self.records.iter().filter(|record| which(record)).cloned().collect();
        Self { records, ..*self }
    }

    /// Those that were due from `from` on and before `to`.
    pub fn due(&self, from: Instant, to: Instant) -> Self {
        self.only(|record| record.due >= from && record.due < to)
    }

    /// How many ended in each way.
    pub fn words(&self) -> BTreeMap<String, usize> {
        let mut words = BTreeMap::new();
        for record in &self.records {
            *words.entry(record.end.word()).or_default() += 1;
        }
        words
    }

    /// How many of them `which` holds for.
    pub fn count(&self, which: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| which(record)).count()
    }

    /// The latency that this share of them had at most; zero if there are none.
    pub fn latency(&self, share: f64) -> Duration {
        let mut all: Vec<Duration> = self.records.iter().map(|record| record.took).collect();
        all.sort_unstable();
        let place = (all.len() as f64 * share).ceil() as usize;
        all.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The share of them that this backend answered.
    pub fn share_of(&self, backend: &str) -> f64 {
        self.count(|record| record.backend.as_deref() == Some(backend)) as f64
            / self.records.len().max(1) as f64
    }
}
