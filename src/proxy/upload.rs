//! An exchange whose request body did not come with its head: both directions at once.
//!
//! The body goes up while the answer is awaited, since a backend may answer early (413, 401) or say
//! 100 Continue first. An answer that begins before the body has gone up ends the client's connection:
//! the rest of the body would stand before the next request. Called by `exchange.rs`, in a box of its own.

use super::connection::Client;
use super::download::{AnswerFault, Down, DownloadFault, download, read_final};
use super::exchange::{After, Begun, Times};
use super::refusal::{Ending, Refused};
use super::request::{BodyLeft, Input, Outgoing};
use super::response::FirstPart;
use crate::exchange::{AttemptFailure, Pace, RequestFacts};
use crate::http1::Method;
use crate::metrics::Phase;
use crate::ring::{Chunk, Fault, Payload, Stream};
use crate::time::{Instant, Micros};
use crate::upstream::Picked;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Why a body did not go up to its end.
enum UploadFault {
    /// The client's: it is told so.
    Client(Refused),
    /// The client is gone.
    ClientGone,
    /// The backend takes no more; perhaps it has answered.
    Backend,
}

/// How both directions ended.
enum Ended {
    /// The response went down to its end.
    Answered(FirstPart),
    /// The request is refused, and nothing has gone down.
    Refused(Refused),
    /// There is no answer to pass on.
    NoAnswer(AttemptFailure),
    /// The answer broke off.
    Cut(DownloadFault),
    /// The client is gone.
    ClientGone,
}

/// What the two directions tell each other.
struct Progress {
    /// How long the backend may take to answer, or to read a piece of the body.
    response: Micros,
    /// When the body had gone up, or the backend took no more of it.
    sent: Cell<Option<Instant>>,
    /// The whole body has gone up: only then may the connection serve another request.
    whole: Cell<bool>,
    /// The answer has begun to go down.
    answering: Cell<bool>,
    /// Bytes of the body that have gone up.
    body_bytes: Cell<u64>,
}

impl Client {
    /// Sends the rest of the body and passes the answer down, whichever comes first.
    pub(super) async fn upload_and_answer(
        &mut self,
        outgoing: Outgoing,
        begun: Begun,
        mut times: Times,
    ) -> After {
        let Begun { connection, in_flight, .. } = begun;
        let picked = connection.picked().clone();
        let facts = outgoing.facts;
        if self.sent_before().await.is_err() {
            return self.client_gone();
        }
        self.service.give_spare(outgoing.bytes);
        times.pause();
        let response = picked.pool().rules().timeouts.response;
        let progress = Progress {
            response,
            sent: Cell::new(None),
            whole: Cell::new(false),
            answering: Cell::new(false),
            body_bytes: Cell::new(0),
        };
        let closing = self.closing();
        let rules = self.rules();
        let down = Down {
            service: &self.service,
            stream: &self.stream,
            min_rate_per_s: rules.body_min_rate_per_s,
            ends: times.ends,
        };
        let ended = {
            let input = &mut self.input;
            let uploading = upload(down, input, &connection.stream, outgoing.body, rules.max_body, &progress);
            let answering = answer(down, &connection.stream, &facts, &progress, closing, &picked);
            both(down, uploading, answering, &progress).await
        };
        times.resume(self.service.now());
        drop(in_flight);
        match ended {
            Ended::Answered(part) => {
                if part.pool && progress.whole.get() {
                    self.service.upstreams.keep(connection, part.keep_alive_timeout);
                }
                times.request_body += progress.body_bytes.get();
                self.record_whole(&picked, times, part.body_bytes);
                if part.close || !progress.whole.get() { After::Linger } else { After::Next }
            }
            Ended::Refused(refused) => {
                drop(connection);
                self.refuse(refused, Ending::Close, facts.method == Method::Head).await;
                After::Close
            }
            Ended::NoAnswer(failure) => self.bad_answer(&facts, connection, failure).await,
            Ended::Cut(fault) => self.cut(&picked, fault),
            Ended::ClientGone => self.client_gone(),
        }
    }
}

/// Passes the answer down, whenever it comes. `closing`: the client's connection ends with it in any case.
async fn answer(
    down: Down<'_>,
    up: &Stream,
    facts: &RequestFacts,
    progress: &Progress,
    closing: bool,
    picked: &Picked,
) -> Ended {
    let waits_until = |sent: Instant| sent.deadline(progress.response);
    let due = || progress.sent.get().map_or(Instant::NEVER, waits_until).min(down.ends);
    // Unread bytes of the request's body would be taken for the next request.
    let closing = || closing || !progress.whole.get();
    let mut input = Input::default();
    let mut part = match read_final(down, up, &mut input, facts, &due, &closing).await {
        Ok(part) => part,
        Err(AnswerFault::Client) => return Ended::ClientGone,
        Err(AnswerFault::Backend(failure)) => return Ended::NoAnswer(failure),
    };
    progress.answering.set(true);
    let waited = progress.sent.get().map_or(Micros::ZERO, |sent| down.service.now().since(sent));
    down.service.stats.borrow_mut().answered(picked.id(), part.status);
    down.service.stats.borrow_mut().record(picked.id(), Phase::FirstByte, waited);
    match download(down, up, &mut part, picked).await {
        Ok(()) => Ended::Answered(part),
        Err(fault) => Ended::Cut(fault),
    }
}

/// Runs both directions until the exchange has ended.
async fn both(
    down: Down<'_>,
    uploading: impl Future<Output = Result<(), UploadFault>>,
    answering: impl Future<Output = Ended>,
    progress: &Progress,
) -> Ended {
    let mut uploading = pin!(uploading);
    let mut answering = pin!(answering);
    let mut uploads = true;
    poll_fn(|cx| {
        if uploads && let Poll::Ready(end) = uploading.as_mut().poll(cx) {
            uploads = false;
            progress.whole.set(end.is_ok());
            match end {
                // The backend may have answered before it stopped reading: whatever comes is passed on.
                Ok(()) | Err(UploadFault::Backend) => progress.sent.set(Some(down.service.now())),
                Err(UploadFault::Client(refused)) if !progress.answering.get() => {
                    return Poll::Ready(Ended::Refused(refused));
                }
                Err(UploadFault::Client(_) | UploadFault::ClientGone) => {
                    return Poll::Ready(Ended::ClientGone);
                }
            }
        }
        answering.as_mut().poll(cx)
    })
    .await
}

/// Sends the rest of the body up as it comes from the client, no faster than the backend reads.
async fn upload(
    down: Down<'_>,
    input: &mut Input,
    up: &Stream,
    mut body: BodyLeft,
    max_body: u64,
    progress: &Progress,
) -> Result<(), UploadFault> {
    let service = down.service;
    let mut pace = Pace::new(service.now(), down.min_rate_per_s);
    while !body.is_done() {
        let mut chunk = match next_chunk(input, down.stream, pace.due()).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) | Err(Fault::Os(_)) => return Err(UploadFault::ClientGone),
            Err(Fault::TimedOut) => return Err(UploadFault::Client(Refused::body_timeout())),
        };
        pace.count(chunk.len());
        let count = body.take(&chunk, max_body).map_err(UploadFault::Client)?;
        progress.body_bytes.set(progress.body_bytes.get() + count as u64);
        let payload = if count < chunk.len() {
            // What follows the body is the next request.
            let part = chunk[..count].to_vec();
            chunk.advance(count);
            input.add(chunk);
            Payload::Bytes(part)
        } else {
            Payload::Chunk(chunk)
        };
        let sent_from = service.now();
        let sent = up.send(payload, sent_from.deadline(progress.response)).await;
        sent.outcome.map_err(|_| UploadFault::Backend)?;
        // The client is not to blame for the time that the backend took.
        pace.pardon(service.now().since(sent_from));
    }
    Ok(())
}

/// The client's next bytes: unread ones first.
async fn next_chunk(input: &mut Input, client: &Stream, due: Instant) -> Result<Option<Chunk>, Fault> {
    match input.take_chunk() {
        Some(chunk) => Ok(Some(chunk)),
        None => client.receive(due).await,
    }
}
