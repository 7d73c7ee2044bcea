//! What the `h2` crate reads from and writes to: a wire, through tokio's traits, towards clients and backends.
//!
//! What is written is collected, and leaves by one send when whoever drives the connection has no more to write
//! ([`Carrier::push`]): `h2` flushes after each larger piece. So frames of many streams share a send. While one is
//! under way it collects on, up to a bound, and then the writer waits: a peer that does not read holds up one send
//! and [`COLLECTED_MAX`] bytes. A deadline that passes in a read, and a flood, are noted and not errors, since
//! whoever drives the connection decides what they come to. Called by the drivers of `client` and `server`.

use crate::exchange::Pace;
use crate::http2::{Flood, Meter};
use crate::ring::{Chunk, Fault, Payload, Ring};
use crate::time::Instant;
use crate::wire::{Sending, Wire};
use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are collected while a send is under way.
const COLLECTED_MAX: usize = 64 << 10;

/// Bytes of memory that is kept for the next send.
const SPARE_MAX: usize = 64 << 10;

/// What is on its way out.
#[derive(Default)]
struct Out {
    collected: Vec<u8>,
    sending: Option<Sending>,
    /// Memory of the send before.
    spare: Vec<u8>,
}

/// What of a send wakes who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heeds {
    Failure,
    End,
}

/// A connection's bytes, both ways, over a wire that is its own or somebody else's.
pub(super) struct Carrier<W> {
    ring: Ring,
    wire: W,
    unread: RefCell<Option<Chunk>>,
    /// When something came last.
    heard: Cell<Instant>,
    out: RefCell<Out>,
    meter: RefCell<Option<Meter>>,
    flood: Cell<Option<Flood>>,
    /// Until when the next bytes are waited for.
    read_due: Cell<Instant>,
    expired: Cell<bool>,
    min_rate_per_s: u64,
}

impl<W: Borrow<Wire>> Carrier<W> {
    /// Of `wire`, from which `unread` has come already. `min_rate_per_s`: bytes a second that the peer must take;
    /// 0: any.
    pub(super) fn new(
        ring: &Ring,
        wire: W,
        unread: Option<Chunk>,
        meter: Option<Meter>,
        min_rate_per_s: u64,
    ) -> Rc<Self> {
        let carrier = Self {
            ring: ring.clone(),
            wire,
            unread: RefCell::default(),
            heard: Cell::new(ring.now()),
            out: RefCell::default(),
            meter: RefCell::new(meter),
            flood: Cell::new(None),
            read_due: Cell::new(Instant::NEVER),
            expired: Cell::new(false),
            min_rate_per_s,
        };
        if let Some(chunk) = unread {
            carrier.came(chunk);
        }
        Rc::new(carrier)
    }

    /// Until when the next bytes are waited for, from the next read on.
    pub(super) fn read_by(&self, due: Instant) {
        self.read_due.set(due);
    }

    /// When something came last; at first, when it began.
    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// Whether a read's deadline has passed, or its wait was interrupted, since it was last asked.
    pub(super) fn has_expired(&self) -> bool {
        self.expired.take()
    }

    /// The flood that was noticed, once.
    pub(super) fn take_flood(&self) -> Option<Flood> {
        let flood = self.flood.take();
        if flood.is_some() {
            *self.meter.borrow_mut() = None;
        }
        flood
    }

    /// Whether the peer is in the middle of a frame.
    pub(super) fn is_amid(&self) -> bool {
        self.meter.borrow().as_ref().is_some_and(Meter::is_amid)
    }

    fn came(&self, chunk: Chunk) {
        let now = self.ring.now();
        self.heard.set(now);
        if let Some(meter) = &mut *self.meter.borrow_mut()
            && let Err(flood) = meter.received(&chunk, now)
        {
            self.flood.set(Some(flood));
        }
        *self.unread.borrow_mut() = Some(chunk);
    }

    /// Sends what was collected. Ready when nothing is on its way; but only if that fails does it wake anybody,
    /// unless there is more that waits for it.
    ///
    /// # Errors
    /// It could not leave, or not in time.
    pub(super) fn push(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.send(cx, Heeds::Failure)
    }

    /// The same, and waits until all has left.
    ///
    /// # Errors
    /// As there.
    pub(super) fn drain(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.send(cx, Heeds::End)
    }

    fn send(&self, cx: &mut Context<'_>, heeds: Heeds) -> Poll<Result<(), Fault>> {
        let out = &mut *self.out.borrow_mut();
        loop {
            if let Some(sending) = &mut out.sending {
                let sent = if out.collected.is_empty() && heeds == Heeds::Failure {
                    ready!(sending.poll_failed(cx))
                } else {
                    ready!(Pin::new(sending).poll(cx))
                };
                out.sending = None;
                sent.outcome?;
                if let Some(Payload::Bytes(mut bytes)) = sent.payload
                    && bytes.capacity() <= SPARE_MAX
                {
                    bytes.clear();
                    out.spare = bytes;
                }
            }
            if out.collected.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let bytes = std::mem::replace(&mut out.collected, std::mem::take(&mut out.spare));
            let mut pace = Pace::new(self.ring.now(), self.min_rate_per_s);
            pace.count(bytes.len());
            out.sending = Some(self.wire.borrow().send(Payload::Bytes(bytes), pace.due()).quiet());
        }
    }
}

/// A carrier as `h2` has it.
pub(super) struct Io<W>(pub(super) Rc<Carrier<W>>);

impl<W: Borrow<Wire>> AsyncRead for Io<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let carrier = &*self.0;
        let lacks = carrier.unread.borrow().is_none();
        if lacks {
            if carrier.flood.get().is_some() {
                // Whoever drives the connection ends it now, and need not be woken.
                return Poll::Pending;
            }
            match ready!(carrier.wire.borrow().poll_receive_next(cx, carrier.read_due.get())) {
                Ok(Some(chunk)) => carrier.came(chunk),
                Ok(None) => return Poll::Ready(Ok(())),
                Err(Fault::TimedOut) => {
                    carrier.expired.set(true);
                    return Poll::Pending;
                }
                Err(Fault::Os(errno)) => return Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            }
        }
        let unread = &mut *carrier.unread.borrow_mut();
        if let Some(chunk) = unread {
            let count = chunk.len().min(into.remaining());
            into.put_slice(&chunk[..count]);
            chunk.advance(count);
            if chunk.is_empty() {
                *unread = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: Borrow<Wire>> AsyncWrite for Io<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let carrier = &*self.0;
        if carrier.out.borrow().collected.len() >= COLLECTED_MAX {
            // Begins to send, and waits if it was sending already.
            if let Poll::Ready(Err(fault)) = carrier.push(cx) {
                return Poll::Ready(Err(io_error(fault)));
            }
            if carrier.out.borrow().collected.len() >= COLLECTED_MAX {
                return Poll::Pending;
            }
        }
        let collected = &mut carrier.out.borrow_mut().collected;
        let before = collected.len();
        pieces.iter().for_each(|piece| collected.extend_from_slice(piece));
        if let Some(meter) = &mut *carrier.meter.borrow_mut()
            && let Err(flood) = meter.sent(&collected[before..], carrier.ring.now())
        {
            carrier.flood.set(Some(flood));
        }
        Poll::Ready(Ok(collected.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It leaves when whoever drives the connection pushes it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.drain(cx)).map_err(io_error)?;
        self.0.wire.borrow().shutdown_write();
        Poll::Ready(Ok(()))
    }
}

fn io_error(fault: Fault) -> io::Error {
    match fault {
        Fault::TimedOut => io::ErrorKind::TimedOut.into(),
        Fault::Os(errno) => io::Error::from_raw_os_error(errno),
    }
}
