//! What a connection's bytes go over: a socket as it is, or a layer above one.
//!
//! Here: [`Wire`], which `proxy` and `upstream` use wherever they mean "the other side", and [`Layer`], which
//! whoever puts something between the socket and HTTP/1.1 implements: TLS, and a stream of an HTTP/2 connection,
//! which speaks HTTP/1.1 to weir's inside. A socket as it is costs nothing more for it: one comparison a call.
//! Not here: the layers (`tls`, `streams`) and the socket (`ring`).

mod sending;

pub use sending::{Leaving, Sending};

use crate::ring::{Chunk, Fault, Payload, Stream};
use crate::time::Instant;
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The errno of a receive over a layer whose peer has said that it has not begun with what was sent to it, or cannot
/// have seen it. No connected socket has it.
pub const UNTOUCHED: i32 = libc::ECONNREFUSED;

/// What is between the socket and HTTP/1.1. The meaning of each call is that of [`Stream`]'s of the same name.
pub trait Layer {
    /// The next bytes; `None` at the end.
    fn poll_receive(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>>;

    /// The same of a wait for the next request, which [`crate::ring::Ring::interrupt`] may end early where there can
    /// be a next one.
    fn poll_receive_next(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        self.poll_receive(cx, due)
    }

    /// Bytes that have come and wait unread, without waiting for any.
    fn received(&self) -> Option<Chunk>;

    /// Whether nothing has come since the last read, and an end would have been seen.
    fn is_quiet(&self) -> bool;

    /// Has the end of an idle connection seen; `false`: it was not watched before.
    fn watch(&self) -> bool;

    /// Sends all of `payload`. It is under way at once, whether or not anybody polls what is returned.
    fn send(&self, payload: Payload, due: Instant) -> Box<dyn Leaving>;

    /// Sends all of `chunks`, in order.
    fn send_gathered(&self, chunks: Vec<Chunk>, due: Instant) -> Box<dyn Leaving>;

    /// Says that nothing more will be sent. What was sent before must have left.
    fn shutdown_write(&self);

    /// Waits until the peer is gone; with `half_close`, also if it has only said that no more comes.
    fn gone(&self, half_close: bool) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// The same, without waiting for it.
    fn is_gone(&self, half_close: bool) -> bool;

    /// Has dropping it reset the connection.
    fn reset_on_close(&self);

    /// The number of the socket that is its alone; `None`: others use it too.
    fn number(&self) -> Option<RawFd>;

    /// What is known of the other side by its handshake; `None`: nothing is sealed.
    fn secured(&self) -> Option<&Secured>;
}

/// What a TLS handshake has settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// "TLSv1.3" or "TLSv1.2".
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// The name that the client asked for (SNI).
    pub server_name: Option<Box<str>>,
    /// The subject of the client's certificate, which was verified, as RFC 4514 writes it.
    pub client_subject: Option<Box<str>>,
}

/// What a connection's bytes go over. Dropping it closes it.
pub enum Wire {
    /// A socket as it is.
    Plain(Stream),
    /// Something above one.
    Layered(Box<dyn Layer>),
}

impl From<Stream> for Wire {
    fn from(stream: Stream) -> Self {
        Self::Plain(stream)
    }
}

impl Wire {
    /// The socket, if nothing is above it.
    pub fn plain(&self) -> Option<&Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Layered(_) => None,
        }
    }

    /// What the TLS handshake has settled; `None`: there was none.
    pub fn secured(&self) -> Option<&Secured> {
        match self {
            Self::Plain(_) => None,
            Self::Layered(layer) => layer.secured(),
        }
    }

    /// [`Stream::receive`].
    ///
    /// # Errors
    /// As there.
    pub async fn receive(&self, due: Instant) -> Result<Option<Chunk>, Fault> {
        poll_fn(|cx| self.poll_receive(cx, due)).await
    }

    /// [`Stream::poll_receive`].
    pub fn poll_receive(&self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<Option<Chunk>, Fault>> {
        match self {
            Self::Plain(stream) => stream.poll_receive(cx, due),
            Self::Layered(layer) => layer.poll_receive(cx, due),
        }
    }

    /// [`Stream::poll_receive_next`].
    pub fn poll_receive_next(
        &self,
        cx: &mut Context<'_>,
        due: Instant,
    ) -> Poll<Result<Option<Chunk>, Fault>> {
        match self {
            Self::Plain(stream) => stream.poll_receive_next(cx, due),
            Self::Layered(layer) => layer.poll_receive_next(cx, due),
        }
    }

    /// [`Stream::received`].
    pub fn received(&self) -> Option<Chunk> {
        match self {
            Self::Plain(stream) => stream.received(),
            Self::Layered(layer) => layer.received(),
        }
    }

    /// [`Stream::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_quiet(),
            Self::Layered(layer) => layer.is_quiet(),
        }
    }

    /// [`Stream::watch`].
    pub fn watch(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.watch(),
            Self::Layered(layer) => layer.watch(),
        }
    }

    /// [`Stream::send`].
    pub fn send(&self, payload: Payload, due: Instant) -> Sending {
        match self {
            Self::Plain(stream) => Sending::Plain(stream.send(payload, due)),
            Self::Layered(layer) => Sending::Layered(layer.send(payload, due)),
        }
    }

    /// Sends all of `chunks`, in order, and waits until they have left.
    ///
    /// # Errors
    /// They could not, or not before `due`.
    pub async fn send_gathered(&self, chunks: Vec<Chunk>, due: Instant) -> Result<(), Fault> {
        match self {
            Self::Plain(stream) => stream.send_gathered(chunks, due).await.map(drop),
            Self::Layered(layer) => Sending::Layered(layer.send_gathered(chunks, due)).await.outcome,
        }
    }

    /// [`Stream::shutdown_write`].
    pub fn shutdown_write(&self) {
        match self {
            Self::Plain(stream) => stream.shutdown_write(),
            Self::Layered(layer) => layer.shutdown_write(),
        }
    }

    /// [`Stream::gone`].
    pub async fn gone(&self, half_close: bool) {
        match self {
            Self::Plain(stream) => stream.gone(half_close).await,
            Self::Layered(layer) => layer.gone(half_close).await,
        }
    }

    /// [`Stream::is_gone`].
    pub fn is_gone(&self, half_close: bool) -> bool {
        match self {
            Self::Plain(stream) => stream.is_gone(half_close),
            Self::Layered(layer) => layer.is_gone(half_close),
        }
    }

    /// [`Stream::reset_on_close`].
    pub fn reset_on_close(&self) {
        match self {
            Self::Plain(stream) => stream.reset_on_close(),
            Self::Layered(layer) => layer.reset_on_close(),
        }
    }

    /// The number of the socket that is its alone; `None`: others use it too.
    pub fn number(&self) -> Option<RawFd> {
        match self {
            Self::Plain(stream) => Some(stream.number()),
            Self::Layered(layer) => layer.number(),
        }
    }
}
