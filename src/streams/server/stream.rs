//! A stream of a client's connection, as a layer: it gives the request as HTTP/1.1 and takes the answer as such.
//!
//! What the client sends is taken from `h2` when somebody asks for it, and only then is the window that it took
//! given back, so flow control reaches from the backend to the client. Made by `driver.rs`, used by `proxy`.

use super::answering::Answering;
use super::driver::Shared;
use super::leaving::{Away, Failed, Waits};
use super::piece::Left;
use crate::http2::Encoding;
use crate::ring::{Chunk, Fault, Payload};
use crate::streams::timer::Timer;
use crate::time::Instant;
use crate::wire::{Layer, Leaving, Secured};
use bytes::Bytes;
use h2::RecvStream;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes that are taken at a time.
const TAKEN_MAX: usize = 16 << 10;

/// What comes from the client.
struct Asking {
    /// The head, until it is taken.
    head: Option<Vec<u8>>,
    /// `None`: it is kept elsewhere, until it ends.
    stream: Option<RecvStream>,
    encoding: Encoding,
    /// All has come, or nothing more is wanted.
    ended: bool,
}

/// A stream.
pub(super) struct ServerStream {
    shared: Rc<Shared>,
    asking: RefCell<Asking>,
    answering: RefCell<Answering>,
    timer: Timer,
    resets: Cell<bool>,
}

impl ServerStream {
    pub(super) fn new(
        shared: &Rc<Shared>,
        head: Vec<u8>,
        encoding: Encoding,
        stream: RecvStream,
        answering: Answering,
    ) -> Self {
        shared.begin();
        let ended = encoding == Encoding::Nothing;
        let asking = Asking { head: Some(head), stream: Some(stream), encoding, ended };
        Self {
            shared: shared.clone(),
            asking: RefCell::new(asking),
            answering: RefCell::new(answering),
            timer: Timer::default(),
            resets: Cell::new(false),
        }
    }
}

/// The stream, or its connection, has failed.
fn reset(_: h2::Error) -> Fault {
    Fault::Os(libc::ECONNRESET)
}

impl Asking {
    /// What has come of the body, as HTTP/1.1; `None`: all has been taken.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Fault>> {
        let mut out = Vec::new();
        while let Some(stream) = &mut self.stream
            && !self.ended
            && out.len() < TAKEN_MAX
        {
            match stream.poll_data(cx) {
                Poll::Ready(Some(data)) => self.add(data, &mut out)?,
                Poll::Ready(None) => match stream.poll_trailers(cx) {
                    Poll::Ready(trailers) => {
                        let trailers = trailers.map_err(reset)?;
                        self.ended = true;
                        let ended = self.encoding.end(trailers.as_ref(), &mut out);
                        ended.map_err(|_| Fault::Os(libc::EPROTO))?;
                    }
                    Poll::Pending => break,
                },
                Poll::Pending => break,
            }
        }
        match (out.is_empty(), self.ended) {
            (false, _) => Poll::Ready(Ok(Some(Chunk::own(out, 0)))),
            (true, true) => Poll::Ready(Ok(None)),
            (true, false) => Poll::Pending,
        }
    }

    fn add(&mut self, data: Result<Bytes, h2::Error>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let data = data.map_err(reset)?;
        if out.is_empty() {
            out.reserve(data.len() + Encoding::OVERHEAD);
        }
        self.encoding.data(&data, out).map_err(|_| Fault::Os(libc::EPROTO))?;
        let Some(stream) = &mut self.stream else { return Ok(()) };
        // It fails only if more is given back than came.
        let _ = stream.flow_control().release_capacity(data.len());
        if stream.is_end_stream() {
            self.ended = true;
            self.encoding.end(None, out).map_err(|_| Fault::Os(libc::EPROTO))?;
        }
        Ok(())
    }
}

impl Layer for ServerStream {
    fn poll_receive(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        let asking = &mut *self.asking.borrow_mut();
        if let Some(head) = asking.head.take() {
            return Poll::Ready(Ok(Some(Chunk::own(head, 0))));
        }
        let polled = asking.poll_body(cx);
        if polled.is_pending() && self.timer.is_over(&self.shared.ring, due, cx) {
            return Poll::Ready(Err(Fault::TimedOut));
        }
        polled
    }

    fn received(&self) -> Option<Chunk> {
        None
    }

    fn is_quiet(&self) -> bool {
        false
    }

    fn watch(&self) -> bool {
        true
    }

    fn send(&self, payload: Payload, due: Instant) -> Box<dyn Leaving> {
        let mut answering = self.answering.borrow_mut();
        answering.send(&self.shared.ring, payload, due)
    }

    fn send_gathered(&self, chunks: Vec<Chunk>, due: Instant) -> Box<dyn Leaving> {
        let mut answering = self.answering.borrow_mut();
        let mut last: Option<Rc<Left>> = None;
        for chunk in chunks {
            match answering.hand_over(Payload::Chunk(chunk)) {
                // They leave in order.
                Ok(left) => last = left.or(last),
                Err(fault) => return Box::new(Failed(fault)),
            }
        }
        match last {
            Some(left) => Box::new(Waits::new(&self.shared.ring, left, due)),
            None => Box::new(Away),
        }
    }

    fn shutdown_write(&self) {
        let mut answering = self.answering.borrow_mut();
        answering.shutdown();
        if answering.is_whole() && self.asking.borrow().encoding != Encoding::Raw {
            // The rest of the request is of no interest: the stream ends when it is dropped.
            self.asking.borrow_mut().ended = true;
        }
    }

    fn gone(&self, _: bool) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        // The end of what a client sends is the end of its request, and says nothing else.
        Box::pin(poll_fn(|cx| self.answering.borrow_mut().poll_gone(cx)))
    }

    fn is_gone(&self, _: bool) -> bool {
        let mut answering = self.answering.borrow_mut();
        answering.poll_gone(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn reset_on_close(&self) {
        self.resets.set(true);
    }

    fn number(&self) -> Option<RawFd> {
        None
    }

    fn secured(&self) -> Option<&Secured> {
        self.shared.secured.as_ref()
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        let answering = self.answering.get_mut();
        if self.resets.get() {
            answering.reset();
        } else {
            answering.abandon();
            let asking = self.asking.get_mut();
            if answering.is_whole()
                && asking.encoding == Encoding::Length(0)
                && let Some(stream) = asking.stream.take()
            {
                // One too many is reset by its drop.
                let _ = self.shared.ending.keep(stream, self.shared.ring.now());
            }
        }
        self.shared.end();
    }
}
