//! The README's tables against the code's: what is told there is what there is.

use std::path::Path;
use weir::config::Variable;
use weir::log::record::Termination;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

#[test]
fn each_variable_is_in_the_readme_as_the_code_tells_it() {
    let rows: String = Variable::ALL
        .iter()
        .map(|variable| format!("| `{}` | {} |\n", variable.name(), variable.meaning()))
        .collect();
    assert!(readme().contains(&rows), "put these rows into README.md:\n{rows}");
}

#[test]
fn each_termination_code_is_in_the_readme_as_the_code_tells_it() {
    let rows: String =
        Termination::ALL.iter().map(|end| format!("| `{}` | {} |\n", end.code(), end.meaning())).collect();
    assert!(readme().contains(&rows), "put these rows into README.md:\n{rows}");
}
