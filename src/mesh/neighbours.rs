//! What the shards know of each other's connections, and how one hands a connection to another.
//!
//! Each shard says how many connections it has by plain stores into a line of its own, which others read when they
//! accept, and only then. One on its way counts where it goes from the moment at which it is meant for there: else
//! all that are accepted at once would be handed to the same shard. Used by `shard`, whose rule for when it hands
//! one over is `limit`'s.

use super::{Refused, Sender, ToShard};
use crate::limit::Place;
use crate::topology::ListenerKey;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A connection on its way to the shard that is to serve it. Nothing of it has been read.
#[derive(Debug)]
pub struct HandedOver {
    /// The listener that accepted it.
    pub listener: ListenerKey,
    /// Its socket.
    pub socket: OwnedFd,
    /// The other end's address; `None`: a Unix socket.
    pub peer: Option<IpAddr>,
    /// Its place under the listener's limits, if there are any.
    pub place: Option<Box<Place>>,
    /// The shard that it comes from.
    pub from: u16,
    /// It comes back: that shard accepted it, and the other does not know its listener.
    pub returned: bool,
}

/// One shard's line: nobody else's counts are beside it, so that its stores disturb no other shard.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    /// Written by the shard alone.
    connections: AtomicUsize,
    /// Meant for the shard, and not among its connections yet.
    arriving: AtomicUsize,
    /// It takes none any more.
    leaving: AtomicBool,
}

/// The other shards, as one of them sees them.
#[derive(Clone)]
pub struct Neighbours {
    own: usize,
    loads: Arc<[Load]>,
    mailboxes: Arc<[Sender<ToShard>]>,
}

impl Neighbours {
    /// The shards with these mailboxes, as each of them sees them.
    pub fn of(mailboxes: Vec<Sender<ToShard>>) -> Vec<Self> {
        let loads: Arc<[Load]> = mailboxes.iter().map(|_| Load::default()).collect();
        let mailboxes: Arc<[_]> = mailboxes.into();
        let seen_by = |own| Self { own, loads: loads.clone(), mailboxes: mailboxes.clone() };
        (0..mailboxes.len()).map(seen_by).collect()
    }

    /// Whether there are none.
    pub fn is_alone(&self) -> bool {
        self.loads.len() == 1
    }

    /// This shard's number.
    pub fn own(&self) -> u16 {
        self.own as u16
    }

    /// This shard has so many connections now.
    pub fn tell(&self, connections: usize) {
        self.loads[self.own].connections.store(connections, Ordering::Relaxed);
    }

    /// This shard takes no connections of others any more, but for those that are on their way.
    pub fn leave(&self) {
        self.loads[self.own].leaving.store(true, Ordering::SeqCst);
    }

    /// How many are on their way to this shard. After [`Self::leave`], once there is none there never is again.
    pub fn expected(&self) -> usize {
        self.loads[self.own].arriving.load(Ordering::SeqCst)
    }

    /// One that was on its way is here, and [told](Self::tell) of.
    pub fn arrived(&self) {
        self.loads[self.own].arriving.fetch_sub(1, Ordering::SeqCst);
    }

    /// Finds the shard that has fewest connections, if it has so few that `is_lighter`, and counts one more as on
    /// its way there: it must be [sent](Self::send).
    pub fn claim(&self, is_lighter: impl Fn(usize) -> bool) -> Option<u16> {
        loop {
            let others = (1..self.loads.len()).map(|offset| (self.own + offset) % self.loads.len());
            let (fewest, other, arriving) = others.filter_map(|shard| self.load_of(shard)).min()?;
            if !is_lighter(fewest) {
                return None;
            }
            let load = &self.loads[other];
            // If another shard has just meant one for it, it is looked at again.
            let claimed =
                load.arriving.compare_exchange(arriving, arriving + 1, Ordering::SeqCst, Ordering::SeqCst);
            if claimed.is_err() {
                continue;
            }
            // It may have begun to leave since it was looked at: then either this sees it, or it sees the claim.
            if load.leaving.load(Ordering::SeqCst) {
                load.arriving.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            return Some(other as u16);
        }
    }

    /// Counts a connection as on its way to this shard, whatever it has: it comes from there.
    pub fn claim_back(&self, shard: u16) {
        self.loads[usize::from(shard)].arriving.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends a connection that is counted as on its way to `shard`.
    ///
    /// # Errors
    /// Its mailbox is full, or it is no more: the connection comes back, and is not on its way.
    pub fn send(&self, shard: u16, connection: Box<HandedOver>) -> Result<(), Box<HandedOver>> {
        let shard = usize::from(shard);
        let refused = match self.mailboxes[shard].send(ToShard::Connection(connection)) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        self.loads[shard].arriving.fetch_sub(1, Ordering::SeqCst);
        if matches!(refused, Refused::Closed(_)) {
            // It ended without a word; nobody is asked for it again.
            self.loads[shard].leaving.store(true, Ordering::SeqCst);
        }
        match refused {
            Refused::Full(ToShard::Connection(back)) | Refused::Closed(ToShard::Connection(back)) => {
                Err(back)
            }
            // What comes back is what was sent.
            Refused::Full(_) | Refused::Closed(_) => Ok(()),
        }
    }

    /// How many a shard has or expects, its number, and how many of them it expects; `None`: it takes none.
    fn load_of(&self, shard: usize) -> Option<(usize, usize, usize)> {
        let load = &self.loads[shard];
        let arriving = load.arriving.load(Ordering::SeqCst);
        let takes = !load.leaving.load(Ordering::Relaxed);
        takes.then(|| (load.connections.load(Ordering::Relaxed) + arriving, shard, arriving))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::mesh::{Receiver, mailbox};
    use std::thread;

    fn shards(count: usize, room: usize) -> (Vec<Neighbours>, Vec<Receiver<ToShard>>) {
        let (senders, receivers) = (0..count).map(|_| mailbox(room).unwrap()).unzip();
        (Neighbours::of(senders), receivers)
    }

    fn connection() -> Box<HandedOver> {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = socket.into();
        Box::new(HandedOver {
            listener: ListenerKey(1),
            socket,
            peer: None,
            place: None,
            from: 0,
            returned: false,
        })
    }

    #[test]
    fn the_shard_with_fewest_is_claimed_and_what_is_on_its_way_counts() {
        let (shards, mail) = shards(3, 8);
        shards.iter().zip([9, 3, 2]).for_each(|(shard, connections)| shard.tell(connections));
        let claimed: Vec<_> = (0..4).map(|_| shards[0].claim(|other| other < 9).unwrap()).collect();
        assert_eq!(claimed, [2, 1, 2, 1]);
        assert!(shards[0].claim(|other| other < 4).is_none());
        claimed.into_iter().for_each(|to| shards[0].send(to, connection()).unwrap());
        for _ in 0..2 {
            assert!(shards[1].expected() > 0);
            assert!(matches!(mail[1].try_recv(), Some(ToShard::Connection(_))));
            shards[1].arrived();
        }
        assert_eq!(shards[1].expected(), 0);
    }

    #[test]
    fn a_shard_that_leaves_is_full_or_is_gone_gets_none() {
        let (shards, mut mail) = shards(3, 1);
        shards[0].tell(9);
        shards[1].leave();
        for _ in 0..2 {
            assert_eq!(shards[0].claim(|_| true), Some(2));
        }
        shards[0].send(2, connection()).unwrap();
        assert!(shards[0].send(2, connection()).is_err(), "its mailbox is full");
        drop(mail.pop());
        assert_eq!(shards[0].claim(|_| true), Some(2), "nobody knows yet");
        assert!(shards[0].send(2, connection()).is_err());
        assert_eq!(shards[0].claim(|_| true), None);
    }

    #[test]
    fn one_that_is_sent_back_is_expected_where_it_came_from_and_by_nobody_else() {
        let (shards, mut mail) = shards(2, 1);
        let hand = |shards: &[Neighbours]| {
            shards[0].tell(9);
            assert_eq!(shards[0].claim(|_| true), Some(1));
            shards[0].send(1, connection()).unwrap();
        };
        hand(&shards);
        // It may have begun to end meanwhile: what it accepted it takes back all the same.
        shards[0].leave();
        let Some(ToShard::Connection(came)) = mail[1].try_recv() else { panic!("nothing came") };
        shards[1].claim_back(came.from);
        shards[1].send(came.from, Box::new(HandedOver { returned: true, ..*came })).unwrap();
        shards[1].arrived();
        assert_eq!([shards[0].expected(), shards[1].expected()], [1, 0]);
        let Some(ToShard::Connection(back)) = mail[0].try_recv() else { panic!("it did not come back") };
        assert!(back.returned);
        shards[0].arrived();
        assert_eq!(shards[0].expected(), 0);
        // One that cannot come back, since that shard is no more, is not waited for either.
        drop(mail.remove(0));
        shards[1].claim_back(0);
        assert!(shards[1].send(0, back).is_err());
        assert_eq!(shards[0].expected(), 0);
    }

    #[test]
    fn shards_that_claim_at_once_never_claim_more_than_makes_them_even() {
        let (shards, _mail) = shards(5, 8);
        thread::scope(|scope| {
            for by in &shards[..4] {
                scope.spawn(move || (0..1_000).filter(|_| by.claim(|other| other < 100).is_some()).count());
            }
        });
        // Each shard but the last is claimed by three others, the last by four.
        let expected: Vec<usize> = shards.iter().map(Neighbours::expected).collect();
        assert_eq!(expected, [100; 5]);
    }
}
