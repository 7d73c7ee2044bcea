//! The client's unread bytes, and a request taken out of them (`exchange` says what goes up for it).
//!
//! A head that comes in one piece is parsed where the ring received it. One that comes in several is
//! collected in memory of its own, so that a slow client holds no receive buffer (`collecting.rs`). Called
//! by `connection.rs`.

use super::collecting::{NoRoom, Share, Shelf};
use super::connection::Client;
use super::hold::{Taken, counted};
use super::multiplexed::is_multiplexed;
use super::peer::ClientAddress;
use super::refusal::Refused;
use super::service::{ListenerRules, SPARE_BYTES_MAX, Scratch, Service};
use crate::exchange::{self, BadRequest, Marks, RequestFacts, RequestLeft, RequestRules, Upward, is_grpc};
use crate::http1::{Fields, RequestRewrite, client_named};
use crate::log::record::{Draft, Text};
use crate::ring::{Chunk, Payload};
use crate::topology::Recording;
use crate::upstream::Pool;
use crate::wire::{Secured, Wire};
use std::rc::Rc;
use std::task::Context;

/// The client's bytes that have come and have not been taken yet.
#[derive(Default)]
pub(super) struct Input {
    /// What came before `chunk`, when a head spans several chunks. In a box: almost nobody has any.
    collected: Option<Box<Collected>>,
    /// What came last. Nothing while there is something collected.
    chunk: Option<Chunk>,
}

/// A head in pieces, in memory of its own.
struct Collected {
    bytes: Vec<u8>,
    /// Bytes that have been looked at in vain.
    looked: usize,
    /// Counts the memory.
    share: Share,
}

impl Input {
    /// The unread bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match (&self.chunk, &self.collected) {
            (Some(chunk), _) => chunk,
            (None, Some(collected)) => &collected.bytes,
            (None, None) => &[],
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether a head may be whole now, or too large. One that is sent a byte at a time is not read anew
    /// for each: only a line's end makes it whole, and no other control byte may be in it. `max`: bytes that it
    /// may have.
    pub(super) fn is_worth_a_look(&mut self, max: usize) -> bool {
        let Some(collected) = &mut self.collected else { return true };
        let len = collected.bytes.len();
        let from = std::mem::replace(&mut collected.looked, len);
        from == 0 || len > max || collected.bytes[from..].iter().any(|&byte| byte < b' ' && byte != b'\t')
    }

    /// The first piece.
    pub(super) fn begin(&mut self, chunk: Chunk) {
        *self = Self { collected: None, chunk: Some(chunk) };
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
        let Some(chunk) = self.chunk.take() else { return Ok(()) };
        self.keep(&chunk, shelf)?;
        if let Some(collected) = &mut self.collected {
            collected.looked = chunk.len();
        }
        Ok(())
    }

    /// Keeps a copy of `bytes` behind what was collected.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn keep(&mut self, bytes: &[u8], shelf: &Rc<Shelf>) -> Result<(), NoRoom> {
        let collected = self.collected.get_or_insert_with(|| {
            Box::new(Collected { bytes: Vec::new(), looked: 0, share: shelf.share() })
        });
        collected.share.make_room(&mut collected.bytes, bytes.len())?;
        collected.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// What is unread is the next request, sent ahead: it waits in memory that is counted.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn set_aside(&mut self, shelf: &Rc<Shelf>) -> Result<(), NoRoom> {
        self.collect(shelf)?;
        self.collected.as_ref().map_or(Ok(()), |collected| collected.share.set_aside())
    }

    /// Whether what was collected must go, for others' sake. If not, whoever asks is woken when it must.
    pub(super) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        self.collected.as_ref().is_some_and(|collected| collected.share.is_given_up(cx))
    }

    /// Forgets what is unread.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first `count` bytes have been taken.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(chunk) = &mut self.chunk {
            chunk.advance(count);
        } else if let Some(collected) = &mut self.collected {
            collected.looked = 0;
            collected.bytes.drain(..count);
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes what is unread, to be sent on; `None`: too much of that is under way.
    pub(super) fn take_payload(&mut self, service: &Service) -> Option<Payload> {
        let Self { collected, chunk } = std::mem::take(self);
        match chunk {
            Some(chunk) => Some(Payload::Chunk(chunk)),
            None => counted(service, collected.map_or_else(Vec::new, |collected| collected.bytes)),
        }
    }

    /// Takes what is unread.
    pub(super) fn take_unread(&mut self) -> Option<Chunk> {
        let Self { collected, chunk } = std::mem::take(self);
        chunk.or_else(|| collected.map(|collected| Chunk::own(collected.bytes, 0)))
    }

    /// Takes what is unread, if it is one chunk.
    pub(super) fn take_chunk(&mut self) -> Option<Chunk> {
        self.chunk.take()
    }
}

/// A request on its way upstream.
pub(super) struct Outgoing {
    /// The new head and what of the body came with it, or has gone up since: all that was taken from the
    /// client so far, to be sent again. Empty: it cannot be.
    pub(super) bytes: Vec<u8>,
    pub(super) facts: RequestFacts,
    /// Whose request it is.
    pub(super) client: ClientAddress,
    pub(super) pool: Rc<Pool>,
    pub(super) body: RequestLeft,
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

/// Takes one request out of what the client has sent; `None` if its head is not whole yet.
///
/// # Errors
/// Why it is refused.
pub(super) fn take_request(client: &mut Client, rules: &ListenerRules) -> Result<Option<Outgoing>, Refused> {
    let Client { service, stream, input, peer, listener, seat, .. } = client;
    let secured = stream.secured();
    let service: &Service = service;
    let rewrite = RequestRewrite {
        forwarded: rules.forwarded,
        peer: peer.text(),
        proto: if secured.is_some() { b"https" } else { b"http" },
        via: if is_multiplexed(stream) { rules.via_http2.as_ref() } else { rules.via.as_ref() },
        // These are decided with the head.
        trusted: false,
        client: peer.text(),
        upgrade: false,
        added: b"",
    };
    let asked = RequestRules {
        limits: &rules.limits,
        router: &rules.router,
        max_body: rules.max_body,
        believed: peer.believed(rules),
        rewrite,
        marks: service.marks_of(rules, secured),
    };
    let mut out = service.spare();
    let Scratch { fields, marker, .. } = &mut *service.scratch.borrow_mut();
    let begin = |client, marks: Marks<'_>, fields: &Fields, body_len: u64| {
        let Recording { lines, exports, .. } = service.ledger.recording();
        let has_texts = lines.is_some() || exports && marks.context.is_some_and(|context| context.sampled);
        if has_texts || !marks.id_line.is_empty() {
            let fill = |draft: &mut Draft| {
                if has_texts {
                    draft_of(draft, stream, &listener.named(), input.bytes(), fields);
                    secured.into_iter().for_each(|known| draft_secured(draft, known));
                }
                draft.set_id_line(marks.id_line);
                draft.entry.trace = marks.context;
                draft.entry.bytes_in = body_len;
            };
            service.ledger.begin(*seat, service.now(), client, fill);
        }
    };
    let upward = match exchange::take_request(input.bytes(), &asked, marker, fields, &mut out) {
        Ok(Some(upward)) => upward,
        Ok(None) => {
            service.give_spare(out);
            return Ok(None);
        }
        Err(bad) => {
            let mut grpc = false;
            if !matches!(bad, BadRequest::Head(_)) {
                grpc = is_grpc(input.bytes(), fields);
                // Its head was read, so it is known whose it is.
                let named = asked.believed.and_then(|proxies| client_named(input.bytes(), fields, proxies));
                begin(named.or(peer.address()), marker.marks(), fields, 0);
            }
            return Err(Refused::request(&bad, out).for_grpc(grpc));
        }
    };
    let client = upward.client.map_or(peer.as_client(), |named| ClientAddress::new(Some(named)));
    begin(client.get(), marker.marks(), fields, upward.body_len as u64);
    // The router is of the same topology as the pools.
    let for_grpc = |refused: Refused| refused.for_grpc(upward.facts.grpc);
    let pool = rules.pool(&service.upstreams, upward.pool);
    let pool = pool.ok_or_else(|| for_grpc(Refused::no_backend()))?;
    let is_large = out.capacity() > SPARE_BYTES_MAX;
    let large = if is_large { Some(count(service, &out).map_err(for_grpc)?) } else { None };
    input.consume(upward.len);
    let Upward { body, mut facts, body_len, .. } = upward;
    if !input.is_empty() && (input.collected.is_some() || service.ring.buffers_are_scarce()) {
        // What was sent ahead waits for an answer that may take long: not in a receive buffer.
        if input.set_aside(&service.heads).is_err() {
            input.clear();
            facts.keep_alive = false;
        }
    }
    let body_bytes = body_len as u64;
    Ok(Some(Outgoing { bytes: out, facts, client, pool, body, body_bytes, large }))
}

/// What a record says of a request: of one that was read, `fields`.
fn draft_of(draft: &mut Draft, stream: &Wire, listener: &str, bytes: &[u8], fields: &Fields) {
    draft_line(draft, stream, listener, bytes);
    for (text, name) in
        [(Text::Host, &b"host"[..]), (Text::Referer, b"referer"), (Text::UserAgent, b"user-agent")]
    {
        if let Some(value) = fields.get(bytes, name) {
            draft.set(text, value);
        }
    }
}

/// What a record says of the handshake.
fn draft_secured(draft: &mut Draft, known: &Secured) {
    draft.set(Text::TlsVersion, known.version.as_bytes());
    draft.set(Text::TlsCipher, known.cipher.as_bytes());
    draft.set(Text::TlsServerName, known.server_name.as_deref().unwrap_or_default().as_bytes());
    draft.set(Text::TlsClientSubject, known.client_subject.as_deref().unwrap_or_default().as_bytes());
}

/// What a record says of a request that was not read.
pub(super) fn draft_line(draft: &mut Draft, stream: &Wire, listener: &str, bytes: &[u8]) {
    draft.set(Text::Listener, listener.as_bytes());
    let bytes = bytes.trim_ascii_start();
    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
    match bytes[..end].strip_suffix(b"1.1") {
        // What came was HTTP/2; this is what weir's inside makes of it.
        Some(line) if is_multiplexed(stream) => draft.set(Text::Line, &[line, b"2.0"].concat()),
        Some(_) | None => draft.set(Text::Line, &bytes[..end]),
    }
}

/// Counts a large request, which is kept for another attempt as long as there are few of them.
///
/// # Errors
/// Too many are on their way.
fn count(service: &Service, out: &Vec<u8>) -> Result<Box<Large>, Refused> {
    let (requests, max) = (&service.requests, service.kept_max);
    let keeps = requests.get() + out.capacity() <= max / 2;
    let taken = Taken::take(requests, out.capacity(), max).ok_or_else(Refused::request_memory)?;
    Ok(Box::new(Large { taken, keeps }))
}
