//! The chunked coding (RFC 9112 §7.1): where the payload is, and where the body ends.
//!
//! Here: a decoder that is fed slices and may be interrupted at any byte, and the few bytes that encoding
//! takes. It copies nothing: it tells where payload lies, and who passes the coded body on as it stands
//! sends just what was consumed, so everything in it is checked as strictly as a head: no bare LF, no
//! control bytes in extensions, and no trailer that would frame, route or identify (RFC 9110 §6.5.1),
//! because a recipient that merges trailers into the fields would believe it. Called by `proxy`.

use super::scan;
use std::ops::Range;

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What comes after a chunk's payload.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends to `out` what comes before a chunk's payload of `len` bytes. Nothing for an empty one, which
/// would end the body (and then no [`CHUNK_END`] either).
pub fn write_chunk_head(len: usize, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(len >> (4 * place)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// How far the decoder came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Bytes of the input that belong to the body: all of it, unless the body ended within.
    pub consumed: usize,
    /// Whether the body has ended, trailer section included.
    pub done: bool,
}

/// A body that is refused. Its connection must be closed: where the next message begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} (byte {at} of this piece of the body)")]
pub struct BadChunk {
    /// What is wrong.
    pub why: ChunkWhy,
    /// Where: an offset into the input of this call.
    pub at: usize,
}

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkWhy {
    /// Not hexadecimal digits, or none.
    #[error("a chunk size is not a hexadecimal number")]
    BadSize,
    /// More than a signed 64-bit number holds.
    #[error("a chunk size is too large")]
    SizeTooLarge,
    /// Sizes are short; the rest is extensions, which nobody uses but to attack.
    #[error("a chunk size line is longer than allowed")]
    LineTooLong,
    /// A control byte in it, or white space and then no extension.
    #[error("a chunk extension is malformed")]
    BadExtension,
    /// LF without CR before it, CR without LF after it.
    #[error("a line of the chunked coding does not end in CRLF")]
    BadLineEnd,
    /// The payload is longer than its size says.
    #[error("a chunk's payload is not followed by CRLF")]
    BadChunkEnd,
    /// A name, colon or value that no field line has.
    #[error("a trailer field is malformed")]
    BadTrailer,
    /// RFC 9110 §6.5.1.
    #[error("a field is in the trailers that must not be there")]
    ForbiddenTrailer,
    /// The trailer section is larger than allowed.
    #[error("the trailer section is longer than allowed")]
    TrailersTooLarge,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FirstDigit,
    Digits,
    /// White space after the digits, which only an extension may follow.
    SpaceAfterSize,
    Extension,
    SizeLf,
    Payload,
    PayloadCr,
    PayloadLf,
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// Longest name in [`FORBIDDEN`]; of longer names no more is kept.
const NAME_KEPT: usize = 19;

/// Names that trailers may not have.
const FORBIDDEN: [&[u8]; 18] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"proxy-authorization",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Decodes one chunked body, slice by slice.
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    state: State,
    /// The size being read; then the payload bytes of this chunk that have not come yet.
    left: u64,
    /// Payload bytes so far.
    payload: u64,
    /// Bytes of this size line so far.
    line: usize,
    max_line: usize,
    /// Bytes of the trailer section so far.
    trailers: usize,
    max_trailers: usize,
    /// The trailer's name so far, in lower case, and its length, of which no more than so much is kept.
    name: [u8; NAME_KEPT],
    name_len: usize,
}

impl ChunkDecoder {
    /// A decoder at the start of a body. `max_line`: bytes of a chunk's size line, extensions included;
    /// `max_trailers`: bytes of the trailer section, its blank line included.
    pub const fn new(max_line: usize, max_trailers: usize) -> Self {
        Self {
            state: State::FirstDigit,
            left: 0,
            payload: 0,
            line: 0,
            max_line,
            trailers: 0,
            max_trailers,
            name: [0; NAME_KEPT],
            name_len: 0,
        }
    }

    /// Payload bytes so far.
    pub const fn payload_len(&self) -> u64 {
        self.payload
    }

    /// Takes the next bytes of the body, and calls `data` with each range of `input` that is payload, in
    /// order. Once the body has ended, what follows is left alone, now and in later calls.
    ///
    /// # Errors
    /// The first fault. `data` has been called for what came before it; the decoder is of no use after it.
    pub fn decode(&mut self, input: &[u8], mut data: impl FnMut(Range<usize>)) -> Result<Chunks, BadChunk> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Payload {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                data(at..at + here);
                at += here;
                self.left -= here as u64;
                self.payload = self.payload.saturating_add(here as u64);
                if self.left == 0 {
                    self.state = State::PayloadCr;
                }
            } else {
                self.state = self.step(input[at]).map_err(|why| BadChunk { why, at })?;
                at += 1;
            }
        }
        Ok(Chunks { consumed: at, done: self.state == State::Done })
    }

    /// The state after `byte`, which is not payload.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<State, ChunkWhy> {
        match self.state {
            State::FirstDigit | State::Digits | State::SpaceAfterSize | State::Extension | State::SizeLf => {
                self.line += 1;
                if self.line > self.max_line {
                    return Err(ChunkWhy::LineTooLong);
                }
                self.step_size(byte)
            }
            State::PayloadCr if byte == b'\r' => Ok(State::PayloadLf),
            State::PayloadLf if byte == b'\n' => {
                self.left = 0;
                self.line = 0;
                Ok(State::FirstDigit)
            }
            State::PayloadCr | State::PayloadLf => Err(ChunkWhy::BadChunkEnd),
            State::TrailerLine
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::LastLf => {
                self.trailers += 1;
                if self.trailers > self.max_trailers {
                    return Err(ChunkWhy::TrailersTooLarge);
                }
                self.step_trailer(byte)
            }
            // `decode` does not come here with these.
            State::Payload | State::Done => Ok(self.state),
        }
    }

    #[inline]
    fn step_size(&mut self, byte: u8) -> Result<State, ChunkWhy> {
        match (self.state, byte) {
            (State::FirstDigit | State::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte & 0xf) + if byte > b'9' { 9 } else { 0 };
                self.left = self
                    .left
                    .checked_mul(16)
                    .map(|size| size | u64::from(digit))
                    .filter(|&size| size <= i64::MAX as u64)
                    .ok_or(ChunkWhy::SizeTooLarge)?;
                Ok(State::Digits)
            }
            (State::FirstDigit, _) => Err(ChunkWhy::BadSize),
            (State::Digits | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Digits | State::SpaceAfterSize, b';') => Ok(State::Extension),
            (State::Digits | State::SpaceAfterSize, b' ' | b'\t') => Ok(State::SpaceAfterSize),
            (State::Digits | State::Extension, b'\n') => Err(ChunkWhy::BadLineEnd),
            (State::Digits, _) => Err(ChunkWhy::BadSize),
            (State::Extension, _) if scan::is_value(byte) => Ok(State::Extension),
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::TrailerLine),
            (State::SizeLf, b'\n') => Ok(State::Payload),
            (State::SizeLf, _) => Err(ChunkWhy::BadLineEnd),
            (_, _) => Err(ChunkWhy::BadExtension),
        }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, ChunkWhy> {
        match (self.state, byte) {
            (State::TrailerLine, b'\r') => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerLf, b'\n') => {
                self.name_len = 0;
                Ok(State::TrailerLine)
            }
            (State::TrailerLine | State::TrailerName, _) if scan::is_token(byte) => {
                if let Some(kept) = self.name.get_mut(self.name_len) {
                    *kept = byte.to_ascii_lowercase();
                }
                self.name_len += 1;
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.is_forbidden() => Err(ChunkWhy::ForbiddenTrailer),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if scan::is_value(byte) => Ok(State::TrailerValue),
            (State::LastLf | State::TrailerLf, _) | (_, b'\n') => Err(ChunkWhy::BadLineEnd),
            (_, _) => Err(ChunkWhy::BadTrailer),
        }
    }

    fn is_forbidden(&self) -> bool {
        let kept = &self.name[..self.name_len.min(NAME_KEPT)];
        // A longer name than is kept is none of these, but may be of a family.
        (self.name_len <= NAME_KEPT && FORBIDDEN.contains(&kept))
            || kept.starts_with(b"x-forwarded-")
            || kept == b"x-real-ip"
    }
}
