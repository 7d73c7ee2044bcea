//! One io_uring per shard as safe async operations.
//!
//! Rules that hold in this room (each with its test in `tests/ring.rs`):
//! - An operation in flight owns what the kernel may touch until its last completion, whether or not its
//!   future lives. Dropping the future cancels it.
//! - An unwanted result is undone: a descriptor accepted too late is closed, a buffer given back.
//! - Order of ends: cancel, wait for the completion, close; descriptor numbers are used again at once.
//! - A receive that finds no buffer waits for one. It never spins.
//! - Nothing is linked, skipped or bundled: those have open faults in kernels that weir runs on.
//!
//! | file | what |
//! |---|---|
//! | `core.rs` | the ring, its queues, completions to slots |
//! | `slots.rs`, `arrivals.rs`, `payload.rs`, `gather.rs` | what an operation owns while the kernel has it |
//! | `buffers.rs` | receive buffers and [`Chunk`] |
//! | `operation.rs` | send, connect, sleep, readiness |
//! | `stream.rs`, `accept.rs` | sockets and accept loops |
//! | `splice.rs` | long bodies, uncopied |
//! | `stuck.rs` | who is given up when there are no buffers left |
//! | `driver.rs` | the loop: turn, run, spin, park |
//! | `looks.rs` | how long what completed may have waited for it |
//! | `refused.rs` | why a host gives no ring |
//! | `survey.rs` | whether all that the ring uses is there |
#![allow(unsafe_code)]

mod accept;
mod arrivals;
mod buffers;
mod core;
mod driver;
mod gather;
mod looks;
mod operation;
mod payload;
mod refused;
mod slots;
mod splice;
mod stream;
mod stuck;
mod survey;

pub use self::core::RingCounts;
pub use accept::Acceptor;
pub use buffers::{Chunk, HEADROOM, OVERHEAD, SPILLED_FACTOR};
pub use driver::{HEARTBEAT, Shift};
pub use operation::{Fault, Send, SendGathered, SendMark, Sent, Sleep};
pub use payload::{Counted, Payload};
pub use refused::{OLDEST, RECOMMENDED, RingRefused, probe};
pub use splice::{PipeLoan, SpliceFault, give_way};
pub use stream::Stream;
pub use survey::{locked_bytes, survey};

use crate::sys::clock;
use crate::time::{Instant, Micros};
use buffers::Buffers;
use slots::Slot;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::{Context, Waker};

/// What a ring is made with.
#[derive(Clone, Copy, Debug)]
pub struct RingSettings {
    /// Entries of the submission queue; a power of two.
    pub entries: u32,
    /// Receive buffers; a power of two.
    pub buffers: u16,
    /// Bytes of a receive buffer.
    pub buffer_size: usize,
}

/// A shard's ring. Made on the shard's own thread and never sent elsewhere.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

struct Inner {
    core: ManuallyDrop<RefCell<core::Core>>,
    buffers: ManuallyDrop<Buffers>,
    pipes: splice::Pipes,
    now: Cell<Instant>,
    polls: Rc<Cell<u64>>,
    looks: RefCell<looks::Looks>,
}

impl Ring {
    /// Sets a ring up on the calling thread.
    ///
    /// # Errors
    /// Why this host gives none, and the remedy.
    pub fn new(settings: &RingSettings) -> Result<Self, RingRefused> {
        let core = core::Core::new(settings)?;
        let buffers = Buffers::register(&core.uring, settings.buffers, settings.buffer_size)
            .map_err(RingRefused::from_setup)?;
        Ok(Self(Rc::new(Inner {
            core: ManuallyDrop::new(RefCell::new(core)),
            buffers: ManuallyDrop::new(buffers),
            pipes: splice::Pipes::default(),
            now: Cell::new(clock::now()),
            polls: Rc::default(),
            looks: RefCell::default(),
        })))
    }

    /// What the ring has counted.
    pub fn counts(&self) -> RingCounts {
        self.0.core.borrow().counts
    }

    /// Buffers that hold bytes somewhere in weir.
    pub fn buffers_in_use(&self) -> usize {
        self.0.buffers.in_use()
    }

    /// Receive buffers that there are.
    pub fn buffers(&self) -> usize {
        self.0.buffers.count()
    }

    /// Whether so many are in use that none should be collected to save a send.
    pub fn buffers_are_scarce(&self) -> bool {
        self.0.buffers.are_scarce()
    }

    /// Operations that somebody or the kernel still has a claim on.
    pub fn operations(&self) -> usize {
        self.0.core.borrow().slots.used()
    }

    /// Ends every wait for a next request ([`Stream::poll_receive_next`]), as if its deadline had passed.
    pub fn interrupt(&self) {
        self.0.core.borrow_mut().interrupt();
        // As good as a poll: whoever was woken must run before the shard sleeps, even if the shift did it.
        self.0.polls.set(self.0.polls.get() + 1);
    }

    /// Cancels everything and waits, at most for `length`, until the kernel has let go.
    pub fn wind_up(&self, length: Micros) {
        let end = clock::now() + length;
        let mut core = self.0.core.borrow_mut();
        // If the kernel refuses the cancel, the wait below runs out and `Inner` leaks what is still lent.
        let _ = core.cancel_all();
        while core.slots.any_in_kernel() && clock::now() < end {
            core.park(Micros::from_ms(10));
            core.take_completions(&self.0.buffers);
        }
        // What ended just now has its socket to close.
        core.flush();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Sockets that were dropped after the last turn are closed all the same.
        self.core.get_mut().flush();
        if self.core.get_mut().slots.any_in_kernel() {
            // The kernel may still write: the memory must outlive us. It goes with the process.
            return;
        }
        // SAFETY: each is dropped once, here, and not used afterwards; the ring goes first, so that the
        // kernel has let go of the buffers before their memory is freed.
        unsafe {
            ManuallyDrop::drop(&mut self.core);
            ManuallyDrop::drop(&mut self.buffers);
        }
    }
}

/// Notes who waits on `slot`: one waker, replaced, never one clone per operation. Returns the old one, to
/// be dropped where nothing is borrowed.
#[must_use = "drop it where nothing is borrowed"]
fn wait(slot: &mut Slot, cx: &Context<'_>) -> Option<Waker> {
    match &slot.waker {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => slot.waker.replace(cx.waker().clone()),
    }
}
