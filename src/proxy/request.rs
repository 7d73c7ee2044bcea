//! The client's unread bytes, and a request taken out of them (`exchange` says what goes up for it).
//!
//! A head that comes in one piece is parsed where the ring received it. One that comes in several is
//! collected in memory of its own, so that a slow client holds no receive buffer. Called by
//! `connection.rs`.

use super::peer::{ClientAddress, Peer};
use super::refusal::Refused;
use super::service::{ListenerRules, Service};
use crate::exchange::{self, RequestFacts, RequestLeft, RequestRules, Upward};
use crate::http1::RequestRewrite;
use crate::ring::Chunk;
use crate::upstream::Pool;
use std::rc::Rc;

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
    let rewrite = RequestRewrite {
        forwarded: rules.forwarded,
        peer: peer.text(),
        proto: b"http",
        via: rules.via.as_ref(),
        // These are decided with the head.
        trusted: false,
        client: peer.text(),
        upgrade: false,
    };
    let asked = RequestRules {
        limits: &rules.limits,
        router: &rules.router,
        max_body: rules.max_body,
        believed: peer.believed(rules),
        rewrite,
    };
    let mut out = service.spare();
    let fields = &mut service.scratch.borrow_mut().fields;
    let upward = match exchange::take_request(input.bytes(), &asked, fields, &mut out) {
        Ok(Some(upward)) => upward,
        Ok(None) => {
            service.give_spare(out);
            return Ok(None);
        }
        Err(bad) => return Err(Refused::request(&bad, out)),
    };
    // The router is of the same topology as the pools.
    let pool = rules.pool(&service.upstreams, upward.pool).ok_or_else(Refused::no_backend)?;
    input.consume(upward.len);
    let Upward { body, facts, body_len, client, .. } = upward;
    let client = ClientAddress::new(client.or(peer.address()));
    Ok(Some(Outgoing { bytes: out, facts, client, pool, body, body_bytes: body_len as u64 }))
}
