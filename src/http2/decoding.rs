//! An HTTP/1.1 body as DATA and trailers: what weir's inside sends, for a stream.
//!
//! It comes behind a head in pieces of any length, and what is payload in each is told as ranges, so that nobody
//! copies it. Called by `streams` for each piece.

use super::fields::fields_of_lines;
use crate::http1::{BadChunk, ChunkDecoder, ChunkLimits, RequestBody, ResponseBody};
use http::HeaderMap;
use std::ops::Range;

/// Of a chunked body; whatever comes here has been held to limits of its own before.
const LIMITS: ChunkLimits = ChunkLimits { max_line: 256, max_extensions: 16 << 10, max_trailers: 16 << 10 };

/// A chunked body, and what came of its trailer section.
#[derive(Clone, Debug)]
pub struct Chunked {
    decoder: ChunkDecoder,
    trailers: Vec<u8>,
}

/// What is still to come of a body.
#[derive(Clone, Debug)]
pub enum Decoding {
    /// Nothing.
    Nothing,
    /// So many bytes, at least 1.
    Length(u64),
    /// Chunks.
    Chunks(Box<Chunked>),
    /// All that comes until the sender ends: a tunnel, or a body that ends so.
    Raw,
}

/// What a piece came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// There is more to come.
    More,
    /// It was the last.
    End,
    /// It was the last, and these stand behind it.
    EndWith(HeaderMap),
}

impl Decoding {
    /// Before the first byte of a request's body.
    pub fn of_request(body: RequestBody) -> Self {
        match body {
            RequestBody::None | RequestBody::Length(0) => Self::Nothing,
            RequestBody::Length(length) => Self::Length(length),
            RequestBody::Chunked => Self::chunks(),
        }
    }

    /// Before the first byte of a response's body.
    pub fn of_response(body: ResponseBody) -> Self {
        match body {
            ResponseBody::None | ResponseBody::Length(0) => Self::Nothing,
            ResponseBody::Length(length) => Self::Length(length),
            ResponseBody::Chunked => Self::chunks(),
            ResponseBody::UntilClose => Self::Raw,
        }
    }

    fn chunks() -> Self {
        Self::Chunks(Box::new(Chunked { decoder: ChunkDecoder::new(LIMITS), trailers: Vec::new() }))
    }

    /// Whether nothing is still to come.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Takes the next bytes of the body, and calls `data` with each range of `piece` that is payload, in order.
    /// What follows the body's end is left alone.
    ///
    /// # Errors
    /// Chunks that are none.
    pub fn decode(&mut self, piece: &[u8], mut data: impl FnMut(Range<usize>)) -> Result<Decoded, BadChunk> {
        let decoded = match self {
            Self::Nothing => Decoded::End,
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= here as u64;
                if here > 0 {
                    data(0..here);
                }
                if *left == 0 { Decoded::End } else { Decoded::More }
            }
            Self::Raw => {
                if !piece.is_empty() {
                    data(0..piece.len());
                }
                Decoded::More
            }
            Self::Chunks(chunked) => {
                let Chunked { decoder, trailers } = &mut **chunked;
                let keep = |range: Range<usize>| trailers.extend_from_slice(&piece[range]);
                let chunks = decoder.decode_with_trailers(piece, data, keep)?;
                // No more than the blank line: there are none.
                match (chunks.done, trailers.len() > 2) {
                    (false, _) => Decoded::More,
                    (true, false) => Decoded::End,
                    (true, true) => Decoded::EndWith(fields_of_lines(trailers)),
                }
            }
        };
        if decoded != Decoded::More {
            *self = Self::Nothing;
        }
        Ok(decoded)
    }
}
