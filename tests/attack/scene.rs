//! weir on a core of its own, in front of a backend that does what the path says; everybody else elsewhere.
//!
//! Other work on the host would drown what is measured: a client that waits for its turn behind a compiler
//! sees that, and not weir. So weir, the backend and the measuring clients run before everybody else
//! (SCHED_FIFO), attackers do not, and where the host does not allow it all run as they are.

use crate::harness::{Backend, Weir, Wire};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::spawn;

/// One measurement at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Where an attack takes place.
pub(crate) struct Scene {
    pub(crate) weir: Weir,
    _backend: Backend,
    _turn: MutexGuard<'static, ()>,
}

/// The cores that this process could use when it began: the first is weir's shard's.
fn cores() -> Vec<usize> {
    static CORES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let mut cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    if cores.is_empty() {
        let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
        cores.extend((0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap()));
    }
    cores.clone()
}

/// Keeps the calling thread, and all threads that it will start, off the shard's core, if there is another.
fn keep_off(cores: &[usize]) {
    let mut others = CpuSet::new();
    let rest = if cores.len() > 1 { &cores[1..] } else { cores };
    rest.iter().for_each(|core| others.set(*core).unwrap());
    sched_setaffinity(Pid::from_raw(0), &others).unwrap();
}

/// Has the calling thread, and all that it will start, run before everybody else.
pub(crate) fn foremost() {
    let thread = nix::unistd::gettid().to_string();
    let told = Command::new("chrt").args(["-f", "-p", "1", &thread]).stderr(Stdio::null()).status();
    if !told.is_ok_and(|status| status.success()) {
        println!("this host gives no priority: what is measured is its noise too");
    }
}

impl Scene {
    /// `runtime`, `listener`: further lines of these sections; `pool`: of the pool, and sections.
    pub(crate) fn new(runtime: &str, listener: &str, pool: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cores = cores();
        keep_off(&cores);
        let backend = spawn(|| {
            foremost();
            Backend::raw(|wire, _| serve(wire))
        });
        let backend = backend.join().unwrap();
        let config = format!(
            "[runtime]\ncores = \"{}\"\n{runtime}\n[[listener]]\nname = \"web\"\n\
             address = \"127.0.0.1:{{web}}\"\npool = \"app\"\n{listener}\n[pool.app]\n{pool}\n\
             [[pool.app.backend]]\naddress = \"{}\"\n",
            cores[0],
            backend.address()
        );
        let first = Command::new("chrt").args(["-f", "1", "true"]).stderr(Stdio::null()).status();
        let mut command = Self::everywhere();
        if first.is_ok_and(|status| status.success()) {
            command.args(["chrt", "-f", "1"]);
        }
        command.arg(env!("CARGO_BIN_EXE_weir"));
        Self { weir: Weir::start_by(command, &config), _backend: backend, _turn: turn }
    }

    /// A command that runs what its next argument says, on all cores.
    pub(crate) fn everywhere() -> Command {
        let all: Vec<String> = cores().iter().map(usize::to_string).collect();
        let mut command = Command::new("taskset");
        command.args(["-c", &all.join(",")]);
        command
    }

    /// What weir refused for this cause so far.
    pub(crate) fn refused(&self, cause: &str) -> u64 {
        self.weir.metric("weir_refusals_total", &[("cause", cause)]) as u64
    }

    /// Connections with clients now.
    pub(crate) fn connections(&self) -> u64 {
        self.weir.metric("weir_connections", &[]) as u64
    }
}

/// What the backend does: `/hang` is never answered, `/big` has 50 MB, `/page` 200 KB, `/chunks` no end, `/upload` is read as
/// fast as it comes and never answered, half of `/held` comes, `/endless` is a head that is not whole,
/// `/endless/flood` one that grows and grows; all else is "ok". No request has a body but those to `/upload`.
fn serve(mut wire: Wire) {
    while let Ok(Some(head)) = wire.head() {
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        match path {
            b"/hang" | b"/upload" if !head.starts_with(b"GET /upload ") => {
                // Until the other side has had enough.
                while wire.bytes(1).is_ok() {
                    let _ = wire.bytes(wire.buffered().len());
                }
                return;
            }
            b"/page" => {
                let page = "p".repeat(200_000);
                if wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{page}")).is_err() {
                    return;
                }
            }
            b"/chunks" => {
                let piece = format!("3e80\r\n{}\r\n", "x".repeat(16_000)).repeat(6);
                if wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err() {
                    return;
                }
                while wire.send(&piece).is_ok() {}
                return;
            }
            b"/held" => {
                let half = "x".repeat(8_000);
                let _ = wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n{half}"));
                let _ = wire.rest();
                return;
            }
            b"/endless" => {
                // Until weir has had enough; a backend's head may have 64 KiB.
                let _ = wire.send("HTTP/1.1 200 OK\r\n");
                let field = format!("X-Field: {}\r\n", "v".repeat(400));
                for _ in 0..140 {
                    if wire.send(&field).is_err() {
                        return;
                    }
                }
                let _ = wire.rest();
                return;
            }
            b"/endless/flood" => {
                let _ = wire.send("HTTP/1.1 200 OK\r\nX-Field: ");
                if (0..40).all(|_| wire.send([b'v'; 2_048]).is_ok()) {
                    let _ = wire.rest();
                }
                return;
            }
            b"/big" => {
                let piece = vec![b'x'; 100_000];
                if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n").is_err() {
                    return;
                }
                if (0..500).any(|_| wire.send(&piece).is_err()) {
                    return;
                }
            }
            _ => {
                if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
        }
    }
}
