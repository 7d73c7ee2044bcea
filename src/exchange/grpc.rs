//! What of gRPC an exchange has to know: which requests are gRPC's, how one has ended, what weir's own answers mean.
//!
//! Only an answer that is trailers alone is judged (a response of a head and nothing else, in which `grpc-status`
//! stands): nothing of a call has gone down then, so it can be made again. A status behind a body passes with it,
//! unread. Called by `proxy`.

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
