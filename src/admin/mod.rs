//! The admin surface: what weir knows of itself and what may be changed, over HTTP, on control's thread.
//!
//! Here: [`bind`] (before the shards start, so that a taken port is an error of the start) and [`serve`]
//! (accepting, limits). Not here: what is known and done (`control`'s desk). It is served by hyper and not
//! by our own data path, so that a fault there can still be seen here. Everything is bounded: connections,
//! their life, what is read of them, how many wait or watch. `weir ctl` is a client of it and no more.
//!
//! | file | what lives there |
//! |---|---|
//! | `bind` | its listeners |
//! | `answer` | from a request to its answer |
//! | `target` | what a path and a query name |
//! | `guard` | who may ask, and who may change something: no web page |
//! | `token` | what whoever asks through a port must show |
//! | `changes` | changes and reloads, from JSON and to JSON |
//! | `dashboard` | the page for browsers |
//! | `live` | what happens now, as a stream |
//! | `pages`, `shards`, `stats`, `exported` | what is only read |
//! | `problem` | refusals, as JSON with a remedy |

mod answer;
mod bind;
mod changes;
mod dashboard;
mod exported;
mod guard;
mod inject;
pub mod live;
mod pages;
mod problem;
mod shards;
mod stats;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
mod token;
mod utc;

pub use bind::{AdminListener, BindRefused, bind, bind_around};
pub use target::{backend_path, backends_path};
pub use token::{Token, TokenRefused};

use crate::control::Desk;
use crate::sys::socket::bound_unsent;
use crate::time::{Instant, Micros};
use guard::{Door, Way};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

/// Connections at once on one listener; further ones wait to be accepted. Each listener has its own bound,
/// so that a flood on the port does not lock the operator out of the Unix socket.
const CONNECTIONS_MAX: usize = 64;

/// Of those, how many may wait for something to happen.
const WAITS_MAX: usize = 16;

/// How long one connection may live; a stream that is read, from its last event. It serves one request: whoever
/// scrapes every few seconds is not worth keeping a connection for, and an idle one cannot take another's place.
const LIFE_MAX: Micros = Micros::from_s(10);

/// How long the head of a request may take.
const HEAD_WITHIN: Micros = Micros::from_s(5);

/// What the kernel keeps of what was sent on a port and not taken. By itself it would keep megabytes: a stream that
/// nobody reads would be full after half an hour. A Unix socket keeps no more by itself.
const UNSENT_BYTES: usize = 128 << 10;

/// How long accepting pauses when it fails, which it does for want of descriptors.
const PAUSE: Micros = Micros::from_ms(200);

/// Serves on these listeners until control ends, on ports to those alone who show `token`; aborting what it gives ends accepting on them, and leaves
/// what was accepted to its end. Called by control inside its runtime.
///
/// A listener that the runtime does not take is logged and left out: the data path is worth more than
/// the view of it.
pub fn serve(listeners: Vec<AdminListener>, token: Option<Token>, desk: &Desk) -> Vec<AbortHandle> {
    let token = token.map(Rc::new);
    let mut accepting = Vec::new();
    for listener in listeners {
        let taken = match listener {
            AdminListener::Tcp(listener) => TcpListener::from_std(listener).map(Listening::Tcp),
            AdminListener::Unix(listener) => UnixListener::from_std(listener).map(Listening::Unix),
        };
        match taken {
            Ok(listening) => {
                accepting.push(spawn_local(accept(listening, token.clone(), desk.clone())).abort_handle())
            }
            Err(error) => tracing::error!(%error, "an admin listener cannot be served"),
        }
    }
    accepting
}

/// What the connections of one listener share.
struct Surface {
    desk: Desk,
    door: Door,
    waits: Semaphore,
    streams: Arc<Semaphore>,
    cache: live::Cache,
}

/// How long a connection may live.
struct Life {
    desk: Desk,
    until: Cell<Instant>,
}

impl Life {
    fn new(desk: &Desk) -> Self {
        Self { desk: desk.clone(), until: Cell::new(desk.now() + LIFE_MAX) }
    }

    /// What was asked for may take this long, and its answer must still go out.
    fn extend(&self, by: Micros) {
        self.until.set(self.desk.now() + by + LIFE_MAX);
    }

    /// Waits until it is over.
    async fn over(&self) {
        loop {
            let (now, until) = (self.desk.now(), self.until.get());
            if now >= until {
                return;
            }
            sleep((until - now).as_duration()).await;
        }
    }
}

/// A listener in the runtime.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection.
enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listening {
    fn way(&self) -> Way {
        match self {
            Self::Tcp(_) => Way::Tcp,
            Self::Unix(_) => Way::Unix,
        }
    }

    async fn next(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // If the kernel will not, it keeps more, and who does not read is noticed later.
                let _ = bound_unsent(stream.as_fd(), UNSENT_BYTES);
                Accepted::Tcp(stream)
            }
            Self::Unix(listener) => Accepted::Unix(listener.accept().await?.0),
        })
    }
}

async fn accept(listening: Listening, token: Option<Rc<Token>>, desk: Desk) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let door = Door { way: listening.way(), token };
    let surface = Rc::new(Surface {
        desk,
        door,
        waits: Semaphore::new(WAITS_MAX),
        streams: Arc::new(Semaphore::new(live::STREAMS_MAX)),
        cache: live::Cache::default(),
    });
    // The permit comes first, so what is beyond the bound waits in the backlog and costs us nothing.
    while let Ok(permit) = connections.clone().acquire_owned().await {
        let accepted = match listening.next().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin surface cannot accept; trying again");
                sleep(PAUSE.as_duration()).await;
                continue;
            }
        };
        let surface = surface.clone();
        spawn_local(async move {
            match accepted {
                Accepted::Tcp(stream) => converse(stream, &surface).await,
                Accepted::Unix(stream) => converse(stream, &surface).await,
            }
            drop(permit);
        });
    }
}

/// Answers one request, and closes.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S, surface: &Rc<Surface>) {
    let life = &Rc::new(Life::new(&surface.desk));
    let page =
        service_fn(
            |request| async move { Ok::<_, Infallible>(answer::answer(request, surface, life).await) },
        );
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN.as_duration())
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), page);
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::debug!(%error, "an admin connection broke");
        },
        () = life.over() => tracing::debug!("an admin connection was not done in time"),
    }
}
