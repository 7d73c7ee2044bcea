//! `runtime.user`: what weir is once it serves, what still works then, and why it does not become somebody.
//!
//! Needs root, which alone can become somebody else; skipped otherwise, and says so.

use crate::harness::{Backend, Client, Load, Program, Weir, answers, copy_program, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The user "nobody" and its group, which no file belongs to.
const NOBODY: u32 = 65_534;

/// What `/proc/PID/task/*/status` says of who has given up everything.
const POWERLESS: &[(&str, &str)] = &[
    ("Uid", "65534 65534 65534 65534"),
    ("Gid", "65534 65534 65534 65534"),
    ("Groups", "65534"),
    ("CapInh", "0000000000000000"),
    ("CapPrm", "0000000000000000"),
    ("CapEff", "0000000000000000"),
    ("CapBnd", "0000000000000000"),
    ("CapAmb", "0000000000000000"),
    ("NoNewPrivs", "1"),
];

/// Whether this process is root; a line says that the test is skipped otherwise.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: only root can become another user");
    }
    root
}

/// As nobody, by numbers: a host need not have the name.
fn as_nobody(config: &str) -> String {
    config.replacen("[runtime]", "[runtime]\nuser = \"65534\"\ngroup = \"65534\"", 1)
}

/// The lines of each thread's status, by thread.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // A thread may end while it is looked at.
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok());
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    texts.map(|text| text.lines().filter_map(line).collect()).collect()
}

/// Asserts that every thread of the process has nothing but its user.
fn assert_powerless(weir: &Weir) {
    let threads = threads(weir.pid());
    assert!(threads.len() > 1, "control and a shard at least");
    for thread in threads {
        for (name, expected) in POWERLESS {
            assert_eq!(thread[*name], *expected, "{name} of {}", thread["Name"]);
        }
    }
}

/// A port that only the privileged may bind; `None` where everybody may.
fn low_port() -> Option<u16> {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() < 1024 {
        println!("skipped: on this host everybody may bind ports below 1024");
        return None;
    }
    // Each process begins elsewhere, and no two tests are given the same.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut places = (0..300).map(|_| {
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        700 + (place % 300 + std::process::id() as u16 % 300) % 300
    });
    places.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A folder that is nobody's own.
fn nobodys(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("weir-nobodys-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    dir
}

fn owner(file: &Path) -> (u32, u32, u32) {
    let found = file.symlink_metadata().unwrap();
    (found.uid(), found.gid(), found.mode() & 0o777)
}

#[test]
fn once_it_has_bound_a_low_port_no_thread_has_anything_but_its_user() {
    let Some(low) = is_root().then(low_port).flatten() else { return };
    let backend = Backend::http(answers::text("ok"));
    let dir = nobodys("low");
    let shown = dir.display();
    let config = as_nobody(&one_pool(&[&backend], "", "")).replace("cores = 1", "cores = \"0,0\"");
    let config = config.replacen("cores", &format!("state_file = \"{shown}/state.json\"\ncores"), 1)
        + &format!(
            "[[listener]]\nname = \"low\"\naddress = \"127.0.0.1:{low}\"\npool = \"app\"\n\
             [[listener]]\nname = \"file\"\naddress = \"unix:{shown}/web.sock\"\npool = \"app\"\n\
             [admin]\nlisten = [\"127.0.0.1:{{admin}}\", \"unix:{shown}/admin.sock\"]\n"
        );
    let mut weir = Weir::start(&config);
    assert_powerless(&weir);
    assert_eq!(Client::connect(loopback(low)).get("/").text(), "ok");
    let load = Load::get(weir.address("web"), 4, "/");
    wait_until("traffic flows", || load.counts().ok > 200);
    assert_powerless(&weir);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0));
    assert_eq!(owner(&dir.join("admin.sock")), (NOBODY, NOBODY, 0o660));
    assert_eq!(owner(&dir.join("web.sock")).0, NOBODY);
    // /proc is root's where nobody may look into the memory: neither a core dump nor a debugger has it.
    assert_eq!(std::fs::metadata(format!("/proc/{}/mem", weir.pid())).unwrap().uid(), 0);
    let warned = |line: &&str| line.contains(" WARN ") && !line.contains("descriptors");
    assert_eq!(weir.stderr().lines().find(warned), None);
    assert!(weir.stderr().contains("has given up all privileges"), "{}", weir.stderr());

    // The state file is the user's to write.
    assert_eq!(weir.try_admin("POST", "/pools/app/backends/0/drain").unwrap().status, 200);
    wait_until("the state is written", || dir.join("state.json").exists());
    assert_eq!(owner(&dir.join("state.json")).0, NOBODY);

    weir.signal(Signal::SIGTERM);
    assert!(weir.wait_exit(Duration::from_secs(15)).success());
    assert!(!dir.join("web.sock").exists() && !dir.join("admin.sock").exists(), "their files go with it");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_reload_adds_ports_but_none_that_root_alone_may_bind() {
    let Some(low) = is_root().then(low_port).flatten() else { return };
    let backend = Backend::http(answers::text("ok"));
    let config = as_nobody(&one_pool(&[&backend], "", ""));
    let mut weir = Weir::start(&config);
    let more = |port: &str| {
        format!("{config}[[listener]]\nname = \"more\"\naddress = \"127.0.0.1:{port}\"\npool = \"app\"\n")
    };
    weir.rewrite(&more("{more}"));
    weir.signal(Signal::SIGHUP);
    wait_until("the new port is open", || std::net::TcpStream::connect(weir.address("more")).is_ok());
    assert_eq!(Client::connect(weir.address("more")).get("/").text(), "ok");
    assert_powerless(&weir);
    weir.rewrite(&more(&low.to_string()));
    weir.signal(Signal::SIGHUP);
    wait_until("the reload is refused", || weir.stderr().contains("weir run --takeover"));
    assert!(weir.stderr().contains("CAP_NET_BIND_SERVICE"), "{}", weir.stderr());
    assert_eq!(weir.client().get("/").text(), "ok");
    // A takeover by root brings it.
    let successor = weir.successor(&more(&low.to_string()));
    assert_eq!(Client::connect(loopback(low)).get("/").text(), "ok");
    assert_powerless(&successor);
}

#[test]
fn a_successor_takes_over_as_root_or_as_the_same_user_and_nobody_is_refused() {
    if !is_root() {
        return;
    }
    let backend = Backend::http(answers::text("ok"));
    let dir = nobodys("successor");
    let admin = dir.join("admin.sock");
    let config = as_nobody(&one_pool(&[&backend], "", ""))
        + &format!("[admin]\nlisten = [\"127.0.0.1:{{admin}}\", \"unix:{}\"]\n", admin.display());
    let mut first = Weir::start(&config);
    let load = Load::get(first.address("web"), 4, "/");
    wait_until("traffic flows", || load.counts().ok > 100);
    // Begun by root: it becomes the user once it has the sockets.
    let mut second = first.successor(&config);
    assert!(first.wait_exit(Duration::from_secs(40)).success());
    assert_powerless(&second);
    assert!(admin.exists(), "it is the successor's now");
    // Begun as the user. Nobody may look into anybody's home, so the program lies elsewhere.
    let binary = std::env::temp_dir().join(format!("weir-successor-{}", std::process::id()));
    copy_program(env!("CARGO_BIN_EXE_weir"), &binary);
    let mut command = Command::new(&binary);
    command.uid(NOBODY).gid(NOBODY);
    let third = second.spawn_successor_by(command, &config);
    wait_until("the third has taken over", || third.stderr().contains("has taken over"));
    assert!(second.wait_exit(Duration::from_secs(40)).success());
    let before = load.counts().ok;
    wait_until("traffic still flows", || load.counts().ok > before + 100);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0));
    assert!(admin.exists());
    drop(third);
    std::fs::remove_file(&binary).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn root_without_a_user_is_warned_and_even_so_gets_no_new_privileges() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    assert_eq!(weir.stderr().contains("set runtime.user"), nix::unistd::geteuid().is_root());
    for thread in threads(weir.pid()) {
        assert_eq!(thread["NoNewPrivs"], "1", "{}", thread["Name"]);
    }
}

#[test]
fn a_state_file_in_a_folder_that_the_user_may_not_write_is_told_of_at_the_start() {
    if !is_root() {
        return;
    }
    let backend = Backend::http(answers::text("ok"));
    let config = as_nobody(&one_pool(&[&backend], "", ""));
    let weir = Weir::start(&config.replacen("cores", "state_file = \"{dir}/state.json\"\ncores", 1));
    assert!(weir.stderr().contains("may not write in the state file's folder"), "{}", weir.stderr());
    assert_eq!(weir.client().get("/").text(), "ok");
}

/// The exit code and stderr of a weir that does not start, by this command.
fn refused(mut command: Command, runtime: &str) -> (Option<i32>, String) {
    let dir = std::env::temp_dir();
    let file = dir.join(format!("weir-user-{}-{}.toml", std::process::id(), runtime.len()));
    let text = format!(
        "[runtime]\ncores = 1\n{runtime}\n[admin]\nlisten = []\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         pool = \"app\"\n[pool.app]\n[[pool.app.backend]]\naddress = \"127.0.0.1:9\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let (status, _, log) =
        Program::run(command.args(["run", "--config"]).arg(&file), Duration::from_secs(20));
    std::fs::remove_file(&file).unwrap();
    (status.code(), log)
}

#[test]
fn who_cannot_be_become_is_an_error_of_the_start_that_names_the_key_and_the_remedy() {
    let weir = || Command::new(env!("CARGO_BIN_EXE_weir"));
    for (runtime, parts) in [
        ("user = \"no-such-user\"", ["runtime.user", "no user \"no-such-user\"", "useradd"]),
        ("user = \"0\"\ngroup = \"no-such-group\"", ["runtime.group", "no-such-group", "groupadd"]),
        ("user = \"3999999\"", ["runtime.user", "3999999", "set runtime.group"]),
    ] {
        let (code, log) = refused(weir(), runtime);
        assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
        for part in parts {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
    if !is_root() {
        return;
    }
    let binary = std::env::temp_dir().join(format!("weir-not-root-{}", std::process::id()));
    copy_program(env!("CARGO_BIN_EXE_weir"), &binary);
    let mut command = Command::new(&binary);
    command.uid(NOBODY).gid(NOBODY);
    let (code, log) = refused(command, "user = \"1\"\ngroup = \"1\"");
    std::fs::remove_file(&binary).unwrap();
    assert_eq!((code, log.lines().count()), (Some(1), 1), "{log}");
    for part in ["only root can become user 1, group 1", "is user 65534", "leave the keys out"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn without_the_right_to_change_user_weir_says_which_right_that_is() {
    if !is_root() {
        return;
    }
    let Some(setpriv) = crate::harness::require("setpriv") else { return };
    let mut command = Command::new(setpriv);
    command.args(["--bounding-set=-setgid", "--inh-caps=-setgid", env!("CARGO_BIN_EXE_weir")]);
    let (code, log) = refused(command, "user = \"65534\"\ngroup = \"65534\"");
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("setgroups") && log.contains("CAP_SETUID and CAP_SETGID"), "{log}");
}
