//! The listening sockets: one a shard and TCP address (SO_REUSEPORT), one a Unix path for all shards.
//!
//! They are opened before any shard starts, so that an address that is taken is an error of the start.

use crate::config::{ListenAddress, Listener};
use crate::sys::socket::{ListenError, Sharing, listening, local_address};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often a taken address is tried: when a process with a ring dies, the kernel lets go of its sockets
/// a moment later.
const TRIES: u32 = 10;

/// Between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// All listening sockets: `sockets[listener][shard]`.
pub(super) struct Listening {
    sockets: Vec<Vec<Arc<OwnedFd>>>,
    files: Vec<std::path::PathBuf>,
}

impl Listening {
    /// Opens the sockets of all listeners for so many shards.
    pub(super) fn bind(listeners: &[Listener], shards: usize) -> Result<Self, ListenError> {
        let sockets: Result<_, ListenError> =
            listeners.iter().map(|listener| open(listener, shards)).collect();
        let files = listeners.iter().filter_map(|listener| match &listener.address {
            ListenAddress::Unix(path) => Some(path.clone()),
            ListenAddress::Tcp(_) => None,
        });
        Ok(Self { sockets: sockets?, files: files.collect() })
    }

    /// One shard's sockets, by listener.
    pub(super) fn of_shard(&self, shard: usize) -> Vec<Arc<OwnedFd>> {
        self.sockets.iter().filter_map(|sockets| sockets.get(shard).cloned()).collect()
    }

    /// Each listener's name and real address.
    pub(super) fn addresses(&self, listeners: &[Listener]) -> Vec<(String, ListenAddress)> {
        let real = |listener: &Listener, sockets: &Vec<Arc<OwnedFd>>| match &listener.address {
            ListenAddress::Unix(path) => ListenAddress::Unix(path.clone()),
            ListenAddress::Tcp(asked) => {
                let found = sockets.first().and_then(|socket| local_address(socket.as_fd()));
                ListenAddress::Tcp(found.unwrap_or(*asked))
            }
        };
        listeners
            .iter()
            .zip(&self.sockets)
            .map(|(listener, sockets)| (listener.name.clone(), real(listener, sockets)))
            .collect()
    }

    /// Removes the Unix sockets' files.
    pub(super) fn remove_files(&self) {
        for file in &self.files {
            // It may have been removed by hand; nothing hangs on it.
            let _ = std::fs::remove_file(file);
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
