//! The listening sockets: one a shard and TCP address (SO_REUSEPORT), one a Unix path for all shards.
//!
//! They are opened before any shard starts, so that an address that is taken is an error of the start; or
//! they come from the process that this one takes over from. Then a shard may have several of one address,
//! if that process had more shards.

use super::takeover::{Inheritance, spread};
use crate::config::{ListenAddress, Listener};
use crate::sys::socket::{ListenError, Sharing, listening, local_address, resize_queue};
use crate::topology::ListenerKey;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often a taken address is tried: when a process with a ring dies, the kernel lets go of its sockets
/// a moment later.
const TRIES: u32 = 10;

/// Between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// All listening sockets.
pub(super) struct Listening {
    groups: Vec<Group>,
}

/// The sockets of one listener.
pub(super) struct Group {
    pub(super) key: ListenerKey,
    name: String,
    /// The real one, where port 0 was asked for.
    pub(super) address: ListenAddress,
    /// By shard; each has one at least.
    shards: Vec<Vec<Arc<OwnedFd>>>,
}

impl Listening {
    /// Opens the sockets of all listeners for so many shards, but for those that were inherited.
    pub(super) fn bind(
        listeners: &[Listener],
        shards: usize,
        mut inherited: Option<&mut Inheritance>,
    ) -> Result<Self, ListenError> {
        let group = |(key, listener): (u32, &Listener)| {
            let inherited = inherited.as_mut().map(|old| old.listener(&listener.address)).unwrap_or_default();
            let sockets = if inherited.is_empty() {
                open(listener, shards)?.into_iter().map(|socket| vec![socket]).collect()
            } else {
                continued(listener, inherited, shards)
            };
            Ok(Group {
                key: ListenerKey(key),
                name: listener.name.clone(),
                address: real_address(listener, &sockets),
                shards: sockets,
            })
        };
        let groups: Result<_, ListenError> = (0..).zip(listeners).map(group).collect();
        Ok(Self { groups: groups? })
    }

    /// One shard's sockets.
    pub(super) fn of_shard(&self, shard: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
        let of = |group: &Group| {
            let own = group.shards.get(shard).cloned().unwrap_or_default();
            let key = group.key;
            own.into_iter().map(move |socket| (key, socket))
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// Each listener's name and real address.
    pub(super) fn addresses(&self) -> Vec<(String, ListenAddress)> {
        self.groups.iter().map(|group| (group.name.clone(), group.address.clone())).collect()
    }

    /// The listeners, each with its sockets.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Lets go of what a successor has: it looks after the files now.
    pub(super) fn release(&mut self, taken: impl Fn(&ListenAddress) -> bool) {
        self.groups.retain(|group| !taken(&group.address));
    }

    /// Removes the Unix sockets' files.
    pub(super) fn remove_files(&self) {
        for group in &self.groups {
            if let ListenAddress::Unix(file) = &group.address {
                // It may have been removed by hand; nothing hangs on it.
                let _ = std::fs::remove_file(file);
            }
        }
    }
}

impl Group {
    /// Its sockets, each once: of a Unix path all shards have the same.
    pub(super) fn sockets(&self) -> Vec<Arc<OwnedFd>> {
        let mut all: Vec<Arc<OwnedFd>> = Vec::new();
        for socket in self.shards.iter().flatten() {
            if !all.iter().any(|other| Arc::ptr_eq(other, socket)) {
                all.push(socket.clone());
            }
        }
        all
    }
}

fn real_address(listener: &Listener, sockets: &[Vec<Arc<OwnedFd>>]) -> ListenAddress {
    match &listener.address {
        ListenAddress::Unix(path) => ListenAddress::Unix(PathBuf::clone(path)),
        ListenAddress::Tcp(asked) => {
            let first = sockets.iter().flatten().next();
            let found = first.and_then(|socket| local_address(socket.as_fd()));
            ListenAddress::Tcp(found.unwrap_or(*asked))
        }
    }
}

/// The sockets of a running group, spread over the shards; the group grows if they are too few.
fn continued(listener: &Listener, inherited: Vec<OwnedFd>, shards: usize) -> Vec<Vec<Arc<OwnedFd>>> {
    let inherited: Vec<Arc<OwnedFd>> = inherited.into_iter().map(Arc::new).collect();
    for socket in &inherited {
        if let Err(error) = resize_queue(socket.as_fd(), listener.backlog) {
            tracing::warn!(listener = %listener.name, %error, "the backlog stays what it was");
        }
    }
    let own = |(shard, own): (usize, std::iter::StepBy<std::ops::Range<usize>>)| {
        let own: Vec<_> = own.map(|index| inherited[index].clone()).collect();
        if own.is_empty() { vec![another(listener, &inherited[shard % inherited.len()])] } else { own }
    };
    spread(inherited.len(), shards).enumerate().map(own).collect()
}

/// A socket for a shard beyond those that there were: a new one of the group, or `shared`, if there is no
/// group to join: a Unix socket has none, and another user's cannot be joined.
fn another(listener: &Listener, shared: &Arc<OwnedFd>) -> Arc<OwnedFd> {
    if matches!(listener.address, ListenAddress::Unix(_)) {
        return shared.clone();
    }
    match listening(&listener.address, listener.backlog, Sharing::ReusePort) {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            tracing::warn!(listener = %listener.name, %error, "two shards accept on one socket");
            shared.clone()
        }
    }
}

fn open(listener: &Listener, shards: usize) -> Result<Vec<Arc<OwnedFd>>, ListenError> {
    let ListenAddress::Tcp(asked) = listener.address else {
        let open = || listening(&listener.address, listener.backlog, Sharing::Alone);
        let socket = Arc::new(patiently(open)?);
        return Ok(vec![socket; shards]);
    };
    // Alone first: another process's group would let us in, and share its clients with us.
    let trial = patiently(|| listening(&listener.address, listener.backlog, Sharing::Trial))?;
    let mut address = asked;
    if let Some(real) = local_address(trial.as_fd()) {
        address.set_port(real.port());
    }
    drop(trial);
    let address = ListenAddress::Tcp(address);
    (0..shards)
        .map(|_| patiently(|| listening(&address, listener.backlog, Sharing::ReusePort)).map(Arc::new))
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "at start, before any shard runs")]
fn patiently<T>(mut open: impl FnMut() -> Result<T, ListenError>) -> Result<T, ListenError> {
    for _ in 1..TRIES {
        match open() {
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => thread::sleep(BETWEEN_TRIES),
            done => return done,
        }
    }
    open()
}
