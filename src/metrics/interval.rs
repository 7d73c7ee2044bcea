//! What was recorded in a stretch of time: counters and lengths of each backend, lengths of all together.
//!
//! [`super::Totals`] keeps one beside its sums, of all that came since it was last cleared, so that rates and
//! percentiles of the last second are exact and nothing has to be subtracted. [`super::History`] adds several
//! up. Of a backend only the whole exchanges' lengths are kept, and those of the other phases for all together:
//! 13 KiB a backend that has traffic. Arithmetic only: when to clear is `control`'s to say.

use super::Series;
use super::labels::Phase;
use super::stats::{BackendStats, CLASSES, RingCounters, ShardStats};
use crate::balance::BackendId;
use crate::time::{Instant, Micros};

/// The classes that count as errors: 5xx, and what is no status below 600.
const ERRORS_FROM: usize = CLASSES.len() - 2;

/// How often attempts at backends ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Answers passed on.
    pub answers: u64,
    /// Of those, with a status of 500 and more.
    pub errors: u64,
    /// Attempts that failed.
    pub failures: u64,
}

/// What came of one backend's exchanges.
#[derive(Clone, Debug, Default)]
pub(super) struct BackendInterval {
    pub(super) ends: Ends,
    pub(super) whole: Series<u32>,
}

/// What a shard's loop did.
#[derive(Clone, Debug, Default)]
struct ShardInterval {
    /// The ring's counters when this began, and when that was.
    before: RingCounters,
    since: Instant,
    /// The counters now; `None`: the shard has not said since.
    now: Option<RingCounters>,
    stall: Series<u32>,
    view_age: Series<u32>,
}

/// What was recorded since it was last cleared.
#[derive(Debug)]
pub struct Interval {
    backends: Vec<BackendInterval>,
    /// Of all backends, those too that are gone meanwhile.
    ends: Ends,
    phases: [Series<u32>; Phase::ALL.len()],
    refused: u64,
    shards: Vec<ShardInterval>,
}

/// The usual marks of a distribution; `None`: nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Half of all took no longer.
    pub p50: Option<Micros>,
    /// Nine of ten.
    pub p90: Option<Micros>,
    /// 99 of a hundred.
    pub p99: Option<Micros>,
    /// 999 of a thousand.
    pub p99_9: Option<Micros>,
}

/// How often something came, how much of it failed, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Answers passed on, a second.
    pub requests_per_s: f64,
    /// Share of attempts that failed or were answered with 500 and more, 0 to 1.
    pub error_share: f64,
    /// In flight at the end.
    pub in_flight: u32,
    /// Of whole exchanges.
    pub whole: Marks,
}

/// How a shard's loop fared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShardFigures {
    /// Share of the time in which it did not sleep, 0 to 1.
    pub load: f64,
    /// Turns of its loop, a second.
    pub turns_per_s: f64,
    /// Completions a turn, in the mean.
    pub completions_per_turn: f64,
    /// How long what completed may have waited for the loop.
    pub stall: Marks,
    /// Age of its view of the others' counts at a pick.
    pub view_age: Marks,
}

/// What an interval comes to, in numbers for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recent {
    /// Its end.
    pub at: Instant,
    /// Its length.
    pub length: Micros,
    /// All backends together.
    pub total: Figures,
    /// Requests that weir answered by itself or gave up, a second.
    pub refusals_per_s: f64,
    /// The phases of all exchanges.
    pub phases: Vec<(Phase, Marks)>,
    /// By the backends' numbers.
    pub backends: Vec<Figures>,
    /// By the shards' numbers.
    pub shards: Vec<ShardFigures>,
}

impl Ends {
    /// Whether nothing ended.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn of(part: &BackendStats) -> Self {
        Self {
            answers: part.classes.iter().sum(),
            errors: part.classes[ERRORS_FROM..].iter().sum(),
            failures: part.failures.iter().sum(),
        }
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.errors += other.errors;
        self.failures += other.failures;
    }

    /// What they come to in so long.
    pub(super) fn figures(&self, whole: &Series<u32>, length: Micros, in_flight: u32) -> Figures {
        let attempts = self.answers + self.failures;
        let wrong = self.errors + self.failures;
        Figures {
            requests_per_s: a_second(self.answers, length),
            error_share: if attempts == 0 { 0.0 } else { wrong as f64 / attempts as f64 },
            in_flight,
            whole: Marks::of(whole),
        }
    }
}

impl Marks {
    /// Of a series.
    pub fn of(series: &Series<u32>) -> Self {
        let at = |quantile| (series.count() > 0).then(|| series.quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999) }
    }
}

impl BackendInterval {
    /// Whether nothing was recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_none() && self.whole.count() == 0
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.ends.add(other.ends);
        self.whole.add_alike(&other.whole);
    }

    fn clear(&mut self) {
        self.ends = Ends::default();
        self.whole.clear();
    }
}

impl Interval {
    /// Nothing yet, of so many backends and shards.
    pub fn new(backends: usize, shards: usize) -> Self {
        Self {
            backends: (0..backends).map(|_| BackendInterval::default()).collect(),
            ends: Ends::default(),
            phases: Default::default(),
            refused: 0,
            shards: (0..shards).map(|_| ShardInterval::default()).collect(),
        }
    }

    /// Room for so many backends from now on.
    pub(super) fn grow(&mut self, backends: usize) {
        if backends > self.backends.len() {
            self.backends.resize_with(backends, BackendInterval::default);
        }
    }

    /// Takes in what a shard recorded of a backend, and adds its lengths to `totals` as well.
    pub(super) fn absorb_backend(
        &mut self,
        id: usize,
        part: &BackendStats,
        totals: &mut [Series<u64>; Phase::ALL.len()],
    ) {
        let backend = &mut self.backends[id];
        let ends = Ends::of(part);
        backend.ends.add(ends);
        self.ends.add(ends);
        for phase in Phase::ALL {
            let (part, all) = (&part.phases[*phase as usize], &mut self.phases[*phase as usize]);
            if part.count() == 0 {
                continue;
            }
            let total = &mut totals[*phase as usize];
            for (length_us, count) in part.recorded() {
                total.add_piece(length_us, count.into());
                all.add_piece(length_us, count);
                if *phase == Phase::Whole {
                    backend.whole.add_piece(length_us, count);
                }
            }
            total.add_sum(part);
        }
    }

    /// Takes in what a shard recorded of itself.
    pub(super) fn absorb_shard(&mut self, shard: u16, part: &ShardStats) {
        self.refused += part.refusals.iter().map(|(_, _, count)| count).sum::<u64>();
        let shard = &mut self.shards[usize::from(shard)];
        shard.now = Some(part.ring);
        shard.stall.add_alike(&part.stall);
        shard.view_age.add_alike(&part.view_age);
    }

    /// Adds what another recorded of backends and phases.
    pub(super) fn add(&mut self, other: &Self) {
        self.grow(other.backends.len());
        for (sum, part) in self.backends.iter_mut().zip(&other.backends) {
            if !part.is_empty() {
                sum.add(part);
            }
        }
        self.ends.add(other.ends);
        self.phases.iter_mut().zip(&other.phases).for_each(|(sum, part)| sum.add_alike(part));
        self.refused += other.refused;
    }

    /// Whether no backend had anything to do.
    pub fn is_empty(&self) -> bool {
        self.ends.is_none() && self.phases.iter().all(|phase| phase.count() == 0)
    }

    /// Forgets everything: the next begins `now`.
    pub fn clear(&mut self, now: Instant) {
        self.backends.iter_mut().filter(|backend| !backend.is_empty()).for_each(BackendInterval::clear);
        self.ends = Ends::default();
        self.phases.iter_mut().for_each(Series::clear);
        self.refused = 0;
        for shard in &mut self.shards {
            if let Some(counters) = shard.now.take() {
                (shard.before, shard.since) = (counters, now);
            }
            shard.stall.clear();
            shard.view_age.clear();
        }
    }

    /// Takes out what a backend recorded whose number is given to another. It stays in what all came to.
    pub(super) fn take(&mut self, id: BackendId) -> Option<BackendInterval> {
        let taken = std::mem::take(self.backends.get_mut(id.0 as usize)?);
        (!taken.is_empty()).then_some(taken)
    }

    /// One backend's part.
    pub(super) fn backend(&self, id: usize) -> Option<&BackendInterval> {
        self.backends.get(id)
    }

    /// Backends that there is room for.
    pub(super) fn len(&self) -> usize {
        self.backends.len()
    }

    /// The lengths of one phase, of all backends together.
    pub fn phase(&self, phase: Phase) -> &Series<u32> {
        &self.phases[phase as usize]
    }

    /// What came of all backends' exchanges.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// What it comes to, if it began `length` ago and so much is in flight by backend.
    pub fn recent(&self, now: Instant, length: Micros, in_flight: &[u32]) -> Recent {
        let of = |id: usize| in_flight.get(id).copied().unwrap_or(0);
        let backends = self.backends.iter().enumerate();
        let all = in_flight.iter().fold(0u32, |sum, count| sum.saturating_add(*count));
        Recent {
            at: now,
            length,
            total: self.ends.figures(self.phase(Phase::Whole), length, all),
            refusals_per_s: a_second(self.refused, length),
            phases: Phase::ALL.iter().map(|phase| (*phase, Marks::of(self.phase(*phase)))).collect(),
            backends: backends.map(|(id, part)| part.ends.figures(&part.whole, length, of(id))).collect(),
            shards: self.shards.iter().map(|shard| shard.figures(now)).collect(),
        }
    }
}

impl ShardInterval {
    /// One that has not said anything did not sleep, as far as anybody knows.
    fn figures(&self, now: Instant) -> ShardFigures {
        let (stall, view_age) = (Marks::of(&self.stall), Marks::of(&self.view_age));
        let Some(counters) = self.now else {
            return ShardFigures { load: 1.0, stall, view_age, ..ShardFigures::default() };
        };
        let length = now.since(self.since);
        let turns = counters.turns.saturating_sub(self.before.turns);
        let completions = counters.completions.saturating_sub(self.before.completions);
        let slept = counters.parked_us.saturating_sub(self.before.parked_us) as f64;
        ShardFigures {
            load: (1.0 - slept / length.as_us().max(1) as f64).clamp(0.0, 1.0),
            turns_per_s: a_second(turns, length),
            completions_per_turn: if turns == 0 { 0.0 } else { completions as f64 / turns as f64 },
            stall,
            view_age,
        }
    }
}

fn a_second(count: u64, length: Micros) -> f64 {
    if length.is_zero() { 0.0 } else { count as f64 * 1e6 / length.as_us() as f64 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Refusal, Totals, UpstreamFailure};
    use super::*;

    fn s(seconds: u64) -> Instant {
        Instant::from_us(1_000_000 * seconds)
    }

    #[test]
    fn figures_are_of_what_came_since_the_last_clearing_alone() {
        let mut totals = Totals::new(2, 1);
        let mut stats = ShardStats::new(2);
        (0..1_000).for_each(|_| stats.answered(BackendId(0), 200));
        (0..1_000).for_each(|_| stats.record(BackendId(0), Phase::Whole, Micros::from_s(9)));
        totals.absorb(0, &stats);
        totals.recent_mut().clear(s(1));
        stats.clear();
        for (id, status, ms) in [(0, 200, 1), (0, 200, 2), (0, 503, 3), (1, 404, 4)] {
            stats.answered(BackendId(id), status);
            stats.record(BackendId(id), Phase::Whole, Micros::from_ms(ms));
            stats.record(BackendId(id), Phase::Own, Micros::from_us(20));
        }
        stats.failed(BackendId(0), UpstreamFailure::Connect);
        stats.refused(404, Refusal::NoRoute);
        totals.absorb(0, &stats);
        let recent = totals.recent().recent(s(3), Micros::from_s(2), &[7, 0]);
        let (first, second) = (recent.backends[0], recent.backends[1]);
        assert_eq!(
            (first.requests_per_s, second.requests_per_s, recent.total.requests_per_s),
            (1.5, 0.5, 2.0)
        );
        assert_eq!((first.error_share, second.error_share, recent.total.error_share), (0.5, 0.0, 0.4));
        assert_eq!((first.in_flight, second.in_flight, recent.total.in_flight), (7, 0, 7));
        assert_eq!(recent.refusals_per_s, 0.5);
        let near =
            |mark: Option<Micros>, ms: u64| (mark.unwrap().as_us() as f64 / ms as f64 - 1e3).abs() < 10.0;
        assert!(near(first.whole.p50, 2) && near(first.whole.p99_9, 3), "{first:?}");
        assert!(near(recent.total.whole.p99, 4), "{recent:?}");
        assert_eq!(recent.phases[Phase::Own as usize].1.p50, Some(Micros::from_us(20)));
        assert_eq!(recent.phases[Phase::Connect as usize].1, Marks::default());
        totals.recent_mut().clear(s(3));
        assert!(totals.recent().is_empty());
        let nothing = totals.recent().recent(s(4), Micros::from_s(1), &[]);
        assert_eq!((nothing.total, nothing.refusals_per_s), (Figures::default(), 0.0));
    }

    #[test]
    fn a_shards_load_is_the_time_that_it_did_not_sleep_since_it_last_said() {
        let mut totals = Totals::new(0, 1);
        let mut stats = ShardStats::new(0);
        let mut say = |totals: &mut Totals, turns, completions, parked_us| {
            stats.ring = RingCounters { turns, completions, parked_us, ..RingCounters::default() };
            totals.absorb(0, &stats);
        };
        say(&mut totals, 10, 5, 100_000);
        totals.recent_mut().clear(s(1));
        say(&mut totals, 110, 405, 850_000);
        let figures = totals.recent().recent(s(2), Micros::from_s(1), &[]).shards[0];
        assert_eq!((figures.load, figures.turns_per_s, figures.completions_per_turn), (0.25, 100.0, 4.0));
        totals.recent_mut().clear(s(2));
        let silent = totals.recent().recent(s(3), Micros::from_s(1), &[]).shards[0];
        assert_eq!(
            (silent.load, silent.turns_per_s),
            (1.0, 0.0),
            "it may well have slept, but does not say so"
        );
        totals.recent_mut().clear(s(3));
        say(&mut totals, 210, 605, 1_850_000);
        let figures = totals.recent().recent(s(4), Micros::from_s(1), &[]).shards[0];
        assert_eq!((figures.load, figures.turns_per_s), (0.5, 50.0), "of the two seconds since it last said");
    }
}
