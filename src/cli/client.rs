//! The admin surface, asked from outside: where it is, what to show it, a request and its answer.
//!
//! The surface answers one request on a connection, so each is a connection of its own. [`ask`] is for who
//! does nothing else meanwhile and blocks, [`answer`] for who does; [`follow`] gives an answer that does not
//! end, as it comes. Not here: what is asked and what the answer means (`ctl`, `top`).

use super::{WRONG, tell};
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long connecting may take; the surface is on this host.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long an answer may take: longer than the surface keeps anybody.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// What an answer may hold: a page of some ten thousand backends.
const ANSWER_MAX: usize = 64 << 20;

/// Where the admin surface is, and what to show it.
#[derive(Args, Clone, Debug)]
pub(super) struct Reach {
    /// Where the admin surface listens: 127.0.0.1:9900, or unix:/run/weir/admin.sock
    #[arg(long, global = true, value_name = "ADDR", env = "WEIR_ADMIN", default_value = "127.0.0.1:9900")]
    pub(super) admin: Where,
    /// The file with the admin surface's token, where it asks for one
    #[arg(long, global = true, value_name = "FILE", env = "WEIR_ADMIN_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
}

impl Reach {
    /// The token to show, if a file has one.
    ///
    /// # Errors
    /// The exit code, when what is wrong with the file has been told to stderr.
    pub(super) fn token(&self) -> Result<Option<String>, u8> {
        let told = |fault: NoToken| {
            tell(fault);
            WRONG
        };
        self.token_file.as_deref().map(token).transpose().map_err(told)
    }
}

/// Why a file has no token to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoToken {
    /// Something else is in it.
    #[error("{} has no token; it must be the file that admin.token_file names, or a copy", .0.display())]
    Other(PathBuf),
    /// It cannot be read.
    #[error("the token cannot be read: {}: {cause}; give a file that you may read", file.display())]
    Unreadable { file: PathBuf, cause: io::Error },
}

/// What `file` has, which is not shown.
///
/// # Errors
/// It has none, or cannot be read.
pub(super) fn token(file: &Path) -> Result<String, NoToken> {
    match fs::read_to_string(file).map(|text| text.trim_ascii_end().to_owned()) {
        Ok(token) if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token),
        Ok(_) => Err(NoToken::Other(file.to_owned())),
        Err(cause) => Err(NoToken::Unreadable { file: file.to_owned(), cause }),
    }
}

/// Where the admin surface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// A host and a port.
    Tcp(String),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Text that is no address of an admin surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no admin address; write one such as 127.0.0.1:9900 or unix:/run/weir/admin.sock")]
pub(super) struct NoAddress;

impl FromStr for Where {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(NoAddress) } else { Ok(Self::Unix(path.into())) };
        }
        match text.rsplit_once(':') {
            Some((host, port))
                if !host.is_empty()
                    && !host.contains(['/', '@', ' '])
                    && port.parse::<u16>().is_ok_and(|port| port != 0) =>
            {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(NoAddress),
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// As it came.
    pub(super) text: String,
    pub(super) page: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    /// No connection.
    #[error("cannot connect to weir's admin surface at {to}: {cause}; {}", remedy(.cause))]
    Connect { to: Where, cause: io::Error },
    /// A connection, and then nothing.
    #[error("weir's admin surface at {to} does not answer within {} s; if it is stopped or overloaded, its log says why", ANSWER_WITHIN.as_secs())]
    Silent { to: Where },
    /// The connection broke.
    #[error(
        "the connection to {to} ended before an answer came: {cause}; if weir has just ended, ask again once it is back"
    )]
    Broken { to: Where, cause: String },
    /// Something answers that is not weir.
    #[error(
        "what answers at {to} is not the admin surface of this version of weir (status {status}); say where that is with --admin ADDR or WEIR_ADMIN"
    )]
    Stranger { to: Where, status: u16 },
    /// The runtime could not be made.
    #[error("no descriptors are left to ask weir: {0}; raise the limit of open files (ulimit -n)")]
    Runtime(io::Error),
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "its socket is for weir's user and group: join that group, or use sudo"
        }
        _ => {
            "see that weir runs and that admin.listen has this address, or say where with --admin ADDR or \
             WEIR_ADMIN"
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

/// Asks once and waits; `token` is shown through a port.
///
/// # Errors
/// Why there is no answer of weir's.
pub(super) fn ask(to: &Where, token: Option<&str>, asked: &Asked) -> Result<Answer, Unreachable> {
    runtime()?.block_on(answer(to, token, asked))
}

/// What requests run in: this thread.
///
/// # Errors
/// There are no descriptors for it.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Unreachable> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unreachable::Runtime)
}

/// As [`ask`], inside a runtime.
///
/// # Errors
/// As [`ask`].
pub(super) async fn answer(to: &Where, token: Option<&str>, asked: &Asked) -> Result<Answer, Unreachable> {
    let answered = async {
        let response = send(to, token, asked).await?;
        whole(to, response).await
    };
    timeout(ANSWER_WITHIN, answered).await.map_err(|_| Unreachable::Silent { to: to.clone() })?
}

/// An answer as it comes.
pub(super) enum Followed {
    /// It goes on: its body.
    Stream(Incoming),
    /// It is a refusal, or something else that ends.
    Answer(Answer),
}

/// Asks for something that does not end, of the type `kind`.
///
/// # Errors
/// Why there is no answer of weir's.
pub(super) async fn follow(
    to: &Where,
    token: Option<&str>,
    path: &str,
    kind: &str,
) -> Result<Followed, Unreachable> {
    let asked = Asked { method: Method::GET, path: path.to_owned(), body: None };
    let begun = async {
        let response = send(to, token, &asked).await?;
        let is = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.starts_with(kind));
        if response.headers().get(CONTENT_TYPE).is_some_and(is) {
            return Ok(Followed::Stream(response.into_body()));
        }
        whole(to, response).await.map(Followed::Answer)
    };
    timeout(ANSWER_WITHIN, begun).await.map_err(|_| Unreachable::Silent { to: to.clone() })?
}

/// Connects and asks; the answer's body is still to come.
async fn send(to: &Where, token: Option<&str>, asked: &Asked) -> Result<Response<Incoming>, Unreachable> {
    let connect = |cause| Unreachable::Connect { to: to.clone(), cause };
    let late = || connect(io::ErrorKind::TimedOut.into());
    match to {
        Where::Tcp(address) => {
            let connected = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
            let stream = connected.map_err(|_| late())?.map_err(connect)?;
            // By its address, whatever name led there: a name in Host might be a web page's.
            let host = stream.peer_addr().map_err(connect)?.to_string();
            send_over(to, stream, &host, token, asked).await
        }
        Where::Unix(file) => {
            let connected = timeout(CONNECT_WITHIN, UnixStream::connect(file)).await;
            let stream = connected.map_err(|_| late())?.map_err(connect)?;
            send_over(to, stream, "localhost", None, asked).await
        }
    }
}

async fn send_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    to: &Where,
    stream: S,
    host: &str,
    token: Option<&str>,
    asked: &Asked,
) -> Result<Response<Incoming>, Unreachable> {
    let broken = |cause: &dyn fmt::Display| Unreachable::Broken { to: to.clone(), cause: cause.to_string() };
    let mut request = Request::builder().method(asked.method.clone()).uri(&asked.path).header(HOST, host);
    if asked.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let sent = asked.body.as_ref().map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(sent))).map_err(|error| broken(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| broken(&error))
}

/// The whole of an answer, which must be an object in JSON.
async fn whole(to: &Where, response: Response<Incoming>) -> Result<Answer, Unreachable> {
    let broken = |cause: &dyn fmt::Display| Unreachable::Broken { to: to.clone(), cause: cause.to_string() };
    let status = response.status().as_u16();
    let body =
        Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(|error| broken(&error))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    match serde_json::from_str::<Value>(&text) {
        Ok(page) if page.is_object() => Ok(Answer { status, text, page }),
        Ok(_) | Err(_) => Err(Unreachable::Stranger { to: to.clone(), status }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_kinds_are_read_and_others_refused() {
        for (text, expected) in [
            ("127.0.0.1:9900", "127.0.0.1:9900"),
            ("[::1]:9900", "[::1]:9900"),
            ("localhost:9900", "localhost:9900"),
            ("unix:/run/weir/admin.sock", "unix:/run/weir/admin.sock"),
            ("/run/weir/admin.sock", "unix:/run/weir/admin.sock"),
            ("unix:admin.sock", "unix:admin.sock"),
        ] {
            assert_eq!(text.parse::<Where>().unwrap().to_string(), expected);
        }
        for text in
            ["", "9900", ":9900", "127.0.0.1", "127.0.0.1:0", "localhost:x", "http://127.0.0.1:9900", "unix:"]
        {
            assert_eq!(text.parse::<Where>(), Err(NoAddress), "{text:?}");
        }
    }
}
