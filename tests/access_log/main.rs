//! The access log, through the real binary: what its lines say of each exchange, where they go, and that
//! nobody ever waits for them.
//!
//! | file | what |
//! |---|---|
//! | `formats.rs` | every format, against what was sent |
//! | `endings.rs` | one line for each exchange, and how it ended |
//! | `chosen.rs` | sampling, errors, slow ones; a reload that changes it |
//! | `rotation.rs` | a file that is moved away: SIGUSR2, `weir ctl`, a takeover |
//! | `slow.rs` | sinks that take nothing: FIFOs, full disks, stderr |
//! | `syslog.rs` | a syslog's socket |
//! | `refused.rs` | what cannot be opened, and what is no format |
//! | `documented.rs` | the README's tables against the code's |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod chosen;
mod documented;
mod endings;
mod formats;
mod refused;
mod rotation;
mod slow;
mod syslog;

use harness::{Backend, Weir, one_pool, wait_until};
use serde_json::Value;
use std::path::Path;

/// A configuration with this pool and an access log of these keys. In `{dir}` the log is `access.log`.
fn logging(backends: &[&Backend], pool: &str, keys: &str) -> String {
    format!("{}[access_log]\n{keys}\n", one_pool(backends, "", pool))
}

/// As JSON, into the file.
fn as_json(backends: &[&Backend], pool: &str) -> String {
    logging(backends, pool, "format = \"json\"\nto = \"{dir}/access.log\"")
}

/// The lines of a file, which must all be whole; none if it is not there. A reader may see half of a write that is
/// under way, so one that finds a line without its end looks again.
fn lines_of(file: &Path) -> Vec<String> {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    let is_whole = |text: &str| text.is_empty() || text.ends_with('\n');
    let mut text = String::new();
    wait_until("all lines have their ends", || {
        text = read();
        is_whole(&text)
    });
    text.lines().map(str::to_owned).collect()
}

/// The lines of weir's `access.log` once there are so many; there must be no more.
fn lines(weir: &Weir, count: usize) -> Vec<String> {
    let file = weir.dir().join("access.log");
    wait_until(&format!("the log has {count} lines"), || {
        std::fs::read_to_string(&file).unwrap_or_default().lines().count() >= count
    });
    let lines = lines_of(&file);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// The same, as JSON.
fn objects(weir: &Weir, count: usize) -> Vec<Value> {
    lines(weir, count).iter().map(|line| object(line)).collect()
}

fn object(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "{line}");
    value
}

/// What stands under these names.
fn fields<const N: usize>(object: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| object.get(name).unwrap_or_else(|| panic!("no {name} in {object}")).clone())
}
