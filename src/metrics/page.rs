//! The page that `/metrics` shows: every declared metric with its samples.
//!
//! Called by `admin` with what `control` knows. Pure text: it collects nothing and looks at no clock.

use super::declared as metric;
use super::exposition::Text;
use super::stats::{CLASSES, Phase, UpstreamFailure};
use super::totals::{BackendTotals, ShardTotals, Totals};
use crate::balance::BackendId;
use crate::time::Micros;

/// What control knows about one backend, beside what the shards recorded.
#[derive(Clone, Copy, Debug)]
pub struct BackendFacts<'a> {
    /// Its number, by which the shards recorded.
    pub id: BackendId,
    /// Its pool's name.
    pub pool: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its state's word.
    pub state: &'a str,
    /// Whether it may be picked.
    pub usable: bool,
    /// In flight over all shards, as last reported.
    pub in_flight: u32,
    /// Checks passed.
    pub probes_passed: u64,
    /// Checks failed.
    pub probes_failed: u64,
    /// How long the last check took; `None` before the first, and without a check.
    pub probe_took: Option<Micros>,
    /// Changes of state.
    pub transitions: u64,
    /// 1 to 256, as it holds now.
    pub weight: u16,
    /// Share of its weight that it has, 0 to 1.
    pub share: f64,
    /// Times that it was ejected.
    pub ejections: u64,
    /// Times that it failed and every shard stopped picking it.
    pub failovers: u64,
    /// How long that took, in all and the last time.
    pub failover_time: Micros,
    /// How long it took the last time; `None`: it never did.
    pub failover_last: Option<Micros>,
    /// Exchanges that clients saw fail meanwhile.
    pub failover_lost: u64,
}

/// What control knows about one pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Backends that may be picked.
    pub usable: usize,
    /// All of them get traffic, because so few are healthy.
    pub panic: bool,
}

/// What control knows about one listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Connections that were closed at once, by the key that says how many there may be.
    pub refused: [(&'static str, u64); 2],
}

/// What control knows about one shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardFacts {
    /// Its number, from 0.
    pub number: u16,
    /// Its heart does not beat.
    pub stalled: bool,
    /// Times that it did not.
    pub stalls: u64,
    /// How long ago it beat; `None`: it is not watched, or the shard has ended.
    pub beat_ago: Option<Micros>,
}

/// What control knows about the configuration.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFacts<'a> {
    /// The text's hash; empty if it came from no file.
    pub hash: &'a str,
    /// Changes of what is served.
    pub generation: u64,
    /// Reloads that succeeded.
    pub reloads: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// The last one was not refused.
    pub last_succeeded: bool,
    /// When the one that holds was loaded, in seconds since 1970.
    pub loaded_unix_s: u64,
    /// Changes in the file that only a restart can bring.
    pub needs_restart: usize,
}

/// What became of the spans of sampled exchanges.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpanFacts {
    /// A collector has taken them.
    pub exported: u64,
    /// Dropped, by cause.
    pub dropped: [(&'static str, u64); 4],
}

/// What control knows, beside what the shards recorded.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// In the order in which they are shown.
    pub backends: Vec<BackendFacts<'a>>,
    /// The pools.
    pub pools: Vec<PoolFacts<'a>>,
    /// The listeners.
    pub listeners: Vec<ListenerFacts<'a>>,
    /// The shards.
    pub shards: Vec<ShardFacts>,
    /// The configuration that holds.
    pub config: ConfigFacts<'a>,
    /// Traces.
    pub spans: SpanFacts,
    /// Since the process began.
    pub uptime: Micros,
    /// Whether `/readyz` says so.
    pub ready: bool,
    /// Shards that have not ended.
    pub serving: usize,
}

/// The whole page.
pub fn page(totals: &Totals, facts: &Facts<'_>) -> String {
    let mut text = Text::default();
    process(&mut text, totals, facts);
    spans(&mut text, &facts.spans);
    configuration(&mut text, &facts.config);
    shards(&mut text, totals);
    listeners(&mut text, facts);
    hearts(&mut text, facts);
    traffic(&mut text, totals, facts);
    health(&mut text, facts);
    failovers(&mut text, facts);
    pools(&mut text, facts);
    latency(&mut text, totals, facts);
    text.into_string()
}

fn process(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    text.family(&metric::BUILD).sample(&[env!("CARGO_PKG_VERSION")], 1);
    text.family(&metric::UPTIME).sample(&[], facts.uptime.as_us());
    text.family(&metric::READY).sample(&[], facts.ready.into());
    let mut family = text.family(&metric::SHARDS);
    family.sample(&["serving"], facts.serving as u64);
    let ended = totals.shards.len().saturating_sub(facts.serving);
    family.sample(&["ended"], ended as u64);
    text.family(&metric::DEGRADED).sample(&[], (ended > 0).into());
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

fn spans(text: &mut Text, spans: &SpanFacts) {
    text.family(&metric::SPANS).sample(&[], spans.exported);
    let mut family = text.family(&metric::SPANS_DROPPED);
    spans.dropped.iter().for_each(|(cause, count)| family.sample(&[cause], *count));
}

fn shards(text: &mut Text, totals: &Totals) {
    type Value = fn(&ShardTotals) -> u64;
    let per_shard: [(&'static metric::Metric, Value); 11] = [
        (&metric::CONNECTIONS, |shard| shard.connections.into()),
        (&metric::IDLE_UPSTREAM, |shard| shard.idle_upstream.into()),
        (&metric::ACCEPTED, |shard| shard.accepted),
        (&metric::ACCEPT_PAUSES, |shard| shard.accept_pauses),
        (&metric::EVICTED, |shard| shard.evicted),
        (&metric::NOT_KEPT, |shard| shard.not_kept),
        (&metric::RING_TURNS, |shard| shard.ring.turns),
        (&metric::RING_COMPLETIONS, |shard| shard.ring.completions),
        (&metric::RING_PARKS, |shard| shard.ring.parks),
        (&metric::RING_NO_BUFFERS, |shard| shard.ring.no_buffers),
        (&metric::RING_BUFFERS, |shard| shard.ring.buffers_in_use),
    ];
    for (declared, value) in per_shard {
        let mut family = text.family(declared);
        for (number, shard) in totals.shards.iter().enumerate() {
            family.sample(&[&number.to_string()], value(shard));
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

/// The backends that there are, and what the shards recorded of each.
fn recorded<'a>(
    totals: &'a Totals,
    facts: &'a Facts<'a>,
) -> impl Iterator<Item = (&'a BackendFacts<'a>, &'a BackendTotals)> {
    facts.backends.iter().filter_map(|backend| Some((backend, totals.backend(backend.id)?)))
}

fn traffic(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    let backends = || recorded(totals, facts);
    let mut family = text.family(&metric::REQUESTS);
    for (backend, total) in backends() {
        for (class, count) in CLASSES.iter().zip(total.classes) {
            family.sample(&[backend.pool, backend.name, class], count);
        }
    }
    let mut family = text.family(&metric::FAILURES);
    for (backend, total) in backends() {
        for (cause, count) in UpstreamFailure::ALL.iter().zip(total.failures) {
            family.sample(&[backend.pool, backend.name, cause.label()], count);
        }
    }
    type Value = fn(&BackendTotals) -> u64;
    let per_backend: [(&'static metric::Metric, Value); 6] = [
        (&metric::RETRIES, |total| total.retries),
        (&metric::RETRIES_DENIED, |total| total.retries_denied),
        (&metric::CONNECTS, |total| total.connects),
        (&metric::CONNECT_TIME, |total| total.connects_us),
        (&metric::BYTES_IN, |total| total.bytes_in),
        (&metric::BYTES_OUT, |total| total.bytes_out),
    ];
    for (declared, value) in per_backend {
        let mut family = text.family(declared);
        backends().for_each(|(backend, total)| family.sample(&[backend.pool, backend.name], value(total)));
    }
    let mut family = text.family(&metric::REFUSALS);
    for ((cause, status), count) in &totals.refusals {
        let status = if *status == 0 { "none".to_owned() } else { status.to_string() };
        family.sample(&[cause, &status], *count);
    }
}

fn health(text: &mut Text, facts: &Facts<'_>) {
    let mut family = text.family(&metric::STATE);
    facts.backends.iter().for_each(|backend| family.sample(&[backend.pool, backend.name, backend.state], 1));
    type Value = fn(&BackendFacts<'_>) -> u64;
    let per_backend: [(&'static metric::Metric, Value); 4] = [
        (&metric::USABLE, |backend| backend.usable.into()),
        (&metric::IN_FLIGHT, |backend| backend.in_flight.into()),
        (&metric::TRANSITIONS, |backend| backend.transitions),
        (&metric::WEIGHT, |backend| backend.weight.into()),
    ];
    for (declared, value) in per_backend {
        let mut family = text.family(declared);
        facts
            .backends
            .iter()
            .for_each(|backend| family.sample(&[backend.pool, backend.name], value(backend)));
    }
    let mut family = text.family(&metric::SHARE);
    facts.backends.iter().for_each(|backend| family.ratio(&[backend.pool, backend.name], backend.share));
    let mut family = text.family(&metric::PROBES);
    for backend in &facts.backends {
        family.sample(&[backend.pool, backend.name, "passed"], backend.probes_passed);
        family.sample(&[backend.pool, backend.name, "failed"], backend.probes_failed);
    }
    let mut family = text.family(&metric::PROBE_TIME);
    for backend in &facts.backends {
        if let Some(took) = backend.probe_took {
            family.sample(&[backend.pool, backend.name], took.as_us());
        }
    }
}

fn failovers(text: &mut Text, facts: &Facts<'_>) {
    type Value = fn(&BackendFacts<'_>) -> Option<u64>;
    let per_backend: [(&'static metric::Metric, Value); 5] = [
        (&metric::EJECTIONS, |backend| Some(backend.ejections)),
        (&metric::FAILOVERS, |backend| Some(backend.failovers)),
        (&metric::FAILOVER_TIME, |backend| Some(backend.failover_time.as_us())),
        (&metric::FAILOVER_LAST, |backend| backend.failover_last.map(Micros::as_us)),
        (&metric::FAILOVER_LOST, |backend| Some(backend.failover_lost)),
    ];
    for (declared, value) in per_backend {
        let mut family = text.family(declared);
        for backend in &facts.backends {
            if let Some(value) = value(backend) {
                family.sample(&[backend.pool, backend.name], value);
            }
        }
    }
}

fn pools(text: &mut Text, facts: &Facts<'_>) {
    let mut family = text.family(&metric::POOL_USABLE);
    facts.pools.iter().for_each(|pool| family.sample(&[pool.name], pool.usable as u64));
    let mut family = text.family(&metric::POOL_PANIC);
    facts.pools.iter().for_each(|pool| family.sample(&[pool.name], pool.panic.into()));
}

fn latency(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    text.family(&metric::VIEW_AGE).distribution(&[], &totals.view_age);
    let mut family = text.family(&metric::PHASES);
    for (backend, total) in recorded(totals, facts) {
        for phase in Phase::ALL {
            family.distribution(&[backend.pool, backend.name, phase.label()], total.phase(*phase));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::declared::{ALL, Kind, Unit};
    use super::super::{Refusal, ShardStats};
    use super::*;
    use std::collections::BTreeSet;

    fn facts<'a>() -> Facts<'a> {
        let backend = BackendFacts {
            id: BackendId(0),
            pool: "app",
            name: "a",
            state: "up",
            usable: true,
            in_flight: 3,
            probes_passed: 4,
            probes_failed: 1,
            probe_took: Some(Micros::from_us(1_200)),
            transitions: 1,
            weight: 7,
            share: 0.25,
            ejections: 2,
            failovers: 3,
            failover_time: Micros::from_ms(6),
            failover_last: Some(Micros::from_ms(2)),
            failover_lost: 5,
        };
        Facts {
            // Not in the order of their numbers: others were there before.
            backends: vec![
                BackendFacts { id: BackendId(1), name: "b", failover_last: None, ..backend },
                backend,
            ],
            pools: vec![PoolFacts { name: "app", usable: 2, panic: true }],
            listeners: vec![ListenerFacts { name: "web", refused: [("max_connections", 11), ("other", 0)] }],
            shards: vec![ShardFacts {
                number: 0,
                stalled: true,
                stalls: 4,
                beat_ago: Some(Micros::from_us(1_500_000)),
            }],
            config: ConfigFacts {
                hash: "00ff",
                generation: 8,
                reloads: 6,
                refused: 1,
                last_succeeded: false,
                loaded_unix_s: 1_700_000_000,
                needs_restart: 1,
            },
            spans: SpanFacts { exported: 20, dropped: [("queue_full", 5), ("a", 0), ("b", 0), ("c", 0)] },
            uptime: Micros::from_s(9),
            ready: true,
            serving: 1,
        }
    }

    fn shown() -> String {
        let mut stats = ShardStats::new(2);
        stats.answered(BackendId(1), 204);
        stats.failed(BackendId(0), UpstreamFailure::Truncated);
        stats.refused(0, Refusal::ClientGone);
        stats.refused(503, Refusal::NoBackend);
        stats.record(BackendId(1), Phase::Own, Micros::from_us(80));
        stats.set_connections(6, 2);
        stats.evicted(13);
        let mut totals = Totals::new(2, 2);
        totals.absorb(0, &stats);
        page(&totals, &facts())
    }

    #[test]
    fn every_declared_metric_is_on_the_page_once_with_help_type_and_a_sample() {
        let page = shown();
        let mut families: Vec<&str> = Vec::new();
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                families.push(help.split(' ').next().unwrap());
            } else if !line.starts_with('#') {
                let family = families.last().unwrap();
                assert!(line.starts_with(*family), "{line} stands under {family}");
                assert!(line.split(' ').next_back().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        let unique: BTreeSet<&str> = families.iter().copied().collect();
        assert_eq!(unique.len(), families.len(), "a family is opened twice");
        assert_eq!(unique, ALL.iter().map(|declared| declared.name).collect());
        for declared in ALL {
            let sampled = page.lines().any(|line| !line.starts_with('#') && line.starts_with(declared.name));
            assert!(sampled, "{} has no sample", declared.name);
        }
    }

    #[test]
    fn samples_say_what_was_recorded() {
        let page = shown();
        for line in [
            "weir_requests_total{pool=\"app\",backend=\"b\",class=\"2xx\"} 1",
            "weir_upstream_failures_total{pool=\"app\",backend=\"a\",cause=\"truncated\"} 1",
            "weir_refusals_total{cause=\"client_gone\",status=\"none\"} 1",
            "weir_refusals_total{cause=\"no_backend\",status=\"503\"} 1",
            "weir_phase_seconds_bucket{pool=\"app\",backend=\"b\",phase=\"own\",le=\"0.0001\"} 1",
            "weir_phase_seconds_bucket{pool=\"app\",backend=\"b\",phase=\"own\",le=\"0.00005\"} 0",
            "weir_connections{shard=\"0\"} 6",
            "weir_connections_imbalance 2",
            "weir_connections_refused_total{listener=\"web\",cause=\"max_connections\"} 11",
            "weir_connections_evicted_total{shard=\"0\"} 13",
            "weir_shards{state=\"ended\"} 1",
            "weir_in_flight{pool=\"app\",backend=\"a\"} 3",
            "weir_probe_duration_seconds{pool=\"app\",backend=\"a\"} 0.0012",
            "weir_uptime_seconds 9",
            "weir_backend_weight{pool=\"app\",backend=\"a\"} 7",
            "weir_backend_weight_share{pool=\"app\",backend=\"a\"} 0.25",
            "weir_ejections_total{pool=\"app\",backend=\"b\"} 2",
            "weir_failovers_total{pool=\"app\",backend=\"a\"} 3",
            "weir_failover_seconds_total{pool=\"app\",backend=\"a\"} 0.006",
            "weir_failover_last_seconds{pool=\"app\",backend=\"a\"} 0.002",
            "weir_failover_lost_total{pool=\"app\",backend=\"a\"} 5",
            "weir_pool_usable{pool=\"app\"} 2",
            "weir_pool_panic{pool=\"app\"} 1",
            "weir_shard_stalls_total{shard=\"0\"} 4",
            "weir_shard_stalled{shard=\"0\"} 1",
            "weir_shard_heartbeat_age_seconds{shard=\"0\"} 1.5",
            "weir_trace_spans_exported_total 20",
            "weir_trace_spans_dropped_total{cause=\"queue_full\"} 5",
            "weir_degraded 1",
            "weir_config_info{hash=\"00ff\"} 1",
            "weir_config_generation 8",
            "weir_config_reloads_total{result=\"succeeded\"} 6",
            "weir_config_reloads_total{result=\"refused\"} 1",
            "weir_config_last_reload_success 0",
            "weir_config_last_reload_success_timestamp_seconds 1700000000",
            "weir_config_needs_restart 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn names_end_in_what_they_count() {
        for declared in ALL {
            let stem = declared.name.strip_suffix("_total");
            assert_eq!(stem.is_some(), declared.kind == Kind::Counter, "{}", declared.name);
            let stem = stem.unwrap_or(declared.name);
            assert_eq!(stem.ends_with("_seconds"), declared.unit == Unit::Seconds, "{}", declared.name);
            assert_eq!(stem.ends_with("_bytes"), declared.unit == Unit::Bytes, "{}", declared.name);
            assert!(declared.help.ends_with('.') && !declared.labels.contains(&"le"), "{}", declared.name);
        }
    }
}
