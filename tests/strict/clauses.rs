//! The table of clauses (`CLAUSES.md`) is true: the tests it names exist and are tests, each row names one,
//! no section that binds weir is left out, and no test of this suite is missing from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Sections with something to obey, as far as it binds an intermediary without TLS and without a cache.
const SECTIONS: &[(&str, &str)] = &[
    (
        "9112",
        "2.1 2.2 2.3 3 3.1 3.2 3.2.1 3.2.2 3.2.3 3.2.4 3.3 4 5 5.1 5.2 6 6.1 6.2 6.3 7 7.1 7.1.1 7.1.2 7.2 7.4 8 \
         9.2 9.3 9.3.1 9.3.2 9.4 9.5 9.6 11.1 11.2 11.3",
    ),
    (
        "9110",
        "2.3 2.5 4.2.1 4.2.2 4.2.3 4.2.4 4.2.5 5.1 5.3 5.4 5.5 5.6.1 5.6.2 5.6.3 6.1 6.2 6.5 6.5.1 6.5.2 6.6.1 6.6.2 \
         7.1 7.2 7.4 7.5 7.6 7.6.1 7.6.2 7.6.3 7.7 7.8 8.6 9.1 9.2.2 9.3.1 9.3.2 9.3.6 9.3.7 9.3.8 10.1.1 10.1.4 \
         10.2.1 11.6 11.7 13.2.1 14.2 15 15.2 15.2.1 15.2.2 15.3.5 15.3.6 15.4.5 15.5 15.6 17.2 17.3 17.4 17.5 17.10",
    ),
    ("9209", "2 2.1.1 2.1.5 4"),
];

/// One row: where the clause stands, and the tests named for it.
struct Row {
    line: usize,
    rfc: String,
    section: String,
    tests: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows "| 9112 §2.2 | demand | what weir does | `suite/file::test`, … |".
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests/strict/CLAUSES.md")).unwrap();
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((rfc, section)) = line.strip_prefix("| 9").and_then(|rest| rest.split_once(" §")) else {
            continue;
        };
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "line {}: a row has four cells: {line}", number + 1);
        assert!(cells.iter().all(|cell| !cell.is_empty()), "line {}: an empty cell", number + 1);
        rows.push(Row {
            line: number + 1,
            rfc: format!("9{rfc}"),
            section: section.split(' ').next().unwrap_or_default().to_owned(),
            tests: cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        });
    }
    rows
}

/// The file that a test's path names: `suite/file` below `tests`, or `src/…`.
fn file_of(module: &str) -> PathBuf {
    let below = if module.starts_with("src/") { "" } else { "tests" };
    root().join(below).join(format!("{module}.rs"))
}

/// The names of the functions marked `#[test]`.
fn tests_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if marked {
                found.insert(rest.split('(').next().unwrap_or_default().to_owned());
            }
            marked = false;
        }
    }
    found
}

#[test]
fn each_row_names_tests_that_exist() {
    let rows = rows();
    assert!(rows.len() > 100, "{} rows: the table was not found as it is written", rows.len());
    for row in rows {
        assert!(!row.tests.is_empty(), "line {}: {} §{} names no test", row.line, row.rfc, row.section);
        for test in row.tests {
            let (module, name) = test.split_once("::").unwrap_or_else(|| panic!("line {}: {test}", row.line));
            let text = fs::read_to_string(file_of(module))
                .unwrap_or_else(|error| panic!("line {}: {module}: {error}", row.line));
            assert!(tests_in(&text).contains(name), "line {}: {module} has no test {name}", row.line);
        }
    }
}

#[test]
fn no_test_of_this_suite_is_missing_from_the_table() {
    let named: BTreeSet<String> = rows().into_iter().flat_map(|row| row.tests).collect();
    let mut count = 0;
    for entry in fs::read_dir(root().join("tests/strict")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|extension| extension != "rs") || stem == "clauses" {
            continue;
        }
        for test in tests_in(&fs::read_to_string(&path).unwrap()) {
            count += 1;
            let test = format!("strict/{stem}::{test}");
            assert!(named.contains(&test), "{test} stands in no row of CLAUSES.md");
        }
    }
    assert!(count > 60, "{count} tests: the sources were not read");
}

#[test]
fn no_section_that_binds_is_left_out() {
    let rows = rows();
    for (rfc, sections) in SECTIONS {
        for section in sections.split_whitespace() {
            let found = rows.iter().any(|row| row.rfc == *rfc && row.section == section);
            assert!(found, "RFC {rfc} §{section} has no row");
        }
    }
}
