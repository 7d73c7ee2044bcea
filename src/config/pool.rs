//! `[pool.NAME]`: backends, how one is picked, and the connections to them.
//!
//! Here: everything of a pool but its health check (`health.rs` beside this file) and what it does about
//! failures (`failure.rs`).

use super::address;
use super::failure;
use super::fault::{Place, Wrong};
use super::health;
use super::model::{
    Backend, BackendAddress, Check, Policy, Pool, Protocol, Retry, Runtime, Timeouts, Upstream,
};
use super::reference::{Claims, find};
use super::section::{Entry, Later, Off, Section};
use super::tls;
use super::values::{self, A_YEAR, ANY_REQUESTS, Other, quoted};
use crate::time::Micros;
use std::net::SocketAddr;

/// The keys and sections of a pool that are not built yet.
const POOL_LATER: &[Later] = &[
    ("hash_on", Off::Text("client")),
    ("max_in_flight", Off::Number(0.0)),
    ("max_queue", Off::Number(0.0)),
    ("queue_timeout", Off::Length(Micros::from_s(1))),
    ("adaptive_limit", Off::Never),
    ("sticky", Off::Never),
];

/// A pool, and where it stands in the file.
pub(super) struct PoolRead {
    pub(super) pool: Pool,
    pub(super) place: Place,
    fallback_place: Place,
}

/// Reads all pools, in the file's order.
pub(super) fn pools(s: Section<'_>, runtime: &Runtime) -> Vec<PoolRead> {
    let report = s.report;
    let entries = s.entries();
    // Those that become pools below, so that a name's place here is its pool's there.
    let is_section = |entry: &&Entry<'_>| entry.value.get_ref().as_table().is_some();
    let names: Vec<_> = entries.iter().filter(is_section).map(|entry| entry.name.to_owned()).collect();
    let mut pools = Vec::new();
    for entry in entries {
        let header = format!("[{}]", entry.place.key);
        if let Err(wrong) = address::label(entry.name) {
            report.error(&entry.place, wrong);
        }
        let place = entry.place.clone();
        if let Some(section) = Section::open(report, entry.value, entry.place, &header) {
            let fallback_place = section.place_of("fallback");
            pools.push(PoolRead { pool: pool(entry.name, section, &names, runtime), place, fallback_place });
        }
    }
    let link = |read: &PoolRead| (read.pool.name.clone(), read.pool.fallback, read.fallback_place.clone());
    failure::fallback_circles(report, &pools.iter().map(link).collect::<Vec<_>>());
    pools
}

fn pool(name: &str, mut s: Section<'_>, names: &[String], runtime: &Runtime) -> Pool {
    const POLICIES: &[(&str, Policy)] = &[
        ("round_robin", Policy::RoundRobin),
        ("least_conn", Policy::LeastConn),
        ("ip_hash", Policy::IpHash),
        ("random_two", Policy::RandomTwo),
    ];
    let policy = s.choice("policy", POLICIES, &[("maglev", None), ("peak_ewma", None)], Policy::default());
    let timeouts = s.section("timeouts").map_or_else(Timeouts::default, timeouts);
    let upstream = s.section("upstream").map_or_else(Upstream::default, upstream);
    let backends = backends(&mut s);
    let health = s.section("health").map(|section| health::health(section, &backends));
    let tls = s.section("tls").and_then(|section| tls::pool(section, &backends));
    let retry = s.section("retry").map_or_else(Retry::default, |section| failure::retry(section, runtime));
    let eject = s.section("eject").map(|section| failure::eject(section, &backends));
    let pool = Pool {
        name: name.to_owned(),
        policy,
        timeouts,
        upstream,
        backends,
        health,
        retry,
        eject,
        slow_start: s.length("slow_start", Micros::ZERO..=Micros::from_s(24 * 3600), Micros::ZERO),
        panic_below: s.read("panic_below", values::share).unwrap_or(0.0),
        fallback: s.text("fallback", |name| find("pool", name, names)),
        tls,
    };
    if pool.upstream.protocol == Protocol::Http1 {
        warn_of_grpc(&s, &pool);
    }
    if pool.health.is_none() && pool.eject.is_none() {
        warn_of_no_failures(&s, &pool);
    }
    s.finish(POOL_LATER);
    pool
}

/// What is meant for gRPC in a pool that cannot carry it. A check speaks HTTP/2 all the same.
fn warn_of_grpc(s: &Section<'_>, pool: &Pool) {
    let is_checked = pool.health.as_ref().is_some_and(|health| matches!(health.check, Check::Grpc(_)));
    for (is_there, key, or) in [
        (!pool.retry.on.grpc.is_empty(), "retry", "remove gRPC's statuses from on"),
        (is_checked, "health", "write type = \"http\""),
    ] {
        if is_there {
            let what = "gRPC needs HTTP/2, and this pool speaks HTTP/1.1 to its backends";
            let remedy = format!("write protocol = \"h2\" in [{}.upstream], or {or}", s.place.key);
            s.report.warn(&s.place_of(key), Wrong::new(what, remedy));
        }
    }
}

/// What waits for backends to go down means nothing in a pool that never takes one down.
fn warn_of_no_failures(s: &Section<'_>, pool: &Pool) {
    let header = &s.place.key;
    let remedy = format!("add [{header}.health] or [{header}.eject], or remove it");
    let what = "without health checks and ejection no backend of this pool ever counts as down";
    // The backends of a name come and go with it.
    let is_fixed =
        |backend: &Backend| matches!(backend.address, BackendAddress::Tcp(_) | BackendAddress::Unix(_));
    if pool.panic_below > 0.0 {
        s.report.warn(&s.place_of("panic_below"), Wrong::new(what, remedy));
    } else if pool.fallback.is_some() && pool.backends.iter().all(is_fixed) {
        s.report.warn(&s.place_of("fallback"), Wrong::new(what, remedy));
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
    const PROTOCOLS: &[(&str, Protocol)] = &[("http1", Protocol::Http1), ("h2", Protocol::Http2)];
    // With TLS or without is not said here; nor is what HTTP/2 carries.
    const H2: Option<&str> = Some("write \"h2\"; with TLS it is spoken where the pool has a section tls");
    const HTTP1: Option<&str> =
        Some("write \"http1\"; with TLS it is spoken where the pool has a section tls");
    const OTHERS: &[Other] = &[
        ("http2", H2),
        ("http/2", H2),
        ("h2c", H2),
        ("grpc", H2),
        ("http", HTTP1),
        ("http/1.1", HTTP1),
        ("https", HTTP1),
    ];
    let upstream = Upstream {
        protocol: s.choice("protocol", PROTOCOLS, OTHERS, default.protocol),
        // Not 0: by the contract's convention that would be "no limit", and others would take it for "none".
        idle_per_backend: s.integer("idle_per_backend", 1..=1 << 20, default.idle_per_backend as u64)
            as usize,
        idle_timeout: s.length("idle_timeout", Micros::ZERO..=A_YEAR, default.idle_timeout),
        max_connections: s.integer("max_connections", 0..=1 << 24, default.max_connections as u64) as usize,
        max_age: s.length("max_age", Micros::ZERO..=A_YEAR, default.max_age),
        max_requests: s.integer("max_requests", ANY_REQUESTS, default.max_requests.into()) as u32,
    };
    s.finish(&[("proxy_protocol", Off::Text("off"))]);
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
