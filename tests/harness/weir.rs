//! The real binary as a process, with a configuration of the test's own.
//!
//! In the configuration's text `{name}` stands for a free port (the same wherever the name stands again) and
//! `{dir}` for a folder of the test's own. Where there is no `[admin]`, one is added on `{admin}`. What the
//! process writes to stderr is kept, and shown if the test fails: in memory that both have, so that what was written
//! is there for the test at once, and not only when a thread of its own has come to read a pipe.

use super::backend::Backend;
use super::client::Client;
use super::wait::{AT_ONCE, free_port, wait_until, wait_up_to};
use super::wire::{Response, Socket, Wire};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// How long weir may take to be ready.
const START: Duration = Duration::from_secs(60);

/// A running weir. Killed when dropped.
pub struct Weir {
    child: Child,
    ports: BTreeMap<String, u16>,
    dir: PathBuf,
    stderr: File,
}

impl Weir {
    /// Starts weir and waits until it is ready.
    ///
    /// # Panics
    /// It ends, or does not get ready.
    pub fn start(config: &str) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_weir")), config)
    }

    /// As `start`, by a command that becomes weir when its arguments are added: one that first drops
    /// privileges or sets limits.
    pub fn start_by(command: Command, config: &str) -> Self {
        let mut weir = Self::spawn_by(command, config);
        let began = Instant::now();
        while !weir.is_ready() {
            if let Some(status) = weir.child.try_wait().unwrap() {
                panic!("weir ended with {status} instead of getting ready");
            }
            assert!(began.elapsed() < START, "weir is not ready after {START:?}");
            sleep(Duration::from_millis(10));
        }
        // Shards read their mail before they hand over what this page is made of: the first verdicts too, which
        // control knew when it said that weir is ready.
        weir.admin("/metrics");
        weir
    }

    /// Starts weir and waits for nothing.
    pub fn spawn(config: &str) -> Self {
        Self::spawn_by(Command::new(env!("CARGO_BIN_EXE_weir")), config)
    }

    /// As `spawn`, by a command that becomes weir when its arguments are added.
    pub fn spawn_by(command: Command, config: &str) -> Self {
        Self::launch(command, config, &[], BTreeMap::new())
    }

    /// Starts another weir, on this one's ports, that is to take over from it; waits for nothing.
    pub fn spawn_successor(&self, config: &str) -> Self {
        self.spawn_successor_by(Command::new(env!("CARGO_BIN_EXE_weir")), config)
    }

    /// As `spawn_successor`, by a command that becomes weir when its arguments are added.
    pub fn spawn_successor_by(&self, command: Command, config: &str) -> Self {
        Self::launch(command, config, &["--takeover"], self.ports.clone())
    }

    /// Starts another weir, on this one's ports, and waits until it has taken over.
    ///
    /// # Panics
    /// It ends, or does not.
    pub fn successor(&self, config: &str) -> Self {
        let mut weir = self.spawn_successor(config);
        wait_up_to(START, "the successor has taken over", || {
            if let Some(status) = weir.child.try_wait().unwrap() {
                panic!("weir ended with {status} instead of taking over");
            }
            weir.stderr().contains("has taken over")
        });
        weir
    }

    /// Writes another configuration into its file; `{name}` stands for the same port as before. What the
    /// process does about it is the test's to ask for.
    pub fn rewrite(&mut self, config: &str) {
        let mut config = config.to_owned();
        if !config.contains("[admin]") {
            config.push_str("\n[admin]\nlisten = [\"127.0.0.1:{admin}\"]\n");
        }
        let text = fill_in(&config, &self.dir, &mut self.ports);
        // In one step, so that nobody reads half of it.
        let draft = self.dir.join("weir.toml.new");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.dir.join("weir.toml")).unwrap();
    }

    fn launch(
        mut command: Command,
        config: &str,
        arguments: &[&str],
        mut ports: BTreeMap<String, u16>,
    ) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weir-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut config = config.to_owned();
        if !config.contains("[admin]") {
            config.push_str("\n[admin]\nlisten = [\"127.0.0.1:{admin}\"]\n");
        }
        let text = fill_in(&config, &dir, &mut ports);
        let file = dir.join("weir.toml");
        std::fs::write(&file, text).unwrap();
        let stderr = kept();
        let child = command
            .arg("run")
            .arg("--config")
            .arg(&file)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self { child, ports, dir, stderr }
    }

    /// The port that `{name}` stands for.
    pub fn port(&self, name: &str) -> u16 {
        *self.ports.get(name).unwrap_or_else(|| panic!("the configuration has no {{{name}}}"))
    }

    /// Loopback and the port that `{name}` stands for.
    pub fn address(&self, name: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(name)).into()
    }

    /// The folder that `{dir}` stands for.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new connection to the listener on `{web}`.
    pub fn client(&self) -> Client {
        Client::connect(self.address("web"))
    }

    /// Whether /readyz says so.
    pub fn is_ready(&self) -> bool {
        self.try_admin("GET", "/readyz").is_some_and(|response| response.status == 200)
    }

    /// An admin page. One that lacks what a shard has recorded, since the machine left it no time to hand that over, is
    /// asked for again.
    pub fn admin(&self, path: &str) -> Response {
        let get =
            || self.try_admin("GET", path).unwrap_or_else(|| panic!("admin does not answer GET {path}"));
        let before = self.late_shards();
        let page = get();
        if self.late_shards() == before {
            return page;
        }
        self.let_shards_catch_up();
        get()
    }

    /// How often weir has said that a page is made without what a shard has recorded last.
    fn late_shards(&self) -> usize {
        self.stderr().matches("did not hand over their statistics").count()
    }

    /// Waits until each shard has handed over what it recorded, or for a few seconds: one may be held up by a test.
    fn let_shards_catch_up(&self) {
        let turns = || -> BTreeMap<String, f64> {
            let page = self.try_admin("GET", "/metrics").map(|page| page.text()).unwrap_or_default();
            let of_shards = page.lines().filter(|line| line.starts_with("weir_ring_turns_total{"));
            of_shards
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(of, n)| (of.into(), n.parse().unwrap()))
                .collect()
        };
        let (before, began) = (turns(), Instant::now());
        // Each page makes every shard turn.
        while turns().iter().any(|(of, count)| before.get(of) >= Some(count)) && began.elapsed() < AT_ONCE {
            sleep(Duration::from_millis(20));
        }
    }

    /// An admin page; `None` if there is no answer.
    pub fn try_admin(&self, method: &str, path: &str) -> Option<Response> {
        let patience = Duration::from_secs(5);
        let socket = TcpStream::connect_timeout(&self.address("admin"), patience).ok()?;
        let mut wire = Wire::new(Socket::Tcp(socket), patience);
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .ok()?;
        wire.response(method).ok()?
    }

    /// The answer to a request of the admin surface, written out with all its fields.
    pub fn ask_admin(&self, request: &str) -> Response {
        let patience = Duration::from_secs(5);
        let socket = TcpStream::connect_timeout(&self.address("admin"), patience).unwrap();
        let mut wire = Wire::new(Socket::Tcp(socket), patience);
        wire.send(request).unwrap();
        wire.response("GET").unwrap().expect("admin answers")
    }

    /// The sum of a metric's samples that have all of `labels`; 0 if there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let page = self.admin("/metrics").text();
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let all = labels.iter().all(|(label, value)| {
                let wanted = format!("{label}=\"{value}\"");
                rest.trim_matches(['{', '}']).split(',').any(|given| given == wanted)
            });
            ((rest.is_empty() || rest.starts_with('{')) && all).then(|| value.parse::<f64>().unwrap())
        };
        page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).sum()
    }

    /// Waits until a metric is at least `value`.
    pub fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name} {labels:?} is at least {value}");
        wait_until(&what, || self.metric(name, labels) >= value);
    }

    /// Waits until a metric is zero.
    pub fn wait_none(&self, name: &str, labels: &[(&str, &str)]) {
        let what = format!("{name} {labels:?} is zero");
        wait_until(&what, || self.metric(name, labels) == 0.0);
    }

    /// Memory that the process has in RAM, in bytes.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// It has not within `length`.
    pub fn wait_exit(&mut self, length: Duration) -> ExitStatus {
        let mut status = None;
        wait_up_to(length, "weir has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        let mut text = vec![0; self.stderr.metadata().unwrap().len() as usize];
        self.stderr.read_exact_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- weir's stderr:\n{}---", self.stderr());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A file in memory for what a process writes. It is appended to, as a pipe is, since several threads write.
fn kept() -> File {
    let file = memfd_create("weir's stderr", MFdFlags::MFD_CLOEXEC).unwrap();
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND | OFlag::O_RDWR)).unwrap();
    file.into()
}

/// Puts ports and the folder into the configuration's text.
fn fill_in(config: &str, dir: &Path, ports: &mut BTreeMap<String, u16>) -> String {
    let mut text = String::new();
    let mut rest = config;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let len = rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(0);
        if len == 0 || !rest[len..].starts_with('}') {
            // An inline table.
            text.push('{');
            continue;
        }
        match &rest[..len] {
            "dir" => text.push_str(&dir.display().to_string()),
            name => {
                let port = ports.entry(name.to_owned()).or_insert_with(free_port);
                text.push_str(&port.to_string());
            }
        }
        rest = &rest[len + 1..];
    }
    text.push_str(rest);
    text
}

/// A configuration with one shard, one listener on `{web}` and one pool, "app", of `backends`, which are
/// named "0", "1" and so on. `listener` and `pool` are further lines: of the listener, and of the pool,
/// where sections may follow ("policy = …\n[pool.app.timeouts]\n…").
pub fn one_pool(backends: &[&Backend], listener: &str, pool: &str) -> String {
    let mut config = format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         pool = \"app\"\n{listener}\n[pool.app]\n{pool}\n"
    );
    for (name, backend) in backends.iter().enumerate() {
        let address = backend.address();
        config.push_str(&format!("[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n"));
    }
    config
}
