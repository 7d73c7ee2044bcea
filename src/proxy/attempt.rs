//! One attempt at a backend: a connection, the request as far as it is there, the answer's first bytes.
//!
//! This is the hot path, and most of its memory is in every connection's future. Not here: which backend
//! is next (`course.rs`), and what comes of the answer (`exchange.rs`).

use super::connection::Client;
use super::exchange::Times;
use super::request::Outgoing;
use super::vanished::{Missed, WATCH_AFTER};
use crate::exchange::AttemptFailure;
use crate::metrics::{Phase, UpstreamFailure};
use crate::ring::{Chunk, Counted, Fault, Payload};
use crate::time::{Instant, Micros};
use crate::upstream::{self, Connection, InFlight, Picked};

/// Which attempt of an exchange it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The first.
    First,
    /// A later one.
    Again,
    /// A later one that must not meet another dead connection.
    NewConnection,
}

/// An attempt that got somewhere.
pub(super) struct Begun {
    pub(super) connection: Connection,
    pub(super) in_flight: InFlight,
    /// From the request's last byte to the first of the answer; zero as long as neither has been seen.
    pub(super) first_byte: Micros,
}

impl Begun {
    /// It got nowhere after all.
    pub(super) fn failed(self, failure: AttemptFailure) -> Failed {
        let Self { connection, in_flight, .. } = self;
        Failed { failure, picked: connection.picked().clone(), in_flight, reused: connection.is_reused() }
    }
}

/// An attempt that failed before a byte of its answer went down.
pub(super) struct Failed {
    pub(super) failure: AttemptFailure,
    pub(super) picked: Picked,
    pub(super) in_flight: InFlight,
    /// It used a connection from the idle pool.
    pub(super) reused: bool,
}

impl Client {
    /// One attempt: connect or take an idle connection, send, wait for the answer's first bytes. There are
    /// none while the request's body is still to be sent.
    pub(super) async fn attempt(
        &self,
        picked: Picked,
        turn: Turn,
        outgoing: &mut Outgoing,
        times: &mut Times,
    ) -> Result<(Begun, Option<Chunk>), Failed> {
        let service = &self.service;
        let in_flight = service.upstreams.admit(&picked, turn == Turn::First);
        self.note_attempt(&picked);
        let idle = if turn == Turn::NewConnection { None } else { self.reuse(&picked) };
        let connection = match idle {
            Some(connection) => connection,
            // In a box: it is the rare way, and its future would be kept in every connection's.
            None => match Box::pin(self.connect(&picked, times)).await {
                Ok(connection) => connection,
                Err(failure) => return Err(Failed { failure, picked, in_flight, reused: false }),
            },
        };
        drop(picked);
        let due = answer_due(&connection, service.now(), times);
        let bytes = std::mem::take(&mut outgoing.bytes);
        let send = match outgoing.only_sent() {
            None => connection.stream.send(Payload::Bytes(bytes), due).quiet(),
            // Too many large ones are under way for this to be kept until the answer comes.
            Some(taken) => {
                let bytes = Payload::Counted(Counted::new(bytes, taken));
                connection.stream.send(bytes, due).quiet_and_done()
            }
        };
        let sent_at = times.pause();
        let mut first = if outgoing.body.is_done() {
            // The answer says that the send went well: it is asked about only then.
            connection.stream.receive(due.min(sent_at + WATCH_AFTER)).await.map_err(Missed::Backend)
        } else {
            Ok(None)
        };
        if matches!(first, Err(Missed::Backend(Fault::TimedOut))) {
            // Reckoned again: kept, it would be kept in every connection's future.
            let due = answer_due(&connection, sent_at, times);
            if service.now() < due {
                first = Box::pin(self.down(due).hear_out(&connection.stream, due)).await;
            }
        }
        if matches!(first, Err(Missed::ClientGone)) {
            let begun = Begun { connection, in_flight, first_byte: Micros::ZERO };
            return Err(begun.failed(AttemptFailure::ClientGone));
        }
        let sent = send.await;
        if let Some(Payload::Bytes(bytes)) = sent.payload {
            outgoing.bytes = bytes;
        }
        times.resume(service.now());
        let mut begun = Begun { connection, in_flight, first_byte: Micros::ZERO };
        let failure = match (first, sent.outcome) {
            (Ok(Some(first)), outcome) => {
                if outcome.is_err() {
                    begun.connection.end_with_this();
                }
                begun.first_byte = service.now().since(sent_at);
                let id = begun.connection.picked().id();
                service.stats.borrow_mut().record(id, Phase::FirstByte, begun.first_byte);
                self.note(|draft| draft.entry.first_byte = Some(begun.first_byte));
                return Ok((begun, Some(first)));
            }
            (_, Err(Fault::TimedOut)) => AttemptFailure::SendTimeout,
            (_, Err(Fault::Os(_))) if sent.untouched => AttemptFailure::NotSent,
            // What it took of the request it may have understood.
            (_, Err(Fault::Os(_))) => AttemptFailure::NoResponse,
            (Ok(None), Ok(())) if !outgoing.body.is_done() => return Ok((begun, None)),
            (Ok(None) | Err(Missed::Backend(Fault::Os(_))), Ok(())) => AttemptFailure::NoResponse,
            (Err(Missed::Backend(Fault::TimedOut)), Ok(())) => AttemptFailure::ResponseTimeout,
            (Err(Missed::ClientGone), Ok(())) => AttemptFailure::ClientGone,
        };
        Err(begun.failed(failure))
    }

    /// An idle connection, if there is one.
    fn reuse(&self, picked: &Picked) -> Option<Connection> {
        let connection = self.service.upstreams.idle(picked)?;
        self.service.stats.borrow_mut().record(picked.id(), Phase::Connect, Micros::ZERO);
        self.note(|draft| (draft.entry.connect, draft.entry.reused) = (Some(Micros::ZERO), true));
        Some(connection)
    }

    /// A new connection.
    async fn connect(&self, picked: &Picked, times: &mut Times) -> Result<Connection, AttemptFailure> {
        let service = &self.service;
        let asked = times.pause();
        let connected = service.upstreams.connect(picked, times.ends).await;
        times.resume(service.now());
        let connection = connected.map_err(|fault| match fault {
            Fault::TimedOut => AttemptFailure::ConnectTimeout,
            Fault::Os(upstream::FULL) => AttemptFailure::Full,
            Fault::Os(upstream::UNSEALED) => AttemptFailure::Tls,
            Fault::Os(_) => AttemptFailure::Connect,
        })?;
        let took = service.now().since(asked);
        let mut stats = service.stats.borrow_mut();
        if connection.is_made() {
            stats.connected(picked.id(), took);
        }
        stats.record(picked.id(), Phase::Connect, took);
        self.note(|draft| (draft.entry.connect, draft.entry.reused) = (Some(took), false));
        Ok(connection)
    }
}

/// When the answer to a request that is sent at `from` must have begun.
fn answer_due(connection: &Connection, from: Instant, times: &Times) -> Instant {
    from.deadline(connection.picked().pool().rules().timeouts.response).min(times.ends)
}

/// Tells what an exchange came to whose answer has gone down whole.
pub(super) fn tell_answered(in_flight: InFlight, verdict: AttemptFailure, first_byte: Micros) {
    if verdict.is_ill() {
        in_flight.failed(UpstreamFailure::Status.label(), true);
    } else {
        in_flight.passed(first_byte);
    }
}

/// Under which name a failed attempt is counted; `None`: it is not the backend's failure.
pub(super) fn counted_as(failure: AttemptFailure) -> Option<UpstreamFailure> {
    Some(match failure {
        AttemptFailure::Full | AttemptFailure::ClientGone => return None,
        AttemptFailure::Connect => UpstreamFailure::Connect,
        AttemptFailure::Tls => UpstreamFailure::Tls,
        AttemptFailure::ConnectTimeout => UpstreamFailure::ConnectTimeout,
        AttemptFailure::NotSent | AttemptFailure::NoResponse => UpstreamFailure::NoResponse,
        AttemptFailure::SendTimeout | AttemptFailure::ResponseTimeout => UpstreamFailure::ResponseTimeout,
        AttemptFailure::BadResponse => UpstreamFailure::BadResponse,
        AttemptFailure::Truncated => UpstreamFailure::Truncated,
        AttemptFailure::Stalled => UpstreamFailure::BodyTimeout,
        AttemptFailure::Status(_) | AttemptFailure::Grpc(_) => UpstreamFailure::Status,
    })
}
