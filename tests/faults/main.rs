//! Faults and changes under load, through the real binary: what clients notice of them, which is nothing, or
//! a refusal by a rule that weir states.
//!
//! A load that does not wait (`harness/open_loop.rs`) follows each of its requests to its end while a backend
//! dies, hangs or lies, while pools change, while weir itself is replaced. `verdict.rs` says what may become
//! of them: every GET is answered rightly, no POST runs twice, and whatever is refused stands in `/metrics`.
//!
//! `WEIR_FAULTS=bare cargo test --test faults` runs weir without the sections and keys that protect clients
//! (retry, eject, slow_start, panic_below, fallback): most of these tests must fail then.
//!
//! | file | what |
//! |---|---|
//! | `crashes.rs` | backends that are killed, hang, come back |
//! | `sick.rs` | backends that answer badly, and look well to their check |
//! | `twice.rs` | what is sent again, and what is not |
//! | `ejection.rs` | who is slow or fails fast gets little |
//! | `degraded.rs` | few or no healthy backends; and slow start |
//! | `rolling.rs` | deployments, with and without drain |
//! | `changes.rs` | backends added and removed, reloads |
//! | `upgrade.rs` | weir replaced by weir |
//! | `shards.rs` | a shard that dies, one that stalls |
//! | `descriptors.rs` | no descriptor left |
//! | `streams.rs` | what is not to be held back |
//! | `names.rs` | host names and services that move |
//! | `supervised.rs` | what a supervisor is to start again |
//! | `hosts.rs` | between hosts: links that go down, packets that vanish |
//! | `fleet.rs` | backends as processes |
//! | `control.rs` | `weir ctl` |
//! | `generator.rs` | the load itself |
//! | `verdict.rs` | what may become of a request |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod changes;
mod control;
mod crashes;
mod degraded;
mod descriptors;
mod ejection;
mod fleet;
mod generator;
mod hosts;
mod names;
mod rolling;
mod shards;
mod sick;
mod streams;
mod supervised;
mod twice;
mod upgrade;
mod verdict;

use harness::{Backend, Ledger};
use std::sync::atomic::{AtomicU32, Ordering};

/// Two shards on each of two cores.
const FOUR_SHARDS: &str = "0,1,0,1";

/// What a sensible operator writes for a pool whose clients should notice nothing. Its time-outs are long: nobody is
/// slow in most of these tests but the machine, which may be others' as well.
const CAREFUL: &str = "\
[pool.app.timeouts]
connect = \"5s\"
response = \"10s\"
between_bytes = \"10s\"
[pool.app.retry]
attempts = 2
on = [\"connect\", \"no_response\", \"truncated\", \"response_timeout\", \"500\", \"502\", \"503\"]
budget = 0.5
budget_min_per_s = 50
[pool.app.eject]
consecutive_failures = 3
error_share = 0.3
window = \"2s\"
base_time = \"1s\"
";

/// A check that notices a dead backend soon.
const CHECK: &str = "\
[pool.app.health]
type = \"http\"
path = \"/up\"
interval = \"100ms\"
interval_down = \"50ms\"
timeout = \"10s\"
rise = 2
fall = 3
";

/// A careful pool whose backends are checked.
fn checked() -> String {
    format!("{CAREFUL}{CHECK}")
}

/// The same where a backend falls silent, which is to be noticed soon.
fn hasty() -> String {
    checked()
        .replace("connect = \"5s\"", "connect = \"500ms\"")
        .replace("\ntimeout = \"10s\"", "\ntimeout = \"500ms\"")
        .replace("\"10s\"", "\"1s\"")
}

/// A configuration with shards on `cores`, a listener on `{web}` and the pool "app" of `backends` (name,
/// address, further lines). `pool`: further lines of the pool, and sections.
fn site(cores: &str, backends: &[(&str, String, &str)], pool: &str) -> String {
    let mut config = format!(
        "[runtime]\ncores = \"{cores}\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         pool = \"app\"\n[pool.app]\n{pool}\n"
    );
    for (name, address, lines) in backends {
        config.push_str(&format!(
            "[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n{lines}\n"
        ));
    }
    if std::env::var("WEIR_FAULTS").as_deref() == Ok("bare") { bare(&config) } else { config }
}

/// `config` without what protects clients.
fn bare(config: &str) -> String {
    let protects = |section: &str| section.ends_with(".retry]") || section.ends_with(".eject]");
    let mut skipping = false;
    let mut rest = String::new();
    for line in config.lines() {
        if line.starts_with('[') {
            skipping = protects(line.trim());
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        if !skipping && !["slow_start", "panic_below", "fallback"].contains(&key) {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    rest
}

/// `site` of backends in this process, named "0", "1" and so on.
fn site_of(cores: &str, backends: &[Backend], pool: &str) -> String {
    let names: Vec<String> = (0..backends.len()).map(|n| n.to_string()).collect();
    let all: Vec<(&str, String, &str)> =
        backends.iter().zip(&names).map(|(backend, name)| (name.as_str(), backend.address(), "")).collect();
    site(cores, &all, pool)
}

/// A ledger of the test's own.
fn ledger() -> Ledger {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("weir-ledger-{}-{number}", std::process::id()));
    Ledger::temporary(&path)
}
