//! A request: the client's unread bytes, its head found in them, and what goes upstream for it.
//!
//! A head that comes in one piece is parsed where the ring received it. One that comes in several is
//! collected in memory of its own, so that a slow client holds no receive buffer. Called by
//! `connection.rs`.

use super::peer::Peer;
use super::refusal::Refused;
use super::service::{ListenerRules, Service};
use crate::exchange::RequestFacts;
use crate::http1::{
    BadHead, ChunkDecoder, Method, Parse, RequestBody, RequestHead, RequestRewrite, Target, parse_request,
    write_request,
};
use crate::metrics::Refusal;
use crate::ring::Chunk;
use crate::upstream::Pool;
use std::net::IpAddr;
use std::rc::Rc;

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

    /// More has come. What is unread is collected first.
    pub(super) fn add(&mut self, chunk: Chunk) {
        if self.is_empty() {
            self.collected = Vec::new();
            self.chunk = Some(chunk);
        } else {
            self.collect();
            self.collected.extend_from_slice(&chunk);
        }
    }

    /// Moves what is unread into memory of its own: an incomplete head holds no receive buffer.
    pub(super) fn collect(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.collected.extend_from_slice(&chunk);
        }
    }

    /// The first `count` bytes have been taken.
    pub(super) fn consume(&mut self, count: usize) {
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
                    self.collected = Vec::new();
                }
            }
        }
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
    /// Whose request it is; `None`: nobody said, behind a Unix socket.
    pub(super) client: Option<IpAddr>,
    pub(super) pool: Rc<Pool>,
    pub(super) body: BodyLeft,
    /// Bytes of the body that came with the head, as the client framed them.
    pub(super) body_bytes: u64,
}

/// Takes one request out of `input`; `None` if its head is not whole yet.
///
/// # Errors
/// Why it is refused.
pub(super) fn take_request(
    service: &Service,
    rules: &ListenerRules,
    peer: &Peer,
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
    let client = peer.client(rules, bytes, fields);
    let rewrite = RequestRewrite {
        forwarded: rules.forwarded,
        trusted: client.trusted,
        peer: peer.text(),
        client: client.text(peer),
        proto: b"http",
        via: rules.via.as_ref(),
        upgrade,
    };
    write_request(bytes, &head, fields, &rewrite, &mut out);
    let rest = &bytes[head.len..];
    let taken = body.take(rest, rules.max_body)?;
    out.extend_from_slice(&rest[..taken]);
    let mut facts = RequestFacts::of(&head);
    facts.upgrade = upgrade;
    let len = head.len + taken;
    input.consume(len);
    Ok(Some(Outgoing { bytes: out, facts, client: client.address, pool, body, body_bytes: taken as u64 }))
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
