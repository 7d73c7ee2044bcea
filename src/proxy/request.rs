//! A request: the client's unread bytes, its head found in them, and what goes upstream for it.
//!
//! A head that comes in one piece is parsed where the ring received it. One that comes in several is
//! collected in memory of its own, so that a slow client holds no receive buffer (`collecting.rs`). Called
//! by `connection.rs`.

use super::collecting::{NoRoom, Share, Shelf};
use super::hold::Taken;
use super::refusal::Refused;
use super::service::{ListenerRules, SPARE_BYTES_MAX, Service};
use crate::exchange::RequestFacts;
use crate::http1::{
    BadHead, ChunkDecoder, Method, Parse, RequestBody, RequestHead, RequestRewrite, Target, parse_request,
    write_request,
};
use crate::metrics::Refusal;
use crate::ring::{Chunk, Counted, Payload};
use crate::upstream::Pool;
use std::rc::Rc;
use std::task::Context;

/// Bytes by which a head grows at most when it is rewritten: forwarding fields, twice the host among them.
const ADDED_MAX: usize = 1024;

/// Bytes of a chunk's size line, extensions included.
pub(super) const CHUNK_LINE_MAX: usize = 4096;

/// Bytes of a trailer section.
pub(super) const TRAILERS_MAX: usize = 16 << 10;

/// The client's bytes that have come and have not been taken yet.
#[derive(Default)]
pub(super) struct Input {
    /// What came before `chunk`, when a head spans several chunks.
    collected: Vec<u8>,
    /// What came last. Empty while `collected` is not.
    chunk: Option<Chunk>,
    /// Counts the memory of `collected`.
    share: Option<Box<Share>>,
    /// Bytes that have been looked at in vain: without a line's end behind them a look is no use.
    looked: usize,
}

impl Input {
    /// The unread bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.chunk {
            Some(chunk) => chunk,
            None => &self.collected,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether a head may be whole now, or too large. One that is sent a byte at a time is not read anew
    /// for each: only a line's end makes it whole. `max`: bytes that it may have.
    pub(super) fn is_worth_a_look(&mut self, max: usize) -> bool {
        let len = self.bytes().len();
        let from = std::mem::replace(&mut self.looked, len).min(len);
        from == 0 || len > max || self.bytes()[from..].contains(&b'\n')
    }

    /// The first piece.
    pub(super) fn begin(&mut self, chunk: Chunk) {
        self.clear();
        self.chunk = Some(chunk);
    }

    /// More has come. What is unread is collected first.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn add(&mut self, chunk: Chunk, shelf: &Rc<Shelf>) -> Result<(), NoRoom> {
        if self.is_empty() {
            self.begin(chunk);
            return Ok(());
        }
        self.collect(shelf)?;
        self.keep(&chunk, shelf)
    }

    /// Moves what is unread into memory of its own: an incomplete head holds no receive buffer.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn collect(&mut self, shelf: &Rc<Shelf>) -> Result<(), NoRoom> {
        match self.chunk.take() {
            Some(chunk) => self.keep(&chunk, shelf),
            None => Ok(()),
        }
    }

    /// Keeps a copy of `bytes` behind what was collected.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn keep(&mut self, bytes: &[u8], shelf: &Rc<Shelf>) -> Result<(), NoRoom> {
        let share = self.share.get_or_insert_with(|| shelf.share());
        share.make_room(&mut self.collected, bytes.len())?;
        self.collected.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether what was collected must go, for others' sake. If not, whoever asks is woken when it must.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        self.share.as_ref().is_some_and(|share| share.is_given_up(cx))
    }

    /// Forgets what is unread.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first `count` bytes have been taken.
    pub(super) fn consume(&mut self, count: usize) {
        self.looked = 0;
        match &mut self.chunk {
            Some(chunk) => {
                chunk.advance(count);
                if chunk.is_empty() {
                    self.chunk = None;
                }
            }
            None => {
                self.collected.drain(..count);
                if self.collected.is_empty() {
                    self.clear();
                }
            }
        }
    }

    /// Takes what is unread, to be sent on; `None` if there is nothing.
    pub(super) fn take_payload(&mut self) -> Option<Payload> {
        if self.is_empty() {
            return None;
        }
        let Self { collected, chunk, share, .. } = std::mem::take(self);
        Some(match chunk {
            Some(chunk) => Payload::Chunk(chunk),
            None => Payload::Counted(Counted::new(collected, share)),
        })
    }

    /// Takes what is unread, if it is one chunk.
    pub(super) fn take_chunk(&mut self) -> Option<Chunk> {
        self.chunk.take()
    }
}

/// What of a request's body has not gone upstream yet.
pub(super) enum BodyLeft {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks; the decoder knows where they stand.
    Chunks(Box<ChunkDecoder>),
}

impl BodyLeft {
    /// Takes what of `bytes` belongs to the body: how many bytes.
    ///
    /// # Errors
    /// Chunks that are none, or more payload than `max_body` bytes.
    pub(super) fn take(&mut self, bytes: &[u8], max_body: u64) -> Result<usize, Refused> {
        let (count, done) = match self {
            Self::Nothing => return Ok(0),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                (count, *left == 0)
            }
            Self::Chunks(decoder) => {
                let chunks = decoder.decode(bytes, |_| ()).map_err(|bad| Refused::bad_chunk(&bad))?;
                if max_body > 0 && decoder.payload_len() > max_body {
                    return Err(Refused::body_too_large(max_body));
                }
                (chunks.consumed, chunks.done)
            }
        };
        if done {
            *self = Self::Nothing;
        }
        Ok(count)
    }

    /// Whether the whole body has been taken.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A request on its way upstream.
pub(super) struct Outgoing {
    /// The new head and what of the body came with it, or has gone up since: all that was taken from the
    /// client so far, to be sent again. Empty: it cannot be.
    pub(super) bytes: Vec<u8>,
    pub(super) facts: RequestFacts,
    pub(super) pool: Rc<Pool>,
    pub(super) body: BodyLeft,
    /// Bytes of the body that came with the head, as the client framed them.
    pub(super) body_bytes: u64,
    /// Counts `bytes`, if they are many.
    pub(super) large: Option<Box<Large>>,
}

/// The memory of a large request on its way.
pub(super) struct Large {
    taken: Taken,
    /// It may be kept for another attempt; else it goes when it has been sent.
    keeps: bool,
}

impl Outgoing {
    /// What is to be given back once the bytes have been sent; `None`: they are kept after that.
    pub(super) fn only_sent(&mut self) -> Option<Taken> {
        self.large.take_if(|large| !large.keeps).map(|large| large.taken)
    }
}

/// Takes one request out of `input`; `None` if its head is not whole yet.
///
/// # Errors
/// Why it is refused.
pub(super) fn take_request(
    service: &Service,
    rules: &ListenerRules,
    client: &[u8],
    input: &mut Input,
) -> Result<Option<Outgoing>, Refused> {
    let mut scratch = service.scratch.borrow_mut();
    let fields = &mut scratch.fields;
    let bytes = input.bytes();
    let head = match parse_request(bytes, &rules.limits, fields).map_err(|bad| refused_head(&bad))? {
        Parse::Complete(head) => head,
        Parse::Partial => return Ok(None),
    };
    let pool = route(rules, &head, bytes)?;
    // The router is of the same topology as the pools.
    let pool = rules.pool(&service.upstreams, pool).ok_or_else(Refused::no_backend)?;
    let mut body = match head.body {
        RequestBody::None | RequestBody::Length(0) => BodyLeft::Nothing,
        RequestBody::Length(length) if rules.max_body > 0 && length > rules.max_body => {
            return Err(Refused::body_too_large(rules.max_body));
        }
        RequestBody::Length(length) => BodyLeft::Length(length),
        RequestBody::Chunked => BodyLeft::Chunks(Box::new(ChunkDecoder::new(CHUNK_LINE_MAX, TRAILERS_MAX))),
    };
    let upgrade = head.upgrade && head.body == RequestBody::None;
    let mut out = service.spare();
    let large = reserve(service, &mut out, bytes.len())?;
    let rewrite =
        RequestRewrite { forwarded: rules.forwarded, trusted: false, client, proto: b"http", upgrade };
    write_request(bytes, &head, fields, &rewrite, &mut out);
    let rest = &bytes[head.len..];
    let taken = body.take(rest, rules.max_body)?;
    out.extend_from_slice(&rest[..taken]);
    let mut facts = RequestFacts::of(&head);
    facts.upgrade = upgrade;
    let len = head.len + taken;
    input.consume(len);
    if !input.is_empty() && service.ring.buffers_are_scarce() {
        // What was sent ahead waits for an answer that may take long: not in a receive buffer.
        if input.collect(&service.heads).is_err() {
            input.clear();
            facts.keep_alive = false;
        }
    }
    Ok(Some(Outgoing { bytes: out, facts, pool, body, body_bytes: taken as u64, large }))
}

/// Room in `out` for a request that came in `len` bytes. It is counted if it is much.
///
/// # Errors
/// Too many large requests are on their way.
#[inline]
fn reserve(service: &Service, out: &mut Vec<u8>, len: usize) -> Result<Option<Box<Large>>, Refused> {
    let capacity = len + ADDED_MAX;
    if capacity <= SPARE_BYTES_MAX {
        return Ok(None);
    }
    let requests = &service.requests;
    let keeps = requests.get() + capacity <= service.requests_max / 2;
    let taken = Taken::take(requests, capacity, service.requests_max).ok_or_else(Refused::request_memory)?;
    out.reserve_exact(capacity);
    Ok(Some(Box::new(Large { taken, keeps })))
}

/// The pool for a request.
fn route(rules: &ListenerRules, head: &RequestHead, bytes: &[u8]) -> Result<usize, Refused> {
    if head.method == Method::Connect {
        return Err(Refused::new(501, Refusal::Unsupported, "weir does not do CONNECT"));
    }
    if head.upgrade && head.body != RequestBody::None {
        return Err(Refused::new(
            400,
            Refusal::Unsupported,
            "a request with a body cannot ask for an upgrade",
        ));
    }
    let router = &rules.router;
    if let Some(pool) = router.only() {
        return Ok(pool);
    }
    let path = match head.target {
        Target::Origin(path) | Target::Absolute { path, .. } if !path.is_empty() => path.of(bytes),
        Target::Asterisk => b"*",
        Target::Origin(_) | Target::Absolute { .. } | Target::Authority(_) => b"/",
    };
    match router.find(head.host.map(|host| host.of(bytes)), path) {
        Ok(Some(pool)) => Ok(pool),
        Ok(None) => Err(Refused::new(404, Refusal::NoRoute, "no route for this host and path")),
        Err(_) => Err(Refused::new(400, Refusal::BadHead, "the path can be read in two ways")),
    }
}

fn refused_head(bad: &BadHead) -> Refused {
    let refusal = match bad.status() {
        414 | 431 => Refusal::HeadTooLarge,
        501 => Refusal::Unsupported,
        _ => Refusal::BadHead,
    };
    Refused { status: bad.status(), refusal, text: format!("{} (byte {} of the request)", bad.why, bad.at) }
}
