//! `[pool.NAME]`: backends, how one is picked, and the connections to them.
//!
//! Here: everything of a pool but its health check (`health.rs` beside this file).

use super::address;
use super::fault::{Place, Wrong};
use super::health;
use super::model::{Backend, BackendAddress, Policy, Pool, Retry, Timeouts, Upstream};
use super::reference::Claims;
use super::section::{Later, Off, Section};
use super::values::{self, A_YEAR, quoted};
use crate::time::Micros;
use std::net::SocketAddr;

/// The keys and sections of a pool that are not built yet.
const POOL_LATER: &[Later] = &[
    ("hash_on", Off::Text("client")),
    ("max_in_flight", Off::Number(0.0)),
    ("max_queue", Off::Number(0.0)),
    ("queue_timeout", Off::Length(Micros::from_s(1))),
    ("slow_start", Off::Length(Micros::ZERO)),
    ("panic_below", Off::Number(0.0)),
    ("fallback", Off::Never),
    ("tls", Off::Never),
    ("retry", Off::Never),
    ("eject", Off::Never),
    ("adaptive_limit", Off::Never),
    ("sticky", Off::Never),
];

/// A pool, and where it stands in the file.
pub(super) struct PoolRead {
    pub(super) pool: Pool,
    pub(super) place: Place,
}

/// Reads all pools, in the file's order.
pub(super) fn pools(s: Section<'_>) -> Vec<PoolRead> {
    let report = s.report;
    let mut pools = Vec::new();
    for entry in s.entries() {
        let header = format!("[{}]", entry.place.key);
        if let Err(wrong) = address::label(entry.name) {
            report.error(&entry.place, wrong);
        }
        let place = entry.place.clone();
        if let Some(section) = Section::open(report, entry.value, entry.place, &header) {
            pools.push(PoolRead { pool: pool(entry.name, section), place });
        }
    }
    pools
}

fn pool(name: &str, mut s: Section<'_>) -> Pool {
    const POLICIES: &[(&str, Policy)] = &[
        ("round_robin", Policy::RoundRobin),
        ("least_conn", Policy::LeastConn),
        ("ip_hash", Policy::IpHash),
        ("random_two", Policy::RandomTwo),
    ];
    let policy = s.choice("policy", POLICIES, &["maglev", "peak_ewma"], Policy::default());
    let timeouts = s.section("timeouts").map_or_else(Timeouts::default, timeouts);
    let upstream = s.section("upstream").map_or_else(Upstream::default, upstream);
    let backends = backends(&mut s);
    let health = s.section("health").map(|section| health::health(section, &backends));
    s.finish(POOL_LATER);
    Pool {
        name: name.to_owned(),
        policy,
        timeouts,
        upstream,
        backends,
        health,
        retry: Retry::default(),
        eject: None,
        slow_start: Micros::ZERO,
        panic_below: 0.0,
        fallback: None,
    }
}

fn timeouts(mut s: Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let any = Micros::ZERO..=A_YEAR;
    let timeouts = Timeouts {
        connect: s.length("connect", any.clone(), default.connect),
        response: s.length("response", any.clone(), default.response),
        between_bytes: s.length("between_bytes", any.clone(), default.between_bytes),
        tunnel_idle: s.length("tunnel_idle", any.clone(), default.tunnel_idle),
        total: s.length("total", any, default.total),
    };
    s.finish(&[]);
    timeouts
}

fn upstream(mut s: Section<'_>) -> Upstream {
    let default = Upstream::default();
    s.choice("protocol", &[("http1", ())], &["h2"], ());
    let upstream = Upstream {
        // Not 0: by the contract's convention that would be "no limit", and others would take it for "none".
        idle_per_backend: s.integer("idle_per_backend", 1..=1 << 20, default.idle_per_backend as u64)
            as usize,
        idle_timeout: s.length("idle_timeout", Micros::ZERO..=A_YEAR, default.idle_timeout),
        max_connections: s.integer("max_connections", 0..=1 << 24, default.max_connections as u64) as usize,
    };
    s.finish(&[("max_age", Off::Length(Micros::ZERO)), ("proxy_protocol", Off::Text("off"))]);
    upstream
}

fn backends(s: &mut Section<'_>) -> Vec<Backend> {
    let (mut names, mut addresses) = (Claims::new(), Claims::new());
    let sections = s.sections("backend");
    let backends: Vec<_> =
        sections.into_iter().map(|section| backend(section, &mut names, &mut addresses)).collect();
    if s.lacks("backend") {
        let header = format!("[[{}.backend]]", s.place.key);
        s.report.error(
            &s.place,
            Wrong::new("the pool has no backend", format!("write {header} with an address")),
        );
    }
    if !backends.is_empty() && backends.iter().all(|backend| backend.backup) {
        let what = "every backend is a backup, so none has anything to back up";
        s.report.warn(&s.place_of("backend"), Wrong::new(what, "remove backup = true from at least one"));
    }
    backends
}

fn backend(
    mut s: Section<'_>,
    names: &mut Claims<String>,
    addresses: &mut Claims<BackendAddress>,
) -> Backend {
    s.require("address", "\"10.0.0.11:8080\"");
    let address = s.text("address", address::backend);
    let name = s.text("name", address::label).or_else(|| address.as_ref().map(ToString::to_string));
    if let Some(name) = &name {
        let key = if s.has("name") { "name" } else { "address" };
        if let Some(line) = names.take(s.report, name.clone(), &s.place_of(key)) {
            let what = format!("the backend on line {line} of this pool is called {} too", quoted(name));
            s.error(key, Wrong::new(what, "give each its own name, or remove one"));
        } else if let Some(address) = &address
            && let Some(line) = addresses.take(s.report, address.clone(), &s.place_of("address"))
        {
            let what = format!("the backend on line {line} of this pool has the same address");
            s.report
                .warn(&s.place_of("address"), Wrong::new(what, "remove one and give the other more weight"));
        }
    }
    let backend = Backend {
        name: name.unwrap_or_default(),
        address: address.unwrap_or(BackendAddress::Tcp(SocketAddr::from(([0; 4], 0)))),
        weight: s.integer("weight", 1..=256, 1) as u16,
        backup: s.read("backup", values::flag).unwrap_or(false),
    };
    s.finish(&[]);
    backend
}
