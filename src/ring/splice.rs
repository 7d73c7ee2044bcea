//! Bytes moved from one stream to another without passing through weir's memory.
//!
//! For long bodies: `splice(2)` through a pipe, called directly and without blocking, since the ring's own
//! splice operation always goes to a worker thread. The ring is used for the waits. Called by `proxy`.

use super::operation::Fault;
use super::{Ring, Stream};
use crate::sys::pipe::Pipe;
use crate::time::Instant;
use io_uring::{opcode, types::Fd};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::BorrowedFd;
use std::task::Poll;

/// Pipes that a ring keeps for the next body.
const SPARE_MAX: usize = 64;

/// Which side stopped a splice, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceFault {
    /// The sender; `None`: it ended.
    From(Option<Fault>),
    /// The receiver.
    To(Fault),
}

/// A pipe on loan. It goes back when it is dropped empty; one that still holds bytes is closed.
pub struct PipeLoan {
    ring: Ring,
    pipe: Option<Pipe>,
    held: usize,
}

impl Drop for PipeLoan {
    fn drop(&mut self) {
        let pipes = &self.ring.0.pipes;
        let mut spare = pipes.spare.borrow_mut();
        if self.held == 0 && spare.len() < SPARE_MAX {
            spare.extend(self.pipe.take());
        }
        if self.pipe.is_some() {
            pipes.made.set(pipes.made.get() - 1);
        }
    }
}

impl Ring {
    /// So many pipes at most from now on, two descriptors each.
    pub fn bound_pipes(&self, max: usize) {
        self.0.pipes.max.set(max);
    }

    /// A pipe for [`Stream::splice_to`]; `None` if there is none to be had: copy then.
    pub fn pipe(&self) -> Option<PipeLoan> {
        let pipes = &self.0.pipes;
        let kept = pipes.spare.borrow_mut().pop();
        let pipe = match kept {
            Some(pipe) => pipe,
            None if pipes.made.get() >= pipes.max.get() => return None,
            None => {
                let pipe = Pipe::new().ok()?;
                pipes.made.set(pipes.made.get() + 1);
                pipe
            }
        };
        Some(PipeLoan { ring: self.clone(), pipe: Some(pipe), held: 0 })
    }
}

impl Stream {
    /// Ends the armed receive. What has arrived by then still comes from [`Self::received`]. Until the next
    /// receive nothing is taken from the socket.
    pub async fn stop_receiving(&self) {
        self.inner.core.borrow_mut().cancel(self.key);
        poll_fn(|cx| {
            let mut core = self.inner.core.borrow_mut();
            let slot = core.slots.at(self.key);
            if !slot.in_kernel {
                return Poll::Ready(());
            }
            let old = super::wait(slot, cx);
            drop(core);
            drop(old);
            Poll::Pending
        })
        .await;
    }

    /// Moves at most `max` bytes to `to`, all that it took from here: how many. Waits for this side until
    /// `from_due` and for the other until `to_due`. The receive must be stopped.
    ///
    /// # Errors
    /// The side that failed. Bytes may be lost in the pipe then.
    pub async fn splice_to(
        &self,
        to: &Self,
        loan: &mut PipeLoan,
        max: usize,
        from_due: Instant,
        to_due: Instant,
    ) -> Result<usize, SpliceFault> {
        let Some(pipe) = loan.pipe.as_ref() else { return Ok(0) };
        let filled = loop {
            match pipe.fill(self.as_fd(), max) {
                Ok(Some(0)) => return Err(SpliceFault::From(None)),
                Ok(Some(count)) => break count,
                Ok(None) => {
                    let ready = self.ready(libc::POLLIN, from_due).await;
                    ready.map_err(|fault| SpliceFault::From(Some(fault)))?;
                }
                Err(error) => return Err(SpliceFault::From(Some(error.into()))),
            }
        };
        loan.held = filled;
        while loan.held > 0 {
            match pipe.drain(to.as_fd(), loan.held) {
                Ok(Some(count)) => loan.held -= count,
                Ok(None) => to.ready(libc::POLLOUT, to_due).await.map_err(SpliceFault::To)?,
                Err(error) => return Err(SpliceFault::To(error.into())),
            }
        }
        Ok(filled)
    }

    async fn ready(&self, events: i16, due: Instant) -> Result<(), Fault> {
        let entry = opcode::PollAdd::new(Fd(self.fd), events as u32).build();
        super::operation::poll_ready(&self.inner, entry, due).await
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and closes it only when it is dropped.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Arms the receive without waiting for it, so that [`Self::is_quiet`] sees what comes. `false`: it was
    /// not armed before, so that what has come already is seen only after the ring's next turn.
    pub fn watch(&self) -> bool {
        let mut core = self.inner.core.borrow_mut();
        let slot = core.slots.at(self.key);
        let armed = slot.in_kernel;
        if !armed && !slot.ended && slot.arrived.is_empty() {
            self.arm(&mut core);
        }
        armed
    }
}

/// The pipes of a ring.
pub(super) struct Pipes {
    spare: RefCell<Vec<Pipe>>,
    /// Those that there are, spare ones and those on loan.
    made: Cell<usize>,
    max: Cell<usize>,
}

impl Default for Pipes {
    fn default() -> Self {
        Self { spare: RefCell::default(), made: Cell::new(0), max: Cell::new(usize::MAX) }
    }
}

/// Gives others their turn. The ring need not have turned by then: the loop lets tasks run a few times first.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
