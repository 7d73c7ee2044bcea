//! A response's head and what came with it, made ready to go down.
//!
//! The new head is put in front of the body where the ring received it, so the body is not copied and one
//! send does for both. Called by `exchange.rs` and `upload.rs`.

use super::hold::counted;
use super::request::Input;
use super::service::{Scratch, Service};
use crate::config::GrpcStatus;
use crate::exchange::{
    self, AttemptFailure, BadBody, Downward, FinalHead, RequestFacts, ResponseLeft, Taken, status_in_trailers,
};
use crate::http1::Fields;
use crate::ring::{Chunk, Payload};
use crate::time::Micros;

/// The response is not HTTP, or its body is not framed as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadResponse;

impl From<BadBody> for BadResponse {
    fn from(_: BadBody) -> Self {
        Self
    }
}

/// A final response's head, and what of its body came with it.
pub(super) struct FirstPart {
    pub(super) status: u16,
    /// What goes down now.
    pub(super) payload: Payload,
    /// What comes after.
    pub(super) body: ResponseLeft,
    /// Bytes of the body that have come, as the backend framed them.
    pub(super) body_bytes: u64,
    /// The client's connection ends with this response.
    pub(super) close: bool,
    /// The backend's connection may be kept, once the body is whole.
    pub(super) pool: bool,
    /// How long the backend says that it keeps it.
    pub(super) keep_alive_timeout: Option<Micros>,
    /// It is a 101 that was asked for.
    pub(super) tunnel: bool,
    /// Its length is known, and it is no stream of events: it may wait until it is whole.
    pub(super) holdable: bool,
    /// How a call of gRPC has ended, where this is all of the answer.
    grpc: Option<GrpcStatus>,
    /// It answers a call of gRPC.
    pub(super) is_call: bool,
    /// How that has ended, wherever in the answer it stands; `None`: it is not known, or no call.
    pub(super) ended_with: Option<GrpcStatus>,
}

impl FirstPart {
    /// What it comes to, should it be the backend's failure.
    pub(super) fn verdict(&self) -> AttemptFailure {
        self.grpc.map_or(AttemptFailure::Status(self.status), AttemptFailure::Grpc)
    }
}

/// One head taken out of the backend's bytes.
pub(super) enum Part {
    /// An interim response (1xx), to be passed on at once.
    Interim(Payload),
    /// The response.
    Final(FirstPart),
}

/// Takes one response head out of `input`; `None` if it is not whole yet. `interims`: how many interim
/// responses there were. `closing`: the client's connection ends with it, for weir's own reasons. `seat`: the
/// client's, which knows what names its request.
///
/// # Errors
/// It is not HTTP.
pub(super) fn take_response(
    service: &Service,
    input: &mut Input,
    facts: &RequestFacts,
    interims: u8,
    closing: bool,
    seat: u32,
) -> Result<Option<Part>, BadResponse> {
    let bytes = input.bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    let Scratch { fields, head: new_head, .. } = &mut *service.scratch.borrow_mut();
    new_head.clear();
    let taken = service.ledger.with_id_line(seat, |id_line| {
        exchange::take_response(bytes, facts, interims, closing, id_line, fields, new_head)
    });
    let head = match taken {
        Ok(Some(Downward::Final(head))) => head,
        Ok(Some(Downward::Interim { len })) => {
            let mut out = service.spare();
            out.extend_from_slice(new_head);
            input.consume(len);
            return Ok(Some(Part::Interim(counted(service, out).ok_or(BadResponse)?)));
        }
        Ok(None) => return Ok(None),
        Err(_) => return Err(BadResponse),
    };
    let FinalHead { len, status, mut body, close, pool, keep_alive_timeout, tunnel, grpc } = head;
    let came = bytes.len() - len;
    let holdable = match body {
        // Asked only where it matters: of one that is not whole yet.
        ResponseLeft::Length(length) if length > came as u64 => !is_event_stream(bytes, fields),
        _ => false,
    };
    let has_trailers = facts.grpc && matches!(body, ResponseLeft::Chunks(_));
    let (payload, count) = first_payload(service, input, len, new_head, &mut body)?;
    let behind =
        || (has_trailers && body.is_done()).then(|| status_in_trailers(payload.as_slice())).flatten();
    let ended_with = grpc.or_else(behind);
    Ok(Some(Part::Final(FirstPart {
        status,
        payload,
        body,
        body_bytes: count as u64,
        close,
        pool: pool && count == came,
        keep_alive_timeout,
        tunnel,
        holdable,
        grpc,
        is_call: facts.grpc,
        ended_with,
    })))
}

/// Whether it is a stream of server-sent events, each of which is wanted when it comes.
fn is_event_stream(bytes: &[u8], fields: &Fields) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let kind = fields.get(bytes, b"content-type").unwrap_or_default();
    kind.get(..EVENTS.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
}

/// The new head with what of the body is in `input` behind the first `head_len` bytes, and how many bytes
/// of the body that was.
fn first_payload(
    service: &Service,
    input: &mut Input,
    head_len: usize,
    new_head: &[u8],
    body: &mut ResponseLeft,
) -> Result<(Payload, usize), BadResponse> {
    let rest = &input.bytes()[head_len..];
    let (written, count) = if body.is_verbatim() {
        let Taken { count, instead } = body.take(rest)?;
        match (instead, input.take_chunk()) {
            (None, Some(mut chunk)) => {
                chunk.advance(head_len);
                chunk.truncate(count);
                if chunk.prepend(new_head) {
                    return Ok((Payload::Chunk(chunk), count));
                }
                ([new_head, &chunk].concat(), count)
            }
            (None, None) => ([new_head, &input.bytes()[head_len..head_len + count]].concat(), count),
            (Some(instead), chunk) => return in_place(service, chunk, [new_head, &instead].concat(), count),
        }
    } else {
        let mut out = Vec::with_capacity(new_head.len() + rest.len() + 32);
        out.extend_from_slice(new_head);
        let count = body.transform(rest, &mut out)?;
        return in_place(service, input.take_chunk(), out, count);
    };
    Ok((counted(service, written).ok_or(BadResponse)?, count))
}

/// `bytes` in the place of what they were made of, so that not both are held while the client reads.
fn in_place(
    service: &Service,
    chunk: Option<Chunk>,
    bytes: Vec<u8>,
    count: usize,
) -> Result<(Payload, usize), BadResponse> {
    if let Some(mut chunk) = chunk
        && chunk.replace(&bytes)
    {
        return Ok((Payload::Chunk(chunk), count));
    }
    Ok((counted(service, bytes).ok_or(BadResponse)?, count))
}
