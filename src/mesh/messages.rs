//! The two vocabularies: what control (and, once, another shard) tells a shard, what a shard tells control.
//!
//! Only types. Sent by `control` and `shard`, carried by [`super::mailbox`].

use super::HandedOver;
use crate::balance::{BackendId, Report, Snapshot, Traffic};
use crate::metrics::ShardStats;
use crate::time::Micros;
use crate::topology::{ListenerKey, Topology};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What control tells a shard, and what another shard does.
#[derive(Debug)]
pub enum ToShard {
    /// All shards' in-flight counts, for the shard's view.
    Snapshot(Snapshot),
    /// What is served from now on. Answered by [`ToControl::Gone`] for each backend that is no longer in
    /// it, once the shard has nothing to do with it any more.
    Topology(Arc<Topology>),
    /// Which exchanges these backends get from now on.
    Traffic(Vec<(BackendId, Traffic)>),
    /// Everything said before has been acted on: answered by [`ToControl::Marked`].
    Mark(u64),
    /// Accept on these sockets: a listener that is new, or that of a shard that died. Each has the
    /// listener's key; one that the shard has already is left alone.
    Accept(Vec<(ListenerKey, Arc<OwnedFd>)>),
    /// An empty box to record into from now on; the full one goes back as [`ToControl::Collected`].
    Collect(Box<ShardStats>),
    /// From now on answers say `Connection: close`; the shard still accepts (`shutdown_delay`).
    LastRequests,
    /// Stop accepting; idle connections close, the others after their exchange. Answered by
    /// [`ToControl::Drained`] once none is left.
    Drain,
    /// A successor process accepts on the same sockets of these listeners: let go of them, and leave what
    /// waits in their queues to it. Other listeners, and connections, go on.
    HandOver(Arc<[ListenerKey]>),
    /// Another shard, which has more, has accepted this connection: serve it.
    Connection(Box<HandedOver>),
    /// A fault, asked for by a test of weir itself.
    Inject(Injected),
    /// End at once, whatever is in flight. Answered by [`ToControl::Ended`].
    Stop,
}

/// A fault that a shard is told to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// Its loop panics.
    Panic,
    /// It does nothing else for so long.
    Stall(Micros),
}

/// What a shard tells control.
#[derive(Debug)]
pub enum ToControl {
    /// The shard's own in-flight counts.
    Report(Report),
    /// The box that [`ToShard::Collect`] replaced.
    Collected {
        /// The shard's number, from 0.
        shard: u16,
        /// What it recorded since the last time.
        stats: Box<ShardStats>,
    },
    /// After [`ToShard::Mark`]: everything said before it holds on this shard.
    Marked {
        /// The shard's number, from 0.
        shard: u16,
        /// The mark's number.
        mark: u64,
    },
    /// A backend that is no longer in the topology has no exchange and no connection on this shard: from
    /// this shard's side its number may be given to another.
    Gone {
        /// The shard's number, from 0.
        shard: u16,
        /// The backend.
        id: BackendId,
    },
    /// After [`ToShard::Drain`]: the last connection is closed.
    Drained {
        /// The shard's number, from 0.
        shard: u16,
    },
    /// The shard's thread is over; nothing more comes from it.
    Ended {
        /// The shard's number, from 0.
        shard: u16,
        /// Why, if not because it was told to.
        error: Option<String>,
    },
}
