//! A distribution as HdrHistogram's plotters read it: the text of Java's `outputPercentileDistribution`, with
//! values in milliseconds.
//!
//! Five lines to each halving of the distance to 100 %, as wrk2 and the others write. Pure.

use hdrhistogram::Histogram;
use std::fmt::Write;

const LINES_PER_HALVING: u32 = 5;

/// The text of a `.hgrm` file for values that were recorded in µs.
pub(super) fn hgrm(histogram: &Histogram<u64>) -> String {
    let ms = |us: f64| us / 1e3;
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut so_far = 0;
    // Into a String: cannot fail.
    for step in histogram.iter_quantiles(LINES_PER_HALVING) {
        so_far += step.count_since_last_iteration();
        let (value, quantile) = (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(text, "{value:12.3} {quantile:2.12} {so_far:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {so_far:10}")
        };
    }
    let _ = write!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        ms(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        2_048,
    );
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_java_writes_it() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        (1..=1_000).for_each(|us| histogram.record(us * 10).unwrap());
        let text = hgrm(&histogram);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       0.010 0.000000000000          1           1.00");
        assert!(text.contains("\n       5.003 0.500000000000        500           2.00\n"), "{text}");
        assert!(text.contains("\n      10.007 1.000000000000       1000\n#[Mean    =        5.00"), "{text}");
        assert!(text.contains("\n#[Max     =       10.007, Total count    =         1000]\n"), "{text}");
        assert!(text.ends_with("#[Buckets =           22, SubBuckets     =         2048]\n"), "{text}");
    }

    #[test]
    fn of_nothing_there_is_a_file_without_lines() {
        let text = hgrm(&Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap());
        assert!(text.contains("Total count    =            0]"), "{text}");
    }
}
