//! What an operation lends to the kernel.
//!
//! Here: `Payload` (bytes to send, whole) and `Held` (all that a slot may own). A payload is moved into the
//! operation and comes back with its result, so it can be sent again or its memory used again.

use super::Chunk;
use crate::sys::socket::KernelAddress;
use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes to send.
pub enum Payload {
    /// As they were received (and perhaps with a new head in front).
    Chunk(Chunk),
    /// Written by weir.
    Bytes(Vec<u8>),
    /// Written by weir, out of memory that is counted.
    Counted(Box<Counted>),
    /// One copy in the process, held for this shard: many operations may lend it at once, and none of them
    /// touches a count that other cores have.
    Shared(Rc<Arc<[u8]>>),
    /// Fixed.
    Static(&'static [u8]),
}

/// Bytes, and what is to be dropped when the kernel is done with them. That may be anywhere in the ring's
/// work: it must not call the ring.
pub struct Counted {
    bytes: Vec<u8>,
    _count: Box<dyn Any>,
}

impl Counted {
    /// These bytes with this.
    pub fn new(bytes: Vec<u8>, count: impl Any) -> Box<Self> {
        Box::new(Self { bytes, _count: Box::new(count) })
    }
}

impl Payload {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Chunk(chunk) => chunk,
            Self::Bytes(bytes) => bytes,
            Self::Counted(counted) => &counted.bytes,
            Self::Shared(bytes) => bytes,
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
