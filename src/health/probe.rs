//! One probe's outcome: what passes, and how a failure reads in the log.

use crate::config::GrpcStatus;
use crate::time::Micros;
use memchr::memmem;
use std::fmt;

/// Why a probe failed. Its text is the reason in the log line of a transition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody listens there.
    #[error("connect refused")]
    ConnectRefused,
    /// The connection could not be made otherwise: no route, no such socket file, no descriptor.
    #[error("connect failed: {0}")]
    ConnectFailed(String),
    /// No verdict within the check's timeout.
    #[error("timed out after {0}")]
    Timeout(Micros),
    /// The backend reset the connection.
    #[error("connection reset")]
    Reset,
    /// The backend closed the connection before its answer was whole.
    #[error("connection closed before the response was complete")]
    Closed,
    /// The answer's status is none of those expected.
    #[error("status {status}, expected {expected}")]
    Status {
        /// What it was.
        status: u16,
        /// What would have passed, as the configuration writes it.
        expected: String,
    },
    /// The answer's body lacks `health.body_contains`.
    #[error("body does not contain {0:?}")]
    BodyMismatch(String),
    /// The answer is not HTTP as we read it.
    #[error("bad response: {0}")]
    BadResponse(String),
    /// No session of TLS came about; why, in words for an operator.
    #[error("TLS: {0}")]
    Tls(String),
    /// A gRPC check was answered by something else; what.
    #[error("not gRPC's health protocol: {0}")]
    NotGrpc(String),
    /// A gRPC check was answered with this status.
    #[error("gRPC status {}{}{message}", .status.word(), if .message.is_empty() { "" } else { ": " })]
    Grpc {
        /// What it was.
        status: GrpcStatus,
        /// The server's own words for it.
        message: String,
    },
    /// The server answers as the protocol says, and does not say SERVING.
    #[error("it says {0}")]
    NotServing(&'static str),
}

impl ProbeFailure {
    /// The failure for a `status` that is none of `expect`.
    pub fn status(status: u16, expect: &[(u16, u16)]) -> Self {
        Self::Status { status, expected: Statuses(expect).to_string() }
    }
}

/// Ranges of statuses as the configuration writes them: "200,204,300-399".
pub struct Statuses<'a>(pub &'a [(u16, u16)]);

impl fmt::Display for Statuses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// Whether `status` lies in one of the ranges, whose ends belong to them.
pub fn status_matches(expect: &[(u16, u16)], status: u16) -> bool {
    expect.iter().any(|&(first, last)| (first..=last).contains(&status))
}

/// Whether `needle` stands anywhere in `body`; the empty needle does.
pub fn body_contains(body: &[u8], needle: &[u8]) -> bool {
    memmem::find(body, needle).is_some()
}
