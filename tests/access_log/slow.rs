//! Sinks that take nothing: requests go on, lines are dropped and counted, and come back.

use crate::harness::{Backend, Load, Weir, answers, require, wait_until, wait_up_to};
use crate::{lines_of, logging, object};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A FIFO whose reader is there and reads nothing yet.
struct Fifo {
    dir: PathBuf,
    path: PathBuf,
    reader: File,
}

impl Fifo {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-access-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("fifo");
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        Self { dir, path, reader }
    }

    /// What is in it now.
    fn drain(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut piece = [0; 65_536];
        while let Ok(count @ 1..) = self.reader.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
        }
        bytes
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn into(backend: &Backend, format: &str, path: &Path) -> String {
    logging(&[backend], "", &format!("format = \"{format}\"\nto = \"{}\"", path.display()))
}

#[test]
fn a_fifo_that_nobody_reads_costs_lines_and_no_request() {
    let backend = Backend::http(answers::text("ok"));
    let mut fifo = Fifo::new("fifo");
    let weir = Weir::start(&into(&backend, "json", &fifo.path));
    // Long lines, so that it is full soon.
    let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(1_900));
    let load = Load::start(weir.address("web"), 4, request.as_bytes(), Duration::ZERO, |response| {
        response.status == 200
    });
    wait_up_to(Duration::from_secs(60), "lines are dropped", || {
        weir.metric("weir_access_log_dropped_total", &[("shard", "0")]) > 100.0
    });
    let answered = load.counts().ok;
    wait_until("requests go on", || load.counts().ok > answered + 500);
    wait_until("the log says so", || weir.stderr().contains("lines were dropped"));
    // Its reader comes back.
    let mut read = fifo.drain();
    let dropped = || weir.metric("weir_access_log_dropped_total", &[]);
    let written = || weir.metric("weir_access_log_lines_total", &[]);
    let before = written();
    wait_until("lines come back", || {
        read.extend(fifo.drain());
        written() > before + 1_000.0
    });
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
    wait_until("each request has its line or is counted", || {
        read.extend(fifo.drain());
        written() + dropped() == counts.ok as f64
    });
    read.extend(fifo.drain());
    let text = String::from_utf8(read).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().for_each(|line| drop(object(line)));
    assert_eq!(text.lines().count() as f64, written());
    let said = weir.stderr().matches("lines were dropped").count();
    assert!(said < 60, "at most once a second, not {said} times");
}

#[test]
fn while_a_fifo_is_full_a_reload_and_the_end_are_not_held_up() {
    let backend = Backend::http(answers::text("ok"));
    let fifo = Fifo::new("held");
    let mut weir = Weir::start(&into(&backend, "combined", &fifo.path));
    let request = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(1_900));
    let mut client = weir.client();
    (0..100).for_each(|_| assert_eq!(client.ask(&request).status, 200));
    let other = fifo.dir.join("access.log");
    weir.rewrite(&into(&backend, "combined", &other));
    weir.signal(Signal::SIGHUP);
    wait_until("it is loaded", || weir.stderr().contains("configuration loaded"));
    assert_eq!(client.get("/").status, 200);
    wait_until("lines go to the other place", || {
        lines_of(&other).last().is_some_and(|line| line.contains("\"GET / "))
    });
    weir.rewrite(&into(&backend, "combined", &fifo.path));
    weir.signal(Signal::SIGHUP);
    wait_until("it is loaded", || weir.stderr().matches("configuration loaded").count() == 2);
    (0..100).for_each(|_| assert_eq!(client.ask(&request).status, 200));
    drop(client);
    weir.signal(Signal::SIGTERM);
    assert!(weir.wait_exit(Duration::from_secs(20)).success());
    assert!(weir.stderr().contains("last lines of the access log could not be written"));
}

#[test]
fn a_full_disk_is_told_and_counted_and_tried_again() {
    let backend = Backend::http(answers::text("ok"));
    let dir = std::env::temp_dir().join(format!("weir-access-full-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    // Each write to it fails with ENOSPC.
    let log = dir.join("access.log");
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let weir = Weir::start(&into(&backend, "$path", &log));
    let mut client = weir.client();
    (0..10).for_each(|round| assert_eq!(client.get(&format!("/{round}")).status, 200));
    weir.wait_metric("weir_access_log_write_errors_total", &[], 2.0);
    wait_until("it is told", || weir.stderr().contains("cannot be written"));
    let said = weir.stderr();
    assert!(said.contains("No space left on device"), "{said}");
    // There is room again.
    fs::remove_file(&log).unwrap();
    wait_until("what waited is written", || lines_of(&log).len() == 10);
    assert_eq!(client.get("/10").status, 200);
    let expected: Vec<_> = (0..11).map(|round| format!("/{round}")).collect();
    wait_until("all is written, in its order", || lines_of(&log) == expected);
    assert_eq!(weir.metric("weir_access_log_dropped_total", &[]), 0.0);
    assert_eq!(weir.stderr().matches("cannot be written").count(), 1, "not each time");
    wait_until("it is told", || weir.stderr().contains("is written again"));
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn a_line_that_does_not_fit_whole_is_taken_back_and_comes_whole_elsewhere() {
    let Some(shell) = require("sh") else { return };
    let backend = Backend::http(answers::text("ok"));
    // A file has room for 4096 bytes, and what is beyond fails, as on a full disk: in the middle of a line.
    let mut limited = Command::new(shell);
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_weir")]);
    let config = logging(&[&backend], "", "format = \"$path\"\nto = \"{dir}/access.log\"");
    let weir = Weir::start_by(limited, &config);
    let log = weir.dir().join("access.log");
    let mut client = weir.client();
    let path = |round: usize| format!("/{round}/{}", "a".repeat(70));
    for round in 0..100 {
        assert_eq!(client.get(&path(round)).status, 200);
    }
    weir.wait_metric("weir_access_log_write_errors_total", &[], 1.0);
    let mut written = lines_of(&log);
    assert!((40..60).contains(&written.len()), "{} lines", written.len());
    for part in 1..5 {
        if written.len() == 100 {
            break;
        }
        fs::rename(&log, weir.dir().join(format!("access.log.{part}"))).unwrap();
        wait_until("it goes on in another file", || lines_of(&log).len() > 1);
        written.extend(lines_of(&log));
    }
    let expected: Vec<_> = (0..100).map(path).collect();
    assert_eq!(written, expected);
}

#[test]
fn lines_on_stderr_are_whole_between_the_logs_own() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(
        &logging(&[&backend], "", "format = \"json\"").replace("cores = 1\n", "cores = \"0,0\"\n"),
    );
    let load = Load::get(weir.address("web"), 4, "/");
    for round in 1..=10 {
        weir.signal(Signal::SIGHUP);
        wait_until("it is loaded", || weir.stderr().matches("configuration loaded").count() == round);
    }
    let counts = load.stop();
    let is_line = |line: &&str| line.starts_with('{');
    wait_until("each request has its line", || {
        weir.stderr().lines().filter(is_line).count() == counts.ok as usize
    });
    for line in weir.stderr().lines() {
        if line.starts_with('{') {
            object(line);
        } else {
            let is_of_log = line.starts_with("20") || line.starts_with("weir: warning");
            assert!(is_of_log && !line.contains('{'), "{line}");
        }
    }
}
