//! What the exchanges of each backend came to, summed over the shards.
//!
//! The shards say absolutely what they counted; this makes out what is new, so that a report that was
//! lost heals by the next and one that comes late or twice changes nothing. Called by `control`, which
//! hands the deltas to `health`.

use super::{BackendId, Outcome};
use crate::health::Delta;
use crate::time::Instant;
use std::collections::{HashMap, HashSet};

/// What each shard last said of each backend, and the run of failures that each is in.
#[derive(Debug, Default)]
pub struct Outcomes {
    backends: HashMap<BackendId, Sum>,
    /// They have ended; what is still under way from them counts no more.
    ended: HashSet<u16>,
}

#[derive(Debug, Default)]
struct Sum {
    said: HashMap<u16, Outcome>,
    run: u32,
    run_began: Instant,
}

impl Outcomes {
    /// Takes in what a shard said of a backend; what is new in it, if anything is.
    ///
    /// A pass on any shard ends the run, and leaves the failures that followed on that shard; which of
    /// the others' came after it is not known, and they count as before it.
    pub fn absorb(&mut self, shard: u16, id: BackendId, new: Outcome) -> Option<Delta> {
        if self.ended.contains(&shard) {
            return None;
        }
        let sum = self.backends.entry(id).or_default();
        let said = sum.said.entry(shard).or_default();
        if new.passed + new.failed <= said.passed + said.failed {
            return None;
        }
        let old = std::mem::replace(said, new);
        let failed = new.failed.saturating_sub(old.failed);
        let passed = new.passed.saturating_sub(old.passed);
        if passed > 0 {
            (sum.run, sum.run_began) = (new.run, new.run_began);
        } else {
            if sum.run == 0 {
                // Its own run may have begun before another shard's pass.
                sum.run_began = if old.run == 0 { new.run_began } else { Instant::NEVER };
            }
            sum.run = sum.run.saturating_add(u32::try_from(failed).unwrap_or(u32::MAX));
        }
        Some(Delta {
            passed,
            failed,
            run: sum.run,
            first_failed_at: if sum.run > 0 { sum.run_began } else { Instant::NEVER },
            last: new.last,
            noticed: new.noticed.saturating_sub(old.noticed),
            trials_passed: new.trials_passed.saturating_sub(old.trials_passed),
            trials_failed: new.trials_failed.saturating_sub(old.trials_failed),
            timed: new.timed.saturating_sub(old.timed),
            log2_sum: new.log2_sum.saturating_sub(old.log2_sum),
        })
    }

    /// A backend is gone from every shard: its number may be given to another.
    pub fn forget(&mut self, id: BackendId) {
        self.backends.remove(&id);
    }

    /// A shard has ended: nothing counts that still arrives from it.
    pub fn forget_shard(&mut self, shard: u16) {
        self.ended.insert(shard);
        for sum in self.backends.values_mut() {
            sum.said.remove(&shard);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Eject;
    use crate::health::{Change, Ejector, Others};
    use proptest::prelude::*;

    const ID: BackendId = BackendId(3);

    fn at(ms: u64) -> Instant {
        Instant::from_us(1_000_000_000 + ms * 1000)
    }

    /// One exchange more on a shard.
    fn count(outcome: &mut Outcome, passed: bool, now: Instant) {
        if passed {
            outcome.passed += 1;
            outcome.run = 0;
        } else {
            outcome.failed += 1;
            outcome.noticed += 1;
            outcome.last = "truncated";
            if outcome.run == 0 {
                outcome.run_began = now;
            }
            outcome.run += 1;
        }
    }

    #[test]
    fn a_run_goes_over_all_shards_and_a_pass_on_any_ends_it() {
        let mut outcomes = Outcomes::default();
        let mut shards = [Outcome::default(); 3];
        for (n, (shard, exchanges, run, first)) in [
            (0, "-", 1, 0),
            (1, "--", 3, 0),
            (2, "+", 0, u64::MAX),
            (1, "-", 1, u64::MAX),
            (0, "-+--", 2, 4),
            (2, "-", 3, 4),
        ]
        .into_iter()
        .enumerate()
        {
            let now = at(n as u64);
            exchanges.bytes().for_each(|exchange| count(&mut shards[shard], exchange == b'+', now));
            let delta = outcomes.absorb(shard as u16, ID, shards[shard]).unwrap();
            let failed = exchanges.bytes().filter(|&exchange| exchange == b'-').count() as u64;
            assert_eq!((delta.failed, delta.run), (failed, run), "{n}");
            let first = if first == u64::MAX { Instant::NEVER } else { at(first) };
            assert_eq!(delta.first_failed_at, first, "{n}");
        }
    }

    #[test]
    fn a_number_that_is_given_again_and_a_shard_that_ended_begin_from_nothing() {
        let mut outcomes = Outcomes::default();
        let outcome = Outcome { failed: 4, run: 4, ..Outcome::default() };
        assert_eq!(outcomes.absorb(0, ID, outcome).unwrap().failed, 4);
        outcomes.forget(ID);
        let delta = outcomes.absorb(0, ID, Outcome { failed: 1, run: 1, ..outcome }).unwrap();
        assert_eq!((delta.failed, delta.run), (1, 1));
        outcomes.forget_shard(0);
        assert_eq!(outcomes.absorb(0, ID, Outcome { failed: 9, ..outcome }), None);
    }

    proptest! {
        #[test]
        fn deltas_add_up_whatever_was_lost_doubled_or_overtaken(
            exchanges in prop::collection::vec((0..4_usize, any::<bool>()), 1..100),
            arrivals in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let mut shards = [Outcome::default(); 4];
            let mut sent = Vec::new();
            for (n, &(shard, passed)) in (0..).zip(&exchanges) {
                count(&mut shards[shard], passed, at(n));
                sent.push((shard as u16, shards[shard]));
            }
            let mut outcomes = Outcomes::default();
            let arrived = arrivals.iter().map(|index| *index.get(&sent));
            let last = (0..4).map(|shard| (shard as u16, shards[shard]));
            let (mut passed, mut failed) = (0, 0);
            for (shard, outcome) in arrived.chain(last) {
                if let Some(delta) = outcomes.absorb(shard, ID, outcome) {
                    passed += delta.passed;
                    failed += delta.failed;
                    prop_assert!(u64::from(delta.run) <= failed);
                }
            }
            prop_assert_eq!(passed, exchanges.iter().filter(|(_, passed)| *passed).count() as u64);
            prop_assert_eq!(passed + failed, exchanges.len() as u64);
        }

        #[test]
        fn one_shard_or_sixty_four_decide_alike(
            exchanges in prop::collection::vec((0..400_u64, 0..4_u32, 0..64_u16, 0..10_u8), 1..300),
            failing_of_ten in 2..10_u8,
        ) {
            let decide = |shards: u16| {
                let mut said = vec![[Outcome::default(); 4]; usize::from(shards)];
                let (mut outcomes, mut ejector) = (Outcomes::default(), Ejector::new(Eject::default()));
                ejector.set_members(&[0, 1, 2, 3].map(|id| (id, Others::Usable)), at(0));
                let (mut changes, mut ms) = (Vec::<Change>::new(), 0);
                for &(later, id, shard, quality) in &exchanges {
                    ms += later;
                    let shard = shard % shards;
                    let outcome = &mut said[usize::from(shard)][id as usize];
                    count(outcome, id > 0 || quality >= failing_of_ten, at(ms));
                    changes.extend(ejector.tick(at(ms)));
                    let delta = outcomes.absorb(shard, BackendId(id), *outcome).unwrap();
                    changes.extend(ejector.observe(id, &delta, at(ms)));
                }
                // When a run began over many shards is not always known.
                changes.iter_mut().for_each(|change| change.first_failed = at(0));
                changes
            };
            prop_assert_eq!(decide(1), decide(64));
        }
    }
}
