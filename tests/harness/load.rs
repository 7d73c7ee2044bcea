//! Threads of keep-alive clients that follow every request to its end.
//!
//! A request is *ok* if its answer passes the check, *wrong* if another answer came, *lost* if it was sent
//! and no whole answer came. A connect that fails is counted apart: no request was sent.

use super::wire::{Response, Socket, Wire};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

/// How long a client waits for an answer before the request is lost.
const PATIENCE: Duration = Duration::from_secs(25);

/// How requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ok: u64,
    pub wrong: u64,
    pub lost: u64,
    /// Connects that failed.
    pub unconnected: u64,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    ok: AtomicU64,
    wrong: AtomicU64,
    lost: AtomicU64,
    unconnected: AtomicU64,
    /// The first few of what went wrong, to show.
    faults: Mutex<Vec<String>>,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// `clients` threads that GET `path`; an answer is right if it is a 200.
    pub fn get(address: SocketAddr, clients: usize, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        Self::start(address, clients, request.as_bytes(), Duration::ZERO, |response| response.status == 200)
    }

    /// `clients` threads that send `request` over and over, each waiting for the answer and then for
    /// `pause`.
    pub fn start(
        address: SocketAddr,
        clients: usize,
        request: &[u8],
        pause: Duration,
        right: impl Fn(&Response) -> bool + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let right: Arc<dyn Fn(&Response) -> bool + Send + Sync> = Arc::new(right);
        let threads = (0..clients)
            .map(|_| {
                let (shared, right, request) = (shared.clone(), right.clone(), request.to_vec());
                thread::spawn(move || work(&shared, address, &request, pause, &*right))
            })
            .collect();
        Self { shared, threads }
    }

    /// How requests have ended so far.
    pub fn counts(&self) -> Counts {
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Counts {
            ok: get(&self.shared.ok),
            wrong: get(&self.shared.wrong),
            lost: get(&self.shared.lost),
            unconnected: get(&self.shared.unconnected),
        }
    }

    /// What went wrong first, as far as anything did.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }

    /// Lets every request under way end, and says how all of them ended.
    pub fn stop(self) -> Counts {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let Self { threads, shared } = self;
        for thread in threads {
            thread.join().unwrap();
        }
        let ended = Self { shared, threads: Vec::new() };
        let faults = ended.faults();
        if !faults.is_empty() {
            println!("of the load went wrong: {faults:#?}");
        }
        ended.counts()
    }
}

fn work(
    shared: &Shared,
    address: SocketAddr,
    request: &[u8],
    pause: Duration,
    right: &dyn Fn(&Response) -> bool,
) {
    let add = |count: &AtomicU64| count.fetch_add(1, Ordering::SeqCst);
    let note = |fault: String| {
        let mut faults = shared.faults.lock().unwrap();
        if faults.len() < 5 {
            faults.push(fault);
        }
    };
    let method = String::from_utf8_lossy(request).split(' ').next().unwrap_or_default().to_owned();
    let mut connection: Option<Wire> = None;
    while !shared.stopping.load(Ordering::SeqCst) {
        let Some(wire) = &mut connection else {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(socket) => connection = Some(Wire::new(Socket::Tcp(socket), PATIENCE)),
                Err(_) => {
                    add(&shared.unconnected);
                    sleep(Duration::from_millis(5));
                }
            }
            continue;
        };
        match wire.send(request).and_then(|()| wire.response(&method)) {
            Ok(Some(response)) => {
                if right(&response) {
                    add(&shared.ok);
                } else {
                    add(&shared.wrong);
                    note(format!("{}: {}", response.status, response.text()));
                }
                if response.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                    connection = None;
                }
            }
            Ok(None) => {
                add(&shared.lost);
                note("closed without an answer".to_owned());
                connection = None;
            }
            Err(error) => {
                add(&shared.lost);
                note(error.to_string());
                connection = None;
            }
        }
        if !pause.is_zero() {
            sleep(pause);
        }
    }
}
