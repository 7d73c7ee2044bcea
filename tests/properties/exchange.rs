//! Whole exchanges: the bytes that go up are, to an independent backend, the requests that were accepted,
//! one after the other; those that go down are, to an independent client, their answers.
//!
//! The bytes are a script: 0xFF and `c`, `b`, `C` or `B` begin what the client sends, what the backend
//! sends, the client's end, the backend's close; what comes before the first is the client's. (So 0xFF
//! itself is never sent.) Each script is played as it stands and once more byte by byte, with ids and trace
//! contexts.

use super::chunk_decoder;
use super::meaning::{asked, end_to_end, nominated};
use super::reader::{Body, Framing, Head, STRICT};
use super::relay::{Answered, Event, ID_FIELD, Planted, Relay, Served, Upstream};
use super::{request_head, response_head, shown};

/// The property, for a script.
pub fn holds(script: &[u8]) {
    holds_with(script, None);
}

/// The same, with a fault.
pub fn holds_with(script: &[u8], planted: Option<Planted>) {
    let events = events(script);
    play(&events, planted, false);
    let single: Vec<Event<'_>> = events.iter().flat_map(|event| bytewise(*event)).collect();
    play(&single, planted, true);
}

/// What a script says.
pub fn events(script: &[u8]) -> Vec<Event<'_>> {
    let mut parts = script.split(|&b| b == 0xff);
    let first = parts.next().map(Event::Client);
    let rest = parts.filter_map(|part| {
        let (kind, bytes) = part.split_first()?;
        Some(match kind {
            b'C' => Event::ClientEnds,
            b'B' => Event::BackendEnds,
            b'b' => Event::Backend(bytes),
            b'c' => Event::Client(bytes),
            _ => Event::Client(part),
        })
    });
    first.into_iter().chain(rest).collect()
}

fn bytewise(event: Event<'_>) -> Vec<Event<'_>> {
    match event {
        Event::Client(bytes) => bytes.chunks(1).map(Event::Client).collect(),
        Event::Backend(bytes) => bytes.chunks(1).map(Event::Backend).collect(),
        Event::ClientEnds | Event::BackendEnds => vec![event],
    }
}

/// A message, its body as far as it is there.
#[derive(Debug)]
struct Message {
    head: Head,
    framing: Framing,
    /// `None`: it is malformed.
    body: Option<Body>,
}

impl Message {
    /// Bytes, if it is whole.
    fn len(&self) -> Option<usize> {
        Some(self.head.len + self.body.as_ref()?.len?)
    }
}

/// The next request; `None` if there is no whole head.
fn next_request(bytes: &[u8]) -> Option<Message> {
    let head = STRICT.request(bytes).ok()??;
    let framing = STRICT.request_framing(&head).ok()?;
    let body = STRICT.body(&bytes[head.len..], framing, false).ok();
    Some(Message { head, framing, body })
}

/// The next response, interim or final.
fn next_response(bytes: &[u8], method: &[u8], ended: bool) -> Option<Message> {
    let head = STRICT.response(bytes).ok()??;
    let framing = STRICT.response_framing(&head, method).ok()?;
    let body = STRICT.body(&bytes[head.len..], framing, ended).ok();
    Some(Message { head, framing, body })
}

/// Whether it is one of those before the final one.
fn is_interim(message: &Message) -> bool {
    message.head.line[1][0] == b'1' && message.head.line[1] != b"101"
}

fn play(events: &[Event<'_>], planted: Option<Planted>, marked: bool) {
    let mut relay = Relay::default();
    relay.planted = planted;
    relay.marked = marked;
    let (mut sent, mut ended) = (Vec::new(), false);
    for event in events {
        match event {
            Event::Client(bytes) if !ended => sent.extend_from_slice(bytes),
            Event::ClientEnds => ended = true,
            _ => {}
        }
        relay.event(*event);
    }
    let context = || {
        let ups: Vec<String> = relay.upstreams.iter().map(|up| shown(&up.sent)).collect();
        format!("{events:?}\n up {ups:#?}\n down {}\n {:?}", shown(&relay.down), relay.served)
    };
    let requests = asked_for(&sent, &relay.served, &context);
    check_up(&relay, &sent, &requests, &context);
    check_down(&relay, &requests, ended, &context);
}

/// What the client asked for, as an independent reader has it: a message for each request that was served.
/// What was refused at once is none, perhaps.
fn asked_for(sent: &[u8], served: &[Served], context: &dyn Fn() -> String) -> Vec<Option<(usize, Message)>> {
    let mut at = Some(0);
    let mut requests = Vec::new();
    for one in served {
        let from = at.unwrap_or_else(|| panic!("a request where none begins: {}", context()));
        let message = next_request(&sent[from..]);
        assert!(message.is_some() || one.upstream.is_none(), "no request to the strict: {}", context());
        at = message.as_ref().and_then(Message::len).map(|len| from + len);
        requests.push(message.map(|message| (from, message)));
    }
    requests
}

/// The backend reads just those requests.
fn check_up(relay: &Relay, sent: &[u8], requests: &[Option<(usize, Message)>], context: &dyn Fn() -> String) {
    let went_up = relay.served.iter().zip(requests).filter(|(served, _)| served.upstream.is_some());
    let mut went_up = went_up.map(|(served, request)| (served.upstream, request));
    for (number, upstream) in relay.upstreams.iter().enumerate() {
        let end = upstream.raw_from.unwrap_or(upstream.sent.len());
        let mut at = 0;
        while at < end {
            let after = next_request(&upstream.sent[at..end]);
            let after = after.unwrap_or_else(|| panic!("no request at {at} of {number}: {}", context()));
            let Some((Some(place), Some((from, before)))) = went_up.next() else {
                panic!("a request that nobody made at {at} of {number}: {}", context())
            };
            assert_eq!(place, number, "{}", context());
            if relay.marked {
                assert_marked(&after, context);
            }
            assert_same_request(before, &after, relay.marked, context);
            request_head::read_by_all(&upstream.sent[at..at + after.head.len]);
            if after.framing == Framing::Chunked {
                chunk_decoder::read_by_all(&upstream.sent[at + after.head.len..end]);
            }
            match after.len() {
                Some(len) => at += len,
                // It may be the last on its connection, and then nothing more is.
                None => at = end,
            }
            if upstream.raw_from.is_some() && at == end {
                let raw = from + before.len().unwrap_or_default();
                assert!(sent[raw..].starts_with(&upstream.sent[end..]), "{}", context());
            }
        }
    }
    assert!(went_up.next().is_none(), "a request did not go up: {}", context());
}

/// One id goes up and one trace context, and nothing that may be taken for either.
fn assert_marked(after: &Message, context: &dyn Fn() -> String) {
    let marks = after.head.fields.iter().filter(|(name, _)| is_mark(name));
    let names: Vec<&[u8]> = marks.map(|(name, _)| name.as_slice()).collect();
    // What came of it: the context of a client is continued.
    let ours: Vec<&[u8]> =
        names.into_iter().filter(|name| !name.eq_ignore_ascii_case(b"tracestate")).collect();
    assert_eq!(ours, [ID_FIELD.as_bytes(), b"traceparent"], "{}", context());
}

/// The answer has the id of its request, and no other.
fn assert_named(after: &Message, served: &Served, context: &dyn Fn() -> String) {
    let is_id = |name: &[u8]| name.eq_ignore_ascii_case(ID_FIELD.as_bytes());
    let ids: Vec<_> = after.head.fields.iter().filter(|(name, _)| is_id(name)).collect();
    let [(name, id)] = ids.as_slice() else { panic!("{} ids: {}", ids.len(), context()) };
    let line = [name.as_slice(), b": ", id, b"\r\n"].concat();
    assert_eq!(line, served.id_line, "{}", context());
}

/// Whether a field of this name is weir's where requests are marked.
fn is_mark(name: &[u8]) -> bool {
    let alike = |b: &u8| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' };
    let name: Vec<u8> = name.iter().map(alike).collect();
    [b"x-request-id".as_slice(), b"traceparent", b"tracestate"].contains(&name.as_slice())
}

fn assert_same_request(before: &Message, after: &Message, marked: bool, context: &dyn Fn() -> String) {
    assert_eq!(before.head.line[0], after.head.line[0], "{}", context());
    assert_eq!(asked(&before.head), asked(&after.head), "{}", context());
    assert_same_fields(before, after, marked, context);
    assert_eq!(before.framing, after.framing, "{}", context());
    let Some(after) = &after.body else { panic!("a body that is none went up: {}", context()) };
    match &before.body {
        Some(before) if after.len.is_some() => {
            assert_eq!(
                (&before.payload, &before.trailers),
                (&after.payload, &after.trailers),
                "{}",
                context()
            );
            assert!(before.len.is_some(), "whole above, not below: {}", context());
        }
        Some(before) => assert!(before.payload.starts_with(&after.payload), "{}", context()),
        None => assert!(after.len.is_none(), "a malformed body is whole above: {}", context()),
    }
}

/// The client reads just their answers.
fn check_down(
    relay: &Relay,
    requests: &[Option<(usize, Message)>],
    client_ended: bool,
    context: &dyn Fn() -> String,
) {
    let closed = relay.is_closed() && !relay.reset;
    let heard = vec![0; relay.upstreams.len()];
    let mut client = Client { relay, closed, context, at: 0, heard };
    for (number, (served, request)) in relay.served.iter().zip(requests).enumerate() {
        let last = number + 1 == relay.served.len();
        let Some(after) = client.hear(served, request.as_ref().map(|(_, request)| request)) else {
            assert!(last, "another behind what is no whole answer: {}", context());
            return;
        };
        let says_close = nominated(&after.head.fields).iter().any(|option| option == "close");
        assert!(!(says_close || after.framing == Framing::UntilClose) || last, "{}", context());
        let went_on = !relay.is_closed() || client_ended || !last || served.cut;
        assert!(went_on || says_close, "closed without a word: {}", context());
        match after.len() {
            Some(len) => client.at += len,
            None => return assert!(last, "another behind a part: {}", context()),
        }
    }
    assert_eq!(client.at, relay.down.len(), "bytes behind the answers went down: {}", context());
}

/// An independent client, reading what went down.
struct Client<'a> {
    relay: &'a Relay,
    /// The connection was closed in peace.
    closed: bool,
    context: &'a dyn Fn() -> String,
    /// How far it has read.
    at: usize,
    /// How far each backend's connection has been compared.
    heard: Vec<usize>,
}

impl Client<'_> {
    /// Reads the answer to the next request. `None`: it is the last thing that is there, and has been
    /// compared to its end: a tunnel, or nothing.
    fn hear(&mut self, served: &Served, request: Option<&Message>) -> Option<Message> {
        let (relay, context) = (self.relay, self.context);
        let method = request.map_or_else(|| refused_method(relay), |request| request.head.line[0].clone());
        let old = request.is_some_and(|request| request.head.line[2] == b"HTTP/1.0");
        let got = self.hear_interims(served, &method, old);
        if served.answered == Answered::Nobody {
            assert_eq!(self.at, relay.down.len(), "{}", context());
            return None;
        }
        let after = next_response(&relay.down[self.at..], &method, self.closed);
        let after = after.unwrap_or_else(|| panic!("no response at {}: {}", self.at, context()));
        response_head::read_by_all(&relay.down[self.at..self.at + after.head.len], &method);
        let rest = &relay.down[self.at + after.head.len..];
        if after.framing == Framing::Chunked {
            chunk_decoder::read_by_all(rest);
        }
        match (served.answered, served.upstream) {
            (Answered::Weir(status), _) => {
                assert_eq!(after.head.line[1], status.to_string().as_bytes(), "{}", context());
                assert!(after.len().is_some(), "{}", context());
            }
            (Answered::Backend, Some(place)) => {
                let upstream = &relay.upstreams[place];
                let before = next_response(&upstream.got[got..], &method, upstream.ended);
                let before = before.unwrap_or_else(|| panic!("a response of nobody's: {}", context()));
                assert_same_response(&before, &after, relay.marked, context);
                if relay.marked {
                    assert_named(&after, served, context);
                }
                if after.head.line[1] == b"101" {
                    assert_eq!(rest, &upstream.got[got + before.head.len..], "{}", context());
                    return None;
                }
                assert_same_body(&before, &after, served.cut, context);
                self.heard[place] = got + before.len().unwrap_or_default();
            }
            (Answered::Nobody | Answered::Backend, _) => panic!("an answer out of nowhere: {}", context()),
        }
        Some(after)
    }

    /// Reads interim responses, and says where in what the backend sent the final one begins. All have gone
    /// down if that has; to HTTP/1.0 none.
    fn hear_interims(&mut self, served: &Served, method: &[u8], old: bool) -> usize {
        let (relay, context) = (self.relay, self.context);
        let (sent, got) = match served.upstream {
            Some(place) => interims(&relay.upstreams[place], self.heard[place], method),
            None => (vec![], 0),
        };
        let mut sent_before = sent.iter();
        while let Some(after) = next_response(&relay.down[self.at..], method, self.closed).filter(is_interim)
        {
            let before =
                sent_before.next().unwrap_or_else(|| panic!("an interim of nobody's: {}", context()));
            assert!(!old, "an interim to HTTP/1.0: {}", context());
            assert_same_response(before, &after, relay.marked, context);
            response_head::read_by_all(&relay.down[self.at..self.at + after.head.len], method);
            self.at += after.head.len;
        }
        let all = served.answered != Answered::Backend || old || sent_before.next().is_none();
        assert!(all, "an interim did not go down: {}", context());
        got
    }
}

/// The method of a request that was refused and is none to the strict: HEAD is known by its first bytes.
fn refused_method(relay: &Relay) -> Vec<u8> {
    if relay.unread().trim_ascii_start().starts_with(b"HEAD ") { b"HEAD".to_vec() } else { b"GET".to_vec() }
}

/// The interim responses at `at` of what a backend sent, and where the next one begins.
fn interims(upstream: &Upstream, mut at: usize, method: &[u8]) -> (Vec<Message>, usize) {
    let mut found = Vec::new();
    while let Some(message) = next_response(&upstream.got[at..], method, upstream.ended).filter(is_interim) {
        at += message.head.len;
        found.push(message);
    }
    (found, at)
}

fn assert_same_response(before: &Message, after: &Message, marked: bool, context: &dyn Fn() -> String) {
    assert_eq!(before.head.line[1..], after.head.line[1..], "{}", context());
    assert_same_fields(before, after, marked, context);
}

/// What passes from end to end has passed; weir's own marks are left out.
fn assert_same_fields(before: &Message, after: &Message, marked: bool, context: &dyn Fn() -> String) {
    let for_us = nominated(&before.head.fields);
    let passed = |message: &Message| {
        let mut fields = end_to_end(&message.head.fields, &for_us);
        fields.retain(|(name, _)| !(marked && is_mark(name)));
        fields
    };
    assert_eq!(passed(before), passed(after), "{}", context());
}

/// The client gets the backend's body, or knows that it did not.
fn assert_same_body(before: &Message, after: &Message, cut: bool, context: &dyn Fn() -> String) {
    let Some(after_body) = &after.body else { panic!("a body that is none went down: {}", context()) };
    let Some(before_body) = &before.body else {
        assert!(after_body.len.is_none(), "a malformed body went down as a whole one: {}", context());
        return;
    };
    assert!(before_body.payload.starts_with(&after_body.payload), "{}", context());
    if before_body.len.is_some() && !cut {
        assert_eq!(before_body.payload, after_body.payload, "{}", context());
        assert!(after_body.len.is_some() || after.framing == Framing::UntilClose, "{}", context());
        if (before.framing, after.framing) == (Framing::Chunked, Framing::Chunked) {
            assert_eq!(before_body.trailers, after_body.trailers, "{}", context());
        }
    }
    if before_body.len.is_none() {
        assert!(after_body.len.is_none(), "a part went down as a whole: {}", context());
    }
}
