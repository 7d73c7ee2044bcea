//! A sealed connection as a [`Layer`]: what comes in is opened where it lies, what goes out is sealed into one buffer.
//!
//! All records that lie whole in a chunk are opened at once and their data moved together, so that a chunk in is
//! at most one chunk out. A record that comes in pieces is collected in memory of its own, which grows with what
//! has really come and holds one record at most; the ring's buffer goes back at once. Not here: the records
//! (`session.rs`) and the sends once they are under way (`leaving.rs`).

use super::leaving::SealedSend;
use super::records::{HEADER, record_len};
use super::session::{Broken, Opened, Session};
use crate::ring::{Chunk, Counted, Fault, HEADROOM, Payload, Send, SendMark, Stream};
use crate::time::Instant;
use crate::wire::{Layer, Leaving, Secured};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Range;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of a record's first piece from which on memory for the whole of it is taken: a peer that has sent so much
/// sends the rest.
const LARGE_PIECE: usize = 1024;

/// Bytes up to which what was sealed is let go before it has left.
const UNCOUNTED_MAX: usize = 2 << 10;

/// A connection over which a TLS handshake has been done. Dropping it tells the peer that no more comes, unless
/// the connection is broken, and closes it.
pub struct Sealed {
    stream: Stream,
    state: RefCell<State>,
    secured: Secured,
    /// The peer was told that no more comes, or is not to be told.
    silent: Cell<bool>,
    /// The last send: what rustls has to say of itself must not get between the bytes of one.
    last: Cell<Option<SendMark>>,
}

/// What has come, and what has not been given yet.
struct State {
    session: Session,
    /// [`HEADROOM`] and a record of which more must come; empty: there is none.
    pieces: Vec<u8>,
    /// Data that has been opened, and what came after it.
    ready: Option<Chunk>,
    after: Option<Chunk>,
    /// How the peer's side ended.
    ended: Option<Result<(), Fault>>,
}

impl State {
    /// Opens what has come. Returns what is given first, and leaves what comes after it.
    ///
    /// # Errors
    /// The connection is broken, after what was opened before the fault has been given.
    fn feed(&mut self, mut chunk: Chunk) -> (Option<Chunk>, Result<(), Broken>) {
        let mut first = None;
        if !self.pieces.is_empty() {
            match self.complete(&mut chunk) {
                Ok(completed) => first = completed,
                Err(Broken) => return (None, Err(Broken)),
            }
        }
        let opened = if self.ended.is_none() { self.open_all(&mut chunk) } else { Ok(0..0) };
        let (range, fault) = match opened {
            Ok(range) => (range, Ok(())),
            Err(range) => (range, Err(Broken)),
        };
        chunk.truncate(range.end);
        chunk.advance(range.start);
        let rest = if chunk.is_empty() { None } else { Some(chunk) };
        if first.is_some() {
            self.after = rest;
            (first, fault)
        } else {
            (rest, fault)
        }
    }

    /// Adds to the record in pieces. Gives its data if it is whole now.
    fn complete(&mut self, chunk: &mut Chunk) -> Result<Option<Chunk>, Broken> {
        while !chunk.is_empty() {
            let have = self.pieces.len() - HEADROOM;
            let len = self.begun_len()?;
            let missing = len.unwrap_or(HEADER) - have;
            let now = missing.min(chunk.len());
            if have >= LARGE_PIECE {
                self.pieces.reserve_exact(missing);
            }
            self.pieces.extend_from_slice(&chunk[..now]);
            chunk.advance(now);
            if now == missing && (len.is_some() || self.begun_len()? == Some(HEADER)) {
                let mut record = Chunk::own(std::mem::take(&mut self.pieces), HEADROOM);
                let range = self.open(&mut record)?;
                record.truncate(range.end);
                record.advance(range.start);
                return Ok(if record.is_empty() { None } else { Some(record) });
            }
        }
        Ok(None)
    }

    /// Opens the records that `chunk` begins with and moves their data together; keeps the beginning of one of
    /// which more must come.
    fn open_all(&mut self, chunk: &mut Chunk) -> Result<Range<usize>, Range<usize>> {
        let (mut data, mut at) = (0..0, 0);
        while at < chunk.len() && self.ended.is_none() {
            let len = match record_len(&chunk[at..]) {
                Ok(Some(len)) if len <= chunk.len() - at => len,
                Ok(len) => {
                    self.keep(&chunk[at..], len);
                    break;
                }
                Err(_) => {
                    self.ask_why_not(&mut chunk[at..]);
                    return Err(data);
                }
            };
            let range = match self.open(&mut chunk[at..at + len]) {
                Ok(range) => at + range.start..at + range.end,
                Err(_) => return Err(data),
            };
            if data.is_empty() {
                data = range;
            } else {
                let end = data.end + range.len();
                chunk.copy_within(range, data.end);
                data.end = end;
            }
            at += len;
        }
        Ok(data)
    }

    /// How long the record in pieces is, if that is known.
    fn begun_len(&mut self) -> Result<Option<usize>, Broken> {
        record_len(&self.pieces[HEADROOM..]).map_err(|_| {
            let mut pieces = std::mem::take(&mut self.pieces);
            self.ask_why_not(&mut pieces[HEADROOM..]);
            Broken
        })
    }

    /// Shows rustls what is no record: it says to the peer what is wrong with it.
    fn ask_why_not(&mut self, bytes: &mut [u8]) {
        // Whatever it makes of them, the connection is broken.
        let _ = self.session.open(bytes);
    }

    /// Keeps the first piece of a record of `len` bytes, if that is known.
    fn keep(&mut self, piece: &[u8], len: Option<usize>) {
        let len = if piece.len() >= LARGE_PIECE { len.unwrap_or(piece.len()) } else { piece.len() };
        let mut pieces = Vec::with_capacity(HEADROOM + len);
        pieces.resize(HEADROOM, 0);
        pieces.extend_from_slice(piece);
        self.pieces = pieces;
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Range<usize>, Broken> {
        Ok(match self.session.open(record)? {
            Opened::Data(len) => 0..len,
            Opened::Closed => {
                self.ended = Some(Ok(()));
                0..0
            }
            Opened::GivenUp => {
                self.ended = Some(Err(Fault::Os(libc::ECONNRESET)));
                0..0
            }
        })
    }
}

/// `records` on their way, with what they were made of: there is no more memory of the one than of the other, which
/// is bounded, however many peers do not read.
fn bound(records: Vec<u8>, made_of: impl Any) -> Payload {
    Payload::Counted(Counted::new(records, made_of))
}

impl Sealed {
    /// `session` over `stream`, on which nothing is under way. `rest`: bytes that came after the handshake.
    pub(super) fn new(stream: Stream, session: Session, secured: Secured, rest: Vec<u8>) -> Self {
        let state = State { session, pieces: Vec::new(), ready: None, after: None, ended: None };
        let (state, silent, last) = (RefCell::new(state), Cell::new(false), Cell::new(None));
        let sealed = Self { stream, state, secured, silent, last };
        if !rest.is_empty() {
            let mut bytes = vec![0; HEADROOM];
            bytes.extend_from_slice(&rest);
            let first = sealed.feed(Chunk::own(bytes, HEADROOM));
            sealed.state.borrow_mut().ready = first;
        }
        sealed
    }

    /// Sends the records that wait, unless they can go with an answer: a request is there.
    pub(super) fn send_queued(&self) {
        let mut state = self.state.borrow_mut();
        if state.ready.is_none() && state.pieces.is_empty() {
            self.say(&mut state.session);
        }
    }

    /// Sends the records that wait, unless a send is under way: then they go before the next.
    fn say(&self, session: &mut Session) {
        if self.last.get().is_some_and(|last| self.stream.is_under_way(last)) {
            return;
        }
        let mut queued = session.take_queued();
        queued.drain(..self.stream.send_at_once(&queued));
        // Empty, it would keep its memory for as long as the connection is idle.
        if !queued.is_empty() {
            session.queue(queued);
        }
    }

    /// Sends `payload`, which is sealed.
    fn send_sealed(&self, payload: Payload, due: Instant) -> Send {
        let send = self.stream.send(payload, due);
        self.last.set(Some(send.mark()));
        send
    }

    /// Opens what has come; what is given first.
    fn feed(&self, chunk: Chunk) -> Option<Chunk> {
        let mut state = self.state.borrow_mut();
        let (first, fault) = state.feed(chunk);
        if fault.is_err() {
            state.ended = Some(Err(Fault::Os(libc::EPROTO)));
            self.silent.set(true);
            let alert = state.session.take_queued();
            self.stream.send_at_once(&alert);
        } else if first.is_none() && state.session.has_queued() {
            // The answer to a new key, or the no to a renegotiation: nothing else may be sent for long.
            self.say(&mut state.session);
        }
        first
    }

    /// What is given without asking the socket.
    fn next(&self) -> Option<Result<Option<Chunk>, Fault>> {
        let mut state = self.state.borrow_mut();
        let ready = state.ready.take();
        if let Some(chunk) = ready.or_else(|| state.after.take()) {
            return Some(Ok(Some(chunk)));
        }
        state.ended.map(|ended| ended.map(|()| None))
    }

    /// The socket ended or failed, which without the peer's word is no end.
    fn broke(&self, fault: Fault) {
        let mut state = self.state.borrow_mut();
        state.pieces = Vec::new();
        state.ended = Some(Err(fault));
        self.silent.set(true);
    }

    fn poll_any(
        &self,
        cx: &mut Context<'_>,
        poll: impl Fn(&Stream, &mut Context<'_>) -> Poll<Result<Option<Chunk>, Fault>>,
    ) -> Poll<Result<Option<Chunk>, Fault>> {
        loop {
            if let Some(next) = self.next() {
                return Poll::Ready(next);
            }
            match ready!(poll(&self.stream, cx)) {
                Ok(Some(chunk)) => {
                    if let Some(chunk) = self.feed(chunk) {
                        return Poll::Ready(Ok(Some(chunk)));
                    }
                }
                Ok(None) => self.broke(Fault::Os(libc::ECONNABORTED)),
                Err(Fault::TimedOut) => return Poll::Ready(Err(Fault::TimedOut)),
                Err(fault) => self.broke(fault),
            }
        }
    }

    /// Tells the peer that no more comes, once.
    fn close(&self) {
        if !self.silent.replace(true) {
            let record = self.state.borrow_mut().session.close();
            self.stream.send_at_once(&record);
        }
    }
}

impl Layer for Sealed {
    fn poll_receive(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        self.poll_any(cx, |stream, cx| stream.poll_receive(cx, due))
    }

    fn poll_receive_next(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        self.poll_any(cx, |stream, cx| stream.poll_receive_next(cx, due))
    }

    fn received(&self) -> Option<Chunk> {
        loop {
            match self.next() {
                Some(next) => return next.ok().flatten(),
                None => {
                    if let Some(chunk) = self.feed(self.stream.received()?) {
                        return Some(chunk);
                    }
                }
            }
        }
    }

    fn is_quiet(&self) -> bool {
        // Tickets and new keys are no data: a connection to which they come is as good as before.
        let first = self.received();
        let mut state = self.state.borrow_mut();
        state.ready = first;
        state.ready.is_none() && state.pieces.is_empty() && state.ended.is_none() && self.stream.is_quiet()
    }

    fn watch(&self) -> bool {
        self.stream.watch()
    }

    fn send(&self, payload: Payload, due: Instant) -> Box<dyn Leaving> {
        let bytes = payload.as_slice();
        let sealed = self.state.borrow_mut().session.seal(std::iter::once(bytes), bytes.len());
        Box::new(match sealed {
            Ok(records) => match payload {
                Payload::Chunk(_) | Payload::Counted(_) if bytes.len() > UNCOUNTED_MAX => {
                    SealedSend::new(self.send_sealed(bound(records, payload), due), None)
                }
                _ => SealedSend::new(self.send_sealed(Payload::Bytes(records), due), Some(payload)),
            },
            Err(_) => SealedSend::failed(Some(payload)),
        })
    }

    fn send_gathered(&self, chunks: Vec<Chunk>, due: Instant) -> Box<dyn Leaving> {
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        let sealed = self.state.borrow_mut().session.seal(chunks.iter().map(|chunk| &chunk[..]), len);
        Box::new(match sealed {
            Ok(records) => SealedSend::new(self.send_sealed(bound(records, chunks), due), None),
            Err(_) => SealedSend::failed(None),
        })
    }

    fn shutdown_write(&self) {
        self.close();
        self.stream.shutdown_write();
    }

    fn gone(&self, half_close: bool) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self.stream.gone(half_close))
    }

    fn is_gone(&self, half_close: bool) -> bool {
        self.stream.is_gone(half_close)
    }

    fn reset_on_close(&self) {
        self.silent.set(true);
        self.stream.reset_on_close();
    }

    fn number(&self) -> Option<RawFd> {
        Some(self.stream.number())
    }

    fn secured(&self) -> Option<&Secured> {
        Some(&self.secured)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.close();
    }
}
