//! A connected socket on the ring: an armed receive whose completions wait in its slot, and sends.
//!
//! The receive stays armed between messages (multishot), so that the next one needs no submission and a
//! closed idle connection is seen. It is bounded: with a few completions unread it is cancelled, and armed
//! again by whoever reads the last of them, so back-pressure reaches the peer. Called by `proxy` and
//! `upstream`.

use super::buffers::GROUP;
use super::core::Core;
use super::operation::{Fault, Send, SendGathered, SendMark, poll_ready};
use super::payload::{Held, Payload};
use super::slots::Kind;
use super::{Chunk, Inner, Ring};
use crate::sys::socket;
use crate::time::{Instant, Micros};
use io_uring::{opcode, squeue, types::Fd};
use nix::sys::socket::{Shutdown, shutdown};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

/// Between two looks at a peer that has ended its side and may yet go altogether.
const LOOK_AGAIN: Micros = Micros::from_ms(500);

/// The number of a socket that has left the ring.
const DETACHED: RawFd = -1;

/// How a stream's first receive is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstReceive {
    /// For one completion.
    Once,
    /// Until it is cancelled, like all that follow.
    Multishot,
}

/// A connected socket. Dropping it cancels the receive and closes the socket after the kernel's last word.
pub struct Stream {
    pub(super) inner: Rc<Inner>,
    pub(super) fd: RawFd,
    pub(super) key: u32,
    /// Whether the next receive is the first, which is armed for one completion only: a connection that
    /// serves one request then has nothing to cancel when it closes.
    first: Cell<bool>,
}

impl Ring {
    /// Takes in a connected socket that another ring has accepted.
    pub fn adopt(&self, socket: OwnedFd) -> Stream {
        Stream::new(&self.0, socket.into_raw_fd(), FirstReceive::Once)
    }
}

impl Stream {
    pub(super) fn new(inner: &Rc<Inner>, fd: RawFd, first: FirstReceive) -> Self {
        let key = inner.core.borrow_mut().slots.take(Kind::Receive, Held::Nothing);
        Self { inner: inner.clone(), fd, key, first: Cell::new(first == FirstReceive::Once) }
    }

    /// The next bytes; `None` at the end of the stream. Waits until `due` at most.
    ///
    /// # Errors
    /// The deadline, or the socket's errno; after an errno or the end there is never more.
    pub async fn receive(&self, due: Instant) -> Result<Option<Chunk>, Fault> {
        poll_fn(|cx| self.poll_receive(cx, due)).await
    }

    /// [`Self::receive`] for who waits for several things at once.
    pub fn poll_receive(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        if let Some(arrival) = slot.arrived.pop() {
            slot.ended = arrival.result <= 0;
            slot.interruptible = false;
            slot.expired = false;
            core.deadlines.disarm(self.key);
            drop(core);
            return Poll::Ready(match (arrival.result, arrival.buffer) {
                (len, Some(id)) if len > 0 => Ok(Some(Chunk::new(self.inner.clone(), id, len as usize))),
                (errno, _) if errno < 0 => Err(Fault::Os(-errno)),
                _ => Ok(None),
            });
        }
        if slot.ended {
            return Poll::Ready(Ok(None));
        }
        // A deadline that passed while nobody waited is an earlier wait's: this one has its own.
        let interrupted = std::mem::take(&mut slot.interruptible);
        if std::mem::take(&mut slot.expired) && (interrupted || due <= self.inner.now.get()) {
            return Poll::Ready(Err(Fault::TimedOut));
        }
        let old = super::wait(slot, cx);
        let armed = slot.in_kernel;
        core.set_deadline(self.key, due);
        if !armed && !core.is_starved(self.key) {
            self.arm(&mut core);
        }
        drop(core);
        drop(old);
        Poll::Pending
    }

    /// Queues the receive: for one completion while buffers are scarce, since one for many may take 32 of
    /// them before anybody is asked.
    pub(super) fn arm(&self, core: &mut Core) {
        let entry = if self.first.replace(false) || self.inner.buffers.are_scarce() {
            let entry = opcode::Recv::new(Fd(self.fd), std::ptr::null_mut(), 0).buf_group(GROUP).build();
            entry.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(Fd(self.fd), GROUP).build()
        };
        core.start(self.key, entry);
    }

    /// [`Self::poll_receive`] of a wait that [`super::Ring::interrupt`] may end early: for the next request.
    pub fn poll_receive_next(
        &self,
        cx: &mut Context<'_>,
        due: Instant,
    ) -> Poll<Result<Option<Chunk>, Fault>> {
        let polled = self.poll_receive(cx, due);
        if polled.is_pending() {
            self.inner.core.borrow_mut().slots.at(self.key).interruptible = true;
        }
        polled
    }

    /// A chunk that has come and waits unread, without waiting for one.
    pub fn received(&self) -> Option<Chunk> {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        let (len, id) = slot.arrived.first().and_then(|next| Some((next.result, next.buffer?)))?;
        if len <= 0 {
            return None;
        }
        slot.arrived.pop();
        // What was waited for has come: neither the wait's deadline nor an interrupt concerns the next.
        slot.interruptible = false;
        slot.expired = false;
        core.deadlines.disarm(self.key);
        drop(core);
        Some(Chunk::new(self.inner.clone(), id, len as usize))
    }

    /// Whether nothing has come since the last read: no bytes, no end, no error, and one would be seen. What an
    /// idle connection must be to be used again.
    pub fn is_quiet(&self) -> bool {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        slot.in_kernel && slot.arrived.is_empty() && !slot.ended
    }

    /// Sends all of `payload`, which must happen before `due`.
    pub fn send(&self, payload: Payload, due: Instant) -> Send {
        Send::start(&self.inner, self.fd, payload, due)
    }

    /// Sends all of `chunks`, in order, by one operation, which must happen before `due`.
    pub fn send_gathered(&self, chunks: Vec<Chunk>, due: Instant) -> SendGathered {
        SendGathered::start(&self.inner, self.fd, chunks, due)
    }

    /// Sends as much of `bytes` as the kernel takes now, and says how much that was. No send may be under way. A call
    /// of its own, not an operation: it is for the last words of a connection that is dropped next, which must leave
    /// before it is closed.
    pub fn send_at_once(&self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped.
        socket::send_at_once(unsafe { BorrowedFd::borrow_raw(self.fd) }, bytes)
    }

    /// Says to the peer that nothing more will be sent. What was sent before must have left.
    ///
    /// A call of its own, not an operation: the ring hands a shutdown to a worker thread, which looks the
    /// descriptor's number up when it gets to it, and by then the number may be another connection's.
    pub fn shutdown_write(&self) {
        // Fails only if the connection is gone already.
        let _ = shutdown(self.fd, Shutdown::Write);
    }

    /// Waits until the peer is gone: it has reset the connection (or closed a Unix socket); with `half_close`,
    /// also if it has only said that no more comes. What it has sent stays where it is.
    pub async fn gone(&self, half_close: bool) {
        let events = if half_close { libc::POLLRDHUP } else { 0 };
        let poll = || opcode::PollAdd::new(Fd(self.fd), events as u32).build();
        // A poll that cannot be had says nothing: then it is looked at again and again, as below.
        let _ = poll_ready(&self.inner, poll(), Instant::NEVER).await;
        while !self.is_gone(half_close) {
            // The kernel also tells of a peer that has ended its side, and would do so at once each time.
            let ring = Ring(self.inner.clone());
            ring.sleep_until(ring.now() + LOOK_AGAIN).await;
        }
    }

    /// [`Self::gone`], without waiting for it.
    pub fn is_gone(&self, half_close: bool) -> bool {
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped.
        socket::is_gone(unsafe { BorrowedFd::borrow_raw(self.fd) }, half_close)
    }

    /// Takes the socket out of this ring, for another one. Nothing of it has been received or waited for.
    pub fn detach(mut self) -> OwnedFd {
        let fd = std::mem::replace(&mut self.fd, DETACHED);
        // SAFETY: the stream owned the descriptor, which `Drop` does not close any more; and no operation of this
        // ring has begun on it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    /// Whether this send of it is still under way.
    pub fn is_under_way(&self, send: SendMark) -> bool {
        send.is_under_way(&self.inner)
    }

    /// Its descriptor's number, which is its alone as long as it lives.
    pub fn number(&self) -> RawFd {
        self.fd
    }

    /// Has dropping it reset the connection: for who must not take its end for a clean one.
    pub fn reset_on_close(&self) {
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped.
        socket::reset_on_close(unsafe { BorrowedFd::borrow_raw(self.fd) });
    }

    /// How long ago the handshake of an accepted connection ended on which nothing has been sent yet, to the
    /// kernel's tick; `None` for a Unix socket.
    pub fn since_handshake(&self) -> Option<Micros> {
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped.
        socket::since_handshake(unsafe { BorrowedFd::borrow_raw(self.fd) })
    }

    /// The other end's address; `None` for a Unix socket, or when it is already gone.
    pub fn peer(&self) -> Option<IpAddr> {
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped.
        socket::peer_address(unsafe { BorrowedFd::borrow_raw(self.fd) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let owned = (self.fd != DETACHED).then_some(self.fd);
        let left = self.inner.core.borrow_mut().give_up(self.key, owned, &self.inner.buffers);
        drop(left);
    }
}
