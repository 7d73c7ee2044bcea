//! A process that a test starts beside weir, or weir by another command than `run`: what it writes, how it
//! ends. And what a process has cost so far.

use super::wait::wait_up_to;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running process. Killed when dropped.
pub struct Program {
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

/// What a process writes, kept by a thread.
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn keep(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = text.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { text, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

impl Program {
    /// Starts `command`, without input.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Stream::keep(child.stdout.take().unwrap());
        let stderr = Stream::keep(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Runs `command` to its end; how it ended, stdout and stderr.
    ///
    /// # Panics
    /// It has not ended within `length`.
    pub fn run(command: &mut Command, length: Duration) -> (ExitStatus, String, String) {
        let mut program = Self::spawn(command);
        let status = program.wait_exit(length);
        (status, program.stdout(), program.stderr())
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it as the kernel does when memory is out: without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the process has ended and all that it wrote is here.
    ///
    /// # Panics
    /// It has not within `length`.
    pub fn wait_exit(&mut self, length: Duration) -> ExitStatus {
        let mut status = None;
        wait_up_to(length, "the process has ended", || {
            status = self.child.try_wait().unwrap();
            let read = [&self.stdout, &self.stderr].map(|stream| stream.reader.is_finished());
            status.is_some() && read == [true; 2]
        });
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stdout:\n{}--- stderr:\n{}---", self.stdout(), self.stderr());
        }
    }
}

/// CPU time that those threads of a process have used so far whose names begin with `name`.
pub fn cpu_time_of(pid: u32, name: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let spent = threads.filter_map(|thread| {
        let read = |file: &str| std::fs::read_to_string(thread.as_ref().ok()?.path().join(file)).ok();
        // The first figure of a thread's schedstat, in nanoseconds.
        let is_one = read("comm")?.starts_with(name);
        is_one.then(|| read("schedstat")?.split(' ').next()?.parse::<u64>().ok()).flatten()
    });
    Duration::from_nanos(spent.sum())
}

/// Copies a program, by a process of its own. A file that this process has had open for writing cannot be started as
/// long as a child that another thread is about to start has that descriptor too (ETXTBSY).
pub fn copy_program(from: &str, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp {from} {}", to.display());
}

/// CPU time that a process has used so far, in user and in kernel mode. To a hundredth of a second.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may hold blanks; behind its bracket come the fields from the third on.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<u64>().unwrap();
    // 14 and 15 of proc(5): utime and stime.
    let ticks = ticks(11) + ticks(12);
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap() as u64;
    Duration::from_millis(ticks * 1_000 / per_second)
}
