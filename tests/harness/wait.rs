//! Bounded waiting, ports that nobody has, and programs that this machine may lack.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest that anything is waited for that ought to happen at once: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not within ten seconds.
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

/// A TCP port that nobody listens on. Below the kernel's own range, so that no outgoing connection takes
/// it before it is bound, or while a backend is stopped; each process begins elsewhere.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let place = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 191);
        let port = (FIRST + place % COUNT) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
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
