//! A response that comes in pieces: its head after interim ones, its body after its head.
//!
//! What has arrived meanwhile leaves by one send. The next receive happens only when that has left, so a
//! slow client holds up its backend, and memory stays bounded. Called by `exchange.rs` and `upload.rs`.

use super::course::Course;
use super::request::Input;
use super::response::{BadResponse, FirstPart, Part, take_response};
use super::service::Service;
use super::vanished::{CLIENT_GONE, ClientGone, Missed, WATCH_AFTER};
use crate::config::GrpcStatus;
use crate::exchange::{
    AttemptFailure, Pace, RESPONSE_HEAD_MAX, RequestFacts, ResponseLeft, Taken, status_in_trailers,
    write_broken_off,
};
use crate::metrics::UpstreamFailure;
use crate::ring::{Chunk, Fault, Payload, PipeLoan, SpliceFault, Stream, give_way};
use crate::time::{Instant, Micros};
use crate::wire::{UNTOUCHED, Wire};
use std::future::poll_fn;
use std::task::{Context, Poll};

/// Chunks that leave by one send.
const GATHERED_MAX: usize = 16;

/// Bytes from which the rest of a body is worth a pipe.
const SPLICE_MIN: u64 = 128 << 10;

/// Bytes moved before others have their turn.
const SPLICE_MAX: usize = 256 << 10;

/// The way down to a client.
#[derive(Clone, Copy)]
pub(super) struct Down<'a> {
    pub(super) service: &'a Service,
    pub(super) stream: &'a Wire,
    /// The client's number, under which its exchange is recorded.
    pub(super) seat: u32,
    pub(super) min_rate_per_s: u64,
    /// A client that ends its side is taken to have gone.
    pub(super) half_close_ends: bool,
    /// When the whole exchange must be over.
    pub(super) ends: Instant,
}

impl Down<'_> {
    /// Sends and waits until it has left.
    ///
    /// # Errors
    /// The client is gone or reads too slowly.
    pub(super) async fn send(&self, payload: Payload) -> Result<(), Fault> {
        let mut pace = Pace::new(self.service.now(), self.min_rate_per_s);
        pace.count(payload.as_slice().len());
        self.send_by(payload, pace.due()).await
    }

    async fn send_by(&self, payload: Payload, due: Instant) -> Result<(), Fault> {
        if payload.as_slice().is_empty() {
            return Ok(());
        }
        let sent = self.stream.send(payload, due).await;
        if let Some(Payload::Bytes(bytes)) = sent.payload {
            self.service.give_spare(bytes);
        }
        sent.outcome
    }
}

/// Why there is no final head to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerFault {
    /// The client is gone, or reads too slowly.
    Client(Fault),
    /// The backend's fault.
    Backend(AttemptFailure),
}

/// Why a response was not passed on to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DownloadFault {
    /// The client is gone or reads too slowly.
    Client(Fault),
    /// The backend's fault.
    Backend(UpstreamFailure),
}

/// Reads until the final head is there; interim responses are passed on, and `course` is told. What
/// `until` says is asked each time, since it may change while a request is still being sent.
///
/// # Errors
/// Whose fault it is that there is none.
pub(super) async fn read_final(
    down: Down<'_>,
    up: &Wire,
    input: &mut Input,
    facts: &RequestFacts,
    until: &Until<'_>,
    course: &Course,
) -> Result<FirstPart, AnswerFault> {
    loop {
        // Not for each byte of a head that comes a byte at a time.
        let looks = input.is_worth_a_look(RESPONSE_HEAD_MAX);
        let taken = if looks {
            take_response(down.service, input, facts, course.interims(), (until.closing)(), down.seat)
        } else {
            Ok(None)
        };
        match taken {
            Ok(Some(Part::Final(part))) => return Ok(part),
            Ok(Some(Part::Interim(bytes))) => {
                course.interim(bytes.as_slice());
                down.send(bytes).await.map_err(AnswerFault::Client)?;
                continue;
            }
            Ok(None) => {
                let collected = input.collect(&down.service.answers);
                collected.map_err(|_| AnswerFault::Backend(AttemptFailure::BadResponse))?;
            }
            Err(_) => return Err(AnswerFault::Backend(AttemptFailure::BadResponse)),
        }
        // Half a head is half an answer, which may stall.
        let begun = !input.is_empty();
        let stalls = if begun { down.service.now().deadline(until.between_bytes) } else { Instant::NEVER };
        let soon = down.service.now() + WATCH_AFTER;
        let due = || (until.due)().min(stalls);
        // `None`: the memory of the head so far is needed for others.
        let poll = |cx: &mut Context<'_>, due| match input.is_given_up(cx) {
            true => Poll::Ready(None),
            false => up.poll_receive(cx, due).map(Some),
        };
        let mut received = poll_fn(|cx| poll(cx, due().min(soon))).await;
        if matches!(received, Some(Err(Fault::TimedOut))) && down.service.now() < due() {
            let later = down.unless_gone(poll_fn(|cx| poll(cx, due())));
            received = later.await.map_err(|ClientGone| AnswerFault::Client(CLIENT_GONE))?;
        }
        let no_room = AnswerFault::Backend(AttemptFailure::BadResponse);
        match received.ok_or(no_room)? {
            Ok(Some(chunk)) => input.add(chunk, &down.service.answers).map_err(|_| no_room)?,
            Err(Fault::Os(UNTOUCHED)) => return Err(AnswerFault::Backend(AttemptFailure::NotSent)),
            Ok(None) | Err(Fault::Os(_)) => return Err(AnswerFault::Backend(AttemptFailure::NoResponse)),
            Err(Fault::TimedOut) if begun => return Err(AnswerFault::Backend(AttemptFailure::Stalled)),
            Err(Fault::TimedOut) => return Err(AnswerFault::Backend(AttemptFailure::ResponseTimeout)),
        }
    }
}

/// How long a head is waited for, and what it says to the client.
pub(super) struct Until<'a> {
    /// When it must be there.
    pub(super) due: &'a dyn Fn() -> Instant,
    /// How long it may stop in the middle.
    pub(super) between_bytes: Micros,
    /// Whether the client's connection ends with it.
    pub(super) closing: &'a dyn Fn() -> bool,
}

/// Passes the rest of a response down: what came with its head, then the body. Clears `part.pool` if the
/// backend's connection is of no more use. A client that would take the close for the body's end is reset
/// if it does not get all of it.
///
/// # Errors
/// Whose fault it is that the client does not get all of it.
pub(super) async fn download(
    down: Down<'_>,
    up: &Wire,
    part: &mut FirstPart,
    between_bytes: Micros,
) -> Result<(), DownloadFault> {
    let ends_by_close = part.body.ends_by_close();
    let passed = pass_body(down, up, part, between_bytes).await;
    if ends_by_close && passed.is_err() {
        down.stream.reset_on_close();
    }
    if let Err(DownloadFault::Backend(failure)) = passed
        && part.is_call
        && part.body.may_end_here()
    {
        end_call(down, failure).await;
    }
    passed
}

/// A call of gRPC breaks off between two pieces of its answer: its client is told in gRPC's way that its server is not
/// available. To a reset it would give another status, which says that weir or the server is broken.
async fn end_call(down: Down<'_>, failure: UpstreamFailure) {
    let why = match failure {
        UpstreamFailure::BodyTimeout => AttemptFailure::Stalled,
        UpstreamFailure::BadResponse => AttemptFailure::BadResponse,
        _ => AttemptFailure::Truncated,
    };
    let end = write_broken_off(GrpcStatus::Unavailable, why.phase());
    let sent = down.send(Payload::Bytes(end)).await;
    if sent.is_ok() {
        down.service.ledger.note(down.seat, |draft| draft.entry.grpc_status = Some(GrpcStatus::Unavailable));
    }
}

async fn pass_body(
    down: Down<'_>,
    up: &Wire,
    part: &mut FirstPart,
    between_bytes: Micros,
) -> Result<(), DownloadFault> {
    let mut pace = Pace::new(down.service.now(), down.min_rate_per_s);
    let first = std::mem::replace(&mut part.payload, Payload::Static(b""));
    pace.count(first.as_slice().len());
    down.send_by(first, pace.due()).await.map_err(DownloadFault::Client)?;
    if let ResponseLeft::Length(SPLICE_MIN..) = part.body
        && let (Some(from), Some(to)) = (up.plain(), down.stream.plain())
        && let Some(pipe) = down.service.ring.pipe()
    {
        from.stop_receiving().await;
        pass_received(down, up, part, &mut pace).await?;
        return relay(down, (from, to), part, pipe, between_bytes, pace).await;
    }
    while !part.body.is_done() {
        let asked_at = down.service.now();
        let received = down.receive(up, asked_at.deadline(between_bytes).min(down.ends)).await;
        // The client is not to blame for the time that the backend took.
        pace.pardon(down.service.now().since(asked_at));
        let truncated = DownloadFault::Backend(UpstreamFailure::Truncated);
        let chunk = match received {
            Ok(Some(chunk)) => chunk,
            Err(Missed::ClientGone) => return Err(DownloadFault::Client(CLIENT_GONE)),
            Err(Missed::Backend(Fault::TimedOut)) => {
                return Err(DownloadFault::Backend(UpstreamFailure::BodyTimeout));
            }
            Err(Missed::Backend(Fault::Os(_))) => return Err(truncated),
            Ok(None) => {
                let last = part.body.close().map_err(|_| truncated)?;
                pace.count(last.len());
                return down.send_by(Payload::Static(last), pace.due()).await.map_err(DownloadFault::Client);
            }
        };
        let step = if part.body.is_verbatim() {
            gather(down.service, up, chunk, part)
        } else {
            transform(down.service, chunk, part)
        };
        let leaving = step.map_err(|_| DownloadFault::Backend(UpstreamFailure::BadResponse))?;
        send_leaving(down, leaving, &mut pace).await?;
    }
    Ok(())
}

async fn send_leaving(down: Down<'_>, leaving: Leaving, pace: &mut Pace) -> Result<(), DownloadFault> {
    pace.count(leaving.len());
    let sent = match leaving {
        Leaving::One(payload) => down.send_by(payload, pace.due()).await,
        Leaving::Many(chunks) => down.stream.send_gathered(chunks, pace.due()).await,
    };
    sent.map_err(DownloadFault::Client)
}

/// Passes on what had come when the receive was stopped.
async fn pass_received(
    down: Down<'_>,
    up: &Wire,
    part: &mut FirstPart,
    pace: &mut Pace,
) -> Result<(), DownloadFault> {
    while let Some(chunk) = up.received() {
        let leaving = gather(down.service, up, chunk, part)
            .map_err(|_| DownloadFault::Backend(UpstreamFailure::BadResponse))?;
        send_leaving(down, leaving, pace).await?;
    }
    Ok(())
}

/// Moves the rest of a long body down without copying it.
async fn relay(
    down: Down<'_>,
    (from, to): (&Stream, &Stream),
    part: &mut FirstPart,
    mut pipe: PipeLoan,
    between_bytes: Micros,
    mut pace: Pace,
) -> Result<(), DownloadFault> {
    while let ResponseLeft::Length(left) = part.body {
        let now = down.service.now();
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(SPLICE_MAX);
        let mut ahead = pace;
        ahead.count(max);
        let due = now.deadline(between_bytes).min(down.ends);
        let soon = due.min(now + WATCH_AFTER);
        let mut moved = from.splice_to(to, &mut pipe, max, soon, ahead.due()).await;
        if matches!(moved, Err(SpliceFault::From(Some(Fault::TimedOut)))) && soon < due {
            // It has taken nothing.
            let later = down.unless_gone(from.splice_to(to, &mut pipe, max, due, ahead.due()));
            moved = later.await.map_err(|ClientGone| DownloadFault::Client(CLIENT_GONE))?;
        }
        let moved = moved.map_err(|fault| match fault {
            SpliceFault::To(fault) => DownloadFault::Client(fault),
            SpliceFault::From(Some(Fault::TimedOut)) => DownloadFault::Backend(UpstreamFailure::BodyTimeout),
            SpliceFault::From(_) => DownloadFault::Backend(UpstreamFailure::Truncated),
        })?;
        pace.count(moved);
        part.body_bytes += moved as u64;
        let left = left.saturating_sub(moved as u64);
        part.body = if left == 0 { ResponseLeft::Nothing } else { ResponseLeft::Length(left) };
        give_way().await;
    }
    // What stands behind the body was not received. It is seen before anybody else gets the connection:
    // `Upstreams::keep` arms the receive and leaves the connection alone until the ring has turned.
    Ok(())
}

/// What leaves by one send.
enum Leaving {
    One(Payload),
    Many(Vec<Chunk>),
}

impl Leaving {
    fn len(&self) -> usize {
        match self {
            Self::One(payload) => payload.as_slice().len(),
            Self::Many(chunks) => chunks.iter().map(|chunk| chunk.len()).sum(),
        }
    }
}

/// Cuts a chunk to what of it belongs to the body, and goes down.
fn cut(chunk: &mut Chunk, part: &mut FirstPart) -> Result<(), BadResponse> {
    let has_trailers = part.is_call && matches!(part.body, ResponseLeft::Chunks(_));
    let Taken { count, instead } = part.body.take(chunk)?;
    part.body_bytes += count as u64;
    if count < chunk.len() {
        // Bytes behind a response are never the next client's.
        part.pool = false;
        chunk.truncate(count);
    }
    match instead {
        // It is what came without extensions, so there is room.
        Some(instead) if !chunk.replace(&instead) => return Err(BadResponse),
        Some(_) | None => {}
    }
    if has_trailers && part.body.is_done() {
        part.ended_with = status_in_trailers(chunk);
    }
    Ok(())
}

/// `chunk` and what has come behind it meanwhile.
fn gather(
    service: &Service,
    up: &Wire,
    mut chunk: Chunk,
    part: &mut FirstPart,
) -> Result<Leaving, BadResponse> {
    cut(&mut chunk, part)?;
    let alone = part.body.is_done() || service.ring.buffers_are_scarce();
    let mut next = if alone { None } else { up.received() };
    if next.is_none() {
        return Ok(Leaving::One(Payload::Chunk(chunk)));
    }
    let mut chunks = Vec::with_capacity(GATHERED_MAX);
    chunks.push(chunk);
    while let Some(mut chunk) = next {
        cut(&mut chunk, part)?;
        chunks.push(chunk);
        let more = !part.body.is_done() && chunks.len() < GATHERED_MAX;
        next = if more { up.received() } else { None };
    }
    Ok(Leaving::Many(chunks))
}

/// What of `chunk` goes down in another framing. It takes the place of what came, so that no client makes
/// weir hold both.
fn transform(service: &Service, mut chunk: Chunk, part: &mut FirstPart) -> Result<Leaving, BadResponse> {
    let mut scratch = service.scratch.borrow_mut();
    let out = &mut scratch.head;
    out.clear();
    let count = part.body.transform(&chunk, out)?;
    part.body_bytes += count as u64;
    if count < chunk.len() {
        part.pool = false;
    }
    let payload = if chunk.replace(out) { Payload::Chunk(chunk) } else { Payload::Bytes(out.clone()) };
    Ok(Leaving::One(payload))
}
