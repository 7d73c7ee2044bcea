//! Writing the Prometheus text format (version 0.0.4) and OpenMetrics (1.0.0): families, labels, samples.
//!
//! It knows the formats and no metric. A family can only be opened from a declaration, and takes as many
//! label values as that names; values are escaped here and nowhere else. Used by [`super::page`].

use super::Series;
use super::declared::{Metric, Unit};
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

/// How a page is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own text, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics, version 1.0.0: with units and an end.
    OpenMetrics,
}

/// How much a page says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    #[default]
    Backend,
    /// Pools in place of backends: nothing has a label of a backend.
    Pool,
}

/// The label that [`Level::Pool`] does without.
const OF_BACKEND: &str = "backend";

/// An exposition being written. Writing to a `String` cannot fail, so results of `write!` are dropped.
pub(super) struct Text {
    out: String,
    format: Format,
    level: Level,
}

impl Text {
    /// An empty one.
    pub(super) fn new(format: Format, level: Level) -> Self {
        Self { out: String::new(), format, level }
    }

    /// Opens a metric's family; its samples must follow before another is opened.
    pub(super) fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let Metric { name, help, .. } = metric;
        let kind = metric.kind.label();
        let _ = match self.format {
            Format::Prometheus => {
                writeln!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}", Escaped(help, Within::Help))
            }
            Format::OpenMetrics => {
                // A counter's family goes without the ending that its sample has.
                let name = name.strip_suffix("_total").unwrap_or(name);
                let _ = writeln!(self.out, "# TYPE {name} {kind}");
                if let Some(unit) = metric.unit.label() {
                    let _ = writeln!(self.out, "# UNIT {name} {unit}");
                }
                writeln!(self.out, "# HELP {name} {}", Escaped(help, Within::Label))
            }
        };
        Family { text: self, metric }
    }

    /// All that was written.
    pub(super) fn into_string(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// One metric, taking samples.
pub(super) struct Family<'a> {
    text: &'a mut Text,
    metric: &'static Metric,
}

impl Family<'_> {
    /// A sample of whole numbers: things, bytes, or µs where the metric counts seconds.
    pub(super) fn sample(&mut self, labels: &[&str], value: u64) {
        self.line("", labels, None);
        let _ = match self.metric.unit {
            Unit::One | Unit::Bytes => writeln!(self.text.out, " {value}"),
            Unit::Seconds => writeln!(self.text.out, " {}", Seconds(Micros::from_us(value))),
        };
    }

    /// A sample that is a ratio.
    pub(super) fn ratio(&mut self, labels: &[&str], value: f64) {
        self.line("", labels, None);
        let _ = writeln!(self.text.out, " {value}");
    }

    /// A distribution: its cumulative buckets, sum and count.
    pub(super) fn distribution(&mut self, labels: &[&str], series: &Series<u64>) {
        let counts = series.cumulative(&BOUNDS);
        for (bound, count) in BOUNDS.iter().zip(counts) {
            match self.text.format {
                Format::Prometheus => self.line("_bucket", labels, Some(&Seconds(*bound))),
                Format::OpenMetrics => self.line("_bucket", labels, Some(&Canonical(*bound))),
            }
            let _ = writeln!(self.text.out, " {count}");
        }
        self.line("_bucket", labels, Some(&"+Inf"));
        let _ = writeln!(self.text.out, " {}", series.count());
        self.line("_sum", labels, None);
        let _ = writeln!(self.text.out, " {}", Seconds(series.sum()));
        self.line("_count", labels, None);
        let _ = writeln!(self.text.out, " {}", series.count());
    }

    /// The name and the labels of a line, up to the blank before its value.
    fn line(&mut self, suffix: &str, values: &[&str], le: Option<&dyn std::fmt::Display>) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let _ = write!(self.text.out, "{}{suffix}", self.metric.name);
        let mut opening = '{';
        for (label, value) in self.metric.labels.iter().zip(values) {
            // To Prometheus an empty label is none.
            if value.is_empty() || self.text.level == Level::Pool && *label == OF_BACKEND {
                continue;
            }
            let _ = write!(self.text.out, "{opening}{label}=\"{}\"", Escaped(value, Within::Label));
            opening = ',';
        }
        if let Some(le) = le {
            let _ = write!(self.text.out, "{opening}le=\"{le}\"");
            opening = ',';
        }
        if opening == ',' {
            self.text.out.push('}');
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

/// The same as OpenMetrics wants a bucket's bound: as Go writes floats, and never as a whole number.
struct Canonical(Micros);

impl std::fmt::Display for Canonical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = self.0.as_us();
        if us > 0 && us < 100 {
            // "5e-05": below 1e-4 the power of ten is written, in two digits.
            let (digits, power) = if us < 10 { (us * 10, 6) } else { (us, 5) };
            let (first, rest) = (digits / 10, digits % 10);
            let fraction = if rest == 0 { String::new() } else { format!(".{rest}") };
            return write!(f, "{first}{fraction}e-{power:02}");
        }
        let fraction = if us.is_multiple_of(1_000_000) { ".0" } else { "" };
        write!(f, "{}{fraction}", Seconds(self.0))
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
    use super::super::declared::Kind;
    use super::*;

    const TIME: Metric = Metric {
        name: "t_seconds",
        help: "T \"\\",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: &["a", "b"],
    };
    const MANY: Metric = Metric {
        name: "m_total",
        help: "M",
        kind: Kind::Counter,
        unit: Unit::One,
        labels: &["pool", "backend"],
    };
    const SPREAD: Metric =
        Metric { name: "s_seconds", help: "S", kind: Kind::Histogram, unit: Unit::Seconds, labels: &["a"] };

    #[test]
    fn label_values_and_help_are_escaped_and_micros_become_seconds() {
        let mut text = Text::new(Format::Prometheus, Level::Backend);
        text.family(&TIME).sample(&["q\"b\\n\n", ""], 1_500_000);
        assert_eq!(
            text.into_string(),
            "# HELP t_seconds T \"\\\\\n# TYPE t_seconds gauge\nt_seconds{a=\"q\\\"b\\\\n\\n\"} 1.5\n"
        );
    }

    #[test]
    fn openmetrics_has_units_an_end_and_quotes_escaped_in_help_too() {
        let mut text = Text::new(Format::OpenMetrics, Level::Backend);
        text.family(&TIME).sample(&["x", "y"], 1_500_000);
        text.family(&MANY).sample(&["p", "b"], 3);
        assert_eq!(
            text.into_string(),
            "# TYPE t_seconds gauge\n# UNIT t_seconds seconds\n# HELP t_seconds T \\\"\\\\\n\
             t_seconds{a=\"x\",b=\"y\"} 1.5\n\
             # TYPE m counter\n# HELP m M\nm_total{pool=\"p\",backend=\"b\"} 3\n# EOF\n"
        );
    }

    #[test]
    fn by_pool_no_sample_has_the_label_of_a_backend() {
        let mut text = Text::new(Format::Prometheus, Level::Pool);
        text.family(&MANY).sample(&["p", ""], 3);
        assert_eq!(text.into_string(), "# HELP m_total M\n# TYPE m_total counter\nm_total{pool=\"p\"} 3\n");
    }

    #[test]
    fn bounds_of_openmetrics_are_written_as_go_writes_floats() {
        for (us, expected) in [
            (0, "0.0"),
            (1, "1e-06"),
            (25, "2.5e-05"),
            (50, "5e-05"),
            (100, "0.0001"),
            (2_500, "0.0025"),
            (1_000_000, "1.0"),
            (2_500_000, "2.5"),
            (60_000_000, "60.0"),
        ] {
            assert_eq!(Canonical(Micros::from_us(us)).to_string(), expected);
        }
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
        let mut text = Text::new(Format::Prometheus, Level::Backend);
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
