//! A strict reader of the Prometheus text format: what a scraper might forgive is a fault here.

use std::collections::{BTreeMap, BTreeSet};

/// A page that has been read without a fault.
pub(crate) struct Page {
    /// By series: name and labels, sorted.
    pub(crate) samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    /// By family: its kind.
    pub(crate) kinds: BTreeMap<String, String>,
}

impl Page {
    /// The sum of a name's samples that have all of `labels`.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |own: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| own.get(*label).is_some_and(|own| own == value))
        };
        self.samples.iter().filter(|((own, all), _)| own == name && has(all)).map(|(_, value)| value).sum()
    }

    /// Reads a page.
    ///
    /// # Panics
    /// It is not as the format and its conventions want it.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "lines end in line feeds");
        let mut page = Self { samples: BTreeMap::new(), kinds: BTreeMap::new() };
        let mut helps = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(is_name(name) && help.ends_with('.'), "{line}");
                assert!(helps.insert(name.to_owned()), "a second time: {line}");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no kind: {line}"));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name, family, "TYPE follows its HELP: {line}");
                assert!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                let (name, labels, value) = sample(line);
                let kind = page.kinds.get(&family).unwrap_or_else(|| panic!("no TYPE before {line}"));
                let suffixes: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                let own = |suffix: &&str| name.strip_suffix(*suffix) == Some(family.as_str());
                assert!(suffixes.iter().any(own), "{line} stands under {family}");
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                assert!(page.samples.insert((name, labels), value).is_none(), "a series twice: {line}");
            }
        }
        for (name, kind) in &page.kinds {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
            if kind == "histogram" {
                page.check_histogram(name);
            }
        }
        page
    }

    /// Buckets grow, up to +Inf, which is the count; there is a sum.
    fn check_histogram(&self, name: &str) {
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for ((own, labels), value) in &self.samples {
            if *own == format!("{name}_bucket") {
                let mut rest = labels.clone();
                let le = rest.remove("le").unwrap_or_else(|| panic!("{name}: a bucket without le"));
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
                series.entry(rest).or_default().push((le, *value));
            }
        }
        for (labels, mut buckets) in series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let grows = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1 && pair[0].0 < pair[1].0);
            assert!(grows && buckets.len() > 5, "{name} {labels:?}: {buckets:?}");
            let of = |suffix: &str| self.samples.get(&(format!("{name}{suffix}"), labels.clone()));
            let (last, count) = (*buckets.last().unwrap(), *of("_count").unwrap());
            assert_eq!(last, (f64::INFINITY, count), "{name} {labels:?}");
            let sum = *of("_sum").unwrap();
            assert!(sum >= 0.0 && (count > 0.0 || sum == 0.0), "{name} {labels:?}: {sum}");
        }
    }
}

/// A metric's or a label's name.
fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Name, labels and value of a sample's line.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let number = value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}"));
    assert!(number.is_finite(), "{line}");
    let (name, mut rest) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("no brace: {line}"))),
    };
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        assert!(is_name(label), "{line}");
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("no closing quote: {line}")) {
                (at, '"') => break at,
                (_, '\\') => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    other => panic!("no such escape {other:?}: {line}"),
                },
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
        rest = &quoted[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name.to_owned(), labels, number)
}

#[test]
fn the_reader_takes_what_is_right_and_nothing_else() {
    let right = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"\"} 1\n";
    let page = Page::read(right);
    assert_eq!(page.sum("a_total", &[("x", "q\"\\\n")]), 1.0);
    for (case, wrong) in [
        ("no line feed at the end", right.trim_end().to_owned()),
        ("no TYPE", right.replace("# TYPE a_total counter\n", "")),
        ("twice", right.to_owned() + "a_total{x=\"q\\\"\\\\\\n\",y=\"\"} 2\n"),
        ("another family", right.to_owned() + "b_total 1\n"),
        ("a counter without its ending", right.replace("a_total", "a")),
        ("no number", right.replace("} 1", "} one")),
        ("an escape that is none", right.replace("\\n", "\\t")),
    ] {
        assert!(std::panic::catch_unwind(|| Page::read(&wrong)).is_err(), "{case}");
    }
}
