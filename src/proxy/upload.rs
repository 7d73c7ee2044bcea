//! An exchange whose request body did not come with its head: both directions at once.
//!
//! The body goes up while the answer is awaited, since a backend may answer early (413, 401) or say
//! 100 Continue first. An answer that begins before the body has gone up ends the client's connection:
//! the rest of the body would stand before the next request. Called by `exchange.rs`, in a box of its own.

use super::attempt::{Begun, tell_answered};
use super::collecting::NoRoom;
use super::connection::Client;
use super::course::{Course, Sent, may_try_again};
use super::download::{AnswerFault, Down, DownloadFault, Until, download, read_final};
use super::exchange::{After, Step, Way};
use super::hold::{Keeps, Room, hold, room_for};
use super::refusal::{Ending, Refused};
use super::request::{Input, Outgoing};
use super::response::FirstPart;
use super::service::Service;
use super::vanished::CLIENT_GONE;
use crate::exchange::{AttemptFailure, Pace, RequestFacts, RequestLeft, Taken};
use crate::http1::Method;
use crate::metrics::{Phase, UpstreamFailure};
use crate::ring::{Chunk, Fault, Payload};
use crate::time::{Instant, Micros};
use crate::upstream::{Connection, Picked, PoolRules};
use crate::wire::Wire;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
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

/// How an attempt ended.
enum Ended {
    /// The response went down to its end.
    Answered(FirstPart),
    /// The request is refused, and no answer has gone down.
    Refused(Refused),
    /// There is no answer to pass on.
    NoAnswer(AttemptFailure),
    /// There is one, but another attempt at this backend is better.
    Again(Picked),
    /// The answer broke off.
    Cut(DownloadFault),
    /// The client is gone, or reads too slowly.
    ClientLost(Fault),
}

/// What the two directions tell each other.
struct Progress {
    /// How long the backend may take to answer, or to read a piece of the body.
    response: Micros,
    /// How long the client may be silent; `None`: its body must keep a pace. A call of gRPC is a conversation, which
    /// may pause.
    silence: Option<Micros>,
    /// When the body had gone up, or the backend took no more of it.
    sent: Cell<Option<Instant>>,
    /// The whole body has gone up: only then may the connection serve another request.
    whole: Cell<bool>,
    /// The answer has begun to go down.
    answering: Cell<bool>,
    /// Bytes of the body that have gone up.
    body_bytes: Cell<u64>,
    /// All that has gone up is kept, so that it can be sent again.
    replayable: Cell<bool>,
    /// From the request's last byte to the answer's first; zero if the answer was earlier.
    first_byte: Cell<Micros>,
}

/// What the way down of an attempt needs.
struct Attempted<'a> {
    service: &'a Rc<Service>,
    down: Down<'a>,
    connection: &'a Connection,
    facts: RequestFacts,
    progress: &'a Progress,
    rules: &'a PoolRules,
    /// The client's connection ends with the answer in any case.
    closing: bool,
}

impl Client {
    /// Sends the rest of the body and passes the answer down, whichever comes first.
    pub(super) async fn upload_and_answer(&mut self, way: &mut Way, begun: Begun) -> Step {
        if let Err(fault) = self.sent_before().await {
            return Step::Done(self.lost(fault));
        }
        way.times.pause();
        let rules = begun.connection.picked().pool().rules();
        let progress = Progress {
            response: rules.timeouts.response,
            silence: way.outgoing.facts.grpc.then_some(rules.timeouts.tunnel_idle),
            sent: Cell::new(None),
            whole: Cell::new(false),
            answering: Cell::new(false),
            body_bytes: Cell::new(0),
            replayable: Cell::new(false),
            first_byte: Cell::new(Micros::ZERO),
        };
        let closing = self.closing();
        let listener = self.rules();
        let down = Down {
            service: &self.service,
            stream: &self.stream,
            seat: self.seat,
            min_rate_per_s: listener.body_min_rate_per_s,
            half_close_ends: self.half_close_ends(),
            ends: way.times.ends,
        };
        let attempted = Attempted {
            service: &self.service,
            down,
            connection: &begun.connection,
            facts: way.outgoing.facts,
            progress: &progress,
            rules: &rules,
            closing,
        };
        let ended = Box::pin(attempted.both_ways(&mut self.input, way, listener.max_body)).await;
        way.times.resume(self.service.now());
        way.times.request_body += progress.body_bytes.get();
        let (bytes_in, uploading) = (way.times.request_body, !progress.whole.get());
        self.note(|draft| (draft.entry.bytes_in, draft.entry.uploading) = (bytes_in, uploading));
        way.outgoing.body_bytes += progress.body_bytes.get();
        self.ended(way, begun, ended, &progress).await
    }

    async fn ended(&mut self, way: &mut Way, begun: Begun, ended: Ended, progress: &Progress) -> Step {
        let id = begun.connection.picked().id();
        let after = match ended {
            Ended::Again(other) => {
                begun.in_flight.failed(UpstreamFailure::Status.label(), false);
                return Step::Again(other);
            }
            Ended::NoAnswer(failure) => return self.failed(way, begun.failed(failure)).await,
            Ended::Answered(part) => {
                tell_answered(begun.in_flight, part.verdict(), progress.first_byte.get());
                if part.pool && progress.whole.get() {
                    self.service.upstreams.keep(begun.connection, part.keep_alive_timeout);
                }
                self.record_whole(id, way.times, part.body_bytes, part.ended_with);
                if part.close || !progress.whole.get() { After::Linger } else { After::Next }
            }
            Ended::Refused(refused) => {
                drop(begun);
                self.note_weir(way);
                self.refuse(
                    refused.for_grpc(way.outgoing.facts.grpc),
                    Ending::Close,
                    way.outgoing.facts.method == Method::Head,
                )
                .await
            }
            Ended::Cut(fault) => {
                self.note_weir(way);
                self.cut(id, begun.in_flight, fault)
            }
            Ended::ClientLost(fault) => {
                self.note_weir(way);
                self.lost(fault)
            }
        };
        Step::Done(after)
    }
}

impl Attempted<'_> {
    /// Runs both directions until the attempt has ended.
    async fn both_ways(&self, input: &mut Input, way: &mut Way, max_body: u64) -> Ended {
        let (up, progress) = (&self.connection.stream, self.progress);
        let picked = self.connection.picked();
        let Way { outgoing, course, kept, .. } = way;
        let sent = || Sent {
            reused: self.connection.is_reused(),
            replayable: progress.replayable.get(),
            facts: self.facts,
        };
        let max = course.may_replay(picked, sent(), self.connection.is_shared());
        let Outgoing { bytes, body, body_bytes, .. } = outgoing;
        let there = (*body_bytes, &*body);
        let replay = Replay::new(self.service, bytes, there, kept, max, &progress.replayable);
        let down = self.down;
        let mut uploading = Uploading {
            future: pin!(upload(down, input, up, body, replay, max_body, progress)),
            ended: false,
        };
        let mut part = match uploading.beside(self.hear(course, &sent), down.service, progress).await {
            Ok(Ok(part)) => part,
            Ok(Err(AnswerFault::Client(fault))) => return Ended::ClientLost(fault),
            Ok(Err(AnswerFault::Backend(failure))) => return Ended::NoAnswer(failure),
            Err(ended) => return ended,
        };
        if may_try_again(picked, part.verdict()) {
            course.gone.set(down.is_gone());
        }
        if let Some(other) = course.after_answer(self.service, part.verdict(), picked, sent()) {
            return Ended::Again(other);
        }
        progress.answering.set(true);
        self.service.stats.borrow_mut().answered(picked.id(), part.status);
        self.service.stats.borrow_mut().record(picked.id(), Phase::FirstByte, progress.first_byte.get());
        self.service.ledger.note(down.seat, |draft| {
            draft.entry.status = part.status;
            draft.entry.first_byte = Some(progress.first_byte.get());
        });
        let between_bytes = self.rules.timeouts.between_bytes;
        let by_close = part.body.ends_by_close();
        let downloading = download(down, up, &mut part, between_bytes);
        let downloaded = uploading.beside(downloading, down.service, progress).await;
        self.service.ledger.note(self.down.seat, |draft| draft.entry.bytes_out = part.body_bytes);
        match downloaded {
            Ok(Ok(())) => Ended::Answered(part),
            Ok(Err(fault)) => Ended::Cut(fault),
            Err(ended) => {
                if by_close {
                    // It would take the close for the answer's end.
                    down.stream.reset_on_close();
                }
                ended
            }
        }
    }

    /// Waits for the answer's head, and for all of it if it is held.
    async fn hear(&self, course: &Course, sent: &dyn Fn() -> Sent) -> Result<FirstPart, AnswerFault> {
        let Self { down, progress, rules, .. } = self;
        let waits_until = |sent: Instant| sent.deadline(progress.response);
        let until = Until {
            due: &|| progress.sent.get().map_or(Instant::NEVER, waits_until).min(down.ends),
            between_bytes: rules.timeouts.between_bytes,
            // Unread bytes of the request's body would be taken for the next request.
            closing: &|| self.closing || !progress.whole.get(),
        };
        let up = &self.connection.stream;
        let mut input = Input::default();
        let mut part = read_final(*down, up, &mut input, &self.facts, &until, course).await?;
        progress
            .first_byte
            .set(progress.sent.get().map_or(Micros::ZERO, |sent| down.service.now().since(sent)));
        let tried_again = may_try_again(self.connection.picked(), part.verdict());
        let max = course.may_hold(self.service, self.connection.picked(), sent());
        if !tried_again && let Some(room) = room_for(self.service, &part, max) {
            let between_bytes = rules.timeouts.between_bytes;
            hold(room, *down, up, &mut part, between_bytes).await.map_err(AnswerFault::Backend)?;
        }
        Ok(part)
    }
}

/// The way up, beside which something else happens.
struct Uploading<'a, F> {
    future: Pin<&'a mut F>,
    ended: bool,
}

impl<F: Future<Output = Result<(), UploadFault>>> Uploading<'_, F> {
    /// Runs both until `other` is ready.
    ///
    /// # Errors
    /// The client's fault: there is no more to wait for.
    async fn beside<T>(
        &mut self,
        other: impl Future<Output = T>,
        service: &Service,
        progress: &Progress,
    ) -> Result<T, Ended> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if !self.ended
                && let Poll::Ready(end) = self.future.as_mut().poll(cx)
            {
                self.ended = true;
                progress.whole.set(end.is_ok());
                match end {
                    // The backend may have answered before it stopped reading: whatever comes is passed on.
                    Ok(()) | Err(UploadFault::Backend) => progress.sent.set(Some(service.now())),
                    Err(UploadFault::Client(refused)) if !progress.answering.get() => {
                        return Poll::Ready(Err(Ended::Refused(refused)));
                    }
                    Err(UploadFault::Client(_) | UploadFault::ClientGone) => {
                        return Poll::Ready(Err(Ended::ClientLost(CLIENT_GONE)));
                    }
                }
            }
            other.as_mut().poll(cx).map(Ok)
        })
        .await
    }
}

/// What goes up is kept beside it, in front of the rest, for another attempt.
struct Replay<'a> {
    service: &'a Rc<Service>,
    /// The head and what of the body has gone up; empty: nothing is kept.
    bytes: &'a mut Vec<u8>,
    /// Bytes of the body that may still be added.
    left: u64,
    room: &'a mut Option<Room>,
    replayable: &'a Cell<bool>,
}

impl<'a> Replay<'a> {
    /// `max`: bytes of a body that are kept at most. One that is known to be longer is not kept at all.
    fn new(
        service: &'a Rc<Service>,
        bytes: &'a mut Vec<u8>,
        (there, body): (u64, &RequestLeft),
        room: &'a mut Option<Room>,
        max: usize,
        replayable: &'a Cell<bool>,
    ) -> Self {
        let left = (max as u64).saturating_sub(there);
        let too_long = matches!(body, RequestLeft::Length(length) if *length > left);
        let mut replay = Self { service, bytes, left, room, replayable };
        if max == 0 || too_long || replay.bytes.is_empty() {
            replay.give_up();
        } else {
            replayable.set(true);
        }
        replay
    }

    /// `piece` is about to go up.
    fn keep(&mut self, piece: &[u8]) {
        if !self.replayable.get() {
            return;
        }
        let has_room = match self.room {
            Some(room) => room.grow(piece.len()),
            None => {
                *self.room = Room::take(self.service, Keeps::Body, piece.len());
                self.room.is_some()
            }
        };
        if !has_room || piece.len() as u64 > self.left {
            return self.give_up();
        }
        self.left -= piece.len() as u64;
        self.bytes.extend_from_slice(piece);
    }

    fn give_up(&mut self) {
        self.replayable.set(false);
        let bytes = std::mem::take(self.bytes);
        if self.room.take().is_none() {
            self.service.give_spare(bytes);
        }
    }
}

/// Sends the rest of the body up as it comes from the client, no faster than the backend reads.
async fn upload(
    down: Down<'_>,
    input: &mut Input,
    up: &Wire,
    body: &mut RequestLeft,
    mut replay: Replay<'_>,
    max_body: u64,
    progress: &Progress,
) -> Result<(), UploadFault> {
    let service = down.service;
    let mut pace = Pace::new(service.now(), down.min_rate_per_s);
    while !body.is_done() {
        let due = progress.silence.map_or(pace.due(), |silence| service.now().deadline(silence));
        let chunk = match next_chunk(input, down.stream, due).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) | Err(Fault::Os(_)) => return Err(UploadFault::ClientGone),
            Err(Fault::TimedOut) => return Err(UploadFault::Client(Refused::body_timeout())),
        };
        pace.count(chunk.len());
        let refused = |bad| UploadFault::Client(Refused::body(&bad));
        let taken = body.take(&chunk, max_body).map_err(refused)?;
        progress.body_bytes.set(progress.body_bytes.get() + taken.count as u64);
        let payload = going_up(taken, chunk, input, service)
            .map_err(|_| UploadFault::Client(Refused::head_memory()))?;
        if payload.as_slice().is_empty() {
            // It was in the middle of a chunk's extension.
            continue;
        }
        replay.keep(payload.as_slice());
        let sent_from = service.now();
        let sent = up.send(payload, sent_from.deadline(progress.response)).await;
        sent.outcome.map_err(|_| UploadFault::Backend)?;
        // The client is not to blame for the time that the backend took.
        pace.pardon(service.now().since(sent_from));
    }
    Ok(())
}

/// What of `chunk` goes up, where it lies. What follows the body in it is the next request, and stays in
/// `input`, in memory that is counted.
///
/// # Errors
/// There is no such memory.
fn going_up(taken: Taken, mut chunk: Chunk, input: &mut Input, service: &Service) -> Result<Payload, NoRoom> {
    let Taken { count, instead } = taken;
    if count < chunk.len() {
        input.keep(&chunk[count..], &service.heads)?;
        input.set_aside(&service.heads)?;
        chunk.truncate(count);
    }
    Ok(match instead {
        Some(instead) if !chunk.replace(&instead) => Payload::Bytes(instead),
        Some(_) | None => Payload::Chunk(chunk),
    })
}

/// The client's next bytes: unread ones first.
async fn next_chunk(input: &mut Input, client: &Wire, due: Instant) -> Result<Option<Chunk>, Fault> {
    match input.take_chunk() {
        Some(chunk) => Ok(Some(chunk)),
        None => client.receive(due).await,
    }
}
