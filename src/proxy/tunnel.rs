//! Raw bytes both ways after a 101 that was asked for (RFC 9110 §7.8), WebSocket above all.
//!
//! Ends when both sides have ended, when either fails, or when neither has sent a byte for `tunnel_idle`.
//! Called by `exchange.rs`, in a box of its own.

use super::attempt::Begun;
use super::connection::Client;
use super::exchange::After;
use super::response::FirstPart;
use crate::log::record::Ending;
use crate::metrics::Refusal;
use crate::ring::{Fault, Payload};
use crate::time::{Instant, Micros};
use crate::upstream::Connection;
use crate::wire::Wire;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Time for one piece to leave a tunnel; the other side may be slow, but not dead.
const SEND_TIMEOUT: Micros = Micros::from_s(60);

impl Client {
    /// Passes bytes until the tunnel ends. The exchange is in flight until then.
    pub(super) async fn tunnel(&mut self, part: FirstPart, begun: Begun) -> After {
        let Begun { connection, in_flight, first_byte } = begun;
        if let Err(fault) = self.sent_before().await {
            return self.lost(fault);
        }
        self.note(|draft| draft.entry.bytes_out = part.body_bytes);
        if let Err(fault) = self.down(Instant::NEVER).send(part.payload).await {
            return self.lost(fault);
        }
        let ahead = if self.input.is_empty() {
            Payload::Static(b"")
        } else {
            match self.input.take_payload(&self.service) {
                Some(payload) => payload,
                None => {
                    // Too much of that is under way.
                    self.service.stats.borrow_mut().refused(0, Refusal::RequestMemory);
                    self.record_ended(Ending::Lost(Refusal::RequestMemory));
                    return After::Close;
                }
            }
        };
        self.pass_both_ways(&connection, ahead).await;
        in_flight.passed(first_byte);
        self.record_ended(Ending::Tunnelled);
        After::Close
    }

    /// Passes `ahead` up, and then whatever comes, until both sides have ended or either fails.
    async fn pass_both_ways(&self, connection: &Connection, ahead: Payload) {
        let idle = connection.picked().pool().rules().timeouts.tunnel_idle;
        let now = || self.service.now();
        // At once, and not at the end: weir may stop before that.
        let passed_up = |count: usize| self.note(|draft| draft.entry.bytes_in += count as u64);
        let passed_down = |count: usize| self.note(|draft| draft.entry.bytes_out += count as u64);
        if !ahead.as_slice().is_empty() {
            passed_up(ahead.as_slice().len());
            if connection.stream.send(ahead, now() + SEND_TIMEOUT).await.outcome.is_err() {
                return;
            }
        }
        let last = Cell::new(now());
        let mut up = pin!(pass(&self.stream, &connection.stream, &last, &passed_up, idle, &now));
        let mut down = pin!(pass(&connection.stream, &self.stream, &last, &passed_down, idle, &now));
        let (mut up_ended, mut down_ended) = (false, false);
        poll_fn(|cx| {
            for (ended, way) in [
                (&mut up_ended, up.as_mut() as Pin<&mut dyn Future<Output = Result<(), Fault>>>),
                (&mut down_ended, down.as_mut()),
            ] {
                if !*ended && let Poll::Ready(end) = way.poll(cx) {
                    *ended = true;
                    if end.is_err() {
                        return Poll::Ready(());
                    }
                }
            }
            if up_ended && down_ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// One direction, until its sender has ended; then the receiver is told.
async fn pass(
    from: &Wire,
    to: &Wire,
    last: &Cell<Instant>,
    passed: &dyn Fn(usize),
    idle: Micros,
    now: &dyn Fn() -> Instant,
) -> Result<(), Fault> {
    loop {
        match from.receive(last.get().deadline(idle)).await {
            Ok(Some(chunk)) => {
                last.set(now());
                passed(chunk.len());
                to.send(Payload::Chunk(chunk), now() + SEND_TIMEOUT).await.outcome?;
            }
            Ok(None) => {
                to.shutdown_write();
                return Ok(());
            }
            // The other direction may have had bytes meanwhile: then the tunnel is not idle.
            Err(Fault::TimedOut) if now() < last.get().deadline(idle) => {}
            Err(fault) => return Err(fault),
        }
    }
}
