//! A test in a process of its own: for what is counted or limited per process, and for what is killed.
//!
//! The test's own executable is run again with that one test, and an environment variable that says so.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const MARK: &str = "WEIR_RING_CHILD";

/// Whether this process was started by [`start`] or [`alone`].
pub(crate) fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the test `name` ("module::test") in a process of its own, its output ours to read.
pub(crate) fn start(name: &str) -> (Started, BufReader<ChildStdout>) {
    let mut child = command(name).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (Started(child), output)
}

/// A child that does not outlive its test.
pub(crate) struct Started(pub(crate) Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `body` in a process of its own, where the test is `name`; its failure is the test's.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    let status = command(name).status().unwrap();
    assert!(status.success(), "{name} failed in its own process: {status}, see above");
}

fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARK, "1");
    command
}

/// Reads lines until one contains `mark`, and returns what stands behind it.
pub(crate) fn line_after(output: &mut impl BufRead, mark: &str) -> String {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some(at) = line.find(mark) {
            return line[at + mark.len()..].trim().to_owned();
        }
        line.clear();
    }
    panic!("the child ended without {mark:?}");
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until this process has `count` descriptors at most: other threads may be closing theirs.
pub(crate) fn wait_for_descriptors(count: usize) {
    for _ in 0..1_000 {
        if descriptors() <= count {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{} descriptors are open, not {count}", descriptors());
}
