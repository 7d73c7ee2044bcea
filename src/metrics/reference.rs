//! The table of all metrics, as `config/METRICS.md` has it. Made from the declarations and nothing else.

use super::declared::{ALL, Metric, NOT_BY_POOL, Unit};
use std::fmt::Write;

const HEAD: &str = "# Metrics

What `GET /metrics` on weir's admin surface exports: Prometheus text, or OpenMetrics for who asks for it \
(`Accept: application/openmetrics-text`), where a counter's family is called without `_total`. Names are \
stable. This table is made from weir's declarations (`src/metrics/declared.rs`); a test holds it to them, and \
`WEIR_REGENERATE=1 cargo test --test operation reference` writes it anew.

With `?level=pool` nothing has the label `backend`: what backends came to is added up for each pool, those that \
have left it since weir began included. What then is not there has a \u{2020}. A backend that is removed takes its series \
along. No label has a path, a host, or anything else that a client chooses.

Histograms have buckets from 50 \u{b5}s to 60 s.

| name | kind | unit | labels | what it says |
|---|---|---|---|---|
";

/// The page.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for metric in ALL {
        let Metric { name, help, kind, unit, labels } = metric;
        let mark = if NOT_BY_POOL.contains(metric) { " \u{2020}" } else { "" };
        let unit = match unit {
            Unit::One => "",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (kind.label(), labels.join(", "));
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "| `{name}`{mark} | {kind} | {unit} | {labels} | {help} |");
    }
    page
}
