//! Where a record ends (RFC 8446 section 5.1), so that rustls is shown whole ones. Pure. Called by `steps.rs` and
//! `layer.rs`.

use rustls::AlertDescription;

/// Type, version, length.
pub(super) const HEADER: usize = 5;

/// Bytes after the header: the plaintext, and what TLS 1.2, which allows more than TLS 1.3, adds at most.
const SEALED_MAX: usize = (1 << 14) + 2048;

/// The first byte of the legacy version that all records carry.
const VERSION: u8 = 3;

/// How long the record is that `bytes` begin with, header and all; `None`: more must come to know it.
///
/// # Errors
/// It is none, or longer than any may be.
pub(super) fn record_len(bytes: &[u8]) -> Result<Option<usize>, AlertDescription> {
    let Some(header) = bytes.get(..HEADER) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if header[1] != VERSION || !(20..=23).contains(&header[0]) {
        return Err(AlertDescription::DecodeError);
    }
    if len > SEALED_MAX {
        return Err(AlertDescription::RecordOverflow);
    }
    Ok(Some(HEADER + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_record_are_refused_by_their_header() {
        assert_eq!(record_len(b"\x17\x03\x03\x00"), Ok(None));
        assert_eq!(record_len(b"\x17\x03\x03\x00\x20"), Ok(Some(HEADER + 32)));
        assert_eq!(record_len(b"GET / HTTP/1.1"), Err(AlertDescription::DecodeError));
        assert_eq!(record_len(b"\x17\x03\x03\x60\x00"), Err(AlertDescription::RecordOverflow));
    }
}
