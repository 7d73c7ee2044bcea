//! The last ten minutes, in slots of five seconds.
//!
//! Fed with an [`Interval`] whenever `control` has collected, however far apart that is; every count is in
//! exactly one slot. Slots in which nothing happened are not kept. A slot keeps the counts of each phase's
//! lengths under fixed bounds, and each backend's figures; those of the newest slots only, if there are many
//! backends. A backend's figures stand under the name that it had when they were recorded: a number that is
//! given to another backend takes nothing with it. Pure: time and what is in flight come in as arguments.

use super::interval::{BackendInterval, Ends, Figures, Interval};
use super::stats::Phase;
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
                Arc::make_mut(slot).backends = Vec::new();
            }
        }
    }
}
