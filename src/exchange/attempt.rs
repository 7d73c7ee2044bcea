//! After a failed attempt at a backend: is there another one, or which answer does the client get?
//!
//! What is tried again is the operator's to say (`config::Retry`), but for two things. Nothing may run
//! twice that the method does not allow to: a FIN does not prove that the request was not processed, so
//! what is not idempotent is sent again only if not a byte of it was taken (RFC 9110 §9.2.2). And a
//! connection from the idle pool that turns out to be dead says nothing of the backend, which may close
//! it at any time (RFC 9112 §9.3.1): that attempt is made afresh, once an exchange, whatever the rule, and
//! counts neither as an attempt nor against the budget. A call of gRPC is always a POST, whatever its method does:
//! whoever names one of gRPC's statuses says that calls which end so may run again. Of a trial, which was weir's own idea, any failure is
//! tried again that may be. Called by `proxy`.

use super::grpc::is_grpc_failure;
use crate::config::{GrpcStatus, Retry};

/// What is known of an attempt, and of the exchange, when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Attempts made before this one that count as retries.
    pub retries: u8,
    /// It used a connection from the idle pool.
    pub reused: bool,
    /// An attempt of this exchange was made afresh already.
    pub afresh: bool,
    /// All that was taken from the client so far can be sent again.
    pub replayable: bool,
    /// The method may be repeated without harm.
    pub idempotent: bool,
    /// It is a call of gRPC, whose HTTP method says nothing of that.
    pub grpc: bool,
    /// A byte of a response has gone to the client, an interim one's too.
    pub answering: bool,
    /// The exchange's time (`timeouts.total`) is over.
    pub overdue: bool,
    /// The client is gone: nobody waits for an answer.
    pub gone: bool,
    /// It was a trial of a backend that had been ejected.
    pub trial: bool,
}

/// How an attempt failed before a byte of the response was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection: refused, reset, unreachable.
    Connect,
    /// A connection, but the TLS handshake over it failed.
    Tls,
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
    /// The connection ended before the response, of which nothing had gone down.
    Truncated,
    /// The response, of which nothing had gone down, stopped in the middle.
    Stalled,
    /// It answered with this status, and nothing of that has gone down.
    Status(u16),
    /// It ended a call of gRPC with this status, and nothing of that has gone down.
    Grpc(GrpcStatus),
    /// It was given up, since the client went away meanwhile.
    ClientGone,
}

impl AttemptFailure {
    /// The phase that failed, as the client reads it in the body of weir's answer.
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Connect => "could not connect to a backend",
            Self::Tls => "the TLS handshake with a backend failed",
            Self::ConnectTimeout => "connecting to a backend took too long",
            Self::Full => "all connections to the backends are in use",
            Self::NotSent => "the backend closed the connection while the request was sent",
            Self::NoResponse => "the backend closed the connection before it answered",
            Self::SendTimeout => "the backend did not read the request in time",
            Self::ResponseTimeout => "the backend did not answer in time",
            Self::BadResponse => "the backend's answer is not valid HTTP",
            Self::Truncated => "the backend closed the connection in the middle of its answer",
            Self::Stalled => "the backend stopped in the middle of its answer",
            Self::Status(_) | Self::Grpc(_) => "the backend could not serve the request",
            Self::ClientGone => "the client went away",
        }
    }

    /// The status that the client gets for it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Connect
            | Self::Tls
            | Self::NotSent
            | Self::NoResponse
            | Self::BadResponse
            | Self::Truncated => 502,
            Self::Full => 503,
            Self::ConnectTimeout | Self::SendTimeout | Self::ResponseTimeout | Self::Stalled => 504,
            Self::Status(status) => status,
            // It is the backend's own answer.
            Self::Grpc(_) => 200,
            // Nobody reads it; it is what nginx writes into its log.
            Self::ClientGone => 499,
        }
    }

    /// The failure's type in `Proxy-Status` (RFC 9209 §2.3).
    pub const fn proxy_error(self) -> &'static str {
        match self {
            // Refused, reset or unreachable: the one type that is true of all three.
            Self::Connect => "destination_unavailable",
            // A certificate, an alert or something else: which it was the log says.
            Self::Tls => "tls_protocol_error",
            Self::ConnectTimeout => "connection_timeout",
            Self::Full => "connection_limit_reached",
            Self::NotSent | Self::NoResponse => "connection_terminated",
            Self::SendTimeout => "connection_write_timeout",
            Self::ResponseTimeout | Self::Stalled => "connection_read_timeout",
            Self::BadResponse => "http_protocol_error",
            Self::Truncated => "http_response_incomplete",
            // None of them is ever answered by weir itself.
            Self::Status(_) | Self::Grpc(_) | Self::ClientGone => "proxy_internal_error",
        }
    }

    /// The backend cannot have begun with the request.
    const fn is_untouched(self) -> bool {
        match self {
            Self::Connect | Self::Tls | Self::ConnectTimeout | Self::Full | Self::NotSent => true,
            Self::NoResponse
            | Self::SendTimeout
            | Self::ResponseTimeout
            | Self::BadResponse
            | Self::Truncated
            | Self::Stalled
            | Self::Status(_)
            | Self::Grpc(_)
            | Self::ClientGone => false,
        }
    }

    /// Whether it speaks ill of the backend.
    pub const fn is_ill(self) -> bool {
        match self {
            Self::Status(status) => is_failure(status),
            Self::Grpc(status) => is_grpc_failure(status),
            Self::ClientGone => false,
            Self::Connect
            | Self::Tls
            | Self::ConnectTimeout
            | Self::Full
            | Self::NotSent
            | Self::NoResponse
            | Self::SendTimeout
            | Self::ResponseTimeout
            | Self::BadResponse
            | Self::Truncated
            | Self::Stalled => true,
        }
    }

    /// Whether the pool's rule names it.
    fn is_named(self, retry: &Retry) -> bool {
        match self {
            Self::Connect | Self::Tls | Self::ConnectTimeout | Self::Full | Self::NotSent => retry.on.connect,
            Self::NoResponse | Self::BadResponse => retry.on.no_response,
            Self::SendTimeout | Self::ResponseTimeout => retry.on.response_timeout,
            Self::Truncated | Self::Stalled => retry.on.truncated,
            Self::Status(status) => retry.on.statuses.contains(&status),
            Self::Grpc(status) => retry.on.grpc.contains(&status),
            Self::ClientGone => false,
        }
    }

    /// Whether the pool's rule names it as an end after which a call of gRPC may run again. To clients of gRPC a
    /// connection that ends without an answer is "unavailable" too.
    fn is_named_for_grpc(self, retry: &Retry) -> bool {
        match self {
            Self::Grpc(status) => retry.on.grpc.contains(&status),
            Self::NoResponse => retry.on.grpc.contains(&GrpcStatus::Unavailable),
            Self::Connect
            | Self::Tls
            | Self::ConnectTimeout
            | Self::Full
            | Self::NotSent
            | Self::SendTimeout
            | Self::ResponseTimeout
            | Self::BadResponse
            | Self::Truncated
            | Self::Stalled
            | Self::Status(_)
            | Self::ClientGone => false,
        }
    }

    /// Whether an answer that came to this may be thrown away for another attempt, if all else allows it. `trial`: it
    /// was one of a backend that had been ejected.
    pub fn may_be_tried_again(self, retry: &Retry, trial: bool) -> bool {
        self.is_named(retry) || trial && self.is_ill()
    }
}

/// What comes after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same on a new connection, to another backend or this one. It is no retry: nothing is counted.
    Afresh,
    /// A retry at another backend, if the budget has one and there is another.
    TryAnother,
    /// The client is told.
    Answer,
}

/// Decides what comes after `failure`.
pub fn after_failure(failure: AttemptFailure, attempt: Attempt, retry: &Retry) -> Next {
    let for_grpc = attempt.grpc && failure.is_named_for_grpc(retry);
    let may_run = attempt.idempotent || failure.is_untouched() || for_grpc;
    if !may_run || !attempt.replayable || attempt.answering || attempt.overdue || attempt.gone {
        return Next::Answer;
    }
    let died_idle = matches!(failure, AttemptFailure::NotSent | AttemptFailure::NoResponse);
    if died_idle && attempt.reused && !attempt.afresh {
        return Next::Afresh;
    }
    let wanted = for_grpc || failure.may_be_tried_again(retry, attempt.trial);
    if attempt.retries < retry.attempts && wanted { Next::TryAnother } else { Next::Answer }
}

/// Whether a response with `status` is the backend's failure. 501 and 505 say that the request is beyond
/// it, not that it is ill.
pub const fn is_failure(status: u16) -> bool {
    matches!(status, 500..=599) && status != 501 && status != 505
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RetryOn;
    use proptest::prelude::*;

    const FIRST: Attempt = Attempt {
        retries: 0,
        reused: false,
        afresh: false,
        replayable: true,
        idempotent: true,
        grpc: false,
        answering: false,
        overdue: false,
        gone: false,
        trial: false,
    };

    fn on_everything(attempts: u8) -> Retry {
        let on = RetryOn {
            connect: true,
            no_response: true,
            truncated: true,
            response_timeout: true,
            statuses: vec![500, 503],
            grpc: vec![GrpcStatus::ResourceExhausted, GrpcStatus::Unavailable],
        };
        Retry { attempts, on, ..Retry::default() }
    }

    #[test]
    fn only_what_cannot_have_run_or_may_run_twice_is_tried_again() {
        let post = Attempt { idempotent: false, ..FIRST };
        let status = AttemptFailure::Status;
        for (case, failure, attempt, expected) in [
            ("no connection", AttemptFailure::Connect, post, Next::TryAnother),
            ("no handshake", AttemptFailure::Tls, post, Next::TryAnother),
            ("slow connect", AttemptFailure::ConnectTimeout, post, Next::TryAnother),
            ("no free connection", AttemptFailure::Full, post, Next::TryAnother),
            ("nothing written", AttemptFailure::NotSent, post, Next::TryAnother),
            ("no answer, GET", AttemptFailure::NoResponse, FIRST, Next::TryAnother),
            ("no answer, POST", AttemptFailure::NoResponse, post, Next::Answer),
            ("bad answer, GET", AttemptFailure::BadResponse, FIRST, Next::TryAnother),
            ("bad answer, POST", AttemptFailure::BadResponse, post, Next::Answer),
            ("half an answer, GET", AttemptFailure::Truncated, FIRST, Next::TryAnother),
            ("half an answer, POST", AttemptFailure::Truncated, post, Next::Answer),
            ("a stall, GET", AttemptFailure::Stalled, FIRST, Next::TryAnother),
            ("no answer in time, GET", AttemptFailure::ResponseTimeout, FIRST, Next::TryAnother),
            ("no answer in time, POST", AttemptFailure::ResponseTimeout, post, Next::Answer),
            ("not read in time, POST", AttemptFailure::SendTimeout, post, Next::Answer),
            ("500, GET", status(500), FIRST, Next::TryAnother),
            ("500, POST", status(500), post, Next::Answer),
            ("502, which is not in the list", status(502), FIRST, Next::Answer),
        ] {
            assert_eq!(after_failure(failure, attempt, &on_everything(1)), expected, "{case}");
        }
    }

    #[test]
    fn a_call_of_grpc_is_tried_again_on_the_statuses_that_are_named() {
        use GrpcStatus::{Internal, ResourceExhausted, Unavailable};
        let call = Attempt { idempotent: false, grpc: true, ..FIRST };
        let unnamed =
            Retry { on: RetryOn { grpc: vec![Internal], ..RetryOn::default() }, ..Retry::default() };
        let named = on_everything(1);
        let grpc = AttemptFailure::Grpc;
        for (case, failure, attempt, rule, expected) in [
            ("named", grpc(Unavailable), call, &named, Next::TryAnother),
            ("another that is named", grpc(ResourceExhausted), call, &named, Next::TryAnother),
            ("not named", grpc(Internal), call, &named, Next::Answer),
            ("too often", grpc(Unavailable), Attempt { retries: 1, ..call }, &named, Next::Answer),
            ("not kept", grpc(Unavailable), Attempt { replayable: false, ..call }, &named, Next::Answer),
            ("half answered", grpc(Unavailable), Attempt { answering: true, ..call }, &named, Next::Answer),
            ("no answer is unavailable", AttemptFailure::NoResponse, call, &named, Next::TryAnother),
            ("which is not named", AttemptFailure::NoResponse, call, &unnamed, Next::Answer),
            (
                "not of gRPC",
                AttemptFailure::NoResponse,
                Attempt { grpc: false, ..call },
                &named,
                Next::Answer,
            ),
            ("half an answer", AttemptFailure::Truncated, call, &named, Next::Answer),
            ("HTTP's status", AttemptFailure::Status(503), call, &named, Next::Answer),
            (
                "a trial",
                grpc(Internal),
                Attempt { trial: true, idempotent: true, ..call },
                &named,
                Next::TryAnother,
            ),
            ("no connection", AttemptFailure::Connect, call, &unnamed, Next::TryAnother),
        ] {
            assert_eq!(after_failure(failure, attempt, rule), expected, "{case}");
        }
    }

    #[test]
    fn the_rule_says_what_is_tried_again() {
        let none = RetryOn { connect: false, no_response: false, truncated: false, ..RetryOn::default() };
        let nothing = Retry { on: none, ..Retry::default() };
        for (failure, by_default) in [
            (AttemptFailure::Connect, true),
            (AttemptFailure::ConnectTimeout, true),
            (AttemptFailure::Full, true),
            (AttemptFailure::NotSent, true),
            (AttemptFailure::NoResponse, true),
            (AttemptFailure::BadResponse, true),
            (AttemptFailure::Truncated, true),
            (AttemptFailure::Stalled, true),
            (AttemptFailure::ResponseTimeout, false),
            (AttemptFailure::SendTimeout, false),
            (AttemptFailure::Status(500), false),
        ] {
            let expected = if by_default { Next::TryAnother } else { Next::Answer };
            assert_eq!(after_failure(failure, FIRST, &Retry::default()), expected, "{failure:?}");
            assert_eq!(after_failure(failure, FIRST, &nothing), Next::Answer, "{failure:?}, on nothing");
        }
    }

    #[test]
    fn a_pooled_connection_that_has_died_is_no_attempt_but_only_once() {
        let reused = Attempt { reused: true, ..FIRST };
        let post = Attempt { idempotent: false, ..reused };
        let again = Attempt { afresh: true, ..reused };
        for (case, failure, attempt, expected) in [
            ("GET", AttemptFailure::NoResponse, reused, Next::Afresh),
            ("POST of which something was taken", AttemptFailure::NoResponse, post, Next::Answer),
            ("POST of which nothing was taken", AttemptFailure::NotSent, post, Next::Afresh),
            ("GET, the second time", AttemptFailure::NoResponse, again, Next::Answer),
            ("no answer in time", AttemptFailure::ResponseTimeout, reused, Next::Answer),
            ("half an answer", AttemptFailure::Truncated, reused, Next::Answer),
        ] {
            assert_eq!(after_failure(failure, attempt, &on_everything(0)), expected, "{case}");
        }
    }

    #[test]
    fn a_trial_is_tried_again_whatever_the_rule_says() {
        let trial = Attempt { trial: true, ..FIRST };
        let nothing = Retry { on: RetryOn { connect: false, ..RetryOn::default() }, ..Retry::default() };
        for (failure, expected) in [
            (AttemptFailure::Connect, Next::TryAnother),
            (AttemptFailure::ResponseTimeout, Next::TryAnother),
            (AttemptFailure::Status(500), Next::TryAnother),
            (AttemptFailure::Status(404), Next::Answer),
        ] {
            assert_eq!(after_failure(failure, trial, &nothing), expected, "{failure:?}");
        }
        let none = Retry { attempts: 0, ..nothing };
        assert_eq!(after_failure(AttemptFailure::Connect, trial, &none), Next::Answer);
    }

    #[test]
    fn the_backends_of_which_a_status_speaks_ill() {
        for (status, expected) in
            [(200, false), (404, false), (500, true), (501, false), (503, true), (505, false), (600, false)]
        {
            assert_eq!(is_failure(status), expected, "{status}");
        }
    }

    fn failures() -> impl Strategy<Value = AttemptFailure> {
        prop::sample::select(vec![
            AttemptFailure::Connect,
            AttemptFailure::ConnectTimeout,
            AttemptFailure::Full,
            AttemptFailure::NotSent,
            AttemptFailure::NoResponse,
            AttemptFailure::SendTimeout,
            AttemptFailure::ResponseTimeout,
            AttemptFailure::BadResponse,
            AttemptFailure::Truncated,
            AttemptFailure::Stalled,
            AttemptFailure::Status(500),
            AttemptFailure::Status(404),
            AttemptFailure::Grpc(GrpcStatus::Unavailable),
            AttemptFailure::Grpc(GrpcStatus::NotFound),
            AttemptFailure::ClientGone,
        ])
    }

    prop_compose! {
        fn attempts()(
            retries in 0u8..4, reused: bool, afresh: bool, replayable: bool,
            idempotent: bool, grpc: bool, answering: bool, overdue: bool, gone: bool, trial: bool,
        ) -> Attempt {
            Attempt { retries, reused, afresh, replayable, idempotent, grpc, answering, overdue, gone, trial }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_sent_again_that_may_have_run_or_be_incomplete_or_half_answered(
            failure in failures(), attempt in attempts(), allowed in 0u8..4,
        ) {
            let next = after_failure(failure, attempt, &on_everything(allowed));
            if next != Next::Answer {
                let for_grpc = attempt.grpc && failure.is_named_for_grpc(&on_everything(allowed));
                prop_assert!(attempt.idempotent || failure.is_untouched() || for_grpc);
                prop_assert!(attempt.replayable && !attempt.answering && !attempt.overdue && !attempt.gone);
                prop_assert!(failure != AttemptFailure::ClientGone);
            }
            match next {
                Next::Afresh => prop_assert!(attempt.reused && !attempt.afresh),
                Next::TryAnother => prop_assert!(attempt.retries < allowed),
                Next::Answer => {}
            }
        }
    }
}
