//! When each request is due, decided before the first is sent and by no answer.
//!
//! That is what makes the load an open one: a target that stalls does not get fewer requests, as it would
//! from clients that wait for one answer before they ask again. Here: [`Arrivals`], [`Schedule`]. Pure: the
//! seed comes in. Not here: waiting until a request is due (`sys::Alarm`), and who sends it (`queue`).

use crate::balance::Draws;
use crate::time::Micros;
use clap::ValueEnum;
use std::fmt;

/// How requests are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arrivals {
    /// Each as long after the one before as all others, as wrk2 does
    Even,
    /// By chance, as from many users who know nothing of each other: some come close together
    Poisson,
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Even => "evenly spaced",
            Self::Poisson => "spaced by chance (Poisson)",
        })
    }
}

/// What all threads of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Requests per second, of all threads together.
    pub(super) rate: f64,
    /// How long requests become due; warm-up included.
    pub(super) length: Micros,
    pub(super) arrivals: Arrivals,
    pub(super) seed: u64,
}

/// When the requests of one of several threads are due, from the start on; ascending.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// Of all requests, every `step`-th from the `next`-th on: together the threads' are evenly spaced.
    Even { next: u64, step: u64, rate: f64, length_us: f64 },
    /// Independent of the other threads', and slower: together they are a Poisson process of the whole rate.
    Poisson { at_us: f64, draws: Draws, rate: f64, length_us: f64 },
}

impl Schedule {
    /// That of thread `part` of `parts`.
    pub(super) fn new(load: &Load, part: u64, parts: u64) -> Self {
        let (rate, length_us) = (load.rate, load.length.as_us() as f64);
        match load.arrivals {
            Arrivals::Even => Self::Even { next: part, step: parts.max(1), rate, length_us },
            Arrivals::Poisson => Self::Poisson {
                at_us: 0.0,
                // Neighbouring seeds would give neighbouring threads' draws to other runs.
                draws: Draws::new(load.seed.wrapping_mul(0x1_0000).wrapping_add(part)),
                rate: rate / parts.max(1) as f64,
                length_us,
            },
        }
    }
}

impl Iterator for Schedule {
    type Item = Micros;

    fn next(&mut self) -> Option<Micros> {
        let (at_us, length_us) = match self {
            Self::Even { next, step, rate, length_us } => {
                // From the number and not from the request before: errors of rounding do not add up.
                let at_us = *next as f64 * 1e6 / *rate;
                *next += *step;
                (at_us, *length_us)
            }
            Self::Poisson { at_us, draws, rate, length_us } => {
                *at_us -= (1.0 - draws.unit()).ln() * 1e6 / *rate;
                (*at_us, *length_us)
            }
        };
        (at_us < length_us).then(|| Micros::from_us(at_us as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(rate: f64, length_ms: u64, arrivals: Arrivals, seed: u64) -> Load {
        Load { rate, length: Micros::from_ms(length_ms), arrivals, seed }
    }

    /// The schedules of all threads, merged.
    fn merged(load: &Load, parts: u64) -> Vec<u64> {
        let mut all: Vec<u64> =
            (0..parts).flat_map(|part| Schedule::new(load, part, parts)).map(Micros::as_us).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn an_even_schedule_has_as_many_requests_as_asked_each_at_its_place_however_many_threads_there_are() {
        for (rate, length_ms, count) in
            [(100.0, 3_000, 300), (3.0, 1_000, 3), (0.5, 4_000, 2), (333.0, 500, 167), (1e6, 20, 20_000)]
        {
            let alone = merged(&load(rate, length_ms, Arrivals::Even, 1), 1);
            assert_eq!(alone.len(), count, "{rate}/s for {length_ms} ms");
            for (n, at_us) in alone.iter().enumerate() {
                assert_eq!(*at_us, (n as f64 * 1e6 / rate) as u64, "request {n} at {rate}/s");
            }
            for parts in [2, 3, 7] {
                assert_eq!(
                    merged(&load(rate, length_ms, Arrivals::Even, 1), parts),
                    alone,
                    "{parts} threads"
                );
            }
        }
    }

    #[test]
    fn a_schedule_by_chance_repeats_with_its_seed_and_only_with_it() {
        let with = |seed| merged(&load(1_000.0, 2_000, Arrivals::Poisson, seed), 2);
        assert_eq!(with(7), with(7));
        assert_ne!(with(7), with(8));
        let threads = load(1_000.0, 2_000, Arrivals::Poisson, 7);
        let of = |part| Schedule::new(&threads, part, 2).collect::<Vec<_>>();
        assert_ne!(of(0), of(1), "two threads draw differently");
    }

    #[test]
    fn a_schedule_by_chance_has_the_rate_and_the_spacing_of_a_poisson_process() {
        for parts in [1, 4] {
            let all = merged(&load(1_000.0, 100_000, Arrivals::Poisson, 3), parts);
            // 100,000 expected, with a standard deviation of 316.
            assert!((98_500..101_500).contains(&all.len()), "{parts} threads: {}", all.len());
            let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            let variation = variance.sqrt() / mean;
            assert!((0.97..1.03).contains(&variation), "{parts} threads: {variation}");
            // Of exponential gaps a share of 1/e is longer than the mean.
            let longer = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
            assert!((0.35..0.39).contains(&longer), "{parts} threads: {longer}");
        }
    }

    #[test]
    fn a_schedule_ends_with_its_length_and_does_not_go_back() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let schedule: Vec<u64> =
                Schedule::new(&load(5_000.0, 300, arrivals, 1), 0, 1).map(Micros::as_us).collect();
            assert!(schedule.is_sorted(), "{arrivals}");
            assert!(schedule.last().is_some_and(|last| (200_000..300_000).contains(last)), "{arrivals}");
        }
    }
}
