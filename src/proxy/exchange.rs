//! One exchange: attempts at backends until one answers, then the answer goes down.
//!
//! The attempt (`attempt.rs`) and the plain answer are the hot path. Whatever else happens goes on in a
//! future of its own: a request whose body did not come with its head (`upload.rs`), an answer in pieces,
//! further attempts. Until a byte of an answer has gone down, each step may end in another attempt; where
//! that goes is in `course.rs`. Called by `connection.rs`.

use super::attempt::{Begun, Failed, Turn, counted_as, tell_answered};
use super::connection::Client;
use super::course::{Course, Sent, first_pick, may_try_again};
use super::download::{AnswerFault, Down, DownloadFault, Until, download, read_final};
use super::hold::{Room, hold, room_for};
use super::refusal::{Ending, Refused};
use super::request::{Input, Outgoing};
use super::response::{FirstPart, Part, take_response};
use super::vanished::CLIENT_GONE;
use crate::balance::BackendId;
use crate::config::GrpcStatus;
use crate::exchange::{AttemptFailure, Pace};
use crate::http1::Method;
use crate::log::record::{Ending as Ended, Text};
use crate::metrics::{Phase, Refusal, UpstreamFailure};
use crate::ring::{Chunk, Fault};
use crate::sys::clock;
use crate::time::{Instant, Micros};
use crate::upstream::{InFlight, Picked};
use std::future::Future;

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It waits for the next request.
    Next,
    /// It is closed.
    Close,
    /// It is closed slowly, since the client may still be sending.
    Linger,
}

/// How far an answer came without waiting. Not boxed: it lives for one match.
#[allow(clippy::large_enum_variant)]
enum Answered {
    /// It has gone down.
    Now(After),
    /// There is more to do.
    Later(Rest),
}

/// What is left of an exchange.
enum Rest {
    /// No backend is usable.
    NoBackend,
    /// The attempt failed.
    Failed(Failed),
    /// The request's body, and then the answer.
    Upload(Begun),
    /// The rest of the answer's head; perhaps an interim one to be passed on first.
    Head(Begun, Input, Option<Part>),
    /// The answer: its body, a tunnel, the wait until the response before it has left, or another attempt.
    Part(FirstPart, Begun),
}

/// An exchange of which the first attempt was not all.
pub(super) struct Way {
    pub(super) outgoing: Outgoing,
    pub(super) course: Course,
    pub(super) times: Times,
    /// For what is kept of the request's body, if it did not come with its head.
    pub(super) kept: Option<Room>,
}

impl Way {
    /// What an attempt that went as far as `begun` was about.
    pub(super) fn sent(&self, begun: &Begun) -> Sent {
        Sent {
            reused: begun.connection.is_reused(),
            replayable: !self.outgoing.bytes.is_empty(),
            facts: self.outgoing.facts,
        }
    }
}

/// What comes next of an exchange.
pub(super) enum Step {
    /// Nothing: it is over.
    Done(After),
    /// Another attempt at this backend.
    Again(Picked),
}

/// When what happened, for the histograms.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// The request was there.
    pub(super) began: Instant,
    /// Time spent in weir itself so far.
    pub(super) own: Micros,
    /// The turn in which the work under way began.
    pub(super) lap: Instant,
    /// When the whole exchange must be over.
    pub(super) ends: Instant,
    /// Bytes of the request's body so far. (Not a time, but it goes the same way into the counters.)
    pub(super) request_body: u64,
}

impl Times {
    /// Work that began with this turn ends here, for now: what follows is waiting.
    pub(super) fn pause(&mut self) -> Instant {
        let now = clock::now();
        self.own = Micros::from_us(self.own.as_us() + now.since(self.lap).as_us());
        now
    }

    /// Waiting has ended in this turn.
    pub(super) fn resume(&mut self, turn: Instant) {
        self.lap = turn;
    }
}

impl Client {
    /// Takes one request through to its answer.
    ///
    /// The usual answer, whole in its first piece, is passed down without another wait. Whatever else
    /// happens goes on in a future of its own, so that a connection's future stays small.
    /// (Not an `async fn`: that would keep its arguments twice.)
    #[allow(clippy::manual_async_fn)]
    pub(super) fn exchange(&mut self, mut outgoing: Outgoing) -> impl Future<Output = After> {
        async move {
            let now = self.service.now();
            let total = outgoing.pool.rules().timeouts.total;
            let mut times = Times {
                began: now,
                own: Micros::ZERO,
                lap: now,
                ends: now.deadline(total),
                request_body: outgoing.body_bytes,
            };
            // Taken apart before anything is awaited: a `match` would keep it whole beside the attempt.
            let (picked, reserved) = first_pick(&self.service, &outgoing).unzip();
            let reserved = reserved.flatten();
            let rest = if let Some(picked) = picked {
                let attempt = self.attempt(picked, Turn::First, &mut outgoing, &mut times).await;
                match self.attempted(attempt, &mut outgoing, &mut times) {
                    Answered::Now(after) => return after,
                    Answered::Later(rest) => rest,
                }
            } else {
                Rest::NoBackend
            };
            let course = Course::new(&outgoing, &times, reserved);
            Box::pin(self.go_on(Way { outgoing, course, times, kept: None }, rest)).await
        }
    }

    /// What is left of an exchange whose answer was not whole at once, and further attempts.
    async fn go_on(&mut self, mut way: Way, mut rest: Rest) -> After {
        loop {
            let picked = match self.step(&mut way, rest).await {
                Step::Done(after) => {
                    if way.kept.is_none() {
                        self.service.give_spare(way.outgoing.bytes);
                    }
                    return after;
                }
                Step::Again(picked) => picked,
            };
            let retries = way.course.retries();
            self.note(|draft| draft.entry.retries = retries);
            let turn = way.course.turn();
            let attempt = self.attempt(picked, turn, &mut way.outgoing, &mut way.times).await;
            rest = match self.attempted(attempt, &mut way.outgoing, &mut way.times) {
                Answered::Now(after) => return after,
                Answered::Later(rest) => rest,
            };
        }
    }

    async fn step(&mut self, way: &mut Way, rest: Rest) -> Step {
        match rest {
            Rest::NoBackend => Step::Done(self.refuse_exchange(way, Refused::no_backend()).await),
            Rest::Failed(failed) => self.failed(way, failed).await,
            Rest::Upload(begun) => self.upload_and_answer(way, begun).await,
            Rest::Head(begun, input, interim) => self.answer_in_pieces(way, begun, input, interim).await,
            Rest::Part(part, begun) => self.pass(way, part, begun).await,
        }
    }

    /// An attempt has failed and nothing of an answer has gone down: another one, or the client is told.
    pub(super) async fn failed(&mut self, way: &mut Way, failed: Failed) -> Step {
        let failure = failed.failure;
        way.course.gone.set(failure == AttemptFailure::ClientGone || self.is_gone());
        let sent = Sent {
            reused: failed.reused,
            replayable: !way.outgoing.bytes.is_empty(),
            facts: way.outgoing.facts,
        };
        match way.course.after_failed(&self.service, failed, sent) {
            Some(other) => Step::Again(other),
            None if way.course.gone.get() => {
                self.note_weir(way);
                Step::Done(self.lost(CLIENT_GONE))
            }
            None => {
                if let Some(failure) = counted_as(failure) {
                    self.note(|draft| draft.entry.ending = Ended::Cut(failure));
                }
                Step::Done(self.refuse_exchange(way, Refused::upstream(failure)).await)
            }
        }
    }

    /// weir answers by itself. The connection lives on if the request was read to its end.
    pub(super) async fn refuse_exchange(&mut self, way: &Way, refused: Refused) -> After {
        let facts = &way.outgoing.facts;
        let keep = way.outgoing.body.is_done() && facts.keep_alive && !self.closing();
        self.note_weir(way);
        let ending = if keep { Ending::KeepAlive } else { Ending::Close };
        let refused = refused.in_pool(&way.outgoing.pool).for_grpc(facts.grpc);
        self.refuse(refused, ending, facts.method == Method::Head).await
    }

    /// How far an attempt came, as far as the first bytes of its answer go.
    fn attempted(
        &mut self,
        attempt: Result<(Begun, Option<Chunk>), Failed>,
        outgoing: &mut Outgoing,
        times: &mut Times,
    ) -> Answered {
        let (begun, first) = match attempt {
            Ok((begun, Some(first))) => (begun, first),
            Ok((begun, None)) => return Answered::Later(Rest::Upload(begun)),
            Err(failed) => return Answered::Later(Rest::Failed(failed)),
        };
        let mut input = Input::default();
        input.begin(first);
        let part =
            match take_response(&self.service, &mut input, &outgoing.facts, 0, self.closing(), self.seat) {
                Ok(Some(Part::Final(part))) => part,
                Ok(interim) => return Answered::Later(Rest::Head(begun, input, interim)),
                Err(_) => return Answered::Later(Rest::Failed(begun.failed(AttemptFailure::BadResponse))),
            };
        let tried_again = || may_try_again(begun.connection.picked(), part.verdict());
        if part.tunnel || !part.body.is_done() || !self.has_sent() || tried_again() {
            return Answered::Later(Rest::Part(part, begun));
        }
        self.service.give_spare(std::mem::take(&mut outgoing.bytes));
        Answered::Now(self.finish(part, begun, times))
    }

    /// The final head, when it is not whole yet or an interim response stands before it.
    async fn answer_in_pieces(
        &mut self,
        way: &mut Way,
        begun: Begun,
        mut input: Input,
        interim: Option<Part>,
    ) -> Step {
        let ends = way.times.ends;
        // In any case: what is still to come may be an interim response, which must not overtake.
        if let Err(fault) = self.sent_before().await {
            return Step::Done(self.lost(fault));
        }
        if let Some(Part::Interim(bytes)) = interim {
            way.course.interim(bytes.as_slice());
            if let Err(fault) = self.down(ends).send(bytes).await {
                return Step::Done(self.lost(fault));
            }
        }
        let rules = begun.connection.picked().pool().rules();
        let due = self.service.now().deadline(rules.timeouts.response).min(ends);
        let closing = self.closing();
        let until = Until { due: &|| due, between_bytes: rules.timeouts.between_bytes, closing: &|| closing };
        way.times.pause();
        let (up, facts) = (&begun.connection.stream, &way.outgoing.facts);
        let read = read_final(self.down(ends), up, &mut input, facts, &until, &way.course).await;
        way.times.resume(self.service.now());
        match read {
            Ok(part) => self.pass(way, part, begun).await,
            Err(AnswerFault::Client(fault)) => Step::Done(self.lost(fault)),
            Err(AnswerFault::Backend(failure)) => self.failed(way, begun.failed(failure)).await,
        }
    }

    /// An answer whose head is there, whatever its body: it is passed on, unless another attempt is better.
    async fn pass(&mut self, way: &mut Way, mut part: FirstPart, begun: Begun) -> Step {
        let sent = way.sent(&begun);
        let picked = begun.connection.picked();
        if may_try_again(picked, part.verdict()) {
            way.course.gone.set(self.is_gone());
        }
        if let Some(other) = way.course.after_answer(&self.service, part.verdict(), picked, sent) {
            begun.in_flight.failed(UpstreamFailure::Status.label(), false);
            if part.body.is_done() && part.pool {
                self.service.upstreams.keep(begun.connection, part.keep_alive_timeout);
            }
            return Step::Again(other);
        }
        way.times.pause();
        let max = way.course.may_hold(&self.service, picked, sent);
        if let Some(room) = room_for(&self.service, &part, max) {
            let between_bytes = picked.pool().rules().timeouts.between_bytes;
            let up = &begun.connection.stream;
            if let Err(failure) = hold(room, self.down(way.times.ends), up, &mut part, between_bytes).await {
                way.times.resume(self.service.now());
                return self.failed(way, begun.failed(failure)).await;
            }
        }
        if let Err(fault) = self.sent_before().await {
            return Step::Done(self.lost(fault));
        }
        way.times.resume(self.service.now());
        Step::Done(self.pass_down(way, part, begun).await)
    }

    /// Passes an answer down. Nothing is tried again after this.
    async fn pass_down(&mut self, way: &mut Way, mut part: FirstPart, begun: Begun) -> After {
        let id = begun.connection.picked().id();
        if part.tunnel {
            self.answered(id, part.status);
            return self.tunnel(part, begun).await;
        }
        if part.body.is_done() {
            return self.finish(part, begun, &mut way.times);
        }
        self.answered(id, part.status);
        let Begun { connection, in_flight, first_byte } = begun;
        let between_bytes = connection.picked().pool().rules().timeouts.between_bytes;
        way.times.pause();
        let down = self.down(way.times.ends);
        let downloaded = download(down, &connection.stream, &mut part, between_bytes).await;
        way.times.resume(self.service.now());
        match downloaded {
            Ok(()) => {
                tell_answered(in_flight, part.verdict(), first_byte);
                if part.pool {
                    self.service.upstreams.keep(connection, part.keep_alive_timeout);
                }
                way.times.pause();
                self.record_whole(id, way.times, part.body_bytes, part.ended_with);
                self.after(part.close)
            }
            Err(fault) => {
                self.note_weir(way);
                self.note(|draft| draft.entry.bytes_out = part.body_bytes);
                self.cut(id, in_flight, fault)
            }
        }
    }

    /// What the exchange, which does not end well, had of weir until now.
    pub(super) fn note_weir(&self, way: &Way) {
        self.note(|draft| {
            draft.entry.own = way.times.own;
            if !draft.entry.has(Text::Pool) {
                draft.set(Text::Pool, way.outgoing.pool.name().as_bytes());
            }
        });
    }

    /// A backend's answer with this status goes down.
    fn answered(&self, id: BackendId, status: u16) {
        self.service.stats.borrow_mut().answered(id, status);
        self.note(|draft| draft.entry.status = status);
    }

    /// The answer is whole: the backend's connection is free, the answer leaves.
    fn finish(&mut self, part: FirstPart, begun: Begun, times: &mut Times) -> After {
        let Begun { connection, in_flight, first_byte } = begun;
        let id = connection.picked().id();
        self.answered(id, part.status);
        if part.pool {
            self.service.upstreams.keep(connection, part.keep_alive_timeout);
        } else {
            drop(connection);
        }
        tell_answered(in_flight, part.verdict(), first_byte);
        let (body_bytes, ended_with) = (part.body_bytes, part.ended_with);
        let mut pace = Pace::new(self.service.now(), self.rules().body_min_rate_per_s);
        pace.count(part.payload.as_slice().len());
        self.sending = Some(self.stream.send(part.payload, pace.due()).quiet_and_done());
        times.pause();
        self.record_whole(id, *times, body_bytes, ended_with);
        self.after(part.close)
    }

    /// The answer is whole. `call`: of gRPC, which has ended so.
    pub(super) fn record_whole(
        &self,
        id: BackendId,
        times: Times,
        response_body: u64,
        call: Option<GrpcStatus>,
    ) {
        let mut stats = self.service.stats.borrow_mut();
        if let Some(status) = call {
            stats.call_ended(id, status);
            self.note(|draft| draft.entry.grpc_status = call);
        }
        stats.passed(id, times.request_body, response_body);
        stats.record(id, Phase::Own, times.own);
        stats.record(id, Phase::Whole, self.service.now().since(times.began));
        drop(stats);
        self.record_answered(&times, response_body);
    }

    /// A response broke off after its head had gone down: all that is left is to close.
    pub(super) fn cut(&self, id: BackendId, in_flight: InFlight, fault: DownloadFault) -> After {
        match fault {
            DownloadFault::Client(fault) => self.lost(fault),
            DownloadFault::Backend(failure) => {
                self.service.stats.borrow_mut().failed(id, failure);
                in_flight.failed(failure.label(), true);
                self.record_ended(Ended::Cut(failure));
                After::Close
            }
        }
    }

    /// The way down, for an exchange that must be over by `ends`.
    pub(super) fn down(&self, ends: Instant) -> Down<'_> {
        Down {
            service: &self.service,
            stream: &self.stream,
            seat: self.seat,
            min_rate_per_s: self.rules().body_min_rate_per_s,
            half_close_ends: self.half_close_ends(),
            ends,
        }
    }

    /// The client went away before its answer was whole, or reads it too slowly.
    pub(super) fn lost(&self, fault: Fault) -> After {
        let cause = match fault {
            Fault::TimedOut => {
                // An end would queue behind what it does not read, and the kernel keep all of it for long.
                self.stream.reset_on_close();
                Refusal::SlowReader
            }
            Fault::Os(_) => Refusal::ClientGone,
        };
        self.gave_up(cause);
        self.record_ended(Ended::Lost(cause));
        After::Close
    }
}
