//! Accepting on a listening socket: one operation that completes for each connection.
//!
//! An operation for many takes all that wait at once, before anybody is asked. Where there may not be room for
//! as many, one is accepted at a time.
//!
//! Called by `shard`'s accept loops.

use super::operation::Fault;
use super::payload::Held;
use super::slots::Kind;
use super::stream::FirstReceive;
use super::{Inner, Ring, Stream};
use io_uring::{opcode, types::Fd};
use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

/// An accept loop's operation. Dropping it ends it; a connection that was accepted meanwhile is closed.
pub struct Acceptor {
    inner: Rc<Inner>,
    listener: RawFd,
    key: u32,
    stopped: bool,
    /// One connection an operation.
    singly: bool,
}

impl Ring {
    /// Accepts on `listener`, which must stay open as long as the acceptor lives.
    pub fn acceptor(&self, listener: BorrowedFd<'_>) -> Acceptor {
        let key = self.0.core.borrow_mut().slots.take(Kind::Accept, Held::Nothing);
        Acceptor { inner: self.0.clone(), listener: listener.as_raw_fd(), key, stopped: false, singly: false }
    }
}

impl Acceptor {
    /// The next connection; `None` once stopped and all that was accepted before has been handed out.
    ///
    /// # Errors
    /// Accept's errno (`EMFILE` among them): the next call tries again.
    pub async fn next(&mut self) -> Result<Option<Stream>, Fault> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Self::next`] for who waits for several things at once.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Stream>, Fault>> {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        if let Some(arrival) = slot.arrived.pop() {
            drop(core);
            return match arrival.result {
                fd if fd >= 0 => Poll::Ready(Ok(Some(Stream::new(&self.inner, fd, FirstReceive::Once)))),
                errno if errno == -libc::ECANCELED => self.poll_next(cx),
                errno => Poll::Ready(Err(Fault::Os(-errno))),
            };
        }
        let old = super::wait(slot, cx);
        let in_kernel = slot.in_kernel;
        if !in_kernel && self.stopped {
            drop(core);
            drop(old);
            return Poll::Ready(Ok(None));
        }
        if !in_kernel {
            let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let entry = if self.singly {
                let nobody = std::ptr::null_mut();
                opcode::Accept::new(Fd(self.listener), nobody, nobody.cast()).flags(flags).build()
            } else {
                opcode::AcceptMulti::new(Fd(self.listener)).flags(flags).build()
            };
            core.start(self.key, entry);
        }
        drop(core);
        drop(old);
        Poll::Pending
    }

    /// From now on one connection is accepted at a time, or as many as there are.
    pub fn accept_singly(&mut self, singly: bool) {
        if singly && !self.singly {
            // What it has accepted still comes.
            self.inner.core.borrow_mut().cancel(self.key);
        }
        self.singly = singly;
    }

    /// Whether one connection is accepted at a time.
    pub fn is_single(&self) -> bool {
        self.singly
    }

    /// Accepts no more. What has been accepted so far still comes from [`Self::next`], then `None`.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.inner.core.borrow_mut().cancel(self.key);
    }

    /// A connection that still waits in `listener`'s queue, without an operation: once all was handed out after
    /// [`Self::stop`], since closing the listener would reset it, and where one at a time is accepted. Never
    /// waits.
    pub fn leftover(&self, listener: BorrowedFd<'_>) -> Option<Stream> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        loop {
            match accept4(listener, flags) {
                Ok(fd) => return Some(Stream::new(&self.inner, fd.into_raw_fd(), FirstReceive::Once)),
                // The client gave up while it waited; others may not have.
                Err(Errno::ECONNABORTED | Errno::EPROTO | Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Accepts again after [`Self::stop`].
    pub fn resume(&mut self) {
        self.stopped = false;
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let left = self.inner.core.borrow_mut().give_up(self.key, None, &self.inner.buffers);
        drop(left);
    }
}
