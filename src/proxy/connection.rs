//! One downstream connection: request after request until either side has enough.

use super::exchange::After;
use super::multiplexed::is_multiplexed;
use super::peer::Peer;
use super::refusal::{Ending, Refused};
use super::request::{Input, Outgoing, take_request};
use super::said::About;
use super::seats::NO_SOCKET;
use super::service::{ListenerRules, ListenerService, Service, Stage};
use super::vanished::CLIENT_GONE;
use crate::exchange::is_head;
use crate::limit::{Life, LifeOver, Place};
use crate::log::record::Ending as Ended;
use crate::metrics::Refusal;
use crate::ring::{Chunk, Fault};
use crate::time::{Instant, Micros};
use crate::wire::{Sending, Wire};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How long a connection that is over its age waits at least for a request that is on its way, where nothing
/// but its age would end the wait.
const LAST_REQUEST: Micros = Micros::from_s(1);

/// Why the client's next bytes do not come.
enum Missing {
    /// The memory of the head so far is needed for others.
    GivenUp,
    /// The last response could not leave. The client has been counted as lost.
    Lost,
    /// The receive failed.
    Fault(Fault),
}

impl From<Fault> for Missing {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A downstream connection.
pub(super) struct Client {
    pub(super) service: Rc<Service>,
    pub(super) stream: Wire,
    pub(super) input: Input,
    pub(super) listener: Rc<ListenerService>,
    pub(super) peer: Peer,
    /// The last response's send, which is asked about when the next thing happens.
    pub(super) sending: Option<Sending>,
    /// Its number among the shard's [`super::seats::Seats`].
    pub(super) seat: u32,
    /// How long it has gone on.
    life: Cell<Life>,
    /// It counts under its listener's limits as long as this lives.
    _place: Option<Box<Place>>,
}

/// Serves one connection that `listener` accepted from `peer`, until it ends. It has `place` under the limits.
///
/// Not an `async fn`: that would keep its arguments twice, in every idle connection.
pub fn serve(
    service: Rc<Service>,
    listener: Rc<ListenerService>,
    stream: Wire,
    peer: Option<IpAddr>,
    place: Option<Box<Place>>,
) -> impl Future<Output = ()> {
    let mut client = Client::new(service, listener, stream, Peer::new(peer), place);
    async move {
        loop {
            // No `match`: what it looks at would be kept beside the exchange, in every connection.
            let Some(outgoing) = client.next_request().await else { break };
            match client.exchange(outgoing).await {
                After::Next => {}
                After::Close => break,
                After::Linger => {
                    if client.sent_before().await.is_ok() {
                        client.linger().await;
                    }
                    break;
                }
            }
        }
        // What was sent last must have left before the socket closes.
        if let Err(fault) = client.sent_before().await {
            client.lost(fault);
        }
    }
}

impl Client {
    pub(super) fn new(
        service: Rc<Service>,
        listener: Rc<ListenerService>,
        stream: Wire,
        peer: Peer,
        place: Option<Box<Place>>,
    ) -> Self {
        // A stream is no connection.
        if !is_multiplexed(&stream) {
            service.connections.set(service.connections.get() + 1);
        }
        let seat = service.seats.take(stream.number().unwrap_or(NO_SOCKET));
        let life = Cell::new(service.begin_life());
        let input = Input::default();
        Self { service, stream, input, listener, peer, sending: None, seat, life, _place: place }
    }

    /// The next request; `None` when there is none any more. One that is refused was the last.
    pub(super) async fn next_request(&mut self) -> Option<Outgoing> {
        let refused = match self.read_request().await {
            Ok(next) => return next,
            Err(refused) => refused,
        };
        // Looked for here, where no HTTP/1.1 request passes: it has a version that is none.
        if self.begins_with_preface() {
            Box::pin(self.multiplex()).await;
            return None;
        }
        self.begin_unread();
        let head_only = is_head(self.input.bytes());
        Box::pin(self.refuse(refused, Ending::Close, head_only)).await;
        None
    }

    async fn read_request(&mut self) -> Result<Option<Outgoing>, Refused> {
        let mut head_due = None;
        self.service.seats.wait(self.seat, self.service.now());
        loop {
            if !self.input.is_empty() && self.input.is_worth_a_look(self.rules().limits.max_head) {
                let rules = self.listener.rules();
                let taken = take_request(self, &rules)?;
                if taken.is_some() {
                    self.service.seats.work(self.seat);
                    self.count_request();
                    return Ok(taken);
                }
                self.input.collect(&self.service.heads).map_err(|_| Refused::head_memory())?;
                head_due = head_due.or(Some(self.service.now().deadline(self.rules().head_timeout)));
            }
            let due = head_due.unwrap_or_else(|| self.idle_until());
            match poll_fn(|cx| self.poll_next(cx, due)).await {
                Ok(Some(chunk)) => {
                    self.input.add(chunk, &self.service.heads).map_err(|_| Refused::head_memory())?;
                }
                Err(Missing::GivenUp) => return Err(Refused::head_memory()),
                Err(Missing::Fault(Fault::TimedOut)) if head_due.is_some() => {
                    return Err(Refused::head_timeout());
                }
                Err(Missing::Fault(Fault::TimedOut) | Missing::Lost) => return Ok(None),
                Ok(None) | Err(Missing::Fault(Fault::Os(_))) => {
                    if head_due.is_some() && !self.service.seats.ends(self.seat) {
                        self.begin_unread();
                        self.lost(CLIENT_GONE);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Until when the next request is waited for.
    ///
    /// One that is over its age is not closed for that alone: its client may be sending, and would lose a request
    /// that nobody can say was not acted on. The answer to the next request says that it was the last (nginx does
    /// the same), and without one it ends by `idle_timeout`, as it would in any case. Only where there is none
    /// its age ends the wait.
    fn idle_until(&self) -> Instant {
        let (now, idle_timeout) = (self.service.now(), self.rules().idle_timeout);
        if !idle_timeout.is_zero() {
            return now + idle_timeout;
        }
        self.ages_at().max(now + LAST_REQUEST)
    }

    /// When it will be over its age.
    pub(super) fn ages_at(&self) -> Instant {
        self.life.get().ends_at(self.listener.life_limits().max_age, self.service.now())
    }

    /// Waits for the client's bytes, and for the last send only if it fails.
    fn poll_next(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Missing>> {
        if let Some(sending) = &mut self.sending
            && let Poll::Ready(sent) = sending.poll_failed(cx)
        {
            self.sending = None;
            if let Err(fault) = sent.outcome {
                self.lost(fault);
                return Poll::Ready(Err(Missing::Lost));
            }
        }
        // A last send that went well is still there: it woke nobody. One that has not is waited for after this.
        if self.input.is_empty() {
            return self.stream.poll_receive_next(cx, due).map_err(Missing::from);
        }
        if self.input.is_given_up(cx) {
            return Poll::Ready(Err(Missing::GivenUp));
        }
        self.stream.poll_receive(cx, due).map_err(Missing::from)
    }

    /// Waits until the last response has left.
    ///
    /// # Errors
    /// It could not: the client is gone, or reads too slowly.
    pub(super) async fn sent_before(&mut self) -> Result<(), Fault> {
        match self.sending.take() {
            Some(sending) => sending.await.outcome,
            None => Ok(()),
        }
    }

    /// Whether the last response has left, without waiting for it.
    pub(super) fn has_sent(&mut self) -> bool {
        if self.sending.as_ref().is_some_and(Sending::went_well) {
            self.sending = None;
        }
        self.sending.is_none()
    }

    /// A request came to nothing, and there is no answer.
    pub(super) fn gave_up(&self, refusal: Refusal) {
        self.service.refused(refusal, &About { listener: Some(&self.listener), ..About::default() });
    }

    /// The rules of the connection's listener.
    pub(super) fn rules(&self) -> Rc<ListenerRules> {
        self.listener.rules()
    }

    /// Whether this connection ends with the answer under way, whatever the client wants.
    pub(super) fn closing(&self) -> bool {
        self.service.stage.get() == Stage::LastRequests || self.listener.is_leaving() || self.over().is_some()
    }

    /// The limit for which this connection takes no further request, if it has lived long enough.
    fn over(&self) -> Option<LifeOver> {
        let over = self.life.get().over(&self.listener.life_limits(), self.service.now())?;
        // A stream's connection lives on.
        self.stream.number().map(|_| over)
    }

    /// The connection carries one request more.
    pub(super) fn count_request(&self) {
        let mut life = self.life.get();
        life.count();
        self.life.set(life);
    }

    /// What becomes of the connection after an answer. `close`: that said that it ends.
    pub(super) fn after(&self, close: bool) -> After {
        match (close, self.over()) {
            (false, _) => After::Next,
            // Its client did not want that, and may have sent its next request ahead: unread, it would reset the
            // connection, and the reset can overtake the answer.
            (true, Some(_)) => After::Linger,
            (true, None) => After::Close,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has one only if the connection was cut off in the middle of an exchange.
        self.record_ended(Ended::Lost(Refusal::Stopped));
        if let Some(over) = self.over() {
            self.service.stats.borrow_mut().lived_out(over);
        }
        self.service.seats.leave(self.seat);
        if !is_multiplexed(&self.stream) {
            self.service.connections.set(self.service.connections.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that such a function makes.
    fn future_of<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_an_idle_connection_leaves_room_for_its_slots_in_a_kib() {
        let size = future_of(serve);
        assert!(size <= 816, "{size} bytes");
    }
}
