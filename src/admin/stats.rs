//! The page `/stats`: everything that happened since the process began, all backends together.

use super::exported::days_left;
use super::pages::{Quantiles, Waiting};
use crate::control::Desk;
use crate::fleet::status::{self, PoolStatus};
use crate::metrics::{CertificateDays, Summary};
use serde::Serialize;
use std::collections::BTreeMap;

/// The page.
#[derive(Serialize)]
pub(super) struct Stats {
    version: &'static str,
    uptime_seconds: f64,
    ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    shards: usize,
    shards_serving: usize,
    connections: u64,
    accepted: u64,
    in_flight: u64,
    /// Answers passed on.
    requests: u64,
    classes: BTreeMap<&'static str, u64>,
    /// Attempts that failed, by cause.
    failures: BTreeMap<&'static str, u64>,
    retries: u64,
    /// Retries that the budgets had none left for.
    retries_denied: u64,
    ejections: u64,
    failovers: Failovers,
    refusals: Vec<RefusalPage>,
    request_body_bytes: u64,
    response_body_bytes: u64,
    upstream_connects: u64,
    http2: Http2,
    tls: Tls,
    phases: BTreeMap<&'static str, Quantiles>,
    /// What waited for a shard: completions for its loop, and connections for their accept.
    waiting: Waiting,
    pools: Vec<PoolPage>,
    configuration: Configuration,
}

/// What clients do over HTTP/2.
#[derive(Serialize)]
struct Http2 {
    connections: u64,
    requests: u64,
}

/// What there is of TLS.
#[derive(Serialize)]
struct Tls {
    /// By side, and by what they came to; only what happened.
    handshakes: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Of those with clients that were done.
    versions: BTreeMap<&'static str, u64>,
    certificates: Vec<CertificatePage>,
}

/// A certificate: a listener's, or what a pool's backends are shown.
#[derive(Serialize)]
struct CertificatePage {
    #[serde(skip_serializing_if = "String::is_empty")]
    listener: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pool: String,
    file: String,
    days_left: f64,
}

/// What backends that went down came to.
#[derive(Serialize)]
struct Failovers {
    count: u64,
    /// From the first failure until the last shard stopped picking; `null` before the first.
    mean_us: Option<u64>,
    /// Exchanges that clients saw fail meanwhile.
    lost: u64,
}

/// Requests that weir answered by itself; status 0: not at all.
#[derive(Serialize)]
struct RefusalPage {
    cause: &'static str,
    status: u16,
    count: u64,
}

/// A pool.
#[derive(Serialize)]
struct PoolPage {
    name: String,
    backends: usize,
    usable: usize,
    ejected: usize,
    panic: bool,
}

/// The configuration that holds.
#[derive(Serialize)]
struct Configuration {
    path: Option<String>,
    hash: String,
    generation: u64,
    reloads: u64,
    refused: u64,
    /// Why the last reload was refused, if it was.
    last_refusal: Option<String>,
    needs_restart: Vec<String>,
}

/// Adds up what control and the shards know.
pub(super) fn page(desk: &Desk) -> Stats {
    let summary = desk.totals().summary();
    let (backends, pools) = (desk.backends(), desk.pools());
    let left = || pools.iter().map(|pool| &pool.left);
    let (ready, tls) = (desk.ready(), tls(desk, &summary));
    Stats {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: (desk.now() - desk.started()).as_duration().as_secs_f64(),
        ready: ready.is_ok(),
        why: ready.err().map(|why| why.to_string()),
        shards: desk.shards().len(),
        shards_serving: desk.serving(),
        connections: summary.connections,
        accepted: summary.accepted,
        in_flight: backends.iter().map(|backend| u64::from(backend.in_flight)).sum(),
        requests: summary.classes.iter().map(|(_, count)| count).sum(),
        classes: summary.classes.into_iter().collect(),
        failures: summary.failures.into_iter().collect(),
        retries: summary.retries,
        retries_denied: summary.retries_denied,
        ejections: backends
            .iter()
            .map(|backend| backend.ejections)
            .chain(left().map(|left| left.ejections))
            .sum(),
        failovers: failovers(
            backends.iter().map(|backend| &backend.failovers).chain(left().map(|left| &left.failovers)),
        ),
        refusals: summary
            .refusals
            .into_iter()
            .map(|(cause, status, count)| RefusalPage { cause, status, count })
            .collect(),
        request_body_bytes: summary.bytes_in,
        response_body_bytes: summary.bytes_out,
        upstream_connects: summary.connects,
        http2: Http2 { connections: summary.http2_connections, requests: summary.http2_requests },
        tls,
        phases: summary
            .phases
            .iter()
            .map(|(phase, series)| (phase.label(), Quantiles::of(Some(series))))
            .collect(),
        waiting: Waiting::of(&summary.stall, &summary.accept_delay),
        pools: pools.iter().map(pool).collect(),
        configuration: configuration(desk),
    }
}

fn tls(desk: &Desk, summary: &Summary) -> Tls {
    let mut handshakes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (side, came_to, count) in &summary.handshakes {
        handshakes.entry(side.label()).or_default().insert(came_to.label(), *count);
    }
    let (listeners, certificates) = (desk.listeners(), desk.certificates());
    let page = |CertificateDays { listener, pool, file, days_left, .. }: CertificateDays<'_>| {
        CertificatePage { listener: listener.to_owned(), pool: pool.to_owned(), file, days_left }
    };
    Tls {
        handshakes,
        versions: summary.tls_versions.iter().copied().collect(),
        certificates: days_left(&listeners, &certificates).into_iter().map(page).collect(),
    }
}

fn failovers<'a>(all: impl Iterator<Item = &'a status::Failovers> + Clone) -> Failovers {
    let count = all.clone().map(|failovers| failovers.count).sum();
    let sum_us: u64 = all.clone().map(|failovers| failovers.sum.as_us()).sum();
    Failovers { count, mean_us: sum_us.checked_div(count), lost: all.map(|failovers| failovers.lost).sum() }
}

fn pool(pool: &PoolStatus) -> PoolPage {
    let PoolStatus { name, panic, usable, backends, ejected, left: _ } = pool;
    PoolPage { name: name.clone(), backends: *backends, usable: *usable, ejected: *ejected, panic: *panic }
}

fn configuration(desk: &Desk) -> Configuration {
    let held = desk.configuration();
    Configuration {
        path: held.path,
        hash: held.hash,
        generation: held.generation,
        reloads: held.reloads,
        refused: held.refused,
        last_refusal: held.last_reload,
        needs_restart: held.needs_restart,
    }
}
