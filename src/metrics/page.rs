//! The page that `/metrics` shows: every declared metric with its samples.
//!
//! Called by `admin` with what `control` knows. Pure text: it collects nothing and looks at no clock.

use super::declared as metric;
use super::exposition::Text;
use super::stats::{CLASSES, Phase, UpstreamFailure};
use super::totals::{BackendTotals, ShardTotals, Totals};
use crate::time::Micros;

/// What control knows about one backend, beside what the shards recorded.
#[derive(Clone, Copy, Debug)]
pub struct BackendFacts<'a> {
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
}

/// What control knows, beside what the shards recorded.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// By [`crate::balance::BackendId`].
    pub backends: Vec<BackendFacts<'a>>,
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
    shards(&mut text, totals);
    traffic(&mut text, totals, facts);
    health(&mut text, facts);
    latency(&mut text, totals, facts);
    text.into_string()
}

fn process(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    text.family(&metric::BUILD).sample(&[env!("CARGO_PKG_VERSION")], 1);
    text.family(&metric::UPTIME).sample(&[], facts.uptime.as_us());
    text.family(&metric::READY).sample(&[], facts.ready.into());
    let mut family = text.family(&metric::SHARDS);
    family.sample(&["serving"], facts.serving as u64);
    family.sample(&["ended"], totals.shards.len().saturating_sub(facts.serving) as u64);
}

fn shards(text: &mut Text, totals: &Totals) {
    type Value = fn(&ShardTotals) -> u64;
    let per_shard: [(&'static metric::Metric, Value); 10] = [
        (&metric::CONNECTIONS, |shard| shard.connections.into()),
        (&metric::IDLE_UPSTREAM, |shard| shard.idle_upstream.into()),
        (&metric::ACCEPTED, |shard| shard.accepted),
        (&metric::ACCEPT_PAUSES, |shard| shard.accept_pauses),
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

fn traffic(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    let backends = || facts.backends.iter().zip(&totals.backends);
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
    let per_backend: [(&'static metric::Metric, Value); 3] = [
        (&metric::USABLE, |backend| backend.usable.into()),
        (&metric::IN_FLIGHT, |backend| backend.in_flight.into()),
        (&metric::TRANSITIONS, |backend| backend.transitions),
    ];
    for (declared, value) in per_backend {
        let mut family = text.family(declared);
        facts
            .backends
            .iter()
            .for_each(|backend| family.sample(&[backend.pool, backend.name], value(backend)));
    }
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

fn latency(text: &mut Text, totals: &Totals, facts: &Facts<'_>) {
    text.family(&metric::VIEW_AGE).distribution(&[], &totals.view_age);
    let mut family = text.family(&metric::PHASES);
    for (backend, total) in facts.backends.iter().zip(&totals.backends) {
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
    use crate::balance::BackendId;
    use std::collections::BTreeSet;

    fn facts<'a>() -> Facts<'a> {
        let backend = BackendFacts {
            pool: "app",
            name: "a",
            state: "up",
            usable: true,
            in_flight: 3,
            probes_passed: 4,
            probes_failed: 1,
            probe_took: Some(Micros::from_us(1_200)),
            transitions: 1,
        };
        Facts {
            backends: vec![backend, BackendFacts { name: "b", ..backend }],
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
            "weir_shards{state=\"ended\"} 1",
            "weir_in_flight{pool=\"app\",backend=\"a\"} 3",
            "weir_probe_duration_seconds{pool=\"app\",backend=\"a\"} 0.0012",
            "weir_uptime_seconds 9",
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
