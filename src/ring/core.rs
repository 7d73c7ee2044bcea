//! The ring itself with its table of operations: queue entries, enter, take completions, fire deadlines.
//!
//! Not here: futures (`operation.rs`, `stream.rs`, `accept.rs`) and the loop that turns it (`driver.rs`).
//! Nothing here is called while a task's waker runs, and wakers are only woken here, never dropped, since
//! dropping one might drop a task that borrows this.

use super::arrivals::Arrival;
use super::buffers::Buffers;
use super::payload::Held;
use super::slots::{Kind, Owner, Slots};
use super::{RingRefused, RingSettings};
use crate::sys::clock;
use crate::time::{Deadlines, Instant, Micros};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::task::Waker;

/// The user data of entries whose completions say nothing that weir wants to know: cancels and closes.
/// (Trust only an operation's own completion.)
const UNHEARD: u64 = u64::MAX;

/// Completions of one receive that may wait unread before it is cancelled until they are read.
const UNREAD_MAX: usize = 4;

/// The same while buffers are scarce. Not one, which is what a reader that keeps up has.
const UNREAD_SCARCE_MAX: usize = 2;

/// How often one turn goes back for more completions before the tasks get their turn.
const MORE_ENTERS_MAX: usize = 16;

/// What the ring counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounts {
    /// Enters into the kernel.
    pub enters: u64,
    /// Completions seen.
    pub completions: u64,
    /// Times the shard slept.
    pub parks: u64,
    /// Receives that found no buffer.
    pub no_buffers: u64,
    /// How long the shard slept, in µs.
    pub parked_us: u64,
    /// How long it looked at its ring with nothing to do, in µs.
    pub spun_us: u64,
}

/// Entries of the completion queue that goes with a submission queue of `entries`.
pub(super) fn completions(entries: u32) -> u32 {
    entries.saturating_mul(4).clamp(16_384, 262_144)
}

pub(super) struct Core {
    pub(super) uring: IoUring,
    pub(super) slots: Slots,
    pub(super) deadlines: Deadlines,
    pub(super) counts: RingCounts,
    /// Entries that found the submission queue full, in order.
    overflow: VecDeque<squeue::Entry>,
    /// Receives that wait for a buffer.
    pub(super) starved: VecDeque<u32>,
    /// When sends are looked at next, should a receive wait then.
    pub(super) looks_at: Instant,
    /// Wakers to be dropped where nothing is borrowed.
    pub(super) unneeded: Vec<Waker>,
}

impl Core {
    pub(super) fn new(settings: &RingSettings) -> Result<Self, RingRefused> {
        let build = |without_array: bool| {
            let mut builder = IoUring::<squeue::Entry, cqueue::Entry>::builder();
            builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_coop_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all()
                .setup_cqsize(completions(settings.entries));
            if without_array {
                builder.setup_no_sqarray();
            }
            builder.build(settings.entries)
        };
        // NO_SQARRAY came with 6.6.
        let uring = build(true).or_else(|_| build(false)).map_err(RingRefused::from_setup)?;
        Ok(Self {
            uring,
            slots: Slots::default(),
            deadlines: Deadlines::new(clock::now()),
            counts: RingCounts::default(),
            overflow: VecDeque::new(),
            starved: VecDeque::new(),
            looks_at: Instant::default(),
            unneeded: Vec::new(),
        })
    }

    /// Queues an entry; it goes out with the next enter.
    pub(super) fn push(&mut self, entry: squeue::Entry) {
        if self.overflow.is_empty() && self.try_push(&entry) {
            return;
        }
        self.overflow.push_back(entry);
        // A full queue is emptied at once; if the kernel will not have it now, the next turn tries again.
        let _ = self.uring.submit();
        self.push_overflow();
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: what an entry points at is owned by its slot (`Held`) until the slot has seen the last
        // completion, or it points at nothing (receive into registered buffers, accept, cancel, close).
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }

    fn push_overflow(&mut self) {
        while let Some(entry) = self.overflow.pop_front() {
            if !self.try_push(&entry) {
                self.overflow.push_front(entry);
                return;
            }
        }
    }

    /// Queues the operation of `key`.
    pub(super) fn start(&mut self, key: u32, entry: squeue::Entry) {
        let slot = self.slots.at(key);
        debug_assert!(!slot.in_kernel);
        slot.in_kernel = true;
        slot.cancelling = false;
        self.push(entry.user_data(u64::from(key)));
    }

    /// Asks the kernel to end the operation of `key`; its own completion will say how it ended.
    pub(super) fn cancel(&mut self, key: u32) {
        let slot = self.slots.at(key);
        if slot.in_kernel && !slot.cancelling {
            slot.cancelling = true;
            let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(u64::from(key))).build();
            self.push(entry.user_data(UNHEARD));
        }
    }

    /// Queues the closing of a descriptor, behind all that was queued for it.
    pub(super) fn close(&mut self, fd: RawFd) {
        self.push(opcode::Close::new(Fd(fd)).build().user_data(UNHEARD));
    }

    /// Whether a turn would do something: entries wait to be submitted, or a receive waits for a buffer
    /// and there is one.
    pub(super) fn has_work(&mut self, buffers: &Buffers) -> bool {
        !self.overflow.is_empty()
            || !self.uring.submission().is_empty()
            || !self.starved.is_empty() && buffers.with_kernel() > 0
    }

    /// Submits what is queued and takes what has completed, without waiting. Whether anything came.
    pub(super) fn turn(&mut self, buffers: &Buffers) -> bool {
        self.push_overflow();
        self.rearm_starved(buffers);
        let mut came = false;
        for _ in 0..MORE_ENTERS_MAX {
            let (queued, more) = {
                let submission = self.uring.submission();
                (submission.len() as u32, submission.taskrun() || submission.cq_overflow())
            };
            if queued > 0 || more {
                self.enter(queued);
            }
            came |= self.take_completions(buffers);
            if !self.uring.submission().taskrun() {
                break;
            }
        }
        came
    }

    fn enter(&mut self, queued: u32) {
        const GET_EVENTS: u32 = 1;
        self.counts.enters += 1;
        // SAFETY: no argument is passed, and what the queued entries point at is owned by their slots.
        // An error (EBUSY, EAGAIN, EINTR) leaves entries queued: their operations live on, the next turn
        // submits them.
        let _ = unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, GET_EVENTS, None) };
    }

    /// Whether something has completed that no look at the ring has taken yet.
    pub(super) fn is_waited_for(&mut self) -> bool {
        // The kernel raises the flag for what a look has still to finish (DEFER_TASKRUN).
        self.uring.submission().taskrun() || !self.uring.completion().is_empty()
    }

    /// Submits what is queued and sleeps until something completes, at most for `length`.
    pub(super) fn park(&mut self, length: Micros) {
        self.counts.enters += 1;
        self.counts.parks += 1;
        let length = Timespec::from(length.as_duration());
        // ETIME is the heartbeat; any other error shows as nothing completed, and the loop goes on.
        let _ = self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&length));
    }

    /// Hands each completion to its slot. Whether there was any.
    pub(super) fn take_completions(&mut self, buffers: &Buffers) -> bool {
        let mut came = false;
        loop {
            // One at a time, since a completion may queue entries (a cancel, a close).
            let Some(completion) = self.uring.completion().next() else { return came };
            came = true;
            self.counts.completions += 1;
            if completion.user_data() != UNHEARD {
                self.complete(
                    completion.user_data() as u32,
                    completion.result(),
                    completion.flags(),
                    buffers,
                );
            }
        }
    }

    fn complete(&mut self, key: u32, result: i32, flags: u32, buffers: &Buffers) {
        let slot = self.slots.at(key);
        slot.in_kernel = cqueue::more(flags);
        let buffer = cqueue::buffer_select(flags);
        if buffer.is_some() {
            buffers.taken();
        }
        if slot.owner != Owner::Awaited {
            return self.complete_orphan(key, result, buffer, buffers);
        }
        let buffer = match buffer {
            Some(id) if result <= 0 => {
                buffers.give_back(id);
                None
            }
            buffer => buffer,
        };
        if slot.kind == Kind::Receive {
            if result == -libc::ENOBUFS {
                self.counts.no_buffers += 1;
                self.starved.push_back(key);
                return;
            }
            if result == -libc::ECANCELED {
                // Ours, since too much lay unread. Whoever waits by now arms it again.
                slot.cancelling = false;
                slot.wake();
                return;
            }
        }
        if result == slot.quiet_result && slot.done_when_quiet && !slot.in_kernel {
            self.deadlines.disarm(key);
            let (held, waker) = self.slots.release(key);
            self.unneeded.extend(waker);
            drop(held);
            return;
        }
        let spare = buffer.is_some() && buffers.are_scarce();
        let buffer = buffer.map(|id| if spare { buffers.spill(id, result.max(0) as usize) } else { id });
        slot.arrived.push(Arrival { result, buffer });
        if result == slot.quiet_result {
            return;
        }
        slot.wake();
        if slot.kind == Kind::Receive {
            let unread_max = if buffers.are_scarce() { UNREAD_SCARCE_MAX } else { UNREAD_MAX };
            if slot.arrived.len() >= unread_max {
                self.cancel(key);
            }
        }
    }

    /// A completion for an operation that nobody waits for: undo what it did.
    fn complete_orphan(&mut self, key: u32, result: i32, buffer: Option<u16>, buffers: &Buffers) {
        if let Some(id) = buffer {
            buffers.give_back(id);
        }
        let slot = self.slots.at(key);
        let (kind, in_kernel, owner) = (slot.kind, slot.in_kernel, slot.owner);
        if kind == Kind::Accept && result >= 0 {
            self.close(result);
        }
        if !in_kernel {
            if let Owner::Orphan(Some(fd)) = owner {
                self.close(fd);
            }
            // An orphan's waker was dropped when it was orphaned; what it held is ours to drop.
            let _ = self.slots.release(key);
        }
    }

    /// Gives a slot up: at once if the kernel is done with it, else when it is. `close`: a descriptor to
    /// close after that. Returns what must be dropped where nothing is borrowed.
    #[must_use = "drop it where nothing is borrowed"]
    pub(super) fn give_up(
        &mut self,
        key: u32,
        close: Option<RawFd>,
        buffers: &Buffers,
    ) -> (Held, Option<Waker>) {
        self.deadlines.disarm(key);
        while let Some(arrival) = self.slots.at(key).arrived.pop() {
            if let Some(id) = arrival.buffer {
                buffers.give_back(id);
            } else if self.slots.at(key).kind == Kind::Accept && arrival.result >= 0 {
                self.close(arrival.result);
            }
        }
        if self.slots.at(key).in_kernel {
            self.cancel(key);
            let slot = self.slots.at(key);
            slot.owner = Owner::Orphan(close);
            return (Held::Nothing, slot.waker.take());
        }
        self.starved.retain(|starved| *starved != key);
        if let Some(fd) = close {
            self.close(fd);
        }
        self.slots.release(key)
    }

    /// Receives that found no buffer are armed again as soon as there is one.
    fn rearm_starved(&mut self, buffers: &Buffers) {
        // As many as there are buffers: the others would only find none again.
        for _ in 0..buffers.with_kernel() {
            let Some(key) = self.starved.pop_front() else { return };
            self.slots.at(key).wake();
        }
    }

    /// Whether a receive waits for a buffer.
    pub(super) fn is_starved(&self, key: u32) -> bool {
        self.starved.contains(&key)
    }

    /// Sets the deadline of `key`.
    pub(super) fn set_deadline(&mut self, key: u32, due: Instant) {
        self.slots.at(key).expired = false;
        self.deadlines.arm(key, due);
    }

    /// Wakes whoever's deadline has passed.
    pub(super) fn fire_deadlines(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop_due(now) {
            let slot = self.slots.at(key);
            slot.expired = true;
            slot.wake();
        }
    }

    /// Ends the waits that may be put off, as if their deadline had passed.
    pub(super) fn interrupt(&mut self) {
        for slot in self.slots.interruptible() {
            slot.expired = true;
            slot.wake();
        }
    }

    /// Submits all that is queued, as far as the kernel takes it.
    pub(super) fn flush(&mut self) {
        self.push_overflow();
        while !self.uring.submission().is_empty() && self.uring.submit().is_ok() {
            self.push_overflow();
        }
    }

    /// Cancels everything that the kernel has.
    pub(super) fn cancel_all(&mut self) -> io::Result<()> {
        self.push(opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(UNHEARD));
        self.uring.submit().map(|_| ())
    }
}
