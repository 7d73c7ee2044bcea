//! What the end of a stream means for its exchange.

use crate::ring::Fault;
use crate::wire::UNTOUCHED;
use h2::{Error, Reason};

/// A stream that is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// As the proxy sees it.
    pub(super) fault: Fault,
    /// The backend has said that it has not begun with the request, or cannot have seen it.
    pub(super) untouched: bool,
}

impl Lost {
    /// The request did not leave.
    pub(super) const NOT_SENT: Self = Self { fault: Fault::Os(UNTOUCHED), untouched: true };

    /// The stream was given up here.
    pub(super) const GIVEN_UP: Self = Self { fault: Fault::Os(libc::EPIPE), untouched: false };

    /// What came is not HTTP.
    pub(super) const BROKEN: Self = Self { fault: Fault::Os(libc::EPROTO), untouched: false };

    /// What the backend is told, if its stream is still open (RFC 9113 §7).
    pub(super) fn reason(self) -> Reason {
        if self == Self::BROKEN { Reason::PROTOCOL_ERROR } else { Reason::CANCEL }
    }

    /// `h2` has said so. A stream that the backend refuses has not been looked at (RFC 9113 §8.7), nor one with a
    /// number above that which its GOAWAY gives (§6.8); `h2` tells only those of a GOAWAY.
    pub(super) fn of(error: &Error) -> Self {
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && (refused || error.is_go_away()) {
            return Self::NOT_SENT;
        }
        let errno = if error.is_library() { libc::EPROTO } else { libc::ECONNRESET };
        Self { fault: Fault::Os(errno), untouched: false }
    }
}

/// Whether the backend has ended the stream without a fault: it wants no more of the request (RFC 9113 §8.1), and
/// its answer is whole.
pub(super) fn is_no_error(error: &Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}
