//! A server for weir to talk to: a thread per connection, answers by handler or by script.
//!
//! A handler gets whole requests, which are recorded byte for byte, and writes the answer. A script gets the
//! connection and does as it likes. A backend can be stopped, so that connects are refused and its
//! connections end, and started again on the same address.

use super::wait::free_port;
use super::wire::{Body, Fields, Framing, Socket, Wire, fields_of, framing};
use nix::sys::socket::{Backlog, Shutdown as How, listen, shutdown};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a backend's connection waits for bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, from 0 in the order in which they were accepted.
    pub connection: usize,
    /// The head, byte for byte, blank line included.
    pub head: Vec<u8>,
    pub fields: Fields,
    pub body: Body,
}

impl Received {
    /// One that a script has read by itself: the head, and the body's bytes.
    pub fn of(head: Vec<u8>, body: Vec<u8>) -> Self {
        let fields = fields_of(&head).unwrap();
        Self { connection: 0, head, fields, body: Body { data: body, ..Body::default() } }
    }

    /// The request line.
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.head).split("\r\n").next().unwrap_or_default().to_owned()
    }

    /// The method.
    pub fn method(&self) -> String {
        self.line().split(' ').next().unwrap_or_default().to_owned()
    }

    /// The head as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request.
    KeepAlive,
    /// It ends.
    Close,
    /// It is reset.
    Reset,
}

/// Answers a request.
pub type Handler = Arc<dyn Fn(&Received, &mut Wire) -> io::Result<Then> + Send + Sync>;

/// Does as it likes with a connection; the number is the connection's.
type Script = Arc<dyn Fn(Wire, usize) + Send + Sync>;

#[derive(Clone)]
enum Behaviour {
    Http(Handler),
    Raw(Script),
}

/// What the connections' threads share with the test.
struct Shared {
    behaviour: Mutex<Behaviour>,
    stopping: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    sockets: Mutex<Vec<(usize, Socket)>>,
    received: Mutex<Vec<Received>>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => Socket::Tcp(listener.accept()?.0),
            Self::Unix(listener) => Socket::Unix(listener.accept()?.0),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

#[derive(Clone)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A server on loopback or on a Unix socket.
pub struct Backend {
    address: Address,
    shared: Arc<Shared>,
    running: Option<(Arc<Listener>, JoinHandle<()>)>,
}

impl Backend {
    /// Answers each request by `handler`.
    pub fn http(handler: Handler) -> Self {
        Self::start(local(), Behaviour::Http(handler))
    }

    /// Hands each connection to `script`.
    pub fn raw(script: impl Fn(Wire, usize) + Send + Sync + 'static) -> Self {
        Self::start(local(), Behaviour::Raw(Arc::new(script)))
    }

    /// Answers by `handler` on this IP address.
    pub fn http_on(ip: IpAddr, handler: Handler) -> Self {
        Self::start(Address::Tcp((ip, free_port()).into()), Behaviour::Http(handler))
    }

    /// Answers by `handler` on this address.
    pub fn http_at(address: SocketAddr, handler: Handler) -> Self {
        Self::start(Address::Tcp(address), Behaviour::Http(handler))
    }

    /// Answers by `handler` on a Unix socket.
    pub fn http_unix(path: &Path, handler: Handler) -> Self {
        Self::start(Address::Unix(path.to_owned()), Behaviour::Http(handler))
    }

    /// Hands each connection to `script`, on a Unix socket.
    pub fn raw_unix(path: &Path, script: impl Fn(Wire, usize) + Send + Sync + 'static) -> Self {
        Self::start(Address::Unix(path.to_owned()), Behaviour::Raw(Arc::new(script)))
    }

    /// An address where nobody listens until `revive`; it then answers by `handler`.
    pub fn absent(handler: Handler) -> Self {
        let mut backend = Self::http(handler);
        backend.stop();
        backend
    }

    fn start(address: Address, behaviour: Behaviour) -> Self {
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            sockets: Mutex::default(),
            received: Mutex::default(),
        });
        let mut backend = Self { address, shared, running: None };
        backend.revive();
        backend
    }

    /// Listens again after `stop`.
    pub fn revive(&mut self) {
        let listener = Arc::new(match &self.address {
            Address::Tcp(address) => Listener::Tcp(TcpListener::bind(address).unwrap()),
            Address::Unix(path) => {
                let _ = std::fs::remove_file(path);
                Listener::Unix(UnixListener::bind(path).unwrap())
            }
        });
        // std's queue of 128 is short for hundreds of connects at once.
        listen(&*listener, Backlog::new(4096).unwrap()).unwrap();
        self.shared.stopping.store(false, Ordering::SeqCst);
        let (shared, door) = (self.shared.clone(), listener.clone());
        let thread = thread::spawn(move || accept(&shared, &door));
        self.running = Some((listener, thread));
    }

    /// Stops listening and ends all connections, as a process does that is killed.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some((listener, thread)) = self.running.take() {
            // Wakes the accept.
            let _ = shutdown(listener.as_fd().as_raw_fd(), How::Both);
            drop(listener);
            thread.join().unwrap();
        }
        self.end_connections();
    }

    /// Ends the connections that are open; new ones are welcome.
    pub fn end_connections(&self) {
        for (_, socket) in self.shared.sockets.lock().unwrap().drain(..) {
            socket.shutdown(Shutdown::Both);
        }
    }

    /// From now on answers by `handler`, on connections that are open too.
    pub fn answer_by(&self, handler: Handler) {
        *self.shared.behaviour.lock().unwrap() = Behaviour::Http(handler);
    }

    /// The address as weir's configuration has it.
    pub fn address(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        match &self.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => panic!("a Unix socket has no port"),
        }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open now, as far as their threads have noticed.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Requests received whole so far.
    pub fn requests(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// The requests received whole so far, in their order.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The request received last.
    pub fn last(&self) -> Received {
        self.received().pop().expect("the backend has received a request")
    }

    /// Forgets the requests received so far (a load test need not remember millions).
    pub fn forget(&self) {
        self.shared.received.lock().unwrap().clear();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn local() -> Address {
    Address::Tcp((Ipv4Addr::LOCALHOST, free_port()).into())
}

fn accept(shared: &Arc<Shared>, listener: &Listener) {
    while let Ok(socket) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        shared.open.fetch_add(1, Ordering::SeqCst);
        shared.sockets.lock().unwrap().push((number, socket.try_clone().unwrap()));
        let shared = shared.clone();
        thread::spawn(move || {
            serve(&shared, Wire::new(socket, PATIENCE), number);
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn serve(shared: &Shared, mut wire: Wire, number: usize) {
    // The clone kept for `stop` would hold the connection open.
    let forget = || shared.sockets.lock().unwrap().retain(|(other, _)| *other != number);
    let now = || shared.behaviour.lock().unwrap().clone();
    if let Behaviour::Raw(script) = now() {
        forget();
        return script(wire, number);
    }
    let end = loop {
        let Ok(Some(received)) = receive(&mut wire, number) else { break Then::Close };
        shared.received.lock().unwrap().push(received.clone());
        let Behaviour::Http(handler) = now() else { break Then::Close };
        match handler(&received, &mut wire) {
            Ok(Then::KeepAlive) => {}
            Ok(end) => break end,
            Err(_) => break Then::Close,
        }
    };
    forget();
    if end == Then::Reset {
        wire.reset();
    }
}

/// Reads one request whole; `None` if there is none any more.
fn receive(wire: &mut Wire, connection: usize) -> io::Result<Option<Received>> {
    let Some(head) = wire.head()? else { return Ok(None) };
    let fields = fields_of(&head)?;
    let body = wire.body(framing(&fields, Framing::None)?)?;
    Ok(Some(Received { connection, head, fields, body }))
}
