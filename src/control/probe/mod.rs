//! One health check of one address: connect, perhaps shake hands, and one request and as much of its answer as
//! is needed to judge.
//!
//! Here: [`Prepared`], the check made ready, and [`Prepared::run`]; the words for what TLS says are in
//! `unsealed.rs`. Not here: when to check and what follows from it (`prober`, `health`). Each check has a connection of its own: that it can be made is
//! half of what is asked.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests_http2;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests_tls;
mod unsealed;

use crate::config::Destination;
use crate::fleet::{Passes, Prepared, Question};
use crate::health::{GRPC_ANSWER_MAX, GrpcAnswer, ProbeFailure, body_contains, judge_grpc, status_matches};
use crate::time::Micros;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::io;
use std::rc::{Rc, Weak};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use unsealed::{is_of_tls, unsealed};

/// How much of an answer's body is searched for `body_contains`.
const BODY_MAX: usize = 64 << 10;

impl Prepared {
    /// Checks once. It ends within `timeout`, whatever the backend does.
    pub(super) async fn run(&self, address: &Destination, timeout: Micros) -> Result<(), ProbeFailure> {
        let verdict = async {
            match address {
                Destination::Tcp(address) => self.ask(TcpStream::connect(address).await).await,
                Destination::Unix(path) => self.ask(UnixStream::connect(path).await).await,
            }
        };
        if timeout.is_zero() {
            return verdict.await;
        }
        let limited = tokio::time::timeout(timeout.as_duration(), verdict).await;
        limited.unwrap_or(Err(ProbeFailure::Timeout(timeout)))
    }

    async fn ask<S>(&self, connected: io::Result<S>) -> Result<(), ProbeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stream = connected.map_err(|cause| match cause.kind() {
            io::ErrorKind::ConnectionRefused => ProbeFailure::ConnectRefused,
            io::ErrorKind::ConnectionReset => ProbeFailure::Reset,
            _ => ProbeFailure::ConnectFailed(cause.to_string()),
        })?;
        let Self::Request(question) = self else { return Ok(()) };
        let Some(sealed) = &question.carrier.tls else { return question.put(stream).await };
        let connector = TlsConnector::from(sealed.config.clone());
        let connected = connector.connect(sealed.server_name.clone(), stream).await;
        let stream = connected.map_err(|cause| unsealed(&cause))?;
        if question.carrier.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ProbeFailure::Tls("the backend does not offer HTTP/2 (h2 by ALPN)".to_owned()));
        }
        question.put(stream).await
    }
}

impl Question {
    /// Sends the request and judges the answer.
    async fn put<S>(&self, stream: S) -> Result<(), ProbeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (tasks, stream) = (Tasks::default(), TokioIo::new(stream));
        let request: Request<Full<Bytes>> = self.request.clone().map(|body| Full::new(Bytes::from(body)));
        // The sender lives until the answer is judged: a connection ends without one.
        if self.carrier.http2 {
            let (mut sender, connection) =
                conn::http2::handshake(tasks.handle(), stream).await.map_err(failure)?;
            let ended = tasks.spawn(connection);
            self.judge(answered(sender.send_request(request).await, ended).await?).await
        } else {
            let (mut sender, connection) = conn::http1::handshake(stream).await.map_err(failure)?;
            let ended = tasks.spawn(connection);
            self.judge(answered(sender.send_request(request).await, ended).await?).await
        }
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<(), ProbeFailure> {
        let Passes::Answer { expect, contains } = &self.passes else { return serves(response).await };
        let status = response.status().as_u16();
        if !status_matches(expect, status) {
            return Err(ProbeFailure::status(status, expect));
        }
        match contains {
            Some(needle) if !needle.is_empty() => find(response.into_body(), needle).await,
            Some(_) | None => Ok(()),
        }
    }
}

/// What a connection does beside the check; all of it ends with this.
#[derive(Default)]
struct Tasks(Rc<RefCell<JoinSet<()>>>);

/// A way to add to them, which the tasks themselves may hold.
#[derive(Clone)]
struct Handle(Weak<RefCell<JoinSet<()>>>);

impl Tasks {
    fn handle(&self) -> Handle {
        Handle(Rc::downgrade(&self.0))
    }

    /// Drives a connection; how it ended.
    fn spawn(&self, connection: impl Future<Output = hyper::Result<()>> + 'static) -> Ended {
        let (sender, ended) = oneshot::channel();
        self.handle().execute(async move { sender.send(connection.await) });
        ended
    }
}

/// How a connection ended, once it has.
type Ended = oneshot::Receiver<hyper::Result<()>>;

/// The answer; what is known of it if there is none. A request that was given up because its connection ended knows
/// nothing of why.
async fn answered(
    response: hyper::Result<Response<Incoming>>,
    ended: Ended,
) -> Result<Response<Incoming>, ProbeFailure> {
    match response {
        Ok(response) => Ok(response),
        Err(error) if error.is_canceled() => Err(match ended.await {
            Ok(Err(cause)) => failure(cause),
            Ok(Ok(())) | Err(_) => failure(error),
        }),
        Err(error) => Err(failure(error)),
    }
}

impl<F: Future + 'static> Executor<F> for Handle {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.borrow_mut().spawn_local(async move { drop(task.await) });
        }
    }
}

/// Whether a gRPC server says that it serves: its message, and the status behind it.
async fn serves(response: Response<Incoming>) -> Result<(), ProbeFailure> {
    let (head, mut body) = response.into_parts();
    let (mut read, mut trailers) = (Vec::new(), HeaderMap::new());
    // In a head it stands where there is nothing else.
    if !head.headers.contains_key("grpc-status") {
        while let Some(frame) = body.frame().await {
            match frame.map_err(failure)?.into_data() {
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
            if read.len() > GRPC_ANSWER_MAX {
                return Err(ProbeFailure::NotGrpc(format!("more than {GRPC_ANSWER_MAX} bytes")));
            }
        }
    }
    let field = |name| trailers.get(name).or_else(|| head.headers.get(name)).map(|value| value.as_bytes());
    judge_grpc(&GrpcAnswer {
        http_status: head.status.as_u16(),
        content_type: field("content-type"),
        status: field("grpc-status"),
        message: field("grpc-message"),
        body: &read,
    })
}

/// Reads until `needle` was seen, the body ends, or [`BODY_MAX`] bytes were in vain.
async fn find(mut body: Incoming, needle: &str) -> Result<(), ProbeFailure> {
    let mut read: Vec<u8> = Vec::new();
    while read.len() < BODY_MAX {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(failure)?.into_data() else { continue };
        // Only what a match that ends in the new bytes can begin in is looked at again.
        let from = read.len().saturating_sub(needle.len());
        read.extend_from_slice(&data[..data.len().min(BODY_MAX - read.len())]);
        if body_contains(&read[from..], needle.as_bytes()) {
            return Ok(());
        }
    }
    Err(ProbeFailure::BodyMismatch(needle.to_owned()))
}

fn failure(error: hyper::Error) -> ProbeFailure {
    let io = io_of(&error);
    if let Some(cause) = io.filter(|cause| is_of_tls(cause)) {
        return unsealed(cause);
    }
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => ProbeFailure::Reset,
        Some(io::ErrorKind::UnexpectedEof) => ProbeFailure::Closed,
        _ if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            ProbeFailure::Closed
        }
        _ => ProbeFailure::BadResponse(told(&error)),
    }
}

/// The fault of the socket, or of what is above it, that is behind `error`.
fn io_of(error: &hyper::Error) -> Option<&io::Error> {
    let source = error.source()?;
    let of_h2 = || source.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
    source.downcast_ref::<io::Error>().or_else(of_h2)
}

/// An error with what is behind it, which HTTP/2's leave out of their own words.
fn told(error: &hyper::Error) -> String {
    let Some(source) = error.source() else { return error.to_string() };
    match source.downcast_ref::<h2::Error>() {
        // The first frame is one of another protocol's lines.
        Some(cause) if cause.reason() == Some(h2::Reason::FRAME_SIZE_ERROR) => format!("not HTTP/2: {cause}"),
        Some(cause) => format!("HTTP/2: {cause}"),
        None => error.to_string(),
    }
}
