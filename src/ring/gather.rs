//! A list of chunks sent by one operation, for bodies that arrive faster than one chunk a turn leaves.

use super::Chunk;

/// Chunks, and the kernel's description of them, which points into the chunks' buffers.
pub(super) struct Gather {
    chunks: Vec<Chunk>,
    parts: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl Gather {
    /// Describes `chunks`. Boxed, since the kernel is told where the description stands.
    pub(super) fn new(chunks: Vec<Chunk>) -> Box<Self> {
        let parts = chunks
            .iter()
            .map(|chunk| libc::iovec { iov_base: chunk.as_ptr().cast_mut().cast(), iov_len: chunk.len() })
            .collect();
        // SAFETY: all zeros is a valid msghdr: null pointers with zero lengths.
        let message = unsafe { std::mem::zeroed() };
        let mut gather = Box::new(Self { chunks, parts, message });
        gather.message.msg_iov = gather.parts.as_mut_ptr();
        gather.message.msg_iovlen = gather.parts.len();
        gather
    }

    /// Where the kernel reads the description; valid as long as the box lives and is not changed.
    pub(super) fn message(&self) -> *const libc::msghdr {
        &raw const self.message
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.iov_len).sum()
    }

    /// The chunks back.
    pub(super) fn into_chunks(self) -> Vec<Chunk> {
        self.chunks
    }
}
