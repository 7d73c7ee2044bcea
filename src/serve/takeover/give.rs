//! The old process's side: tells who asks what there is, hands it over, and leaves once the other one serves.
//!
//! On control's thread, as tasks: nothing here waits for anybody but the process that takes over, and each
//! step has its limit. Only the last step changes anything: whoever dies before has asked in vain.

use super::meeting::MeetingPoint;
use super::protocol::{self, FromNew, FromOld, Hello, Offer, PREFIX, PROTOCOL};
use crate::sys::handoff::{IN_ONE_MESSAGE, Peer, own_uid, peer, send_descriptors};
use crate::time::Micros;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// How long who connects may take to say what it wants, and to take what it gets.
const ANSWER: Micros = Micros::from_s(10);

/// How long the new process may take from the offer until it serves: it starts its shards meanwhile.
const START_WITHIN: Micros = Micros::from_s(60);

/// How long accepting pauses when it fails, which it does for want of descriptors.
const PAUSE: Micros = Micros::from_ms(200);

/// Processes that look around at the same time; further ones hang up in vain.
const CALLERS_MAX: usize = 8;

/// What the running process has, and how it steps down.
pub(crate) trait Incumbent {
    /// Where it listens, admin addresses too.
    fn addresses(&self) -> Vec<String>;

    /// Everything that a successor gets: the offer and its descriptors, in the offer's order.
    ///
    /// # Errors
    /// Why it will not now, and what to do.
    fn offer(&self) -> Result<(Offer, Vec<Arc<OwnedFd>>), String>;

    /// A successor has the sockets (`true`), or it is gone and had not begun to serve (`false`). In between
    /// this process goes on, but it must not shut those sockets down, whatever happens.
    fn promised(&self, promised: bool);

    /// `successor` accepts on the addresses `taken`: no more accepting there, nothing may be lost from their
    /// queues; what is in flight is finished, what was not taken drains as at every shutdown.
    fn step_down(&self, successor: Peer, taken: &[String]);
}

/// What it came to that somebody wanted to take over.
enum End {
    Refused,
    Left,
}

/// Whether somebody is taking over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Promised,
    Left,
}

struct Giving<I> {
    incumbent: I,
    stage: Cell<Stage>,
    callers: Cell<usize>,
    left: Notify,
}

/// Waits at `point` for a successor, and ends once it serves. Meant to be spawned.
///
/// # Errors
/// The runtime does not take the socket; nobody can take over then.
pub(crate) async fn give(point: MeetingPoint, incumbent: impl Incumbent + 'static) -> io::Result<()> {
    let listener = UnixListener::from_std(point.listener.try_clone()?)?;
    let giving = Rc::new(Giving {
        incumbent,
        stage: Cell::new(Stage::Open),
        callers: Cell::new(0),
        left: Notify::new(),
    });
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if giving.callers.get() < CALLERS_MAX => {
                    giving.callers.set(giving.callers.get() + 1);
                    spawn_local(giving.clone().talk(stream));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "a process that wants to take over cannot be accepted; trying again");
                    sleep(PAUSE.as_duration()).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => Ok(()),
        () = giving.left.notified() => Ok(()),
    }
}

impl<I: Incumbent> Giving<I> {
    async fn talk(self: Rc<Self>, mut stream: UnixStream) {
        match peer(stream.as_fd()) {
            Ok(peer) if peer.uid == own_uid() || peer.uid == 0 => self.converse(&mut stream, peer).await,
            Ok(peer) => {
                tracing::warn!(pid = peer.pid, uid = peer.uid, "another user's process asked to take over")
            }
            Err(error) => tracing::warn!(%error, "who asks to take over cannot be told"),
        }
        self.callers.set(self.callers.get() - 1);
    }

    async fn converse(&self, stream: &mut UnixStream, peer: Peer) {
        match self.wanted(stream).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(pid = peer.pid, %error, "a process that looked around went away");
                return;
            }
        }
        match self.hand_over(stream, peer).await {
            Ok(End::Refused) => {}
            Ok(End::Left) => {
                // It serves already: whether it hears this decides nothing.
                if let Err(error) = say(stream, &FromOld::Leaving).await {
                    tracing::warn!(%error, "the new process does not hear that this one leaves");
                }
                self.left.notify_one();
            }
            Err(error) => tracing::warn!(
                pid = peer.pid,
                %error,
                "the process that was to take over did not: this one serves on"
            ),
        }
    }

    /// Says who this is. Whether the other one wants to take over: most only look for somebody else.
    async fn wanted(&self, stream: &mut UnixStream) -> io::Result<bool> {
        let hello = Hello {
            protocol: PROTOCOL,
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: self.incumbent.addresses(),
        };
        say(stream, &FromOld::Hello(hello)).await?;
        match hear(stream, ANSWER).await? {
            None => Ok(false),
            Some(FromNew::Take { protocol: PROTOCOL }) => Ok(true),
            Some(FromNew::Take { protocol }) => {
                let why =
                    format!("it hands over by protocol {PROTOCOL}, not {protocol}; end it (SIGTERM) first");
                self.refuse(stream, why).await.map(|_| false)
            }
            Some(FromNew::Serving { .. }) => Err(invalid("it serves what it did not get".to_owned())),
        }
    }

    async fn hand_over(&self, stream: &mut UnixStream, peer: Peer) -> io::Result<End> {
        if self.stage.get() != Stage::Open {
            return self.refuse(stream, "another process is taking over already".to_owned()).await;
        }
        let (offer, descriptors) = match self.incumbent.offer() {
            Ok(offered) => offered,
            Err(why) => return self.refuse(stream, why).await,
        };
        tracing::info!(pid = peer.pid, sockets = descriptors.len(), "another process takes over");
        let mut promise = Promise::make(self);
        say(stream, &FromOld::Offer(offer)).await?;
        pass(stream, &descriptors).await?;
        drop(descriptors);
        match hear(stream, START_WITHIN).await? {
            Some(FromNew::Serving { taken }) => {
                promise.kept = true;
                self.stage.set(Stage::Left);
                self.incumbent.step_down(peer, &taken);
                Ok(End::Left)
            }
            Some(FromNew::Take { .. }) => Err(invalid("it asks twice".to_owned())),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before it served")),
        }
    }

    async fn refuse(&self, stream: &mut UnixStream, why: String) -> io::Result<End> {
        tracing::warn!(%why, "a process that wanted to take over was refused");
        say(stream, &FromOld::Refused { why }).await?;
        Ok(End::Refused)
    }
}

/// Is taken back when it goes and was not kept.
struct Promise<'a, I: Incumbent> {
    giving: &'a Giving<I>,
    kept: bool,
}

impl<'a, I: Incumbent> Promise<'a, I> {
    fn make(giving: &'a Giving<I>) -> Self {
        giving.stage.set(Stage::Promised);
        giving.incumbent.promised(true);
        Self { giving, kept: false }
    }
}

impl<I: Incumbent> Drop for Promise<'_, I> {
    fn drop(&mut self) {
        if !self.kept {
            self.giving.stage.set(Stage::Open);
            self.giving.incumbent.promised(false);
        }
    }
}

async fn say(stream: &mut UnixStream, message: &FromOld) -> io::Result<()> {
    let framed = protocol::frame(message).map_err(|error| invalid(error.to_string()))?;
    within(ANSWER, stream.write_all(&framed)).await
}

/// The next message; `None` if the other end has hung up.
async fn hear(stream: &mut UnixStream, limit: Micros) -> io::Result<Option<FromNew>> {
    within(limit, async {
        let mut prefix = [0; PREFIX];
        match stream.read_exact(&mut prefix).await {
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map(drop)?,
        }
        let len = protocol::len(prefix).map_err(|error| invalid(error.to_string()))?;
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).await?;
        protocol::read(&bytes).map(Some).map_err(|error| invalid(error.to_string()))
    })
    .await
}

async fn pass(stream: &UnixStream, descriptors: &[Arc<OwnedFd>]) -> io::Result<()> {
    let raw: Vec<_> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    for some in raw.chunks(IN_ONE_MESSAGE) {
        within(ANSWER, stream.async_io(Interest::WRITABLE, || send_descriptors(stream.as_fd(), some)))
            .await?;
    }
    Ok(())
}

async fn within<T>(limit: Micros, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit.as_duration(), step).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not answer within {limit}")))
    })
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
