//! A supervisor as systemd is one: it is told of weir's life, feeds on its watchdog, opens sockets for it.
//!
//! The test plays the supervisor: a datagram socket that weir sends to, and a listening socket that weir is
//! started with.

use crate::harness::{Backend, Client, Weir, answers, free_port, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The socket that weir notifies.
struct Supervisor {
    socket: UnixDatagram,
    address: String,
}

impl Supervisor {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-systemd-{}-{number}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { socket, address: format!("@{name}") }
    }

    /// weir, to be started under this supervisor.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }

    /// The next notice's lines.
    fn hears(&self) -> Vec<String> {
        self.hears_within(Duration::from_secs(10)).expect("weir says nothing")
    }

    fn hears_within(&self, patience: Duration) -> Option<Vec<String>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut text = [0; 4096];
        match self.socket.recv(&mut text) {
            Ok(len) => Some(String::from_utf8_lossy(&text[..len]).lines().map(str::to_owned).collect()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// weir, started with `socket` as descriptor 3 and as a process that it is meant for. The shell becomes weir,
/// so `$$` is weir's process id.
fn activated(socket: impl Into<OwnedFd>, name: &str) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&1 1>&2; export LISTEN_PID=$$; exec \"$WEIR\" \"$@\"";
    command.args(["-c", script, "weir"]).stdout(Stdio::from(socket.into()));
    command.env("WEIR", env!("CARGO_BIN_EXE_weir")).env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
    command
}

#[test]
fn the_supervisor_hears_that_weir_serves_and_that_it_ends() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let mut weir = Weir::spawn_by(supervisor.command(), &one_pool(&[&backend], "", ""));
    assert_eq!(supervisor.hears(), ["READY=1", "STATUS=1 shards serve"]);
    // Whoever waited for it to be ready finds it so.
    assert_eq!(weir.client().get("/").text(), "a");
    weir.signal(Signal::SIGTERM);
    assert_eq!(supervisor.hears(), ["STOPPING=1", "STATUS=finishing what is in flight"]);
    assert!(weir.wait_exit(Duration::from_secs(20)).success());
    assert_eq!(supervisor.hears_within(Duration::from_millis(1)), None);
}

#[test]
fn a_reload_is_told_from_its_begin_to_its_end_whatever_comes_of_it() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let weir = Weir::spawn_by(supervisor.command(), &one_pool(&[&backend], "", ""));
    assert_eq!(supervisor.hears()[0], "READY=1");
    let file = weir.dir().join("weir.toml");
    let right = std::fs::read_to_string(&file).unwrap();
    let mut since = 0;
    for text in [right.clone() + "slow_start = \"1s\"\n", "[runtime]\nwrong = 1\n".to_owned(), right] {
        std::fs::write(&file, text).unwrap();
        weir.signal(Signal::SIGHUP);
        let began = supervisor.hears();
        assert_eq!(began[0], "RELOADING=1");
        let stamp: u64 = began[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(stamp > since, "each has its time: {stamp}, {since}");
        since = stamp;
        assert_eq!(supervisor.hears(), ["READY=1", "STATUS=1 shards serve"]);
    }
}

#[test]
fn the_watchdog_is_fed_while_weir_serves() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let mut command = supervisor.command();
    command.env("WATCHDOG_USEC", "200000");
    let mut weir = Weir::spawn_by(command, &one_pool(&[&backend], "", ""));
    assert_eq!(supervisor.hears()[0], "READY=1");
    for _ in 0..20 {
        assert_eq!(supervisor.hears(), ["WATCHDOG=1"]);
    }
    weir.signal(Signal::SIGSTOP);
    while supervisor.hears_within(Duration::from_millis(300)).is_some() {}
    weir.signal(Signal::SIGCONT);
    assert_eq!(supervisor.hears(), ["WATCHDOG=1"]);
    weir.signal(Signal::SIGTERM);
    wait_until("weir says that it ends", || supervisor.hears()[0] == "STOPPING=1");
    assert!(weir.wait_exit(Duration::from_secs(20)).success());
}

#[test]
fn the_watchdog_starves_while_one_shards_heart_does_not_beat() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let mut command = supervisor.command();
    command.env("WATCHDOG_USEC", "200000").env("WEIR_FAULT_INJECTION", "1");
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = \"0,1\"");
    let weir = Weir::start_by(command, &config);
    assert_eq!(supervisor.hears(), ["READY=1", "STATUS=2 shards serve"]);
    assert_eq!(supervisor.hears(), ["WATCHDOG=1"]);
    let (length, began) = (Duration::from_secs(6), Instant::now());
    let injected = weir.try_admin("POST", &format!("/inject/shards/1/stall/{}", length.as_millis())).unwrap();
    assert_eq!(injected.status, 200, "{}", injected.text());
    // A stall shows after a second; and what was fed until then may be heard late.
    while began.elapsed() < length / 2 {
        supervisor.hears_within(Duration::from_millis(100));
    }
    assert!(weir.is_ready(), "control itself runs");
    assert_eq!(supervisor.hears(), ["WATCHDOG=1"]);
    assert!(began.elapsed() >= length, "fed after {:?} though a shard does nothing", began.elapsed());
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let mut command = supervisor.command();
    command.env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");
    let _weir = Weir::start_by(command, &one_pool(&[&backend], "", ""));
    assert_eq!(supervisor.hears()[0], "READY=1");
    assert_eq!(supervisor.hears_within(Duration::from_millis(300)), None);
}

#[test]
fn a_supervisor_that_is_not_there_costs_a_line_in_the_log() {
    let backend = Backend::http(answers::text("a"));
    for (socket, said) in
        [("@weir-nobody-listens-here", "the supervisor did not hear"), ("vsock:2:1", "hears nothing of weir")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.env("NOTIFY_SOCKET", socket);
        let weir = Weir::start_by(command, &one_pool(&[&backend], "", ""));
        assert_eq!(weir.client().get("/").text(), "a");
        wait_until("it is in the log", || weir.stderr().contains(said));
    }
}

#[test]
fn a_passed_socket_outlives_weir_and_who_connects_while_none_runs_is_answered_by_the_next() {
    let backend = Backend::http(answers::text("a"));
    for (name, address) in [("web", "0.0.0.0:1"), ("weir.socket", "{passed}")] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let passed = listener.local_addr().unwrap();
        // Before weir is started: systemd's socket units let clients wait so.
        let mut early = Client::connect(passed);
        let config = one_pool(&[&backend], "", "")
            .replace("127.0.0.1:{web}", &address.replace("{passed}", &passed.to_string()))
            .replace("cores = 1", "cores = \"0,0\"");
        // The supervisor's own, which outlives weir.
        let kept = listener.try_clone().unwrap();
        let mut weir = Weir::start_by(activated(listener, name), &config);
        assert_eq!(early.get("/").text(), "a", "{name}");
        for _ in 0..20 {
            assert_eq!(Client::connect(passed).get("/").text(), "a", "{name}");
        }
        assert!(!weir.stderr().contains("accept on one socket"), "that is as it must be here");
        weir.signal(Signal::SIGTERM);
        assert!(weir.wait_exit(Duration::from_secs(20)).success());
        let mut waits = Client::connect(passed);
        let _next = Weir::start_by(activated(kept, name), &config);
        assert_eq!(waits.get("/").text(), "a", "who came between the two is the next one's: {name}");
    }
}

#[test]
fn a_successor_is_named_to_the_supervisor_goes_on_with_its_sockets_and_leaves_them_to_the_next() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let passed = listener.local_addr().unwrap();
    let kept = listener.try_clone().unwrap();
    let config = one_pool(&[&backend], "", "").replace("127.0.0.1:{web}", &passed.to_string());
    let mut command = activated(listener, "web");
    command.env("NOTIFY_SOCKET", &supervisor.address);
    let mut old = Weir::start_by(command, &config);
    assert_eq!(supervisor.hears()[0], "READY=1");
    // Watched in the old one's place, as a child of it would be.
    let mut command = supervisor.command();
    command.env("WATCHDOG_USEC", "4000000").env("WATCHDOG_PID", old.pid().to_string());
    let mut new = old.spawn_successor_by(command, &config);
    assert!(old.wait_exit(Duration::from_secs(20)).success());
    let mut said: Vec<String> = (0..3).map(|_| supervisor.hears().remove(0)).collect();
    said.sort();
    assert_eq!(said, [format!("MAINPID={}", new.pid()), "READY=1".to_owned(), "WATCHDOG=1".to_owned()]);
    assert_eq!(Client::connect(passed).get("/").text(), "a");
    new.signal(Signal::SIGTERM);
    assert!(new.wait_exit(Duration::from_secs(20)).success());
    let mut waits = Client::connect(passed);
    let _next = Weir::start_by(activated(kept, "web"), &config);
    assert_eq!(waits.get("/").text(), "a");
}

/// A path for a socket, removed at the end.
struct SocketFile(PathBuf);

impl SocketFile {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("weir-activated-{}-{}.sock", std::process::id(), free_port())))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_passed_unix_socket_stays_reachable_after_weir_has_ended() {
    let backend = Backend::http(answers::text("a"));
    let file = SocketFile::new();
    let listener = UnixListener::bind(&file.0).unwrap();
    // The supervisor's own, which outlives weir.
    let kept = listener.try_clone().unwrap();
    let config =
        one_pool(&[&backend], "", "").replace("127.0.0.1:{web}", &format!("unix:{}", file.0.display()));
    let mut weir = Weir::start_by(activated(listener, "weir.socket"), &config);
    assert_eq!(Client::connect_unix(&file.0).get("/").text(), "a");
    weir.signal(Signal::SIGTERM);
    assert!(weir.wait_exit(Duration::from_secs(20)).success());
    UnixStream::connect(&file.0).expect("the next weir finds who waits here");
    drop(kept);
}

#[test]
fn a_passed_socket_whose_listener_is_removed_by_a_reload_serves_again_after_the_next_start() {
    let (supervisor, backend) = (Supervisor::new(), Backend::http(answers::text("a")));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let passed = listener.local_addr().unwrap();
    let kept = listener.try_clone().unwrap();
    let config = one_pool(&[&backend], "", "")
        + &format!("[[listener]]\nname = \"passed\"\naddress = \"{passed}\"\npool = \"app\"\n");
    let mut command = activated(listener, "passed");
    command.env("NOTIFY_SOCKET", &supervisor.address);
    let mut weir = Weir::start_by(command, &config);
    assert_eq!(supervisor.hears()[0], "READY=1");
    assert_eq!(Client::connect(passed).get("/").text(), "a");
    let file = weir.dir().join("weir.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let without = text.split("[[listener]]\nname = \"passed\"").next().unwrap().to_owned();
    let admin = format!("\n[admin]\nlisten = [\"{}\"]\n", weir.address("admin"));
    std::fs::write(&file, without + &admin).unwrap();
    weir.signal(Signal::SIGHUP);
    assert_eq!(supervisor.hears()[0], "RELOADING=1");
    assert_eq!(supervisor.hears()[0], "READY=1");
    let mut waits = Client::connect(passed);
    weir.signal(Signal::SIGTERM);
    assert!(weir.wait_exit(Duration::from_secs(20)).success());
    let _next = Weir::start_by(activated(kept, "passed"), &config);
    assert_eq!(waits.get("/").text(), "a");
}

#[test]
fn a_passed_socket_that_nobody_wants_stops_the_start() {
    let backend = Backend::http(answers::text("a"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let passed = listener.local_addr().unwrap().to_string();
    let mut weir = Weir::spawn_by(activated(listener, "api"), &one_pool(&[&backend], "", ""));
    assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(1));
    wait_until("it says why", || {
        let said = weir.stderr();
        said.contains(&passed) && said.contains("\"api\"") && said.contains("socket unit")
    });
}
