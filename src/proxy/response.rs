//! A response's head and what came with it, made ready to go down.
//!
//! The new head is put in front of the body where the ring received it, so the body is not copied and one
//! send does for both. Called by `exchange.rs` and `upload.rs`.

use super::request::{CHUNK_LINE_MAX, Input, TRAILERS_MAX};
use super::service::Service;
use crate::exchange::{BodyPass, RequestFacts, may_pool, pass_response};
use crate::http1::{
    CHUNK_END, ChunkDecoder, ConnectionField, DownstreamFraming, Fields, HeadLimits, LAST_CHUNK, Parse,
    ResponseHead, ResponseRewrite, parse_response, write_chunk_head, write_response,
};
use crate::ring::Payload;
use crate::time::Micros;

/// Limits of a backend's response head: backends are trusted more than clients, but not with all memory.
const LIMITS: HeadLimits = HeadLimits { max_head: 64 << 10, max_headers: 256 };

/// The response is not HTTP, or its body is not framed as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadResponse;

/// What of a response's body has not gone down yet, and how it goes.
pub(super) enum ResponseLeft {
    /// Nothing is left.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks, as they come.
    Chunks(Box<ChunkDecoder>),
    /// The payload of chunks.
    Unchunk(Box<ChunkDecoder>),
    /// Until the backend closes, in chunks of ours.
    Chunk,
    /// Until the backend closes.
    UntilClose,
}

impl ResponseLeft {
    fn of(body: BodyPass) -> Self {
        let decoder = || Box::new(ChunkDecoder::new(CHUNK_LINE_MAX, TRAILERS_MAX));
        match body {
            BodyPass::Nothing => Self::Nothing,
            BodyPass::Length(length) => Self::Length(length),
            BodyPass::Chunks => Self::Chunks(decoder()),
            BodyPass::Unchunk => Self::Unchunk(decoder()),
            BodyPass::Chunk => Self::Chunk,
            BodyPass::UntilClose => Self::UntilClose,
        }
    }

    /// Whether the body goes down as it comes up, so that it need not be copied.
    pub(super) fn is_verbatim(&self) -> bool {
        match self {
            Self::Nothing | Self::Length(_) | Self::Chunks(_) | Self::UntilClose => true,
            Self::Unchunk(_) | Self::Chunk => false,
        }
    }

    /// Takes what of `bytes` belongs to the body: how many bytes.
    ///
    /// # Errors
    /// Chunks that are none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, BadResponse> {
        self.take_into(bytes, |_| ())
    }

    /// [`Self::take`], and what of it goes down is appended to `out`.
    ///
    /// # Errors
    /// Chunks that are none.
    pub(super) fn transform(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, BadResponse> {
        match self {
            Self::Chunk if bytes.is_empty() => Ok(0),
            Self::Chunk => {
                write_chunk_head(bytes.len(), out);
                out.extend_from_slice(bytes);
                out.extend_from_slice(CHUNK_END);
                Ok(bytes.len())
            }
            Self::Unchunk(_) => self.take_into(bytes, |payload| out.extend_from_slice(payload)),
            Self::Nothing | Self::Length(_) | Self::Chunks(_) | Self::UntilClose => {
                let count = self.take(bytes)?;
                out.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }

    fn take_into(&mut self, bytes: &[u8], mut payload: impl FnMut(&[u8])) -> Result<usize, BadResponse> {
        let (count, done) = match self {
            Self::Nothing => return Ok(0),
            Self::Chunk | Self::UntilClose => return Ok(bytes.len()),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                (count, *left == 0)
            }
            Self::Chunks(decoder) | Self::Unchunk(decoder) => {
                let chunks =
                    decoder.decode(bytes, |range| payload(&bytes[range])).map_err(|_| BadResponse)?;
                (chunks.consumed, chunks.done)
            }
        };
        if done {
            *self = Self::Nothing;
        }
        Ok(count)
    }

    /// The backend has closed: what still goes down, if this is how the body ends.
    ///
    /// # Errors
    /// It is not: the response is truncated.
    pub(super) fn close(&mut self) -> Result<&'static [u8], BadResponse> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing | Self::UntilClose => Ok(b""),
            Self::Chunk => Ok(LAST_CHUNK),
            Self::Length(_) | Self::Chunks(_) | Self::Unchunk(_) => Err(BadResponse),
        }
    }

    /// Whether the whole body has been taken.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Whether the close of the client's connection is all that tells it that the body is whole.
    pub(super) fn ends_by_close(&self) -> bool {
        match self {
            Self::Unchunk(_) | Self::UntilClose => true,
            Self::Nothing | Self::Length(_) | Self::Chunks(_) | Self::Chunk => false,
        }
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
}

/// One head taken out of the backend's bytes.
pub(super) enum Part {
    /// An interim response (1xx), to be passed on at once.
    Interim(Vec<u8>),
    /// The response.
    Final(FirstPart),
}

/// Takes one response head out of `input`; `None` if it is not whole yet. `closing`: the client's
/// connection ends with it, for weir's own reasons.
///
/// # Errors
/// It is not HTTP.
pub(super) fn take_response(
    service: &Service,
    input: &mut Input,
    facts: &RequestFacts,
    closing: bool,
) -> Result<Option<Part>, BadResponse> {
    let mut scratch = service.scratch.borrow_mut();
    let scratch = &mut *scratch;
    let bytes = input.bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    let head =
        match parse_response(bytes, &LIMITS, &mut scratch.fields, facts.method).map_err(|_| BadResponse)? {
            Parse::Complete(head) => head,
            Parse::Partial => return Ok(None),
        };
    let tunnel = head.status == 101;
    if tunnel && !(facts.upgrade && head.upgrade) {
        return Err(BadResponse);
    }
    scratch.head.clear();
    if head.status < 200 && !tunnel {
        let rewrite = ResponseRewrite {
            framing: DownstreamFraming::AsReceived,
            connection: ConnectionField::None,
            upgrade: false,
        };
        let mut out = service.spare();
        // An HTTP/1.0 client knows no interim responses (RFC 9110 §15.2).
        if facts.version == crate::http1::Version::Http11 {
            write_response(bytes, &head, &scratch.fields, &rewrite, &mut out);
        }
        input.consume(head.len);
        return Ok(Some(Part::Interim(out)));
    }
    let passing = pass_response(facts, &head, closing && !tunnel);
    let rewrite =
        ResponseRewrite { framing: passing.framing, connection: passing.connection, upgrade: tunnel };
    write_response(bytes, &head, &scratch.fields, &rewrite, &mut scratch.head);
    let mut body = if tunnel { ResponseLeft::UntilClose } else { ResponseLeft::of(passing.body) };
    let came = input.bytes().len() - head.len;
    let holdable = match body {
        // Asked only where it matters: of one that is not whole yet.
        ResponseLeft::Length(length) if length > came as u64 => !is_event_stream(bytes, &scratch.fields),
        _ => false,
    };
    let (payload, count) = first_payload(input, &head, &scratch.head, &mut body)?;
    Ok(Some(Part::Final(FirstPart {
        status: head.status,
        payload,
        body,
        body_bytes: count as u64,
        close: passing.close,
        pool: may_pool(&head, count < came) && !facts.upgrade,
        keep_alive_timeout: head.keep_alive_timeout_s.map(|s| Micros::from_s(u64::from(s))),
        tunnel,
        holdable,
    })))
}

/// Whether it is a stream of server-sent events, each of which is wanted when it comes.
fn is_event_stream(bytes: &[u8], fields: &Fields) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let kind = fields.get(bytes, b"content-type").unwrap_or_default();
    kind.get(..EVENTS.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
}

/// The new head with what of the body is in `input`, and how many bytes of the body that was.
fn first_payload(
    input: &mut Input,
    head: &ResponseHead,
    new_head: &[u8],
    body: &mut ResponseLeft,
) -> Result<(Payload, usize), BadResponse> {
    let rest = &input.bytes()[head.len..];
    if body.is_verbatim() {
        let count = body.take(rest)?;
        if let Some(mut chunk) = input.take_chunk() {
            chunk.advance(head.len);
            chunk.truncate(count);
            if chunk.prepend(new_head) {
                return Ok((Payload::Chunk(chunk), count));
            }
            return Ok((Payload::Bytes([new_head, &chunk].concat()), count));
        }
        let bytes = [new_head, &input.bytes()[head.len..head.len + count]].concat();
        return Ok((Payload::Bytes(bytes), count));
    }
    let mut out = Vec::with_capacity(new_head.len() + rest.len() + 32);
    out.extend_from_slice(new_head);
    let count = body.transform(rest, &mut out)?;
    if let Some(mut chunk) = input.take_chunk()
        && chunk.replace(&out)
    {
        // As in `download.rs`: one of them is held while the client reads, not both.
        return Ok((Payload::Chunk(chunk), count));
    }
    Ok((Payload::Bytes(out), count))
}
