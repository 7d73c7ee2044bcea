//! Raw bytes both ways after a 101 that was asked for (RFC 9110 §7.8), WebSocket above all.
//!
//! Ends when both sides have ended, when either fails, or when neither has sent a byte for `tunnel_idle`.
//! Called by `exchange.rs`, in a box of its own.

use super::attempt::Begun;
use super::connection::Client;
use super::exchange::After;
use super::response::FirstPart;
use crate::log::record::Ending;
use crate::ring::{Fault, Payload, Stream};
use crate::time::{Instant, Micros};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
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
        if let Err(fault) = self.down(Instant::NEVER).send(part.payload).await {
            return self.lost(fault);
        }
        let idle = connection.picked().pool().rules().timeouts.tunnel_idle;
        let now = || self.service.now();
        if !self.input.is_empty() {
            let Some(payload) = self.input.take_payload(&self.service) else { return After::Close };
            if connection.stream.send(payload, now() + SEND_TIMEOUT).await.outcome.is_err() {
                return After::Close;
            }
        }
        let last = Cell::new(now());
        let mut up = pin!(pass(&self.stream, &connection.stream, &last, idle, &now));
        let mut down = pin!(pass(&connection.stream, &self.stream, &last, idle, &now));
        let (mut up_ended, mut down_ended) = (false, false);
        poll_fn(|cx| {
            for (ended, way) in [
                (&mut up_ended, up.as_mut() as std::pin::Pin<&mut dyn Future<Output = Result<(), Fault>>>),
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
        in_flight.passed(first_byte);
        self.record_ended(Ending::Tunnelled);
        After::Close
    }
}

/// One direction, until its sender has ended; then the receiver is told.
async fn pass(
    from: &Stream,
    to: &Stream,
    last: &Cell<Instant>,
    idle: Micros,
    now: &dyn Fn() -> Instant,
) -> Result<(), Fault> {
    loop {
        match from.receive(last.get().deadline(idle)).await {
            Ok(Some(chunk)) => {
                last.set(now());
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
