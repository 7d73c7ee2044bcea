//! Field lines of one version as those of the other.
//!
//! HTTP/2 has names in lower case alone (RFC 9113 §8.2.1). HTTP/1.1 does not care, but some that speak it do: there
//! they get the case that everybody writes. Called for heads and trailers of both directions.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Appends `Name: value CRLF`, with the name, given in lower case, in Title-Case.
pub fn write_line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(name.as_bytes());
    let mut begins = true;
    for byte in &mut out[start..] {
        if begins {
            byte.make_ascii_uppercase();
        }
        begins = *byte == b'-';
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether a message with these fields is gRPC's, gRPC-Web's included.
pub(super) fn is_grpc(fields: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let Some(kind) = fields.get(header::CONTENT_TYPE) else { return false };
    kind.as_bytes().get(..GRPC.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(GRPC))
}

/// Whether a field is about one HTTP/1.1 connection: no HTTP/2 message has it (RFC 9113 §8.2.2). `TE` is another
/// matter: it may say `trailers`.
pub fn is_for_one_connection(name: &HeaderName) -> bool {
    name == header::CONNECTION
        || name == header::TRANSFER_ENCODING
        || name == header::UPGRADE
        || name == "keep-alive"
        || name == "proxy-connection"
}

/// Whether trailers are to be expected behind the body (RFC 9110 §6.6.2). Such a message goes in chunks, even if its
/// length is known: nothing else in HTTP/1.1 has room for them.
pub(super) fn announces_trailers(fields: &HeaderMap) -> bool {
    fields.contains_key(header::TRAILER) || is_grpc(fields)
}

/// The fields of whole lines (`name: value CRLF`), perhaps with a blank one at the end, which a parser of `http1`
/// has taken. What is for one connection is left out, and so is what the `http` crate would not have.
pub fn fields_of_lines(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            && !is_for_one_connection(&name)
        {
            // Fails only if there are more than the map can hold, which no trailer section has room for.
            let _ = fields.try_append(name, value);
        }
    }
    fields
}
