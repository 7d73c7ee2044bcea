//! A client's HTTP/2 connection: accepts its streams, watches over it, and says goodbye.
//!
//! What may be open at once counts until it is over at the backend, and not only until the client has reset it; a
//! flood closes the connection. Not here: what is done with a stream, for which [`Serves`] stands. Called by `proxy`.

use super::answering::Answering;
use super::piece::Piece;
use super::stream::ServerStream;
use crate::http1::Method;
use crate::http2::{Asked, Flood, Malformed, Meter, RequestFields, write_request_head};
use crate::ring::{Chunk, Fault, Ring};
use crate::streams::carrier::{Carrier, Io};
use crate::streams::ending::Ending;
use crate::sys::random;
use crate::time::{Instant, Micros};
use crate::wire::{Secured, Wire};
use h2::ext::Protocol;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Bytes of a stream's window: what a backend that does not read makes weir keep of it.
const STREAM_WINDOW: u32 = 64 << 10;

/// Bytes of a connection's, at least; else a whole window for each of its streams, so that those whose backends do
/// not read hold up no other.
const CONNECTION_WINDOW_MIN: u32 = 1 << 20;

/// The largest window that there is (RFC 9113 §6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Streams that errors of the client made `h2` reset, in all of a connection's life; the meter has its own budget.
const ERRORS_MAX: usize = 1024;

/// Streams that came and were reset in one turn, for each that may be open: all are accepted when it ends. The meter
/// has the last word.
const UNACCEPTED_PER_STREAM: usize = 2;

/// And how many at least.
const UNACCEPTED_MIN: usize = 64;

/// Streams that were reset and are remembered, so that what was on its way for them is no fault.
const REMEMBERED_MAX: usize = 128;

/// How long they are.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// Bytes of one stream that `h2` takes at once beyond its window.
const SEND_BUFFER: usize = 64 << 10;

/// What small pieces of bodies that wait may cost more than their bytes, as `h2` reckons (256 for each, less its
/// bytes): a whole window of the smallest messages of gRPC, each in a frame of its own, when its backend does not read.
/// Beyond it `h2` ends the connection.
const SMALL_PIECES: usize = 3 << 20;

/// After a goodbye: how long a client may take to close.
const GOODBYE: Micros = Micros::from_s(1);

/// What a connection is served by.
pub trait Serves {
    /// A stream's request: starts to serve it.
    fn serve(&self, stream: Wire);

    /// The connection waits for its client from now on.
    fn waits(&self);

    /// It has a stream from now on.
    fn works(&self);

    /// Whether it ends with the streams that it has.
    fn is_closing(&self) -> bool;

    /// When it will, if nothing else has it end before.
    fn closes_at(&self) -> Instant;

    /// A request was malformed, and answered with 400.
    fn malformed(&self, why: Malformed);

    /// It is closed for this.
    fn flooded(&self, flood: Flood);
}

/// How a connection is served.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// Streams at once.
    pub max_streams: u32,
    /// Bytes of a request's fields, as HTTP/2 counts them.
    pub max_head: u32,
    /// Until the first request, and for the rest of one that has begun.
    pub head_timeout: Micros,
    /// How long it may wait for a request.
    pub idle_timeout: Micros,
    /// Bytes a second that the client must take; 0: any.
    pub min_rate_per_s: u64,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the client, or with a goodbye.
    Well,
    /// It could not be sent to: it must be reset, since an end would queue behind what it does not read.
    Stuck,
}

/// What the streams of a connection share.
pub(super) struct Shared {
    pub(super) ring: Ring,
    pub(super) secured: Option<Secured>,
    /// Bytes of answers that `h2` holds.
    held: Rc<Cell<usize>>,
    /// Streams that are answered, and whose clients have yet to end them.
    pub(super) ending: Ending,
    /// Streams whose tasks live.
    running: Cell<usize>,
    max_streams: usize,
    driver: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn begin(&self) {
        self.running.set(self.running.get() + 1);
    }

    pub(super) fn end(&self) {
        let running = self.running.get();
        self.running.set(running - 1);
        if (running == 1 || running == self.max_streams)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// Waits until no stream is left.
    fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        if self.running.get() == 0 {
            return Poll::Ready(());
        }
        self.heed(cx);
        Poll::Pending
    }

    /// Has `cx` woken when a stream's end matters.
    fn heed(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }
}

/// Serves a connection over `wire`, of which `unread` has come already, until it ends.
pub async fn serve(
    ring: &Ring,
    wire: &Wire,
    unread: Option<Chunk>,
    settings: &ServerSettings,
    serves: &dyn Serves,
) -> Ended {
    let meter = Meter::new(settings.max_streams, ring.now());
    let carrier = Carrier::new(ring, wire, unread, Some(meter), settings.min_rate_per_s);
    let begun = ring.now();
    carrier.read_by(begun.deadline(settings.head_timeout));
    let Some(connection) = handshake(&carrier, settings).await else { return Ended::Well };
    let shared = Rc::new(Shared {
        ring: ring.clone(),
        secured: wire.secured().cloned(),
        held: Rc::default(),
        ending: Ending::default(),
        running: Cell::new(0),
        max_streams: settings.max_streams as usize,
        driver: RefCell::default(),
    });
    let mut driver = Driver {
        connection,
        carrier,
        shared,
        settings,
        serves,
        waiting_since: Some(begun),
        waiting: VecDeque::new(),
        served: false,
        goodbye: None,
        over: false,
    };
    let ended = poll_fn(|cx| driver.poll(cx)).await;
    let Driver { connection, shared, .. } = driver;
    // With it the streams that are left are told; they end on their own.
    drop(connection);
    poll_fn(|cx| shared.poll_over(cx)).await;
    ended
}

/// The preface and the settings; `None`: the client did not come so far.
async fn handshake<'a>(
    carrier: &Rc<Carrier<&'a Wire>>,
    settings: &ServerSettings,
) -> Option<Connection<Io<&'a Wire>, Piece>> {
    let mut builder = Builder::new();
    let connection_window = STREAM_WINDOW.saturating_mul(settings.max_streams);
    let unaccepted_max = UNACCEPTED_MIN.max(UNACCEPTED_PER_STREAM * settings.max_streams as usize);
    builder
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(settings.max_head)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window.clamp(CONNECTION_WINDOW_MIN, WINDOW_MAX))
        .max_local_error_reset_streams(Some(ERRORS_MAX))
        .max_pending_accept_reset_streams(unaccepted_max)
        .max_concurrent_reset_streams(REMEMBERED_MAX)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_PIECES)
        .enable_connect_protocol();
    let mut handshake = pin!(builder.handshake(Io(carrier.clone())));
    poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        if carrier.has_expired() || matches!(carrier.push(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        shaken.map(Result::ok)
    })
    .await
}

/// What drives one connection.
struct Driver<'a> {
    connection: Connection<Io<&'a Wire>, Piece>,
    carrier: Rc<Carrier<&'a Wire>>,
    shared: Rc<Shared>,
    settings: &'a ServerSettings,
    serves: &'a dyn Serves,
    /// Since when there is no stream.
    waiting_since: Option<Instant>,
    /// Requests that have no place yet, since streams that are over for the client are not over at the backend.
    waiting: VecDeque<(Request<RecvStream>, SendResponse<Piece>)>,
    /// A request has come.
    served: bool,
    /// When the goodbye was said.
    goodbye: Option<Instant>,
    /// The last that is to be said has been.
    over: bool,
}

impl Driver<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.shared.heed(cx);
        loop {
            self.open_waiting();
            let closes_at = if self.goodbye.is_none() { self.serves.closes_at() } else { Instant::NEVER };
            let due = self.due().min(closes_at);
            self.carrier.read_by(due);
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.accepted(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    self.tell(&error);
                    return self.poll_end(cx);
                }
                Poll::Ready(None) => return self.poll_end(cx),
                Poll::Pending if self.look_after() => {}
                Poll::Pending => break,
            }
        }
        self.shared.ending.sweep(self.shared.ring.now());
        match self.carrier.push(cx) {
            Poll::Ready(Err(Fault::TimedOut)) => Poll::Ready(Ended::Stuck),
            Poll::Ready(Err(Fault::Os(_))) => Poll::Ready(Ended::Well),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// `h2` ends a flood that it notices itself.
    fn tell(&mut self, error: &h2::Error) {
        let is_flood = error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        if is_flood && !std::mem::replace(&mut self.over, true) {
            self.serves.flooded(Flood::Frames);
        }
    }

    /// What was said last must have left.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.carrier.drain(cx).map(|drained| match drained {
            Err(Fault::TimedOut) => Ended::Stuck,
            Ok(()) | Err(Fault::Os(_)) => Ended::Well,
        })
    }

    /// Until when the client is waited for.
    fn due(&mut self) -> Instant {
        let now = self.shared.ring.now();
        if self.shared.running.get() > 0 {
            if self.waiting_since.take().is_some() {
                self.serves.works();
            }
            return Instant::NEVER;
        }
        let since = *self.waiting_since.get_or_insert_with(|| {
            self.serves.waits();
            now
        });
        match self.goodbye {
            Some(said) => said.max(since).deadline(GOODBYE),
            None if !self.served || self.carrier.is_amid() => since.deadline(self.settings.head_timeout),
            None => since.deadline(self.settings.idle_timeout),
        }
    }

    /// What must be done beside the streams; whether anything was.
    fn look_after(&mut self) -> bool {
        if self.over {
            return false;
        }
        if let Some(flood) = self.carrier.take_flood() {
            self.serves.flooded(flood);
            return self.say_last(Reason::ENHANCE_YOUR_CALM);
        }
        let expired = self.carrier.has_expired();
        if self.goodbye.is_none() && self.serves.is_closing() {
            self.begin_goodbye();
            return true;
        }
        if expired && self.due() <= self.shared.ring.now() {
            return self.say_last(Reason::NO_ERROR);
        }
        // A wait that was interrupted begins again.
        expired
    }

    /// No more streams are accepted once the client knows; those that there are go on.
    fn begin_goodbye(&mut self) {
        self.goodbye = Some(self.shared.ring.now());
        self.connection.graceful_shutdown();
    }

    /// Ends the connection, and all of its streams.
    fn say_last(&mut self, reason: Reason) -> bool {
        self.over = true;
        self.connection.abrupt_shutdown(reason);
        true
    }

    fn has_room(&self) -> bool {
        self.shared.running.get() < self.shared.max_streams
    }

    /// A request has come. Those that may be open at once bound how many wait: one that the client has reset makes room
    /// for another, and is let go of.
    fn accepted(&mut self, request: Request<RecvStream>, respond: SendResponse<Piece>) {
        if self.has_room() {
            return self.open(request, respond);
        }
        if self.waiting.len() >= self.shared.max_streams {
            self.waiting.retain_mut(|(_, respond)| !is_reset(respond));
        }
        self.waiting.push_back((request, respond));
    }

    /// Opens those that wait, as far as there is room; none any more of a connection that was ended for a flood.
    fn open_waiting(&mut self) {
        if self.over {
            self.waiting.clear();
        }
        while self.has_room()
            && let Some((request, mut respond)) = self.waiting.pop_front()
        {
            if !is_reset(&mut respond) {
                self.open(request, respond);
            }
        }
    }

    /// A stream's request.
    fn open(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Piece>) {
        self.served = true;
        let (parts, stream) = request.into_parts();
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        let fields = RequestFields {
            method: &parts.method,
            uri: &parts.uri,
            protocol,
            fields: &parts.headers,
            ends: stream.is_end_stream(),
            seed: if protocol.is_some() { seed() } else { 0 },
        };
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let encoding = match write_request_head(&fields, &mut head) {
            Ok(encoding) => encoding,
            Err(why) => {
                self.serves.malformed(why);
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                // A stream that is gone need not be told.
                let _ = respond.send_response(response, true);
                return;
            }
        };
        let asked = match protocol {
            Some("websocket") => Asked::WebSocket,
            // As an HTTP/1.1 answer's body depends on it.
            _ => Asked::Request(if parts.method == http::Method::HEAD { Method::Head } else { Method::Get }),
        };
        let answering = Answering::new(respond, asked, &self.shared.held);
        let stream = ServerStream::new(&self.shared, head, encoding, stream, answering);
        self.serves.serve(Wire::Layered(Box::new(stream)));
    }
}

/// Whether the client has reset the stream that this answers.
fn is_reset(respond: &mut SendResponse<Piece>) -> bool {
    respond.poll_reset(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Memory for a head; one that is larger grows.
const HEAD_BYTES: usize = 512;

/// What the key of a WebSocket is made of.
fn seed() -> u128 {
    let [a, b, ..] = random::seed();
    u128::from(a) << 64 | u128::from(b)
}
