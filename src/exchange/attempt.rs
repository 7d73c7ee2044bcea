//! After a failed attempt at a backend: is there another one, or which answer does the client get?
//!
//! The rule: try again if the backend cannot have begun with the request (no connection, or not a byte
//! was taken), or if the request is idempotent and the backend closed without a byte of an answer. A FIN
//! does not prove that the request was not processed, so anything else is not sent twice (RFC 9110
//! §9.2.2). Called by `proxy`.

/// Attempts that one exchange gets, the first included.
pub const ATTEMPTS_MAX: u8 = 3;

/// What is known of an attempt when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first.
    pub number: u8,
    /// It used a connection from the idle pool.
    pub reused: bool,
    /// All that was taken from the client so far can be sent again.
    pub replayable: bool,
    /// The method may be repeated without harm.
    pub idempotent: bool,
}

/// How an attempt failed before a byte of the response was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection: refused, reset, unreachable.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// As many connections to it as `upstream.max_connections` allows, all in use.
    Full,
    /// The connection took not a byte of the request.
    NotSent,
    /// It ended before a byte of the response.
    NoResponse,
    /// The backend did not take the request in time.
    SendTimeout,
    /// No response in time.
    ResponseTimeout,
    /// What came is not HTTP.
    BadResponse,
}

impl AttemptFailure {
    /// The phase that failed, as the client reads it in the body of weir's answer.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Connect => "could not connect to a backend",
            Self::ConnectTimeout => "connecting to a backend took too long",
            Self::Full => "all connections to the backends are in use",
            Self::NotSent => "the backend closed the connection while the request was sent",
            Self::NoResponse => "the backend closed the connection before it answered",
            Self::SendTimeout => "the backend did not read the request in time",
            Self::ResponseTimeout => "the backend did not answer in time",
            Self::BadResponse => "the backend's answer is not valid HTTP",
        }
    }

    /// The status that the client gets for it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Connect | Self::NotSent | Self::NoResponse | Self::BadResponse => 502,
            Self::Full => 503,
            Self::ConnectTimeout | Self::SendTimeout | Self::ResponseTimeout => 504,
        }
    }
}

/// What comes after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, on another backend if there is one.
    TryAnother,
    /// The client is told.
    Answer,
}

/// Decides what comes after `failure`.
pub fn after_failure(failure: AttemptFailure, attempt: Attempt) -> Next {
    let again = match failure {
        AttemptFailure::Connect
        | AttemptFailure::ConnectTimeout
        | AttemptFailure::Full
        | AttemptFailure::NotSent => true,
        // On a connection of its own the request may be what killed the backend: once more, not oftener.
        AttemptFailure::NoResponse => attempt.idempotent && (attempt.reused || attempt.number == 1),
        AttemptFailure::SendTimeout | AttemptFailure::ResponseTimeout | AttemptFailure::BadResponse => false,
    };
    if again && attempt.replayable && attempt.number < ATTEMPTS_MAX { Next::TryAnother } else { Next::Answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Attempt = Attempt { number: 1, reused: false, replayable: true, idempotent: true };

    #[test]
    fn only_what_cannot_have_run_or_may_run_twice_is_tried_again() {
        let reused = Attempt { reused: true, ..FIRST };
        let post = Attempt { idempotent: false, ..FIRST };
        for (case, failure, attempt, expected) in [
            ("no connection", AttemptFailure::Connect, post, Next::TryAnother),
            ("slow connect", AttemptFailure::ConnectTimeout, post, Next::TryAnother),
            ("nothing written", AttemptFailure::NotSent, post, Next::TryAnother),
            ("dead pooled, GET", AttemptFailure::NoResponse, reused, Next::TryAnother),
            ("dead pooled, POST", AttemptFailure::NoResponse, Attempt { reused: true, ..post }, Next::Answer),
            ("closed without answer, fresh", AttemptFailure::NoResponse, FIRST, Next::TryAnother),
            (
                "closed without answer, fresh, again",
                AttemptFailure::NoResponse,
                Attempt { number: 2, ..FIRST },
                Next::Answer,
            ),
            ("closed without answer, POST", AttemptFailure::NoResponse, post, Next::Answer),
            ("no free connection", AttemptFailure::Full, post, Next::TryAnother),
            ("no answer in time", AttemptFailure::ResponseTimeout, reused, Next::Answer),
            ("not read in time", AttemptFailure::SendTimeout, reused, Next::Answer),
            ("bad answer", AttemptFailure::BadResponse, reused, Next::Answer),
            (
                "body already gone",
                AttemptFailure::NoResponse,
                Attempt { replayable: false, ..reused },
                Next::Answer,
            ),
            (
                "the last attempt",
                AttemptFailure::Connect,
                Attempt { number: ATTEMPTS_MAX, ..FIRST },
                Next::Answer,
            ),
        ] {
            assert_eq!(after_failure(failure, attempt), expected, "{case}");
        }
    }
}
