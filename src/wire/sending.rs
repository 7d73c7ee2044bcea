//! Bytes on their way out over a wire: what [`super::Wire::send`] returns.

use crate::ring::{Send, Sent};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A layer's send under way. Dropping it gives it up; what is half sent must then be seen to be broken.
pub trait Leaving {
    /// Wakes nobody when all goes well, if it can do without: see [`Send::quiet`].
    fn quiet(&mut self) {}

    /// The same, and the payload is not asked for: see [`Send::quiet_and_done`].
    fn quiet_and_done(&mut self) {}

    /// Whether a send made quiet and done is over, and all of it was taken.
    fn went_well(&self) -> bool;

    /// How it went, without waiting for it to go well, if it can do without.
    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        self.poll_sent(cx)
    }

    /// How it went.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Sent>;
}

/// A send under way.
#[must_use = "dropping it cancels the send"]
pub enum Sending {
    /// By the socket.
    Plain(Send),
    /// By a layer.
    Layered(Box<dyn Leaving>),
}

impl Sending {
    /// [`Send::quiet`].
    pub fn quiet(self) -> Self {
        match self {
            Self::Plain(send) => Self::Plain(send.quiet()),
            Self::Layered(mut leaving) => {
                leaving.quiet();
                Self::Layered(leaving)
            }
        }
    }

    /// [`Send::quiet_and_done`].
    pub fn quiet_and_done(self) -> Self {
        match self {
            Self::Plain(send) => Self::Plain(send.quiet_and_done()),
            Self::Layered(mut leaving) => {
                leaving.quiet_and_done();
                Self::Layered(leaving)
            }
        }
    }

    /// [`Send::went_well`].
    pub fn went_well(&self) -> bool {
        match self {
            Self::Plain(send) => send.went_well(),
            Self::Layered(leaving) => leaving.went_well(),
        }
    }

    /// [`Send::poll_failed`].
    pub fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        match self {
            Self::Plain(send) => send.poll_failed(cx),
            Self::Layered(leaving) => leaving.poll_failed(cx),
        }
    }
}

impl Future for Sending {
    type Output = Sent;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        match self.get_mut() {
            Self::Plain(send) => Pin::new(send).poll(cx),
            Self::Layered(leaving) => leaving.poll_sent(cx),
        }
    }
}
