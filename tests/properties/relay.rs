//! The proxy without sockets: events in, bytes up and down out.
//!
//! What production decides is decided here by production's own functions (`weir::exchange`); this is the
//! shell around them, `weir::proxy` without its ring, its clock and its second attempts. One client
//! connection, one backend, connections to it as they are needed.

use std::fmt;
use weir::config::Forwarded;
use weir::exchange::{
    BadBody, BadRequest, Downward, FinalHead, MarkRules, Marker, RequestFacts, RequestLeft, RequestRules,
    ResponseLeft, is_head, take_request, take_response,
};
use weir::http1::{AnswerHead, Fields, Method, RequestRewrite, write_answer_head};
use weir::route::Router;
use weir::trace::Share;

/// The field that names requests, where they are marked.
pub const ID_FIELD: &str = "X-Request-Id";

/// Bytes of a request's payload.
const MAX_BODY: u64 = 1000;

/// What happens on a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes from the client.
    Client(&'a [u8]),
    /// It sends no more.
    ClientEnds,
    /// Bytes from the backend, on the connection in use.
    Backend(&'a [u8]),
    /// It closes that connection.
    BackendEnds,
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(bytes) => write!(f, "Client({})", bytes.escape_ascii()),
            Self::ClientEnds => write!(f, "ClientEnds"),
            Self::Backend(bytes) => write!(f, "Backend({})", bytes.escape_ascii()),
            Self::BackendEnds => write!(f, "BackendEnds"),
        }
    }
}

/// A connection to the backend.
#[derive(Debug, Default)]
pub struct Upstream {
    /// What went up.
    pub sent: Vec<u8>,
    /// Where in that a tunnel begins.
    pub raw_from: Option<usize>,
    /// What came, as long as anybody waited for it.
    pub got: Vec<u8>,
    /// The backend closed.
    pub ended: bool,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nobody yet.
    Nobody,
    /// The backend; its final head has gone down.
    Backend,
    /// weir, with this status.
    Weir(u16),
}

/// A fault of the relay's, planted to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A connection is used again though bytes came behind its response.
    UsesItAgain,
    /// What follows a request's body goes up with it.
    PassesWhatFollows,
    /// What follows a refused body is read as the next request.
    ReadsOn,
    /// A client that takes the close for the end is not told that the answer broke off.
    JustCloses,
    /// What comes behind a response goes down with it.
    PassesWhatIsBehind,
}

/// A request, and what became of it.
#[derive(Debug)]
pub struct Served {
    /// Where it went up, as an index into `upstreams`; `None`: nowhere.
    pub upstream: Option<usize>,
    pub answered: Answered,
    /// Its answer broke off, or the client was given up.
    pub cut: bool,
    /// The field line that names it; empty, if requests are not marked.
    pub id_line: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Exchange(Exchange),
    Tunnel(usize),
    Closed,
}

#[derive(Debug)]
struct Exchange {
    upstream: usize,
    facts: RequestFacts,
    body: RequestLeft,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// Its head is not whole; so much of it is there.
    Awaited {
        buffer: Vec<u8>,
        interims: u8,
    },
    Body {
        left: ResponseLeft,
        close: bool,
        pool: bool,
    },
}

/// One client's connection.
pub struct Relay {
    pub upstreams: Vec<Upstream>,
    /// What went down.
    pub down: Vec<u8>,
    pub served: Vec<Served>,
    /// The client's connection was reset: what it got is no whole answer.
    pub reset: bool,
    pub planted: Option<Planted>,
    /// Requests get ids and are steps of traces.
    pub marked: bool,
    marker: Marker,
    /// Unread bytes of the client.
    client: Vec<u8>,
    client_ended: bool,
    idle: Option<usize>,
    state: State,
    fields: Fields,
    router: Router,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            down: Vec::new(),
            served: Vec::new(),
            reset: false,
            planted: None,
            marked: false,
            marker: Marker::new([1, 2, 3, 4]),
            client: Vec::new(),
            client_ended: false,
            idle: None,
            state: State::Waiting,
            fields: Fields::default(),
            router: Router::from_routes([], Some(0)),
        }
    }
}

impl Relay {
    /// The client's connection is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The client's bytes that nobody has read.
    pub fn unread(&self) -> &[u8] {
        &self.client
    }

    /// Something happens.
    pub fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Client(bytes) if !self.client_ended => self.client_sent(bytes),
            Event::ClientEnds => self.client_ends(),
            Event::Backend(bytes) => self.backend_sent(bytes),
            Event::BackendEnds => self.backend_ends(),
            Event::Client(_) => {}
        }
    }

    fn client_sent(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Closed => {}
            State::Tunnel(upstream) => self.upstreams[*upstream].sent.extend_from_slice(bytes),
            State::Waiting => {
                self.client.extend_from_slice(bytes);
                self.next_request();
            }
            State::Exchange(exchange) => match exchange.body.take(bytes, MAX_BODY) {
                Ok(taken) => {
                    let sent = &mut self.upstreams[exchange.upstream].sent;
                    sent.extend_from_slice(taken.goes_on(bytes));
                    if self.planted == Some(Planted::PassesWhatFollows) {
                        sent.extend_from_slice(&bytes[taken.count..]);
                    } else {
                        self.client.extend_from_slice(&bytes[taken.count..]);
                    }
                }
                Err(bad) if matches!(exchange.answer, Answer::Awaited { .. }) => {
                    let head_only = exchange.facts.method == Method::Head;
                    let reads_on = self.planted == Some(Planted::ReadsOn);
                    if reads_on {
                        self.client.extend_from_slice(bytes);
                    }
                    self.answer(body_status(&bad), !reads_on, head_only);
                }
                Err(_) => self.give_up(),
            },
        }
    }

    fn next_request(&mut self) {
        let Self { client, fields, router, marker, marked, .. } = self;
        let rewrite = RequestRewrite {
            forwarded: Forwarded::Replace,
            trusted: false,
            peer: Some(b"192.0.2.17"),
            client: Some(b"192.0.2.17"),
            via: None,
            proto: b"http",
            upgrade: false,
            added: b"",
        };
        let sample = marked.then(|| Share::of(0.5));
        let unix_ms = 1_700_000_000_000;
        let marks = MarkRules {
            id_field: marked.then_some(ID_FIELD),
            sample,
            unix_ms,
            subject_fields: &[],
            subject: None,
        };
        let rules = RequestRules {
            limits: &super::LIMITS,
            router,
            max_body: MAX_BODY,
            believed: None,
            rewrite,
            marks,
        };
        let mut out = Vec::new();
        match take_request(client, &rules, marker, fields, &mut out) {
            _ if client.is_empty() => {}
            Ok(None) => {}
            Ok(Some(upward)) => {
                client.drain(..upward.len);
                let upstream = self.idle.take().unwrap_or_else(|| {
                    self.upstreams.push(Upstream::default());
                    self.upstreams.len() - 1
                });
                self.upstreams[upstream].sent.extend_from_slice(&out);
                let id_line = marker.marks().id_line.to_vec();
                let answered = Answered::Nobody;
                self.served.push(Served { upstream: Some(upstream), answered, cut: false, id_line });
                let (facts, body) = (upward.facts, upward.body);
                self.state = State::Exchange(Exchange {
                    upstream,
                    facts,
                    body,
                    answer: Answer::Awaited { buffer: Vec::new(), interims: 0 },
                });
            }
            Err(bad) => {
                let head_only = is_head(client);
                let answered = Answered::Nobody;
                self.served.push(Served { upstream: None, answered, cut: false, id_line: Vec::new() });
                match bad {
                    BadRequest::LastHop { status } => self.answer_with(status, &out),
                    _ => self.answer(request_status(&bad), true, head_only),
                }
            }
        }
    }

    /// weir answers by itself.
    fn answer(&mut self, status: u16, close: bool, head_only: bool) {
        const BODY: &[u8] = b"no\n";
        let head = AnswerHead {
            status,
            content_type: "text/plain",
            body_len: BODY.len(),
            proxy_status: None,
            close,
        };
        write_answer_head(&head, &mut self.down);
        self.down.extend_from_slice(if head_only { b"" } else { BODY });
        self.answered_by_weir(status, close);
    }

    /// weir answers with these bytes, and closes.
    fn answer_with(&mut self, status: u16, answer: &[u8]) {
        self.down.extend_from_slice(answer);
        self.answered_by_weir(status, true);
    }

    fn answered_by_weir(&mut self, status: u16, close: bool) {
        if let Some(served) = self.served.last_mut() {
            served.answered = Answered::Weir(status);
        }
        self.go_on(close);
    }

    fn go_on(&mut self, close: bool) {
        if close || self.client_ended && self.client.is_empty() {
            self.state = State::Closed;
        } else {
            self.state = State::Waiting;
            self.next_request();
        }
    }

    /// The answer breaks off.
    fn give_up(&mut self) {
        let by_close = match &self.state {
            State::Exchange(Exchange { answer: Answer::Body { left, .. }, .. }) => left.ends_by_close(),
            _ => false,
        };
        self.breaks_off(by_close);
    }

    /// A client that would take the close for the answer's end is reset.
    fn breaks_off(&mut self, by_close: bool) {
        self.reset = by_close && self.planted != Some(Planted::JustCloses);
        if let Some(served) = self.served.last_mut() {
            served.cut = true;
        }
        self.state = State::Closed;
    }

    fn client_ends(&mut self) {
        self.client_ended = true;
        match &self.state {
            State::Waiting => self.state = State::Closed,
            State::Exchange(exchange) if !exchange.body.is_done() => self.give_up(),
            State::Exchange(_) | State::Tunnel(_) | State::Closed => {}
        }
    }

    fn backend_sent(&mut self, bytes: &[u8]) {
        match &mut self.state {
            // Unasked: the connection is found dead before it is used again.
            State::Waiting if self.planted == Some(Planted::PassesWhatIsBehind) => {
                self.down.extend_from_slice(bytes);
            }
            State::Waiting => self.idle = None,
            State::Closed => {}
            State::Tunnel(upstream) => {
                self.upstreams[*upstream].got.extend_from_slice(bytes);
                self.down.extend_from_slice(bytes);
            }
            State::Exchange(exchange) => {
                self.upstreams[exchange.upstream].got.extend_from_slice(bytes);
                match &mut exchange.answer {
                    Answer::Awaited { buffer, .. } => {
                        buffer.extend_from_slice(bytes);
                        self.answer_head();
                    }
                    Answer::Body { .. } => self.answer_body(bytes),
                }
            }
        }
    }

    /// Heads, as far as they are there.
    fn answer_head(&mut self) {
        while let State::Exchange(exchange) = &mut self.state
            && let Answer::Awaited { buffer, interims } = &mut exchange.answer
            && !buffer.is_empty()
        {
            let (facts, mut out) = (exchange.facts, Vec::new());
            let whole = exchange.body.is_done();
            let id_line = self.served.last().map_or(b"".as_slice(), |served| &served.id_line);
            match take_response(buffer, &facts, *interims, !whole, id_line, &mut self.fields, &mut out) {
                Ok(None) => return,
                Ok(Some(Downward::Interim { len })) => {
                    buffer.drain(..len);
                    *interims += 1;
                    self.down.extend_from_slice(&out);
                }
                Ok(Some(Downward::Final(head))) => {
                    let rest = buffer.split_off(head.len);
                    return self.answer_begins(head, &rest, out);
                }
                Err(_) => return self.bad_answer(),
            }
        }
    }

    fn answer_begins(&mut self, head: FinalHead, rest: &[u8], mut out: Vec<u8>) {
        let State::Exchange(exchange) = &mut self.state else { return };
        let mut left = head.body;
        let upstream = exchange.upstream;
        let Ok(count) = left.transform(rest, &mut out) else { return self.bad_answer() };
        self.down.extend_from_slice(&out);
        if let Some(served) = self.served.last_mut() {
            served.answered = Answered::Backend;
        }
        if head.tunnel {
            let up = &mut self.upstreams[upstream];
            up.raw_from = Some(up.sent.len());
            up.sent.append(&mut self.client);
            self.state = State::Tunnel(upstream);
            return;
        }
        let pool = head.pool && (count == rest.len() || self.planted == Some(Planted::UsesItAgain));
        exchange.answer = Answer::Body { left, close: head.close, pool };
        self.if_whole();
    }

    fn answer_body(&mut self, bytes: &[u8]) {
        let State::Exchange(Exchange { answer: Answer::Body { left, pool, .. }, .. }) = &mut self.state
        else {
            return;
        };
        match left.transform(bytes, &mut self.down) {
            Ok(count) => {
                *pool &= count == bytes.len();
                self.if_whole();
            }
            Err(_) => self.give_up(),
        }
    }

    /// Is the answer whole, the exchange is over.
    fn if_whole(&mut self) {
        let State::Exchange(exchange) = &self.state else { return };
        let Answer::Body { left, close, pool } = &exchange.answer else { return };
        if left.is_done() {
            let whole = exchange.body.is_done();
            if *pool && whole {
                self.idle = Some(exchange.upstream);
            }
            self.go_on(*close || !whole);
        }
    }

    /// Nothing of a final answer has gone down, and nothing will.
    fn bad_answer(&mut self) {
        let State::Exchange(exchange) = &self.state else { return };
        let facts = exchange.facts;
        let keep = exchange.body.is_done() && facts.keep_alive;
        self.answer(502, !keep, facts.method == Method::Head);
    }

    fn backend_ends(&mut self) {
        match &mut self.state {
            State::Waiting => self.idle = None,
            State::Closed => {}
            State::Tunnel(_) => self.state = State::Closed,
            State::Exchange(exchange) => {
                self.upstreams[exchange.upstream].ended = true;
                match &mut exchange.answer {
                    Answer::Awaited { .. } => self.bad_answer(),
                    Answer::Body { left, pool, .. } => {
                        *pool = false;
                        let by_close = left.ends_by_close();
                        match left.close() {
                            Ok(last) => {
                                self.down.extend_from_slice(last);
                                self.if_whole();
                            }
                            Err(_) => self.breaks_off(by_close),
                        }
                    }
                }
            }
        }
    }
}

fn body_status(bad: &BadBody) -> u16 {
    match bad {
        BadBody::TooLarge { .. } => 413,
        BadBody::Malformed(_) | BadBody::Truncated => 400,
    }
}

fn request_status(bad: &BadRequest) -> u16 {
    match bad {
        BadRequest::Head(bad) => bad.status(),
        BadRequest::Body(bad) => body_status(bad),
        BadRequest::Connect => 501,
        BadRequest::NoRoute => 404,
        BadRequest::LastHop { status } => *status,
        BadRequest::UpgradeWithBody | BadRequest::TraceWithBody | BadRequest::AmbiguousPath => 400,
    }
}
