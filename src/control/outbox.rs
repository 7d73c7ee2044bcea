//! What one shard must still be told, kept until its mailbox takes it.
//!
//! Nothing of it may be lost: a shard that missed something would send traffic to a backend that is down,
//! or never drain. A mailbox that is full is tried again by [`super::serve`]. Of topologies, and of a
//! backend's traffic, only the last is kept, so a shard that is behind for long is told what holds, not
//! what held. Everything goes out in one order, in which each word makes sense to who heard those before:
//! what there is, where to accept, who gets traffic, a mark that says so far, orders. Snapshots do not wait
//! here: the next one replaces them.

use crate::balance::{BackendId, Snapshot, Traffic};
use crate::fleet::life::Order;
use crate::mesh::Sender;
use crate::mesh::{Injected, Refused, ToShard};
use crate::metrics::ShardStats;
use crate::topology::{ListenerKey, Topology};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One shard's mailbox and what waits to go into it.
pub(super) struct Outbox {
    to_shard: Sender<ToShard>,
    topology: Option<Arc<Topology>>,
    accept: Vec<(ListenerKey, Arc<OwnedFd>)>,
    traffic: BTreeMap<BackendId, Traffic>,
    mark: Option<u64>,
    handed_over: Vec<ListenerKey>,
    orders: VecDeque<Order>,
    /// The generation of the topology that the mailbox took last.
    generation: u64,
    closed: bool,
}

impl Outbox {
    /// Of a shard that was started with the topology of `generation`.
    pub(super) fn new(to_shard: Sender<ToShard>, generation: u64) -> Self {
        Self {
            to_shard,
            topology: None,
            accept: Vec::new(),
            traffic: BTreeMap::new(),
            mark: None,
            handed_over: Vec::new(),
            orders: VecDeque::new(),
            generation,
            closed: false,
        }
    }

    /// The generation that the shard was told last.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What is served from now on. What waits to be said of a backend that is not in it, or is another
    /// one there, is dropped by
    /// [`forget_but`](Self::forget_but).
    pub(super) fn topology(&mut self, topology: Arc<Topology>) {
        self.topology = Some(topology);
    }

    /// Where to accept as well.
    pub(super) fn accept(&mut self, sockets: impl IntoIterator<Item = (ListenerKey, Arc<OwnedFd>)>) {
        self.accept.extend(sockets);
    }

    /// Which exchanges a backend gets from now on.
    pub(super) fn traffic(&mut self, id: BackendId, traffic: Traffic) {
        self.traffic.insert(id, traffic);
    }

    /// Only these backends are in the topology: what waits to be said of another is said no more.
    pub(super) fn forget_but(&mut self, holds: impl Fn(BackendId) -> bool) {
        self.traffic.retain(|id, _| holds(*id));
    }

    /// A successor process accepts on the sockets of these listeners: the shard lets go of them before it
    /// is told to drain, which would shut them down.
    pub(super) fn hand_over(&mut self, listeners: &[ListenerKey]) {
        self.handed_over.extend_from_slice(listeners);
    }

    /// Everything up to here is to be confirmed.
    pub(super) fn mark(&mut self, mark: u64) {
        self.mark = Some(mark);
    }

    /// The shard is to fail: a test of weir itself wants it.
    pub(super) fn inject(&mut self, fault: Injected) {
        // A full mailbox means that the test asks too much; it will see that nothing happened.
        let _ = self.post(ToShard::Inject(fault));
    }

    /// The shard is to leave, drain or stop.
    pub(super) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// The shard is gone; nothing waits for it any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.topology = None;
        self.accept.clear();
        self.traffic.clear();
        self.mark = None;
        self.handed_over.clear();
        self.orders.clear();
    }

    /// Sends what waits; `false` if the mailbox was full and something still waits.
    pub(super) fn flush(&mut self) -> bool {
        self.send_topology()
            && self.send_accept()
            && self.send_traffic()
            && self.send_mark()
            && self.send_handed_over()
            && self.send_orders()
    }

    fn send_topology(&mut self) -> bool {
        let Some(topology) = &self.topology else { return true };
        let generation = topology.generation;
        if !self.post(ToShard::Topology(topology.clone())) {
            return false;
        }
        (self.topology, self.generation) = (None, generation);
        true
    }

    fn send_accept(&mut self) -> bool {
        let sent = self.accept.is_empty() || self.post(ToShard::Accept(self.accept.clone()));
        if sent {
            self.accept.clear();
        }
        sent
    }

    fn send_traffic(&mut self) -> bool {
        let all = || self.traffic.iter().map(|(id, traffic)| (*id, *traffic)).collect();
        let sent = self.traffic.is_empty() || self.post(ToShard::Traffic(all()));
        if sent {
            self.traffic.clear();
        }
        sent
    }

    fn send_mark(&mut self) -> bool {
        let sent = self.mark.is_none_or(|mark| self.post(ToShard::Mark(mark)));
        if sent {
            self.mark = None;
        }
        sent
    }

    fn send_handed_over(&mut self) -> bool {
        let sent =
            self.handed_over.is_empty() || self.post(ToShard::HandOver(self.handed_over.as_slice().into()));
        if sent {
            self.handed_over.clear();
        }
        sent
    }

    fn send_orders(&mut self) -> bool {
        while let Some(order) = self.orders.front() {
            let message = match order {
                Order::LastRequests => ToShard::LastRequests,
                Order::Drain => ToShard::Drain,
                Order::Stop => ToShard::Stop,
            };
            if !self.post(message) {
                return false;
            }
            self.orders.pop_front();
        }
        true
    }

    /// Offers a snapshot; `false` if the mailbox was full.
    pub(super) fn snapshot(&mut self, snapshot: Snapshot) -> bool {
        self.post(ToShard::Snapshot(snapshot))
    }

    /// Asks for what the shard recorded; `Some` gives the box back if it was not taken.
    pub(super) fn collect(&mut self, spare: Box<ShardStats>) -> Option<Box<ShardStats>> {
        if self.closed {
            return Some(spare);
        }
        match self.to_shard.send(ToShard::Collect(spare)) {
            Err(Refused::Full(ToShard::Collect(spare)) | Refused::Closed(ToShard::Collect(spare))) => {
                Some(spare)
            }
            Ok(()) | Err(_) => None,
        }
    }

    /// `false` if the mailbox was full. What is sent to a shard that is gone counts as taken.
    fn post(&self, message: ToShard) -> bool {
        // A closed mailbox too: the shard's last word, `Ended`, is on its way, and closes this outbox.
        self.closed || !matches!(self.to_shard.send(message), Err(Refused::Full(_)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::mesh::mailbox;

    fn topology(generation: u64) -> Arc<Topology> {
        Arc::new(Topology { generation, ..Topology::default() })
    }

    #[test]
    fn what_a_full_mailbox_refused_waits_in_order_and_only_what_holds_of_it() {
        let (to_shard, shard) = mailbox(1).unwrap();
        let mut outbox = Outbox::new(to_shard, 1);
        outbox.order(Order::LastRequests);
        assert!(outbox.flush());
        outbox.order(Order::Drain);
        outbox.mark(1);
        outbox.traffic(BackendId(1), Traffic::ALL);
        outbox.traffic(BackendId(0), Traffic::ALL);
        outbox.traffic(BackendId(2), Traffic::ALL);
        outbox.topology(topology(2));
        assert!(!outbox.flush());
        outbox.traffic(BackendId(1), Traffic::NOTHING);
        outbox.forget_but(|id| id != BackendId(2));
        outbox.topology(topology(3));
        outbox.mark(2);
        assert!(matches!(shard.try_recv(), Some(ToShard::LastRequests)));
        assert!(!outbox.flush(), "the rest waits behind the topology");
        assert_eq!(outbox.generation(), 3);
        let Some(ToShard::Topology(told)) = shard.try_recv() else { panic!("no topology") };
        assert_eq!(told.generation, 3);
        assert!(!outbox.flush());
        let Some(ToShard::Traffic(told)) = shard.try_recv() else { panic!("no traffic") };
        assert_eq!(told, [(BackendId(0), Traffic::ALL), (BackendId(1), Traffic::NOTHING)]);
        assert!(!outbox.flush());
        assert!(matches!(shard.try_recv(), Some(ToShard::Mark(2))));
        assert!(outbox.flush());
        assert!(matches!(shard.try_recv(), Some(ToShard::Drain)));
        assert!(shard.try_recv().is_none());
    }

    #[test]
    fn nothing_waits_for_a_shard_that_is_gone() {
        let (to_shard, shard) = mailbox(1).unwrap();
        let mut outbox = Outbox::new(to_shard, 1);
        drop(shard);
        outbox.traffic(BackendId(0), Traffic::ALL);
        assert!(outbox.flush() && outbox.traffic.is_empty());
        assert!(outbox.collect(Box::new(ShardStats::new(1))).is_some());
    }
}
