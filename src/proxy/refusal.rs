//! weir's own answers: why a request is refused, and how its connection ends.
//!
//! An answer has a line of text, with the cause's word in it, unless the listener has a page for its status. A
//! page is sent from where it lies, so that clients that do not read it cost no memory of weir's. A call of gRPC is
//! answered in gRPC's own way, by trailers alone: its clients would make less of anything else.
//!
//! A connection whose request was not read to its end is closed slowly: closing a socket with unread
//! bytes resets it, and the reset can overtake the answer. Called by `connection.rs` and `exchange.rs`.

use super::attempt::counted_as;
use super::connection::Client;
use super::exchange::After;
use super::hold::counted;
use super::said::About;
use crate::exchange::{AttemptFailure, BadBody, BadRequest, grpc_status_of};
use crate::http1::{
    AnswerHead, BadHead, GrpcAnswer, ProxyStatus, reason_phrase, write_answer_head, write_grpc_answer,
};
use crate::metrics::{Refusal, UpstreamFailure};
use crate::ring::{Fault, Payload};
use crate::time::Micros;
use crate::upstream::Pool;
use std::rc::Rc;
use std::sync::Arc;

/// How long a client whose request was refused is listened to, so that it can read the answer.
const LINGER: Micros = Micros::from_s(2);

/// Bytes that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 8 << 20;

/// Time for one of weir's own answers to leave.
const ANSWER_TIMEOUT: Micros = Micros::from_s(10);

/// A request that weir answers itself.
pub(super) struct Refused {
    status: u16,
    refusal: Refusal,
    /// How the last attempt failed, if there was one.
    failure: Option<AttemptFailure>,
    /// Whose it was, if it got so far.
    pool: Option<Rc<Pool>>,
    /// It was a call of gRPC.
    grpc: bool,
    says: Says,
}

/// What the client reads.
enum Says {
    /// A line, without its end, or the listener's page in its place.
    Text(String),
    /// An answer that is whole already, and says that the connection ends.
    Answer(Vec<u8>),
}

impl Refused {
    pub(super) fn new(status: u16, refusal: Refusal, text: &str) -> Self {
        Self::says(status, refusal, text.to_owned())
    }

    fn says(status: u16, refusal: Refusal, text: String) -> Self {
        Self { status, refusal, failure: None, pool: None, grpc: false, says: Says::Text(text) }
    }

    /// It was on its way to this pool.
    pub(super) fn in_pool(self, pool: &Rc<Pool>) -> Self {
        Self { pool: Some(pool.clone()), ..self }
    }

    /// It was a call of gRPC, or not.
    pub(super) fn for_grpc(self, grpc: bool) -> Self {
        Self { grpc, ..self }
    }

    /// A request that does not go up. `out`: what [`take_request`](crate::exchange::take_request) wrote.
    pub(super) fn request(bad: &BadRequest, out: Vec<u8>) -> Self {
        let (status, refusal) = match bad {
            BadRequest::Head(head) => return Self::head(head),
            BadRequest::Body(body) => return Self::body(body),
            BadRequest::Connect => (501, Refusal::Unsupported),
            BadRequest::UpgradeWithBody => (400, Refusal::Unsupported),
            BadRequest::TraceWithBody => (400, Refusal::BadHead),
            BadRequest::LastHop { status } => {
                let refusal = Refusal::LastHop;
                return Self { says: Says::Answer(out), ..Self::says(*status, refusal, String::new()) };
            }
            BadRequest::NoRoute => (404, Refusal::NoRoute),
            BadRequest::AmbiguousPath => (400, Refusal::BadHead),
        };
        Self::says(status, refusal, bad.to_string())
    }

    fn head(bad: &BadHead) -> Self {
        let refusal = match bad.status() {
            414 | 431 => Refusal::HeadTooLarge,
            501 => Refusal::Unsupported,
            _ => Refusal::BadHead,
        };
        Self::says(bad.status(), refusal, format!("{} (byte {} of the request)", bad.why, bad.at))
    }

    /// A request's body that cannot go up to its end.
    pub(super) fn body(bad: &BadBody) -> Self {
        let (status, refusal) = match bad {
            BadBody::TooLarge { .. } => (413, Refusal::BodyTooLarge),
            BadBody::Malformed(_) | BadBody::Truncated => (400, Refusal::BadBody),
        };
        Self::says(status, refusal, bad.to_string())
    }

    pub(super) fn head_timeout() -> Self {
        Self::new(408, Refusal::HeadTimeout, "the request head did not come in time")
    }

    pub(super) fn head_memory() -> Self {
        Self::new(503, Refusal::HeadMemory, "too many incomplete request heads, and this one waits longest")
    }

    pub(super) fn request_memory() -> Self {
        Self::new(503, Refusal::RequestMemory, "too many large requests are on their way to backends")
    }

    pub(super) fn body_timeout() -> Self {
        Self::new(408, Refusal::BodyTimeout, "the request body comes too slowly")
    }

    pub(super) fn no_backend() -> Self {
        Self::new(503, Refusal::NoBackend, "no backend is usable")
    }

    pub(super) fn upstream(failure: AttemptFailure) -> Self {
        let refused = Self::new(failure.status(), Refusal::UpstreamFailed, failure.phase());
        Self { failure: Some(failure), ..refused }
    }

    /// The words for the cause, which `weir explain` knows; and the error's type in `Proxy-Status`.
    fn causes(&self) -> ((&'static str, Option<&'static str>), &'static str) {
        let finer = self.failure.and_then(counted_as).map(UpstreamFailure::label);
        let error = self.failure.map_or_else(|| proxy_error(self.refusal), AttemptFailure::proxy_error);
        ((self.refusal.label(), finer), error)
    }
}

/// A refusal's type in `Proxy-Status` (RFC 9209 §2.3).
const fn proxy_error(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadHead
        | Refusal::HeadTooLarge
        | Refusal::BodyTooLarge
        | Refusal::BadBody
        | Refusal::HeadTimeout
        | Refusal::BodyTimeout
        | Refusal::SlowReader
        | Refusal::ClientGone
        | Refusal::Flood => "http_request_error",
        Refusal::NoRoute => "destination_not_found",
        Refusal::NoBackend | Refusal::UpstreamFailed => "destination_unavailable",
        // Without asking the next hop: there was no need, or no room.
        Refusal::Unsupported
        | Refusal::LastHop
        | Refusal::HeadMemory
        | Refusal::RequestMemory
        | Refusal::TooManyConnections
        | Refusal::Stopped => "proxy_internal_response",
    }
}

/// Whether a refused connection can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The request was read to its end: another may follow.
    KeepAlive,
    /// It was not, or the client wants no more.
    Close,
}

/// An answer's head, or all of it, and the page that follows.
type Written = (Vec<u8>, Option<Rc<Arc<[u8]>>>);

/// Adds a field line to an answer that is whole, as its first.
fn add_line(line: &[u8], answer: &mut Vec<u8>) {
    let first = memchr::memchr(b'\n', answer).map_or(0, |end| end + 1);
    answer.splice(first..first, line.iter().copied());
}

impl Client {
    /// Answers a request that was refused. `head_only`: it was a HEAD.
    pub(super) async fn refuse(&mut self, refused: Refused, ending: Ending, head_only: bool) -> After {
        let id_line = self.service.ledger.with_id_line(self.seat, <[u8]>::to_vec);
        self.tell(&refused, &id_line);
        let close = ending == Ending::Close;
        let (status, refusal) = (refused.status, refused.refusal);
        if refused.grpc {
            self.note(|draft| draft.entry.grpc_status = Some(grpc_status_of(status)));
        }
        let (mut out, page) = self.written(refused, close, head_only);
        add_line(&id_line, &mut out);
        let head_len = memchr::memmem::find(&out, b"\r\n\r\n").map_or(out.len(), |end| end + 4);
        let body_len = out.len() - head_len + page.as_ref().map_or(0, |page| page.len());
        self.record_refused(status, refusal, body_len as u64);
        if let Err(fault) = self.sent_before().await {
            return self.lost(fault);
        }
        let due = self.service.now() + ANSWER_TIMEOUT;
        let Some(payload) = counted(&self.service, out) else { return After::Close };
        let mut outcome = self.stream.send(payload, due).await.outcome;
        if let (Some(page), Ok(())) = (page, outcome) {
            outcome = self.stream.send(Payload::Shared(page), due).await.outcome;
        }
        match outcome {
            Ok(()) if close => self.linger().await,
            Ok(()) => return After::Next,
            // Whatever is left of it would keep the kernel's memory for a client that does not read.
            Err(Fault::TimedOut) => self.stream.reset_on_close(),
            Err(Fault::Os(_)) => {}
        }
        After::Close
    }

    /// Counts it, and says so now and then.
    fn tell(&self, refused: &Refused, id_line: &[u8]) {
        let what = match &refused.says {
            Says::Text(text) => Some(text.as_str()),
            Says::Answer(_) => None,
        };
        let Refused { status, refusal, pool, .. } = refused;
        let (status, listener, pool) = (*status, Some(&*self.listener), pool.as_deref());
        let id = std::str::from_utf8(id_line).ok().and_then(|line| line.split_once(':'));
        let id = id.map(|(_, id)| id.trim());
        self.service.refused(*refusal, &About { status, listener, pool, what, id });
    }

    fn written(&self, refused: Refused, close: bool, head_only: bool) -> Written {
        let (causes, error) = refused.causes();
        let status = refused.status;
        let text = match refused.says {
            Says::Answer(out) => return (out, None),
            Says::Text(text) => text,
        };
        let rules = self.rules();
        let proxy_status = rules.pseudonym.as_deref().map(|by| ProxyStatus { by, error, causes });
        let mut out = self.service.spare();
        let cause = causes.1.map_or_else(|| causes.0.to_owned(), |finer| format!("{}/{finer}", causes.0));
        if refused.grpc {
            let message = format!("{text} ({cause})");
            let status = grpc_status_of(status);
            write_grpc_answer(&GrpcAnswer { status, message: &message, proxy_status, close }, &mut out);
            return (out, None);
        }
        if let Some(page) = rules.pages.iter().find(|page| page.status == status) {
            let (content_type, body_len) = (page.content_type, page.body.len());
            write_answer_head(&AnswerHead { status, content_type, body_len, proxy_status, close }, &mut out);
            return (out, (!head_only).then(|| page.body.clone()));
        }
        let body = format!("{status} {}: {text} ({cause})\n", reason_phrase(status));
        let (content_type, body_len) = ("text/plain", body.len());
        write_answer_head(&AnswerHead { status, content_type, body_len, proxy_status, close }, &mut out);
        if !head_only {
            out.extend_from_slice(body.as_bytes());
        }
        (out, None)
    }

    /// Says that no more comes, and reads on until the client has closed, or for a while.
    pub(super) async fn linger(&mut self) {
        self.stream.shutdown_write();
        // It holds its seat for nobody but itself.
        self.service.seats.wait(self.seat, self.service.now());
        let due = self.service.now() + LINGER;
        let mut left = LINGER_BYTES_MAX;
        while let Ok(Some(chunk)) = self.stream.receive(due).await {
            left = left.saturating_sub(chunk.len());
            if left == 0 || self.service.now() >= due {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OWN_STATUSES;
    use crate::http1::Why;

    #[test]
    fn every_status_of_a_refusal_may_have_a_page() {
        let head = |why| BadRequest::Head(BadHead { why, at: 0 });
        let requests = [
            head(Why::BadMethod),
            head(Why::LineTooLong),
            head(Why::HeadTooLarge),
            head(Why::UnknownExpectation),
            head(Why::UnknownCoding),
            head(Why::UnsupportedVersion),
            BadRequest::Body(BadBody::TooLarge { max: 1 }),
            BadRequest::Body(BadBody::Truncated),
            BadRequest::Connect,
            BadRequest::UpgradeWithBody,
            BadRequest::TraceWithBody,
            BadRequest::NoRoute,
            BadRequest::AmbiguousPath,
        ];
        let failures = [
            AttemptFailure::Connect,
            AttemptFailure::Tls,
            AttemptFailure::ConnectTimeout,
            AttemptFailure::Full,
            AttemptFailure::NotSent,
            AttemptFailure::NoResponse,
            AttemptFailure::SendTimeout,
            AttemptFailure::ResponseTimeout,
            AttemptFailure::BadResponse,
            AttemptFailure::Truncated,
            AttemptFailure::Stalled,
        ];
        let refused: Vec<Refused> = requests
            .iter()
            .map(|bad| Refused::request(bad, Vec::new()))
            .chain(failures.map(Refused::upstream))
            .chain([Refused::head_timeout(), Refused::head_memory(), Refused::request_memory()])
            .chain([Refused::body_timeout(), Refused::no_backend()])
            .collect();
        for refused in &refused {
            assert!(OWN_STATUSES.contains(&refused.status), "{}", refused.status);
        }
        for status in OWN_STATUSES {
            assert!(refused.iter().any(|refused| refused.status == status), "nothing gets {status}");
        }
    }
}
