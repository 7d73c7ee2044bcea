//! Connections to HTTP/2 backends: one that is driven by a task of its shard, and the streams opened on it.
//!
//! Many exchanges share a connection, so nothing that one of them or its client does may hold up the others: the
//! connection's window has room for a whole window of each stream, a stream gives room back only when its client has
//! taken the bytes, and what the backend does to a stream costs that stream. The backend's SETTINGS are awaited
//! before the first stream: they say how many there may be, and whoever sends none does not speak HTTP/2. Here: the
//! connection as all its streams see it, and its driver. Not here: one stream (`stream.rs`, `ways.rs`), which connection is
//! taken, and for how long one is kept (`upstream`).

mod lost;
mod piece;
mod stream;
mod ways;

pub use stream::{ClientStream, Fate};

use super::carrier::{Carrier, Io};
use super::ending::Ending;
use crate::http1::Fields;
use crate::http2::Terms;
use crate::ring::{Fault, Ring};
use crate::time::{Instant, Micros};
use crate::wire::Wire;
use h2::client::{Builder, Connection, SendRequest};
use h2::{RecvStream, SendStream};
use http::uri::Scheme;
use piece::Piece;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Streams on one connection, whatever its backend allows. More would save no connection worth saving, and lose
/// more exchanges with it.
pub const STREAMS_MAX: usize = 100;

/// Bytes of a response that a backend may send before its client has taken any.
const STREAM_WINDOW: u32 = 64 << 10;

/// The same of all responses of a connection: a whole window for each, so that clients that do not read hold up
/// nobody else.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;

/// What small pieces of answers that wait for their clients may cost more than their bytes, as `h2` reckons (256 for
/// each, less its bytes): a window of gRPC's smallest messages for a dozen of clients that do not read. Beyond it `h2`
/// ends the connection, with all its exchanges.
const SMALL_PIECES: usize = 32 << 20;

/// Bytes of a request's body that wait for the socket.
const SEND_BUFFER: usize = 64 << 10;

/// Bytes of a response's head, as HTTP/2 counts them: name, value and 32 for each field (RFC 9113 §6.5.2).
const HEAD_MAX: u32 = 64 << 10;

/// How long a connection that is of no more use may take to say so and close.
const CLOSING: Micros = Micros::from_s(1);

/// Why there is no HTTP/2 connection.
#[derive(Debug, thiserror::Error)]
pub enum NotEstablished {
    /// The backend has not said in time what it allows.
    #[error("it sent no HTTP/2 SETTINGS in time")]
    TimedOut,
    /// What it sent is no HTTP/2, or it closed the connection.
    #[error("it does not speak HTTP/2 here: {0}")]
    Refused(#[from] h2::Error),
    /// It ended the connection before it began.
    #[error("it closed the connection before it sent HTTP/2 SETTINGS")]
    Closed,
}

impl NotEstablished {
    /// As the fault of a connect.
    pub fn fault(&self) -> Fault {
        match self {
            Self::TimedOut => Fault::TimedOut,
            Self::Refused(_) => Fault::Os(libc::EPROTONOSUPPORT),
            Self::Closed => Fault::Os(libc::ECONNRESET),
        }
    }
}

/// What ended a connection in the middle.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Either side broke HTTP/2, or nothing can be read.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// Nothing can be sent.
    #[error("it could not be sent to: {0}")]
    Unsent(Fault),
}

/// A connection, as its streams and whoever opens them see it. It is retired when the last one lets it go.
pub struct ClientConnection {
    ring: Ring,
    /// Opens streams; `None`: it opens no more.
    sender: RefCell<Option<SendRequest<Piece>>>,
    scheme: Scheme,
    /// Streams that the backend allows at once.
    allowed: Cell<usize>,
    /// Streams that are taken.
    taken: Cell<usize>,
    /// The backend has refused a stream, though it allows as many: it gets no more until one has ended.
    refuses: Cell<bool>,
    /// Since when no stream is taken.
    idle_since: Cell<Instant>,
    /// When something came from the backend last.
    heard: Cell<Instant>,
    ending: Ending,
    scratch: RefCell<Fields>,
}

/// What keeps a connection going. Without it nothing is read or written.
#[must_use = "a connection lives only while it is driven"]
pub struct Driver {
    connection: Rc<ClientConnection>,
    ends: Ends,
}

/// A connection's own end of it.
struct Ends {
    h2: Connection<Io<Wire>, Piece>,
    carrier: Rc<Carrier<Wire>>,
}

impl Ends {
    /// Reads and writes what there is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut self.h2).poll(cx) {
                return Poll::Ready(ended.map_err(Broken::from));
            }
            // A wait that was interrupted begins again.
            if !self.carrier.has_expired() {
                break;
            }
        }
        match self.carrier.push(cx) {
            Poll::Ready(Err(fault)) => Poll::Ready(Err(Broken::Unsent(fault))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

impl ClientConnection {
    /// Begins HTTP/2 on `wire`, and waits until the backend has said what it allows, but not beyond `due`.
    ///
    /// # Errors
    /// Why it has not.
    pub async fn establish(
        ring: &Ring,
        wire: Wire,
        scheme: Scheme,
        due: Instant,
    ) -> Result<(Rc<Self>, Driver), NotEstablished> {
        let carrier = Carrier::new(ring, wire, None, None, 0);
        let (sender, h2) = Builder::new()
            // None, until it says how many: that is how its SETTINGS are seen to have come.
            .initial_max_send_streams(0)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .data_frame_budget(SMALL_PIECES)
            .max_header_list_size(HEAD_MAX)
            .enable_push(false)
            .handshake::<_, Piece>(Io(carrier.clone()))
            .await?;
        let mut ends = Ends { h2, carrier };
        let mut timer = ring.sleep_until(due);
        let allowed = poll_fn(|cx| {
            let ended = ends.poll(cx);
            match (sender.current_max_send_streams(), ended) {
                (0, Poll::Ready(Err(Broken::Http2(error)))) => Poll::Ready(Err(error.into())),
                (0, Poll::Ready(_)) => Poll::Ready(Err(NotEstablished::Closed)),
                (0, Poll::Pending) => Pin::new(&mut timer).poll(cx).map(|()| Err(NotEstablished::TimedOut)),
                (allowed, _) => Poll::Ready(Ok(allowed)),
            }
        })
        .await?;
        let connection = Rc::new(Self {
            ring: ring.clone(),
            sender: RefCell::new(Some(sender)),
            scheme,
            allowed: Cell::new(allowed),
            taken: Cell::new(0),
            refuses: Cell::new(false),
            idle_since: Cell::new(ring.now()),
            heard: Cell::new(ends.carrier.heard()),
            ending: Ending::default(),
            scratch: RefCell::default(),
        });
        Ok((connection.clone(), Driver { connection, ends }))
    }

    /// Streams that it can still take. None, once it is retired or the backend has ended it.
    pub fn room(&self) -> usize {
        if self.refuses.get() || self.is_retired() {
            return 0;
        }
        self.allowed.get().min(STREAMS_MAX).saturating_sub(self.taken.get())
    }

    /// Streams that are taken.
    pub fn taken(&self) -> usize {
        self.taken.get()
    }

    /// Since when no stream is taken; `None`: one is.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.taken.get() == 0).then(|| self.idle_since.get())
    }

    /// Opens no more streams; closes when those that there are have ended.
    pub fn retire(&self) {
        // Dropped where nothing is borrowed: it may be the last that holds the connection.
        let sender = self.sender.borrow_mut().take();
        drop(sender);
    }

    /// Whether it opens no more streams.
    pub fn is_retired(&self) -> bool {
        self.sender.borrow().is_none()
    }

    /// Takes a stream, for which there must be [room](Self::room).
    pub fn open(self: &Rc<Self>) -> ClientStream {
        self.taken.set(self.taken.get() + 1);
        ClientStream::new(self.clone())
    }

    /// What its requests must know of it.
    fn terms(&self) -> Terms {
        let sender = self.sender.borrow();
        let extended_connect = sender.as_ref().is_some_and(SendRequest::is_extended_connect_protocol_enabled);
        Terms { scheme: self.scheme.clone(), extended_connect }
    }

    /// Opens a stream at the backend.
    fn request(
        &self,
        request: http::Request<()>,
        ends: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Piece>), h2::Error> {
        let mut sender = self.sender.borrow_mut();
        let Some(sender) = &mut *sender else { return Err(h2::Reason::REFUSED_STREAM.into()) };
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready.and_then(|()| sender.send_request(request, ends)),
            // The one before is still queued behind one that has just ended. A clone knows nothing of that one, and
            // queues this behind it.
            Poll::Pending => sender.clone().send_request(request, ends),
        }
    }

    /// A stream is over. `refused`: the backend had no room for it, though it allows as many; so it gets no more
    /// until one has ended, or, if there is none, on another connection.
    fn give_back(&self, refused: bool) {
        self.taken.set(self.taken.get() - 1);
        self.refuses.set(refused);
        if self.taken.get() == 0 {
            self.idle_since.set(self.ring.now());
            if refused {
                self.retire();
            }
        }
    }

    /// Keeps a stream until the backend has ended it too.
    ///
    /// # Errors
    /// Too many are kept.
    fn let_end(&self, down: RecvStream) -> Result<(), RecvStream> {
        self.ending.keep(down, self.ring.now())
    }

    /// Lets go of streams that the backend has ended, or not for long.
    pub fn sweep(&self) {
        let over = self.ending.sweep(self.ring.now());
        (0..over).for_each(|_| self.give_back(false));
    }

    /// Frames have been read, or written.
    fn look(&self) {
        self.sweep();
        let mut sender = self.sender.borrow_mut();
        let Some(opens) = &mut *sender else { return };
        self.allowed.set(opens.current_max_send_streams());
        let polled = opens.poll_ready(&mut Context::from_waker(Waker::noop()));
        if matches!(polled, Poll::Ready(Err(_))) {
            // It goes away, is gone, or has no stream number left.
            let last = sender.take();
            drop(sender);
            drop(last);
        }
    }
}

impl Driver {
    /// Runs until the connection is over.
    ///
    /// # Errors
    /// What ended it, if that was a fault.
    pub async fn run(self) -> Result<(), Broken> {
        let Self { connection, mut ends } = self;
        let mut closing = None;
        let ended = poll_fn(|cx| {
            let polled = ends.poll(cx);
            connection.heard.set(ends.carrier.heard());
            connection.look();
            if polled.is_ready() {
                return polled;
            }
            if connection.is_retired() && connection.taken.get() == 0 {
                // It has nothing left to do but to say so. A backend that does not read must not keep it.
                let ring = &connection.ring;
                let timer = closing.get_or_insert_with(|| Box::pin(ring.sleep_until(ring.now() + CLOSING)));
                if pin!(timer).poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
            }
            Poll::Pending
        })
        .await;
        connection.retire();
        ended
    }
}
