//! A piece of a body on its way into DATA frames, where it lies.
//!
//! `h2` keeps it until all of it is in frames, which may take as long as the peer's windows have it; its drop says
//! that it is, or that its stream was reset. So who sent it knows when there may be more, and a connection how much
//! it holds. Called by `stream.rs`.

use crate::ring::Payload;
use bytes::Buf;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Whether a piece has left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Whether all of it went into frames; `None`: it is not over yet.
    all: Cell<Option<bool>>,
    waker: RefCell<Option<Waker>>,
}

impl Left {
    /// Whether all of it went into frames, if it is over.
    pub(super) fn is_all(&self) -> Option<bool> {
        self.all.get()
    }

    /// The same, waiting for it.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<bool> {
        match self.all.get() {
            Some(all) => Poll::Ready(all),
            None => {
                // The old one is dropped where nothing is borrowed.
                let old = self.waker.borrow_mut().replace(cx.waker().clone());
                drop(old);
                Poll::Pending
            }
        }
    }
}

/// A part of a payload.
pub(super) struct Piece {
    payload: Payload,
    at: usize,
    end: usize,
    len: usize,
    /// Bytes of its connection's pieces that `h2` holds.
    held: Rc<Cell<usize>>,
    /// Who waits for it.
    left: Option<Rc<Left>>,
}

impl Piece {
    /// `range` of `payload`, which counts in `held` as long as it lives.
    pub(super) fn new(
        payload: Payload,
        range: Range<usize>,
        held: &Rc<Cell<usize>>,
        left: Option<Rc<Left>>,
    ) -> Self {
        let len = range.len();
        held.set(held.get() + len);
        Self { payload, at: range.start, end: range.end, len, held: held.clone(), left }
    }

    /// Nothing, to end a stream with.
    pub(super) fn empty(held: &Rc<Cell<usize>>) -> Self {
        Self::new(Payload::Static(b""), 0..0, held, None)
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.end - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.payload.as_slice()[self.at..self.end]
    }

    fn advance(&mut self, count: usize) {
        self.at = self.end.min(self.at + count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.len);
        if let Some(left) = &self.left {
            left.all.set(Some(self.at == self.end));
            // Woken and not dropped: `h2` is in the middle of its work.
            if let Some(waker) = &*left.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}
