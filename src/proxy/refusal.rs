//! weir's own answers: why a request is refused, and how its connection ends.
//!
//! A connection whose request was not read to its end is closed slowly: closing a socket with unread
//! bytes resets it, and the reset can overtake the answer. Called by `connection.rs` and `exchange.rs`.

use super::connection::Client;
use super::hold::counted;
use crate::exchange::{AttemptFailure, BadBody, BadRequest};
use crate::http1::{BadHead, reason_phrase, write_error};
use crate::metrics::Refusal;
use crate::time::Micros;

/// How long a client whose request was refused is listened to, so that it can read the answer.
const LINGER: Micros = Micros::from_s(2);

/// Bytes that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 8 << 20;

/// Time for one of weir's own answers to leave.
const ANSWER_TIMEOUT: Micros = Micros::from_s(10);

/// A request that weir answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    status: u16,
    refusal: Refusal,
    says: Says,
}

/// What the client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Says {
    /// A line, without its end.
    Text(String),
    /// An answer that is whole already, and says that the connection ends.
    Answer(Vec<u8>),
}

impl Refused {
    pub(super) fn new(status: u16, refusal: Refusal, text: &str) -> Self {
        Self::says(status, refusal, text.to_owned())
    }

    fn says(status: u16, refusal: Refusal, text: String) -> Self {
        Self { status, refusal, says: Says::Text(text) }
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
                return Self { status: *status, refusal: Refusal::LastHop, says: Says::Answer(out) };
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
        Self::new(failure.status(), Refusal::UpstreamFailed, failure.phase())
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

/// Adds a field line to an answer that is whole, as its first.
fn add_line(line: &[u8], answer: &mut Vec<u8>) {
    let first = memchr::memchr(b'\n', answer).map_or(0, |end| end + 1);
    answer.splice(first..first, line.iter().copied());
}

impl Client {
    /// Answers a request that was refused. `head_only`: it was a HEAD.
    pub(super) async fn refuse(&mut self, refused: Refused, ending: Ending, head_only: bool) {
        let Refused { status, refusal, says } = refused;
        let id_line = self.service.ledger.with_id_line(self.seat, <[u8]>::to_vec);
        self.service.stats.borrow_mut().refused(status, refusal);
        self.record_refused(status, refusal);
        let close = ending == Ending::Close;
        let mut out = match says {
            Says::Answer(out) => out,
            Says::Text(text) => {
                let mut out = self.service.spare();
                let body = format!("{status} {}: {text}\n", reason_phrase(status));
                write_error(status, reason_phrase(status), &body, close, head_only, &mut out);
                out
            }
        };
        add_line(&id_line, &mut out);
        if let Err(fault) = self.sent_before().await {
            self.lost(fault);
            return;
        }
        let due = self.service.now() + ANSWER_TIMEOUT;
        let Some(payload) = counted(&self.service, out) else { return };
        let sent = self.stream.send(payload, due).await;
        if close && sent.outcome.is_ok() {
            self.linger().await;
        }
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
