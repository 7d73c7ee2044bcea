//! What stands beside the code about its metrics says what the code does: the table of them, the dashboard
//! for Grafana, the alert rules.
//!
//! `WEIR_REGENERATE=1 cargo test --test operation reference` writes the table anew.

use std::path::PathBuf;
use weir::metrics;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_table_of_metrics_is_made_from_their_declarations() {
    let file = root().join("config/METRICS.md");
    let reference = metrics::reference();
    if std::env::var_os("WEIR_REGENERATE").is_some() {
        std::fs::write(&file, &reference).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == reference,
        "config/METRICS.md is not what the declarations say: \
         run `WEIR_REGENERATE=1 cargo test --test operation reference` and look at the difference"
    );
}
