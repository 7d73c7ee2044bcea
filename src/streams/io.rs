//! A wire as the `h2` crate wants it: what it reads from and writes to.
//!
//! What it writes is collected and leaves by one send at a time: as soon as that has left, what was collected
//! meanwhile goes. So frames of many streams share a send, and a peer that does not read holds up one send and
//! [`UNSENT_MAX`] bytes; then the connection takes no more, and its streams get no capacity. Called by `h2`.

use crate::ring::{Chunk, Fault, Payload, Ring};
use crate::time::Instant;
use crate::wire::{Sending, Wire};
use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait for the send before them, from which no more are taken.
const UNSENT_MAX: usize = 64 << 10;

/// Bytes of memory that a connection keeps for its next send.
const SPARE_MAX: usize = 16 << 10;

/// A wire, read from and written to.
pub(super) struct Io {
    ring: Ring,
    wire: Wire,
    /// Received, and not read to its end.
    unread: Option<Chunk>,
    unsent: Vec<u8>,
    leaving: Option<Sending>,
    spare: Vec<u8>,
    heard: Rc<Cell<Instant>>,
}

impl Io {
    /// Over this wire.
    pub(super) fn new(ring: &Ring, wire: Wire) -> Self {
        Self {
            ring: ring.clone(),
            wire,
            unread: None,
            unsent: Vec::new(),
            leaving: None,
            spare: Vec::new(),
            heard: Rc::new(Cell::new(ring.now())),
        }
    }

    /// When something came last.
    pub(super) fn heard(&self) -> Rc<Cell<Instant>> {
        self.heard.clone()
    }

    /// Has what was collected leave; ready when at most one send is under way, and nothing waits for it.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(leaving) = &mut self.leaving else {
                if self.unsent.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let bytes = std::mem::replace(&mut self.unsent, std::mem::take(&mut self.spare));
                self.leaving = Some(self.wire.send(Payload::Bytes(bytes), Instant::NEVER).quiet());
                continue;
            };
            let polled = if self.unsent.is_empty() {
                // Nobody need run when it has left well.
                leaving.poll_failed(cx)
            } else {
                Pin::new(leaving).poll(cx)
            };
            let Poll::Ready(sent) = polled else {
                return if self.unsent.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending };
            };
            self.leaving = None;
            if let Some(Payload::Bytes(mut bytes)) = sent.payload
                && bytes.capacity() <= SPARE_MAX
            {
                bytes.clear();
                self.spare = bytes;
            }
            sent.outcome.map_err(error)?;
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        let mut chunk = match io.unread.take() {
            Some(chunk) => chunk,
            None => match ready!(io.wire.poll_receive(cx, Instant::NEVER)) {
                Ok(Some(chunk)) => {
                    io.heard.set(io.ring.now());
                    chunk
                }
                Ok(None) => return Poll::Ready(Ok(())),
                Err(fault) => return Poll::Ready(Err(error(fault))),
            },
        };
        let count = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..count]);
        chunk.advance(count);
        if !chunk.is_empty() {
            io.unread = Some(chunk);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = self.get_mut();
        if io.unsent.len() >= UNSENT_MAX {
            ready!(io.poll_leave(cx))?;
        }
        let before = io.unsent.len();
        bufs.iter().for_each(|buf| io.unsent.extend_from_slice(buf));
        Poll::Ready(Ok(io.unsent.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_leave(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = self.get_mut();
        ready!(io.poll_leave(cx))?;
        if let Some(leaving) = &mut io.leaving {
            let sent = ready!(Pin::new(leaving).poll(cx));
            io.leaving = None;
            sent.outcome.map_err(error)?;
        }
        io.wire.shutdown_write();
        Poll::Ready(Ok(()))
    }
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::TimedOut => io::ErrorKind::TimedOut.into(),
        Fault::Os(errno) => io::Error::from_raw_os_error(errno),
    }
}
