//! DATA and trailers as an HTTP/1.1 body: what a stream sends, for weir's inside.
//!
//! A body whose length is known goes as it is; any other goes in chunks, one for each piece. Bytes beyond the
//! length, or an end before it, are a fault here and not left to whoever reads on (RFC 9113 §8.1.1): a body that
//! is not as long as it says is how requests are smuggled. Called by `streams` for each piece.

use super::fields::{is_for_one_connection, write_line};
use crate::http1::{CHUNK_END, LAST_CHUNK, write_chunk_head};
use http::HeaderMap;

/// The DATA disagrees with the length that the message said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not as long as its content-length says")]
pub struct BadData;

/// How what is still to come of a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// There is none.
    Nothing,
    /// So many bytes, as they are.
    Length(u64),
    /// In chunks.
    Chunks,
    /// As they are, to the end of the stream: a tunnel.
    Raw,
}

impl Encoding {
    /// Bytes that a piece of `len` bytes may take beyond itself.
    pub const OVERHEAD: usize = 24;

    /// Appends what a piece of the body is in HTTP/1.1.
    ///
    /// # Errors
    /// It is more than the message said.
    pub fn data(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), BadData> {
        if piece.is_empty() {
            return Ok(());
        }
        match self {
            Self::Nothing => return Err(BadData),
            Self::Length(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(BadData)?;
                out.extend_from_slice(piece);
            }
            Self::Chunks => {
                write_chunk_head(piece.len(), out);
                out.extend_from_slice(piece);
                out.extend_from_slice(CHUNK_END);
            }
            Self::Raw => out.extend_from_slice(piece),
        }
        Ok(())
    }

    /// Appends what the end of the body is in HTTP/1.1. Trailers are lost where there are no chunks: nothing in
    /// HTTP/1.1 could carry them.
    ///
    /// # Errors
    /// There is less of the body than the message said.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), BadData> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing | Self::Length(0) | Self::Raw => Ok(()),
            Self::Length(_) => Err(BadData),
            Self::Chunks => {
                match trailers {
                    None => out.extend_from_slice(LAST_CHUNK),
                    Some(trailers) => {
                        out.extend_from_slice(b"0\r\n");
                        for (name, value) in trailers {
                            if !is_for_one_connection(name) {
                                write_line(name.as_str(), value.as_bytes(), out);
                            }
                        }
                        out.extend_from_slice(b"\r\n");
                    }
                }
                Ok(())
            }
        }
    }
}
