//! Why weir does not start: each time one clear reason, a remedy, and the right exit code.

use crate::harness::{Backend, Program, Weir, answers, free_port, one_pool, require};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A folder of a test's own.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("weir-refused-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A configuration that is right, but for what a test makes of it.
pub(super) fn config(address: &str, backend: &str) -> String {
    format!(
        "[runtime]\ncores = 1\n[admin]\nlisten = []\n[[listener]]\naddress = \"{address}\"\npool = \"app\"\n\
         [pool.app]\n[[pool.app.backend]]\naddress = \"{backend}\"\n"
    )
}

/// The exit code and stderr of a weir that does not start.
fn refused_by(command: &mut Command, config: &str) -> (i32, String) {
    let folder = Folder::new();
    let file = folder.file("weir.toml", config);
    let (status, out, log) = Program::run(command.args(["run", "--config", &file]), Duration::from_secs(20));
    assert_eq!(out, "", "nothing on stdout");
    (status.code().unwrap_or_else(|| panic!("{status}\n{log}")), log)
}

fn refused(config: &str) -> (i32, String) {
    refused_by(&mut Command::new(env!("CARGO_BIN_EXE_weir")), config)
}

/// The lines that say why, without the log's.
fn reasons(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| line.strip_prefix("weir: "))
        .filter(|line| !line.starts_with("warning"))
        .collect()
}

fn free() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn an_address_that_another_process_holds() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, log) = refused(&config(&address, "127.0.0.1:9"));
    assert_eq!(code, 1, "{log}");
    assert_eq!(reasons(&log).len(), 1, "{log}");
    for part in ["cannot bind", &address, "another process holds it", "choose another port"] {
        assert!(reasons(&log)[0].contains(part), "{part}: {log}");
    }
}

#[test]
fn an_address_that_another_weir_serves_is_not_shared_with_it() {
    let backend = Backend::http(answers::text("first"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let (code, log) = refused(&config(&weir.address("web").to_string(), "127.0.0.1:9"));
    assert_eq!((code, log.contains("another process holds it")), (1, true), "{log}");
    for _ in 0..20 {
        assert_eq!(weir.client().get("/").text(), "first");
    }
}

#[test]
fn an_admin_address_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = config(&free(), "127.0.0.1:9").replace("listen = []", &format!("listen = [\"{address}\"]"));
    let (code, log) = refused(&config);
    assert_eq!(code, 1, "{log}");
    assert!(reasons(&log)[0].contains(&format!("admin.listen: {address}")), "{log}");
}

#[test]
fn an_address_that_this_host_does_not_have() {
    let (code, log) = refused(&config("192.0.2.77:8080", "127.0.0.1:9"));
    assert_eq!((code, log.contains("no interface of this host has this address")), (1, true), "{log}");
}

#[test]
fn a_unix_path_that_cannot_be_had() {
    let folder = Folder::new();
    let file = folder.file("precious", "kept");
    let (code, log) = refused(&config(&format!("unix:{file}"), "127.0.0.1:9"));
    assert_eq!((code, log.contains(&file)), (1, true), "{log}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    let nowhere = folder.0.join("none/web.sock");
    let (code, log) = refused(&config(&format!("unix:{}", nowhere.display()), "127.0.0.1:9"));
    assert_eq!((code, log.contains("none/web.sock")), (1, true), "{log}");
}

#[test]
fn a_configuration_with_faults_all_of_which_are_told() {
    let text = config("127.0.0.1:http", "127.0.0.1:9").replace("cores = 1", "cores = 1\nsink = \"1ms\"")
        + "[pool.app.health]\nintervall = \"2s\"\n[pool.other]\npolicy = \"fastest\"\n";
    let (code, log) = refused(&text);
    assert_eq!(code, 2, "{log}");
    for part in ["weir.toml:3: runtime.sink", "sync", "127.0.0.1:http", "interval", "fastest", "least_conn"] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
    assert!(reasons(&log).len() >= 4, "{log}");
}

#[test]
fn a_file_that_is_not_there_or_no_text() {
    let weir = || Command::new(env!("CARGO_BIN_EXE_weir"));
    let run = |command: &mut Command| Program::run(command, Duration::from_secs(10));
    let (status, _, log) = run(weir().args(["run", "--config", "/nonexistent/weir.toml"]));
    assert_eq!(status.code(), Some(2));
    assert!(log.contains("/nonexistent/weir.toml") && log.contains("--config"), "{log}");
    let (status, _, log) = run(weir().args(["run", "--config", "/dev/null"]));
    assert_eq!((status.code(), log.contains("listener")), (Some(2), true), "{log}");
    let (status, _, log) = run(weir().arg("run"));
    assert_eq!((status.code(), log.contains("--config <FILE>")), (Some(2), true), "{log}");
}

#[test]
fn cores_that_do_not_exist() {
    for (cores, said) in [("\"0,900\"", "runtime.cores names 900"), ("1000", "runtime.cores = 1000")] {
        let text = config(&free(), "127.0.0.1:9").replace("cores = 1", &format!("cores = {cores}"));
        let (code, log) = refused(&text);
        assert_eq!(code, 1, "{log}");
        assert!(log.contains(said) && log.contains("this process may use only"), "{log}");
    }
}

#[test]
fn host_names_that_nobody_knows_all_of_them() {
    let text = config(&free(), "one.invalid:80")
        + "[[pool.app.backend]]\nname = \"second\"\naddress = \"two.invalid:80\"\n";
    let (code, log) = refused(&text);
    assert_eq!(code, 1, "{log}");
    for name in ["one.invalid", "two.invalid"] {
        let line = reasons(&log).into_iter().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("pool.app") && line.contains("correct the name"), "{line}");
    }
}

/// Python that forbids io_uring_setup to whom it becomes, with this errno, as a container's profile does.
const FORBID: &str = r"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
errno, program = int(sys.argv[1]), sys.argv[2:]
ops = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | errno), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *op) for op in ops))
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
filter = Program(len(ops), ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0, ctypes.get_errno()
os.execv(program[0], program)
";

/// A command that becomes weir where io_uring is forbidden; `None` if this machine cannot do that.
pub(super) fn without_io_uring(errno: i32) -> Option<Command> {
    let mut command = Command::new(require("python3")?);
    command.args(["-c", FORBID, &errno.to_string(), env!("CARGO_BIN_EXE_weir")]);
    Some(command)
}

#[test]
fn io_uring_forbidden_by_seccomp() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let Some(mut command) = without_io_uring(errno) else { return };
        let (code, log) = refused_by(&mut command, &config(&free(), "127.0.0.1:9"));
        assert_eq!(code, 1, "{log}");
        assert_eq!(log.lines().count(), 1, "one clear error: {log}");
        for part in ["io_uring is forbidden by a seccomp filter", "--security-opt seccomp="] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}

/// A weir on a host where io_uring is switched off. Not by the host's own switch, on which other processes
/// depend: a file in its place, in a mount namespace of the test's own, and a filter that gives the errno
/// which the switch gives. `None`: not here. Exit code 77: nothing can be mounted.
pub(super) fn switched_off(folder: &Folder) -> Option<Command> {
    let (unshare, weir) = (require("unshare")?, without_io_uring(libc::EPERM)?);
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a mount namespace needs root");
        return None;
    }
    let level = folder.file("level", "2\n");
    let mut command = Command::new(unshare);
    let script = "mount --bind \"$0\" /proc/sys/kernel/io_uring_disabled || exit 77; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, &level]).arg(weir.get_program()).args(weir.get_args());
    Some(command)
}

#[test]
fn io_uring_switched_off_by_sysctl() {
    let folder = Folder::new();
    let Some(mut command) = switched_off(&folder) else { return };
    let (code, log) = refused_by(&mut command, &config(&free(), "127.0.0.1:9"));
    if code == 77 {
        println!("skipped: nothing can be mounted here: {log}");
        return;
    }
    assert_eq!((code, log.lines().count()), (1, 1), "{log}");
    for part in ["kernel.io_uring_disabled=2", "sysctl -w kernel.io_uring_disabled=0"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn too_little_locked_memory() {
    // For the privileged there is no such limit.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -l 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_weir")]);
    if nix::unistd::geteuid().is_root() {
        let Some(setpriv) = require("setpriv") else { return };
        let drop = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh"];
        let rest: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = Command::new(setpriv);
        command.args(drop).args(rest);
    }
    let (code, log) = refused_by(&mut command, &config(&free(), "127.0.0.1:9"));
    if log.contains("Permission denied") {
        println!("skipped: nobody may not run the binary where it lies");
        return;
    }
    assert_eq!(code, 1, "{log}");
    assert!(
        reasons(&log)[0].contains("raise the limit of locked memory (`ulimit -l`, LimitMEMLOCK=)"),
        "{log}"
    );
}
