//! Clients that vanish while their answer is awaited: the exchange ends, and the backend is rid of it.
//!
//! To see it takes an operation in the ring beside the wait, which most exchanges are over too soon to need:
//! they get it only when they have waited for a while. A reset always says that the client is gone. That it
//! has ended its side says so only where `listener.on_half_close` has it so, since a client may do that and
//! wait for its answer (RFC 9112 §9.6). What it has sent meanwhile stays unread. Called wherever a
//! backend is waited for.

use super::connection::Client;
use super::download::Down;
use crate::config::OnHalfClose;
use crate::ring::{Chunk, Fault};
use crate::time::{Instant, Micros};
use crate::wire::Wire;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// How long a backend is waited for before the client is watched as well.
pub(super) const WATCH_AFTER: Micros = Micros::from_ms(100);

/// How the loss of a client looks that went away.
pub(super) const CLIENT_GONE: Fault = Fault::Os(libc::EPIPE);

/// The client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientGone;

/// Why nothing came from a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// Nobody waits for it any more.
    ClientGone,
    /// The wait failed.
    Backend(Fault),
}

impl Client {
    /// Whether the client is gone now. A system call: for rare moments.
    pub(super) fn is_gone(&self) -> bool {
        self.stream.is_gone(self.half_close_ends())
    }

    /// Whether a client that ends its side is taken to have gone.
    pub(super) fn half_close_ends(&self) -> bool {
        self.rules().on_half_close == OnHalfClose::Abort && !self.service.seats.ends(self.seat)
    }
}

impl Down<'_> {
    /// The backend's next bytes, by `due`, unless the client goes away first.
    ///
    /// # Errors
    /// Who is to blame that there are none.
    pub(super) async fn receive(&self, up: &Wire, due: Instant) -> Result<Option<Chunk>, Missed> {
        let soon = due.min(self.service.now() + WATCH_AFTER);
        let received = up.receive(soon).await;
        if soon == due || !matches!(received, Err(Fault::TimedOut)) {
            return received.map_err(Missed::Backend);
        }
        Box::pin(self.hear_out(up, due)).await
    }

    /// The same, when it has been waited for long enough to watch the client as well.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn hear_out(self, up: &Wire, due: Instant) -> Result<Option<Chunk>, Missed> {
        match self.unless_gone(up.receive(due)).await {
            Ok(received) => received.map_err(Missed::Backend),
            Err(ClientGone) => Err(Missed::ClientGone),
        }
    }

    /// What `other` comes to, unless the client goes away first.
    ///
    /// # Errors
    /// It did.
    pub(super) async fn unless_gone<T>(&self, other: impl Future<Output = T>) -> Result<T, ClientGone> {
        let mut other = pin!(other);
        let mut gone = pin!(self.stream.gone(self.half_close_ends));
        poll_fn(|cx| {
            if let Poll::Ready(ready) = other.as_mut().poll(cx) {
                return Poll::Ready(Ok(ready));
            }
            gone.as_mut().poll(cx).map(|()| Err(ClientGone))
        })
        .await
    }

    /// Whether the client is gone now. A system call: for rare moments.
    pub(super) fn is_gone(&self) -> bool {
        self.stream.is_gone(self.half_close_ends)
    }
}
