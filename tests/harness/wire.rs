//! A socket with a buffer, and HTTP/1.1 messages read from it: heads as they stand, bodies in every framing.
//!
//! For both sides of weir. Lenient and simple: what is not as expected is an error of kind `InvalidData`,
//! the end of the stream in the middle of something is `UnexpectedEof`, patience that ran out `TimedOut`.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connected socket of either family.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    pub fn shutdown(&self, how: Shutdown) {
        // Fails only if it is closed already.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(how),
            Self::Unix(socket) => socket.shutdown(how),
        };
    }

    pub fn set_timeout(&self, length: Duration) {
        match self {
            Self::Tcp(socket) => {
                socket.set_read_timeout(Some(length)).unwrap();
                socket.set_write_timeout(Some(length)).unwrap();
                socket.set_nodelay(true).unwrap();
            }
            Self::Unix(socket) => {
                socket.set_read_timeout(Some(length)).unwrap();
                socket.set_write_timeout(Some(length)).unwrap();
            }
        }
    }

    /// Has closing reset the connection instead of ending it.
    pub fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(self, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    }

    /// Whether there is something to read, if need be after waiting so long. Nothing is read.
    pub fn readable_within(&self, length: Duration) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(length).unwrap()).is_ok_and(|count| count > 0)
    }

    /// Bytes that the kernel keeps for a reader who does not read.
    pub fn set_receive_buffer(&self, bytes: usize) {
        nix::sys::socket::setsockopt(self, nix::sys::socket::sockopt::RcvBuf, &bytes).unwrap();
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Field lines in their order, names as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// From the lines of a head or of trailers, each ended by CRLF.
    fn parse(lines: &str) -> io::Result<Self> {
        let split = |line: &str| {
            let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no colon in {line:?}")))?;
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        };
        lines.split("\r\n").filter(|line| !line.is_empty()).map(split).collect::<io::Result<_>>().map(Self)
    }

    /// The first value of `name`, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of `name`, whatever its case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// A body that has been read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The payload.
    pub data: Vec<u8>,
    /// Chunk sizes and all, as it came.
    pub raw: Vec<u8>,
    /// What stood behind the last chunk.
    pub trailers: Fields,
}

/// A response that has been read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub reason: String,
    pub fields: Fields,
    pub framing: Framing,
    /// The payload.
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The head as it came, blank line included.
    pub head: Vec<u8>,
    /// The body as it came.
    pub raw_body: Vec<u8>,
}

impl Response {
    /// The first value of `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A socket and what has been read from it beyond what was asked for.
pub struct Wire {
    pub socket: Socket,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(socket: Socket, timeout: Duration) -> Self {
        socket.set_timeout(timeout);
        Self { socket, buffer: Vec::new() }
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref()).map_err(timed_out)
    }

    /// Says that nothing more will be sent.
    pub fn end(&self) {
        self.socket.shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.socket.reset_on_close();
    }

    /// Reads more; `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 << 10];
        loop {
            match self.socket.read(&mut piece) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
    }

    /// What has been read already and not been taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.more()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Up to and including the next `end`.
    pub fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..from + at + end.len()).collect());
            }
            from = self.buffer.len().saturating_sub(end.len() - 1);
            self.more()?;
        }
    }

    /// All until the peer says that no more comes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// A head, blank line included; `None` if the stream ended before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.buffer.is_empty() && !self.fill()? {
            return Ok(None);
        }
        self.until(b"\r\n\r\n").map(Some)
    }

    /// A body.
    pub fn body(&mut self, framing: Framing) -> io::Result<Body> {
        let mut body = Body::default();
        match framing {
            Framing::None => {}
            Framing::Length(length) => body.data = self.bytes(length)?,
            Framing::UntilClose => body.data = self.rest()?,
            Framing::Chunked => return self.chunks(),
        }
        body.raw.clone_from(&body.data);
        Ok(body)
    }

    fn chunks(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.until(b"\r\n")?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let digits = text.split([';', '\r', ' ']).next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).map_err(|_| bad(format!("chunk size {text:?}")))?;
            body.raw.extend_from_slice(&line);
            if size == 0 {
                break;
            }
            let chunk = self.bytes(size + 2)?;
            if !chunk.ends_with(b"\r\n") {
                return Err(bad("a chunk is not followed by CRLF".to_owned()));
            }
            body.data.extend_from_slice(&chunk[..size]);
            body.raw.extend_from_slice(&chunk);
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            body.raw.extend_from_slice(&line);
            if line == b"\r\n" {
                break;
            }
            trailers.extend_from_slice(&line);
        }
        body.trailers = Fields::parse(&String::from_utf8_lossy(&trailers))?;
        Ok(body)
    }

    /// The next response, interim ones too; `method` is what it answers. `None` if the stream ended before
    /// its first byte.
    pub fn response(&mut self, method: &str) -> io::Result<Option<Response>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let text = String::from_utf8_lossy(&head).into_owned();
        let (line, rest) = text.split_once("\r\n").unwrap_or_default();
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (version, status, reason) = (word(), word(), word());
        let status = status.parse().map_err(|_| bad(format!("status line {line:?}")))?;
        let fields = Fields::parse(rest)?;
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let framing = if bodiless { Framing::None } else { framing(&fields, Framing::UntilClose)? };
        let Body { data: body, raw: raw_body, trailers } = self.body(framing)?;
        Ok(Some(Response { version, status, reason, fields, framing, body, trailers, head, raw_body }))
    }

    fn more(&mut self) -> io::Result<()> {
        if self.fill()? {
            return Ok(());
        }
        let so_far = String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(400)]);
        Err(Error::new(ErrorKind::UnexpectedEof, format!("the stream ended after {so_far:?}")))
    }
}

/// How the fields say that the body ends; `otherwise` if they say nothing.
pub(super) fn framing(fields: &Fields, otherwise: Framing) -> io::Result<Framing> {
    if fields.get("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match fields.get("Content-Length") {
        Some(length) => length.parse().map(Framing::Length).map_err(|_| bad(format!("length {length:?}"))),
        None => Ok(otherwise),
    }
}

/// The fields of a head that has been read.
pub(super) fn fields_of(head: &[u8]) -> io::Result<Fields> {
    let text = String::from_utf8_lossy(head);
    Fields::parse(text.split_once("\r\n").map_or("", |(_, rest)| rest))
}

fn bad(why: String) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

/// A socket's timeout shows as `WouldBlock`.
fn timed_out(error: Error) -> Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}
