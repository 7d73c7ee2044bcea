//! Backends' numbers: given densely, and again only when nothing of the last holder is left.
//!
//! A number is an index everywhere: into a shard's counts, its view, its boxes of statistics. So it must
//! stay small, and must not be given again while a count of its last holder may still arrive: not before
//! every live shard has said `Gone`, and then not before one round of statistics, begun after that, has
//! brought in everything that shards recorded. Pure; called by the roster and the desk.

use crate::balance::BackendId;
use std::collections::BTreeSet;

/// Where a number is in its life.
#[derive(Debug, PartialEq)]
enum Slot {
    Free,
    /// First in the topology of this generation.
    Taken {
        since: u64,
    },
    /// In no topology any more; these shards have not said that they are done with it.
    Leaving {
        shards: BTreeSet<u16>,
    },
    /// No shard has anything to do with it. `counted`: the round of statistics under way began since.
    Gone {
        counted: bool,
    },
}

/// All numbers that were ever given.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    slots: Vec<Slot>,
}

impl Ids {
    /// All numbers are below this.
    pub(crate) fn end(&self) -> usize {
        self.slots.len()
    }

    /// A number for a backend that is new in the topology of `generation`: the lowest that is free.
    pub(crate) fn take(&mut self, generation: u64) -> BackendId {
        let free = self.slots.iter().position(|slot| *slot == Slot::Free);
        let at = free.unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        self.slots[at] = Slot::Taken { since: generation };
        BackendId(at as u32)
    }

    /// A backend is in no topology from now on. `told` are the live shards, each with the generation
    /// that was last sent to it: one that never heard of the backend need not say that it is gone.
    pub(crate) fn leave(&mut self, id: BackendId, told: impl Iterator<Item = (u16, u64)>) {
        let Some(slot @ Slot::Taken { .. }) = self.slots.get_mut(id.0 as usize) else { return };
        let Slot::Taken { since } = *slot else { return };
        let shards: BTreeSet<u16> =
            told.filter(|(_, generation)| *generation >= since).map(|(shard, _)| shard).collect();
        *slot = if shards.is_empty() { Slot::Gone { counted: false } } else { Slot::Leaving { shards } };
    }

    /// A shard has nothing to do with it any more.
    pub(crate) fn gone(&mut self, id: BackendId, shard: u16) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            done(slot, shard);
        }
    }

    /// A shard has ended, and with it all that it had.
    pub(crate) fn shard_ended(&mut self, shard: u16) {
        self.slots.iter_mut().for_each(|slot| done(slot, shard));
    }

    /// Whether a round of statistics would free a number.
    pub(crate) fn wait_for_a_round(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Gone { .. }))
    }

    /// A round of statistics begins.
    pub(crate) fn round_begins(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Gone { counted } = slot {
                *counted = true;
            }
        }
    }

    /// It ended; `complete`: every live shard handed over what it had. Returns the numbers that are free
    /// now, whose counts the caller forgets.
    pub(crate) fn round_ended(&mut self, complete: bool) -> Vec<BackendId> {
        let mut free = Vec::new();
        for (id, slot) in (0..).map(BackendId).zip(&mut self.slots) {
            match slot {
                Slot::Gone { counted: true } if complete => {
                    *slot = Slot::Free;
                    free.push(id);
                }
                Slot::Gone { counted } => *counted = false,
                Slot::Free | Slot::Taken { .. } | Slot::Leaving { .. } => {}
            }
        }
        free
    }
}

fn done(slot: &mut Slot, shard: u16) {
    if let Slot::Leaving { shards } = slot {
        shards.remove(&shard);
        if shards.is_empty() {
            *slot = Slot::Gone { counted: false };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_only_after_all_shards_let_go_and_a_round_begun_since_is_complete() {
        let mut ids = Ids::default();
        let (a, b) = (ids.take(1), ids.take(1));
        assert_eq!((a, b, ids.end()), (BackendId(0), BackendId(1), 2));
        ids.leave(a, [(0, 1), (1, 1)].into_iter());
        ids.gone(a, 0);
        ids.round_begins();
        ids.gone(a, 1);
        assert!(ids.wait_for_a_round());
        assert_eq!(ids.round_ended(true), [], "that round began before it was gone");
        ids.round_begins();
        assert_eq!(ids.round_ended(false), [], "a shard kept what it had");
        ids.round_begins();
        assert_eq!(ids.take(2), BackendId(2), "not free yet");
        assert_eq!(ids.round_ended(true), [a]);
        assert_eq!(ids.take(3), a);
        assert!(!ids.wait_for_a_round());
    }

    #[test]
    fn a_shard_that_ended_or_never_heard_of_a_backend_is_not_waited_for() {
        let mut ids = Ids::default();
        let (a, b) = (ids.take(5), ids.take(5));
        ids.leave(a, [(0, 4), (1, 5)].into_iter());
        ids.leave(b, [(0, 4)].into_iter());
        ids.gone(b, 0);
        ids.round_begins();
        assert_eq!(ids.round_ended(true), [b]);
        ids.shard_ended(1);
        ids.round_begins();
        assert_eq!(ids.round_ended(true), [a]);
    }

    #[test]
    fn numbers_stay_few_over_a_hundred_changes() {
        let mut ids = Ids::default();
        let mut held = ids.take(1);
        for generation in 2..102 {
            let next = ids.take(generation);
            ids.leave(held, [(0, generation)].into_iter());
            ids.gone(held, 0);
            ids.round_begins();
            ids.round_ended(true);
            held = next;
        }
        assert_eq!(ids.end(), 2);
    }
}
