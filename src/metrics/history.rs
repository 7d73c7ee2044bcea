//! The last ten minutes, in slots of five seconds.
//!
//! Fed with an [`Interval`] whenever `control` has collected, however far apart that is; every count is in
//! exactly one slot. Slots in which nothing happened are not kept. A slot keeps the counts of each phase's
//! lengths under fixed bounds, and each backend's figures; those of the newest slots only, if there are many
//! backends. A backend's figures stand under the name that it had when they were recorded: a number that is
//! given to another backend takes nothing with it. Pure: time and what is in flight come in as arguments.

use super::interval::{BackendInterval, Ends, Figures, Interval};
use super::labels::Phase;
use crate::balance::BackendId;
use crate::time::{Instant, Micros};
use std::collections::VecDeque;
use std::sync::Arc;

/// Length of a slot.
pub const SLOT: Micros = Micros::from_s(5);

/// How many are kept: ten minutes.
const SLOTS_MAX: usize = 120;

/// Figures of backends that are kept in all slots together: of 200 backends for ten minutes, of 1,000 for two.
const BACKENDS_MAX: usize = 24_000;

/// Bounds of the counts: half octaves from 25 µs to 52 s.
pub const BOUNDS: [Micros; 43] = bounds();

const fn bounds() -> [Micros; 43] {
    let mut bounds = [Micros::ZERO; 43];
    let mut at = 0;
    while at < bounds.len() {
        let octave_us = 25u64 << (at / 2);
        // 1.41421 is the square root of two, which the second half of an octave begins at.
        let us = if at % 2 == 0 { octave_us } else { octave_us * 141_421 / 100_000 };
        bounds[at] = Micros::from_us(us);
        at += 1;
    }
    bounds
}

/// A backend's name and that of its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendName {
    /// The pool's.
    pub pool: String,
    /// Its own.
    pub name: String,
}

/// A piece of the past.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Counted from 1, in the order in which they ended.
    pub number: u64,
    /// When it began, in ms since 1970.
    pub began_unix_ms: u64,
    /// How long it was: [`SLOT`], and until the next round after that.
    pub length: Micros,
    /// How often lengths of each phase were at most each of [`BOUNDS`] and more than the one before; the last
    /// count is of those beyond the last.
    pub phases: Vec<(Phase, Vec<u64>)>,
    /// What came of all backends' exchanges.
    pub ends: Ends,
    /// The figures of those that had something to do.
    pub backends: Vec<(Arc<BackendName>, Figures)>,
}

/// The slot that is not over.
#[derive(Debug)]
struct Open {
    /// `None`: nothing has happened since the last ended.
    began: Option<(Instant, u64)>,
    recorded: Interval,
    /// Backends whose numbers were given to others meanwhile.
    departed: Vec<(Arc<BackendName>, BackendInterval)>,
}

/// What happened in the last ten minutes.
#[derive(Debug)]
pub struct History {
    slots: VecDeque<Arc<Slot>>,
    open: Open,
    /// By number.
    names: Vec<Option<Arc<BackendName>>>,
    last: u64,
}

impl Default for History {
    fn default() -> Self {
        let open = Open { began: None, recorded: Interval::new(0, 0), departed: Vec::new() };
        Self { slots: VecDeque::new(), open, names: Vec::new(), last: 0 }
    }
}

impl History {
    /// From now on this number is that of a backend of this name.
    pub fn name(&mut self, id: BackendId, pool: &str, name: &str) {
        let id = id.0 as usize;
        if id >= self.names.len() {
            self.names.resize(id + 1, None);
        }
        let known = self.names[id].as_ref().is_some_and(|known| known.pool == pool && known.name == name);
        if !known {
            self.names[id] = Some(Arc::new(BackendName { pool: pool.to_owned(), name: name.to_owned() }));
        }
    }

    /// This number will be given to another backend; `recent`: what it recorded last.
    pub fn freed(&mut self, id: BackendId, recent: &mut Interval) {
        let name = self.names.get_mut(id.0 as usize).and_then(Option::take);
        let earlier = self.open.recorded.take(id);
        let (Some(name), parts) = (name, [earlier, recent.take(id)]) else { return };
        let mut sum: Option<BackendInterval> = None;
        for part in parts.into_iter().flatten() {
            match &mut sum {
                Some(sum) => sum.add(&part),
                None => sum = Some(part),
            }
        }
        self.open.departed.extend(sum.map(|sum| (name, sum)));
    }

    /// Adds what was recorded from `began`, which is `began_unix_ms` after 1970, until `now`. Returns the slot
    /// that this ends.
    pub fn add(
        &mut self,
        recorded: &Interval,
        began: Instant,
        began_unix_ms: u64,
        now: Instant,
        in_flight: &[u32],
    ) -> Option<Arc<Slot>> {
        if !recorded.is_empty() {
            self.open.began.get_or_insert((began, began_unix_ms));
            self.open.recorded.add(recorded);
        }
        if now < self.ends_at() {
            return None;
        }
        self.end(now, in_flight)
    }

    /// When the slot that is not over is to end; [`Instant::NEVER`] if nothing has happened.
    pub fn ends_at(&self) -> Instant {
        self.open.began.map_or(Instant::NEVER, |(began, _)| began + SLOT)
    }

    /// All slots, oldest first.
    pub fn slots(&self) -> impl DoubleEndedIterator<Item = &Arc<Slot>> {
        self.slots.iter()
    }

    /// The slots after the one of this number, oldest first.
    pub fn since(&self, number: u64) -> Vec<Arc<Slot>> {
        self.slots().filter(|slot| slot.number > number).cloned().collect()
    }

    /// The number of the last slot; 0: there is none yet.
    pub fn last(&self) -> u64 {
        self.last
    }

    fn end(&mut self, now: Instant, in_flight: &[u32]) -> Option<Arc<Slot>> {
        let (began, began_unix_ms) = self.open.began.take()?;
        let length = now.since(began);
        self.last += 1;
        let recorded = &self.open.recorded;
        let slot = Arc::new(Slot {
            number: self.last,
            began_unix_ms,
            length,
            phases: Phase::ALL.iter().map(|phase| (*phase, recorded.phase(*phase).counts(&BOUNDS))).collect(),
            ends: recorded.ends(),
            backends: self.figures(length, in_flight),
        });
        self.open.recorded.clear(now);
        self.open.departed.clear();
        self.slots.push_back(slot.clone());
        self.forget();
        Some(slot)
    }

    fn figures(&self, length: Micros, in_flight: &[u32]) -> Vec<(Arc<BackendName>, Figures)> {
        let recorded = &self.open.recorded;
        let held = (0..recorded.len()).filter_map(|id| {
            let (name, part) = (self.names.get(id)?.as_ref()?, recorded.backend(id)?);
            let in_flight = in_flight.get(id).copied().unwrap_or(0);
            (!part.is_empty()).then(|| (name.clone(), part.ends.figures(&part.whole, length, in_flight)))
        });
        let departed = self
            .open
            .departed
            .iter()
            .map(|(name, part)| (name.clone(), part.ends.figures(&part.whole, length, 0)));
        held.chain(departed).collect()
    }

    /// What is too old, or too much.
    fn forget(&mut self) {
        if self.slots.len() > SLOTS_MAX {
            self.slots.pop_front();
        }
        let mut kept = 0;
        for slot in self.slots.iter_mut().rev() {
            kept += slot.backends.len();
            if kept > BACKENDS_MAX && !slot.backends.is_empty() {
                let (phases, backends) = (slot.phases.clone(), Vec::new());
                *slot = Arc::new(Slot { phases, backends, ..**slot });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{ShardStats, Totals, UpstreamFailure};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const BACKENDS: u32 = 3;
    const SHARDS: u16 = 2;

    fn at(ms: u64) -> Instant {
        Instant::from_us(1_000 * ms)
    }

    /// Control, as far as it feeds a history: it collects when told to, and gives numbers to others.
    struct World {
        ms: u64,
        began_ms: u64,
        totals: Totals,
        history: History,
        shards: Vec<ShardStats>,
        /// How often each number was given.
        given: [u32; BACKENDS as usize],
    }

    impl World {
        fn new() -> Self {
            let stats = || ShardStats::new(BACKENDS as usize);
            let mut world = Self {
                ms: 1_000,
                began_ms: 1_000,
                totals: Totals::new(BACKENDS as usize, SHARDS.into()),
                history: History::default(),
                shards: (0..SHARDS).map(|_| stats()).collect(),
                given: [0; BACKENDS as usize],
            };
            (0..BACKENDS).for_each(|id| world.name(id));
            world
        }

        fn name_of(&self, id: u32) -> String {
            format!("{id}.{}", self.given[id as usize])
        }

        fn name(&mut self, id: u32) {
            let name = self.name_of(id);
            self.history.name(BackendId(id), "app", &name);
        }

        fn answer(&mut self, shard: u16, id: u32, us: u64) {
            let stats = &mut self.shards[usize::from(shard)];
            stats.answered(BackendId(id), 200);
            stats.record(BackendId(id), Phase::Whole, Micros::from_us(us));
        }

        fn collect(&mut self) {
            for (number, stats) in (0..).zip(&mut self.shards) {
                self.totals.absorb(number, stats);
                stats.clear();
            }
        }

        fn round(&mut self) -> Option<Arc<Slot>> {
            self.collect();
            let (began, now) = (at(self.began_ms), at(self.ms));
            let ended = self.history.add(self.totals.recent(), began, self.began_ms, now, &[]);
            self.totals.recent_mut().clear(now);
            self.began_ms = self.ms;
            ended
        }

        /// All shards have handed over what they had of it, and its number goes to another.
        fn give_on(&mut self, id: u32) {
            self.collect();
            self.history.freed(BackendId(id), self.totals.recent_mut());
            self.totals.reset(BackendId(id), None);
            self.given[id as usize] += 1;
            self.name(id);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Answer(u16, u32, u64),
        Pass(u64),
        Round,
        GiveOn(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let us = (0u32..34).prop_flat_map(|bits| 0..(1u64 << bits));
        prop_oneof![
            8 => (0..SHARDS, 0..BACKENDS, us).prop_map(|(shard, id, us)| Step::Answer(shard, id, us)),
            4 => (1u64..4_000).prop_map(Step::Pass),
            3 => Just(Step::Round),
            1 => (0..BACKENDS).prop_map(Step::GiveOn),
        ]
    }

    proptest! {
        // Each case adds and clears histograms of thousands of counters, unoptimised.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_answer_is_in_one_slot_under_the_name_that_its_backend_had(
            steps in prop::collection::vec(step(), 0..120)
        ) {
            let mut world = World::new();
            let mut sent: BTreeMap<String, f64> = BTreeMap::new();
            let mut told: Vec<Arc<Slot>> = Vec::new();
            for step in steps {
                match step {
                    Step::Answer(shard, id, us) => {
                        world.answer(shard, id, us);
                        *sent.entry(world.name_of(id)).or_default() += 1.0;
                    }
                    Step::Pass(ms) => world.ms += ms,
                    Step::Round => told.extend(world.round()),
                    Step::GiveOn(id) => world.give_on(id),
                }
            }
            told.extend(world.round());
            world.ms += 60_000;
            told.extend(world.round());
            prop_assert!(world.round().is_none() && world.history.ends_at() == Instant::NEVER);
            let kept: Vec<_> = world.history.slots().cloned().collect();
            prop_assert_eq!(&kept, &told);
            prop_assert!(kept.iter().zip(1..).all(|(slot, number)| slot.number == number));
            prop_assert!(kept.iter().all(|slot| slot.length >= SLOT && slot.ends.answers > 0));
            let ends = |slot: &Slot| slot.began_unix_ms + slot.length.as_us() / 1_000;
            prop_assert!(kept.windows(2).all(|two| ends(&two[0]) <= two[1].began_unix_ms), "no two overlap");
            let all: f64 = sent.values().sum();
            let whole = |slot: &Arc<Slot>| slot.phases[Phase::Whole as usize].1.iter().sum::<u64>();
            prop_assert_eq!(kept.iter().map(whole).sum::<u64>() as f64, all);
            let mut found: BTreeMap<String, f64> = BTreeMap::new();
            for slot in &kept {
                for (name, figures) in &slot.backends {
                    let count = figures.requests_per_s * slot.length.as_us() as f64 / 1e6;
                    *found.entry(name.name.clone()).or_default() += count.round();
                }
            }
            prop_assert_eq!(found, sent);
        }
    }

    #[test]
    fn a_slot_begins_with_what_happens_and_ends_five_seconds_later() {
        let mut world = World::new();
        world.ms = 100_000;
        assert!(world.round().is_none(), "nothing has happened");
        assert_eq!(world.history.ends_at(), Instant::NEVER);
        world.answer(0, 1, 100);
        world.ms += 1_000;
        assert!(world.round().is_none());
        assert_eq!(world.history.ends_at(), at(105_000), "five seconds from the round before");
        for _ in 0..3 {
            world.ms += 1_000;
            assert!(world.round().is_none());
        }
        world.ms += 1_000;
        let slot = world.round().unwrap();
        assert_eq!((slot.began_unix_ms, slot.length), (100_000, SLOT));
        let (name, figures) = &slot.backends[0];
        assert_eq!((name.name.as_str(), slot.backends.len(), figures.requests_per_s), ("1.0", 1, 0.2));
        assert_eq!(figures.whole.p50, Some(Micros::from_us(100)));
        let (phase, counts) = &slot.phases[Phase::Whole as usize];
        let place = BOUNDS.iter().position(|bound| *bound == Micros::from_us(100)).unwrap();
        assert_eq!((*phase, counts[place], counts.len()), (Phase::Whole, 1, BOUNDS.len() + 1));
        assert_eq!(world.history.since(0).len(), 1);
        assert!(world.history.since(slot.number).is_empty());
    }

    #[test]
    fn memory_is_bounded_by_time_and_by_backends() {
        let mut history = History::default();
        let mut totals = Totals::new(300, 1);
        (0..300).for_each(|id| history.name(BackendId(id), "app", &id.to_string()));
        for round in 0..130u64 {
            let mut stats = ShardStats::new(300);
            (0..300).for_each(|id| stats.failed(BackendId(id), UpstreamFailure::Connect));
            totals.absorb(0, &stats);
            let (began, now) = (at(round * 5_000), at((round + 1) * 5_000));
            assert!(history.add(totals.recent(), began, 0, now, &[]).is_some());
            totals.recent_mut().clear(now);
        }
        let numbers: Vec<u64> = history.slots().map(|slot| slot.number).collect();
        assert_eq!(numbers, (11..=130).collect::<Vec<u64>>());
        let with_backends = history.slots().rev().take_while(|slot| slot.backends.len() == 300).count();
        assert_eq!(with_backends, BACKENDS_MAX / 300);
        let all: usize = history.slots().map(|slot| slot.backends.len()).sum();
        assert_eq!(all, BACKENDS_MAX);
        let ends = history.slots().next().unwrap().ends;
        assert_eq!((ends.failures, ends.answers), (300, 0), "what all came to stays");
    }

    #[test]
    fn bounds_are_half_octaves_from_25_us_to_the_minute() {
        let us: Vec<u64> = BOUNDS.iter().map(|bound| bound.as_us()).collect();
        assert_eq!(us[..7], [25, 35, 50, 70, 100, 141, 200]);
        assert!(us.is_sorted() && us[42] == 25 << 21, "{us:?}");
    }
}
