//! Explanations as text of at most 80 columns.

use super::explanation::Explanation;
use crate::metrics::declared::{Kind, Metric, Unit};

/// The widest line.
pub(super) const COLUMNS: usize = 80;

/// Words in lines of at most [`COLUMNS`] characters, each behind `indent`, the first behind `first`.
pub(super) fn wrapped(first: &str, indent: &str, text: &str) -> String {
    let mut out = String::from(first);
    let mut column = first.chars().count();
    let mut at_start = true;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if !at_start && column + 1 + width > COLUMNS {
            out.push('\n');
            out.push_str(indent);
            column = indent.chars().count();
            at_start = true;
        }
        if !at_start {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        at_start = false;
    }
    out.push('\n');
    out
}

/// A line of the list: a word that is too long for its column has a line of its own.
pub(super) fn entry(word: &str, title: &str) -> String {
    const WORD: usize = 16;
    let indent = " ".repeat(WORD + 4);
    if word.chars().count() <= WORD {
        wrapped(&format!("  {word:<WORD$}  "), &indent, title)
    } else {
        format!("  {word}\n{}", wrapped(&indent, &indent, title))
    }
}

/// All of it.
pub(super) fn explanation(explanation: &Explanation) -> String {
    let Explanation { kind, word, title, text, causes, look, act } = explanation;
    let mut out = wrapped("", "  ", &format!("{word}: {title}"));
    out.push_str(&format!("  ({})\n\n", kind.name()));
    out.push_str(&wrapped("  ", "  ", text));
    if !causes.is_empty() {
        out.push('\n');
        for (place, (word, what)) in causes.iter().enumerate() {
            out.push_str(&wrapped(&format!("  {}. {word:<17} ", place + 1), &" ".repeat(23), what));
        }
    }
    if !look.is_empty() {
        out.push_str("\n  Where to look\n");
        for (what, tells) in *look {
            out.push_str(&format!("    {what}\n"));
            out.push_str(&wrapped("        ", "        ", tells));
        }
    }
    if !act.is_empty() {
        out.push_str("\n  What to do\n");
        act.iter().for_each(|act| out.push_str(&wrapped("  - ", "    ", act)));
    }
    out
}

/// What a metric's declaration says.
pub(super) fn metric(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "a counter: look at its rate",
        Kind::Gauge => "a gauge: as it stands now",
        Kind::Histogram => "a histogram: _bucket, _sum and _count",
    };
    let unit = match metric.unit {
        Unit::One => "",
        Unit::Seconds => ", in seconds",
        Unit::Bytes => ", in bytes",
    };
    let mut out = format!("{}\n  (a metric: {}{unit})\n\n", metric.name, kind);
    out.push_str(&wrapped("  ", "  ", metric.help));
    if !metric.labels.is_empty() {
        out.push_str(&format!("\n  Labels: {}\n", metric.labels.join(", ")));
    }
    out
}
