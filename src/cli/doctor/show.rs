//! Findings as text for people, and as JSON for programs.

use super::{Finding, Level};
use serde::Serialize;
use std::path::Path;

/// What needs somebody's hand, each with its remedy; then what could not be looked at; then what is well, in
/// one line.
pub(super) fn table(findings: &[Finding]) -> String {
    let of = |level: Level| findings.iter().filter(move |finding| finding.level == level);
    let mut out = String::new();
    for Finding { check, level, what, remedy } in of(Level::Missing).chain(of(Level::Advice)) {
        let level = if *level == Level::Missing { "missing" } else { "advice" };
        out.push_str(&format!("{level:<7}  {check}: {what}\n"));
        if let Some(remedy) = remedy {
            out.push_str(&format!("         do: {remedy}\n"));
        }
    }
    for Finding { check, what, .. } in of(Level::Unseen) {
        out.push_str(&format!("unseen   {check}: {what}\n"));
    }
    // A check may have several findings, and is well if all of them are.
    let is_well =
        |check: &str| findings.iter().all(|finding| finding.check != check || finding.level == Level::Ok);
    let mut well: Vec<&str> =
        of(Level::Ok).map(|finding| finding.check).filter(|check| is_well(check)).collect();
    well.dedup();
    if !well.is_empty() {
        out.push_str(&format!("ok       {}\n", well.join(", ")));
    }
    let (missing, advice) = (of(Level::Missing).count(), of(Level::Advice).count());
    out.push_str(&match (missing, advice) {
        (0, 0) => "\nweir can run here.".to_owned(),
        (0, 1) => "\nweir can run here; 1 thing might be better.".to_owned(),
        (0, advice) => format!("\nweir can run here; {advice} things might be better."),
        (missing, _) => format!("\nweir cannot run here as it should: {missing} missing."),
    });
    out
}

/// The object that the help text describes.
pub(super) fn json(config: Option<&Path>, findings: &[Finding]) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        config: Option<String>,
        missing: usize,
        advice: usize,
        findings: &'a [Finding],
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let report = Report {
        config: config.map(|config| config.display().to_string()),
        missing: count(Level::Missing),
        advice: count(Level::Advice),
        findings,
    };
    // Strings and numbers alone: there is nothing in it that JSON cannot say.
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("kernel", "6.18"),
            Finding::advice("backlog", "short", "sysctl -w a=1"),
            Finding::unseen("governor", "no cpufreq here"),
            Finding::missing("io_uring", "forbidden", "allow it"),
            Finding::ok("numa", "one node"),
            Finding::ok("backlog", "of another listener"),
        ]
    }

    #[test]
    fn what_is_missing_comes_first_and_what_is_well_in_one_line() {
        let expected = "\
missing  io_uring: forbidden
         do: allow it
advice   backlog: short
         do: sysctl -w a=1
unseen   governor: no cpufreq here
ok       kernel, numa

weir cannot run here as it should: 1 missing.";
        assert_eq!(table(&findings()), expected);
        assert!(table(&findings()[..2]).ends_with("weir can run here; 1 thing might be better."));
        assert!(table(&findings()[..1]).ends_with("weir can run here."));
    }

    #[test]
    fn json_has_the_fields_of_the_help_text() {
        let text = json(Some(Path::new("weir.toml")), &findings());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["config"], "weir.toml");
        assert_eq!((value["missing"].as_u64(), value["advice"].as_u64()), (Some(1), Some(1)));
        let first = &value["findings"][0];
        assert_eq!(
            (&first["check"], &first["level"], &first["what"]),
            (&"kernel".into(), &"ok".into(), &"6.18".into())
        );
        assert!(first["remedy"].is_null());
        assert_eq!(value["findings"][3]["level"], "missing");
        assert_eq!(value["findings"][2]["level"], "unseen");
        assert!(serde_json::from_str::<serde_json::Value>(&json(None, &[])).unwrap()["config"].is_null());
    }
}
