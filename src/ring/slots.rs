//! The table of operations: for each, what the kernel may touch, what it has said, and who waits.
//!
//! A slot owns what its operation lends to the kernel until the last completion has come (one without
//! `IORING_CQE_F_MORE`), whether or not anybody still waits for it. Slots are used again, with the
//! capacity of their queue. Pure bookkeeping: the calls into the ring are in `core.rs`.

use super::arrivals::Arrivals;
use super::payload::Held;
use std::os::fd::RawFd;
use std::task::Waker;

/// Who has a claim on a slot besides the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody: the slot may be used again.
    Free,
    /// A future or a stream.
    Awaited,
    /// Nobody any more; the slot waits for the kernel's last word, then closes the descriptor if it has one.
    Orphan(Option<RawFd>),
}

/// What kind of operation a slot stands for; decides what an unwanted result needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One completion, nothing to undo.
    Once,
    /// Receives again and again, into buffers that must be given back.
    Receive,
    /// Accepts again and again: an unwanted descriptor must be closed.
    Accept,
}

/// One operation.
pub(super) struct Slot {
    pub(super) owner: Owner,
    pub(super) kind: Kind,
    /// Submitted or queued, and its last completion not yet seen.
    pub(super) in_kernel: bool,
    /// A cancel is on its way.
    pub(super) cancelling: bool,
    /// The deadline has passed since it was last set.
    pub(super) expired: bool,
    /// End of stream or an error was fetched: there is nothing more to receive.
    pub(super) ended: bool,
    /// Waits for a request that may be put off: the shard's drain ends the wait.
    pub(super) interruptible: bool,
    /// If the result is this one, nobody need be woken for it. Never a result where nobody is quiet.
    pub(super) quiet_result: i32,
    /// How often it was under way when sends were looked at for want of buffers.
    pub(super) looks: u8,
    /// With a quiet result the slot is given up by itself: nobody asks for what was lent.
    pub(super) done_when_quiet: bool,
    /// Counts the slot's uses, so that who was not told of an end can see that it is over.
    pub(super) use_count: u32,
    pub(super) waker: Option<Waker>,
    pub(super) arrived: Arrivals,
    pub(super) held: Held,
}

impl Slot {
    /// Wakes who waits, if anybody does. The waker stays: dropping it might drop a task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// All slots of a ring.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    /// A slot for a new operation, awaited.
    pub(super) fn take(&mut self, kind: Kind, held: Held) -> u32 {
        if let Some(key) = self.free.pop() {
            let slot = &mut self.slots[key as usize];
            slot.owner = Owner::Awaited;
            slot.kind = kind;
            slot.held = held;
            return key;
        }
        self.slots.push(Slot {
            owner: Owner::Awaited,
            kind,
            in_kernel: false,
            cancelling: false,
            expired: false,
            ended: false,
            interruptible: false,
            quiet_result: i32::MIN,
            looks: 0,
            done_when_quiet: false,
            use_count: 0,
            waker: None,
            arrived: Arrivals::default(),
            held,
        });
        (self.slots.len() - 1) as u32
    }

    /// The slot with this number.
    pub(super) fn at(&mut self, key: u32) -> &mut Slot {
        &mut self.slots[key as usize]
    }

    /// Makes the slot free. Returns what it held and its waker, to be dropped where nothing is borrowed.
    pub(super) fn release(&mut self, key: u32) -> (Held, Option<Waker>) {
        let slot = &mut self.slots[key as usize];
        debug_assert!(!slot.in_kernel && slot.owner != Owner::Free && slot.arrived.is_empty());
        slot.owner = Owner::Free;
        slot.cancelling = false;
        slot.expired = false;
        slot.ended = false;
        slot.interruptible = false;
        slot.quiet_result = i32::MIN;
        slot.looks = 0;
        slot.done_when_quiet = false;
        slot.use_count = slot.use_count.wrapping_add(1);
        self.free.push(key);
        (std::mem::take(&mut slot.held), slot.waker.take())
    }

    /// All slots whose wait may be put off.
    pub(super) fn interruptible(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut().filter(|slot| slot.owner == Owner::Awaited && slot.interruptible)
    }

    /// All sends that the kernel has not taken whole, and that somebody wants to hear of.
    pub(super) fn sending(&mut self) -> impl Iterator<Item = (u32, &mut Slot)> {
        let sends = |slot: &Slot| matches!(slot.held, Held::Payload(_) | Held::Gather(_));
        let under_way = move |slot: &Slot| slot.in_kernel && slot.owner == Owner::Awaited && sends(slot);
        let numbered = self.slots.iter_mut().enumerate();
        numbered.filter(move |(_, slot)| under_way(slot)).map(|(key, slot)| (key as u32, slot))
    }

    /// Whether the kernel may still touch anything.
    pub(super) fn any_in_kernel(&self) -> bool {
        self.slots.iter().any(|slot| slot.in_kernel)
    }

    /// Slots in use.
    pub(super) fn used(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
