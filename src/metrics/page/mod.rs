//! The page that `/metrics` shows: every declared metric with its samples.
//!
//! Called by `admin` with what `control` knows. Pure text: it collects nothing and looks at no clock.
//!
//! | file | what lives there |
//! |---|---|
//! | `facts` | what control knows, in the page's own terms |
//! | `rows` | the backends, or the pools in their place |

mod facts;
mod rows;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

pub use facts::{
    AccessLogFacts, BackendFacts, CertificateDays, ConfigFacts, Facts, ListenerFacts, Past, PoolFacts,
    ShardFacts, SpanFacts,
};

use super::declared as metric;
use super::exposition::{Format, Level, Text};
use super::labels::{Handshake, Phase, Side, TlsVersion, UpstreamFailure};
use super::stats::CLASSES;
use super::totals::{BackendTotals, ShardTotals, Totals};
use crate::config::GrpcStatus;
use crate::limit::LifeOver;
use crate::time::Micros;
use metric::Metric;
use rows::{Row, rows};
use std::collections::HashSet;

/// The whole page.
pub fn page(totals: &Totals, facts: &Facts<'_>, format: Format, level: Level) -> String {
    let rows = rows(totals, facts, level);
    let mut text = Text::new(format, level);
    process(&mut text, facts);
    service(&mut text, totals, facts);
    access_log(&mut text, &facts.access_log);
    spans(&mut text, &facts.spans);
    configuration(&mut text, &facts.config);
    certificates(&mut text, &facts.certificates);
    shards(&mut text, totals);
    listeners(&mut text, facts);
    handshakes(&mut text, totals);
    spoken(&mut text, totals);
    hearts(&mut text, facts);
    traffic(&mut text, &rows);
    refusals(&mut text, totals);
    health(&mut text, &rows);
    if level == Level::Backend {
        each(&mut text, facts);
    }
    pools(&mut text, facts);
    latency(&mut text, totals, &rows);
    text.into_string()
}

fn process(text: &mut Text, facts: &Facts<'_>) {
    let usage = &facts.usage;
    let cpu_us = usage.cpu.and_then(|cpu| u64::try_from(cpu.as_micros()).ok());
    let whole: [(&'static Metric, Option<u64>); 5] = [
        (&metric::PROCESS_CPU, cpu_us),
        (&metric::PROCESS_RESIDENT, usage.resident_bytes),
        (&metric::PROCESS_VIRTUAL, usage.virtual_bytes),
        (&metric::PROCESS_OPEN, usage.open_descriptors),
        (&metric::PROCESS_OPEN_MAX, usage.descriptors_max),
    ];
    for (declared, value) in whole {
        let mut family = text.family(declared);
        value.into_iter().for_each(|value| family.sample(&[], value));
    }
    let mut family = text.family(&metric::PROCESS_STARTED);
    usage.started_unix_s.into_iter().for_each(|started| family.ratio(&[], started));
}

fn service(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    text.family(&metric::BUILD).sample(&[env!("CARGO_PKG_VERSION")], 1);
    text.family(&metric::UPTIME).sample(&[], facts.uptime.as_us());
    text.family(&metric::READY).sample(&[], facts.ready.into());
    let mut family = text.family(&metric::SHARDS);
    family.sample(&["serving"], facts.serving as u64);
    let ended = totals.shards.len().saturating_sub(facts.serving);
    family.sample(&["ended"], ended as u64);
    text.family(&metric::DEGRADED).sample(&[], (ended > 0).into());
}

fn spans(text: &mut Text, spans: &SpanFacts) {
    text.family(&metric::SPANS).sample(&[], spans.exported);
    let mut family = text.family(&metric::SPANS_DROPPED);
    spans.dropped.iter().for_each(|(cause, count)| family.sample(&[cause], *count));
}

fn configuration(text: &mut Text, config: &ConfigFacts<'_>) {
    text.family(&metric::CONFIG).sample(&[config.hash], 1);
    text.family(&metric::CONFIG_GENERATION).sample(&[], config.generation);
    let mut family = text.family(&metric::RELOADS);
    family.sample(&["succeeded"], config.reloads);
    family.sample(&["refused"], config.refused);
    text.family(&metric::RELOAD_SUCCESS).sample(&[], config.last_succeeded.into());
    text.family(&metric::RELOAD_TIME).ratio(&[], config.loaded_unix_s as f64);
    text.family(&metric::NEEDS_RESTART).sample(&[], config.needs_restart as u64);
}

/// One sample of a file that a listener names twice. A label that is empty is none.
fn certificates(text: &mut Text, certificates: &[CertificateDays<'_>]) {
    let mut told = HashSet::new();
    let each = certificates.iter();
    let once: Vec<_> = each.filter(|one| told.insert((one.listener, one.pool, one.file.as_str()))).collect();
    let mut family = text.family(&metric::CERTIFICATE_DAYS);
    for CertificateDays { listener, pool, file, days_left, .. } in &once {
        family.ratio(&[listener, pool, file], *days_left);
    }
    let mut family = text.family(&metric::STAPLE_DAYS);
    for CertificateDays { listener, file, staple_days_left, .. } in once {
        if let Some(days_left) = staple_days_left {
            family.ratio(&[listener, file], *days_left);
        }
    }
}

fn access_log(text: &mut Text, log: &AccessLogFacts) {
    text.family(&metric::LOG_LINES).sample(&[], log.lines);
    let mut family = text.family(&metric::LOG_DROPPED);
    (0..)
        .zip(&log.dropped)
        .for_each(|(shard, dropped): (u16, _)| family.sample(&[&shard.to_string()], *dropped));
    text.family(&metric::LOG_ERRORS).sample(&[], log.errors);
}

fn shards(text: &mut Text, totals: &Totals) {
    type Value = fn(&ShardTotals) -> u64;
    let per_shard: [(&'static Metric, Value); 18] = [
        (&metric::CONNECTIONS, |shard| shard.connections.into()),
        (&metric::CONNECTIONS_MAX, |shard| shard.connections_max.into()),
        (&metric::HTTP2_CONNECTIONS, |shard| shard.http2_connections.into()),
        (&metric::HTTP2_REQUESTS, |shard| shard.http2_requests),
        (&metric::IDLE_UPSTREAM, |shard| shard.idle_upstream.into()),
        (&metric::ACCEPTED, |shard| shard.accepted),
        (&metric::ACCEPT_PAUSES, |shard| shard.accept_pauses),
        (&metric::EVICTED, |shard| shard.evicted),
        (&metric::HANDED_OVER, |shard| shard.handed_over),
        (&metric::NOT_KEPT, |shard| shard.not_kept),
        (&metric::RING_TURNS, |shard| shard.ring.turns),
        (&metric::RING_COMPLETIONS, |shard| shard.ring.completions),
        (&metric::RING_PARKS, |shard| shard.ring.parks),
        (&metric::RING_NO_BUFFERS, |shard| shard.ring.no_buffers),
        (&metric::RING_BUFFERS, |shard| shard.ring.buffers_in_use),
        (&metric::RING_BUFFERS_ALL, |shard| shard.ring.buffers),
        (&metric::RING_PARKED, |shard| shard.ring.parked_us),
        (&metric::RING_SPUN, |shard| shard.ring.spun_us),
    ];
    for (declared, value) in per_shard {
        let mut family = text.family(declared);
        for (number, shard) in totals.shards.iter().enumerate() {
            family.sample(&[&number.to_string()], value(shard));
        }
    }
    type Counts = fn(&ShardTotals) -> [u64; LifeOver::ALL.len()];
    let per_cause: [(&'static Metric, Counts); 2] = [
        (&metric::LIVED_OUT, |shard| shard.lived_out),
        (&metric::UPSTREAM_LIVED_OUT, |shard| shard.upstream_lived_out),
    ];
    for (declared, counts) in per_cause {
        let mut family = text.family(declared);
        for (number, shard) in totals.shards.iter().enumerate() {
            let counted = LifeOver::ALL.into_iter().zip(counts(shard));
            counted.for_each(|(limit, count)| family.sample(&[&number.to_string(), limit.label()], count));
        }
    }
    text.family(&metric::IMBALANCE).ratio(&[], totals.imbalance().unwrap_or(1.0));
}

fn listeners(text: &mut Text, facts: &Facts<'_>) {
    let mut family = text.family(&metric::REFUSED_CONNECTIONS);
    for listener in &facts.listeners {
        for (cause, count) in listener.refused {
            family.sample(&[listener.name, cause], count);
        }
    }
}

fn hearts(text: &mut Text, facts: &Facts<'_>) {
    let mut family = text.family(&metric::SHARD_STALLS);
    facts.shards.iter().for_each(|shard| family.sample(&[&shard.number.to_string()], shard.stalls));
    let mut family = text.family(&metric::SHARD_STALLED);
    facts.shards.iter().for_each(|shard| family.sample(&[&shard.number.to_string()], shard.stalled.into()));
    let mut family = text.family(&metric::SHARD_BEAT);
    for shard in &facts.shards {
        if let Some(ago) = shard.beat_ago {
            family.sample(&[&shard.number.to_string()], ago.as_us());
        }
    }
}

/// A family of one number for each row that there is one for.
fn by_row(
    text: &mut Text,
    rows: &[Row<'_>],
    declared: &'static Metric,
    value: impl Fn(&Row<'_>) -> Option<u64>,
) {
    let mut family = text.family(declared);
    for row in rows {
        if let Some(value) = value(row) {
            family.sample(&[row.pool, row.backend], value);
        }
    }
}

fn traffic(text: &mut Text, rows: &[Row<'_>]) {
    let mut family = text.family(&metric::REQUESTS);
    for row in rows {
        let classes = row.recorded.iter().flat_map(|recorded| CLASSES.iter().zip(recorded.classes));
        classes.for_each(|(class, count)| family.sample(&[row.pool, row.backend, class], count));
    }
    let mut family = text.family(&metric::CALLS);
    for row in rows {
        let calls = row.recorded.iter().flat_map(|recorded| GrpcStatus::ALL.into_iter().zip(recorded.calls));
        for (status, count) in calls.filter(|(_, count)| *count > 0) {
            family.sample(&[row.pool, row.backend, status.word()], count);
        }
    }
    let mut family = text.family(&metric::FAILURES);
    for row in rows {
        let causes =
            row.recorded.iter().flat_map(|recorded| UpstreamFailure::ALL.iter().zip(recorded.failures));
        causes.for_each(|(cause, count)| family.sample(&[row.pool, row.backend, cause.label()], count));
    }
    type Value = fn(&BackendTotals) -> u64;
    let recorded: [(&'static Metric, Value); 6] = [
        (&metric::RETRIES, |total| total.retries),
        (&metric::RETRIES_DENIED, |total| total.retries_denied),
        (&metric::CONNECTS, |total| total.connects),
        (&metric::CONNECT_TIME, |total| total.connects_us),
        (&metric::BYTES_IN, |total| total.bytes_in),
        (&metric::BYTES_OUT, |total| total.bytes_out),
    ];
    for (declared, value) in recorded {
        by_row(text, rows, declared, |row| row.recorded.as_deref().map(value));
    }
}

/// What clients speak.
fn spoken(text: &mut Text, totals: &Totals) {
    let mut family = text.family(&metric::TLS_VERSIONS);
    for version in TlsVersion::ALL {
        let of = |shard: &ShardTotals| shard.tls_versions[*version as usize];
        family.sample(&[version.label()], totals.shards.iter().map(of).sum());
    }
}

fn handshakes(text: &mut Text, totals: &Totals) {
    let mut family = text.family(&metric::HANDSHAKES);
    for side in Side::ALL {
        for came_to in Handshake::ALL {
            // Nobody speaks plain HTTP to a client.
            if (*side, *came_to) != (Side::Backend, Handshake::NotTls) {
                let of = |shard: &ShardTotals| shard.handshakes[*side as usize][*came_to as usize];
                family.sample(&[side.label(), came_to.label()], totals.shards.iter().map(of).sum());
            }
        }
    }
}

fn refusals(text: &mut Text, totals: &Totals) {
    let mut family = text.family(&metric::REFUSALS);
    for ((cause, status), count) in &totals.refusals {
        let status = if *status == 0 { "none".to_owned() } else { status.to_string() };
        family.sample(&[cause, &status], *count);
    }
}

fn health(text: &mut Text, rows: &[Row<'_>]) {
    let mut family = text.family(&metric::STATE);
    for row in rows {
        row.states.iter().for_each(|(state, count)| family.sample(&[row.pool, row.backend, state], *count));
    }
    type Value = fn(&Row<'_>) -> u64;
    let told: [(&'static Metric, Value); 8] = [
        (&metric::USABLE, |row| row.usable),
        (&metric::IN_FLIGHT, |row| row.in_flight),
        (&metric::WEIGHT, |row| row.weight),
        (&metric::TRANSITIONS, |row| row.past.transitions),
        (&metric::EJECTIONS, |row| row.past.ejections),
        (&metric::FAILOVERS, |row| row.past.failovers),
        (&metric::FAILOVER_TIME, |row| row.past.failover_time.as_us()),
        (&metric::FAILOVER_LOST, |row| row.past.failover_lost),
    ];
    for (declared, value) in told {
        by_row(text, rows, declared, |row| Some(value(row)));
    }
}

/// What is a backend's own ([`metric::NOT_BY_POOL`]).
fn each(text: &mut Text, facts: &Facts<'_>) {
    let mut family = text.family(&metric::SHARE);
    facts.backends.iter().for_each(|backend| family.ratio(&[backend.pool, backend.name], backend.share));
    let mut family = text.family(&metric::PROBES);
    for backend in &facts.backends {
        family.sample(&[backend.pool, backend.name, "passed"], backend.probes_passed);
        family.sample(&[backend.pool, backend.name, "failed"], backend.probes_failed);
    }
    let mut family = text.family(&metric::PROBE_TIME);
    for backend in &facts.backends {
        let took = backend.probe_took.map(Micros::as_us);
        took.into_iter().for_each(|took| family.sample(&[backend.pool, backend.name], took));
    }
    let mut family = text.family(&metric::FAILOVER_LAST);
    for backend in &facts.backends {
        let last = backend.failover_last.map(Micros::as_us);
        last.into_iter().for_each(|last| family.sample(&[backend.pool, backend.name], last));
    }
}

fn pools(text: &mut Text, facts: &Facts<'_>) {
    let mut family = text.family(&metric::POOL_USABLE);
    facts.pools.iter().for_each(|pool| family.sample(&[pool.name], pool.usable as u64));
    let mut family = text.family(&metric::POOL_PANIC);
    facts.pools.iter().for_each(|pool| family.sample(&[pool.name], pool.panic.into()));
}

fn latency(text: &mut Text, totals: &Totals, rows: &[Row<'_>]) {
    type Series = fn(&ShardTotals) -> &super::Series<u64>;
    let per_shard: [(&'static Metric, Series); 4] = [
        (&metric::LOOP_STALL, |shard| &shard.stall),
        (&metric::ACCEPT_DELAY, |shard| &shard.accept_delay),
        (&metric::HANDSHAKE_TIME, |shard| &shard.handshake_time),
        (&metric::VIEW_AGE, |shard| &shard.view_age),
    ];
    for (declared, series) in per_shard {
        let mut family = text.family(declared);
        for (number, shard) in totals.shards.iter().enumerate() {
            family.distribution(&[&number.to_string()], series(shard));
        }
    }
    let mut family = text.family(&metric::PHASES);
    for row in rows {
        if let Some(recorded) = &row.recorded {
            for phase in Phase::ALL {
                family.distribution(&[row.pool, row.backend, phase.label()], recorded.phase(*phase));
            }
        }
    }
}
