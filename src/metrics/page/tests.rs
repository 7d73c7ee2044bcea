//! The page against what was recorded and told.

use super::super::declared::{ALL, Kind, NOT_BY_POOL, Unit};
use super::super::{Refusal, RingCounters, ShardStats};
use super::*;
use crate::balance::BackendId;
use crate::limit::LifeOver;
use crate::sys::process::Usage;
use std::collections::BTreeSet;
use std::time::Duration;

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
        weight: 7,
        share: 0.25,
        past: Past {
            transitions: 1,
            ejections: 2,
            failovers: 3,
            failover_time: Micros::from_ms(6),
            failover_lost: 5,
        },
        failover_last: Some(Micros::from_ms(2)),
    };
    Facts {
        // Not in the order of their numbers: others were there before.
        backends: vec![BackendFacts { id: BackendId(1), name: "b", failover_last: None, ..backend }, backend],
        leaving: vec![(BackendId(2), "app"), (BackendId(3), "another")],
        pools: vec![PoolFacts {
            name: "app",
            usable: 2,
            panic: true,
            left: Past { ejections: 40, ..Past::default() },
        }],
        listeners: vec![ListenerFacts {
            name: "web",
            refused: [("max_connections", 11), ("other", 0), ("third", 0)],
        }],
        certificates: vec![
            CertificateDays {
                listener: "web",
                pool: "",
                file: "/etc/a.pem".to_owned(),
                days_left: 89.5,
                staple_days_left: Some(6.5),
            },
            CertificateDays {
                listener: "",
                pool: "app",
                file: "/etc/b.pem".to_owned(),
                days_left: 7.0,
                staple_days_left: None,
            },
        ],
        shards: vec![ShardFacts {
            number: 0,
            stalled: true,
            stalls: 4,
            beat_ago: Some(Micros::from_us(1_500_000)),
        }],
        access_log: AccessLogFacts { lines: 40, errors: 2, dropped: vec![3] },
        spans: SpanFacts { exported: 20, dropped: [("queue_full", 5), ("a", 0), ("b", 0), ("c", 0)] },
        config: ConfigFacts {
            hash: "00ff",
            generation: 8,
            reloads: 6,
            refused: 1,
            last_succeeded: false,
            loaded_unix_s: 1_700_000_000,
            needs_restart: 1,
        },
        usage: Usage {
            cpu: Some(Duration::from_millis(1_250)),
            resident_bytes: Some(8_192),
            virtual_bytes: Some(16_384),
            open_descriptors: Some(12),
            descriptors_max: Some(1_024),
            started_unix_s: Some(1_700_000_000.25),
        },
        uptime: Micros::from_s(9),
        ready: true,
        serving: 1,
    }
}

fn shown() -> String {
    shown_by(Level::Backend)
}

fn shown_by(level: Level) -> String {
    let mut stats = ShardStats::new(4);
    stats.answered(BackendId(1), 204);
    stats.failed(BackendId(0), UpstreamFailure::Truncated);
    stats.call_ended(BackendId(1), GrpcStatus::NotFound);
    stats.shook_hands(Side::Client, Handshake::Full, Micros::from_ms(2));
    stats.spoke(TlsVersion::Tls13);
    stats.requested_by_http2();
    stats.set_http2_connections(5);
    stats.refused(0, Refusal::ClientGone);
    stats.refused(503, Refusal::NoBackend);
    stats.record(BackendId(1), Phase::Own, Micros::from_us(80));
    stats.set_connections(6, 2);
    stats.connections_max = 4_096;
    stats.evicted(13);
    stats.handed_over();
    stats.lived_out(LifeOver::Requests);
    stats.upstream_lived_out([14, 0]);
    // Some of the pool before, some that left and is still to be told of, and another pool's.
    (0..4).for_each(|id| stats.connected(BackendId(id), Micros::from_ms(1)));
    stats.handled(3, Micros::from_us(70));
    stats.accepted(Some(Micros::from_ms(4)));
    stats.ring = RingCounters { parked_us: 2_500_000, spun_us: 40, buffers: 64, ..RingCounters::default() };
    let mut totals = Totals::new(4, 2);
    let mut before = ShardStats::new(1);
    before.answered(BackendId(0), 200);
    totals.absorb(1, &before);
    totals.reset(BackendId(0), Some("app"));
    totals.absorb(0, &stats);
    page(&totals, &facts(), Format::Prometheus, level)
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
        "weir_connections_max{shard=\"0\"} 4096",
        "weir_connections_imbalance 2",
        "weir_connections_refused_total{listener=\"web\",cause=\"max_connections\"} 11",
        "weir_connections_evicted_total{shard=\"0\"} 13",
        "weir_connections_handed_over_total{shard=\"0\"} 1",
        "weir_connections_lived_out_total{shard=\"0\",cause=\"max_age\"} 0",
        "weir_connections_lived_out_total{shard=\"0\",cause=\"max_requests\"} 1",
        "weir_upstream_connections_lived_out_total{shard=\"0\",cause=\"max_age\"} 14",
        "weir_shards{state=\"ended\"} 1",
        "weir_in_flight{pool=\"app\",backend=\"a\"} 3",
        "weir_probe_duration_seconds{pool=\"app\",backend=\"a\"} 0.0012",
        "weir_uptime_seconds 9",
        "process_cpu_seconds_total 1.25",
        "process_resident_memory_bytes 8192",
        "process_virtual_memory_bytes 16384",
        "process_open_fds 12",
        "process_max_fds 1024",
        "process_start_time_seconds 1700000000.25",
        "weir_ring_parked_seconds_total{shard=\"0\"} 2.5",
        "weir_ring_spun_seconds_total{shard=\"0\"} 0.00004",
        "weir_ring_buffers{shard=\"0\"} 64",
        "weir_loop_stall_seconds_bucket{shard=\"0\",le=\"0.00005\"} 0",
        "weir_loop_stall_seconds_bucket{shard=\"0\",le=\"0.0001\"} 3",
        "weir_loop_stall_seconds_sum{shard=\"0\"} 0.00021",
        "weir_accept_delay_seconds_sum{shard=\"0\"} 0.004",
        "weir_accept_delay_seconds_count{shard=\"1\"} 0",
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
        "weir_access_log_lines_total 40",
        "weir_access_log_dropped_total{shard=\"0\"} 3",
        "weir_trace_spans_exported_total 20",
        "weir_trace_spans_dropped_total{cause=\"queue_full\"} 5",
        "weir_degraded 1",
        "weir_config_info{hash=\"00ff\"} 1",
        "weir_config_generation 8",
        "weir_tls_certificate_days_left{listener=\"web\",file=\"/etc/a.pem\"} 89.5",
        "weir_tls_staple_days_left{listener=\"web\",file=\"/etc/a.pem\"} 6.5",
        "weir_tls_certificate_days_left{pool=\"app\",file=\"/etc/b.pem\"} 7",
        "weir_tls_handshakes_total{side=\"client\",outcome=\"full\"} 1",
        "weir_tls_versions_total{version=\"TLSv1.2\"} 0",
        "weir_tls_versions_total{version=\"TLSv1.3\"} 1",
        "weir_http2_connections{shard=\"0\"} 5",
        "weir_http2_requests_total{shard=\"0\"} 1",
        "weir_grpc_calls_total{pool=\"app\",backend=\"b\",status=\"not-found\"} 1",
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
fn by_pool_backends_are_added_up_with_those_that_left_and_what_is_their_own_is_not_there() {
    let page = shown_by(Level::Pool);
    assert!(!page.contains("backend=\""), "{page}");
    for line in [
        "weir_requests_total{pool=\"app\",class=\"2xx\"} 2",
        "weir_upstream_failures_total{pool=\"app\",cause=\"truncated\"} 1",
        "weir_upstream_connects_total{pool=\"app\"} 3",
        "weir_backend_state{pool=\"app\",state=\"up\"} 2",
        "weir_backend_usable{pool=\"app\"} 2",
        "weir_in_flight{pool=\"app\"} 6",
        "weir_ejections_total{pool=\"app\"} 44",
        "weir_failovers_total{pool=\"app\"} 6",
        "weir_phase_seconds_count{pool=\"app\",phase=\"own\"} 1",
        "weir_connections{shard=\"0\"} 6",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    for declared in ALL {
        let is_there = page.contains(&format!("# TYPE {} ", declared.name));
        assert_eq!(is_there, !NOT_BY_POOL.contains(declared), "{}", declared.name);
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
