//! One stream of a connection to a backend, which speaks HTTP/1.1 to the proxy.
//!
//! What is sent over it is a request head, whole in the first piece, and its body; what is received is the answer's
//! head and body. Neither direction waits for the other, and any poll of either also moves what of the request has
//! no room yet. Called by `proxy`, as a wire.

use super::ClientConnection;
use super::lost::{Lost, is_no_error};
use super::piece::Piece;
use super::timer::Timer;
use crate::http2::{
    BackendRequest, Decoded, Decoding, Encoding, Expects, read_backend_request, write_backend_answer,
};
use crate::ring::{Chunk, Fault, Payload, Sent};
use crate::time::{Instant, Micros};
use crate::wire::{Layer, Leaving, Secured};
use bytes::Buf;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Room in front of an answer's head, for the one that goes down in its place.
const HEADROOM: usize = 256;

/// Bytes of an answer that are handed out at a time, about.
const PIECE: usize = 16 << 10;

/// A request whose connection says nothing for so long, and that is given up then, takes it for dead.
const SILENCE: Micros = Micros::from_s(1);

/// A stream. Dropping it before it has ended resets it.
pub struct ClientStream(Rc<State>);

struct State {
    connection: Rc<ClientConnection>,
    ways: RefCell<Ways>,
    timer: Timer,
}

struct Ways {
    up: Up,
    down: Down,
    lost: Option<Lost>,
    sent_at: Instant,
}

/// The request's way.
enum Up {
    /// Its head is still to come.
    Head,
    /// Its body goes.
    Body { stream: SendStream<Piece>, body: Decoding, waiting: VecDeque<Frame> },
    /// All of it has gone to `h2`.
    Done(Option<SendStream<Piece>>),
    /// The backend takes no more of it.
    Cut,
}

/// What is still to be sent.
enum Frame {
    Data { piece: Piece, last: bool },
    Trailers(HeaderMap),
}

/// The answer's way.
enum Down {
    /// The request has not gone.
    Nothing,
    /// Its head is awaited.
    Head(ResponseFuture, Expects),
    /// Its body comes.
    Body(RecvStream, Encoding),
    /// It is weir's own, in the backend's place.
    Instead(&'static [u8]),
    /// It was handed out to its end.
    Done,
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
                let payload = Rc::new(payload);
                let decoded = frames(body, payload.as_slice(), waiting, |range| Piece::of(&payload, range));
                if decoded.is_err() {
                    ways.lose(Lost::BROKEN);
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
        let rest = &bytes[len..];
        let mut waiting = VecDeque::new();
        let decoded = frames(&mut body, rest, &mut waiting, |range| Piece::copy(&rest[range]));
        ways.up = Up::Body { stream, body, waiting };
        if decoded.is_err() {
            ways.lose(Lost::BROKEN);
        }
    }

    /// The answer's next bytes.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Fault>> {
        let mut ways = self.ways.borrow_mut();
        ways.pump(cx);
        ways.poll_next(cx)
    }
}

/// Takes the frames out of a piece of a body.
fn frames(
    body: &mut Decoding,
    bytes: &[u8],
    waiting: &mut VecDeque<Frame>,
    piece: impl Fn(std::ops::Range<usize>) -> Piece,
) -> Result<(), crate::http1::BadChunk> {
    let mut came = 0;
    let decoded = body.decode(bytes, |range| {
        waiting.push_back(Frame::Data { piece: piece(range), last: false });
        came += 1;
    })?;
    match decoded {
        Decoded::More => {}
        Decoded::End => match waiting.back_mut() {
            Some(Frame::Data { last, .. }) if came > 0 => *last = true,
            Some(_) | None => waiting.push_back(Frame::Data { piece: Piece::empty(), last: true }),
        },
        Decoded::EndWith(trailers) => waiting.push_back(Frame::Trailers(trailers)),
    }
    Ok(())
}

impl Ways {
    fn lose(&mut self, lost: Lost) {
        self.lost = Some(lost);
        if let Up::Body { stream, .. } | Up::Done(Some(stream)) = &mut self.up {
            // Nothing, if the backend has ended it.
            stream.send_reset(Reason::CANCEL);
        }
        (self.up, self.down) = (Up::Cut, Down::Done);
    }

    /// Hands over to `h2` what of the request there is room for.
    fn pump(&mut self, cx: &mut Context<'_>) {
        let Up::Body { stream, body, waiting } = &mut self.up else { return };
        let mut cut = false;
        while let Some(frame) = waiting.pop_front() {
            let sent = match frame {
                Frame::Trailers(trailers) => stream.send_trailers(trailers),
                Frame::Data { piece, last } if !piece.has_remaining() => stream.send_data(piece, last),
                Frame::Data { mut piece, last } => {
                    let len = piece.remaining();
                    match poll_room(stream, len, cx) {
                        Poll::Pending => {
                            waiting.push_front(Frame::Data { piece, last });
                            return;
                        }
                        Poll::Ready(None) => {
                            cut = true;
                            break;
                        }
                        Poll::Ready(Some(room)) if room < len => {
                            let first = piece.split_to(room);
                            waiting.push_front(Frame::Data { piece, last });
                            stream.send_data(first, false)
                        }
                        Poll::Ready(Some(_)) => stream.send_data(piece, last),
                    }
                }
            };
            if sent.is_err() {
                cut = true;
                break;
            }
        }
        if cut {
            // Why is told by the answer's way.
            self.up = Up::Cut;
        } else if body.is_done() && waiting.is_empty() {
            let Up::Body { stream, .. } = std::mem::replace(&mut self.up, Up::Cut) else { return };
            self.up = Up::Done(Some(stream));
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Fault>> {
        if let Some(lost) = self.lost {
            return Poll::Ready(Err(lost.fault));
        }
        let mut out = Vec::new();
        match &mut self.down {
            Down::Nothing => return Poll::Pending,
            Down::Done => return Poll::Ready(Ok(None)),
            Down::Instead(answer) => {
                out.resize(HEADROOM, 0);
                out.extend_from_slice(answer);
                self.down = Down::Done;
                return Poll::Ready(Ok(Some(Chunk::own(out, HEADROOM))));
            }
            Down::Head(..) => {
                if let Err(lost) = ready!(self.poll_head(cx, &mut out)) {
                    self.lose(lost);
                    return Poll::Ready(Err(lost.fault));
                }
            }
            Down::Body(..) => {}
        }
        let headroom = out.len().min(HEADROOM);
        if let Err(lost) = self.read_body(cx, &mut out) {
            let waits = out.len() > headroom;
            self.lose(lost);
            if !waits {
                return Poll::Ready(Err(lost.fault));
            }
        }
        match (out.len() > headroom, &self.down) {
            (true, _) => Poll::Ready(Ok(Some(Chunk::own(out, headroom)))),
            (false, Down::Done) => Poll::Ready(Ok(None)),
            (false, _) => Poll::Pending,
        }
    }

    /// Writes the answer's head, or an interim one; then its body is what comes, or the next head.
    fn poll_head(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<(), Lost>> {
        let Down::Head(response, expects) = &mut self.down else { return Poll::Ready(Ok(())) };
        let begin = |out: &mut Vec<u8>| {
            out.reserve(HEADROOM + 1024);
            out.resize(HEADROOM, 0);
        };
        match ready!(response.poll_informational(cx)) {
            Some(Ok(interim)) => {
                begin(out);
                let written = write_backend_answer(interim.status(), interim.headers(), expects, false, out);
                return Poll::Ready(written.map(drop).map_err(|_| Lost::BROKEN));
            }
            Some(Err(error)) => return Poll::Ready(Err(Lost::of(&error))),
            None => {}
        }
        let (head, body) = match ready!(Pin::new(response).poll(cx)) {
            Ok(answer) => answer.into_parts(),
            Err(error) => return Poll::Ready(Err(Lost::of(&error))),
        };
        begin(out);
        let ended = body.is_end_stream();
        let written = write_backend_answer(head.status, &head.headers, expects, ended, out);
        let Ok(encoding) = written else { return Poll::Ready(Err(Lost::BROKEN)) };
        self.down = Down::Body(body, encoding);
        Poll::Ready(Ok(()))
    }

    /// Appends what of the body has come, and gives the backend room for as much.
    fn read_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Lost> {
        let Down::Body(body, encoding) = &mut self.down else { return Ok(()) };
        if *encoding == Encoding::Nothing && body.is_end_stream() {
            self.down = Down::Done;
            return Ok(());
        }
        while out.len() < PIECE {
            match body.poll_data(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(data))) => {
                    out.reserve(data.len() + Encoding::OVERHEAD);
                    encoding.data(&data, out).map_err(|_| Lost::BROKEN)?;
                    body.flow_control().release_capacity(data.len()).map_err(|error| Lost::of(&error))?;
                }
                Poll::Ready(Some(Err(error))) if !is_no_error(&error) => return Err(Lost::of(&error)),
                ended => {
                    let trailers = match (ended, body.poll_trailers(cx)) {
                        (Poll::Ready(None), Poll::Ready(Ok(trailers))) => trailers,
                        (Poll::Ready(None), Poll::Ready(Err(error))) if !is_no_error(&error) => {
                            return Err(Lost::of(&error));
                        }
                        (_, _) => None,
                    };
                    encoding.end(trailers.as_ref(), out).map_err(|_| Lost::BROKEN)?;
                    self.down = Down::Done;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether all that was sent has gone to `h2`; an error if some of it never will.
    fn sent(&self) -> Poll<Result<(), Lost>> {
        let cut = Lost { fault: Fault::Os(libc::EPIPE), untouched: false };
        if let Some(lost) = self.lost {
            return Poll::Ready(Err(Lost { fault: cut.fault, ..lost }));
        }
        match &self.up {
            Up::Body { waiting, .. } if waiting.is_empty() => Poll::Ready(Ok(())),
            // Who has answered all the same need not take the rest.
            Up::Body { .. } if matches!(self.down, Down::Done) => Poll::Ready(Err(cut)),
            Up::Body { .. } => Poll::Pending,
            Up::Head | Up::Done(_) => Poll::Ready(Ok(())),
            Up::Cut if matches!(self.down, Down::Instead(_)) => Poll::Ready(Ok(())),
            Up::Cut => Poll::Ready(Err(cut)),
        }
    }
}

/// How much of `len` bytes there is room for; `None`: the stream takes no more.
fn poll_room(stream: &mut SendStream<Piece>, len: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    stream.reserve_capacity(len);
    match stream.capacity() {
        0 => Poll::Ready(match ready!(stream.poll_capacity(cx)) {
            Some(Ok(room)) => Some(room),
            Some(Err(_)) | None => None,
        }),
        room => Poll::Ready(Some(room)),
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

    fn poll_receive_next(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        self.poll_receive(cx, due)
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
    fn quiet(&mut self) {
        // Nobody is woken but by what he polls.
    }

    fn quiet_and_done(&mut self) {
        self.payload = None;
    }

    fn went_well(&self) -> bool {
        matches!(self.state.ways.borrow().sent(), Poll::Ready(Ok(())))
    }

    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        self.poll_sent(cx)
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
            ways.lose(Lost::BROKEN);
        }
    }
}
