//! An answer on its way down a stream: HTTP/1.1 bytes in; HEADERS, DATA and trailers out.
//!
//! What of a piece is payload is moved together where it lies, so that it goes as one, and is copied once, into
//! what the connection sends. Small ones that the windows have room for are the connection's as soon as they are
//! handed over; for others whoever sends waits until they are in frames, so that a client that does not read holds
//! up its backend and memory stays bounded. Called by `stream.rs`.

use super::leaving::{Away, Failed, Waits};
use super::piece::{Left, Piece};
use crate::http2::{Asked, Decoded, Decoding, read_answer};
use crate::ring::{Fault, Payload, Ring};
use crate::time::Instant;
use crate::wire::Leaving;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes that a connection's streams may hand over without waiting, together.
const AWAY_MAX: usize = 64 << 10;

/// How far an answer is.
enum Stage {
    /// Its final head has not gone.
    Before(SendResponse<Piece>),
    /// Its head has gone.
    Body(SendStream<Piece>),
    /// All of it has.
    Whole(SendStream<Piece>),
    /// It is no more: a call that failed had it.
    Gone,
}

/// An answer.
pub(super) struct Answering {
    stage: Stage,
    asked: Asked,
    body: Decoding,
    held: Rc<Cell<usize>>,
}

/// The fault of a stream that `h2` says is none any more.
const GONE: Fault = Fault::Os(libc::EPIPE);

impl Answering {
    pub(super) fn new(respond: SendResponse<Piece>, asked: Asked, held: &Rc<Cell<usize>>) -> Self {
        Self { stage: Stage::Before(respond), asked, body: Decoding::Nothing, held: held.clone() }
    }

    /// Whether all of it has been handed over.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Whole(_))
    }

    /// Hands the next bytes over.
    pub(super) fn send(&mut self, ring: &Ring, payload: Payload, due: Instant) -> Box<dyn Leaving> {
        match self.hand_over(payload) {
            Ok(None) => Box::new(Away),
            Ok(Some(left)) => Box::new(Waits::new(ring, left, due)),
            Err(fault) => Box::new(Failed(fault)),
        }
    }

    /// The same; what is to be waited for.
    ///
    /// # Errors
    /// The stream is gone, or these bytes are no answer.
    pub(super) fn hand_over(&mut self, payload: Payload) -> Result<Option<Rc<Left>>, Fault> {
        let Some(at) = self.heads(payload.as_slice())? else { return Ok(None) };
        let (payload, range, decoded) = payload_of(payload, at, &mut self.body)?;
        let Stage::Body(stream) = &mut self.stage else { return Ok(None) };
        let ends = decoded == Decoded::End;
        let mut left = None;
        if !range.is_empty() {
            let len = range.len();
            let fits = self.held.get() + len <= AWAY_MAX && {
                stream.reserve_capacity(len);
                stream.capacity() >= len
            };
            if !fits {
                left = Some(Rc::<Left>::default());
            }
            let piece = Piece::new(payload, range, &self.held, left.clone());
            stream.send_data(piece, ends).map_err(|_| GONE)?;
        } else if ends {
            stream.send_data(Piece::empty(&self.held), true).map_err(|_| GONE)?;
        }
        if let Decoded::EndWith(trailers) = decoded {
            stream.send_trailers(trailers).map_err(|_| GONE)?;
            self.whole();
        } else if ends {
            self.whole();
        }
        Ok(left)
    }

    /// Takes the heads that `bytes` begin with, if heads are due; where the body begins, if there is any.
    fn heads(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while let Stage::Before(respond) = &mut self.stage {
            if at == bytes.len() {
                return Ok(None);
            }
            // Heads come whole.
            let answer = read_answer(&bytes[at..], self.asked).ok_or(Fault::Os(libc::EPROTO))?;
            at += answer.len;
            let mut response = Response::new(());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.fields;
            if answer.interim {
                respond.send_informational(response).map_err(|_| GONE)?;
                continue;
            }
            let ends = answer.body.is_done();
            self.body = answer.body;
            let stream = respond.send_response(response, ends).map_err(|_| GONE)?;
            self.stage = if ends { Stage::Whole(stream) } else { Stage::Body(stream) };
        }
        Ok(matches!(self.stage, Stage::Body(_)).then_some(at))
    }

    fn whole(&mut self) {
        if let Stage::Body(stream) = std::mem::replace(&mut self.stage, Stage::Gone) {
            self.stage = Stage::Whole(stream);
        }
    }

    /// Nothing more will be sent: the end, where only that says so.
    pub(super) fn shutdown(&mut self) {
        if let (Stage::Body(stream), Decoding::Raw) = (&mut self.stage, &self.body) {
            // Who is gone already need not be told.
            let _ = stream.send_data(Piece::empty(&self.held), true);
            self.whole();
        }
    }

    /// Resets the stream if the client would take the answer for a whole one, or waits for it.
    pub(super) fn abandon(&mut self) {
        let reason = match self.asked {
            Asked::Request(_) => Reason::INTERNAL_ERROR,
            // So a tunnel is told what a reset of its connection would be (RFC 8441 §5).
            Asked::WebSocket => Reason::CANCEL,
        };
        match &mut self.stage {
            Stage::Before(respond) => respond.send_reset(reason),
            Stage::Body(stream) => stream.send_reset(reason),
            Stage::Whole(_) | Stage::Gone => {}
        }
    }

    /// Resets the stream even if all of the answer has been handed over.
    pub(super) fn reset(&mut self) {
        match &mut self.stage {
            Stage::Whole(stream) => stream.send_reset(Reason::CANCEL),
            Stage::Before(_) | Stage::Body(_) | Stage::Gone => self.abandon(),
        }
    }

    /// Waits until the client has reset the stream, or its connection is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stage {
            Stage::Before(respond) => respond.poll_reset(cx).map(drop),
            Stage::Body(stream) | Stage::Whole(stream) => stream.poll_reset(cx).map(drop),
            Stage::Gone => Poll::Ready(()),
        }
    }
}

/// What behind `at` in `payload` is payload of the body, moved together.
fn payload_of(
    mut payload: Payload,
    at: usize,
    body: &mut Decoding,
) -> Result<(Payload, Range<usize>, Decoded), Fault> {
    let mut first: Option<Range<usize>> = None;
    let mut others: Vec<Range<usize>> = Vec::new();
    let decoded = body.decode(&payload.as_slice()[at..], |range| {
        let range = range.start + at..range.end + at;
        match &mut first {
            None => first = Some(range),
            Some(first) if others.is_empty() && first.end == range.start => first.end = range.end,
            Some(_) => others.push(range),
        }
    });
    let decoded = decoded.map_err(|_| Fault::Os(libc::EPROTO))?;
    let mut range = first.unwrap_or(0..0);
    if others.is_empty() {
        return Ok((payload, range, decoded));
    }
    let bytes: &mut [u8] = match &mut payload {
        Payload::Chunk(chunk) => chunk,
        Payload::Bytes(bytes) => bytes,
        Payload::Counted(_) | Payload::Shared(_) | Payload::Static(_) => {
            payload = Payload::Bytes(payload.as_slice().to_vec());
            match &mut payload {
                Payload::Bytes(bytes) => bytes,
                _ => return Err(Fault::Os(libc::EPROTO)),
            }
        }
    };
    for other in others {
        let len = other.len();
        bytes.copy_within(other, range.end);
        range.end += len;
    }
    Ok((payload, range, decoded))
}
