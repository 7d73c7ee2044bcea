//! The attackers: one thread with thousands of nonblocking sockets, paced, so that it attacks weir and not
//! the host.
//!
//! A [`Tactic`] says what each connection does. What weir does to them is counted in [`Seen`].

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Between two rounds over all connections.
const TICK: Duration = Duration::from_millis(10);

/// How an attacker leaves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Not before weir ends the connection.
    Never,
    /// After so long, as a client that has no more to say.
    Closing(Duration),
    /// After so long, by a reset.
    Resetting(Duration),
}

/// What each connection of a swarm does.
#[derive(Clone, Debug)]
pub(crate) struct Tactic {
    /// Held at once, at most.
    pub(crate) connections: usize,
    /// Opened in a second.
    pub(crate) opens_per_s: u32,
    /// Whether a connection that has ended is replaced.
    pub(crate) again: bool,
    /// Sent first.
    pub(crate) opening: Vec<u8>,
    /// Sent over and over after that, one piece `every` so often.
    pub(crate) drip: Vec<u8>,
    pub(crate) every: Duration,
    /// Whether answers are read.
    pub(crate) reads: bool,
    /// The kernel's buffer for what comes, in bytes.
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) leaves: Leaves,
}

impl Default for Tactic {
    fn default() -> Self {
        Self {
            connections: 200,
            opens_per_s: 2_000,
            again: true,
            opening: Vec::new(),
            drip: Vec::new(),
            every: Duration::from_millis(100),
            reads: true,
            receive_buffer: None,
            leaves: Leaves::Never,
        }
    }
}

/// What has become of a swarm's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Connections opened.
    pub(crate) opened: u64,
    /// Connects that failed.
    pub(crate) unconnected: u64,
    /// Connections that weir ended, in good order or by a reset.
    pub(crate) ended: u64,
    /// Connections open now.
    pub(crate) open: u64,
    /// Bytes sent.
    pub(crate) sent: u64,
    /// First answers on a connection, by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
}

impl Seen {
    /// First answers with this status.
    pub(crate) fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// Attackers at work, until this is dropped.
pub(crate) struct Swarm {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Attacks `address` by `tactic`.
    pub(crate) fn attack(address: SocketAddr, tactic: &Tactic) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (stopped, seeing, tactic) = (stop.clone(), seen.clone(), tactic.clone());
        let thread = spawn(move || run(address, &tactic, &stopped, &seeing));
        Self { stop, seen, thread: Some(thread) }
    }

    /// What has become of it so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Ends it; what had become of it.
    pub(crate) fn end(mut self) -> Seen {
        self.halt();
        self.seen()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.halt();
    }
}

struct Attacker {
    socket: TcpStream,
    opened: Instant,
    /// Bytes of the opening, or of the piece under way, that have been sent.
    sent: usize,
    /// The opening has gone out.
    dripping: bool,
    next: Instant,
    answer: Vec<u8>,
    ended: bool,
}

fn run(address: SocketAddr, tactic: &Tactic, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let began = Instant::now();
    let mut attackers: Vec<Attacker> = Vec::new();
    let mut tries = 0;
    let mut spread = 0;
    while !stop.load(Ordering::SeqCst) {
        let now = Instant::now();
        let due = (f64::from(tactic.opens_per_s) * (now - began).as_secs_f64()) as u64;
        let mut part = Seen::default();
        // What could not be opened in its time is not made up for later.
        let mut burst = (due.saturating_sub(tries)).min(u64::from(tactic.opens_per_s / 20).max(1));
        tries = due.max(tries);
        while burst > 0 && attackers.len() < tactic.connections {
            burst -= 1;
            if !tactic.again && seen.lock().unwrap().opened + part.opened >= tactic.connections as u64 {
                break;
            }
            // Their pieces are spread over the pause.
            spread = (spread + 7) % 100;
            match open(address, tactic, now + tactic.every * spread / 100) {
                Some(attacker) => {
                    attackers.push(attacker);
                    part.opened += 1;
                }
                None => part.unconnected += 1,
            }
        }
        attackers.iter_mut().for_each(|attacker| attacker.act(now, tactic, &mut part));
        listen(&mut attackers, tactic, &mut part);
        let before = attackers.len();
        attackers.retain(|attacker| !attacker.ended);
        part.ended = (before - attackers.len()) as u64;
        attackers.retain(|attacker| !attacker.leaves(now, tactic));
        note(seen, &part, attackers.len());
        sleep(TICK);
    }
    note(seen, &Seen::default(), 0);
}

fn note(seen: &Mutex<Seen>, part: &Seen, open: usize) {
    let mut seen = seen.lock().unwrap();
    seen.opened += part.opened;
    seen.unconnected += part.unconnected;
    seen.ended += part.ended;
    seen.sent += part.sent;
    seen.open = open as u64;
    for (status, count) in &part.statuses {
        *seen.statuses.entry(*status).or_default() += count;
    }
}

fn open(address: SocketAddr, tactic: &Tactic, next: Instant) -> Option<Attacker> {
    let socket = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    socket.set_nonblocking(true).unwrap();
    socket.set_nodelay(true).unwrap();
    if let Some(bytes) = tactic.receive_buffer {
        setsockopt(&socket, sockopt::RcvBuf, &bytes).unwrap();
    }
    let answer = Vec::new();
    Some(Attacker { socket, opened: Instant::now(), sent: 0, dripping: false, next, answer, ended: false })
}

impl Attacker {
    /// Sends what is due.
    fn act(&mut self, now: Instant, tactic: &Tactic, seen: &mut Seen) {
        loop {
            let piece = if self.dripping { &tactic.drip } else { &tactic.opening };
            if self.sent == 0 && self.dripping && (now < self.next || tactic.drip.is_empty()) {
                return;
            }
            match self.socket.write(&piece[self.sent..]) {
                Ok(count) => {
                    seen.sent += count as u64;
                    self.sent += count;
                    if self.sent < piece.len() {
                        continue;
                    }
                    if self.dripping {
                        // A piece that was late is not made up for.
                        self.next = (self.next + tactic.every).max(now);
                    }
                    (self.dripping, self.sent) = (true, 0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // What was answered may still be read.
                    self.ended = !tactic.reads;
                    return;
                }
            }
        }
    }

    fn leaves(&self, now: Instant, tactic: &Tactic) -> bool {
        match tactic.leaves {
            Leaves::Never => false,
            Leaves::Closing(after) => now - self.opened >= after,
            Leaves::Resetting(after) if now - self.opened >= after => {
                let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&self.socket, sockopt::Linger, &linger).unwrap();
                true
            }
            Leaves::Resetting(_) => false,
        }
    }

    /// Reads what has come; the first answer's status is noted.
    fn read(&mut self, seen: &mut Seen) {
        let mut piece = [0; 4096];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => break self.ended = true,
                Ok(count) if self.answer.len() < 12 => {
                    self.answer.extend_from_slice(&piece[..count.min(12)]);
                    let digits = self.answer.get(9..12).map(String::from_utf8_lossy);
                    if let Some(Ok(status)) = digits.map(|digits| digits.parse()) {
                        *seen.statuses.entry(status).or_default() += 1;
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break self.ended = true,
            }
        }
    }
}

/// Sees who has got something, and who was cut off.
fn listen(attackers: &mut [Attacker], tactic: &Tactic, seen: &mut Seen) {
    let end = PollFlags::from_bits_retain(libc::POLLRDHUP);
    let wanted = if tactic.reads { PollFlags::POLLIN } else { end };
    let found: Vec<(usize, PollFlags)> = {
        let mut polls: Vec<PollFd<'_>> =
            attackers.iter().map(|attacker| PollFd::new(attacker.socket.as_fd(), wanted)).collect();
        poll(&mut polls, PollTimeout::ZERO).unwrap();
        // None: a flag that nix does not know, which is POLLRDHUP.
        let events = polls.iter().map(|poll| poll.revents().unwrap_or(PollFlags::POLLHUP));
        events.enumerate().filter(|(_, events)| !events.is_empty()).collect()
    };
    for (at, events) in found {
        if tactic.reads {
            attackers[at].read(seen);
        } else {
            attackers[at].ended = events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP);
        }
    }
}
