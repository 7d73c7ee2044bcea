//! Operations that complete once, as futures: send, connect, sleep, a descriptor's readiness.
//!
//! An operation is queued when its future is made. Dropping the future cancels it; what the kernel may
//! touch stays in the slot until the kernel's last word. Called by `stream.rs`, `driver.rs` and, through
//! `Ring`, by `shard` and `upstream`.

use super::gather::Gather;
use super::payload::Held;
use super::slots::Kind;
use super::stream::FirstReceive;
use super::{Chunk, Inner, Payload, Ring, Stream};
use crate::config::Destination;
use crate::sys::socket::{self, KernelAddress};
use crate::time::Instant;
use io_uring::{opcode, squeue, types::Fd};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Why an operation did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its deadline passed.
    #[error("timed out")]
    TimedOut,
    /// The kernel's errno.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Os(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// One operation under way.
pub(super) struct Op {
    inner: Rc<Inner>,
    key: u32,
    /// The slot's use that is this operation's. Another one: it ended quietly, and well.
    use_count: u32,
    quiet_result: i32,
    done: bool,
    /// A descriptor that is the operation's until it has succeeded, and is closed with it otherwise.
    owned: Option<RawFd>,
}

impl Op {
    /// Queues the entry that `entry` makes of what the slot holds.
    fn start(
        inner: &Rc<Inner>,
        held: Held,
        due: Instant,
        entry: impl FnOnce(&mut Held) -> squeue::Entry,
    ) -> Self {
        let mut core = inner.core.borrow_mut();
        let key = core.slots.take(Kind::Once, held);
        let entry = entry(&mut core.slots.at(key).held);
        core.start(key, entry);
        if due != Instant::NEVER {
            core.set_deadline(key, due);
        }
        let use_count = core.slots.at(key).use_count;
        drop(core);
        Self { inner: inner.clone(), key, use_count, quiet_result: i32::MIN, done: false, owned: None }
    }

    /// The result and what was lent; `None` if the deadline passed first (then the kernel keeps it).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(i32, Held)>> {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        if slot.use_count != self.use_count {
            self.done = true;
            return Poll::Ready(Some((self.quiet_result, Held::Nothing)));
        }
        if let Some(arrival) = slot.arrived.pop() {
            self.done = true;
            core.deadlines.disarm(self.key);
            let (held, waker) = core.slots.release(self.key);
            drop(core);
            drop(waker);
            return Poll::Ready(Some((arrival.result, held)));
        }
        if slot.expired {
            return Poll::Ready(None);
        }
        let old = super::wait(slot, cx);
        drop(core);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        let mut core = self.inner.core.borrow_mut();
        if !self.done && core.slots.at(self.key).use_count == self.use_count {
            let left = core.give_up(self.key, self.owned, &self.inner.buffers);
            drop(core);
            drop(left);
        } else if let Some(fd) = self.owned {
            core.close(fd);
        }
    }
}

/// How a send ended.
pub struct Sent {
    /// Whether every byte was taken by the kernel.
    pub outcome: Result<(), Fault>,
    /// Not a byte was taken, for certain: the peer cannot have seen any of it.
    pub untouched: bool,
    /// The payload back; `None` if the deadline passed, since then the kernel still has it.
    pub payload: Option<Payload>,
}

/// Which send it was, for who asks later whether it is over.
#[derive(Clone, Copy, Debug)]
pub struct SendMark {
    key: u32,
    use_count: u32,
}

impl SendMark {
    /// Whether the kernel has not said yet how it went.
    pub(super) fn is_under_way(self, inner: &Inner) -> bool {
        let mut core = inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        slot.use_count == self.use_count && slot.arrived.is_empty()
    }
}

/// A send under way.
#[must_use = "dropping it cancels the send"]
pub struct Send {
    op: Op,
    len: usize,
}

impl Send {
    pub(super) fn start(inner: &Rc<Inner>, fd: RawFd, payload: Payload, due: Instant) -> Self {
        let len = payload.as_slice().len();
        let op = Op::start(inner, Held::Payload(payload), due, |held| {
            let bytes: &[u8] = match held {
                Held::Payload(payload) => payload.as_slice(),
                Held::Nothing | Held::Address(_) | Held::Gather(_) => &[],
            };
            let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
            opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len() as u32).flags(flags).build()
        });
        Self { op, len }
    }

    /// Which one it is.
    pub fn mark(&self) -> SendMark {
        SendMark { key: self.op.key, use_count: self.op.use_count }
    }

    /// Wakes nobody when all goes well: for who waits for an answer next, and asks about the send then.
    pub fn quiet(self) -> Self {
        self.op.inner.core.borrow_mut().slots.at(self.op.key).quiet_result = self.len as i32;
        self
    }

    /// [`Self::quiet`], and the payload's memory is free as soon as the kernel is done with it.
    pub fn quiet_and_done(mut self) -> Self {
        self.op.quiet_result = self.len as i32;
        let mut core = self.op.inner.core.borrow_mut();
        let slot = core.slots.at(self.op.key);
        slot.quiet_result = self.op.quiet_result;
        slot.done_when_quiet = true;
        drop(core);
        self
    }
}

fn all_sent(result: i32, len: usize) -> Result<(), Fault> {
    match result {
        errno if errno < 0 => Err(Fault::Os(-errno)),
        sent if sent as usize == len => Ok(()),
        // MSG_WAITALL gives up half way only when the connection did.
        _ => Err(Fault::Os(libc::EPIPE)),
    }
}

impl Send {
    /// Whether a send made [`Self::quiet_and_done`] is over, and all of it was taken.
    pub fn went_well(&self) -> bool {
        self.op.inner.core.borrow_mut().slots.at(self.op.key).use_count != self.op.use_count
    }

    /// Asks how the send went, without waiting for it to go well: only a failure or the deadline wakes.
    pub fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        let len = self.len;
        Poll::Ready(match ready!(self.op.poll(cx)) {
            None => Sent { outcome: Err(Fault::TimedOut), untouched: false, payload: None },
            Some((result, held)) => Sent {
                outcome: all_sent(result, len),
                // The kernel gives an errno only if nothing was taken, and else the count.
                untouched: result <= 0,
                payload: match held {
                    Held::Payload(payload) => Some(payload),
                    Held::Nothing | Held::Address(_) | Held::Gather(_) => None,
                },
            },
        })
    }
}

impl Future for Send {
    type Output = Sent;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let polled = self.poll_failed(cx);
        if polled.is_pending() {
            // Whoever awaits it wants to hear of success too.
            self.op.inner.core.borrow_mut().slots.at(self.op.key).quiet_result = i32::MIN;
        }
        polled
    }
}

/// A send of several chunks under way; gives the emptied list back.
#[must_use = "dropping it cancels the send"]
pub struct SendGathered {
    op: Op,
    len: usize,
}

impl SendGathered {
    pub(super) fn start(inner: &Rc<Inner>, fd: RawFd, chunks: Vec<Chunk>, due: Instant) -> Self {
        let gather = Gather::new(chunks);
        let len = gather.len();
        let op = Op::start(inner, Held::Gather(gather), due, |held| {
            let message = match held {
                Held::Gather(gather) => gather.message(),
                Held::Nothing | Held::Address(_) | Held::Payload(_) => std::ptr::null(),
            };
            let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
            opcode::SendMsg::new(Fd(fd), message).flags(flags).build()
        });
        Self { op, len }
    }
}

impl Future for SendGathered {
    type Output = Result<Vec<Chunk>, Fault>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let len = self.len;
        Poll::Ready(match ready!(self.op.poll(cx)) {
            None => Err(Fault::TimedOut),
            Some((result, held)) => all_sent(result, len).map(|()| match held {
                Held::Gather(gather) => {
                    let mut chunks = gather.into_chunks();
                    chunks.clear();
                    chunks
                }
                Held::Nothing | Held::Address(_) | Held::Payload(_) => Vec::new(),
            }),
        })
    }
}

/// A timer's wait.
#[must_use = "it waits only while it is awaited"]
pub struct Sleep {
    inner: Rc<Inner>,
    key: u32,
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        if slot.expired {
            return Poll::Ready(());
        }
        let old = super::wait(slot, cx);
        drop(core);
        drop(old);
        Poll::Pending
    }
}

impl Sleep {
    /// It waits until `due` instead.
    pub fn put_off(&self, due: Instant) {
        self.inner.core.borrow_mut().set_deadline(self.key, due);
    }

    /// Whether its time has come, without waiting for it.
    pub fn is_over(&self) -> bool {
        self.inner.core.borrow_mut().slots.at(self.key).expired
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let left = self.inner.core.borrow_mut().give_up(self.key, None, &self.inner.buffers);
        drop(left);
    }
}

impl Ring {
    /// Waits until `due`.
    pub fn sleep_until(&self, due: Instant) -> Sleep {
        let mut core = self.0.core.borrow_mut();
        let key = core.slots.take(Kind::Once, Held::Nothing);
        core.set_deadline(key, due);
        drop(core);
        Sleep { inner: self.0.clone(), key }
    }

    /// Connects to `to` before `due`.
    ///
    /// # Errors
    /// No socket, the connect's errno, or the deadline.
    pub async fn connect(&self, to: &Destination, due: Instant) -> Result<Stream, Fault> {
        let address = Box::new(KernelAddress::of(to)?);
        let fd = socket::unconnected(&address)?.into_raw_fd();
        let mut op = Op::start(&self.0, Held::Address(address), due, |held| {
            let (at, len) = match held {
                Held::Address(address) => address.as_raw(),
                Held::Nothing | Held::Payload(_) | Held::Gather(_) => (std::ptr::null(), 0),
            };
            opcode::Connect::new(Fd(fd), at, len).build()
        });
        op.owned = Some(fd);
        match std::future::poll_fn(|cx| op.poll(cx)).await {
            None => Err(Fault::TimedOut),
            Some((result, _)) if result < 0 => Err(Fault::Os(-result)),
            Some(_) => {
                op.owned = None;
                Ok(Stream::new(&self.0, fd, FirstReceive::Multishot))
            }
        }
    }

    /// Waits until `fd` can be read.
    ///
    /// A poll and not a read, since a doorbell is non-blocking: the ring answers a read of it at once.
    ///
    /// # Errors
    /// The poll's errno.
    pub async fn readable(&self, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).build();
        poll_ready(&self.0, entry, Instant::NEVER).await
    }
}

/// Runs a poll.
pub(super) async fn poll_ready(inner: &Rc<Inner>, entry: squeue::Entry, due: Instant) -> Result<(), Fault> {
    let mut op = Op::start(inner, Held::Nothing, due, |_| entry);
    match std::future::poll_fn(|cx| op.poll(cx)).await {
        None => Err(Fault::TimedOut),
        Some((result, _)) if result < 0 => Err(Fault::Os(-result)),
        Some(_) => Ok(()),
    }
}
