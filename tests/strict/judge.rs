//! weir in front of a backend that keeps every byte it gets, whole request or not.
//!
//! A refused request must have left no byte there; one that is passed on is compared with what was sent.
//! Behind each refused one stands a canary: a request that only a wrong idea of where the refused one ends
//! would find.

use crate::harness::{Backend, Body, Client, Framing, Received, Response, Weir, Wire, one_pool, wait_until};
use std::sync::{Arc, Mutex};

/// What stands behind a message whose end must not be mistaken.
pub(crate) const CANARY: &str = "GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n";

/// What weir adds to a request for host `h` from loopback.
const ADDED: [&str; 5] = [
    "Via: 1.1 weir",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: h",
    "X-Forwarded-Proto: http",
    "X-Real-IP: 127.0.0.1",
];

/// What a backend has got.
#[derive(Default)]
struct Seen {
    whole: Vec<Received>,
    /// What came and was no whole request.
    broken: Vec<Vec<u8>>,
}

/// weir, and the backend that bears witness.
pub(crate) struct Judge {
    pub(crate) weir: Weir,
    pub(crate) backend: Backend,
    seen: Arc<Mutex<Seen>>,
}

impl Judge {
    /// weir with all defaults.
    pub(crate) fn new() -> Self {
        Self::with("", "")
    }

    /// weir with further lines for its listener and its pool.
    pub(crate) fn with(listener: &str, pool: &str) -> Self {
        let (backend, seen) = witness();
        let weir = Weir::start(&one_pool(&[&backend], listener, pool));
        Self { weir, backend, seen }
    }

    /// Asserts that `request` gets `status`, that the connection then ends without a further answer, and
    /// that the backend gets nothing: neither of it nor of the canary behind it.
    pub(crate) fn refuses(&self, case: &str, request: impl AsRef<[u8]>, status: u16) {
        let shown = shown(request.as_ref());
        let mut client = self.weir.client();
        client.send([request.as_ref(), CANARY.as_bytes()].concat());
        let response = client.response();
        assert_eq!(response.status, status, "{case}: {shown}: {}", response.text());
        assert_eq!(response.field("Connection"), Some("close"), "{case}: {shown}");
        client.assert_closed();
        let seen = self.seen.lock().unwrap();
        let connections = self.backend.connections();
        assert!(seen.broken.is_empty(), "{case}: {shown}: at the backend: {}", self::shown(&seen.broken[0]));
        assert!(seen.whole.len() >= connections, "{case}: {shown}: a connection for nothing");
        assert!(!seen.whole.iter().any(of_canary), "{case}: {shown}: the canary was heard");
    }

    /// Asserts that `request`, which is whole, is answered by the backend, on a connection that goes on:
    /// what the backend got.
    pub(crate) fn passes(&self, case: &str, request: impl AsRef<[u8]>) -> Received {
        self.passes_on(&mut self.weir.client(), case, request)
    }

    /// [`Self::passes`] on a connection that is there already.
    pub(crate) fn passes_on(&self, client: &mut Client, case: &str, request: impl AsRef<[u8]>) -> Received {
        let before = self.seen.lock().unwrap().whole.len();
        let response = client.ask(&request);
        let shown = shown(request.as_ref());
        assert_eq!(response.status, 200, "{case}: {shown}: {}", response.text());
        let seen = self.seen.lock().unwrap();
        assert!(seen.broken.is_empty(), "{case}: {shown}: at the backend: {}", self::shown(&seen.broken[0]));
        assert_eq!(seen.whole.len(), before + 1, "{case}: {shown}: one request arrives as one");
        let received = seen.whole[before].clone();
        let target = received.line().split(' ').nth(1).unwrap_or_default().to_owned();
        assert_eq!(response.field("X-Target"), Some(&*target), "{case}: {shown}: the answer is its own");
        received
    }

    /// The requests that have arrived whole.
    pub(crate) fn whole(&self) -> Vec<Received> {
        self.seen.lock().unwrap().whole.clone()
    }

    /// What has arrived and was no whole request.
    pub(crate) fn broken(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().broken.clone()
    }

    /// Waits until no connection to the backend is open, so that all that it got is known.
    pub(crate) fn settle(&self) {
        wait_until("the backend's connections have ended", || self.backend.open() == 0);
    }

    /// Asserts that another client is served, by its own answer.
    pub(crate) fn serves_another(&self) {
        let received = self.passes("another client", "GET /another HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(received.line(), "GET /another HTTP/1.1");
    }
}

/// A backend that answers each request with its method and target in fields, and keeps what came.
fn witness() -> (Backend, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let keeps = seen.clone();
    let backend = Backend::raw(move |mut wire, connection| {
        while let Some(received) = receive(&mut wire, connection, &keeps) {
            let (line, head_only) = (received.line(), received.method() == "HEAD");
            let body = if head_only { "" } else { "ok" };
            keeps.lock().unwrap().whole.push(received);
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Method: {method}\r\nX-Target: {target}\r\nContent-Length: 2\r\n\r\n{body}"
            );
            if wire.send(answer).is_err() {
                return;
            }
        }
    });
    (backend, seen)
}

fn receive(wire: &mut Wire, connection: usize, seen: &Mutex<Seen>) -> Option<Received> {
    let head = match wire.head() {
        Ok(Some(head)) => head,
        Ok(None) => return None,
        Err(_) => {
            if !wire.buffered().is_empty() {
                seen.lock().unwrap().broken.push(wire.buffered().to_vec());
            }
            return None;
        }
    };
    let fields = Received::of(head.clone(), Vec::new()).fields;
    let framing = match (fields.get("Transfer-Encoding"), fields.get("Content-Length")) {
        (None, None) => Framing::None,
        (Some("chunked"), None) => Framing::Chunked,
        (None, Some(length)) => Framing::Length(length.parse().unwrap()),
        framed => panic!("weir sent a request framed by {framed:?}"),
    };
    match wire.body(framing) {
        Ok(body) => Some(Received { connection, head, fields, body }),
        Err(_) => {
            let broken = [head.as_slice(), wire.buffered()].concat();
            seen.lock().unwrap().broken.push(broken);
            None
        }
    }
}

fn of_canary(received: &Received) -> bool {
    received.line().contains("canary")
}

/// Asserts that `received` is the head `sent`, byte for byte, and behind it what weir adds.
pub(crate) fn assert_as_sent(case: &str, received: &Received, sent: &str) {
    assert_as_sent_but_for(case, received, sent, &ADDED);
}

/// As [`assert_as_sent`], with these lines instead of those that weir adds.
pub(crate) fn assert_as_sent_but_for(case: &str, received: &Received, sent: &str, added: &[&str]) {
    let kept = sent.as_bytes().strip_suffix(b"\r\n").unwrap();
    assert!(received.head.starts_with(kept), "{case}: sent {sent:?}, received {:?}", received.text());
    let rest = String::from_utf8_lossy(&received.head[kept.len()..]).into_owned();
    let mut lines: Vec<&str> = rest.strip_suffix("\r\n\r\n").unwrap_or_default().split("\r\n").collect();
    lines.sort_unstable();
    assert_eq!(lines, added, "{case}: what weir adds");
}

/// A body that has come by one of the framings, for comparisons.
pub(crate) fn raw_body(body: &Body) -> String {
    String::from_utf8_lossy(&body.raw).into_owned()
}

/// The beginning of some bytes, for a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
}

/// Asserts that a response is weir's own, short and plain.
pub(crate) fn assert_own(case: &str, response: &Response, status: u16) {
    assert_eq!(response.status, status, "{case}: {}", response.text());
    assert_eq!(response.field("Content-Type"), Some("text/plain"), "{case}");
    assert_eq!(response.field("X-Target"), None, "{case}");
}

/// Bytes that are not the same anywhere, so that a piece lost, doubled or swapped shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}
