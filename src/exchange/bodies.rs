//! What of a body is still to pass, in either direction, and what of each piece goes on.
//!
//! A body ends where its head said; whatever comes behind it is another message, and is left to the caller.
//! What belongs to it goes on as it came, so that nobody copies it, but for two cases: where a chunk had an
//! extension, which is for us alone (RFC 9112 §7.1.1), and where the other side needs another framing.
//! Here: that, as state machines fed with slices of any length. Not here: when to read and to send
//! (`proxy`), the chunked coding itself (`http1`), which framing it is (`passing.rs`). Called by `proxy` for
//! each piece of a body.

use super::passing::BodyPass;
use crate::http1::{
    BadChunk, CHUNK_END, ChunkDecoder, ChunkLimits, Fields, LAST_CHUNK, Nominations, RequestBody,
    write_chunk_head,
};

/// Of a chunked body, in either direction.
pub const CHUNK_LIMITS: ChunkLimits =
    ChunkLimits { max_line: 256, max_extensions: 16 << 10, max_trailers: 16 << 10 };

/// Why a body is not passed on to its end. The connection it came over must be closed: where the next
/// message begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Chunks that are none.
    #[error("the chunked body is malformed: {0}")]
    Malformed(#[from] BadChunk),
    /// More payload than the listener's `max_body`.
    #[error("the body is larger than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// The sender closed before the end.
    #[error("the body was cut off")]
    Truncated,
}

/// What of a piece belongs to the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// So many bytes of it; what follows is another message.
    pub count: usize,
    /// What goes on in place of these bytes, if it is not just they.
    pub instead: Option<Vec<u8>>,
}

impl Taken {
    /// What goes on; `piece` is what was taken from.
    pub fn goes_on<'a>(&'a self, piece: &'a [u8]) -> &'a [u8] {
        self.instead.as_deref().unwrap_or(&piece[..self.count])
    }

    const fn as_it_is(count: usize) -> Self {
        Self { count, instead: None }
    }
}

/// What of a request's body has not been taken yet.
#[derive(Debug)]
pub enum RequestLeft {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks; the decoder knows where they stand.
    Chunks(Box<ChunkDecoder>),
}

impl RequestLeft {
    /// Before the first byte of a body that is framed so. `max_body`: bytes of payload; 0: any number.
    ///
    /// # Errors
    /// Its length says that it is larger.
    pub fn of(body: RequestBody, max_body: u64) -> Result<Self, BadBody> {
        match body {
            RequestBody::None | RequestBody::Length(0) => Ok(Self::Nothing),
            RequestBody::Length(length) if max_body > 0 && length > max_body => {
                Err(BadBody::TooLarge { max: max_body })
            }
            RequestBody::Length(length) => Ok(Self::Length(length)),
            RequestBody::Chunked => Ok(Self::Chunks(Box::new(ChunkDecoder::new(CHUNK_LIMITS)))),
        }
    }

    /// Refuses trailers that the head's `Connection` names, or that are among `more`; `fields` were read from
    /// `bytes`.
    pub(super) fn heed<'a>(
        &mut self,
        bytes: &'a [u8],
        fields: &'a Fields,
        more: impl IntoIterator<Item = &'a [u8]>,
    ) {
        if let Self::Chunks(decoder) = self {
            decoder.forbid(Nominations::of(bytes, fields, more));
        }
    }

    /// Takes what of `piece` belongs to the body.
    ///
    /// # Errors
    /// Chunks that are none, or more payload than `max_body` bytes. Nothing of this piece may go on.
    pub fn take(&mut self, piece: &[u8], max_body: u64) -> Result<Taken, BadBody> {
        let (taken, done) = match self {
            Self::Nothing => return Ok(Taken::as_it_is(0)),
            Self::Length(left) => take_length(left, piece),
            Self::Chunks(decoder) => {
                let taken = take_chunks(decoder, piece)?;
                if max_body > 0 && decoder.declared_len() > max_body {
                    return Err(BadBody::TooLarge { max: max_body });
                }
                taken
            }
        };
        if done {
            *self = Self::Nothing;
        }
        Ok(taken)
    }

    /// Whether the whole body has been taken.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What of a response's body has not been taken yet, and how it goes down.
#[derive(Debug)]
pub enum ResponseLeft {
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
    /// Before the first byte of a body that is passed so.
    pub fn of(body: BodyPass) -> Self {
        let decoder = || Box::new(ChunkDecoder::new(CHUNK_LIMITS));
        match body {
            BodyPass::Nothing => Self::Nothing,
            BodyPass::Length(length) => Self::Length(length),
            BodyPass::Chunks => Self::Chunks(decoder()),
            BodyPass::Unchunk => Self::Unchunk(decoder()),
            BodyPass::Chunk => Self::Chunk,
            BodyPass::UntilClose => Self::UntilClose,
        }
    }

    /// Refuses trailers that the head's `Connection` names; `fields` were read from `bytes`.
    pub(super) fn heed(&mut self, bytes: &[u8], fields: &Fields) {
        if let Self::Chunks(decoder) | Self::Unchunk(decoder) = self {
            decoder.forbid(Nominations::of(bytes, fields, []));
        }
    }

    /// Whether the body goes down as it comes up (extensions apart), so that it need not be copied.
    pub const fn is_verbatim(&self) -> bool {
        match self {
            Self::Nothing | Self::Length(_) | Self::Chunks(_) | Self::UntilClose => true,
            Self::Unchunk(_) | Self::Chunk => false,
        }
    }

    /// Takes what of `piece` belongs to the body.
    ///
    /// # Errors
    /// Chunks that are none. Nothing of this piece may go on.
    pub fn take(&mut self, piece: &[u8]) -> Result<Taken, BadBody> {
        let (taken, done) = match self {
            Self::Nothing => return Ok(Taken::as_it_is(0)),
            Self::UntilClose => return Ok(Taken::as_it_is(piece.len())),
            Self::Length(left) => take_length(left, piece),
            Self::Chunks(decoder) => take_chunks(decoder, piece)?,
            Self::Unchunk(_) | Self::Chunk => {
                let mut out = Vec::with_capacity(piece.len() + 16);
                let count = self.transform(piece, &mut out)?;
                return Ok(Taken { count, instead: Some(out) });
            }
        };
        if done {
            *self = Self::Nothing;
        }
        Ok(taken)
    }

    /// [`Self::take`], into memory of the caller's: what goes down is appended to `out`. Returns how many
    /// bytes of `piece` belong to the body.
    ///
    /// # Errors
    /// Chunks that are none.
    pub fn transform(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, BadBody> {
        match self {
            Self::Chunk if piece.is_empty() => Ok(0),
            Self::Chunk => {
                write_chunk_head(piece.len(), out);
                out.extend_from_slice(piece);
                out.extend_from_slice(CHUNK_END);
                Ok(piece.len())
            }
            Self::Unchunk(decoder) => {
                let chunks = decoder.decode(piece, |range| out.extend_from_slice(&piece[range]))?;
                if chunks.done {
                    *self = Self::Nothing;
                }
                Ok(chunks.consumed)
            }
            Self::Nothing | Self::Length(_) | Self::Chunks(_) | Self::UntilClose => {
                let taken = self.take(piece)?;
                out.extend_from_slice(taken.goes_on(piece));
                Ok(taken.count)
            }
        }
    }

    /// The backend has closed: what still goes down, if this is how the body ends.
    ///
    /// # Errors
    /// It is not: the response is truncated.
    pub fn close(&mut self) -> Result<&'static [u8], BadBody> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing | Self::UntilClose => Ok(b""),
            Self::Chunk => Ok(LAST_CHUNK),
            Self::Length(_) | Self::Chunks(_) | Self::Unchunk(_) => Err(BadBody::Truncated),
        }
    }

    /// Whether the whole body has been taken.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Whether a last chunk of weir's may end it here, as it goes down.
    pub fn may_end_here(&self) -> bool {
        match self {
            Self::Chunks(decoder) => decoder.is_between_chunks(),
            Self::Chunk => true,
            Self::Nothing | Self::Length(_) | Self::Unchunk(_) | Self::UntilClose => false,
        }
    }

    /// Whether the close of the client's connection is all that tells it that the body is whole.
    pub const fn ends_by_close(&self) -> bool {
        match self {
            Self::Unchunk(_) | Self::UntilClose => true,
            Self::Nothing | Self::Length(_) | Self::Chunks(_) | Self::Chunk => false,
        }
    }
}

/// What of `piece` is within the `left` bytes, and whether that is all of them.
fn take_length(left: &mut u64, piece: &[u8]) -> (Taken, bool) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
    *left -= count as u64;
    (Taken::as_it_is(count), *left == 0)
}

/// What of `piece` the decoder takes, without extensions, and whether that is the end.
fn take_chunks(decoder: &mut ChunkDecoder, piece: &[u8]) -> Result<(Taken, bool), BadChunk> {
    let mut instead: Option<Vec<u8>> = None;
    let mut copied = 0;
    let chunks = decoder.decode_coded(piece, |extension| {
        let out = instead.get_or_insert_with(|| Vec::with_capacity(piece.len()));
        out.extend_from_slice(&piece[copied..extension.start]);
        copied = extension.end;
    })?;
    if let Some(out) = &mut instead {
        out.extend_from_slice(&piece[copied..chunks.consumed]);
    }
    Ok((Taken { count: chunks.consumed, instead }, chunks.done))
}
