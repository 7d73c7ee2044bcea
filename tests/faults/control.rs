//! `weir ctl`, as an operator calls it.

use crate::harness::{Program, Weir};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Runs `weir ctl` with these arguments; its exit code, and what it wrote.
pub(crate) fn try_ctl(weir: &Weir, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["ctl", "--admin", &weir.address("admin").to_string()]).args(args);
    let (status, out, err) = Program::run(&mut command, Duration::from_secs(10));
    (status.code().unwrap_or(-1), out + &err)
}

/// Runs `weir ctl`, which must succeed.
pub(crate) fn ctl(weir: &Weir, args: &[&str]) -> String {
    let (code, text) = try_ctl(weir, args);
    assert_eq!(code, 0, "weir ctl {args:?}: {text}");
    text
}

/// The backends of a pool by name, with their states.
pub(crate) fn backends(weir: &Weir, pool: &str) -> Vec<(String, String)> {
    let page: Value = serde_json::from_str(&weir.admin("/backends").text()).unwrap();
    let all = page["backends"].as_array().unwrap().iter();
    let word = |backend: &Value, key: &str| backend[key].as_str().unwrap_or_default().to_owned();
    all.filter(|backend| backend["pool"] == pool)
        .map(|backend| (word(backend, "name"), word(backend, "state")))
        .collect()
}

/// A backend's state in words; empty if there is none of this name. Every shard acts on it when this returns: shards
/// read their mail before they hand over what a page is made of, so whatever one page says has come to all of them by
/// the next.
pub(crate) fn state(weir: &Weir, name: &str) -> String {
    let found = backends(weir, "app").into_iter().find(|(own, _)| own == name);
    backends(weir, "app");
    found.map(|(_, state)| state).unwrap_or_default()
}
