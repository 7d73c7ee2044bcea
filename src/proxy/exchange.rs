//! One exchange: attempts at backends until one answers, then the answer goes down.
//!
//! The attempt and the plain answer are the hot path. A request whose body did not come with its head
//! takes the other one (`upload.rs`), in a future of its own. Called by `connection.rs`.

use super::connection::Client;
use super::download::{AnswerFault, Down, DownloadFault, download, read_final};
use super::refusal::{Ending, Refused};
use super::request::{Input, Outgoing};
use super::response::{FirstPart, Part, take_response};
use crate::balance::BackendId;
use crate::exchange::{Attempt, AttemptFailure, Next, Pace, RequestFacts, after_failure};
use crate::http1::Method;
use crate::metrics::{Phase, Refusal, UpstreamFailure};
use crate::ring::{Chunk, Fault, Payload};
use crate::sys::clock;
use crate::time::{Instant, Micros};
use crate::upstream::{self, Asking, Connection, InFlight, Picked};
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

/// Backends that this exchange has tried, by their index in the pool.
pub(super) struct Tried {
    members: [BackendId; 3],
    count: u8,
}

impl Tried {
    fn add(&mut self, member: BackendId) {
        if let Some(place) = self.members.get_mut(usize::from(self.count)) {
            *place = member;
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[BackendId] {
        &self.members[..usize::from(self.count)]
    }
}

/// An attempt that got somewhere.
pub(super) struct Begun {
    pub(super) connection: Connection,
    pub(super) in_flight: InFlight,
    /// The first bytes of the answer; `None` while the request's body is still to be sent.
    pub(super) first: Option<Chunk>,
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
    /// weir answers itself.
    Refusal(Refused),
    /// The request's body, and then the answer.
    Upload(Begun),
    /// The rest of the answer's head; perhaps an interim one to be passed on first.
    Head(Begun, Input, Option<Part>),
    /// The answer's body, a tunnel, or the wait until the response before it has left.
    Part(FirstPart, Connection, InFlight),
    /// The answer cannot be passed on.
    Bad(Connection, AttemptFailure),
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
            let rest = match self.begin(&mut outgoing, &mut times).await {
                Ok(begun) => match self.answer(&mut outgoing, begun, &mut times) {
                    Answered::Now(after) => return after,
                    Answered::Later(rest) => rest,
                },
                Err(refused) => Rest::Refusal(refused),
            };
            Box::pin(self.go_on(outgoing, rest, times)).await
        }
    }

    /// What is left of an exchange whose answer was not whole at once.
    async fn go_on(&mut self, outgoing: Outgoing, rest: Rest, times: Times) -> After {
        match rest {
            Rest::Refusal(refused) => {
                let keep = outgoing.body.is_done() && outgoing.facts.keep_alive && !self.closing();
                let ending = if keep { Ending::KeepAlive } else { Ending::Close };
                self.refuse(refused, ending, outgoing.facts.method == Method::Head).await;
                if keep { After::Next } else { After::Close }
            }
            Rest::Upload(begun) => self.upload_and_answer(outgoing, begun, times).await,
            Rest::Head(begun, input, interim) => {
                self.answer_in_pieces(outgoing, begun, input, interim, times).await
            }
            Rest::Part(part, connection, in_flight) => self.pass(part, connection, in_flight, times).await,
            Rest::Bad(connection, failure) => self.bad_answer(&outgoing.facts, connection, failure).await,
        }
    }

    /// Attempts until one gets somewhere.
    async fn begin(&mut self, outgoing: &mut Outgoing, times: &mut Times) -> Result<Begun, Refused> {
        let mut tried = Tried { members: [BackendId(0); 3], count: 0 };
        let mut number = 1;
        let mut same_again = false;
        // How the attempt before this one failed, and at whom.
        let mut failed = None;
        loop {
            let pick = |tried: &[BackendId]| {
                let asking = Asking { client: self.address, tried, may_retry: false };
                self.service.upstreams.pick(&outgoing.pool, &asking)
            };
            let other = pick(tried.as_slice()).or_else(|| if same_again { pick(&[]) } else { None });
            let Some(picked) = other else {
                return Err(
                    failed.map_or_else(Refused::no_backend, |(failure, _)| Refused::upstream(failure))
                );
            };
            if let Some((_, before)) = failed {
                self.service.stats.borrow_mut().retried(before);
            }
            if let Some(age) = self.service.upstreams.view.age(self.service.now()) {
                self.service.stats.borrow_mut().view_age(age);
            }
            let (failure, reused) = match self.attempt(&picked, number == 1, outgoing, times).await {
                Ok(begun) => return Ok(begun),
                Err(failed) => failed,
            };
            let attempt = Attempt {
                number,
                reused,
                replayable: !outgoing.bytes.is_empty(),
                idempotent: outgoing.facts.method.is_idempotent() && outgoing.body.is_done(),
            };
            let next = after_failure(failure, attempt);
            let mut stats = self.service.stats.borrow_mut();
            let blameless = failure == AttemptFailure::Full || (reused && next == Next::TryAnother);
            if !blameless {
                // A pooled connection that had died is no failure of the backend.
                stats.failed(picked.id(), counted_as(failure));
            }
            if next == Next::Answer {
                return Err(Refused::upstream(failure));
            }
            drop(stats);
            failed = Some((failure, picked.id()));
            tried.add(picked.id());
            same_again = reused;
            number += 1;
        }
    }

    /// One attempt: connect or take an idle connection, send, wait for the answer's first bytes.
    async fn attempt(
        &self,
        picked: &Picked,
        may_reuse: bool,
        outgoing: &mut Outgoing,
        times: &mut Times,
    ) -> Result<Begun, (AttemptFailure, bool)> {
        let service = &self.service;
        let in_flight = service.upstreams.admit(picked, may_reuse);
        let connection = match may_reuse.then(|| self.reuse(picked)).flatten() {
            Some(connection) => connection,
            // In a box: it is the rare way, and its future would be kept in every connection's.
            None => Box::pin(self.connect(picked, times)).await?,
        };
        let reused = connection.is_reused();
        let response = outgoing.pool.rules().timeouts.response;
        let due = service.now().deadline(response).min(times.ends);
        let bytes = std::mem::take(&mut outgoing.bytes);
        let send = connection.stream.send(Payload::Bytes(bytes), due).quiet();
        let sent_at = times.pause();
        let first = if outgoing.body.is_done() {
            // The answer says that the send went well: it is asked about only then.
            connection.stream.receive(due).await
        } else {
            Ok(None)
        };
        let sent = send.await;
        if let Some(Payload::Bytes(bytes)) = sent.payload {
            outgoing.bytes = bytes;
        }
        times.resume(service.now());
        let failure = match (first, sent.outcome) {
            (Ok(Some(first)), _) => {
                let took = service.now().since(sent_at);
                service.stats.borrow_mut().record(picked.id(), Phase::FirstByte, took);
                return Ok(Begun { connection, in_flight, first: Some(first) });
            }
            (_, Err(Fault::Os(_))) => AttemptFailure::NotSent,
            (_, Err(Fault::TimedOut)) => AttemptFailure::SendTimeout,
            (Ok(None), Ok(())) if !outgoing.body.is_done() => {
                return Ok(Begun { connection, in_flight, first: None });
            }
            (Ok(None) | Err(Fault::Os(_)), Ok(())) => AttemptFailure::NoResponse,
            (Err(Fault::TimedOut), Ok(())) => AttemptFailure::ResponseTimeout,
        };
        Err((failure, reused))
    }

    /// An idle connection, if there is one.
    fn reuse(&self, picked: &Picked) -> Option<Connection> {
        let connection = self.service.upstreams.idle(picked)?;
        self.service.stats.borrow_mut().record(picked.id(), Phase::Connect, Micros::ZERO);
        Some(connection)
    }

    /// A new connection.
    async fn connect(
        &self,
        picked: &Picked,
        times: &mut Times,
    ) -> Result<Connection, (AttemptFailure, bool)> {
        let service = &self.service;
        let asked = times.pause();
        let connected = service.upstreams.connect(picked, times.ends).await;
        times.resume(service.now());
        let connection = connected.map_err(|fault| match fault {
            Fault::TimedOut => (AttemptFailure::ConnectTimeout, false),
            Fault::Os(upstream::FULL) => (AttemptFailure::Full, false),
            Fault::Os(_) => (AttemptFailure::Connect, false),
        })?;
        let took = service.now().since(asked);
        let mut stats = service.stats.borrow_mut();
        stats.connected(picked.id(), took);
        stats.record(picked.id(), Phase::Connect, took);
        Ok(connection)
    }

    /// The answer to a request that has been sent whole, as far as its first bytes go.
    fn answer(&mut self, outgoing: &mut Outgoing, mut begun: Begun, times: &mut Times) -> Answered {
        let Some(first) = begun.first.take() else {
            return Answered::Later(Rest::Upload(begun));
        };
        self.service.give_spare(std::mem::take(&mut outgoing.bytes));
        let mut input = Input::default();
        input.add(first);
        let part = match take_response(&self.service, &mut input, &outgoing.facts, self.closing()) {
            Ok(Some(Part::Final(part))) => part,
            Ok(interim) => return Answered::Later(Rest::Head(begun, input, interim)),
            Err(_) => return Answered::Later(Rest::Bad(begun.connection, AttemptFailure::BadResponse)),
        };
        let Begun { connection, in_flight, .. } = begun;
        if part.tunnel || !part.body.is_done() || !self.has_sent() {
            return Answered::Later(Rest::Part(part, connection, in_flight));
        }
        Answered::Now(self.finish(part, connection, in_flight, times))
    }

    /// The final head, when it is not whole yet or an interim response stands before it.
    async fn answer_in_pieces(
        &mut self,
        outgoing: Outgoing,
        begun: Begun,
        mut input: Input,
        interim: Option<Part>,
        mut times: Times,
    ) -> After {
        let Begun { connection, in_flight, .. } = begun;
        if self.sent_before().await.is_err() {
            return self.client_gone();
        }
        if let Some(Part::Interim(bytes)) = interim
            && self.down(times.ends).send(Payload::Bytes(bytes)).await.is_err()
        {
            return self.client_gone();
        }
        let response = connection.picked().pool().rules().timeouts.response;
        let due = self.service.now().deadline(response).min(times.ends);
        let closing = self.closing();
        let facts = &outgoing.facts;
        times.pause();
        let read =
            read_final(self.down(times.ends), &connection.stream, &mut input, facts, &|| due, &|| closing)
                .await;
        times.resume(self.service.now());
        match read {
            Ok(part) => self.pass(part, connection, in_flight, times).await,
            Err(AnswerFault::Client) => self.client_gone(),
            Err(AnswerFault::Backend(failure)) => self.bad_answer(facts, connection, failure).await,
        }
    }

    /// An answer whose head is there, whatever its body.
    async fn pass(
        &mut self,
        mut part: FirstPart,
        connection: Connection,
        in_flight: InFlight,
        mut times: Times,
    ) -> After {
        times.pause();
        if self.sent_before().await.is_err() {
            return self.client_gone();
        }
        times.resume(self.service.now());
        let picked = connection.picked().clone();
        if part.tunnel {
            self.service.stats.borrow_mut().answered(picked.id(), part.status);
            return self.tunnel(part, connection, in_flight).await;
        }
        if part.body.is_done() {
            return self.finish(part, connection, in_flight, &mut times);
        }
        self.service.stats.borrow_mut().answered(picked.id(), part.status);
        times.pause();
        let downloaded = download(self.down(times.ends), &connection.stream, &mut part, &picked).await;
        drop(in_flight);
        times.resume(self.service.now());
        match downloaded {
            Ok(()) => {
                if part.pool {
                    self.service.upstreams.keep(connection, part.keep_alive_timeout);
                }
                times.pause();
                self.record_whole(&picked, times, part.body_bytes);
                if part.close { After::Close } else { After::Next }
            }
            Err(fault) => self.cut(&picked, fault),
        }
    }

    /// The answer is whole: the backend's connection is free, the answer leaves.
    fn finish(
        &mut self,
        part: FirstPart,
        connection: Connection,
        in_flight: InFlight,
        times: &mut Times,
    ) -> After {
        let picked = connection.picked().clone();
        self.service.stats.borrow_mut().answered(picked.id(), part.status);
        if part.pool {
            self.service.upstreams.keep(connection, part.keep_alive_timeout);
        } else {
            drop(connection);
        }
        drop(in_flight);
        let body_bytes = part.body_bytes;
        let mut pace = Pace::new(self.service.now(), self.rules().body_min_rate_per_s);
        pace.count(part.payload.as_slice().len());
        self.sending = Some(self.stream.send(part.payload, pace.due()).quiet_and_done());
        times.pause();
        self.record_whole(&picked, *times, body_bytes);
        if part.close { After::Close } else { After::Next }
    }

    pub(super) fn record_whole(&self, picked: &Picked, times: Times, response_body: u64) {
        let mut stats = self.service.stats.borrow_mut();
        stats.passed(picked.id(), times.request_body, response_body);
        stats.record(picked.id(), Phase::Own, times.own);
        stats.record(picked.id(), Phase::Whole, self.service.now().since(times.began));
    }

    /// A response broke off after its head had gone down: all that is left is to close.
    pub(super) fn cut(&self, picked: &Picked, fault: DownloadFault) -> After {
        match fault {
            DownloadFault::Client => self.client_gone(),
            DownloadFault::Backend(failure) => {
                self.service.stats.borrow_mut().failed(picked.id(), failure);
                After::Close
            }
        }
    }

    /// The way down, for an exchange that must be over by `ends`.
    pub(super) fn down(&self, ends: Instant) -> Down<'_> {
        Down {
            service: &self.service,
            stream: &self.stream,
            min_rate_per_s: self.rules().body_min_rate_per_s,
            ends,
        }
    }

    /// The backend's answer cannot be passed on, and nothing of it has been.
    pub(super) async fn bad_answer(
        &mut self,
        facts: &RequestFacts,
        connection: Connection,
        failure: AttemptFailure,
    ) -> After {
        self.service.stats.borrow_mut().failed(connection.picked().id(), counted_as(failure));
        drop(connection);
        self.refuse(Refused::upstream(failure), Ending::Close, facts.method == Method::Head).await;
        After::Close
    }

    /// The client went away before its answer was whole.
    pub(super) fn client_gone(&self) -> After {
        self.service.stats.borrow_mut().refused(0, Refusal::ClientGone);
        After::Close
    }
}

/// Under which name a failed attempt is counted.
fn counted_as(failure: AttemptFailure) -> UpstreamFailure {
    match failure {
        AttemptFailure::Connect | AttemptFailure::Full => UpstreamFailure::Connect,
        AttemptFailure::ConnectTimeout => UpstreamFailure::ConnectTimeout,
        AttemptFailure::NotSent | AttemptFailure::NoResponse => UpstreamFailure::NoResponse,
        AttemptFailure::SendTimeout | AttemptFailure::ResponseTimeout => UpstreamFailure::ResponseTimeout,
        AttemptFailure::BadResponse => UpstreamFailure::BadResponse,
    }
}
