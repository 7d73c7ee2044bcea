//! A piece of a request's body on its way into frames, where it was received.

use crate::ring::Payload;
use bytes::{Buf, Bytes};
use std::ops::Range;
use std::rc::Rc;

/// Bytes to send. They go on in as many pieces as the windows ask for, without being copied.
pub(super) struct Piece {
    whole: Whole,
    left: Range<usize>,
}

/// Where the bytes are.
#[derive(Clone)]
enum Whole {
    /// In what the proxy has sent.
    Sent(Rc<Payload>),
    /// In memory of their own.
    Own(Bytes),
}

impl Piece {
    /// This range of what the proxy has sent.
    pub(super) fn of(payload: &Rc<Payload>, range: Range<usize>) -> Self {
        Self { whole: Whole::Sent(payload.clone()), left: range }
    }

    /// A copy.
    pub(super) fn copy(bytes: &[u8]) -> Self {
        Self { whole: Whole::Own(Bytes::copy_from_slice(bytes)), left: 0..bytes.len() }
    }

    /// Nothing.
    pub(super) fn empty() -> Self {
        Self { whole: Whole::Own(Bytes::new()), left: 0..0 }
    }

    /// The first `count` bytes, which are taken out.
    pub(super) fn split_to(&mut self, count: usize) -> Self {
        let end = self.left.end.min(self.left.start + count);
        let first = Self { whole: self.whole.clone(), left: self.left.start..end };
        self.left.start = end;
        first
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.left.len()
    }

    fn chunk(&self) -> &[u8] {
        let bytes = match &self.whole {
            Whole::Sent(payload) => payload.as_slice(),
            Whole::Own(bytes) => bytes,
        };
        &bytes[self.left.clone()]
    }

    fn advance(&mut self, count: usize) {
        self.left.start = self.left.end.min(self.left.start + count);
    }
}
