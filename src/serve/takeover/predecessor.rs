//! This process as one that a successor may follow: what it has, and how it steps down.
//!
//! Called by [`super::give`], on control's thread.

use super::give::Incumbent;
use super::protocol::{Offer, Offered};
use crate::admin::AdminListener;
use crate::config::ListenAddress;
use crate::control::{Desk, Listening};
use crate::sys::handoff::Peer;
use crate::topology::ListenerKey;
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// The admin surface's sockets, beside those that are served.
pub(crate) struct AdminSockets(Vec<(ListenAddress, Arc<OwnedFd>)>);

impl AdminSockets {
    /// Of these listeners. One of which the kernel gives no second descriptor is not handed over.
    pub(crate) fn of(listeners: &[AdminListener]) -> Self {
        let one = |listener: &AdminListener| {
            let socket = listener.as_fd().try_clone_to_owned().ok()?;
            Some((listener.address()?, Arc::new(socket)))
        };
        Self(listeners.iter().filter_map(one).collect())
    }
}

/// The running process.
pub(crate) struct Predecessor {
    pub(crate) desk: Desk,
    pub(crate) listening: Rc<RefCell<Listening>>,
    pub(crate) admin: RefCell<AdminSockets>,
    /// What accepts on them.
    pub(crate) admin_accepts: Vec<AbortHandle>,
    /// The Unix sockets' files among them, which go with this process.
    pub(crate) admin_files: Rc<RefCell<Vec<PathBuf>>>,
}

impl Incumbent for Predecessor {
    fn addresses(&self) -> Vec<String> {
        let (listening, admin) = (self.listening.borrow(), self.admin.borrow());
        let listeners = listening.groups().iter().map(|group| group.address.to_string());
        listeners.chain(admin.0.iter().map(|(address, _)| address.to_string())).collect()
    }

    fn offer(&self) -> Result<(Offer, Vec<Arc<OwnedFd>>), String> {
        if !self.desk.is_serving() {
            return Err("it is shutting down; start without --takeover once it has ended".to_owned());
        }
        let (listening, admin) = (self.listening.borrow(), self.admin.borrow());
        let mut descriptors = Vec::new();
        let mut offered = |address: &ListenAddress, sockets: Vec<Arc<OwnedFd>>, lent: bool| {
            let offered = Offered { address: address.to_string(), sockets: sockets.len(), lent };
            descriptors.extend(sockets);
            offered
        };
        let groups = listening.groups().iter();
        let listeners = groups.map(|group| offered(&group.address, group.sockets(), group.is_lent)).collect();
        let admin =
            admin.0.iter().map(|(address, socket)| offered(address, vec![socket.clone()], false)).collect();
        let ticket_keys = self.desk.hand_on_ticket_keys();
        let offer = Offer { listeners, admin, carried: self.desk.export(), ticket_keys };
        if offer.descriptors().is_none() {
            return Err("it has more sockets than can be handed over; end it (SIGTERM) first".to_owned());
        }
        Ok((offer, descriptors))
    }

    fn promised(&self, promised: bool) {
        self.desk.promise(promised);
    }

    fn step_down(&self, successor: Peer, taken: &[String]) {
        tracing::info!(pid = successor.pid, "the new process serves: this one drains and leaves");
        self.desk.supervised(|supervisor| supervisor.succeeded_by(successor.pid.unsigned_abs()));
        let is_taken = |address: &ListenAddress| taken.contains(&address.to_string());
        let mut listening = self.listening.borrow_mut();
        let groups = listening.groups().iter().filter(|group| is_taken(&group.address));
        let keys: Vec<ListenerKey> = groups.map(|group| group.key).collect();
        listening.release(is_taken);
        drop(listening);
        // Whoever asks is told by the successor. What waits is in the queue that it shares.
        self.admin_accepts.iter().for_each(AbortHandle::abort);
        self.admin.borrow_mut().0.clear();
        self.admin_files.borrow_mut().retain(|file| !is_taken(&ListenAddress::Unix(file.clone())));
        self.desk.hand_over(&keys);
    }
}
