//! The totals of all backends together, for people: what `/stats` shows.
//!
//! `/metrics` has everything by backend and leaves the adding to Prometheus; whoever looks by `weir ctl
//! stats` has none at hand.

use super::Series;
use super::labels::{Phase, UpstreamFailure};
use super::stats::CLASSES;
use super::totals::{BackendTotals, ShardTotals, Totals};

/// All backends' and shards' totals, added up, those of backends that are no more too.
#[derive(Debug, Default)]
pub struct Summary {
    /// Answers passed on, by the status's class, in the classes' order; all are listed.
    pub classes: Vec<(&'static str, u64)>,
    /// Attempts that failed, by what failed them; only what happened.
    pub failures: Vec<(&'static str, u64)>,
    /// Requests that weir answered by itself or gave up, by cause and status (0: none).
    pub refusals: Vec<(&'static str, u16, u64)>,
    /// Requests sent elsewhere after a failure.
    pub retries: u64,
    /// Retries that the pools' budgets had none left for.
    pub retries_denied: u64,
    /// New connections made to backends.
    pub connects: u64,
    /// Body bytes from clients to backends.
    pub bytes_in: u64,
    /// Body bytes from backends to clients.
    pub bytes_out: u64,
    /// Connections accepted from clients.
    pub accepted: u64,
    /// Connections with clients, when last asked.
    pub connections: u64,
    /// Lengths of the phases of all exchanges.
    pub phases: Vec<(Phase, Series<u64>)>,
    /// The longest that each completion may have waited for its shard's loop.
    pub stall: Series<u64>,
    /// The longest that each accepted connection may have waited for it.
    pub accept_delay: Series<u64>,
}

impl Totals {
    /// Everything added up. Adds histograms of thousands of counters for each backend: for a page, not
    /// for a loop.
    pub fn summary(&self) -> Summary {
        let all = || self.backends.iter().chain([&self.former]);
        let sum = |count: &dyn Fn(&BackendTotals) -> u64| all().map(count).sum::<u64>();
        let of_class = |(at, class): (usize, &&'static str)| (*class, sum(&|backend| backend.classes[at]));
        let of_cause =
            |cause: &UpstreamFailure| (cause.label(), sum(&|backend| backend.failures[*cause as usize]));
        let of_phase = |phase: &Phase| {
            let mut lengths = Series::<u64>::default();
            all().for_each(|backend| lengths.add(backend.phase(*phase)));
            (*phase, lengths)
        };
        Summary {
            classes: CLASSES.iter().enumerate().map(of_class).collect(),
            failures: UpstreamFailure::ALL.iter().map(of_cause).filter(|(_, count)| *count > 0).collect(),
            refusals: self
                .refusals
                .iter()
                .map(|((cause, status), count)| (*cause, *status, *count))
                .collect(),
            retries: sum(&|backend| backend.retries),
            retries_denied: sum(&|backend| backend.retries_denied),
            connects: sum(&|backend| backend.connects),
            bytes_in: sum(&|backend| backend.bytes_in),
            bytes_out: sum(&|backend| backend.bytes_out),
            accepted: self.shards.iter().map(|shard| shard.accepted).sum(),
            connections: self.shards.iter().map(|shard| u64::from(shard.connections)).sum(),
            phases: Phase::ALL.iter().map(of_phase).collect(),
            stall: self.of_shards(|shard| &shard.stall),
            accept_delay: self.of_shards(|shard| &shard.accept_delay),
        }
    }

    /// One kind of lengths, of all shards.
    fn of_shards(&self, of: fn(&ShardTotals) -> &Series<u64>) -> Series<u64> {
        let mut lengths = Series::default();
        self.shards.iter().for_each(|shard| lengths.add(of(shard)));
        lengths
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Refusal, ShardStats};
    use super::*;
    use crate::balance::BackendId;
    use crate::time::Micros;

    #[test]
    fn a_summary_adds_up_all_backends_former_ones_too_and_all_shards() {
        let mut totals = Totals::new(2, 2);
        for shard in 0..2u16 {
            let mut stats = ShardStats::new(2);
            stats.accepted(Some(Micros::from_ms(4)));
            stats.handled(5, Micros::from_us(70));
            stats.set_connections(3, 1);
            for id in [BackendId(0), BackendId(1)] {
                stats.answered(id, 200);
                stats.answered(id, 503);
                stats.failed(id, UpstreamFailure::Connect);
                stats.retried(id);
                stats.retry_denied(id);
                stats.passed(id, 10, 20);
                stats.record(id, Phase::Whole, Micros::from_ms(1 + u64::from(id.0)));
            }
            stats.refused(404, Refusal::NoRoute);
            totals.absorb(shard, &stats);
        }
        totals.reset(BackendId(1), Some("app"));
        assert_eq!(totals.backend(BackendId(1)).unwrap().requests(), 0);
        let summary = totals.summary();
        let classes: Vec<_> = summary.classes.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(classes, [("2xx", 4), ("5xx", 4)]);
        assert_eq!(summary.failures, [("connect", 4)]);
        assert_eq!(summary.refusals, [("no_route", 404, 2)]);
        assert_eq!((summary.retries, summary.retries_denied), (4, 4));
        assert_eq!((summary.bytes_in, summary.bytes_out), (40, 80));
        assert_eq!((summary.accepted, summary.connections), (2, 6));
        let (_, whole) = summary.phases.iter().find(|(phase, _)| *phase == Phase::Whole).unwrap();
        assert_eq!((whole.count(), whole.sum()), (4, Micros::from_ms(6)));
        assert_eq!((summary.stall.count(), summary.stall.sum()), (10, Micros::from_us(700)));
        assert_eq!((summary.accept_delay.count(), summary.accept_delay.sum()), (2, Micros::from_ms(8)));
        assert!((1_980..=2_020).contains(&whole.quantile(0.99).as_us()));
    }
}
