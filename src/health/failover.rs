//! The failover meter: how long a backend that fails was still picked, and what that cost the clients.
//!
//! For each change from serving to not serving: the time from the first failed probe or exchange until
//! the last shard stopped picking the backend, and how many exchanges failed towards clients in that
//! time. Called by `control`, which knows when every shard has marked a change, and which logs and
//! counts what comes out.

use super::Delta;
use crate::time::{Instant, Micros};
use std::collections::{BTreeMap, VecDeque};

/// Noticed failures are counted in steps of this, for so many steps back.
const STEP: Micros = Micros::from_ms(100);
const STEPS_MAX: usize = 600;

/// One backend's failover, measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The backend's number.
    pub backend: u32,
    /// From the first failed probe or exchange until the last shard had stopped picking it.
    pub took: Micros,
    /// Exchanges that failed towards clients in that time (for those longer than a minute, in its last).
    pub noticed: u64,
}

/// The failovers under way.
#[derive(Clone, Debug, Default)]
pub struct FailoverMeter {
    backends: BTreeMap<u32, Meter>,
}

#[derive(Clone, Debug, Default)]
struct Meter {
    /// When a step began and what it counts, oldest first.
    noticed: VecDeque<(Instant, u64)>,
    /// The first failed exchange of the run that it is in.
    failing_since: Option<Instant>,
    /// The first failure, and the mark after which no shard picks it.
    stopping: Option<(Instant, u64)>,
}

impl FailoverMeter {
    /// Takes in what a backend's exchanges came to.
    pub fn observe(&mut self, backend: u32, delta: &Delta, now: Instant) {
        let meter = self.backends.entry(backend).or_default();
        if delta.run == 0 {
            meter.failing_since = None;
        } else if delta.passed > 0 || meter.failing_since.is_none() {
            meter.failing_since = Some(delta.first_failed_at.min(now));
        }
        if delta.noticed == 0 {
            return;
        }
        match meter.noticed.back_mut() {
            Some((began, count)) if now.since(*began) < STEP => *count += delta.noticed,
            _ => meter.noticed.push_back((now, delta.noticed)),
        }
        if meter.noticed.len() > STEPS_MAX {
            meter.noticed.pop_front();
        }
    }

    /// A backend that served serves no longer, for a failure of which the first was at `first_failed`; the
    /// shards have been told so before the mark `mark`. Not to be called for what the operator wants.
    pub fn stopping(&mut self, backend: u32, first_failed: Instant, mark: u64) {
        let meter = self.backends.entry(backend).or_default();
        let began = meter.failing_since.map_or(first_failed, |since| since.min(first_failed));
        meter.stopping = Some((began, mark));
    }

    /// Every shard has marked `mark`: what that ends.
    pub fn marked(&mut self, mark: u64, now: Instant) -> Vec<Failover> {
        let mut ended = Vec::new();
        for (&backend, meter) in &mut self.backends {
            let Some((began, _)) = meter.stopping.filter(|&(_, awaited)| awaited <= mark) else { continue };
            meter.stopping = None;
            let meanwhile = meter.noticed.iter().filter(|(step, _)| *step + STEP > began);
            let noticed = meanwhile.map(|(_, count)| count).sum();
            ended.push(Failover { backend, took: now.since(began), noticed });
            // They must not be counted again by the next failover.
            meter.noticed.clear();
            meter.failing_since = None;
        }
        ended
    }

    /// The backend is gone.
    pub fn forget(&mut self, backend: u32) {
        self.backends.remove(&backend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Instant {
        Instant::from_us(ms * 1000)
    }

    fn failed(run: u32, first_ms: u64, noticed: u64) -> Delta {
        Delta { failed: 1, run, first_failed_at: at(first_ms), noticed, ..Delta::default() }
    }

    fn passed() -> Delta {
        Delta { passed: 1, ..Delta::default() }
    }

    #[test]
    fn a_failover_lasts_from_the_first_failure_to_the_mark_and_counts_what_was_noticed() {
        let mut meter = FailoverMeter::default();
        meter.observe(7, &failed(1, 1_000, 1), at(1_001));
        meter.observe(7, &passed(), at(3_000));
        meter.observe(7, &failed(1, 5_000, 0), at(5_001));
        meter.observe(7, &failed(2, 5_000, 2), at(5_002));
        meter.stopping(7, at(5_200), 4);
        meter.observe(7, &failed(3, 5_000, 1), at(5_250));
        meter.observe(8, &failed(1, 5_100, 9), at(5_250));
        assert_eq!(meter.marked(3, at(5_260)), []);
        let expected = Failover { backend: 7, took: Micros::from_ms(300), noticed: 3 };
        assert_eq!(meter.marked(5, at(5_300)), [expected]);
        assert_eq!(meter.marked(5, at(5_400)), [], "once");
        // By a probe alone, long after; what comes late counts nowhere twice.
        meter.observe(7, &failed(4, 5_000, 1), at(6_000));
        meter.observe(7, &passed(), at(6_001));
        meter.stopping(7, at(9_000), 6);
        let expected = Failover { backend: 7, took: Micros::from_ms(50), noticed: 0 };
        assert_eq!(meter.marked(6, at(9_050)), [expected]);
    }

    proptest! {
        #[test]
        fn nothing_noticed_is_counted_twice_and_memory_is_bounded(
            steps in prop::collection::vec((0u64..400, 0u64..3, any::<bool>()), 0..1500),
        ) {
            let (mut meter, mut ms, mut noticed, mut counted) = (FailoverMeter::default(), 0, 0, 0);
            for (n, (later, count, stop)) in (1..).zip(steps) {
                ms += later;
                noticed += count;
                meter.observe(1, &failed(1, ms, count), at(ms));
                if stop && n % 50 == 0 {
                    meter.stopping(1, at(ms.saturating_sub(5_000)), n);
                    counted += meter.marked(n, at(ms)).iter().map(|ended| ended.noticed).sum::<u64>();
                }
                prop_assert!(counted <= noticed);
                prop_assert!(meter.backends[&1].noticed.len() <= STEPS_MAX);
            }
        }
    }
}
