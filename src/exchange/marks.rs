//! What a request is marked with on its way up: its id, and its trace context.
//!
//! Either is taken from the client's head or made anew, and stands in the head that goes up once, whatever
//! came: so all attempts of an exchange carry the same. Who is believed: a trusted proxy, whose id is kept
//! and whose trace says by itself whether it is sampled. Of anybody else an id is dropped, and a trace goes
//! on under its own number, but is sampled by weir's share alone. Not here: formats (`trace`), and where the
//! marks are kept until the answer goes down (`proxy`). Called by `upward.rs`, and by `proxy` for requests
//! that cannot be read.

use crate::http1::Fields;
use crate::trace::{Context, Dice, Mint, Parent, Share, is_id};

/// What a listener's requests are marked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkRules<'a> {
    /// The name of the field with the request's id; `None`: none has one from weir.
    pub id_field: Option<&'a str>,
    /// Each request is a step of a trace, and this is the share that is sampled of those that no trusted
    /// proxy decides for; `None`: trace contexts pass as they are.
    pub sample: Option<Share>,
    /// The time, for ids that are made.
    pub unix_ms: u64,
    /// The fields that tell backends whose certificate a client has, at whatever listener: no client says so itself.
    pub subject_fields: &'a [String],
    /// The one of them that says it here, and the subject, if the client has shown a certificate and it was verified.
    pub subject: Option<(&'a str, &'a str)>,
}

impl MarkRules<'_> {
    /// The fields that are weir's alone.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let traces = self.sample.map(|_| b"traceparent".as_slice());
        let subjects = self.subject_fields.iter().map(String::as_bytes);
        self.id_field.map(str::as_bytes).into_iter().chain(traces).chain(subjects)
    }
}

/// What one request has been marked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks<'a> {
    /// The field line with its id, `Name: value CRLF`; empty: there is none.
    pub id_line: &'a [u8],
    /// weir's step of its trace.
    pub context: Option<Context>,
}

/// Marks requests, one after the other.
#[derive(Debug)]
pub struct Marker {
    dice: Dice,
    mint: Mint,
    /// The lines that the last request got; memory that is used again.
    lines: Vec<u8>,
    /// Of these, the one with its id.
    id_len: usize,
    context: Option<Context>,
}

impl Marker {
    /// `seed`: of all that is made up; no two may have the same.
    pub fn new(seed: [u64; 4]) -> Self {
        Self { dice: Dice::new(seed), mint: Mint::default(), lines: Vec::new(), id_len: 0, context: None }
    }

    /// Marks the request whose head `fields` was read from; what came of these marks is taken out of it.
    /// `trusted`: it is from a trusted proxy.
    #[inline]
    pub(super) fn mark(&mut self, bytes: &[u8], fields: &mut Fields, trusted: bool, rules: &MarkRules<'_>) {
        self.clear();
        if let Some(name) = rules.id_field {
            let given = fields.take_out(bytes, name.as_bytes());
            self.name(name, given.filter(|id| trusted && is_id(id)), rules);
        }
        if let Some(share) = rules.sample {
            let parent = fields.take_out(bytes, b"traceparent").and_then(Parent::read);
            if parent.is_none() {
                fields.take_out(bytes, b"tracestate");
            }
            let context = Context::after(parent.as_ref(), trusted, share, &mut self.dice);
            for part in [b"traceparent: ".as_slice(), &context.text(), b"\r\n"] {
                self.lines.extend_from_slice(part);
            }
            self.context = Some(context);
        }
        for name in rules.subject_fields {
            // Whoever sends it, a trusted proxy too: it says what this connection's handshake has shown.
            fields.take_out(bytes, name.as_bytes());
        }
        if let Some((name, subject)) = rules.subject {
            for part in [name, ": ", subject, "\r\n"] {
                self.lines.extend_from_slice(part.as_bytes());
            }
        }
    }

    /// Marks a request whose head cannot be read: weir's answer gets an id, and of a trace nothing is known.
    pub fn mark_unread(&mut self, rules: &MarkRules<'_>) {
        self.clear();
        if let Some(name) = rules.id_field {
            self.name(name, None, rules);
        }
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.id_len = 0;
        self.context = None;
    }

    fn name(&mut self, name: &str, given: Option<&[u8]>, rules: &MarkRules<'_>) {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        match given {
            Some(id) => self.lines.extend_from_slice(id),
            None => {
                let made = self.mint.make(rules.unix_ms, &mut self.dice);
                self.lines.extend_from_slice(&made.text());
            }
        }
        self.lines.extend_from_slice(b"\r\n");
        self.id_len = self.lines.len();
    }

    /// The field lines that go up.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// What the last request has been marked with.
    pub fn marks(&self) -> Marks<'_> {
        Marks { id_line: &self.lines[..self.id_len], context: self.context }
    }
}

/// The name in a field line with an id.
pub(super) fn name_in(id_line: &[u8]) -> &[u8] {
    &id_line[..memchr::memchr(b':', id_line).unwrap_or(0)]
}
