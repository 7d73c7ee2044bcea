//! The accept loops of a shard: one a listener.
//!
//! Out of descriptors or full, a loop pauses and tries again, so it never spins; what waits stays in the
//! kernel's queue.

use crate::proxy::{Service, serve};
use crate::ring::{Acceptor, Fault, Stream};
use crate::sys::socket::ignore_new;
use crate::time::Micros;
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

struct Door {
    acceptor: RefCell<Acceptor>,
    socket: Arc<OwnedFd>,
    listener: usize,
}

/// A shard's accept loops.
pub(super) struct Accepting {
    service: Rc<Service>,
    doors: Vec<Rc<Door>>,
    connections_max: usize,
    draining: Cell<bool>,
    /// Loops that still run.
    open: Cell<usize>,
}

impl Accepting {
    /// Starts a loop for each of `sockets`.
    pub(super) fn start(service: &Rc<Service>, sockets: &[Arc<OwnedFd>], connections_max: usize) -> Rc<Self> {
        let doors = sockets.iter().enumerate().map(|(listener, socket)| {
            let acceptor = RefCell::new(service.ring.acceptor(socket.as_fd()));
            Rc::new(Door { acceptor, socket: socket.clone(), listener })
        });
        let accepting = Rc::new(Self {
            service: service.clone(),
            doors: doors.collect(),
            connections_max,
            draining: Cell::new(false),
            open: Cell::new(sockets.len()),
        });
        for door in &accepting.doors {
            service.ring.spawn(accepting.clone().accept(door.clone()));
        }
        accepting
    }

    /// Accepts only who has begun to connect already, and then no more; all of them are served.
    pub(super) fn drain(self: &Rc<Self>) {
        for door in &self.doors {
            // Without it a few who connect just now are reset, as everywhere else.
            let _ = ignore_new(door.socket.as_fd());
        }
        let accepting = self.clone();
        self.service.ring.spawn(async move {
            let ring = &accepting.service.ring;
            ring.sleep_until(ring.now() + HANDSHAKES).await;
            accepting.draining.set(true);
            for door in &accepting.doors {
                door.acceptor.borrow_mut().stop();
            }
        });
    }

    /// Whether all loops have ended.
    pub(super) fn is_over(&self) -> bool {
        self.open.get() == 0
    }

    async fn accept(self: Rc<Self>, door: Rc<Door>) {
        let ring = &self.service.ring;
        loop {
            let next = poll_fn(|cx| door.acceptor.borrow_mut().poll_next(cx)).await;
            match next {
                Ok(Some(stream)) => self.admit(&door, stream),
                Ok(None) if self.draining.get() => break,
                Ok(None) => {
                    self.service.stats.borrow_mut().accept_paused();
                    while self.is_full() && !self.draining.get() {
                        ring.sleep_until(ring.now() + FULL_PAUSE).await;
                    }
                    if !self.draining.get() {
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
        // They have their connection and may have sent their request.
        while let Some(stream) = door.acceptor.borrow().leftover(door.socket.as_fd()) {
            self.admit(&door, stream);
        }
        // The socket leaves its group now, not when the process ends: clients are refused, not kept waiting.
        let _ = shutdown(door.socket.as_raw_fd(), Shutdown::Both);
        self.open.set(self.open.get() - 1);
    }

    fn admit(&self, door: &Door, stream: Stream) {
        self.service.stats.borrow_mut().accepted();
        self.service.ring.spawn(serve(self.service.clone(), door.listener, stream));
        if self.is_full() {
            door.acceptor.borrow_mut().stop();
        }
    }

    fn is_full(&self) -> bool {
        self.service.connections.get() >= self.connections_max
    }
}
