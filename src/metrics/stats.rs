//! What one shard recorded since control last asked.
//!
//! Counters and histograms are deltas, gauges and the ring's counters stand for now. Owned by a shard,
//! recorded into without locks or allocation, swapped whole by [`ShardStats::swap`]. Merged by
//! [`super::Totals`].

use super::Series;
use super::labels::{Handshake, Phase, Refusal, Side, TlsVersion, UpstreamFailure};
use crate::balance::BackendId;
use crate::config::GrpcStatus;
use crate::limit::LifeOver;
use crate::time::Micros;
use hdrhistogram::Counter;

/// Handshakes by [`Side`] and [`Handshake`].
pub(super) type Handshakes = [[u64; Handshake::ALL.len()]; Side::ALL.len()];

/// The classes of statuses that are told apart: "1xx" to "5xx", and what is no status.
pub(super) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

fn class(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100) - 1,
        _ => CLASSES.len() - 1,
    }
}

/// What a shard's ring has done since it began: absolute, set by the shard before the box goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Turns of the loop.
    pub turns: u64,
    /// Completions seen.
    pub completions: u64,
    /// Times the shard slept in the kernel.
    pub parks: u64,
    /// How long it slept there, in µs.
    pub parked_us: u64,
    /// How long it looked at its ring with nothing to do (`runtime.spin`), in µs.
    pub spun_us: u64,
    /// Receives that found no buffer.
    pub no_buffers: u64,
    /// Buffers in use now.
    pub buffers_in_use: u64,
    /// Buffers that there are.
    pub buffers: u64,
}

/// What was recorded about one backend; `C` counts in its histograms.
#[derive(Debug)]
pub struct BackendRecord<C: Counter> {
    pub(super) classes: [u64; CLASSES.len()],
    /// By [`GrpcStatus`].
    pub(super) calls: [u64; GrpcStatus::ALL.len()],
    pub(super) failures: [u64; UpstreamFailure::ALL.len()],
    pub(super) retries: u64,
    pub(super) retries_denied: u64,
    pub(super) connects: u64,
    pub(super) connects_us: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) phases: [Series<C>; Phase::ALL.len()],
}

/// What one shard recorded about a backend since its box was last swapped.
pub type BackendStats = BackendRecord<u32>;

impl<C: Counter> Default for BackendRecord<C> {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            calls: Default::default(),
            failures: Default::default(),
            retries: 0,
            retries_denied: 0,
            connects: 0,
            connects_us: 0,
            bytes_in: 0,
            bytes_out: 0,
            phases: Default::default(),
        }
    }
}

/// What one shard recorded since its box was last swapped.
#[derive(Debug)]
pub struct ShardStats {
    pub(super) backends: Vec<BackendStats>,
    /// By cause and status; a shard sees a handful of pairs, so it is a list, with room for all of them.
    pub(super) refusals: Vec<(Refusal, u16, u64)>,
    pub(super) view_age: Series<u32>,
    pub(super) stall: Series<u32>,
    pub(super) accept_delay: Series<u32>,
    pub(super) handshakes: Handshakes,
    pub(super) handshake_time: Series<u32>,
    pub(super) tls_versions: [u64; TlsVersion::ALL.len()],
    /// Requests that came over HTTP/2.
    pub(super) http2_requests: u64,
    pub(super) accepted: u64,
    pub(super) accept_pauses: u64,
    pub(super) evicted: u64,
    /// By [`LifeOver`]: of clients, and of backends.
    pub(super) lived_out: [u64; LifeOver::ALL.len()],
    pub(super) upstream_lived_out: [u64; LifeOver::ALL.len()],
    /// Handed to a shard with fewer.
    pub(super) handed_over: u64,
    pub(super) not_kept: u64,
    pub(super) connections: u32,
    /// Of these, those that speak HTTP/2.
    pub(super) http2_connections: u32,
    pub(super) idle_upstream: u32,
    /// Downstream connections that there may be.
    pub connections_max: u32,
    /// The ring's own counters.
    pub ring: RingCounters,
}

/// Pairs of cause and status that are told apart; weir answers with about two statuses a cause.
const REFUSALS_MAX: usize = 4 * Refusal::ALL.len();

impl ShardStats {
    /// Empty, with room for `backends` backends: 53 KiB each, of which only what is used becomes resident.
    pub fn new(backends: usize) -> Self {
        Self {
            backends: (0..backends).map(|_| BackendStats::default()).collect(),
            refusals: Vec::with_capacity(REFUSALS_MAX),
            view_age: Series::default(),
            stall: Series::default(),
            accept_delay: Series::default(),
            handshakes: Handshakes::default(),
            handshake_time: Series::default(),
            tls_versions: Default::default(),
            http2_requests: 0,
            accepted: 0,
            accept_pauses: 0,
            evicted: 0,
            lived_out: Default::default(),
            upstream_lived_out: Default::default(),
            handed_over: 0,
            not_kept: 0,
            connections: 0,
            http2_connections: 0,
            idle_upstream: 0,
            connections_max: 0,
            ring: RingCounters::default(),
        }
    }

    /// Room for `backends` backends from now on, or for as many as there was before, if that is more.
    pub fn grow(&mut self, backends: usize) {
        if backends > self.backends.len() {
            self.backends.resize_with(backends, BackendStats::default);
        }
    }

    /// Puts `spare` in the place of `current` and returns what was there, for
    /// [`crate::mesh::ToControl::Collected`]. Gauges carry on in the new box.
    pub fn swap(current: &mut Box<Self>, mut spare: Box<Self>) -> Box<Self> {
        spare.grow(current.backends.len());
        spare.connections = current.connections;
        spare.http2_connections = current.http2_connections;
        spare.idle_upstream = current.idle_upstream;
        spare.connections_max = current.connections_max;
        spare.ring = current.ring;
        std::mem::replace(current, spare)
    }

    /// A new connection to a backend was made and took so long.
    pub fn connected(&mut self, id: BackendId, took: Micros) {
        let backend = self.backend(id);
        backend.connects += 1;
        backend.connects_us = backend.connects_us.saturating_add(took.as_us());
    }

    /// A part of an exchange took so long. [`Phase::Connect`] is recorded for reused connections too.
    pub fn record(&mut self, id: BackendId, phase: Phase, length: Micros) {
        self.backend(id).phases[phase as usize].record(length);
    }

    /// A backend's answer with this status was passed on.
    pub fn answered(&mut self, id: BackendId, status: u16) {
        self.backend(id).classes[class(status)] += 1;
    }

    /// A backend has ended a call of gRPC with this status.
    pub fn call_ended(&mut self, id: BackendId, status: GrpcStatus) {
        self.backend(id).calls[usize::from(status.number())] += 1;
    }

    /// Body bytes of an exchange: from the client to the backend, and back.
    pub fn passed(&mut self, id: BackendId, bytes_in: u64, bytes_out: u64) {
        let backend = self.backend(id);
        backend.bytes_in += bytes_in;
        backend.bytes_out += bytes_out;
    }

    /// An attempt at a backend failed.
    pub fn failed(&mut self, id: BackendId, failure: UpstreamFailure) {
        self.backend(id).failures[failure as usize] += 1;
    }

    /// After a failure at this backend the request was sent to another.
    pub fn retried(&mut self, id: BackendId) {
        self.backend(id).retries += 1;
    }

    /// After a failure at this backend there would have been a retry, but the pool's budget had none left.
    pub fn retry_denied(&mut self, id: BackendId) {
        self.backend(id).retries_denied += 1;
    }

    /// weir answered by itself with `status`, or with nothing at all (0).
    pub fn refused(&mut self, status: u16, refusal: Refusal) {
        let known = self.refusals.iter().position(|(cause, with, _)| (*cause, *with) == (refusal, status));
        match known {
            Some(at) => self.refusals[at].2 += 1,
            None if self.refusals.len() < REFUSALS_MAX => self.refusals.push((refusal, status, 1)),
            // Only a fault of ours brings so many statuses; counted all the same, under the first.
            None => self.refusals[0].2 += 1,
        }
    }

    /// At a pick, the view of the other shards' counts was so old.
    pub fn view_age(&mut self, age: Micros) {
        self.view_age.record(age);
    }

    /// So many completions were handled, each at most so long after it came.
    pub fn handled(&mut self, completions: u64, at_most: Micros) {
        self.stall.record_many(at_most, u32::try_from(completions).unwrap_or(u32::MAX));
    }

    /// A downstream connection was accepted, at most so long after its handshake; `None`: that is not known.
    pub fn accepted(&mut self, delay: Option<Micros>) {
        self.accepted += 1;
        if let Some(delay) = delay {
            self.accept_delay.record(delay);
        }
    }

    /// A TLS handshake came to this, after so long.
    pub fn shook_hands(&mut self, side: Side, came_to: Handshake, took: Micros) {
        self.handshakes[side as usize][came_to as usize] += 1;
        if side == Side::Client && matches!(came_to, Handshake::Full | Handshake::Resumed) {
            self.handshake_time.record(took);
        }
    }

    /// A client's handshake, which is done, has agreed on this version.
    pub fn spoke(&mut self, version: TlsVersion) {
        self.tls_versions[version as usize] += 1;
    }

    /// A request has come over HTTP/2.
    pub fn requested_by_http2(&mut self) {
        self.http2_requests += 1;
    }

    /// Accepting was paused: out of descriptors, or at `max_connections`.
    pub fn accept_paused(&mut self) {
        self.accept_pauses += 1;
    }

    /// So many connections without an exchange were ended for new ones.
    pub fn evicted(&mut self, count: usize) {
        self.evicted += count as u64;
    }

    /// A client's connection ended that was over this limit.
    pub fn lived_out(&mut self, limit: LifeOver) {
        self.lived_out[limit as usize] += 1;
    }

    /// So many connections with backends were closed for each limit.
    pub fn upstream_lived_out(&mut self, counts: [u64; LifeOver::ALL.len()]) {
        self.upstream_lived_out.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
    }

    /// An accepted connection was handed to a shard with fewer.
    pub fn handed_over(&mut self) {
        self.handed_over += 1;
    }

    /// Something was not kept for a retry, for want of memory for it.
    pub fn not_kept(&mut self) {
        self.not_kept += 1;
    }

    /// Open connections now: with clients, and idle ones with backends.
    pub fn set_connections(&mut self, downstream: u32, upstream_idle: u32) {
        self.connections = downstream;
        self.idle_upstream = upstream_idle;
    }

    /// So many of the connections with clients speak HTTP/2.
    pub fn set_http2_connections(&mut self, count: u32) {
        self.http2_connections = count;
    }

    /// Empties the box for another round; gauges too.
    pub fn clear(&mut self) {
        for backend in &mut self.backends {
            let BackendStats {
                classes,
                calls,
                failures,
                retries,
                retries_denied,
                connects,
                connects_us,
                bytes_in,
                bytes_out,
                phases,
            } = backend;
            (*classes, *calls, *failures) = Default::default();
            (*retries, *retries_denied, *connects, *connects_us) = Default::default();
            (*bytes_in, *bytes_out) = Default::default();
            phases.iter_mut().for_each(Series::clear);
        }
        self.refusals.clear();
        self.view_age.clear();
        self.stall.clear();
        self.accept_delay.clear();
        self.handshakes = Handshakes::default();
        self.handshake_time.clear();
        (self.tls_versions, self.http2_requests, self.http2_connections) = Default::default();
        (self.accepted, self.accept_pauses, self.evicted, self.not_kept) = Default::default();
        (self.lived_out, self.upstream_lived_out, self.handed_over) = Default::default();
        (self.connections, self.idle_upstream, self.connections_max) = Default::default();
        self.ring = RingCounters::default();
    }

    /// A backend of another configuration would be a fault of ours: it panics, as an index does.
    fn backend(&mut self, id: BackendId) -> &mut BackendStats {
        &mut self.backends[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_their_class() {
        for (status, expected) in [
            (101, "1xx"),
            (200, "2xx"),
            (399, "3xx"),
            (404, "4xx"),
            (599, "5xx"),
            (0, "other"),
            (600, "other"),
        ] {
            assert_eq!(CLASSES[class(status)], expected, "{status}");
        }
    }

    #[test]
    fn a_swap_keeps_the_gauges_and_takes_the_counters() {
        let mut current = Box::new(ShardStats::new(1));
        current.set_connections(7, 3);
        current.ring.turns = 9;
        current.accepted(None);
        let full = ShardStats::swap(&mut current, Box::new(ShardStats::new(1)));
        assert_eq!((full.accepted, full.connections), (1, 7));
        assert_eq!((current.accepted, current.connections, current.idle_upstream), (0, 7, 3));
        assert_eq!(current.ring.turns, 9);
    }

    #[test]
    fn recording_refusals_never_grows_the_list_and_loses_none() {
        let mut stats = ShardStats::new(0);
        let room = stats.refusals.capacity();
        (0..1_000).for_each(|status| stats.refused(status, Refusal::BadHead));
        assert_eq!(stats.refusals.capacity(), room);
        assert_eq!(stats.refusals.iter().map(|(_, _, count)| count).sum::<u64>(), 1_000);
    }
}
