//! weir in operation, through the real binary: who gets the traffic, what health changes, how it starts and
//! ends, what it tells. Black-box: real processes, real sockets, the admin pages, the log.
//!
//! | file | what |
//! |---|---|
//! | `shares.rs` | how each policy shares the traffic |
//! | `bounds.rs` | limits of connections, who makes room, floods |
//! | `clients.rs` | ip_hash: the same client, the same backend |
//! | `usable.rs` | backups, and what happens when nobody is left |
//! | `checks.rs` | every key of a health check |
//! | `probing.rs` | when checks run, and how often |
//! | `transitions.rs` | what a fall or a rise changes, and for whom |
//! | `failover.rs` | a backend process that is killed under load and comes back |
//! | `sharing.rs` | shards that know of each other's exchanges |
//! | `spread.rs` | few connections on many shards |
//! | `shutdown.rs` | signals, and what becomes of the work under way |
//! | `draining.rs` | shutdown under load |
//! | `systemd.rs` | a supervisor: notices, the watchdog, sockets that it opened |
//! | `limits.rs` | unprivileged, few descriptors, too many clients |
//! | `privileges.rs` | what it is once it has bound: user, groups, capabilities |
//! | `confined.rs` | under the seccomp profile, the unit's filter, in a pod |
//! | `refused.rs` | why weir does not start |
//! | `refusals.rs` | refused requests in the log |
//! | `error_pages.rs` | pages for weir's own answers: check, reload, its user |
//! | `explain.rs` | `weir explain` |
//! | `reload.rs` | another configuration by SIGHUP, under load |
//! | `takeover.rs` | a new process in the old one's place |
//! | `restart.rs` | kill -9, and again on the same addresses |
//! | `command_line.rs` | check, version, help |
//! | `ctl.rs` | `weir ctl`: what it shows and refuses, its exit codes |
//! | `ctl_changes.rs` | what its changes do, under load too |
//! | `top.rs` | `weir top` in a terminal: what it shows, what its keys do, what it leaves behind |
//! | `demo.rs` | `weir demo` from its greeting to its end |
//! | `doctor.rs` | `weir doctor`: what a host lacks |
//! | `admin.rs` | the pages, against what was sent |
//! | `live.rs` | the stream behind dashboard and `weir top` |
//! | `token.rs` | the admin token, and that secrets stay out of the log |
//! | `waiting.rs` | what waits inside weir, and how busy it is |
//! | `reference.rs` | what is written about metrics: the table, the dashboard, the alerts |
//! | `metrics.rs` | the metrics page, judged by other programs |
//! | `exposition.rs` | a strict reader of the Prometheus text |
//! | `tracing.rs` | traces at a collector, and collectors that misbehave |
//! | `peers.rs` | other people's servers and clients |
//! | `idle.rs` | what weir costs when nothing happens |
//! | `process.rs` | a backend that is a process |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod bounds;
mod checks;
mod clients;
mod command_line;
mod confined;
mod ctl;
mod ctl_changes;
mod demo;
mod doctor;
mod draining;
mod error_pages;
mod explain;
mod exposition;
mod failover;
mod idle;
mod limits;
mod live;
mod metrics;
mod peers;
mod privileges;
mod probing;
mod process;
mod reference;
mod refusals;
mod refused;
mod reload;
mod restart;
mod shares;
mod sharing;
mod shutdown;
mod spread;
mod systemd;
mod takeover;
mod token;
mod top;
mod tracing;
mod transitions;
mod usable;
mod waiting;

use harness::{Backend, Weir};
use serde_json::Value;

/// A configuration with shards on `cores`, one listener on `{web}` and one pool, "app", whose backends are
/// named "0", "1" and so on and have further lines of their own. `pool` as in `one_pool`.
fn pool_of(cores: &str, backends: &[(&Backend, &str)], pool: &str) -> String {
    let mut config = format!(
        "[runtime]\ncores = \"{cores}\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         pool = \"app\"\n[pool.app]\n{pool}\n"
    );
    for (name, (backend, lines)) in backends.iter().enumerate() {
        let address = backend.address();
        config.push_str(&format!(
            "[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n{lines}\n"
        ));
    }
    config
}

/// The page /backends, of the one pool there is.
fn backends(weir: &Weir) -> Vec<Value> {
    let page: Value = serde_json::from_str(&weir.admin("/backends").text()).unwrap();
    page["backends"].as_array().unwrap().clone()
}

/// A backend's state in words, which every shard acts on when this returns: shards read their mail before they hand
/// over what a page is made of, so whatever one page says has come to all of them by the next.
fn state(weir: &Weir, backend: usize) -> String {
    let state = backends(weir)[backend]["state"].as_str().unwrap().to_owned();
    backends(weir);
    state
}

/// Why it is in that state.
fn why(weir: &Weir, backend: usize) -> String {
    backends(weir)[backend]["why"].as_str().unwrap().to_owned()
}
