//! A load that does not wait: so many requests a second whatever becomes of them, each followed to its end.
//!
//! A client that waits for its answer sends less while things are bad, and so does not see how bad they are.
//! Here each request has a time at which it ought to be sent, and its latency counts from then. One thread
//! drives all connections by epoll, so that the load itself needs little of the machine. Connections are used
//! in turn; a request that finds none idle opens another.
//!
//! Each request is a `Ticket`, and ends in exactly one way: `End`.

use super::ended::{End, Ended, Record};
use super::strict::{Read, Whole, read};
use super::ticket::{Ticket, WHO};
use super::wait::{wait_until, wait_up_to};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, connect, getsockopt, recv, socket, sockopt,
};
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is sent.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Requests a second.
    pub rate: u32,
    /// So many are under way at once at most: whoever is due beyond that is sent later, and waits for nothing.
    pub at_once: usize,
    /// Connections that are opened at the beginning and kept.
    pub connections: usize,
    /// Every so manieth request is a POST; 0: none.
    pub post_every: u64,
    /// Every so manieth request has a connection of its own, which ends with it; 0: none.
    pub fresh_every: u64,
    /// Bytes of an answer: from a few to this many.
    pub size_max: usize,
    /// How long an answer is waited for.
    pub patience: Duration,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            rate: 300,
            // More than any fault here holds up at once: only a machine that cannot keep up comes to it.
            at_once: 400,
            connections: 24,
            post_every: 4,
            fresh_every: 10,
            size_max: 4_000,
            patience: Duration::from_secs(10),
        }
    }
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    sent: AtomicU64,
    opened: AtomicU64,
    closed_idle: AtomicU64,
    records: Mutex<Vec<Record>>,
}

/// A load under way.
pub struct OpenLoop {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    rate: u32,
}

impl OpenLoop {
    /// Begins to send to `address`.
    pub fn start(address: SocketAddr, mix: Mix) -> Self {
        let shared = Arc::new(Shared::default());
        let (rate, own) = (mix.rate, shared.clone());
        let thread = thread::spawn(move || Driver::new(address, mix, own).run());
        Self { shared, thread: Some(thread), rate }
    }

    /// What has ended so far.
    pub fn so_far(&self) -> Ended {
        Ended {
            records: self.shared.records.lock().unwrap().clone(),
            opened: self.shared.opened.load(Ordering::SeqCst),
            closed_idle: self.shared.closed_idle.load(Ordering::SeqCst),
        }
    }

    /// Lets the load run for so many seconds of requests.
    pub fn run(&self, seconds: f64) {
        let until = self.shared.sent.load(Ordering::SeqCst) + (seconds * f64::from(self.rate)) as u64;
        let limit = Duration::from_secs_f64(seconds * 3.0 + 30.0);
        wait_up_to(limit, "so much load has run", || self.shared.sent.load(Ordering::SeqCst) >= until);
    }

    /// Lets the load run until so many requests were sent, at whatever rate the machine is able to.
    pub fn run_to(&self, count: u64) {
        let limit = Duration::from_secs(900);
        wait_up_to(limit, "so many were sent", || self.shared.sent.load(Ordering::SeqCst) >= count);
    }

    /// Waits until so many more requests have ended for which `which` holds.
    pub fn wait_for(&self, what: &str, count: usize, which: impl Fn(&Record) -> bool) {
        let seen = |from: usize| {
            let records = self.shared.records.lock().unwrap();
            records[from..].iter().filter(|record| which(record)).count()
        };
        let from = self.shared.records.lock().unwrap().len();
        wait_until(what, || seen(from) >= count);
    }

    /// Sends no more, and lets all that was sent end.
    pub fn stop(mut self) -> Ended {
        self.join();
        self.so_far()
    }

    fn join(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for OpenLoop {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
    }
}

/// A request on its way.
struct Pending {
    ticket: Ticket,
    due: Instant,
    fresh: bool,
}

struct Connection {
    socket: TcpStream,
    connected: bool,
    pending: Option<Pending>,
    /// What is still to be sent.
    out: Vec<u8>,
    input: Vec<u8>,
}

struct Driver {
    address: SocketAddr,
    mix: Mix,
    shared: Arc<Shared>,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    idle: VecDeque<u64>,
    number: u64,
    next_id: u64,
    under_way: usize,
}

impl Driver {
    fn new(address: SocketAddr, mix: Mix, shared: Arc<Shared>) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        Self {
            address,
            mix,
            shared,
            epoll,
            connections: HashMap::new(),
            idle: VecDeque::new(),
            number: 0,
            next_id: 0,
            under_way: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..self.mix.connections {
            if let Ok(number) = self.open() {
                self.idle.push_back(number);
            }
        }
        let interval = Duration::from_secs(1) / self.mix.rate;
        let mut due = Instant::now();
        let mut swept = due;
        let mut events = vec![EpollEvent::empty(); 256];
        loop {
            let stopping = self.shared.stopping.load(Ordering::SeqCst);
            let now = Instant::now();
            while !stopping && due <= now {
                if self.under_way >= self.mix.at_once {
                    due = now;
                    break;
                }
                self.issue(due);
                due += interval;
            }
            if now >= swept + Duration::from_millis(100) {
                self.sweep(now);
                swept = now;
            }
            if stopping && self.connections.values().all(|connection| connection.pending.is_none()) {
                return;
            }
            let pause =
                if stopping { 20 } else { due.saturating_duration_since(now).as_millis().min(20) as u8 };
            // Rounded up, or it would spin through the last millisecond.
            let count = match self.epoll.wait(&mut events, EpollTimeout::from(pause + 1)) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => panic!("epoll: {error}"),
            };
            for event in &events[..count] {
                self.turn(event.data());
            }
        }
    }

    /// Begins to connect.
    fn open(&mut self) -> Result<u64, Errno> {
        let SocketAddr::V4(address) = self.address else { panic!("{} is not IPv4", self.address) };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        let connected = match connect(fd.as_raw_fd(), &SockaddrIn::from(address)) {
            Ok(()) => true,
            Err(Errno::EINPROGRESS) => false,
            Err(error) => return Err(error),
        };
        let socket = TcpStream::from(fd);
        let _ = socket.set_nodelay(true);
        let number = self.number;
        self.number += 1;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(&socket, EpollEvent::new(flags, number)).unwrap();
        let connection = Connection { socket, connected, pending: None, out: Vec::new(), input: Vec::new() };
        self.connections.insert(number, connection);
        self.shared.opened.fetch_add(1, Ordering::SeqCst);
        Ok(number)
    }

    /// Sends the next request.
    fn issue(&mut self, due: Instant) {
        let id = self.next_id;
        self.next_id += 1;
        let every = |n: u64| n > 0 && id % n == n - 1;
        let size = 20 + (id.wrapping_mul(2_654_435_761) >> 7) as usize % self.mix.size_max.max(1);
        let ticket = Ticket { id, post: every(self.mix.post_every), size };
        let fresh = every(self.mix.fresh_every);
        let idle = if fresh { None } else { self.idle_connection() };
        let surplus = idle.is_none() && self.connections.len() >= self.mix.connections.max(1) * 2;
        let pending = Pending { ticket, due, fresh };
        self.shared.sent.fetch_add(1, Ordering::SeqCst);
        self.under_way += 1;
        let number = match idle.map_or_else(|| self.open(), Ok) {
            Ok(number) => number,
            Err(error) => return self.ended(pending, None, End::Unconnected(error.to_string())),
        };
        let connection = self.connections.get_mut(&number).unwrap();
        connection.out = ticket.request(fresh || surplus);
        connection.pending = Some(pending);
        if connection.connected {
            self.turn(number);
        }
    }

    /// The one that has been idle longest, if its peer has not ended it.
    fn idle_connection(&mut self) -> Option<u64> {
        while let Some(number) = self.idle.pop_front() {
            let Some(connection) = self.connections.get(&number) else { continue };
            if !connection.connected {
                return Some(number);
            }
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            match recv(connection.socket.as_raw_fd(), &mut [0], flags) {
                Err(Errno::EAGAIN) => return Some(number),
                _ => {
                    self.connections.remove(&number);
                    self.shared.closed_idle.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        None
    }

    /// Gives up what has taken too long.
    fn sweep(&mut self, now: Instant) {
        let late = |connection: &Connection| {
            connection.pending.as_ref().is_some_and(|pending| now > pending.due + self.mix.patience)
        };
        let late: Vec<u64> =
            self.connections.iter().filter(|(_, connection)| late(connection)).map(|(n, _)| *n).collect();
        for number in late {
            let pending = self.connections.remove(&number).unwrap().pending.unwrap();
            self.ended(pending, None, End::TimedOut);
        }
    }

    /// Does what can be done on a connection.
    fn turn(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let over = match connection.advance() {
            Advanced::Waits => return,
            Advanced::IdleEnded => {
                self.connections.remove(&number);
                if self.idle.contains(&number) {
                    self.shared.closed_idle.fetch_add(1, Ordering::SeqCst);
                }
                return;
            }
            Advanced::Over(over) => over,
        };
        let pending = connection.pending.take().unwrap();
        if over.again && !pending.fresh {
            self.idle.push_back(number);
        } else {
            self.connections.remove(&number);
        }
        self.ended(pending, over.backend, over.end);
    }

    fn ended(&mut self, pending: Pending, backend: Option<String>, end: End) {
        self.under_way -= 1;
        let Pending { ticket, due, fresh } = pending;
        let record = Record { ticket, due, took: due.elapsed(), fresh, backend, end };
        self.shared.records.lock().unwrap().push(record);
    }
}

/// The end of an exchange.
struct Over {
    end: End,
    backend: Option<String>,
    /// Its connection can be used again.
    again: bool,
}

impl Over {
    fn by(end: End) -> Self {
        Self { end, backend: None, again: false }
    }
}

enum Advanced {
    Waits,
    IdleEnded,
    Over(Over),
}

impl Connection {
    fn advance(&mut self) -> Advanced {
        if !self.connected {
            let error = getsockopt(&self.socket, sockopt::SocketError).unwrap();
            if error != 0 {
                let why = io::Error::from_raw_os_error(error).to_string();
                return self.over(Over::by(End::Unconnected(why)));
            }
            if self.socket.peer_addr().is_err() {
                return Advanced::Waits;
            }
            self.connected = true;
        }
        let mut broken = None;
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // An answer may be there all the same.
                    broken = Some(error.to_string());
                    self.out.clear();
                }
            }
        }
        let mut ended = None;
        let mut piece = [0; 16 << 10];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => {
                    ended = Some("closed".to_owned());
                    break;
                }
                Ok(count) => self.input.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    ended = Some(error.to_string());
                    break;
                }
            }
        }
        self.judge(ended.or(broken))
    }

    /// With a request, how it ended; without one there is nothing to end but the connection.
    fn over(&self, over: Over) -> Advanced {
        if self.pending.is_some() { Advanced::Over(over) } else { Advanced::IdleEnded }
    }

    /// What has come, and whether more can.
    fn judge(&mut self, ended: Option<String>) -> Advanced {
        let Some(pending) = &self.pending else {
            return if ended.is_some() || !self.input.is_empty() {
                Advanced::IdleEnded
            } else {
                Advanced::Waits
            };
        };
        if self.input.is_empty() {
            return match ended {
                Some(why) => self.over(Over::by(End::Lost(why))),
                None => Advanced::Waits,
            };
        }
        let over = match (read(&self.input, ended.is_some()), ended) {
            (Read::Whole(whole), ended) => {
                let stray = self.input.len() - whole.used;
                let again = ended.is_none() && !whole.closes();
                let mut over = answered(pending.ticket, whole);
                if stray > 0 {
                    over.end = End::Wrong(format!("{stray} bytes behind the answer"));
                }
                over.again = again && stray == 0;
                self.input.clear();
                over
            }
            (Read::Bad(why), _) => Over::by(End::Wrong(why)),
            (Read::NoHead | Read::Part, None) => return Advanced::Waits,
            (Read::NoHead, Some(why)) => Over::by(End::Wrong(format!("half a head, then {why}"))),
            (Read::Part, Some(why)) => {
                Over::by(End::Cut(format!("{why} after {} bytes, head included", self.input.len())))
            }
        };
        self.over(over)
    }
}

/// What a whole answer is to this request.
fn answered(ticket: Ticket, whole: Whole) -> Over {
    let text = String::from_utf8_lossy(&whole.body).into_owned();
    let backend = whole.fields.get(WHO).map(str::to_owned);
    let end = match whole.status {
        200 if text == ticket.answer() && backend.is_some() => End::Right,
        status if backend.is_none() && text.starts_with(&format!("{status} ")) => {
            End::Refused(status, text.trim_end().to_owned())
        }
        // A backend's error begins with the request's number.
        status @ 500..=599 if text.starts_with(&format!("{} ", ticket.id)) => End::Failed(status),
        status => End::Wrong(format!("{status}, {:?}", text.chars().take(80).collect::<String>())),
    };
    Over { end, backend, again: false }
}
