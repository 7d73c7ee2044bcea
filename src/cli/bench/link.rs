//! A connection to the target, and one exchange over it; what went wrong, by kind.
//!
//! hyper speaks the HTTP: a generator that shared weir's own parser would share its errors. Not here: which
//! request is next, and the clock (`lane`).

use super::tally::Failure;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::timeout;

/// A connection that the target has ended meanwhile is replaced so often for one request.
const TRIES: usize = 3;

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) cause: String,
}

/// A whole answer, forgotten but for this.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body_bytes: u64,
}

/// Where connections are made to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// How long one may take to be made.
    pub(super) within: Duration,
}

impl Door {
    /// Connects.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn connect(&self) -> Result<Link, Failed> {
        let refused = |cause: io::Error| Failed { failure: Failure::Connect, cause: cause.to_string() };
        let connected = timeout(self.within, TcpStream::connect(self.address)).await;
        let stream = connected.map_err(|_| refused(io::ErrorKind::TimedOut.into()))?.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| refused(io::Error::other(error)))?;
        Ok(Link { sender, driver: Driver(Some(Box::pin(connection))) })
    }
}

type Conversation = Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// hyper's half that reads and writes; nothing moves unless somebody waits for it too.
struct Driver(Option<Pin<Box<Conversation>>>);

impl Driver {
    /// Waits until the connection has ended, for ever if that was seen already. Lets go of it then, upon which
    /// hyper tells those who wait for something from it.
    async fn ended(&mut self) -> Option<hyper::Error> {
        match &mut self.0 {
            Some(connection) => {
                let end = connection.await.err();
                self.0 = None;
                end
            }
            None => std::future::pending().await,
        }
    }
}

/// An open connection. Dropping it closes it.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// Why there is no head of an answer.
enum NoHead {
    /// The target had ended the connection before anything was sent on it.
    Stale,
    Failed(Failed),
}

impl Link {
    /// Waits until the target ends the connection, while nothing is asked on it.
    pub(super) async fn ended(&mut self) {
        self.driver.ended().await;
    }

    async fn head(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoHead> {
        let Self { sender, driver } = self;
        select! {
            biased;
            ready = sender.ready() => ready.map_err(|_| NoHead::Stale)?,
            _ = driver.ended() => return Err(NoHead::Stale),
        }
        let mut answer = pin!(sender.try_send_request(request));
        let mut end = None;
        loop {
            select! {
                biased;
                answered = &mut answer => return answered.map_err(|mut error| match error.take_message() {
                    Some(_) => NoHead::Stale,
                    None => NoHead::Failed(failed(end.as_ref().unwrap_or(error.error()), Failure::Closed)),
                }),
                ended = driver.ended() => end = ended,
            }
        }
    }

    /// Reads a body to its end; its length in bytes.
    async fn body(&mut self, mut body: Incoming) -> Result<u64, Failed> {
        let mut bytes = 0;
        loop {
            select! {
                biased;
                frame = body.frame() => match frame {
                    Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                    Some(Err(error)) => return Err(failed(&error, Failure::Cut)),
                    None => return Ok(bytes),
                },
                _ = self.driver.ended() => {}
            }
        }
    }
}

/// Asks over `link`, or over a new connection if there is none; a connection that can be used again stays there.
///
/// # Errors
/// Why there is no whole answer.
pub(super) async fn exchange(
    link: &mut Option<Link>,
    door: &Door,
    request: &Request<Full<Bytes>>,
) -> Result<Answer, Failed> {
    for _ in 0..TRIES {
        // Taken out: whoever gives up waiting for this drops the connection with it.
        let mut open = match link.take() {
            Some(open) => open,
            None => door.connect().await?,
        };
        let response = match open.head(request.clone()).await {
            Ok(response) => response,
            Err(NoHead::Stale) => continue,
            Err(NoHead::Failed(failed)) => return Err(failed),
        };
        let status = response.status().as_u16();
        let body_bytes = open.body(response.into_body()).await?;
        *link = Some(open);
        return Ok(Answer { status, body_bytes });
    }
    Err(Failed { failure: Failure::Closed, cause: format!("{TRIES} new connections in a row were ended") })
}

/// The kind of hyper's error; `ended` if the connection just ended.
fn failed(error: &hyper::Error, ended: Failure) -> Failed {
    let mut cause = error.to_string();
    let system = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let failure = match system.map(io::Error::kind) {
        Some(
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted,
        ) => Failure::Reset,
        Some(io::ErrorKind::TimedOut) => Failure::Timeout,
        // What a chunk's size may not be.
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Failure::NotHttp,
        Some(_) => ended,
        None if error.is_parse() => Failure::NotHttp,
        None => ended,
    };
    if let Some(source) = error.source() {
        cause = format!("{cause}: {source}");
    }
    Failed { failure, cause }
}
