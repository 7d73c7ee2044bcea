//! What one shard must still be told, kept until its mailbox takes it.
//!
//! Transitions and orders must not be lost: a shard that missed one would send traffic to a backend that
//! is down, or never drain. A mailbox that is full is tried again by [`super::serve`]. Of a backend's
//! transitions only the last is kept, so a shard that is behind for long is told what holds, not what
//! held. Snapshots do not wait here: the next one replaces them.

use super::ShardLink;
use super::life::Order;
use crate::balance::{BackendId, Snapshot, Traffic};
use crate::mesh::{Refused, ToShard};
use crate::metrics::ShardStats;
use crate::topology::ListenerKey;
use std::collections::{BTreeMap, VecDeque};

/// One shard's mailbox and what waits to go into it.
pub(super) struct Outbox {
    link: ShardLink,
    traffic: BTreeMap<BackendId, Traffic>,
    handed_over: Vec<ListenerKey>,
    orders: VecDeque<Order>,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(link: ShardLink) -> Self {
        Self {
            link,
            traffic: BTreeMap::new(),
            handed_over: Vec::new(),
            orders: VecDeque::new(),
            closed: false,
        }
    }

    /// The backend gets this from now on.
    pub(super) fn traffic(&mut self, id: BackendId, traffic: Traffic) {
        self.traffic.insert(id, traffic);
    }

    /// A successor process accepts on the sockets of these listeners: the shard lets go of them before it
    /// is told to drain, which would shut them down.
    pub(super) fn hand_over(&mut self, listeners: &[ListenerKey]) {
        self.handed_over.extend_from_slice(listeners);
    }

    /// The shard is to leave, drain or stop.
    pub(super) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// The shard is gone; nothing waits for it any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.traffic.clear();
        self.handed_over.clear();
        self.orders.clear();
    }

    /// Sends what waits, transitions first; `false` if the mailbox was full and something still waits.
    pub(super) fn flush(&mut self) -> bool {
        if !self.traffic.is_empty() {
            let all = self.traffic.iter().map(|(id, traffic)| (*id, *traffic)).collect();
            if !self.post(ToShard::Traffic(all)) {
                return false;
            }
            self.traffic.clear();
        }
        if !self.handed_over.is_empty() {
            if !self.post(ToShard::HandOver(self.handed_over.as_slice().into())) {
                return false;
            }
            self.handed_over.clear();
        }
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
        match self.link.to_shard.send(ToShard::Collect(spare)) {
            Err(Refused::Full(ToShard::Collect(spare)) | Refused::Closed(ToShard::Collect(spare))) => {
                Some(spare)
            }
            Ok(()) | Err(_) => None,
        }
    }

    /// `false` if the mailbox was full. What is sent to a shard that is gone counts as taken.
    fn post(&mut self, message: ToShard) -> bool {
        if self.closed {
            return true;
        }
        match self.link.to_shard.send(message) {
            Ok(()) => true,
            Err(Refused::Full(_)) => false,
            Err(Refused::Closed(_)) => {
                self.close();
                true
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::mesh::mailbox;

    #[test]
    fn what_a_full_mailbox_refused_waits_in_order_and_only_the_last_transition_of_a_backend() {
        let (to_shard, shard) = mailbox(1).unwrap();
        let mut outbox = Outbox::new(ShardLink { to_shard });
        outbox.order(Order::LastRequests);
        assert!(outbox.flush());
        outbox.traffic(BackendId(1), Traffic::ALL);
        outbox.traffic(BackendId(0), Traffic::ALL);
        outbox.order(Order::Drain);
        assert!(!outbox.flush());
        outbox.traffic(BackendId(1), Traffic::NOTHING);
        assert!(matches!(shard.try_recv(), Some(ToShard::LastRequests)));
        assert!(!outbox.flush(), "the order still waits behind the transitions");
        let Some(ToShard::Traffic(told)) = shard.try_recv() else { panic!("no transitions") };
        assert_eq!(told, [(BackendId(0), Traffic::ALL), (BackendId(1), Traffic::NOTHING)]);
        assert!(outbox.flush());
        assert!(matches!(shard.try_recv(), Some(ToShard::Drain)));
        assert!(shard.try_recv().is_none());
    }

    #[test]
    fn nothing_waits_for_a_shard_that_is_gone() {
        let (to_shard, shard) = mailbox(1).unwrap();
        let mut outbox = Outbox::new(ShardLink { to_shard });
        drop(shard);
        outbox.traffic(BackendId(0), Traffic::ALL);
        assert!(outbox.flush() && outbox.traffic.is_empty());
        assert!(outbox.collect(Box::new(ShardStats::new(1))).is_some());
    }
}
