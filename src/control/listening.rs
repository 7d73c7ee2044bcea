//! The listening sockets: one a shard and TCP address (SO_REUSEPORT), one a Unix path for all shards.
//!
//! Control has them all for the life of the process, so that a shard that dies takes no queued connection
//! with it: another one adopts its sockets. At the start they are opened before any shard runs, so that an
//! address that is taken is an error of the start; or they come from the process that this one takes over
//! from, and then a shard may have several of one address. A reload opens new ones aside. A listener keeps
//! its key as long as its address stays. Not here: accepting (`shard`), and handing over
//! (`serve::takeover`).

use crate::config::{Config, ListenAddress, Listener};
use crate::route::Router;
use crate::sys::socket::{ListenError, Sharing, listening, local_address, resize_queue, shares_address};
use crate::topology::{ListenerKey, ListenerPlan, Sealing};
use std::io;
use std::iter::StepBy;
use std::ops::Range;
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
pub struct Listening {
    groups: Vec<Group>,
    shards: usize,
    next_key: u32,
}

/// The sockets of one listener.
pub struct Group {
    /// Its key.
    pub key: ListenerKey,
    name: String,
    /// As the configuration has it.
    asked: ListenAddress,
    /// The real one, where port 0 was asked for.
    pub address: ListenAddress,
    /// By shard; each that lives has one at least.
    shards: Vec<Vec<Arc<OwnedFd>>>,
    /// They are the supervisor's, which goes on with them after this process: who connects then waits for
    /// the next one. So they are never shut down, only let go of, and their file stays.
    pub is_lent: bool,
}

/// Sockets that are opened and that nobody knows of yet, by shard.
pub(super) struct Opened(Vec<Vec<Arc<OwnedFd>>>);

impl Opened {
    /// Opens the sockets of `listener` for so many shards. Blocks for up to a second if its address is taken.
    pub(super) fn new(listener: &Listener, shards: usize) -> Result<Self, ListenError> {
        Ok(Self(open(listener, shards)?.into_iter().map(|socket| vec![socket]).collect()))
    }
}

impl Listening {
    /// Opens the sockets of all listeners for so many shards, but for those of addresses that `inherited`
    /// has.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub fn bind(
        listeners: &[Listener],
        shards: usize,
        mut inherited: impl FnMut(&ListenAddress) -> Vec<OwnedFd>,
    ) -> Result<Self, ListenError> {
        let mut all = Self { groups: Vec::new(), shards, next_key: 0 };
        for listener in listeners {
            let inherited = inherited(&listener.address);
            let opened = if inherited.is_empty() {
                Opened::new(listener, shards)?
            } else {
                Opened(continued(listener, inherited, shards))
            };
            all.admit(listener, opened);
        }
        Ok(all)
    }

    /// The sockets of the listeners that the configuration has on these addresses are the supervisor's.
    pub fn lent(&mut self, addresses: &[ListenAddress]) {
        let lent = self.groups.iter_mut().filter(|group| addresses.contains(&group.asked));
        lent.for_each(|group| group.is_lent = true);
    }

    /// How many shards there were at the start.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The key of the listener whose configured address this is.
    pub fn key_of(&self, address: &ListenAddress) -> Option<ListenerKey> {
        self.groups.iter().find(|group| group.asked == *address).map(|group| group.key)
    }

    /// What a process that begins with `config` serves on these sockets.
    pub fn plans(&self, config: &Config, sealing: &Sealing) -> Vec<Arc<ListenerPlan>> {
        let plan = |(place, rules): (usize, &Listener)| {
            let router = Arc::new(Router::new(config, place));
            let key = self.key_of(&rules.address)?;
            let tls = sealing.listeners.get(place).cloned().flatten();
            Some(Arc::new(ListenerPlan {
                key,
                rules: rules.clone(),
                router,
                tls,
                connections: Arc::default(),
            }))
        };
        config.listeners.iter().enumerate().filter_map(plan).collect()
    }

    /// Takes in a listener that was opened aside, under a new key.
    pub(super) fn admit(&mut self, listener: &Listener, opened: Opened) -> ListenerKey {
        let key = ListenerKey(self.next_key);
        self.next_key += 1;
        self.groups.push(Group {
            key,
            name: listener.name.clone(),
            asked: listener.address.clone(),
            address: real_address(listener, &opened.0),
            shards: opened.0,
            is_lent: false,
        });
        key
    }

    /// A listener that stays has other rules: so many may wait on it from now on.
    pub(super) fn follow(&mut self, key: ListenerKey, listener: &Listener) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.key == key) {
            group.name.clone_from(&listener.name);
            group.sockets().iter().for_each(|socket| resize(socket, listener));
        }
    }

    /// Gives up the listeners that are not in `keys`. Their sockets go on as long as who gets them here
    /// keeps them; a Unix socket's file goes at once, so that nobody finds it any more.
    pub(super) fn retain(&mut self, keys: &[ListenerKey]) -> Vec<Group> {
        let (stay, gone): (Vec<Group>, Vec<Group>) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| keys.contains(&group.key));
        self.groups = stay;
        gone.iter().for_each(Group::remove_file);
        gone
    }

    /// Everything that shard `dead` accepted on is `heir`'s from now on; what that has not had yet.
    pub(super) fn adopt(&mut self, dead: usize, heir: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
        let mut adopted = Vec::new();
        for group in &mut self.groups {
            let orphans = group.shards.get_mut(dead).map(std::mem::take).unwrap_or_default();
            let Some(own) = group.shards.get_mut(heir) else { continue };
            for socket in orphans {
                if !own.iter().any(|held| Arc::ptr_eq(held, &socket)) {
                    own.push(socket.clone());
                    adopted.push((group.key, socket));
                }
            }
        }
        adopted
    }

    /// One shard's sockets of one listener.
    pub(super) fn of_listener(&self, key: ListenerKey, shard: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
        let group = self.groups.iter().find(|group| group.key == key);
        let own = group.and_then(|group| group.shards.get(shard)).cloned().unwrap_or_default();
        own.into_iter().map(|socket| (key, socket)).collect()
    }

    /// One shard's sockets.
    pub fn of_shard(&self, shard: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
        let of = |group: &Group| {
            let own = group.shards.get(shard).cloned().unwrap_or_default();
            let key = group.key;
            own.into_iter().map(move |socket| (key, socket))
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// Each listener's name and real address.
    pub fn addresses(&self) -> Vec<(String, ListenAddress)> {
        self.groups.iter().map(|group| (group.name.clone(), group.address.clone())).collect()
    }

    /// The listeners, each with its sockets.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Lets go of what a successor has: it looks after the files now.
    pub fn release(&mut self, taken: impl Fn(&ListenAddress) -> bool) {
        self.groups.retain(|group| !taken(&group.address));
    }

    /// Removes the Unix sockets' files.
    pub fn remove_files(&self) {
        self.groups.iter().for_each(Group::remove_file);
    }
}

impl Group {
    fn remove_file(&self) {
        if let (ListenAddress::Unix(file), false) = (&self.address, self.is_lent) {
            // It may have been removed by hand; nothing hangs on it.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Its sockets, each once: of a Unix path all shards have the same.
    pub fn sockets(&self) -> Vec<Arc<OwnedFd>> {
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
    inherited.iter().for_each(|socket| resize(socket, listener));
    let own = |(shard, own): (usize, StepBy<Range<usize>>)| {
        let own: Vec<_> = own.map(|index| inherited[index].clone()).collect();
        if own.is_empty() { vec![another(listener, &inherited[shard % inherited.len()])] } else { own }
    };
    spread(inherited.len(), shards).enumerate().map(own).collect()
}

fn resize(socket: &OwnedFd, listener: &Listener) {
    if let Err(error) = resize_queue(socket.as_fd(), listener.backlog) {
        tracing::warn!(listener = %listener.name, %error, "the backlog stays what it was");
    }
}

/// Which of so many sockets each of so many shards accepts on: each socket has a shard; where there are
/// fewer sockets than shards, the numbers beyond theirs are sockets that are to be made.
pub fn spread(sockets: usize, shards: usize) -> impl Iterator<Item = StepBy<Range<usize>>> {
    (0..shards).map(move |shard| (shard..sockets.max(shard)).step_by(shards))
}

/// A socket for a shard beyond those that there were: a new one of the group, or `shared`, if there is no
/// group to join: a Unix socket has none, one of a supervisor mostly none, and another user's cannot be
/// joined.
fn another(listener: &Listener, shared: &Arc<OwnedFd>) -> Arc<OwnedFd> {
    if matches!(listener.address, ListenAddress::Unix(_)) || !shares_address(shared.as_fd()) {
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

#[allow(clippy::disallowed_methods, reason = "at start, or on a thread for what blocks")]
fn patiently<T>(mut open: impl FnMut() -> Result<T, ListenError>) -> Result<T, ListenError> {
    for _ in 1..TRIES {
        match open() {
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => thread::sleep(BETWEEN_TRIES),
            done => return done,
        }
    }
    open()
}
