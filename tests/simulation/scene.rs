//! What a run is about: how many shards and backends, how bad the messages, what goes wrong when.

use crate::draws::Draws;
use weir::config::{Eject, Policy};
use weir::health::Rule;
use weir::time::Micros;

pub(crate) const POLICIES: [Policy; 4] =
    [Policy::RoundRobin, Policy::LeastConn, Policy::IpHash, Policy::RandomTwo];

/// A backend as the operator writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) weight: u16,
    pub(crate) backup: bool,
}

/// How a backend really is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Truth {
    Well,
    /// Nothing works, and its check says so.
    Dead,
    /// So large a share of its exchanges fails, and its check passes.
    Sick(f64),
}

/// What happens to the backends; each number is a place among those that there are, taken modulo.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Becomes(u64, Truth),
    Add(Written),
    Remove(u64),
    Weight(u64, u16),
    Drain(u64),
    Maintenance(u64),
    Ready(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) shards: u16,
    pub(crate) policy: Policy,
    pub(crate) backends: Vec<Written>,
    /// Over all shards.
    pub(crate) arrivals_per_s: f64,
    /// A mean; service times are exponential.
    pub(crate) service: Micros,
    /// How many different clients there are.
    pub(crate) clients: u64,
    /// Share of the requests that may be retried.
    pub(crate) retryable: f64,
    /// Between two reports of a shard, and between two snapshots.
    pub(crate) sync: Micros,
    /// Share of reports and snapshots. Whoever sends one knows, as with a mailbox that is full.
    pub(crate) loss: f64,
    /// Reports and snapshots may overtake each other; the rest stays in order.
    pub(crate) delay_max: Micros,
    pub(crate) check: Option<Rule>,
    pub(crate) eject: Option<Eject>,
    pub(crate) slow_start: Micros,
    /// How long the first backends have served already.
    pub(crate) served_before: Micros,
    pub(crate) panic_below: f64,
    /// How long turns happen; then everybody becomes well and ready.
    pub(crate) troubled: Micros,
    pub(crate) turns: Vec<(Micros, Turn)>,
}

impl Scene {
    /// Nothing goes wrong but with messages: eight shards, eight backends, 20 in flight on each.
    pub(crate) fn calm(policy: Policy) -> Self {
        Self {
            shards: 8,
            policy,
            backends: vec![Written { weight: 1, backup: false }; 8],
            arrivals_per_s: 8000.0,
            service: Micros::from_ms(20),
            clients: u64::MAX,
            retryable: 0.8,
            sync: Micros::from_ms(1),
            loss: 0.2,
            delay_max: Micros::from_ms(5),
            check: None,
            eject: None,
            slow_start: Micros::ZERO,
            served_before: Micros::ZERO,
            panic_below: 0.0,
            troubled: Micros::ZERO,
            turns: Vec::new(),
        }
    }

    /// Anything may go wrong.
    pub(crate) fn drawn(draws: &mut Draws) -> Self {
        let shards = draws.one_of(&[1, 2, 2, 3, 4, 4, 8, 8, 16, 64]);
        let troubled = Micros::from_ms(draws.between(300, 1000));
        let checked = draws.chance(0.6);
        let written = |draws: &mut Draws| Written {
            weight: draws.one_of(&[1, 1, 1, 2, 3, 7]),
            backup: draws.chance(0.15),
        };
        let mut scene = Self {
            shards,
            policy: draws.one_of(&POLICIES),
            backends: (0..draws.between(1, 7)).map(|_| written(draws)).collect(),
            arrivals_per_s: draws.between(200, 1200) as f64,
            service: Micros::from_ms(draws.between(1, 20)),
            clients: draws.one_of(&[1, 20, u64::MAX]),
            retryable: draws.one_of(&[0.5, 0.9, 1.0]),
            sync: Micros::from_ms(if shards > 8 { 5 } else { draws.between(1, 3) }),
            loss: draws.one_of(&[0.0, 0.1, 0.3]),
            delay_max: Micros::from_us(draws.one_of(&[50, 2000, 20_000])),
            check: checked.then(|| Rule {
                rise: draws.between(1, 3) as u32,
                fall: draws.between(1, 3) as u32,
                interval: Micros::from_ms(20),
                interval_down: Micros::from_ms(10),
                jitter: 0.2,
            }),
            eject: draws.chance(0.7).then(|| Eject {
                consecutive_failures: draws.one_of(&[0, 3, 5]),
                error_share: draws.one_of(&[0.0, 0.3, 0.5]),
                window: Micros::from_ms(200),
                base_time: Micros::from_ms(draws.between(20, 60)),
                max_share: draws.one_of(&[0.3, 0.5, 1.0]),
                latency_factor: 0.0,
            }),
            slow_start: Micros::from_ms(draws.one_of(&[0, 0, 200, 400])),
            served_before: Micros::from_ms(draws.one_of(&[0, 500])),
            panic_below: draws.one_of(&[0.0, 0.0, 0.5]),
            troubled,
            turns: Vec::new(),
        };
        for _ in 0..draws.between(0, 14) {
            let at = draws.up_to(troubled);
            let one = draws.bits();
            let turn = match draws.between(0, 11) {
                0..=2 => Turn::Becomes(one, Truth::Dead),
                3..=4 => Turn::Becomes(one, Truth::Sick(draws.one_of(&[0.3, 0.6, 1.0]))),
                5 => Turn::Becomes(one, Truth::Well),
                6..=7 => Turn::Add(written(draws)),
                8 => Turn::Remove(one),
                9 => Turn::Weight(one, draws.between(1, 9) as u16),
                10 => draws.one_of(&[Turn::Drain(one), Turn::Maintenance(one)]),
                _ => Turn::Ready(one),
            };
            scene.turns.push((at, turn));
        }
        scene
    }
}
