//! Bounded waiting, ports that nobody has, and programs that this machine may lack.

use nix::sys::socket::sockopt::ReuseAddr;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest that anything is waited for that ought to happen at once: the machine may be busy. Only a test that
/// fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a busy machine may make of "at once", and less than any time limit that weir has by default and is not in
/// seconds (10 s for a head, 30 s for an answer or for the grace): whatever took longer was not ended by what the
/// test says, but by one of those.
pub const AT_ONCE: Duration = Duration::from_secs(8);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within half a minute.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_up_to(PATIENCE, what, condition);
}

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within `length`.
pub fn wait_up_to(length: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < length, "waited {length:?} in vain until {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Waits until `value` is the same twice, a while apart: what was on its way has come to a stop. What it then is.
///
/// # Panics
/// It is not within half a minute.
pub fn wait_still<T: PartialEq>(what: &str, mut value: impl FnMut() -> T) -> T {
    let mut last = value();
    wait_until(what, || {
        sleep(Duration::from_millis(400));
        let before = std::mem::replace(&mut last, value());
        before == last
    });
    last
}

/// The end of a test, which those wait for who are to do nothing until then: dropped, it has come.
pub struct Over(Arc<(Mutex<bool>, Condvar)>);

/// Who waits for the end of a test.
#[derive(Clone)]
pub struct Waiting(Arc<(Mutex<bool>, Condvar)>);

/// A test's end, and the other side of it.
pub fn ending() -> (Over, Waiting) {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    (Over(shared.clone()), Waiting(shared))
}

impl Drop for Over {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Waiting {
    /// Waits until it has come.
    pub fn wait(&self) {
        let (over, moved) = &*self.0;
        drop(moved.wait_while(over.lock().unwrap(), |over| !*over).unwrap());
    }
}

/// A TCP port that nobody listens on. Outside the kernel's own range, so that no outgoing connection takes
/// it before it is bound, or while a backend is stopped; each process begins elsewhere.
pub fn free_port() -> u16 {
    static PORTS: LazyLock<Range<u16>> = LazyLock::new(ports_of_no_connection);
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.len() as u32;
    for _ in 0..count {
        let place = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 191);
        let port = PORTS.start + (place % count) as u16;
        if nobody_has(port) {
            return port;
        }
    }
    panic!("no free port");
}

/// Whether the port can be bound. The socket that tries never listens: a copy of it may live on for a moment in
/// a process that another thread is about to start, and must not be in the way of who binds the port next.
fn nobody_has(port: u16) -> bool {
    let trial = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&trial, ReuseAddr, &true).unwrap();
    bind(trial.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port)).is_ok()
}

/// The larger part of the ports above 2000 that the kernel gives to no outgoing connection. Systems differ:
/// Linux begins at 32768, gVisor at 16000.
fn ports_of_no_connection() -> Range<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().map_while(|number| number.parse::<u16>().ok());
    let (first, last) = (ends.next().unwrap_or(16_000), ends.next().unwrap_or(u16::MAX));
    let (below, above) = (2_000..first, last.saturating_add(1)..u16::MAX);
    let larger = if below.len() >= above.len() { below } else { above };
    // A host that gives nearly all to connections leaves no choice.
    if larger.len() < 500 { 12_000..32_000 } else { larger }
}

/// Where `program` is. If it is not on this machine: `None`, and a line says that the test is skipped.
///
/// # Panics
/// It is missing, and `WEIR_TESTS=all` says that nothing may be skipped.
pub fn require(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "{program} is not installed");
        println!("skipped: {program} is not installed");
    }
    found
}
