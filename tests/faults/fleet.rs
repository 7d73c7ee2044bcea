//! Backends as processes, to be killed and stopped as the kernel does it, without a last word.
//!
//! They are this test program again, with one test that serves. They answer tickets rightly and enter POSTs
//! in the test's ledger.

use crate::control::state;
use crate::harness::{Backend, Ledger, Program, Weir, free_port, ticket, wait_until};
use crate::{FOUR_SHARDS, site};
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const TOLD: &str = "WEIR_FAULTS_BACKEND";

/// The fleet behind weir in this pool, all of them checked and up.
pub(crate) fn behind_weir(fleet: &[Server], pool: &str) -> Weir {
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    let weir = Weir::start(&site(FOUR_SHARDS, &entries, pool));
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    weir
}

/// A backend process.
pub(crate) struct Server {
    pub(crate) name: String,
    address: SocketAddr,
    ledger: Ledger,
    /// What an answer takes.
    takes: Duration,
    /// A command that becomes the server when its arguments are added.
    within: Vec<String>,
    program: Option<Program>,
}

impl Server {
    /// Starts one on loopback.
    pub(crate) fn start(name: &str, ledger: &Ledger, takes: Duration) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, free_port()).into(), &[], name, ledger, takes)
    }

    /// Starts one at this address by a command such as `ip netns exec NAME`.
    pub(crate) fn start_at(
        address: SocketAddr,
        within: &[&str],
        name: &str,
        ledger: &Ledger,
        takes: Duration,
    ) -> Self {
        let within = within.iter().map(|word| (*word).to_owned()).collect();
        let (name, ledger) = (name.to_owned(), ledger.clone());
        let mut server = Self { name, address, ledger, takes, within, program: None };
        server.revive();
        server
    }

    /// Three of them, which take a few milliseconds.
    pub(crate) fn three(ledger: &Ledger) -> [Self; 3] {
        ["one", "two", "three"].map(|name| Self::start(name, ledger, Duration::from_millis(3)))
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// As `site` takes it.
    pub(crate) fn entry(&self) -> (&str, String, &str) {
        (&self.name, self.address(), "")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.program.take().unwrap().kill();
    }

    /// Neither runs nor ends any more: the kernel takes connections and bytes for it.
    pub(crate) fn hang(&self) {
        self.program.as_ref().unwrap().signal(Signal::SIGSTOP);
    }

    /// Runs on after `hang`.
    pub(crate) fn go_on(&self) {
        self.program.as_ref().unwrap().signal(Signal::SIGCONT);
    }

    /// A new process at the same address.
    pub(crate) fn revive(&mut self) {
        let own = std::env::current_exe().unwrap();
        let mut command = match self.within.split_first() {
            None => Command::new(own),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(own);
                command
            }
        };
        let (takes, ledger) = (self.takes.as_micros(), self.ledger.path().display());
        command
            .args(["--ignored", "--exact", "fleet::serves_as_a_backend", "--nocapture"])
            .env(TOLD, format!("{} {} {takes} {ledger}", self.address, self.name));
        self.program = Some(Program::spawn(&mut command));
        wait_until("the backend process serves", || {
            TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok()
        });
    }
}

#[test]
#[ignore = "no test: the process that others start as their backend"]
fn serves_as_a_backend() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let mut words = told.split(' ');
    let mut word = || words.next().unwrap();
    let (address, name) = (word().parse().unwrap(), word());
    let takes = Duration::from_micros(word().parse().unwrap());
    let ledger = Ledger::open(word().as_ref());
    let who = name.to_owned();
    let handler = ticket::tickets(name, &ledger, move |ticket, wire| {
        sleep(takes);
        wire.send(ticket::right_answer(&who, ticket))?;
        Ok(crate::harness::Then::KeepAlive)
    });
    let backend = Backend::http_at(address, handler);
    loop {
        sleep(Duration::from_millis(200));
        backend.forget();
    }
}
