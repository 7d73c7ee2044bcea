//! The smallest HTTP/1.1 server that is a fair backend: keep-alive, bodies read to their end, and a
//! switch that takes it away as a crash would.
//!
//! Plain threads and blocking sockets, on purpose nothing of weir's own data path: a demonstration in
//! which both sides share a fault proves nothing. Here: [`Server`], [`Request`], [`Reply`]. Not here:
//! what is answered (`backends.rs`). Used by `weir demo` alone.

use nix::sys::signal::SigSet;
use nix::sys::socket::{Shutdown, shutdown};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{self, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The longest line of a head; a longer one ends the connection.
const LINE_MAX: u64 = 64 << 10;
/// A connection's thread holds two small buffers; a default stack for each of thousands would be waste.
const STACK: usize = 128 << 10;

/// What was asked.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// The connection ends after the answer.
    close: bool,
}

/// What is answered; text, always with its length.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into() }
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on one address, which can be killed and revived.
pub(super) struct Server {
    address: SocketAddr,
    answer: Arc<Answer>,
    /// `None` while killed.
    running: Mutex<Option<Running>>,
}

struct Running {
    listener: TcpListener,
    connections: Arc<Mutex<Connections>>,
    accepting: JoinHandle<()>,
}

/// The connections by number; `None` once killed, so that one accepted late is not kept.
struct Connections(Option<HashMap<u64, TcpStream>>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking thread left behind is still a map of sockets.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Serves on the loopback port `wanted`, or on a free one if that is taken.
    ///
    /// # Errors
    /// When no port at all can be bound, or no thread started.
    pub(super) fn start(
        wanted: u16,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = bind_near(wanted)?;
        let address = listener.local_addr()?;
        let answer: Arc<Answer> = Arc::new(answer);
        let running = Running::start(listener, answer.clone())?;
        Ok(Self { address, answer, running: Mutex::new(Some(running)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn alive(&self) -> bool {
        locked(&self.running).is_some()
    }

    /// Closes the port and every connection at once, answered or not. Nothing if already killed.
    pub(super) fn kill(&self) {
        if let Some(running) = locked(&self.running).take() {
            running.stop();
        }
    }

    /// Serves again on the same port. Nothing if alive.
    ///
    /// # Errors
    /// When somebody took the port meanwhile.
    pub(super) fn revive(&self) -> io::Result<()> {
        let mut running = locked(&self.running);
        if running.is_none() {
            *running = Some(Running::start(TcpListener::bind(self.address)?, self.answer.clone())?);
        }
        Ok(())
    }
}

/// A listener on the loopback port `wanted`, or on a free one if that is taken.
///
/// # Errors
/// When no port at all can be bound.
pub(super) fn bind_near(wanted: u16) -> io::Result<TcpListener> {
    let loopback = net::Ipv4Addr::LOCALHOST;
    TcpListener::bind((loopback, wanted)).or_else(|_| TcpListener::bind((loopback, 0)))
}

impl Running {
    fn start(listener: TcpListener, answer: Arc<Answer>) -> io::Result<Self> {
        let connections = Arc::new(Mutex::new(Connections(Some(HashMap::new()))));
        let (acceptor, kept) = (listener.try_clone()?, connections.clone());
        let accepting = thread::Builder::new()
            .name("demo-accept".into())
            .spawn(move || accept(&acceptor, &kept, &answer))?;
        Ok(Self { listener, connections, accepting })
    }

    fn stop(self) {
        // On Linux this ends a blocked accept, which closing the descriptor would not.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        for stream in locked(&self.connections).0.take().into_iter().flat_map(HashMap::into_values) {
            let _ = stream.shutdown(net::Shutdown::Both);
        }
        // Its copy of the listener is closed with it: the port is free when this returns.
        let _ = self.accepting.join();
    }
}

fn accept(listener: &TcpListener, connections: &Arc<Mutex<Connections>>, answer: &Arc<Answer>) {
    // Signals are for the control thread: none may end the process by arriving here. The connections'
    // threads inherit this.
    let _ = SigSet::all().thread_block();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept() else {
            if locked(connections).0.is_none() {
                return;
            }
            pause();
            continue;
        };
        let Ok(copy) = stream.try_clone() else { continue };
        match &mut locked(connections).0 {
            Some(open) => open.insert(number, copy),
            None => return,
        };
        let (answer, connections) = (answer.clone(), connections.clone());
        let serve = move || {
            // However the client leaves, there is nobody to tell.
            let _ = serve(stream, &*answer);
            if let Some(open) = &mut locked(&connections).0 {
                open.remove(&number);
            }
        };
        let _ = thread::Builder::new().name("demo-serve".into()).stack_size(STACK).spawn(serve);
    }
}

/// Out of descriptors, most likely: let some connections end first.
#[allow(clippy::disallowed_methods, reason = "a thread of the demo's own, no shard")]
fn pause() {
    thread::sleep(Duration::from_millis(10));
}

fn serve(mut stream: TcpStream, answer: &Answer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_request(&mut reader, &mut stream)? {
        let reply = answer(&request);
        write_reply(&mut stream, &request, &reply)?;
        if request.close {
            break;
        }
    }
    Ok(())
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LINE_MAX).read_line(&mut line)?;
    if !line.is_empty() && !line.ends_with('\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(line.trim_end().to_owned())
}

/// The next request, its body read and forgotten; `None` when the client has no more.
fn read_request(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Option<Request>> {
    let line = read_line(reader)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let mut request =
        Request { method: method.to_owned(), target: target.to_owned(), close: version != "HTTP/1.1" };
    let (mut length, mut chunked, mut expects) = (0, false, false);
    loop {
        let field = read_line(reader)?.to_ascii_lowercase();
        let Some((name, value)) = field.split_once(':') else { break };
        match (name, value.trim()) {
            ("content-length", value) => length = value.parse().map_err(io::Error::other)?,
            ("transfer-encoding", value) => chunked = value.ends_with("chunked"),
            ("expect", value) => expects = value == "100-continue",
            ("connection", "close") => request.close = true,
            _ => {}
        }
    }
    if expects {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if chunked {
        skip_chunks(reader)?
    } else {
        skip(reader, length)?
    }
    Ok(Some(request))
}

fn skip(reader: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn skip_chunks(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        skip(reader, size)?;
        read_line(reader)?;
    }
    while !read_line(reader)?.is_empty() {} // trailers
    Ok(())
}

fn write_reply(stream: &mut impl Write, request: &Request, reply: &Reply) -> io::Result<()> {
    let reason = if reply.status == 200 { "OK" } else { "Not OK" };
    let connection = if request.close { "close" } else { "keep-alive" };
    let mut out = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
        reply.status,
        reply.body.len(),
    );
    if request.method != "HEAD" {
        out.push_str(&reply.body);
    }
    stream.write_all(out.as_bytes()) // one write, one segment
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server::start(0, |request| Reply::ok(format!("{} {}", request.method, request.target))).unwrap()
    }

    /// Sends `bytes` as they are, and ends its side; all that came back.
    fn exchange(server: &Server, bytes: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(bytes.as_bytes())?;
        stream.shutdown(net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bodies_are_skipped_and_the_next_request_on_the_connection_is_answered() {
        for (case, first) in [
            ("none", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
            ("a length", "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /"),
            (
                "chunks",
                "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET\n/\r\n0\r\nT: 1\r\n\r\n",
            ),
            ("waited for", "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"),
        ] {
            let answers = exchange(&server(), &format!("{first}GET /b HTTP/1.1\r\n\r\n")).unwrap();
            assert_eq!(answers.matches("200 OK").count(), 2, "{case}: {answers}");
            assert_eq!(answers.contains("100 Continue"), case == "waited for", "{case}: {answers}");
            assert!(answers.ends_with("GET /b"), "{case}: {answers}");
        }
    }

    #[test]
    fn a_head_request_gets_the_length_without_the_body() {
        let answer = exchange(&server(), "HEAD /a HTTP/1.1\r\n\r\n").unwrap();
        assert!(answer.contains("Content-Length: 7\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn a_client_that_asks_for_the_end_gets_it() {
        for head in ["GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
            let server = server();
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap(); // ends though our side is open
            assert!(answer.contains("Connection: close") && answer.ends_with("GET /"), "{answer}");
        }
    }

    #[test]
    fn killing_ends_open_connections_and_refuses_new_ones_until_revived() {
        let server = server();
        let mut idle = TcpStream::connect(server.address()).unwrap();
        idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(idle.read(&mut [0; 512]).unwrap() > 0);

        server.kill();
        assert!(!server.alive());
        assert_eq!(idle.read(&mut [0; 512]).unwrap(), 0);
        let refused = TcpStream::connect(server.address()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        server.revive().unwrap();
        assert!(server.alive());
        assert!(exchange(&server, "GET /again HTTP/1.1\r\n\r\n").unwrap().ends_with("GET /again"));
    }

    #[test]
    fn a_taken_port_gives_way_to_a_free_one() {
        let first = server();
        let second = Server::start(first.address().port(), |_| Reply::ok("")).unwrap();
        assert_ne!(first.address(), second.address());
    }
}
