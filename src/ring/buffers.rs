//! The buffers that the kernel fills on receive, and `Chunk`, the bytes in one.
//!
//! An idle connection holds none: the kernel takes a buffer when bytes arrive. Every buffer has room in
//! front of what the kernel fills, so that a head that was rewritten can be put before its body where it
//! lies. The kernel takes buffers in the order in which it was given them; if it had all of them, a few
//! busy connections would walk through all the memory. So it is given a window of `WINDOW` at a time, and
//! the buffer that came back last goes in next: what is in use stays small and warm.
//!
//! Peers that do not read what weir has for them hold buffers for as long as they like. So once half of all
//! are in use, nobody is given several at once, and what arrives is copied to memory of its own and its
//! buffer goes back at once: fifty clients that do not read must not stop the other thousands. Such memory is
//! as large as what arrived, is numbered behind the buffers, so that nobody else need know, and is bounded
//! too (`SPILLED_FACTOR`).
//!
//! Not here: the operations (`operation.rs`, `stream.rs`). Called by them and, through `Chunk`, by `proxy`.

use super::Inner;
use io_uring::{IoUring, types::BufRingEntry};
use slab::Slab;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bytes in front of what the kernel fills, for a head that grows when it is rewritten.
pub const HEADROOM: usize = 1024;

/// Bytes that the kernel may fill beyond the configured size: a response of just that size and its head.
const ALLOWANCE: usize = 1024;

/// What one buffer takes beyond the configured size, in bytes.
pub const OVERHEAD: usize = HEADROOM + ALLOWANCE;

/// Buffers that the kernel is given at a time.
const WINDOW: u16 = 128;

/// Pieces in memory of their own, at most, as a multiple of the buffers.
pub const SPILLED_FACTOR: usize = 8;

/// The group's number in the ring: weir has one.
pub(super) const GROUP: u16 = 0;

/// The registered buffers of one ring.
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    entries_layout: Layout,
    memory: NonNull<u8>,
    memory_layout: Layout,
    count: u16,
    stride: usize,
    /// Where the next entry goes, counted up for ever; the kernel reads it from the ring.
    tail: Cell<u16>,
    /// Entries that the kernel has and has not filled.
    with_kernel: Cell<u16>,
    /// Buffers that nobody has, last returned on top.
    free: RefCell<Vec<u16>>,
    /// What arrived while buffers were scarce; numbered from `count` on.
    spilled: RefCell<Slab<Vec<u8>>>,
}

impl Buffers {
    /// Allocates `count` buffers (a power of two) of `size` bytes and registers them with `ring`.
    pub(super) fn register(ring: &IoUring, count: u16, size: usize) -> io::Result<Self> {
        let stride = size + OVERHEAD;
        let layout = |bytes| Layout::from_size_align(bytes, 4096).map_err(io::Error::other);
        let entries_layout = layout(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory_layout = layout(usize::from(count) * stride)?;
        let buffers = Self {
            entries: allocate(entries_layout).cast(),
            entries_layout,
            memory: allocate(memory_layout),
            memory_layout,
            count,
            stride,
            tail: Cell::new(0),
            with_kernel: Cell::new(0),
            free: RefCell::new((0..count).rev().collect()),
            spilled: RefCell::default(),
        };
        // SAFETY: the block holds `count` entries, is page-aligned and zeroed, and is freed only after the
        // ring is gone (`Inner` drops its ring first, and leaks these if anything is still in the kernel).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries.as_ptr() as u64,
                count,
                GROUP,
                0,
            )?;
        }
        buffers.refill();
        Ok(buffers)
    }

    /// Buffers that receives will find.
    pub(super) fn with_kernel(&self) -> u16 {
        self.with_kernel.get()
    }

    /// Buffers that there are.
    pub(super) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Buffers that hold bytes somewhere in weir.
    pub(super) fn in_use(&self) -> usize {
        usize::from(self.count) - usize::from(self.with_kernel.get()) - self.free.borrow().len()
    }

    /// Whether so many are in use that nobody should take several at once, and that none may be kept waiting
    /// for a peer.
    pub(super) fn are_scarce(&self) -> bool {
        self.in_use() > usize::from(self.count / 2)
    }

    /// Moves the `len` bytes in buffer `id` to memory of their own, if there may be more such memory. Returns
    /// the number under which they are found from now on.
    pub(super) fn spill(&self, id: u16, len: usize) -> u16 {
        let mut spilled = self.spilled.borrow_mut();
        let most = (usize::from(self.count) * SPILLED_FACTOR).min(usize::from(u16::MAX - self.count));
        if spilled.len() >= most {
            return id;
        }
        let mut memory = vec![0; HEADROOM + len];
        memory[HEADROOM..].copy_from_slice(self.bytes(id, HEADROOM, HEADROOM + len));
        // Below `u16::MAX - count`, since a slab fills its gaps first.
        let number = self.count + spilled.insert(memory) as u16;
        drop(spilled);
        self.give_back(id);
        number
    }

    /// The kernel has filled one and said so.
    pub(super) fn taken(&self) {
        self.with_kernel.set(self.with_kernel.get() - 1);
        self.refill();
    }

    /// A buffer comes back from whoever read it.
    pub(super) fn give_back(&self, id: u16) {
        if let Some(spilled) = id.checked_sub(self.count) {
            self.spilled.borrow_mut().remove(usize::from(spilled));
            return;
        }
        if cfg!(debug_assertions) {
            self.bytes_mut(id, 0, self.stride).fill(POISON);
        }
        self.free.borrow_mut().push(id);
        self.refill();
    }

    fn refill(&self) {
        let mut free = self.free.borrow_mut();
        while self.with_kernel.get() < WINDOW {
            let Some(id) = free.pop() else { return };
            self.give_to_kernel(id);
        }
    }

    fn give_to_kernel(&self, id: u16) {
        let tail = self.tail.get();
        let address = self.at(id, HEADROOM).as_ptr() as u64;
        // SAFETY: the index is below `count`, so the entry lies in the block. The kernel reads an entry only
        // once the tail has passed it, and it has not yet: nobody else touches it meanwhile. The tail is the
        // 16-bit field that the ring's layout has in its first entry, aligned and alive as long as the block.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(usize::from(tail & (self.count - 1)));
            entry.set_addr(address);
            entry.set_len((self.stride - HEADROOM) as u32);
            entry.set_bid(id);
            let shared = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            // Release: who sees the tail sees the entry.
            (*shared).store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.with_kernel.set(self.with_kernel.get() + 1);
    }

    fn at(&self, id: u16, offset: usize) -> NonNull<u8> {
        debug_assert!(id < self.count && offset <= self.stride);
        // SAFETY: `id` is below `count` and `offset` at most the stride: inside the block.
        unsafe { self.memory.add(usize::from(id) * self.stride + offset) }
    }

    /// Where `start..end` of number `id` begins.
    fn range(&self, id: u16, start: usize, end: usize) -> NonNull<u8> {
        match id.checked_sub(self.count) {
            // The block does not move when the slab grows.
            Some(spilled) => {
                NonNull::from(&mut self.spilled.borrow_mut()[usize::from(spilled)][start..end]).cast()
            }
            None => {
                debug_assert!(start <= end && end <= self.stride);
                self.at(id, start)
            }
        }
    }

    fn bytes(&self, id: u16, start: usize, end: usize) -> &[u8] {
        // SAFETY: the range lies in buffer `id`, or in the heap block that has this number. Callers hold the
        // number: a `Chunk` is the only one with it (the kernel has given the buffer up with the completion
        // that made the chunk) and gives it back when it is dropped, so the memory lives, and nobody writes
        // it, while the reference does: `bytes_mut` asks for the chunk exclusively.
        unsafe { std::slice::from_raw_parts(self.range(id, start, end).as_ptr(), end - start) }
    }

    #[allow(clippy::mut_from_ref)]
    fn bytes_mut(&self, id: u16, start: usize, end: usize) -> &mut [u8] {
        // SAFETY: as in `bytes`; and callers hold the number exclusively: through `&mut Chunk`, or because it
        // is just being given back. So nobody else reads or writes the range while the reference lives.
        unsafe { std::slice::from_raw_parts_mut(self.range(id, start, end).as_ptr(), end - start) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts in `register`, freed once, here. The ring is gone by now.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), self.entries_layout);
            dealloc(self.memory.as_ptr(), self.memory_layout);
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has size zero: counts and sizes are checked by the configuration.
    let block = unsafe { alloc_zeroed(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// What a buffer is filled with when it comes back, in builds with debug assertions (all tests): whoever
/// reads on reads this.
const POISON: u8 = 0xDB;

/// Bytes that were received, in a buffer of the ring, which dropping it gives back; or in memory of its own.
pub struct Chunk {
    memory: Memory,
    start: u32,
    end: u32,
}

/// Where a chunk's bytes are.
enum Memory {
    /// In this buffer, which is the chunk's alone.
    Ring(Rc<Inner>, u16),
    /// Not in the ring's memory, so that it is for whoever made it to see that there are not too many. Boxed, since
    /// chunks are kept in every connection's memory, and these are few.
    #[allow(clippy::box_collection)]
    Own(Box<Vec<u8>>),
}

impl Chunk {
    pub(super) fn new(inner: Rc<Inner>, id: u16, len: usize) -> Self {
        Self { memory: Memory::Ring(inner, id), start: HEADROOM as u32, end: (HEADROOM + len) as u32 }
    }

    /// `bytes`, but for the first `headroom`, which are room for [`Self::prepend`].
    pub fn own(bytes: Vec<u8>, headroom: usize) -> Self {
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let start = u32::try_from(headroom).unwrap_or(u32::MAX).min(end);
        Self { memory: Memory::Own(Box::new(bytes)), start, end }
    }

    /// Drops the first `count` bytes; all of them if there are fewer.
    pub fn advance(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    /// Keeps the first `count` bytes only.
    pub fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    /// Puts `bytes` in the place of what is there; false if there is not so much room, and then nothing is
    /// changed.
    pub fn replace(&mut self, bytes: &[u8]) -> bool {
        let (front, rest) = bytes.split_at(bytes.len().saturating_sub(self.len()));
        if !self.prepend(front) {
            return false;
        }
        self.truncate(bytes.len());
        self[front.len()..].copy_from_slice(rest);
        true
    }

    /// Puts `bytes` in front; false if there is not so much room, and then nothing is changed.
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = (self.start as usize).checked_sub(bytes.len()) else { return false };
        self.start = start as u32;
        self[..bytes.len()].copy_from_slice(bytes);
        true
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &self.memory {
            Memory::Ring(inner, id) => inner.buffers.bytes(*id, start, end),
            Memory::Own(bytes) => &bytes[start..end],
        }
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &mut self.memory {
            Memory::Ring(inner, id) => inner.buffers.bytes_mut(*id, start, end),
            Memory::Own(bytes) => &mut bytes[start..end],
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Memory::Ring(inner, id) = &self.memory {
            inner.buffers.give_back(*id);
        }
    }
}
