//! A piece of a request's body on its way into frames, where it was received.

use crate::ring::Payload;
use bytes::Buf;
use std::ops::Range;
use std::rc::Rc;

/// Bytes to send. They go on in as many pieces as the windows ask for, without being copied.
pub(super) struct Piece {
    whole: Rc<Payload>,
    left: Range<usize>,
}

impl Piece {
    /// This range of what the proxy has sent.
    pub(super) fn of(whole: &Rc<Payload>, range: Range<usize>) -> Self {
        Self { whole: whole.clone(), left: range }
    }

    /// Nothing.
    pub(super) fn empty() -> Self {
        Self { whole: Rc::new(Payload::Static(b"")), left: 0..0 }
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
        &self.whole.as_slice()[self.left.clone()]
    }

    fn advance(&mut self, count: usize) {
        self.left.start = self.left.end.min(self.left.start + count);
    }
}
