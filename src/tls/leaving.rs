//! A sealed send under way.
//!
//! The socket's send has the records; the plaintext is kept beside it, since whoever sent it may want to send it
//! again elsewhere, until nobody asks for it. Made by `layer.rs`.

use crate::ring::{Fault, Payload, Send, Sent};
use crate::wire::Leaving;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A send of sealed records.
pub(super) struct SealedSend {
    /// `None`: nothing was sent, since it could not be sealed; or it is over.
    send: Option<Send>,
    payload: Option<Payload>,
}

impl SealedSend {
    pub(super) fn new(send: Send, payload: Option<Payload>) -> Self {
        Self { send: Some(send), payload }
    }

    pub(super) fn failed(payload: Option<Payload>) -> Self {
        Self { send: None, payload }
    }

    fn polled(&mut self, poll: impl FnOnce(&mut Send) -> Poll<Sent>) -> Poll<Sent> {
        let Self { send, payload } = self;
        let Some(send) = send else {
            let outcome = Err(Fault::Os(libc::EPIPE));
            return Poll::Ready(Sent { outcome, untouched: true, payload: payload.take() });
        };
        poll(send).map(|sent| {
            let timed_out = sent.outcome == Err(Fault::TimedOut);
            Sent { payload: if timed_out { None } else { payload.take() }, ..sent }
        })
    }
}

impl Leaving for SealedSend {
    fn quiet(&mut self) {
        self.send = self.send.take().map(Send::quiet);
    }

    fn quiet_and_done(&mut self) {
        self.payload = None;
        self.send = self.send.take().map(Send::quiet_and_done);
    }

    fn went_well(&self) -> bool {
        self.send.as_ref().is_some_and(Send::went_well)
    }

    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        self.polled(|send| send.poll_failed(cx))
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Sent> {
        self.polled(|send| Pin::new(send).poll(cx))
    }
}
