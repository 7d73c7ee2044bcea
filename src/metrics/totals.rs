//! Everything that all shards recorded since the process began: the exact sum of their boxes.
//!
//! [`Totals::absorb`] adds one box and is called by `control` for every
//! [`crate::mesh::ToControl::Collected`]; the exposition and `admin` read the result.

use super::Series;
use super::interval::Interval;
use super::labels::{Phase, Refusal, TlsVersion};
use super::stats::{BackendRecord, Handshakes, RingCounters, ShardStats};
use crate::balance::BackendId;
use crate::limit::LifeOver;
use hdrhistogram::Counter;
use std::collections::BTreeMap;

/// One backend, over all shards.
pub type BackendTotals = BackendRecord<u64>;

impl BackendTotals {
    /// Answers passed on.
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    pub(super) fn add<C: Counter>(&mut self, part: &BackendRecord<C>) {
        self.add_counters(part);
        self.phases.iter_mut().zip(&part.phases).for_each(|(total, part)| total.add(part));
    }

    /// Adds all but the phases.
    fn add_counters<C: Counter>(&mut self, part: &BackendRecord<C>) {
        let BackendRecord {
            classes,
            calls,
            failures,
            retries,
            retries_denied,
            connects,
            connects_us,
            bytes_in,
            bytes_out,
            phases: _,
        } = part;
        self.classes.iter_mut().zip(classes).for_each(|(total, part)| *total += part);
        self.calls.iter_mut().zip(calls).for_each(|(total, part)| *total += part);
        self.failures.iter_mut().zip(failures).for_each(|(total, part)| *total += part);
        self.retries += retries;
        self.retries_denied += retries_denied;
        self.connects += connects;
        self.connects_us = self.connects_us.saturating_add(*connects_us);
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
    }

    /// The recorded lengths of one phase.
    pub fn phase(&self, phase: Phase) -> &Series<u64> {
        &self.phases[phase as usize]
    }
}

/// One shard: what only makes sense for each by itself.
#[derive(Clone, Debug, Default)]
pub struct ShardTotals {
    /// Downstream connections accepted.
    pub accepted: u64,
    /// Times that accepting was paused.
    pub accept_pauses: u64,
    /// Connections without an exchange that were ended for new ones.
    pub evicted: u64,
    /// Connections with clients that were over a limit of their life when they ended, by [`LifeOver`].
    pub lived_out: [u64; LifeOver::ALL.len()],
    /// Connections with backends that were closed for one.
    pub upstream_lived_out: [u64; LifeOver::ALL.len()],
    /// Connections that it accepted and handed to a shard with fewer.
    pub handed_over: u64,
    /// What was not kept for a retry, for want of memory.
    pub not_kept: u64,
    /// Downstream connections when last asked.
    pub connections: u32,
    /// Idle upstream connections when last asked.
    pub idle_upstream: u32,
    /// Downstream connections that there may be.
    pub connections_max: u32,
    /// The ring's counters when last asked.
    pub ring: RingCounters,
    /// Completion to handling: the longest that each completion may have waited for the shard's loop.
    pub stall: Series<u64>,
    /// Handshake to accept: the longest that each accepted connection may have waited for it.
    pub accept_delay: Series<u64>,
    /// TLS handshakes.
    pub(super) handshakes: Handshakes,
    /// How long those took that were done with clients.
    pub handshake_time: Series<u64>,
    /// What those agreed on, by [`TlsVersion`].
    pub tls_versions: [u64; TlsVersion::ALL.len()],
    /// Requests that came over HTTP/2.
    pub http2_requests: u64,
    /// Downstream connections that speak HTTP/2, when last asked.
    pub http2_connections: u32,
    /// At each pick, the age of the shard's view of the others' counts.
    pub view_age: Series<u64>,
}

/// All that was recorded since the process began.
#[derive(Debug)]
pub struct Totals {
    pub(super) backends: Vec<BackendTotals>,
    /// What those came to, all together, whose numbers were given to others.
    pub(super) former: BackendTotals,
    /// The same by pool, of the pools that there are.
    former_by_pool: BTreeMap<String, BackendTotals>,
    pub(super) shards: Box<[ShardTotals]>,
    /// By cause and status.
    pub(super) refusals: BTreeMap<(&'static str, u16), u64>,
    /// What came since this was last cleared.
    recent: Interval,
}

impl Totals {
    /// Nothing yet, of so many backends and shards.
    pub fn new(backends: usize, shards: usize) -> Self {
        Self {
            backends: (0..backends).map(|_| BackendTotals::default()).collect(),
            former: BackendTotals::default(),
            former_by_pool: BTreeMap::new(),
            shards: vec![ShardTotals::default(); shards].into(),
            refusals: BTreeMap::new(),
            recent: Interval::new(backends, shards),
        }
    }

    /// Adds a shard's box, which the caller then [clears](ShardStats::clear) and uses again. A shard
    /// that is not one of this process is a fault of ours and panics, as an index does.
    pub fn absorb(&mut self, shard: u16, part: &ShardStats) {
        if part.backends.len() > self.backends.len() {
            self.backends.resize_with(part.backends.len(), BackendTotals::default);
        }
        self.recent.grow(self.backends.len());
        for (id, (total, part)) in self.backends.iter_mut().zip(&part.backends).enumerate() {
            total.add_counters(part);
            // Both at once: what takes long is to walk through the histograms of a thousand backends.
            self.recent.absorb_backend(id, part, &mut total.phases);
        }
        self.recent.absorb_shard(shard, part);
        for (refusal, status, count) in &part.refusals {
            *self.refusals.entry((Refusal::label(*refusal), *status)).or_default() += count;
        }
        let shard = &mut self.shards[usize::from(shard)];
        shard.accepted += part.accepted;
        shard.accept_pauses += part.accept_pauses;
        shard.evicted += part.evicted;
        shard.lived_out.iter_mut().zip(part.lived_out).for_each(|(all, count)| *all += count);
        shard
            .upstream_lived_out
            .iter_mut()
            .zip(part.upstream_lived_out)
            .for_each(|(all, count)| *all += count);
        shard.handed_over += part.handed_over;
        shard.not_kept += part.not_kept;
        shard.connections = part.connections;
        shard.idle_upstream = part.idle_upstream;
        shard.connections_max = part.connections_max;
        shard.ring = part.ring;
        shard.stall.add(&part.stall);
        shard.accept_delay.add(&part.accept_delay);
        let counts = shard.handshakes.as_flattened_mut().iter_mut();
        counts.zip(part.handshakes.as_flattened()).for_each(|(total, part)| *total += part);
        shard.handshake_time.add(&part.handshake_time);
        shard.tls_versions.iter_mut().zip(part.tls_versions).for_each(|(all, count)| *all += count);
        shard.http2_requests += part.http2_requests;
        shard.http2_connections = part.http2_connections;
        shard.view_age.add(&part.view_age);
    }

    /// This number is given to another backend: what the one before came to stays in the
    /// [summary](Self::summary), and in what [its pool](Self::former_of) came to, if there still is that pool.
    pub fn reset(&mut self, id: BackendId, pool: Option<&str>) {
        let Some(total) = self.backends.get_mut(id.0 as usize) else { return };
        let former = std::mem::take(total);
        self.former.add(&former);
        if let Some(pool) = pool {
            self.former_by_pool.entry(pool.to_owned()).or_default().add(&former);
        }
    }

    /// What those backends of a pool came to whose numbers were given to others; `None`: there are none.
    pub fn former_of(&self, pool: &str) -> Option<&BackendTotals> {
        self.former_by_pool.get(pool)
    }

    /// Forgets what the backends of other pools than these came to.
    pub fn keep_pools(&mut self, is_there: impl Fn(&str) -> bool) {
        self.former_by_pool.retain(|pool, _| is_there(pool));
    }

    /// Requests that weir answered by itself or gave up: cause, status (0: none), how many.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u16, u64)> {
        self.refusals.iter().map(|((cause, status), count)| (*cause, *status, *count))
    }

    /// What was recorded since this was last [cleared](Interval::clear).
    pub fn recent(&self) -> &Interval {
        &self.recent
    }

    /// The same, to be cleared.
    pub fn recent_mut(&mut self) -> &mut Interval {
        &mut self.recent
    }

    /// A shard is gone, and its connections with it.
    pub fn shard_ended(&mut self, shard: u16) {
        let shard = &mut self.shards[usize::from(shard)];
        (shard.connections, shard.idle_upstream, shard.ring.buffers_in_use) = (0, 0, 0);
    }

    /// One backend's totals; `None` if there is no such backend.
    pub fn backend(&self, id: BackendId) -> Option<&BackendTotals> {
        self.backends.get(id.0 as usize)
    }

    /// The shards, by their numbers.
    pub fn shards(&self) -> &[ShardTotals] {
        &self.shards
    }

    /// How unevenly downstream connections lie on the shards: the most on one over the mean; 1 is even,
    /// the number of shards is all on one. `None` without connections.
    pub fn imbalance(&self) -> Option<f64> {
        let sum: u64 = self.shards.iter().map(|shard| u64::from(shard.connections)).sum();
        let most = self.shards.iter().map(|shard| shard.connections).max()?;
        (sum > 0).then(|| f64::from(most) * self.shards.len() as f64 / sum as f64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::labels::UpstreamFailure;
    use super::*;
    use crate::time::Micros;
    use proptest::prelude::*;

    /// One thing that a shard records.
    #[derive(Clone, Debug)]
    enum Event {
        Length(u32, usize, u64),
        Answer(u32, u16),
        Failure(u32, usize),
        Refused(u16, usize),
        Age(u64),
        Handled(u64, u64),
        Counted(u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        // Lengths of all magnitudes, beyond the longest too.
        let length = (0u32..40).prop_flat_map(|bits| 0..(1u64 << bits));
        prop_oneof![
            (0u32..3, 0..Phase::ALL.len(), length.clone()).prop_map(|(id, at, us)| Event::Length(id, at, us)),
            (0u32..3, 0u16..700).prop_map(|(id, status)| Event::Answer(id, status)),
            (0u32..3, 0..UpstreamFailure::ALL.len()).prop_map(|(id, at)| Event::Failure(id, at)),
            (400u16..404, 0..Refusal::ALL.len()).prop_map(|(status, at)| Event::Refused(status, at)),
            length.clone().prop_map(Event::Age),
            (0u64..1_000, length).prop_map(|(count, us)| Event::Handled(count, us)),
            (0u32..3).prop_map(Event::Counted),
        ]
    }

    fn record(stats: &mut ShardStats, event: &Event) {
        match *event {
            Event::Length(id, at, us) => stats.record(BackendId(id), Phase::ALL[at], Micros::from_us(us)),
            Event::Answer(id, status) => stats.answered(BackendId(id), status),
            Event::Failure(id, at) => stats.failed(BackendId(id), UpstreamFailure::ALL[at]),
            Event::Refused(status, at) => stats.refused(status, Refusal::ALL[at]),
            Event::Age(us) => stats.view_age(Micros::from_us(us)),
            Event::Handled(count, us) => stats.handled(count, Micros::from_us(us)),
            Event::Counted(id) => {
                stats.accepted(Some(Micros::from_ms(4)));
                stats.retried(BackendId(id));
                stats.connected(BackendId(id), Micros::from_us(7));
                stats.passed(BackendId(id), 5, 6);
            }
        }
    }

    /// All that is known of the totals but which shard accepted, as text.
    fn known(totals: &Totals) -> String {
        let accepted: u64 = totals.shards.iter().map(|shard| shard.accepted).sum();
        let lengths = [summed(totals, |shard| &shard.view_age), summed(totals, |shard| &shard.stall)];
        format!("{accepted} {:?} {:?} {lengths:?}", totals.backends, totals.refusals)
    }

    /// One kind of lengths, over all shards.
    fn summed(totals: &Totals, of: fn(&ShardTotals) -> &Series<u64>) -> Series<u64> {
        let mut lengths = Series::default();
        totals.shards.iter().for_each(|shard| lengths.add(of(shard)));
        lengths
    }

    proptest! {
        // Each case clears and sums thousands of counters, unoptimised.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_merge_of_many_shards_boxes_equals_one_that_recorded_everything(
            steps in prop::collection::vec((0u16..4, event(), prop::bool::weighted(0.1)), 0..300)
        ) {
            let (mut merged, mut at_once) = (Totals::new(3, 4), Totals::new(3, 1));
            let mut all = ShardStats::new(3);
            let mut shards: Vec<Box<ShardStats>> = (0..4).map(|_| Box::new(ShardStats::new(3))).collect();
            let mut spare = Box::new(ShardStats::new(3));
            for (shard, event, collect) in &steps {
                record(&mut all, event);
                let stats = &mut shards[usize::from(*shard)];
                record(stats, event);
                if *collect {
                    let full = ShardStats::swap(stats, spare);
                    merged.absorb(*shard, &full);
                    spare = full;
                    spare.clear();
                }
            }
            (0u16..).zip(&shards).for_each(|(shard, stats)| merged.absorb(shard, stats));
            at_once.absorb(0, &all);
            prop_assert_eq!(known(&merged), known(&at_once));
            let many = |is: &dyn Fn(&Event) -> bool| steps.iter().filter(|(_, event, _)| is(event)).count() as u64;
            for (id, total) in (0u32..).zip(&merged.backends) {
                let counted = many(&|event| matches!(event, Event::Counted(of) if *of == id));
                prop_assert_eq!([total.retries, total.connects, total.connects_us], [counted, counted, 7 * counted]);
                prop_assert_eq!([total.bytes_in, total.bytes_out], [5 * counted, 6 * counted]);
                prop_assert_eq!(total.requests(), many(&|event| matches!(event, Event::Answer(of, _) if *of == id)));
                let failures: u64 = total.failures.iter().sum();
                prop_assert_eq!(failures, many(&|event| matches!(event, Event::Failure(of, _) if *of == id)));
                let lengths: u64 = total.phases.iter().map(Series::count).sum();
                prop_assert_eq!(lengths, many(&|event| matches!(event, Event::Length(of, _, _) if *of == id)));
            }
            prop_assert_eq!(merged.refusals.values().sum::<u64>(), many(&|event| matches!(event, Event::Refused(..))));
            let ages = summed(&merged, |shard| &shard.view_age).count();
            prop_assert_eq!(ages, many(&|event| matches!(event, Event::Age(_))));
            let handled = steps.iter().map(|(_, event, _)| match event {
                Event::Handled(count, _) => *count,
                _ => 0,
            });
            prop_assert_eq!(summed(&merged, |shard| &shard.stall).count(), handled.sum::<u64>());
            let accepted: u64 = merged.shards.iter().map(|shard| shard.accepted).sum();
            let delays = summed(&merged, |shard| &shard.accept_delay);
            prop_assert_eq!([delays.count(), delays.sum().as_us()], [accepted, 4_000 * accepted]);
            prop_assert_eq!(accepted, many(&|event| matches!(event, Event::Counted(_))));
        }
    }

    #[test]
    fn imbalance_is_the_most_over_the_mean() {
        for (connections, expected) in [
            (vec![5, 5], Some(1.0)),
            (vec![10, 0], Some(2.0)),
            (vec![9, 3, 0], Some(2.25)),
            (vec![0, 0], None),
            (vec![], None),
        ] {
            let mut totals = Totals::new(0, connections.len());
            for (shard, connections) in (0u16..).zip(&connections) {
                let mut stats = ShardStats::new(0);
                stats.set_connections(*connections, 0);
                totals.absorb(shard, &stats);
            }
            assert_eq!(totals.imbalance(), expected, "{connections:?}");
        }
    }

    #[test]
    fn a_gauge_is_what_the_shard_last_said_and_nothing_once_it_ended() {
        let mut totals = Totals::new(0, 1);
        let mut stats = ShardStats::new(0);
        for connections in [9, 4] {
            stats.set_connections(connections, 1);
            totals.absorb(0, &stats);
        }
        assert_eq!(totals.shards()[0].connections, 4);
        totals.shard_ended(0);
        let ShardTotals { connections, idle_upstream, .. } = totals.shards()[0];
        assert_eq!((connections, idle_upstream), (0, 0));
    }
}
