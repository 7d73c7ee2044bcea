//! Pictures for the tests of this folder.

use super::feed::News;
use crate::admin::live::model::{
    BackendSlot, Figures, History, Live, LiveBackend, LivePool, LiveShard, PhaseCounts, PhaseFigures,
    Refused, Slot, Transition,
};

/// When all of it is, in ms.
const NOW_MS: u64 = 1_800_000_000_000;

/// Figures of so many requests a second, the rest in proportion.
pub(super) fn figures(requests_per_s: f64, error_share: f64, in_flight: u32, p50_us: u64) -> Figures {
    Figures {
        requests_per_s,
        error_share,
        in_flight,
        p50_us: Some(p50_us),
        p90_us: Some(p50_us * 2),
        p99_us: Some(p50_us * 4),
        p99_9_us: Some(p50_us * 10),
    }
}

/// A backend that is up.
pub(super) fn backend(name: &str) -> LiveBackend {
    LiveBackend {
        name: name.to_owned(),
        address: "10.0.0.11:8080".to_owned(),
        state: "up".to_owned(),
        usable: true,
        backup: false,
        why: "2 checks passed".to_owned(),
        since_s: 11_100.0,
        weight: 10,
        share: 1.0,
        in_flight_per_shard: vec![3, 1],
        figures: figures(1234.5, 0.0, 4, 840),
    }
}

/// One that is down.
pub(super) fn down(name: &str, why: &str) -> LiveBackend {
    LiveBackend {
        state: "down".to_owned(),
        usable: false,
        why: why.to_owned(),
        since_s: 130.0,
        in_flight_per_shard: vec![0, 0],
        figures: Figures::default(),
        ..backend(name)
    }
}

/// A pool.
pub(super) fn pool(name: &str, backends: Vec<LiveBackend>) -> LivePool {
    let usable = backends.iter().filter(|backend| backend.usable).count();
    LivePool { name: name.to_owned(), policy: "least_conn".to_owned(), usable, panic: false, backends }
}

/// All of weir, with these pools.
pub(super) fn live(pools: Vec<LivePool>) -> Live {
    let shard = |number| LiveShard {
        number,
        state: "serving".to_owned(),
        connections: 120,
        in_flight: 3,
        load: 0.42,
        turns_per_s: 5120.0,
        completions_per_turn: 2.5,
        stall_p50_us: Some(40),
        stall_p99_us: Some(310),
        view_age_p99_us: Some(900),
        buffers_in_use: 17,
    };
    let phase = |phase: &str, us: u64| PhaseFigures {
        phase: phase.to_owned(),
        p50_us: Some(us),
        p90_us: Some(us * 2),
        p99_us: Some(us * 4),
        p99_9_us: Some(us * 10),
    };
    Live {
        at_ms: NOW_MS,
        version: "0.1.0".to_owned(),
        uptime_s: 11_100.0,
        ready: true,
        why: None,
        may_change: true,
        interval_s: 1.0,
        total: figures(2469.0, 0.004, 7, 840),
        refusals_per_s: 0.5,
        refusals: vec![
            Refused { cause: "no_route".to_owned(), status: 404, count: 12 },
            Refused { cause: "overloaded".to_owned(), status: 503, count: 1234 },
        ],
        phases: vec![
            PhaseFigures { p90_us: None, ..phase("connect", 60) },
            phase("first_byte", 800),
            phase("whole", 840),
            phase("own", 12),
        ],
        pools,
        shards: vec![shard(0), LiveShard { state: "stalled".to_owned(), load: 1.0, ..shard(1) }],
        transitions: vec![
            Transition {
                at_ms: NOW_MS - 130_000,
                pool: "app".to_owned(),
                backend: "two".to_owned(),
                from: "up".to_owned(),
                to: "down".to_owned(),
                why: "3 checks failed: connection refused".to_owned(),
                failover_us: Some(1_250),
                lost: 2,
            },
            Transition {
                at_ms: NOW_MS - 11_100_000,
                pool: "app".to_owned(),
                backend: "two".to_owned(),
                from: String::new(),
                to: "up".to_owned(),
                why: "2 checks passed".to_owned(),
                failover_us: None,
                lost: 0,
            },
        ],
    }
}

/// Ten minutes of the same backends, with a slow minute in the middle.
fn history(live: &Live) -> History {
    let slot = |at: u64| {
        let slow = (25..31).contains(&at);
        let backends = live.pools.iter().flat_map(|pool| pool.backends.iter().map(move |it| (pool, it)));
        let backends = backends.filter(|(_, backend)| backend.usable);
        let figures = figures(900.0 + at as f64 * 10.0, 0.0, 4, if slow { 5_000 } else { 840 });
        let one = |(pool, backend): (&LivePool, &LiveBackend)| BackendSlot {
            pool: pool.name.clone(),
            backend: backend.name.clone(),
            figures,
        };
        let counts = |shift: usize| {
            let mut counts = vec![0; 8];
            let at = shift + usize::from(slow) * 2;
            (counts[at], counts[at + 1], counts[at + 2]) = (900, 95, 5);
            counts
        };
        let phase = |phase: &str, shift| PhaseCounts { phase: phase.to_owned(), counts: counts(shift) };
        Slot {
            at_ms: NOW_MS - 600_000 + at * 10_000,
            phases: vec![phase("connect", 0), phase("first_byte", 3), phase("whole", 3), phase("own", 0)],
            backends: backends.map(one).collect(),
        }
    };
    let bounds_us = vec![100, 250, 500, 1_000, 2_500, 5_000, 10_000];
    History { slot_s: 10, bounds_us, slots: (0..60).map(slot).collect() }
}

/// What weir tells of it at first: the past, and now.
pub(super) fn told(live: Live) -> [News; 2] {
    [News::History(history(&live)), News::Live(Box::new(live))]
}

/// An ordinary weir under load, with one backend down, one draining and one in slow start.
pub(super) fn busy() -> Live {
    let draining = LiveBackend {
        state: "draining".to_owned(),
        usable: false,
        why: "drained by an operator".to_owned(),
        since_s: 4.0,
        in_flight_per_shard: vec![9, 0],
        figures: Figures { in_flight: 9, ..Figures::default() },
        ..backend("three")
    };
    let down = down("two", "3 checks failed: connection refused (os error 111)");
    let slow = LiveBackend { share: 0.5, backup: true, ..backend("10.0.0.21:9000") };
    live(vec![pool("app", vec![backend("one"), down, draining]), pool("static", vec![slow])])
}
