//! Two targets, measured in turns: by how much they differ, and whether that can be told at all.
//!
//! Each round of the one is set against the round of the other beside it, which the same disturbances of the
//! machine met. Only what all rounds agree on is called a difference: with six of them, chance alone makes all
//! six fall on one side once in 32 times. If one target's rounds differ much from each other, nothing is. Pure. Used by `report` and `json`.

use super::round::Round;
use hdrhistogram::Histogram;

/// Fewer rounds agree too easily.
const ROUNDS_MIN: usize = 5;
/// Rounds of one target that differ by more than this factor say more of the machine than of the target.
const UNSTEADY: f64 = 2.0;

/// What is compared.
pub(super) const QUANTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

/// What the rounds say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// B was slower than A in every round.
    Slower,
    /// B was faster than A in every round.
    Faster,
    /// The rounds do not agree, or they are too few.
    Unclear,
}

impl Verdict {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Slower => "B slower in every round",
            Self::Faster => "B faster in every round",
            Self::Unclear => "cannot tell",
        }
    }
}

/// One quantile of both.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compared {
    pub(super) name: &'static str,
    /// The medians over the rounds, in µs.
    pub(super) a_us: u64,
    pub(super) b_us: u64,
    /// B's median to A's.
    pub(super) ratio: f64,
    /// The least and the greatest ratio of two rounds side by side.
    pub(super) between: (f64, f64),
    pub(super) verdict: Verdict,
}

/// Compares the rounds of A and of B, one by one and in the median. Quantiles that some round is too short for
/// are left out.
pub(super) fn compare(a: &[Round], b: &[Round]) -> Vec<Compared> {
    let pairs = a.len().min(b.len());
    let steady = unsteady(a).or(unsteady(b)).is_none();
    let least = a.iter().chain(b).map(|round| round.tally.corrected.len()).min().unwrap_or(0);
    let of = |rounds: &[Round], quantile: f64| -> Vec<u64> {
        rounds[..pairs].iter().map(|round| round.tally.corrected.value_at_quantile(quantile)).collect()
    };
    QUANTILES
        .into_iter()
        .filter(|(quantile, _)| is_known(least, *quantile))
        .map(|(quantile, name)| compared(name, &of(a, quantile), &of(b, quantile)))
        .map(|row| if steady { row } else { Compared { verdict: Verdict::Unclear, ..row } })
        .collect()
}

fn compared(name: &'static str, a: &[u64], b: &[u64]) -> Compared {
    let to = |b: u64, a: u64| b.max(1) as f64 / a.max(1) as f64;
    let ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| to(*b, *a)).collect();
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    let verdict = match (low, high) {
        _ if ratios.len() < ROUNDS_MIN => Verdict::Unclear,
        (low, _) if low > 1.0 => Verdict::Slower,
        (_, high) if high < 1.0 => Verdict::Faster,
        _ => Verdict::Unclear,
    };
    let (a_us, b_us) = (median(a), median(b));
    Compared { name, a_us, b_us, ratio: to(b_us, a_us), between: (low, high), verdict }
}

/// Whether of so many values at least one lies beyond the quantile.
pub(super) fn is_known(values: u64, quantile: f64) -> bool {
    values as f64 * (1.0 - quantile) >= 1.0 - 1e-9
}

/// The middle one; of two in the middle their mean; 0 of none.
fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (None, _) => 0,
        (Some(upper), 1) => *upper,
        (Some(upper), _) => (sorted[sorted.len() / 2 - 1] + upper) / 2,
    }
}

/// By which factor the medians of a target's rounds differ, if that is too much to compare anything.
pub(super) fn unsteady(rounds: &[Round]) -> Option<f64> {
    let medians = rounds.iter().map(|round| median_of(&round.tally.corrected));
    let (low, high) = medians.fold((u64::MAX, 0), |(low, high), at| (low.min(at), high.max(at)));
    let factor = high as f64 / low.max(1) as f64;
    (high > 0 && factor > UNSTEADY).then_some(factor)
}

fn median_of(histogram: &Histogram<u64>) -> u64 {
    histogram.value_at_quantile(0.5)
}

/// Why the comparison says little, if it does, for whoever reads it.
pub(super) fn doubts(a: &[Round], b: &[Round]) -> Vec<String> {
    let mut doubts = Vec::new();
    let pairs = a.len().min(b.len());
    if pairs < ROUNDS_MIN {
        doubts.push(format!(
            "{pairs} rounds are too few to tell a difference from chance: give --rounds {ROUNDS_MIN} or more."
        ));
    }
    for (name, rounds) in [("A", a), ("B", b)] {
        if let Some(factor) = unsteady(rounds) {
            doubts.push(format!(
                "The rounds of {name} vary too much to tell: their medians differ by a factor of {factor:.1}. \
                 Something else was going on; use a quiet machine, or a longer --duration."
            ));
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::tally::{Tally, Times};
    use crate::time::{Instant, Micros};

    /// A round with a hundred answers of each of these latencies, in µs.
    fn round(latencies: &[u64]) -> Round {
        let mut tally = Tally::default();
        for over in latencies.iter().flat_map(|us| [*us; 100]) {
            let times = Times { due: Instant::default(), sent: None, over: Instant::from_us(over) };
            tally.answer(200, 0, times);
        }
        Round { tally, length: Micros::from_s(1), took: Micros::from_s(1) }
    }

    fn rounds(medians: &[u64]) -> Vec<Round> {
        medians.iter().map(|us| round(&[*us])).collect()
    }

    #[test]
    fn a_difference_is_what_every_round_agrees_on() {
        for (case, a, b, verdict) in [
            ("slower", &[100, 110, 105, 100, 100][..], &[120, 130, 125, 121, 125][..], Verdict::Slower),
            ("faster", &[120, 130, 125, 121, 130], &[100, 110, 105, 100, 104], Verdict::Faster),
            ("one disagrees", &[100, 110, 105, 125, 100], &[120, 130, 125, 120, 120], Verdict::Unclear),
            ("the same", &[100; 6], &[100; 6], Verdict::Unclear),
            ("too few", &[100; 4], &[200; 4], Verdict::Unclear),
            ("both rise", &[100, 120, 140, 160, 190], &[110, 130, 150, 170, 200], Verdict::Slower),
            ("unsteady", &[100, 110, 105, 100, 300], &[120, 130, 125, 121, 330], Verdict::Unclear),
        ] {
            let compared = &compare(&rounds(a), &rounds(b))[0];
            assert_eq!((compared.name, compared.verdict), ("p50", verdict), "{case}: {compared:?}");
        }
    }

    #[test]
    fn the_ratio_is_of_the_medians_and_the_rounds_are_beside_it() {
        let compared = &compare(&rounds(&[100, 104, 102, 900]), &rounds(&[200, 208, 206, 450]))[0];
        assert_eq!((compared.a_us, compared.b_us), (103, 207));
        assert!((compared.ratio - 207.0 / 103.0).abs() < 1e-9);
        assert_eq!(compared.between, (0.5, 206.0 / 102.0));
    }

    #[test]
    fn quantiles_beyond_the_smallest_round_are_left_out() {
        let names = |a: &[Round]| compare(a, a).iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names(&[round(&[5])]), ["p50", "p90", "p99"]);
        assert_eq!(names(&[round(&[5; 10]), round(&[5; 100])]), ["p50", "p90", "p99", "p99.9"]);
        assert!(compare(&[], &[]).is_empty());
    }

    #[test]
    fn rounds_that_vary_or_are_few_raise_doubts() {
        let steady = rounds(&[100, 150, 120, 110, 100]);
        assert!(doubts(&steady, &steady).is_empty());
        let text = doubts(&steady, &rounds(&[100, 350, 120, 110, 100])).concat();
        assert!(text.contains("rounds of B vary too much") && text.contains("3.5"), "{text}");
        assert!(doubts(&steady[..2], &steady[..2]).concat().contains("--rounds 5"));
    }
}
