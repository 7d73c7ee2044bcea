//! The chunked coding (RFC 9112 §7.1): where the payload is, and where the body ends.
//!
//! Here: a decoder that is fed slices and may be interrupted at any byte, and the few bytes that encoding
//! takes. It copies nothing: it tells where payload lies and where extensions, and who passes the coded body
//! on sends what was consumed but for the extensions. So everything in it is checked as strictly as a head:
//! no bare LF, no size that a reader with less room would cut, no trailer that must not be one
//! (`trailer.rs`). Called by `exchange`.
//!
//! Its overhead is bounded by its payload: a chunk has a byte at least, its size 16 digits at most, and all
//! extensions of a body have a bound of their own. So there is no flood of empty chunks to be counted.

use super::extension::Extension;
use super::scan;
use super::trailer::{Name, Nominations};
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
    /// More than a signed 64-bit number holds, or more than 16 digits, zeros included: a reader that counts
    /// digits would see another size.
    #[error("a chunk size is too large, or has more than 16 digits")]
    SizeTooLarge,
    /// Sizes are short; the rest is extensions, which nobody uses but to attack.
    #[error("a chunk size line is longer than allowed")]
    LineTooLong,
    /// Not `;name`, `;name=token` or `;name="text"`; or white space and then no extension.
    #[error("a chunk extension is malformed")]
    BadExtension,
    /// All of them together.
    #[error("the chunk extensions of the body are longer than allowed")]
    ExtensionsTooLong,
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
    /// Between a size and its line's end.
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

impl State {
    /// Whether the next byte is of the trailer section.
    const fn is_of_trailers(self) -> bool {
        match self {
            Self::TrailerLine | Self::TrailerName | Self::TrailerValue | Self::TrailerLf | Self::LastLf => {
                true
            }
            Self::FirstDigit
            | Self::Digits
            | Self::Extension
            | Self::SizeLf
            | Self::Payload
            | Self::PayloadCr
            | Self::PayloadLf
            | Self::Done => false,
        }
    }
}

/// How long the parts of a chunked body may be that are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of a chunk's size line, its extensions and CRLF included.
    pub max_line: usize,
    /// Bytes of all extensions of a body.
    pub max_extensions: usize,
    /// Bytes of the trailer section, its blank line included.
    pub max_trailers: usize,
}

/// Digits of a size.
const DIGITS_MAX: usize = 16;

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
    /// Bytes of extensions so far.
    extensions: usize,
    /// Where the extension stands, if it is one.
    extension: Extension,
    /// Bytes of the trailer section so far.
    trailers: usize,
    /// The trailer's name so far.
    name: Name,
    limits: ChunkLimits,
    nominated: Option<Box<Nominations>>,
}

impl ChunkDecoder {
    /// A decoder at the start of a body.
    pub const fn new(limits: ChunkLimits) -> Self {
        Self {
            state: State::FirstDigit,
            left: 0,
            payload: 0,
            line: 0,
            extensions: 0,
            extension: Extension::Space,
            trailers: 0,
            name: Name::EMPTY,
            limits,
            nominated: None,
        }
    }

    /// Refuses trailers of these names too.
    pub fn forbid(&mut self, nominated: Option<Box<Nominations>>) {
        self.nominated = nominated;
    }

    /// Payload bytes so far.
    pub const fn payload_len(&self) -> u64 {
        self.payload
    }

    /// Whether the next byte begins a chunk, the last one perhaps.
    pub fn is_between_chunks(&self) -> bool {
        self.state == State::FirstDigit && self.line == 0
    }

    /// Payload bytes so far, and those that the chunk under way says are still to come.
    pub const fn declared_len(&self) -> u64 {
        self.payload.saturating_add(self.left)
    }

    /// Takes the next bytes of the body, and calls `data` with each range of `input` that is payload, in
    /// order. Once the body has ended, what follows is left alone, now and in later calls.
    ///
    /// # Errors
    /// The first fault. `data` has been called for what came before it; the decoder is of no use after it.
    #[inline]
    pub fn decode(&mut self, input: &[u8], data: impl FnMut(Range<usize>)) -> Result<Chunks, BadChunk> {
        self.decode_all(input, data, |_| (), |_| ())
    }

    /// [`Self::decode`] for who passes the payload on in another framing: `trailer` is called with each range of
    /// `input` that is of the trailer section (its lines, and the blank one at its end), in order; they adjoin.
    ///
    /// # Errors
    /// As there.
    pub fn decode_with_trailers(
        &mut self,
        input: &[u8],
        data: impl FnMut(Range<usize>),
        trailer: impl FnMut(Range<usize>),
    ) -> Result<Chunks, BadChunk> {
        self.decode_all(input, data, |_| (), trailer)
    }

    /// [`Self::decode`] for who passes the coded body on: `extension` is called with each range of `input`
    /// that is to be left out, in order; some adjoin.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn decode_coded(
        &mut self,
        input: &[u8],
        extension: impl FnMut(Range<usize>),
    ) -> Result<Chunks, BadChunk> {
        self.decode_all(input, |_| (), extension, |_| ())
    }

    #[inline]
    fn decode_all(
        &mut self,
        input: &[u8],
        mut data: impl FnMut(Range<usize>),
        mut extension: impl FnMut(Range<usize>),
        mut trailer: impl FnMut(Range<usize>),
    ) -> Result<Chunks, BadChunk> {
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
                let in_trailers = self.state.is_of_trailers();
                self.state = self.step(input[at]).map_err(|why| BadChunk { why, at })?;
                if self.state == State::Extension {
                    extension(at..at + 1);
                }
                if in_trailers {
                    trailer(at..at + 1);
                }
                at += 1;
            }
        }
        Ok(Chunks { consumed: at, done: self.state == State::Done })
    }

    /// The state after `byte`, which is not payload.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<State, ChunkWhy> {
        match self.state {
            State::FirstDigit | State::Digits | State::Extension | State::SizeLf => {
                self.line += 1;
                if self.line > self.limits.max_line {
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
                if self.trailers > self.limits.max_trailers {
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
                // No bit is lost: more than 16 digits are not read.
                let size = (self.left << 4) | u64::from(digit);
                if self.line > DIGITS_MAX || size > i64::MAX as u64 {
                    return Err(ChunkWhy::SizeTooLarge);
                }
                self.left = size;
                Ok(State::Digits)
            }
            (State::FirstDigit, _) => Err(ChunkWhy::BadSize),
            (State::Digits, b'\r') => Ok(State::SizeLf),
            (State::Digits | State::Extension, b'\n') => Err(ChunkWhy::BadLineEnd),
            (State::Digits, _) => {
                self.extension = Extension::begin(byte).ok_or(ChunkWhy::BadSize)?;
                self.count_extension()
            }
            (State::Extension, b'\r') if self.extension.may_end() => Ok(State::SizeLf),
            (State::Extension, _) => {
                self.extension = self.extension.step(byte).ok_or(ChunkWhy::BadExtension)?;
                self.count_extension()
            }
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::TrailerLine),
            (State::SizeLf, b'\n') => Ok(State::Payload),
            (_, _) => Err(ChunkWhy::BadLineEnd),
        }
    }

    /// One byte of an extension more.
    fn count_extension(&mut self) -> Result<State, ChunkWhy> {
        self.extensions += 1;
        if self.extensions > self.limits.max_extensions {
            return Err(ChunkWhy::ExtensionsTooLong);
        }
        Ok(State::Extension)
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, ChunkWhy> {
        match (self.state, byte) {
            (State::TrailerLine, b'\r') => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerLf, b'\n') => {
                self.name.clear();
                Ok(State::TrailerLine)
            }
            (State::TrailerLine | State::TrailerName, _) if scan::is_token(byte) => {
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.name.is_forbidden(self.nominated.as_deref()) => {
                Err(ChunkWhy::ForbiddenTrailer)
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if scan::is_value(byte) => Ok(State::TrailerValue),
            (State::LastLf | State::TrailerLf, _) | (_, b'\n') => Err(ChunkWhy::BadLineEnd),
            (_, _) => Err(ChunkWhy::BadTrailer),
        }
    }
}
