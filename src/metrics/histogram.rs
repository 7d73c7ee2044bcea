//! A latency distribution: an HDR histogram and the exact sum beside it.
//!
//! Two significant digits from 1 µs to 1 h: every value is known to 1 %, in 3,328 counters. As a shard
//! records with 32-bit counters that is 13 KiB a series, of which a steady load touches a few cache
//! lines; totals count in 64 bits. Used by [`super::ShardStats`] and [`super::Totals`].

use crate::time::Micros;
use hdrhistogram::{Counter, Histogram};

/// The longest length that is told from longer ones.
pub const LONGEST: Micros = Micros::from_s(3_600);

/// Recorded lengths of one kind.
#[derive(Clone, Debug)]
pub struct Series<T: Counter> {
    histogram: Histogram<T>,
    /// In µs, exact: the histogram alone would know the sum to 1 %.
    sum_us: u64,
}

impl<T: Counter> Default for Series<T> {
    #[allow(clippy::expect_used)]
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_us(), 2)
            .expect("refused only if low is 0, high is under twice low, or digits are over 5");
        Self { histogram, sum_us: 0 }
    }
}

impl<T: Counter> Series<T> {
    /// Records one length; one beyond [`LONGEST`] counts there. No allocation.
    pub fn record(&mut self, length: Micros) {
        let length_us = length.as_us().min(LONGEST.as_us());
        self.histogram.saturating_record(length_us);
        self.sum_us = self.sum_us.saturating_add(length_us);
    }

    /// Records `count` lengths that are the same, as [`record`](Self::record) does one.
    pub fn record_many(&mut self, length: Micros, count: T) {
        let length_us = length.as_us().min(LONGEST.as_us());
        self.histogram.saturating_record_n(length_us, count);
        self.sum_us = self.sum_us.saturating_add(length_us.saturating_mul(count.as_u64()));
    }

    /// How many lengths were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The sum of all recorded lengths.
    pub fn sum(&self) -> Micros {
        Micros::from_us(self.sum_us)
    }

    /// The length that a share of `quantile` (0 to 1) does not exceed, to 1 %; zero if nothing was
    /// recorded.
    pub fn quantile(&self, quantile: f64) -> Micros {
        Micros::from_us(self.histogram.value_at_quantile(quantile))
    }

    /// How many lengths are at most each of `bounds`, which ascend. A length counts where its histogram
    /// bucket begins, so it may be up to 1 % longer than the bound it counts under.
    pub fn cumulative<const N: usize>(&self, bounds: &[Micros; N]) -> [u64; N] {
        let mut counts = [0u64; N];
        for bucket in self.histogram.iter_recorded() {
            let begins_us = self.histogram.lowest_equivalent(bucket.value_iterated_to());
            let place = bounds.partition_point(|bound| bound.as_us() < begins_us);
            if let Some(count) = counts.get_mut(place) {
                *count += bucket.count_since_last_iteration();
            }
        }
        let mut so_far = 0;
        counts.map(|count| {
            so_far += count;
            so_far
        })
    }

    /// How many lengths are at most each of `bounds`, which ascend, and more than the bound before; behind
    /// those one more count, of what is beyond the last bound. To 1 %, as [`cumulative`](Self::cumulative).
    pub fn counts(&self, bounds: &[Micros]) -> Vec<u64> {
        let mut counts = vec![0u64; bounds.len() + 1];
        for bucket in self.histogram.iter_recorded() {
            let begins_us = self.histogram.lowest_equivalent(bucket.value_iterated_to());
            let place = bounds.partition_point(|bound| bound.as_us() < begins_us);
            counts[place] += bucket.count_since_last_iteration();
        }
        counts
    }

    /// Forgets everything. What was never recorded into is not touched, so its memory stays unused.
    pub fn clear(&mut self) {
        if !self.histogram.is_empty() {
            self.histogram.reset();
        }
        self.sum_us = 0;
    }

    /// Bytes of its counters.
    pub fn counters_bytes(&self) -> usize {
        self.histogram.distinct_values() * size_of::<T>()
    }
}

impl<T: Counter> Series<T> {
    /// All that was recorded, shortest first: for each piece of the histogram a length in it, in µs, and how
    /// often.
    pub(super) fn recorded(&self) -> impl Iterator<Item = (u64, T)> {
        self.histogram.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }

    /// Adds a piece of another series, as [`recorded`](Self::recorded) gives it. The sum stays as it was.
    pub(super) fn add_piece(&mut self, length_us: u64, count: T) {
        self.histogram.saturating_record_n(length_us, count);
    }

    /// Adds the sum of another series, whose pieces are added by themselves.
    pub(super) fn add_sum<U: Counter>(&mut self, part: &Series<U>) {
        self.sum_us = self.sum_us.saturating_add(part.sum_us);
    }
}

impl Series<u32> {
    /// Adds all that `part` recorded. Exact: both have the same buckets.
    pub(super) fn add_alike(&mut self, part: &Self) {
        part.recorded().for_each(|(length_us, count)| self.add_piece(length_us, count));
        self.add_sum(part);
    }
}

impl Series<u64> {
    /// Adds all that `part` recorded. Exact: both have the same buckets.
    pub fn add<T: Counter>(&mut self, part: &Series<T>) {
        for bucket in part.histogram.iter_recorded() {
            self.histogram
                .saturating_record_n(bucket.value_iterated_to(), bucket.count_since_last_iteration());
        }
        self.sum_us = self.sum_us.saturating_add(part.sum_us);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn us(us: u64) -> Micros {
        Micros::from_us(us)
    }

    #[test]
    fn what_is_shorter_or_longer_than_the_bounds_counts_at_them() {
        let mut series = Series::<u32>::default();
        series.record(Micros::ZERO);
        series.record(Micros::from_s(86_400));
        assert_eq!((series.count(), series.sum()), (2, LONGEST));
        assert_eq!(series.quantile(0.0), Micros::ZERO);
        let longest_us = series.quantile(1.0).as_us() as f64;
        assert!((longest_us / LONGEST.as_us() as f64 - 1.0).abs() < 0.01);
    }

    #[test]
    fn cumulative_counts_include_the_bound_itself_and_leave_out_what_is_beyond_the_last() {
        let mut series = Series::<u32>::default();
        for length_us in [50, 100, 101, 1_000, 1_200, 10_000_000] {
            series.record(us(length_us));
        }
        assert_eq!(series.cumulative(&[us(99), us(100), us(1_000), us(5_000)]), [1, 2, 4, 5]);
    }

    #[test]
    fn a_shards_series_takes_thirteen_kibibytes() {
        assert_eq!(Series::<u32>::default().counters_bytes(), 13 << 10);
    }
}
