//! The queue of deadlines of one shard: who is due by `now`, and when to look again.
//!
//! A key is a slot's number in the ring: small, dense, used again. Arming is a store in almost every
//! case, since a key has at most one entry in the heap and the entry stays where it is while the
//! deadline moves later: when it comes up, it is put back at the deadline that then holds. A
//! connection that alternates between waits of 60 s, 10 s and 30 s thus touches the heap once in ten
//! seconds, not three times an exchange. (One queue per timeout value, kept in order, was the other
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
#[derive(Default)]
pub struct Deadlines {
    keys: Vec<Key>,
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl Deadlines {
    /// Sets `key`'s only deadline, in place of an earlier one.
    pub fn arm(&mut self, key: u32, due: Instant) {
        let at = key as usize;
        if at >= self.keys.len() {
            self.keys.resize(at + 1, Key { due: Instant::NEVER, entry: Instant::NEVER });
        }
        let slot = &mut self.keys[at];
        slot.due = due;
        if due < slot.entry {
            // A later entry of the key may stay in the heap: it is known by its time and dropped.
            slot.entry = due;
            self.heap.push(Reverse((due, key)));
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
        while let Some(&Reverse((at, key))) = self.heap.peek() {
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

    /// When to look again at the latest: no key is due before it. It may be early, never late.
    pub fn next(&self) -> Instant {
        self.heap.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at)
    }
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
        let mut deadlines = Deadlines::default();
        deadlines.arm(3, at(100));
        deadlines.arm(3, at(10));
        assert_eq!(deadlines.next(), at(10));
        assert_eq!(deadlines.pop_due(at(10)), Some(3));
        assert_eq!(deadlines.pop_due(at(1_000)), None);
    }

    #[test]
    fn arming_later_again_and_again_adds_no_entries() {
        let mut deadlines = Deadlines::default();
        (1..1_000).for_each(|us| deadlines.arm(0, at(us)));
        assert_eq!(deadlines.heap.len(), 1);
        assert_eq!(deadlines.pop_due(at(998)), None);
        assert_eq!(deadlines.pop_due(at(999)), Some(0));
    }

    proptest! {
        #[test]
        fn exactly_the_keys_whose_last_deadline_has_passed_are_due(
            steps in prop::collection::vec((0u32..8, prop::option::of(0u64..50), 0u64..20), 1..200)
        ) {
            let mut deadlines = Deadlines::default();
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
