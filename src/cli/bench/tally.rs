//! What became of the requests: answers by status class, failures by kind, and the three distributions.
//!
//! Here: [`Tally`], [`Failure`]. Not here: who measures (`lane`), and what is said of it (`report`). A thread
//! counts into a tally of its own, which the main thread takes away once a second and adds up.

use crate::time::{Instant, Micros};
use hdrhistogram::Histogram;

/// The longest length that is told from longer ones.
const LONGEST: Micros = Micros::from_s(3_600);

/// Why a request got no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Connect,
    Timeout,
    Reset,
    Closed,
    Cut,
    NotHttp,
    Unanswered,
}

impl Failure {
    pub(super) const ALL: [Self; 7] =
        [Self::Connect, Self::Timeout, Self::Reset, Self::Closed, Self::Cut, Self::NotHttp, Self::Unanswered];

    /// Its name in the report and in JSON.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Cut => "cut",
            Self::NotHttp => "not_http",
            Self::Unanswered => "unanswered",
        }
    }

    /// What happened.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Connect => "no connection could be made",
            Self::Timeout => "no whole answer within --timeout of being sent",
            Self::Reset => "the target reset the connection",
            Self::Closed => "the target ended the connection without an answer",
            Self::Cut => "the target ended the connection in the middle of an answer",
            Self::NotHttp => "what came back is not HTTP/1.1",
            Self::Unanswered => "not answered, or not even sent, when the run ended",
        }
    }

    /// Whether what it cost is known, if only at least: somebody waited that long. Of the others, which fail
    /// at once, the wait would make the target look fast.
    fn waits(self) -> bool {
        matches!(self, Self::Timeout | Self::Unanswered)
    }
}

/// When one request was due, was sent and was over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) due: Instant,
    /// When a connection took it; `None` if none did.
    pub(super) sent: Option<Instant>,
    pub(super) over: Instant,
}

/// What was counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Answers by the first digit of their status; at 0 those that have none from 1 to 5.
    pub(super) answered: [u64; 6],
    failures: [u64; Failure::ALL.len()],
    /// Of each kind of failure the first one's cause, as the system says it.
    causes: [Option<String>; Failure::ALL.len()],
    /// Requests that found no connection free when they were due.
    pub(super) queued: u64,
    /// Bytes of answers' bodies.
    pub(super) body_bytes: u64,
    /// From when a request was due until it was over, in µs: corrected for coordinated omission.
    pub(super) corrected: Histogram<u64>,
    /// From when a connection took it, in µs: what a client that waits for each answer would measure.
    pub(super) service: Histogram<u64>,
    /// How late the generator itself was with a request, in µs.
    pub(super) late: Histogram<u64>,
    /// When the last request was over.
    pub(super) last: Instant,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            answered: [0; 6],
            failures: [0; Failure::ALL.len()],
            causes: Default::default(),
            queued: 0,
            body_bytes: 0,
            corrected: histogram(),
            service: histogram(),
            late: histogram(),
            last: Instant::default(),
        }
    }
}

/// Three significant digits, from 1 µs to [`LONGEST`]: 184 KiB.
#[allow(clippy::expect_used)]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST.as_us(), 3)
        .expect("refused only if low is 0, high is under twice low, or digits are over 5")
}

impl Tally {
    /// Counts an answer with this status and a body of so many bytes.
    pub(super) fn answer(&mut self, status: u16, body_bytes: u64, times: Times) {
        let class = usize::from(status / 100);
        self.answered[if class < self.answered.len() { class } else { 0 }] += 1;
        self.body_bytes += body_bytes;
        self.record(times);
    }

    /// Counts a failure.
    pub(super) fn failure(&mut self, failure: Failure, cause: Option<String>, times: Times) {
        self.failures[failure as usize] += 1;
        let first = &mut self.causes[failure as usize];
        *first = first.take().or(cause);
        if failure.waits() {
            self.record(times);
        }
        self.last = self.last.max(times.over);
    }

    /// Counts how late the generator was with a request.
    pub(super) fn lateness(&mut self, length: Micros) {
        self.late.saturating_record(length.as_us());
    }

    fn record(&mut self, times: Times) {
        self.corrected.saturating_record((times.over - times.due).as_us());
        if let Some(sent) = times.sent {
            self.service.saturating_record((times.over - sent).as_us());
        }
        self.last = self.last.max(times.over);
    }

    /// Adds what another one counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.answered.iter_mut().zip(other.answered).for_each(|(sum, count)| *sum += count);
        self.failures.iter_mut().zip(other.failures).for_each(|(sum, count)| *sum += count);
        for (first, cause) in self.causes.iter_mut().zip(&other.causes) {
            *first = first.take().or_else(|| cause.clone());
        }
        self.queued += other.queued;
        self.body_bytes += other.body_bytes;
        for (sum, counted) in [
            (&mut self.corrected, &other.corrected),
            (&mut self.service, &other.service),
            (&mut self.late, &other.late),
        ] {
            // Refused only if the ranges differ, and all are made alike.
            let _ = sum.add(counted);
        }
        self.last = self.last.max(other.last);
    }

    /// How many were answered.
    pub(super) fn answers(&self) -> u64 {
        self.answered.iter().sum()
    }

    /// How many of a kind failed.
    pub(super) fn failed(&self, failure: Failure) -> u64 {
        self.failures[failure as usize]
    }

    /// The first cause of a kind of failure.
    pub(super) fn cause(&self, failure: Failure) -> Option<&str> {
        self.causes[failure as usize].as_deref()
    }

    /// How many got no whole answer.
    pub(super) fn errors(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// How many are over, one way or the other.
    pub(super) fn requests(&self) -> u64 {
        self.answers() + self.errors()
    }

    /// Whether all were answered, and none of them with a status from 400 up.
    pub(super) fn all_well(&self) -> bool {
        self.errors() == 0 && [0, 4, 5].iter().all(|class| self.answered[*class] == 0)
    }

    /// Whether what was measured is the generator and not the target: of a hundred requests one was late by
    /// more than a millisecond by the generator's own fault, and that is a good part of what is reported.
    pub(super) fn is_generators_own(&self) -> bool {
        let (late, whole) = (self.late.value_at_quantile(0.99), self.corrected.value_at_quantile(0.99));
        late > 1_000 && late > whole / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(due: u64, sent: Option<u64>, over: u64) -> Times {
        let at = Instant::from_us;
        Times { due: at(due), sent: sent.map(at), over: at(over) }
    }

    #[test]
    fn every_failure_stands_at_its_place_under_a_word_of_its_own() {
        for (at, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, at);
            assert_eq!(Failure::ALL.iter().filter(|other| other.word() == failure.word()).count(), 1);
        }
    }

    #[test]
    fn a_wait_counts_from_when_it_was_due_and_beside_that_from_when_it_was_sent() {
        let mut tally = Tally::default();
        tally.answer(200, 10, times(1_000, Some(901_000), 902_000));
        assert_eq!((tally.corrected.max() / 1_000, tally.service.max() / 100), (901, 10));
        assert_eq!((tally.answers(), tally.body_bytes, tally.last), (1, 10, Instant::from_us(902_000)));
    }

    #[test]
    fn who_was_given_up_has_waited_and_who_failed_at_once_does_not_count_as_fast() {
        let mut tally = Tally::default();
        tally.failure(Failure::Timeout, None, times(0, Some(10), 500_010));
        tally.failure(Failure::Unanswered, None, times(0, None, 500_010));
        tally.failure(Failure::Connect, Some("refused".into()), times(0, Some(10), 20));
        tally.failure(Failure::Connect, Some("later".into()), times(0, Some(10), 20));
        assert_eq!((tally.corrected.len(), tally.service.len()), (2, 1));
        assert_eq!((tally.errors(), tally.failed(Failure::Connect)), (4, 2));
        assert_eq!(tally.cause(Failure::Connect), Some("refused"));
    }

    #[test]
    fn sums_keep_every_count() {
        let (mut sum, mut other) = (Tally::default(), Tally::default());
        sum.answer(204, 1, times(0, Some(0), 5));
        other.answer(503, 2, times(0, Some(0), 9));
        other.answer(999, 0, times(0, Some(0), 9));
        other.failure(Failure::Reset, Some("why".into()), times(0, Some(0), 50));
        other.queued = 3;
        other.lateness(Micros::from_us(7));
        sum.add(&other);
        assert_eq!(sum.answered, [1, 0, 1, 0, 0, 1]);
        assert_eq!((sum.requests(), sum.queued, sum.body_bytes, sum.late.len()), (4, 3, 3, 1));
        assert_eq!((sum.cause(Failure::Reset), sum.last), (Some("why"), Instant::from_us(50)));
        assert!(!sum.all_well());
    }

    #[test]
    fn the_generator_is_blamed_only_for_what_shows() {
        let tally = |late_us: u64, whole_us: u64| {
            let mut tally = Tally::default();
            (0..100).for_each(|_| tally.answer(200, 0, times(0, Some(0), whole_us)));
            (0..98).for_each(|_| tally.lateness(Micros::from_us(10)));
            (0..2).for_each(|_| tally.lateness(Micros::from_us(late_us)));
            tally
        };
        for (late_us, whole_us, own) in
            [(900, 950, false), (2_000, 3_000, true), (2_000, 100_000, false), (60_000, 100_000, true)]
        {
            assert_eq!(tally(late_us, whole_us).is_generators_own(), own, "{late_us} of {whole_us}");
        }
    }
}
