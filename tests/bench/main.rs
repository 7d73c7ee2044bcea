//! `weir bench` through the real binary: that its figures are true, that it counts what goes wrong, what it
//! writes and refuses.
//!
//! Machines that run tests are busy and slow: what is asserted are counts and orders, and lengths only where the
//! backend made them.
//!
//! | file | what |
//! |---|---|
//! | `truth.rs` | stalls that must show, rates that must be met, the generator's own lateness |
//! | `failures.rs` | each kind of error, and targets that are not there |
//! | `outcome.rs` | requests as asked for, files, JSON, two targets, progress, Ctrl-C |
//! | `hgrm.rs` | a reader of `.hgrm` files |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod failures;
mod hgrm;
mod outcome;
mod truth;

use harness::{Backend, Program};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How `weir bench` ended, and what it wrote.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    log: String,
}

impl Ended {
    /// What it wrote, as JSON.
    fn page(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The figures of the first target.
    fn figures(&self) -> Value {
        self.page()["targets"][0].clone()
    }
}

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("bench").args(arguments.split_whitespace());
    command
}

/// Runs `weir bench` to its end; arguments are separated by blanks.
fn run(arguments: &str) -> Ended {
    let (status, out, log) = Program::run(&mut command(arguments), Duration::from_secs(60));
    Ended { code: status.code(), out, log }
}

/// Runs it against this backend; without a warm-up, unless the arguments have one.
fn against(backend: &Backend, arguments: &str) -> Ended {
    let warmup = if arguments.contains("--warmup") { "" } else { "--warmup 0s" };
    run(&format!("--target http://{}/ {warmup} {arguments}", backend.address()))
}

/// A folder of its own, gone with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("weir-bench-{}-{number}", std::process::id())))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn read(&self, name: &str) -> String {
        let file = self.0.join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A whole number in a page.
fn number(page: &Value, pointer: &str) -> u64 {
    let value = page.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in {page}"));
    value.as_u64().unwrap_or_else(|| panic!("{pointer} is {value}"))
}
