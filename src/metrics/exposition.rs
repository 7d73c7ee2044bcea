//! Writing the Prometheus text format (version 0.0.4): families, labels, samples.
//!
//! It knows the format and no metric. A family can only be opened from a declaration, and takes as many
//! label values as that names; values are escaped here and nowhere else. Used by [`super::page`].

use super::Series;
use super::declared::{Kind, Metric, Unit};
use crate::time::Micros;
use std::fmt::Write;

/// Upper bounds of the histograms' buckets: half and quarter decades, 50 µs to a minute.
const BOUNDS: [Micros; 19] = [
    Micros::from_us(50),
    Micros::from_us(100),
    Micros::from_us(250),
    Micros::from_us(500),
    Micros::from_ms(1),
    Micros::from_us(2_500),
    Micros::from_ms(5),
    Micros::from_ms(10),
    Micros::from_ms(25),
    Micros::from_ms(50),
    Micros::from_ms(100),
    Micros::from_ms(250),
    Micros::from_ms(500),
    Micros::from_s(1),
    Micros::from_ms(2_500),
    Micros::from_s(5),
    Micros::from_s(10),
    Micros::from_s(30),
    Micros::from_s(60),
];

/// An exposition being written. Writing to a `String` cannot fail, so results of `write!` are dropped.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// Opens a metric's family; its samples must follow before another is opened.
    pub(super) fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let Metric { name, help, .. } = metric;
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}", Escaped(help, Within::Help));
        Family { text: &mut self.0, metric }
    }

    /// All that was written.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// One metric, taking samples.
pub(super) struct Family<'a> {
    text: &'a mut String,
    metric: &'static Metric,
}

impl Family<'_> {
    /// A sample of whole numbers: things, bytes, or µs where the metric counts seconds.
    pub(super) fn sample(&mut self, labels: &[&str], value: u64) {
        self.line("", labels, None);
        let _ = match self.metric.unit {
            Unit::One | Unit::Bytes => writeln!(self.text, " {value}"),
            Unit::Seconds => writeln!(self.text, " {}", Seconds(Micros::from_us(value))),
        };
    }

    /// A sample that is a ratio.
    pub(super) fn ratio(&mut self, labels: &[&str], value: f64) {
        self.line("", labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// A distribution: its cumulative buckets, sum and count.
    pub(super) fn distribution(&mut self, labels: &[&str], series: &Series<u64>) {
        let counts = series.cumulative(&BOUNDS);
        for (bound, count) in BOUNDS.iter().zip(counts) {
            self.line("_bucket", labels, Some(&Seconds(*bound)));
            let _ = writeln!(self.text, " {count}");
        }
        self.line("_bucket", labels, Some(&"+Inf"));
        let _ = writeln!(self.text, " {}", series.count());
        self.line("_sum", labels, None);
        let _ = writeln!(self.text, " {}", Seconds(series.sum()));
        self.line("_count", labels, None);
        let _ = writeln!(self.text, " {}", series.count());
    }

    /// The name and the labels of a line, up to the blank before its value.
    fn line(&mut self, suffix: &str, values: &[&str], le: Option<&dyn std::fmt::Display>) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let _ = write!(self.text, "{}{suffix}", self.metric.name);
        let mut opening = '{';
        for (label, value) in self.metric.labels.iter().zip(values) {
            let _ = write!(self.text, "{opening}{label}=\"{}\"", Escaped(value, Within::Label));
            opening = ',';
        }
        if let Some(le) = le {
            let _ = write!(self.text, "{opening}le=\"{le}\"");
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
    }
}

/// A length in seconds, exact to the µs and without trailing zeros: "0.00025", "30".
struct Seconds(Micros);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, mut rest_us) = (self.0.as_us() / 1_000_000, self.0.as_us() % 1_000_000);
        write!(f, "{whole}")?;
        let mut digits = 6;
        while rest_us > 0 && rest_us % 10 == 0 {
            (rest_us, digits) = (rest_us / 10, digits - 1);
        }
        if rest_us == 0 { Ok(()) } else { write!(f, ".{rest_us:0digits$}") }
    }
}

/// Where a text stands, which decides what must be escaped in it.
#[derive(Clone, Copy)]
enum Within {
    Help,
    Label,
}

struct Escaped<'a>(&'a str, Within);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|letter| match (letter, self.1) {
            ('\\', _) => f.write_str("\\\\"),
            ('\n', _) => f.write_str("\\n"),
            ('"', Within::Label) => f.write_str("\\\""),
            (letter, _) => f.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Metric = Metric {
        name: "t_seconds",
        help: "T \"\\",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: &["a", "b"],
    };
    const SPREAD: Metric =
        Metric { name: "s_seconds", help: "S", kind: Kind::Histogram, unit: Unit::Seconds, labels: &["a"] };

    #[test]
    fn label_values_and_help_are_escaped_and_micros_become_seconds() {
        let mut text = Text::default();
        text.family(&TIME).sample(&["q\"b\\n\n", ""], 1_500_000);
        assert_eq!(
            text.into_string(),
            "# HELP t_seconds T \"\\\\\n# TYPE t_seconds gauge\nt_seconds{a=\"q\\\"b\\\\n\\n\",b=\"\"} 1.5\n"
        );
    }

    #[test]
    fn seconds_are_exact_and_short() {
        for (us, expected) in
            [(0, "0"), (1, "0.000001"), (250, "0.00025"), (10_000_000, "10"), (1_000_010, "1.00001")]
        {
            assert_eq!(Seconds(Micros::from_us(us)).to_string(), expected);
        }
    }

    #[test]
    fn a_distribution_has_cumulative_buckets_up_to_infinity_sum_and_count() {
        let (mut part, mut series) = (Series::<u32>::default(), Series::<u64>::default());
        [40, 50, 700, 90_000_000].iter().for_each(|us| part.record(Micros::from_us(*us)));
        series.add(&part);
        let mut text = Text::default();
        text.family(&SPREAD).distribution(&["x"], &series);
        let text = text.into_string();
        for line in [
            "s_seconds_bucket{a=\"x\",le=\"0.00005\"} 2",
            "s_seconds_bucket{a=\"x\",le=\"0.0005\"} 2",
            "s_seconds_bucket{a=\"x\",le=\"0.001\"} 3",
            "s_seconds_bucket{a=\"x\",le=\"60\"} 3",
            "s_seconds_bucket{a=\"x\",le=\"+Inf\"} 4",
            "s_seconds_sum{a=\"x\"} 90.00079",
            "s_seconds_count{a=\"x\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
