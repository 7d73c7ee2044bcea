//! What stands beside the code about its metrics says what the code does: the table of them, the dashboard
//! for Grafana, the alert rules, whose unit tests are in `tests/alerts.yaml`.
//!
//! `WEIR_REGENERATE=1 cargo test --test operation reference` writes the table anew.

use crate::harness::{Program, require};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use weir::metrics;
use weir::metrics::declared::{ALL, Kind, Metric};

/// How long promtool may take, on a busy machine.
const LOOK: Duration = Duration::from_secs(120);

/// Labels that Prometheus adds, and that of a bucket.
const ADDED: [&str; 3] = ["instance", "job", "le"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Has promtool check something.
///
/// # Panics
/// It finds fault with it.
fn promtool(arguments: &[&str]) {
    let Some(promtool) = require("promtool") else { return };
    let (status, out, log) = Program::run(Command::new(promtool).args(arguments).current_dir(root()), LOOK);
    assert!(status.success(), "promtool {arguments:?}: {status}\n{out}\n{log}");
}

#[test]
fn the_table_of_metrics_is_made_from_their_declarations() {
    let file = root().join("config/METRICS.md");
    let reference = metrics::reference();
    if std::env::var_os("WEIR_REGENERATE").is_some() {
        std::fs::write(&file, &reference).unwrap();
    }
    assert!(
        read("config/METRICS.md") == reference,
        "config/METRICS.md is not what the declarations say: \
         run `WEIR_REGENERATE=1 cargo test --test operation reference` and look at the difference"
    );
}

/// The metrics that a text names, each with the labels of the selector behind it.
///
/// # Panics
/// One of them is not declared, or has no such label.
fn named(text: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        let word = &rest[at..];
        let word = &word[..word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len())];
        rest = &rest[at + word.len()..];
        if !word.starts_with("weir_") && !word.starts_with("process_") {
            continue;
        }
        let metric = declared(word).unwrap_or_else(|| panic!("{word} is no metric of weir"));
        found.insert(metric.name);
        for label in selected(rest) {
            assert!(metric.labels.contains(&label) || ADDED.contains(&label), "{word} has no label {label}");
        }
    }
    found
}

/// The metric whose samples are called `name`.
fn declared(name: &str) -> Option<&'static Metric> {
    let parts = ["_bucket", "_sum", "_count"];
    ALL.iter().copied().find(|metric| match metric.kind {
        Kind::Histogram => parts.iter().any(|part| name.strip_suffix(part) == Some(metric.name)),
        Kind::Counter | Kind::Gauge => name == metric.name,
    })
}

/// The labels of the selector that `text` begins with, if it does.
fn selected(text: &str) -> Vec<&str> {
    let Some((selector, _)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Vec::new();
    };
    // No value here has a comma.
    selector.split(',').filter_map(|matcher| matcher.split(['=', '!']).next()).map(str::trim).collect()
}

/// All that stands under `key`, however deep.
fn under<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|value| under(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| under(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("config/grafana.json")).expect("config/grafana.json is JSON")
}

/// The dashboard's expressions, as they are with its variables filled in.
pub(crate) fn expressions() -> Vec<String> {
    let dashboard = dashboard();
    let mut found = Vec::new();
    under(&dashboard, "expr", &mut found);
    let filled = |expression: &str| {
        let expression = expression.replace("$__rate_interval", "5m");
        expression.replace("$instance", ".*").replace("$pool", ".*")
    };
    found.into_iter().map(|expression| filled(expression.as_str().unwrap())).collect()
}

#[test]
fn the_dashboard_asks_for_declared_metrics_in_expressions_that_prometheus_takes() {
    let expressions = expressions();
    let shown: BTreeSet<&str> = expressions.iter().flat_map(|expression| named(expression)).collect();
    // Each of a kind that an operator looks for; not all metrics belong on one page.
    for name in
        ["weir_requests_total", "weir_phase_seconds", "weir_loop_stall_seconds", "weir_refusals_total"]
    {
        assert!(shown.contains(name), "{name} is not shown");
    }
    let rules: String = (0..)
        .zip(&expressions)
        .map(|(number, expression)| {
            // A string of JSON is one of YAML.
            let expression = serde_json::to_string(expression).unwrap();
            format!("  - {{ record: \"dashboard:expression:{number}\", expr: {expression} }}\n")
        })
        .collect();
    let file = std::env::temp_dir().join(format!("weir-test-dashboard-{}.yaml", std::process::id()));
    std::fs::write(&file, format!("groups:\n- name: dashboard\n  rules:\n{rules}")).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_dashboard_can_be_imported_wherever_its_prometheus_is() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let source = variables.iter().find(|variable| variable["name"] == "DS_PROMETHEUS").unwrap();
    assert_eq!((&source["type"], &source["query"]), (&Value::from("datasource"), &Value::from("prometheus")));
    let mut sources = Vec::new();
    under(&dashboard, "datasource", &mut sources);
    assert!(sources.iter().all(|source| source["uid"] == "${DS_PROMETHEUS}"), "{sources:?}");
    assert!(dashboard["id"].is_null(), "it has no number of another Grafana");
    let panels = dashboard["panels"].as_array().unwrap();
    let numbers: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), panels.len(), "a panel's number is its own");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{} is beyond the edge", panel["title"]);
        for place in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert(place), "{} lies on another panel", panel["title"]);
        }
    }
}

#[test]
fn the_alert_rules_ask_for_declared_metrics_and_pass_promtools_checks() {
    named(&read("config/alerts.yaml"));
    promtool(&["check", "rules", "config/alerts.yaml"]);
}

#[test]
fn each_alert_fires_for_what_it_is_about_and_none_where_all_is_well() {
    let (rules, tests) = (read("config/alerts.yaml"), read("tests/alerts.yaml"));
    named(&tests);
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "no test has {alert} fire");
    }
    promtool(&["test", "rules", "tests/alerts.yaml"]);
}
