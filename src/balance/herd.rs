//! Shards, control and the messages between them in virtual time: what `least_conn` makes of views
//! that are late and messages that are lost. Tests only; a seed repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::hash::Draws;
use super::tests::{ANY, members};
use super::*;
use crate::config::Policy;
use crate::time::{Instant, Micros};
use std::collections::BTreeMap;

/// What is simulated.
struct Scene {
    /// Requests that arrive at each shard in a second.
    arrivals_per_s: Vec<f64>,
    backends: usize,
    /// A mean; service times are exponential.
    service: Micros,
    sync: Micros,
    /// Share of all messages.
    loss: f64,
    delay_max: Micros,
}

enum Event {
    Arrival(usize),
    End(usize, BackendId),
    Sync(usize),
    Merge,
    Report(Report),
    Snapshot(usize, Snapshot),
}

struct World {
    scene: Scene,
    draws: Draws,
    now: Instant,
    /// By time, then in the order in which they were made.
    events: BTreeMap<(Instant, u64), Event>,
    made: u64,
    shards: Vec<(View, Picker)>,
    merger: Merger,
    merge_due: bool,
    in_flight: Vec<u32>,
    picks: u32,
    met: u32,
}

/// How far the busiest backend was from the idlest, over a run.
#[derive(Debug)]
struct Spread {
    mean: f64,
    max: u32,
    /// What an exchange found in flight on the backend that it was sent to.
    met_mean: f64,
}

impl World {
    fn new(seed: u64, scene: Scene) -> Self {
        let (shards, backends) = (scene.arrivals_per_s.len(), scene.backends);
        let pool = members(&vec![1; backends]);
        let shard =
            |n: usize| (View::new(n as u16, backends), Picker::new(Policy::LeastConn, &pool, n as u64));
        let mut world = Self {
            draws: Draws::new(seed),
            now: Instant::default(),
            events: BTreeMap::new(),
            made: 0,
            shards: (0..shards).map(shard).collect(),
            merger: Merger::new(shards, backends),
            merge_due: false,
            in_flight: vec![0; backends],
            picks: 0,
            met: 0,
            scene,
        };
        for shard in 0..shards {
            world.after(Micros::ZERO, Event::Arrival(shard));
            world.after(Micros::ZERO, Event::Sync(shard));
        }
        world
    }

    fn fraction(&mut self) -> f64 {
        (self.draws.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean_us: f64) -> Micros {
        Micros::from_us((-mean_us * (1.0 - self.fraction()).ln()) as u64)
    }

    fn after(&mut self, delay: Micros, event: Event) {
        self.made += 1;
        self.events.insert((self.now + delay, self.made), event);
    }

    /// Sends, if the message is not lost; later ones may overtake it.
    fn send(&mut self, message: Event) {
        if self.fraction() >= self.scene.loss {
            let delay = Micros::from_us(self.draws.below(self.scene.delay_max.as_us() + 1));
            self.after(delay, message);
        }
    }

    fn run(&mut self, length: Micros) -> Spread {
        let (warm, end) = (Instant::default() + self.scene.service + self.scene.service, self.now + length);
        let (mut sum, mut max, mut samples) = (0.0, 0, 0.0);
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.turn(event);
            if at > warm {
                let of = |id: usize| self.in_flight[id];
                let most = (0..self.scene.backends).map(of).max().unwrap();
                let least = (0..self.scene.backends).map(of).min().unwrap();
                max = max.max(most - least);
                sum += f64::from(most - least);
                samples += 1.0;
            }
        }
        Spread { mean: sum / samples, max, met_mean: f64::from(self.met) / f64::from(self.picks) }
    }

    fn turn(&mut self, event: Event) {
        match event {
            Event::Arrival(shard) => {
                let (view, picker) = &mut self.shards[shard];
                let backend = BackendId(picker.pick(view, &ANY).unwrap() as u32);
                view.admit(backend);
                self.picks += 1;
                self.met += self.in_flight[backend.0 as usize];
                self.in_flight[backend.0 as usize] += 1;
                let service = self.exponential(self.scene.service.as_us() as f64);
                self.after(service, Event::End(shard, backend));
                let next = self.exponential(1e6 / self.scene.arrivals_per_s[shard]);
                self.after(next, Event::Arrival(shard));
            }
            Event::End(shard, backend) => {
                self.shards[shard].0.release(backend);
                self.in_flight[backend.0 as usize] -= 1;
            }
            Event::Sync(shard) => {
                if let Some(report) = self.shards[shard].0.report() {
                    self.send(Event::Report(report));
                }
                self.after(self.scene.sync, Event::Sync(shard));
            }
            Event::Report(report) => {
                if self.merger.absorb(report) && !std::mem::replace(&mut self.merge_due, true) {
                    self.after(Micros::from_us(100), Event::Merge);
                }
            }
            Event::Merge => {
                self.merge_due = false;
                let round = self.merger.merge(self.now);
                for shard in 0..self.shards.len() {
                    self.send(Event::Snapshot(shard, round.for_shard(shard as u16)));
                }
            }
            Event::Snapshot(shard, snapshot) => {
                self.shards[shard].0.apply(&snapshot);
            }
        }
    }
}

/// `WEIR_SEED`, or else some that are always the same; each is printed with what repeats it.
fn seeds(test: &str) -> Vec<u64> {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = given.map_or_else(|| (1..=5).collect(), |seed| vec![seed]);
    println!("again: WEIR_SEED=N cargo test {test}, N one of {seeds:?}");
    seeds
}

fn eight_shards(loss: f64, delay_max: Micros) -> Scene {
    Scene {
        arrivals_per_s: vec![1000.0; 8],
        backends: 8,
        service: Micros::from_ms(20),
        sync: Micros::from_ms(1),
        loss,
        delay_max,
    }
}

// The bounds leave a margin over the worst of 40 seeds, in this order: 4.6 on average and 13 at most,
// 3.8 and 11, 1.4 and 7, met 0.08. For comparison with the first two, by the same figures: all
// shards with one exact count between them 1.6 on average and 6 at most; shards that know nothing of
// each other 4.7 and 12; round robin 9.3 and 23; views as they are, without what the others are
// expected to do, 5.5 and 14 with prompt messages, 14 and 34 with late ones.

#[test]
fn eight_shards_do_not_herd_while_messages_are_lost_and_late() {
    for seed in seeds("eight_shards_do_not_herd") {
        let spread = World::new(seed, eight_shards(0.2, Micros::from_ms(5))).run(Micros::from_s(3));
        println!("seed {seed}: {spread:?}");
        assert!(spread.mean < 6.0 && spread.max <= 16, "seed {seed}: {spread:?}");
    }
}

#[test]
fn eight_shards_gain_by_prompt_messages() {
    for seed in seeds("eight_shards_gain") {
        let spread = World::new(seed, eight_shards(0.0, Micros::from_us(50))).run(Micros::from_s(3));
        println!("seed {seed}: {spread:?}");
        assert!(spread.mean < 4.4 && spread.max <= 14, "seed {seed}: {spread:?}");
    }
}

#[test]
fn two_shards_with_uneven_connections_balance_their_sum() {
    for seed in seeds("two_shards_with_uneven") {
        let scene = Scene {
            arrivals_per_s: vec![900.0, 100.0],
            backends: 4,
            ..eight_shards(0.0, Micros::from_us(50))
        };
        let spread = World::new(seed, scene).run(Micros::from_s(20));
        println!("seed {seed}: {spread:?}");
        assert!(spread.mean < 1.7 && spread.max <= 9, "seed {seed}: {spread:?}");
    }
}

#[test]
fn few_exchanges_on_many_shards_seldom_meet() {
    // Four in flight on eight backends: a shard that saw its own alone would run into another's at
    // nearly every second pick.
    for seed in seeds("few_exchanges") {
        let scene = Scene { arrivals_per_s: vec![25.0; 8], ..eight_shards(0.0, Micros::from_us(50)) };
        let spread = World::new(seed, scene).run(Micros::from_s(20));
        println!("seed {seed}: {spread:?}");
        assert!(spread.met_mean < 0.1, "seed {seed}: {spread:?}");
    }
}
