//! The accept loops of a shard: one a listening socket, of which a listener may have several.
//!
//! Out of descriptors or full, a loop pauses and tries again, so it never spins; what waits stays in the
//! kernel's queue. Loops come and go with their listeners. Sockets that a successor process accepts on as
//! well are let go without a word to the kernel: what is done to a socket is done to both.

use crate::proxy::{ListenerService, Service, serve};
use crate::ring::{Acceptor, Fault, Stream};
use crate::sys::socket::ignore_new;
use crate::time::Micros;
use crate::topology::ListenerKey;
use nix::sys::socket::{Shutdown, shutdown};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// Between two tries when there are no descriptors.
const PAUSE: Micros = Micros::from_ms(100);

/// Between two looks whether a full shard has room again.
const FULL_PAUSE: Micros = Micros::from_ms(10);

/// How long a drain goes on accepting those whose handshake was under way: a round trip or two.
const HANDSHAKES: Micros = Micros::from_ms(200);

/// How far a door is on its way to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Those who have begun to connect are accepted, then the socket is shut.
    Drains,
    /// A successor accepts on it: it is left alone.
    HandedOver,
}

struct Door {
    acceptor: RefCell<Acceptor>,
    socket: Arc<OwnedFd>,
    listener: Rc<ListenerService>,
    closing: Cell<Closing>,
}

/// A shard's accept loops.
pub(super) struct Accepting {
    service: Rc<Service>,
    /// Those whose loops still run.
    doors: RefCell<Vec<Rc<Door>>>,
    connections_max: usize,
}

impl Accepting {
    /// Without a loop yet.
    pub(super) fn new(service: &Rc<Service>, connections_max: usize) -> Rc<Self> {
        Rc::new(Self { service: service.clone(), doors: RefCell::default(), connections_max })
    }

    /// Starts a loop on `socket`, unless there is one already.
    pub(super) fn open(self: &Rc<Self>, listener: &Rc<ListenerService>, socket: &Arc<OwnedFd>) {
        let same = |door: &Rc<Door>| door.socket.as_raw_fd() == socket.as_raw_fd();
        if self.doors.borrow().iter().any(same) {
            return;
        }
        let door = Rc::new(Door {
            acceptor: RefCell::new(self.service.ring.acceptor(socket.as_fd())),
            socket: socket.clone(),
            listener: listener.clone(),
            closing: Cell::new(Closing::No),
        });
        self.doors.borrow_mut().push(door.clone());
        self.service.ring.spawn(self.clone().accept(door));
    }

    /// Accepts only who has begun to connect already, and then no more; all of them are served. `only`:
    /// on the sockets of this listener; `None`: on all.
    pub(super) fn drain(self: &Rc<Self>, only: Option<ListenerKey>) {
        // What is done to a socket that was handed over is done to the successor.
        let ours = |door: &&Rc<Door>| door.is_of(only) && door.closing.get() != Closing::HandedOver;
        let doors: Vec<Rc<Door>> = self.doors.borrow().iter().filter(ours).cloned().collect();
        for door in &doors {
            // Without it a few who connect just now are reset, as everywhere else.
            let _ = ignore_new(door.socket.as_fd());
        }
        let accepting = self.clone();
        self.service.ring.spawn(async move {
            let ring = &accepting.service.ring;
            ring.sleep_until(ring.now() + HANDSHAKES).await;
            for door in doors {
                door.close(Closing::Drains);
            }
        });
    }

    /// Accepts no more on the sockets of these listeners: a successor does. Who has been accepted is served.
    pub(super) fn hand_over(&self, listeners: &[ListenerKey]) {
        let doors = self.doors.borrow();
        let theirs = doors.iter().filter(|door| listeners.contains(&door.listener.key()));
        theirs.for_each(|door| door.close(Closing::HandedOver));
    }

    /// The same of all its sockets.
    pub(super) fn hand_over_all(&self) {
        self.doors.borrow().iter().for_each(|door| door.close(Closing::HandedOver));
    }

    /// Whether all loops have ended.
    pub(super) fn is_over(&self) -> bool {
        self.doors.borrow().is_empty()
    }

    async fn accept(self: Rc<Self>, door: Rc<Door>) {
        let ring = &self.service.ring;
        loop {
            let next = poll_fn(|cx| door.acceptor.borrow_mut().poll_next(cx)).await;
            match next {
                Ok(Some(stream)) => self.admit(&door, stream),
                Ok(None) if door.is_closing() => break,
                Ok(None) => {
                    self.service.stats.borrow_mut().accept_paused();
                    while self.is_full() && !door.is_closing() {
                        ring.sleep_until(ring.now() + FULL_PAUSE).await;
                    }
                    if !door.is_closing() {
                        door.acceptor.borrow_mut().resume();
                    }
                }
                // The client gave up while it waited.
                Err(Fault::Os(libc::ECONNABORTED | libc::EPROTO)) => {}
                Err(_) => {
                    self.service.stats.borrow_mut().accept_paused();
                    ring.sleep_until(ring.now() + PAUSE).await;
                }
            }
        }
        if door.closing.get() == Closing::Drains {
            // They have their connection and may have sent their request.
            while let Some(stream) = door.acceptor.borrow().leftover(door.socket.as_fd()) {
                self.admit(&door, stream);
            }
            // The socket leaves its group now, not when the process ends: clients are refused, not kept waiting.
            let _ = shutdown(door.socket.as_raw_fd(), Shutdown::Both);
        }
        self.doors.borrow_mut().retain(|other| !Rc::ptr_eq(other, &door));
    }

    fn admit(&self, door: &Door, stream: Stream) {
        self.service.stats.borrow_mut().accepted();
        self.service.ring.spawn(serve(self.service.clone(), door.listener.clone(), stream));
        if self.is_full() {
            door.acceptor.borrow_mut().stop();
        }
    }

    fn is_full(&self) -> bool {
        self.service.connections.get() >= self.connections_max
    }
}

impl Door {
    fn is_of(&self, only: Option<ListenerKey>) -> bool {
        only.is_none_or(|key| self.listener.key() == key)
    }

    fn is_closing(&self) -> bool {
        self.closing.get() != Closing::No
    }

    fn close(&self, closing: Closing) {
        if self.closing.get() != Closing::HandedOver {
            self.closing.set(closing);
        }
        self.acceptor.borrow_mut().stop();
    }
}
