//! What of gRPC an exchange has to know: which requests are gRPC's, how one has ended, what weir's own answers mean.
//!
//! Only an answer that is trailers alone is judged (a response of a head and nothing else, in which `grpc-status`
//! stands): nothing of a call has gone down then, so it can be made again. A status behind a body passes with it, and
//! is read for the record alone. Called by `proxy`.

use crate::config::GrpcStatus;
use crate::http1::Fields;

const CONTENT_TYPE: &[u8] = b"application/grpc";

/// Whether a request with these fields is gRPC's: "application/grpc", with a message's format or parameters behind
/// it. gRPC-Web's is another: its statuses stand in the body.
pub fn is_grpc(bytes: &[u8], fields: &Fields) -> bool {
    let kind = fields.get(bytes, b"content-type").unwrap_or_default();
    let Some((begin, rest)) = kind.split_at_checked(CONTENT_TYPE.len()) else { return false };
    begin.eq_ignore_ascii_case(CONTENT_TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The status of a response that has no body; `None`: it has none of gRPC's.
pub(super) fn status_in_head(bytes: &[u8], fields: &Fields) -> Option<GrpcStatus> {
    fields.get(bytes, b"grpc-status").map(GrpcStatus::of)
}

/// The status in the trailers that `bytes` end with, which are the last of a chunked body; `None`: it is not there, or
/// they begin before `bytes` do.
pub fn status_in_trailers(bytes: &[u8]) -> Option<GrpcStatus> {
    let mut lines = bytes.strip_suffix(b"\r\n\r\n")?.rsplit(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        // The first of these may be what is left of one.
        lines.peek()?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // The size of the last chunk stands before them.
        let colon = memchr::memchr(b':', line)?;
        if line[..colon].eq_ignore_ascii_case(b"grpc-status") {
            return Some(GrpcStatus::of(line[colon + 1..].trim_ascii()));
        }
    }
    None
}

/// The end of a chunked answer that breaks off, as a call of gRPC has it: trailers with a status. `why` is printable
/// ASCII without a percent sign.
pub fn write_broken_off(status: GrpcStatus, why: &str) -> Vec<u8> {
    format!("0\r\nGrpc-Status: {}\r\nGrpc-Message: {why}\r\n\r\n", status.number()).into_bytes()
}

/// Whether it is the backend's failure. What a client brings about itself is not, a deadline that it has set too
/// near among it; nor is what the method's own logic says.
pub const fn is_grpc_failure(status: GrpcStatus) -> bool {
    match status {
        GrpcStatus::Unknown | GrpcStatus::Internal | GrpcStatus::Unavailable | GrpcStatus::DataLoss => true,
        GrpcStatus::Ok
        | GrpcStatus::Cancelled
        | GrpcStatus::InvalidArgument
        | GrpcStatus::DeadlineExceeded
        | GrpcStatus::NotFound
        | GrpcStatus::AlreadyExists
        | GrpcStatus::PermissionDenied
        | GrpcStatus::ResourceExhausted
        | GrpcStatus::FailedPrecondition
        | GrpcStatus::Aborted
        | GrpcStatus::OutOfRange
        | GrpcStatus::Unimplemented
        | GrpcStatus::Unauthenticated => false,
    }
}

/// What an HTTP status means to a client of gRPC
/// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
pub const fn grpc_status_of(http_status: u16) -> GrpcStatus {
    match http_status {
        400 => GrpcStatus::Internal,
        401 => GrpcStatus::Unauthenticated,
        403 => GrpcStatus::PermissionDenied,
        404 => GrpcStatus::Unimplemented,
        429 | 502 | 503 | 504 => GrpcStatus::Unavailable,
        _ => GrpcStatus::Unknown,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::http1::{HeadLimits, parse_request};

    #[test]
    fn the_status_of_trailers_is_read_and_nothing_of_the_body_is_taken_for_it() {
        for (body, expected) in [
            ("0\r\nGrpc-Status: 0\r\n\r\n", Some(GrpcStatus::Ok)),
            ("x\r\n0\r\nGrpc-Status: 0\r\n\r\n", Some(GrpcStatus::Ok)),
            ("x\r\n0\r\ngrpc-status:5\r\nGrpc-Message: a: b\r\n\r\n", Some(GrpcStatus::NotFound)),
            ("\r\n0\r\nGrpc-Message: a\r\nGrpc-Status: 14\r\n\r\n", Some(GrpcStatus::Unavailable)),
            ("x\r\nGrpc-Status: 5\r\n0\r\nX-A: b\r\n\r\n", None),
            ("x\r\nGrpc-Status: 5\r\n0\r\n\r\n", None),
            ("-Status: 5\r\n\r\n", None),
            ("Grpc-Status: 5\r\n", None),
            ("", None),
        ] {
            assert_eq!(status_in_trailers(body.as_bytes()), expected, "{body:?}");
        }
        let broken = [&b"5\r\nhello\r\n"[..], &write_broken_off(GrpcStatus::Unavailable, "why")].concat();
        assert_eq!(status_in_trailers(&broken), Some(GrpcStatus::Unavailable));
    }

    #[test]
    fn a_request_is_grpcs_by_its_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("Application/GRPC", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("application/grp", false),
        ] {
            let head = format!("POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n\r\n");
            let mut fields = Fields::default();
            let limits = HeadLimits { max_head: 1024, max_headers: 10 };
            parse_request(head.as_bytes(), &limits, &mut fields).unwrap();
            assert_eq!(is_grpc(head.as_bytes(), &fields), expected, "{kind}");
        }
        assert!(!is_grpc(b"", &Fields::default()));
    }
}
