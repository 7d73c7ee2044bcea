//! A backend that is a process of its own, to be killed as the kernel kills: without a last word on its
//! connections.
//!
//! It is this test program again, with one test that serves. So it needs nothing that a machine may lack.

use crate::harness::{Backend, Program, answers, free_port, wait_until};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

const NAME: &str = "WEIR_TEST_BACKEND";

/// A backend process, which answers every request with its name.
pub(crate) struct ProcessBackend {
    name: String,
    port: u16,
    program: Option<Program>,
}

impl ProcessBackend {
    pub(crate) fn start(name: &str) -> Self {
        let mut backend = Self { name: name.to_owned(), port: free_port(), program: None };
        backend.revive();
        backend
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.program.take().unwrap().kill();
    }

    /// A new process on the same address.
    pub(crate) fn revive(&mut self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "process::serves_as_a_backend", "--nocapture"])
            .env(NAME, format!("{} {}", self.port, self.name));
        self.program = Some(Program::spawn(&mut command));
        wait_until("the backend process serves", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
    }
}

#[test]
#[ignore = "no test: the process that others start as their backend"]
fn serves_as_a_backend() {
    let Ok(told) = std::env::var(NAME) else { return };
    let (port, name) = told.split_once(' ').unwrap();
    let backend = Backend::http_at((Ipv4Addr::LOCALHOST, port.parse().unwrap()).into(), answers::text(name));
    loop {
        std::thread::sleep(std::time::Duration::from_millis(200));
        backend.forget();
    }
}
