//! The demo's three backends and their switchboard: kill one, revive it, see which live.
//!
//! Two ways to the same switch: a small HTTP address, for curl and scripts, and a number and Enter
//! where a person sits at the terminal. Here: what is answered. Not here: how (`server.rs`).

use super::say;
use super::server::{Reply, Request, Server};
use std::fmt::Write as _;
use std::io::{self, BufRead};
use std::sync::Arc;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// A backend that answers with its name.
pub(super) struct Backend {
    pub(super) name: &'static str,
    pub(super) server: Server,
}

impl Backend {
    fn start(name: &'static str, port: u16) -> io::Result<Self> {
        let answer = move |request: &Request| match request.target.as_str() {
            "/health" => Reply::ok("ok\n"),
            _ => Reply::ok(format!("Hello from backend {name}.\n")),
        };
        Ok(Self { name, server: Server::start(port, answer)? })
    }

    /// Kills it or revives it, and says what came of it.
    fn switch(&self, to: Switch) -> String {
        let (name, address) = (self.name, self.server.address());
        if to == Switch::Off || to == Switch::Over && self.server.alive() {
            self.server.kill();
            return format!("Backend {name} is killed: {address} refuses connections.");
        }
        match self.server.revive() {
            Ok(()) => format!("Backend {name} is alive: {address} answers."),
            Err(error) => format!("Backend {name} stays killed: {address} cannot be bound again: {error}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Switch {
    On,
    Off,
    /// To the other of the two.
    Over,
}

/// The three, in the order of their numbers.
#[derive(Clone)]
pub(super) struct Backends(Arc<Vec<Backend>>);

impl Backends {
    /// On `ports`, as far as nobody else has them.
    ///
    /// # Errors
    /// When no port can be bound, or no thread started.
    pub(super) fn start(ports: [u16; 3]) -> io::Result<Self> {
        let backends = NAMES.into_iter().zip(ports).map(|(name, port)| Backend::start(name, port));
        Ok(Self(Arc::new(backends.collect::<io::Result<_>>()?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.0.iter()
    }

    /// The switchboard's HTTP side, on `port` if nobody else has it.
    ///
    /// # Errors
    /// When no port can be bound, or no thread started.
    pub(super) fn switchboard(&self, port: u16) -> io::Result<Server> {
        let backends = self.clone();
        Server::start(port, move |request| backends.command(request))
    }

    /// Switches over whose number is typed, until the input ends.
    pub(super) fn obey(&self, lines: impl BufRead) {
        for line in lines.lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            match self.find(line.trim()) {
                Some(backend) => say(backend.switch(Switch::Over)),
                None => say(format_args!("Type the number of a backend, 1 to {}, and Enter.", self.0.len())),
            }
        }
    }

    /// By name, or by number from 1.
    fn find(&self, key: &str) -> Option<&Backend> {
        (1..).zip(self.iter()).find(|(n, b): &(u32, _)| b.name == key || n.to_string() == key).map(|(_, b)| b)
    }

    fn command(&self, request: &Request) -> Reply {
        let (verb, key) = request.target.trim_start_matches('/').split_once('/').unwrap_or_default();
        let switch = match (request.method.as_str(), verb) {
            ("POST", "kill") => Switch::Off,
            ("POST", "revive") => Switch::On,
            _ => return Reply::ok(self.states()),
        };
        let unknown =
            || Reply { status: 404, body: format!("There is no backend {key:?}.\n{}", self.states()) };
        self.find(key).map_or_else(unknown, |backend| {
            let outcome = backend.switch(switch);
            say(&outcome); // who watches the terminal sees it too
            Reply::ok(outcome + "\n")
        })
    }

    fn states(&self) -> String {
        let mut out = String::from("POST /kill/NAME or /revive/NAME.\n");
        for Backend { name, server } in self.iter() {
            let state = if server.alive() { "alive" } else { "killed" };
            let _ = writeln!(out, "{name} {} {state}", server.address()); // into a String: cannot fail
        }
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpStream};

    fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn alive(backends: &Backends) -> Vec<bool> {
        backends.iter().map(|backend| backend.server.alive()).collect()
    }

    #[test]
    fn each_answers_with_its_name_and_passes_its_check() {
        for backend in Backends::start([0; 3]).unwrap().iter() {
            let answer = ask(backend.server.address(), "GET /some/page");
            assert!(answer.ends_with(&format!("Hello from backend {}.\n", backend.name)), "{answer}");
            assert!(ask(backend.server.address(), "GET /health").ends_with("\r\n\r\nok\n"));
        }
    }

    #[test]
    fn the_switchboard_kills_and_revives_by_name_and_refuses_what_it_does_not_know() {
        let backends = Backends::start([0; 3]).unwrap();
        let switchboard = backends.switchboard(0).unwrap();
        for (line, answer, states) in [
            ("POST /kill/two", "two is killed", [true, false, true]),
            ("POST /kill/two", "two is killed", [true, false, true]),
            ("GET /kill/one", "killed\nthree", [true, false, true]),
            ("POST /kill/four", "404", [true, false, true]),
            ("POST /revive/two", "two is alive", [true, true, true]),
            ("POST /revive/two", "two is alive", [true, true, true]),
        ] {
            let said = ask(switchboard.address(), line);
            assert!(said.contains(answer), "{line}: {said}");
            assert_eq!(alive(&backends), states, "{line}");
        }
    }

    #[test]
    fn a_typed_number_switches_over_and_anything_else_does_nothing() {
        let backends = Backends::start([0; 3]).unwrap();
        backends.obey("1\n\n3\n7\nx\n".as_bytes());
        assert_eq!(alive(&backends), [false, true, false]);
        backends.obey(" 1 \n".as_bytes());
        assert_eq!(alive(&backends), [true, true, false]);
    }
}
