//! How a message says where its body ends: `Content-Length` and `Transfer-Encoding` (RFC 9112 §6).
//!
//! Here: reading both, refusing whatever two parsers might read differently. Not here: which messages
//! have no body whatever they say (`request.rs`, `response.rs`), the chunked coding (`chunked.rs`).
//!
//! Stricter than it must be: equal lengths given twice are refused (RFC 9110 §8.6 allows either), and
//! `chunked` is the only coding, so that "chunked comes last" needs no thought.

use super::fields::{Fields, Kind};
use super::head::Version;
use super::refusal::{BadHead, Why};
use super::scan;

/// What the fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    Unsaid,
    Length(u64),
    Chunked,
}

/// Reads both fields. A `Transfer-Encoding` in another case is marked to be written as `chunked`.
#[inline]
pub(super) fn read_framing(bytes: &[u8], version: Version, fields: &mut Fields) -> Result<Framing, BadHead> {
    let length = fields.first(Kind::ContentLength).copied();
    let coding = fields.first(Kind::TransferEncoding).copied();
    match (length, coding) {
        (None, None) => Ok(Framing::Unsaid),
        (Some(length), None) => {
            let at = length.value.start as usize;
            if fields.is_repeated(Kind::ContentLength) {
                return Err(BadHead { why: Why::LengthRepeated, at });
            }
            decimal(length.value.of(bytes)).map(Framing::Length).map_err(|why| BadHead { why, at })
        }
        (Some(_), Some(coding)) => {
            Err(BadHead { why: Why::LengthAndCoding, at: coding.value.start as usize })
        }
        (None, Some(coding)) => {
            let value = coding.value.of(bytes);
            let bad = |why| Err(BadHead { why, at: coding.value.start as usize });
            if version == Version::Http10 {
                return bad(Why::CodingInHttp10);
            }
            if fields.is_repeated(Kind::TransferEncoding) || !value.eq_ignore_ascii_case(b"chunked") {
                return bad(wrong_coding(bytes, fields));
            }
            if value != b"chunked" {
                fields.mark_inexact(Kind::TransferEncoding);
            }
            Ok(Framing::Chunked)
        }
    }
}

/// Digits of the largest length, zeros before it included: who counts digits must not see another.
const DIGITS_MAX: usize = 19;

/// A length: digits, and no more than a signed 64-bit number holds. Who is behind us may count with a
/// sign, and must not see less than we do.
fn decimal(digits: &[u8]) -> Result<u64, Why> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Why::BadLength);
    }
    digits
        .iter()
        .try_fold(0u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
        .filter(|&n| n <= i64::MAX as u64 && digits.len() <= DIGITS_MAX)
        .ok_or(Why::LengthTooLarge)
}

/// Whether `Transfer-Encoding`, which is not `chunked` alone, names a coding that we do not have (then
/// another server may: 501), or makes no sense (400).
#[cold]
fn wrong_coding(bytes: &[u8], fields: &Fields) -> Why {
    let mut chunked_before = false;
    let codings = fields.all(Kind::TransferEncoding).flat_map(|f| f.value.of(bytes).split(|&b| b == b','));
    let mut unknown = false;
    for coding in codings {
        let coding = coding.trim_ascii();
        let is_token = !coding.is_empty() && scan::token_len(coding) == coding.len();
        if chunked_before || !is_token {
            return Why::BadCoding;
        }
        chunked_before = coding.eq_ignore_ascii_case(b"chunked");
        unknown |= !chunked_before;
    }
    if unknown { Why::UnknownCoding } else { Why::BadCoding }
}
