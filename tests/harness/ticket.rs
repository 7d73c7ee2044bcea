//! A request that there is only once, and the one answer that is right for it.
//!
//! The number stands in the path and in the answer's body, so an answer that belongs to another request, is
//! mixed of two, or has lost a byte is not taken for a right one. Backends that answer by it enter each POST
//! that they run in a ledger, a file that several processes can write and that outlives them.

use super::backend::{Handler, Received, Then};
use super::wire::Wire;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The field by which a backend says who it is. weir's own answers have none.
pub const WHO: &str = "X-Backend";

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub id: u64,
    pub post: bool,
    /// Bytes of the answer's body.
    pub size: usize,
}

impl Ticket {
    /// The bytes to send. `last`: no other request follows on this connection.
    pub fn request(&self, last: bool) -> Vec<u8> {
        let Self { id, post, size } = self;
        let close = if last { "Connection: close\r\n" } else { "" };
        let body = self.request_body();
        let (method, length) = if *post {
            ("POST", format!("Content-Length: {}\r\n", body.len()))
        } else {
            ("GET", String::new())
        };
        format!("{method} /ticket/{id}/{size} HTTP/1.1\r\nHost: test\r\n{close}{length}\r\n{body}")
            .into_bytes()
    }

    fn request_body(&self) -> String {
        if self.post { pattern(self.id.wrapping_mul(31), 120) } else { String::new() }
    }

    /// The body of the answer.
    pub fn answer(&self) -> String {
        let mut body = format!("{} {}\n", self.id, if self.post { "POST" } else { "GET" });
        body.push_str(&pattern(self.id, self.size.saturating_sub(body.len())));
        body
    }

    /// What a request that a backend received asks for; `None` if it is none of these, or its body is not
    /// what was sent.
    pub fn of(received: &Received) -> Option<Self> {
        let line = received.line();
        let mut words = line.split(' ');
        let post = words.next()? == "POST";
        let mut path = words.next()?.strip_prefix("/ticket/")?.split('/');
        let ticket = Self { id: path.next()?.parse().ok()?, post, size: path.next()?.parse().ok()? };
        (received.body.data == ticket.request_body().as_bytes()).then_some(ticket)
    }
}

/// Text that is another for each seed, so that one answer's bytes cannot stand in another's place.
fn pattern(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(length + 8);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x}", state >> 32));
    }
    text.truncate(length);
    text
}

/// The POSTs that backends ran.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Book>);

#[derive(Debug)]
struct Book {
    path: PathBuf,
    file: File,
    temporary: bool,
}

impl Drop for Book {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Ledger {
    /// Opens one that another process has begun.
    pub fn open(path: &Path) -> Self {
        Self::at(path, false)
    }

    /// Begins one that goes with its last owner in this process.
    pub fn temporary(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        Self::at(path, true)
    }

    fn at(path: &Path, temporary: bool) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        Self(Arc::new(Book { path: path.to_owned(), file, temporary }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Enters a POST that is run.
    pub fn enter(&self, ticket: Ticket) {
        if ticket.post {
            // One write, at the end: lines of several processes do not mix.
            (&self.0.file).write_all(format!("{}\n", ticket.id).as_bytes()).unwrap();
        }
    }

    /// How often each POST was run.
    pub fn runs(&self) -> BTreeMap<u64, usize> {
        let mut runs = BTreeMap::new();
        for line in std::fs::read_to_string(&self.0.path).unwrap().lines() {
            *runs.entry(line.parse().unwrap()).or_default() += 1;
        }
        runs
    }
}

/// The right answer to a ticket, whole.
pub fn right_answer(who: &str, ticket: Ticket) -> Vec<u8> {
    answer_with(who, "200 OK", &ticket.answer())
}

/// An answer with this status and body.
pub fn answer_with(who: &str, status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{WHO}: {who}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Hands each ticket to `answer`, once it is in the ledger. What is no ticket (a health check) gets an empty
/// 200.
pub fn tickets(
    who: &str,
    ledger: &Ledger,
    answer: impl Fn(Ticket, &mut Wire) -> io::Result<Then> + Send + Sync + 'static,
) -> Handler {
    let (who, ledger) = (who.to_owned(), ledger.clone());
    Arc::new(move |received: &Received, wire: &mut Wire| {
        let Some(ticket) = Ticket::of(received) else {
            let (status, body) = if received.line().contains("/ticket/") {
                ("400 Not As Sent", "mangled")
            } else {
                ("200 OK", "")
            };
            wire.send(answer_with(&who, status, body))?;
            return Ok(Then::KeepAlive);
        };
        ledger.enter(ticket);
        answer(ticket, wire)
    })
}

/// Answers each ticket rightly.
pub fn honest(who: &str, ledger: &Ledger) -> Handler {
    let name = who.to_owned();
    tickets(who, ledger, move |ticket, wire| {
        wire.send(right_answer(&name, ticket))?;
        Ok(Then::KeepAlive)
    })
}
