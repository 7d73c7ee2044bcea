//! What an operation lends to the kernel.
//!
//! Here: `Payload` (bytes to send, whole) and `Held` (all that a slot may own). A payload is moved into the
//! operation and comes back with its result, so it can be sent again or its memory used again.

use super::Chunk;
use crate::sys::socket::KernelAddress;

/// Bytes to send.
pub enum Payload {
    /// As they were received (and perhaps with a new head in front).
    Chunk(Chunk),
    /// Written by weir.
    Bytes(Vec<u8>),
    /// Fixed.
    Static(&'static [u8]),
}

impl Payload {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Chunk(chunk) => chunk,
            Self::Bytes(bytes) => bytes,
            Self::Static(bytes) => bytes,
        }
    }
}

/// What the kernel may touch while an operation is under way.
#[derive(Default)]
pub(super) enum Held {
    /// Nothing of ours.
    #[default]
    Nothing,
    /// Reads these bytes.
    Payload(Payload),
    /// Reads this address. Boxed, so that it stays where it is.
    Address(Box<KernelAddress>),
    /// Reads this list and the chunks that it points into.
    Gather(Box<super::gather::Gather>),
}
