//! The page `/metrics`: in which form it is asked for, and what control knows, handed to the exposition in its
//! own terms.
//!
//! `metrics` is a room above `control` and cannot read its types; so they are told over here.

use super::problem::Problem;
use crate::control::{Desk, InUse};
use crate::fleet::status::{BackendStatus, Left, PoolStatus, ShardStatus};
use crate::limit::Exceeded;
use crate::log::access::Counts;
use crate::log::export::{Cause, SpanCounts};
use crate::metrics::{
    AccessLogFacts, BackendFacts, CertificateDays, ConfigFacts, Facts, Format, Level, ListenerFacts, Past,
    PoolFacts, ShardFacts, SpanFacts, page,
};
use crate::sys::{clock, process};
use crate::tls::CertificateFacts;
use crate::topology::ListenerPlan;
use hyper::HeaderMap;
use hyper::header::ACCEPT;
use std::sync::Arc;

/// The form that whoever asks likes best, by `Accept`: Prometheus text, unless OpenMetrics is named and is
/// liked as well.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let (mut text, mut open) = (0.0, 0.0);
    let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    for range in fields.flat_map(|field| field.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut version, mut quality) = (None, 1.0);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => version = Some(value.trim()),
                "q" => quality = value.trim().parse::<f64>().unwrap_or(0.0),
                _ => {}
            }
        }
        let best = match (kind.as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0")) => &mut open,
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => &mut text,
            _ => continue,
        };
        *best = quality.max(*best);
    }
    if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Prometheus }
}

/// The type that a page of this form has.
pub(super) fn content_type(format: Format) -> &'static str {
    match format {
        Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    }
}

/// How much is asked for, by `?level=`.
///
/// # Errors
/// There is no such level or parameter.
pub(super) fn level(query: Option<&str>) -> Result<Level, Problem> {
    let mut level = Level::default();
    for part in query.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
        level = match part.split_once('=') {
            Some(("level", "backend")) => Level::Backend,
            Some(("level", "pool")) => Level::Pool,
            _ => {
                return Err(Problem::bad_request(
                    format!("{part:?} is not known here"),
                    "write level=pool for less, or level=backend",
                ));
            }
        };
    }
    Ok(level)
}

/// The whole page.
pub(super) fn metrics(desk: &Desk, format: Format, level: Level) -> String {
    let (backends, pools, held) = (desk.backends(), desk.pools(), desk.configuration());
    let (listeners, leaving, certificates) = (desk.listeners(), desk.leaving(), desk.certificates());
    let facts = Facts {
        backends: backends.iter().map(backend).collect(),
        leaving: leaving.iter().map(|(id, pool)| (*id, &**pool)).collect(),
        pools: pools.iter().map(pool).collect(),
        listeners: listeners.iter().map(|plan| listener(plan)).collect(),
        certificates: days_left(&listeners, &certificates),
        shards: desk.shards().iter().map(shard).collect(),
        config: ConfigFacts {
            hash: &held.hash,
            generation: held.generation,
            reloads: held.reloads,
            refused: held.refused,
            last_succeeded: held.last_reload.is_none(),
            loaded_unix_s: held.last_success_unix_s,
            needs_restart: held.needs_restart.len(),
        },
        usage: process::usage(),
        access_log: desk.access_log_counts().map(access_log).unwrap_or_default(),
        spans: desk.spans().map(spans).unwrap_or_default(),
        uptime: desk.now() - desk.started(),
        ready: desk.ready().is_ok(),
        serving: desk.serving(),
    };
    page(&desk.totals(), &facts, format, level)
}

fn spans(counts: &SpanCounts) -> SpanFacts {
    let dropped = Cause::ALL.map(|cause| (cause.label(), counts.dropped(cause)));
    SpanFacts { exported: counts.exported(), dropped }
}

fn access_log(counts: &Counts) -> AccessLogFacts {
    let dropped = counts.dropped_by_shard().collect();
    AccessLogFacts { lines: counts.lines(), errors: counts.errors(), dropped }
}

fn backend(backend: &BackendStatus) -> BackendFacts<'_> {
    BackendFacts {
        id: backend.id,
        pool: &backend.pool,
        name: &backend.name,
        state: backend.state.label(),
        usable: backend.usable,
        in_flight: backend.in_flight,
        probes_passed: backend.probes_passed,
        probes_failed: backend.probes_failed,
        probe_took: backend.probe_took,
        weight: backend.weight,
        share: backend.share,
        past: past(&Left {
            transitions: backend.transitions,
            ejections: backend.ejections,
            failovers: backend.failovers,
        }),
        failover_last: backend.failovers.last,
    }
}

fn past(left: &Left) -> Past {
    Past {
        transitions: left.transitions,
        ejections: left.ejections,
        failovers: left.failovers.count,
        failover_time: left.failovers.sum,
        failover_lost: left.failovers.lost,
    }
}

fn pool(pool: &PoolStatus) -> PoolFacts<'_> {
    PoolFacts { name: &pool.name, usable: pool.usable, panic: pool.panic, left: past(&pool.left) }
}

fn listener(plan: &ListenerPlan) -> ListenerFacts<'_> {
    let refused = Exceeded::ALL.map(|exceeded| (exceeded.label(), plan.connections.refused(exceeded)));
    ListenerFacts { name: &plan.rules.name, refused }
}

/// How long each certificate holds yet.
pub(super) fn days_left<'a>(
    listeners: &'a [Arc<ListenerPlan>],
    certificates: &'a InUse,
) -> Vec<CertificateDays<'a>> {
    let now_unix_s = clock::unix_s();
    let days = |listener, pool, facts: &CertificateFacts| {
        let (file, days_left) = (facts.file.display().to_string(), facts.days_left(now_unix_s));
        let staple_days_left = facts.staple_days_left(now_unix_s);
        CertificateDays { listener, pool, file, days_left, staple_days_left }
    };
    let of_listeners = listeners.iter().zip(&certificates.listeners);
    let of_pools = certificates.pools.iter().map(|(pool, facts)| days("", pool, facts));
    of_listeners
        .flat_map(|(plan, all)| all.iter().map(|facts| days(&plan.rules.name, "", facts)))
        .chain(of_pools)
        .collect()
}

fn shard(shard: &ShardStatus) -> ShardFacts {
    ShardFacts {
        number: shard.number,
        stalled: shard.stalled,
        stalls: shard.stalls,
        beat_ago: shard.beat_ago.filter(|_| shard.alive),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn openmetrics_is_for_who_names_it_and_likes_it_as_well() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
                     escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, Format::OpenMetrics),
            (newer, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("APPLICATION/OpenMetrics-Text ; Version=1.0.0 ; Q=0.9, text/plain;q=0.2", Format::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0, */*", Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Prometheus),
            ("application/openmetrics-text;version=1.0.0;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=0.5, text/plain", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html", Format::Prometheus),
            ("", Format::Prometheus),
            (";;q=x,=,", Format::Prometheus),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(format(&headers), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Prometheus);
    }

    #[test]
    fn a_level_is_one_of_two() {
        for (query, expected) in [
            (None, Some(Level::Backend)),
            (Some(""), Some(Level::Backend)),
            (Some("level=backend"), Some(Level::Backend)),
            (Some("level=pool"), Some(Level::Pool)),
            (Some("level=shard"), None),
            (Some("level"), None),
            (Some("pool=app"), None),
        ] {
            assert_eq!(level(query).ok(), expected, "{query:?}");
        }
    }
}
