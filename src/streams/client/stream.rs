//! One stream of a connection to a backend, which speaks HTTP/1.1 to the proxy.
//!
//! What is sent over it is a request head, whole in the first piece, and its body; what is received is the answer's
//! head and body. Neither direction waits for the other, and any poll of either also moves what of the request has
//! no room yet. Called by `proxy`, as a wire.

use super::ClientConnection;
use super::lost::Lost;
use super::piece::Piece;
use super::ways::{Down, Frame, Up, Ways, frames};
use crate::http2::{BackendRequest, Decoding, Encoding, Expects, read_backend_request};
use crate::ring::{Chunk, Fault, Payload, Sent};
use crate::streams::timer::Timer;
use crate::time::{Instant, Micros};
use crate::wire::{Layer, Leaving, Secured};
use h2::ext::Protocol;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A request whose connection says nothing for so long, and that is given up then, takes it for dead.
const SILENCE: Micros = Micros::from_s(1);

/// A stream. Dropping it before it has ended resets it.
pub struct ClientStream(Rc<State>);

struct State {
    connection: Rc<ClientConnection>,
    ways: RefCell<Ways>,
    timer: Timer,
}

impl ClientStream {
    pub(super) fn new(connection: Rc<ClientConnection>) -> Self {
        let sent_at = connection.ring.now();
        let ways = Ways { up: Up::Head, down: Down::Nothing, lost: None, sent_at };
        Self(Rc::new(State { connection, ways: RefCell::new(ways), timer: Timer::default() }))
    }

    /// Tells, when it is over, what it came to.
    pub fn fate(&self) -> Fate {
        Fate(self.0.clone())
    }
}

/// What becomes of a stream.
pub struct Fate(Rc<State>);

impl Fate {
    /// The backend has not begun with its request.
    pub fn is_untouched(&self) -> bool {
        self.0.ways.borrow().lost.is_some_and(|lost| lost.untouched)
    }

    /// Whether the stream was lost with its connection. That says nothing of its exchange.
    pub fn is_its_connections(&self) -> bool {
        self.0.ways.borrow().lost.is_some() && self.0.connection.is_retired()
    }
}

impl State {
    /// Sends a piece of the request.
    fn send(&self, payload: Payload) -> Option<Payload> {
        let mut ways = self.ways.borrow_mut();
        if ways.lost.is_some() {
            return Some(payload);
        }
        let back = match &mut ways.up {
            Up::Head => {
                self.begin(&mut ways, payload.as_slice());
                Some(payload)
            }
            Up::Body { body, waiting, .. } => {
                if frames(body, &Rc::new(payload), waiting).is_err() {
                    ways.lose(Lost::GIVEN_UP);
                }
                None
            }
            // What comes behind a body that is done is for nobody.
            Up::Done(_) | Up::Cut => None,
        };
        ways.pump(&mut Context::from_waker(Waker::noop()));
        back
    }

    /// Sends the head, and what of the body is behind it. That is copied: the whole piece goes back to the proxy,
    /// which may have to send it elsewhere.
    fn begin(&self, ways: &mut Ways, bytes: &[u8]) {
        let terms = self.connection.terms();
        let read = read_backend_request(bytes, &terms, &mut self.connection.scratch.borrow_mut());
        let BackendRequest { len, mut request, mut body, expects } = match read {
            Ok(read) => read,
            Err(why) => {
                ways.down = Down::Instead(why.answer());
                ways.up = Up::Cut;
                return;
            }
        };
        if matches!(expects, Expects::WebSocket(_)) {
            request.extensions_mut().insert(Protocol::from_static("websocket"));
        }
        ways.sent_at = self.connection.ring.now();
        let (response, stream) = match self.connection.request(request, body.is_done()) {
            Ok(opened) => opened,
            Err(_) => return ways.lose(Lost::NOT_SENT),
        };
        ways.down = Down::Head(response, expects);
        if body.is_done() {
            ways.up = Up::Done(Some(stream));
            return;
        }
        let rest = Rc::new(Payload::Bytes(bytes[len..].to_vec()));
        let mut waiting = VecDeque::new();
        let decoded = frames(&mut body, &rest, &mut waiting);
        ways.up = Up::Body { stream, body, waiting };
        if decoded.is_err() {
            ways.lose(Lost::GIVEN_UP);
        }
    }

    /// The answer's next bytes.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Fault>> {
        let mut ways = self.ways.borrow_mut();
        ways.pump(cx);
        ways.poll_next(cx)
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let State { connection, ways, .. } = &*self.0;
        let mut ways = ways.borrow_mut();
        let unanswered = matches!(ways.down, Down::Head(..));
        let silent = connection.heard.get() <= ways.sent_at;
        if unanswered && silent && connection.ring.now().since(ways.sent_at) >= SILENCE {
            // Whoever comes next does not wait for what may be dead.
            connection.retire();
        }
        let refused = ways.lost.is_some_and(|lost| lost.untouched);
        let down = std::mem::replace(&mut ways.down, Down::Done);
        let up = std::mem::replace(&mut ways.up, Up::Cut);
        if let (Down::Body(body, Encoding::Nothing | Encoding::Length(0)), Up::Done(_)) = (down, up)
            && !body.is_end_stream()
            && connection.let_end(body).is_ok()
        {
            return;
        }
        connection.give_back(refused);
    }
}

impl Layer for ClientStream {
    fn poll_receive(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        let polled = self.0.poll_next(cx);
        if polled.is_pending() && self.0.timer.is_over(&self.0.connection.ring, due, cx) {
            return Poll::Ready(Err(Fault::TimedOut));
        }
        polled
    }

    fn received(&self) -> Option<Chunk> {
        match self.0.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(chunk)) => chunk,
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    fn is_quiet(&self) -> bool {
        let ways = self.0.ways.borrow();
        ways.lost.is_none() && matches!(ways.down, Down::Nothing | Down::Head(..))
    }

    fn watch(&self) -> bool {
        true
    }

    fn send(&self, payload: Payload, due: Instant) -> Box<dyn Leaving> {
        let payload = self.0.send(payload);
        Box::new(Handing { state: self.0.clone(), payload, due, timer: Timer::default() })
    }

    fn send_gathered(&self, chunks: Vec<Chunk>, due: Instant) -> Box<dyn Leaving> {
        chunks.into_iter().for_each(|chunk| drop(self.0.send(Payload::Chunk(chunk))));
        Box::new(Handing { state: self.0.clone(), payload: None, due, timer: Timer::default() })
    }

    fn shutdown_write(&self) {
        let mut ways = self.0.ways.borrow_mut();
        if let Up::Body { body, waiting, .. } = &mut ways.up {
            *body = Decoding::Nothing;
            waiting.push_back(Frame::Data { piece: Piece::empty(), last: true });
            ways.pump(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn gone(&self, _half_close: bool) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(poll_fn(|cx| {
            let mut ways = self.0.ways.borrow_mut();
            match &mut ways.up {
                Up::Body { stream, .. } | Up::Done(Some(stream)) => stream.poll_reset(cx).map(drop),
                Up::Head | Up::Done(None) => Poll::Pending,
                Up::Cut => Poll::Ready(()),
            }
        }))
    }

    fn is_gone(&self, _half_close: bool) -> bool {
        self.0.ways.borrow().lost.is_some()
    }

    fn reset_on_close(&self) {
        // It is reset anyhow, unless both sides have ended it.
    }

    fn number(&self) -> Option<RawFd> {
        None
    }

    fn secured(&self) -> Option<&Secured> {
        None
    }
}

/// A piece on its way to `h2`. Given up before it is there, it takes the stream with it.
struct Handing {
    state: Rc<State>,
    /// The piece, for whoever has to send it elsewhere.
    payload: Option<Payload>,
    due: Instant,
    timer: Timer,
}

impl Leaving for Handing {
    fn quiet_and_done(&mut self) {
        self.payload = None;
    }

    fn went_well(&self) -> bool {
        matches!(self.state.ways.borrow().sent(), Poll::Ready(Ok(())))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        let mut ways = self.state.ways.borrow_mut();
        ways.pump(cx);
        let outcome = match ways.sent() {
            Poll::Ready(outcome) => outcome,
            Poll::Pending if self.timer.is_over(&self.state.connection.ring, self.due, cx) => {
                let late = Lost { fault: Fault::TimedOut, untouched: false };
                ways.lose(late);
                Err(late)
            }
            Poll::Pending => return Poll::Pending,
        };
        let untouched = outcome.is_err_and(|lost| lost.untouched);
        Poll::Ready(Sent {
            outcome: outcome.map_err(|lost| lost.fault),
            untouched,
            payload: self.payload.take(),
        })
    }
}

impl Drop for Handing {
    fn drop(&mut self) {
        let mut ways = self.state.ways.borrow_mut();
        if ways.sent().is_pending() {
            ways.lose(Lost::GIVEN_UP);
        }
    }
}
