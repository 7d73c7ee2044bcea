//! The queue of deadlines of one shard: who is due by `now`, and when to look again.
//!
//! A key is a slot's number in the ring: small, dense, used again. Arming is a store in almost every
//! case, since a key has at most one entry in the heap and the entry stays where it is while the
//! deadline moves later: when it comes up, it is put back at the deadline that then holds. A
//! connection that alternates between waits of 60 s, 10 s and 30 s thus touches the heap once in ten
//! seconds, not three times an exchange. So that thousands of keys do not wake the shard at thousands of
//! moments, entries stand on a grid that is coarser the farther ahead they lie: a deadline fires at most a
//! thirty-second part of its length late, never early. (One queue per timeout value, kept in order, was the other
//! way: it pays a push or two list links at every arming.) Pure; called by `ring`.

use super::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Clone, Copy)]
struct Key {
    /// When the key is due; `NEVER` while it waits for nothing.
    due: Instant,
    /// Where its entry stands in the heap; `NEVER` while it has none.
    entry: Instant,
}

/// Deadlines by key. A key has one live entry in the heap; one that was overtaken by an earlier deadline
/// stays behind it until its time and is then dropped, so a key has a handful at most.
pub struct Deadlines {
    /// When it was last asked who is due.
    now: Instant,
    keys: Vec<Key>,
    /// By place on the grid, then by deadline, so that those that share a place fire in order.
    heap: BinaryHeap<Reverse<(Instant, Instant, u32)>>,
}

impl Deadlines {
    /// None yet. `now`: deadlines are ahead of this.
    pub fn new(now: Instant) -> Self {
        Self { now, keys: Vec::new(), heap: BinaryHeap::new() }
    }

    /// Sets `key`'s only deadline, in place of an earlier one.
    pub fn arm(&mut self, key: u32, due: Instant) {
        let at = key as usize;
        if at >= self.keys.len() {
            self.keys.resize(at + 1, Key { due: Instant::NEVER, entry: Instant::NEVER });
        }
        let slot = &mut self.keys[at];
        slot.due = due;
        if due >= slot.entry {
            return;
        }
        let entry = on_grid(due, self.now);
        if entry < slot.entry {
            // A later entry of the key may stay in the heap: it is known by its time and dropped.
            slot.entry = entry;
            self.heap.push(Reverse((entry, due, key)));
        }
    }

    /// Takes `key`'s deadline away.
    pub fn disarm(&mut self, key: u32) {
        if let Some(slot) = self.keys.get_mut(key as usize) {
            slot.due = Instant::NEVER;
        }
    }

    /// A key that is due by `now`, which is disarmed by this; call until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.now = now;
        while let Some(&Reverse((at, _, key))) = self.heap.peek() {
            if at > now {
                return None;
            }
            self.heap.pop();
            let slot = &mut self.keys[key as usize];
            if slot.entry != at {
                continue;
            }
            slot.entry = Instant::NEVER;
            let due = slot.due;
            if due <= now {
                slot.due = Instant::NEVER;
                return Some(key);
            }
            if due != Instant::NEVER {
                self.arm(key, due);
            }
        }
        None
    }

    /// When to look again. It may be early: an entry that stands there may have been overtaken.
    pub fn next(&self) -> Instant {
        self.heap.peek().map_or(Instant::NEVER, |Reverse((at, ..))| *at)
    }
}

/// The first point of the grid at or behind `due`. Its spacing is a sixty-fourth to a thirty-second part of
/// what lies between `now` and `due`, and a power of two, so that deadlines of like length share points.
fn on_grid(due: Instant, now: Instant) -> Instant {
    let spacing = (due.since(now).as_us() / 64).next_power_of_two();
    Instant::from_us(due.as_us().checked_next_multiple_of(spacing).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(us: u64) -> Instant {
        Instant::from_us(us)
    }

    #[test]
    fn a_deadline_that_moves_earlier_fires_at_the_earlier_time_and_once() {
        let mut deadlines = Deadlines::new(at(0));
        deadlines.arm(3, at(100));
        deadlines.arm(3, at(10));
        assert_eq!(deadlines.next(), at(10));
        assert_eq!(deadlines.pop_due(at(10)), Some(3));
        assert_eq!(deadlines.pop_due(at(1_000)), None);
    }

    #[test]
    fn arming_later_again_and_again_adds_no_entries() {
        let mut deadlines = Deadlines::new(at(0));
        (1..1_000).for_each(|us| deadlines.arm(0, at(us)));
        assert_eq!(deadlines.heap.len(), 1);
        assert_eq!(deadlines.pop_due(at(998)), None);
        assert_eq!(deadlines.pop_due(at(999)), Some(0));
    }

    #[test]
    fn thousands_of_like_deadlines_share_a_few_moments_and_none_is_early_or_much_late() {
        let mut deadlines = Deadlines::new(at(1_000_000));
        let due = |key: u32| 6_000_000 + u64::from(key) * 200;
        (0..5_000).for_each(|key| deadlines.arm(key, at(due(key))));
        let (mut moments, mut fired) = (0, 0);
        while deadlines.next() != Instant::NEVER {
            let now = deadlines.next();
            moments += 1;
            while let Some(key) = deadlines.pop_due(now) {
                fired += 1;
                assert!(now.as_us() >= due(key), "early");
                let late = now.as_us() - due(key);
                assert!(late <= (due(key) - 1_000_000) / 32, "{late} us late");
            }
        }
        assert_eq!(fired, 5_000);
        assert!(moments < 20, "{moments} wakes");
    }

    proptest! {
        #[test]
        fn exactly_the_keys_whose_last_deadline_has_passed_are_due(
            steps in prop::collection::vec((0u32..8, prop::option::of(0u64..50), 0u64..20), 1..200)
        ) {
            let mut deadlines = Deadlines::new(at(0));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (key, after, pass) in steps {
                match after {
                    Some(after) => { deadlines.arm(key, at(now + after)); model.insert(key, now + after); }
                    None => { deadlines.disarm(key); model.remove(&key); }
                }
                now += pass;
                prop_assert!(model.values().all(|due| at(*due) >= deadlines.next()));
                let mut due: Vec<u32> = std::iter::from_fn(|| deadlines.pop_due(at(now))).collect();
                due.sort_unstable();
                let expected: Vec<u32> = model.iter().filter(|(_, due)| **due <= now).map(|(key, _)| *key).collect();
                model.retain(|_, due| *due > now);
                prop_assert_eq!(due, expected);
            }
        }
    }
}
