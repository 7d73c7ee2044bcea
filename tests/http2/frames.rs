//! A client that writes every frame by itself, and reads what comes back frame by frame.
//!
//! Fields go as literals, never indexed or compressed; of answers' fields only the status is read, which is all that
//! the tests ask for (what a backend receives says the rest). SETTINGS and PING are acknowledged while reading.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A status that came before on the connection, and which this reader does not remember.
pub const SEEN: u16 = 999;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(25);

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The four bytes that a reset's code is, or a GOAWAY's.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as literals without indexing (RFC 7541 §6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(text.len(), &mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// RFC 7541 §5.1, with a prefix of seven bits and no Huffman.
fn integer(mut value: usize, out: &mut Vec<u8>) {
    if value < 127 {
        return out.push(value as u8);
    }
    out.push(127);
    value -= 127;
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields of a GET.
pub fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)]
}

/// The fields of a POST.
pub fn post(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", path)]
}

/// What came on a stream.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Interim ones before it.
    pub interim: Vec<u16>,
    pub body: Vec<u8>,
    /// Its last frame was one of fields, behind the body.
    pub trailers: Option<Vec<u8>>,
    /// The code of the reset that ended it.
    pub reset: Option<u32>,
}

pub struct Raw {
    pub socket: TcpStream,
    buffer: Vec<u8>,
    /// Read, and not asked for yet.
    waiting: VecDeque<Frame>,
    next_stream: u32,
    /// Windows are opened again as DATA comes.
    pub reads: bool,
}

impl Raw {
    /// Connects, and begins with a preface and empty settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut raw = Self::with_settings(address, &[]);
        raw.reads = true;
        raw
    }

    /// The same with these settings.
    pub fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::bare(address);
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat());
        raw
    }

    /// Connects, and says nothing.
    pub fn bare(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, buffer: Vec::new(), waiting: VecDeque::new(), next_stream: 1, reads: false }
    }

    /// Sends; that weir has closed is seen when something is read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Whether all of it was taken within a while.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload));
    }

    /// The number of the next stream.
    pub fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// A request's fields on a stream of its own; `flags` beside END_HEADERS.
    pub fn request(&mut self, fields: &[(&str, &str)], flags: u8) -> u32 {
        let stream = self.stream();
        self.frame(HEADERS, END_HEADERS | flags, stream, &block(fields));
        stream
    }

    /// A GET.
    pub fn get(&mut self, path: &str) -> u32 {
        self.request(&get(path), END_STREAM)
    }

    /// The next frame from the socket; `None` when the connection is over.
    fn read(&mut self, until: Instant) -> Option<Frame> {
        loop {
            if self.buffer.len() >= 9 {
                let len = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]) as usize;
                if self.buffer.len() >= 9 + len {
                    let rest = self.buffer.split_off(9 + len);
                    let bytes = std::mem::replace(&mut self.buffer, rest);
                    let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap()) & !(1 << 31);
                    let payload = bytes[9..].to_vec();
                    return Some(self.answered(Frame { kind: bytes[3], flags: bytes[4], stream, payload }));
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "weir sends nothing; unread: {:?}", self.buffer);
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut piece = [0; 64 << 10];
            match self.socket.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }

    /// Acknowledges what wants it.
    fn answered(&mut self, came: Frame) -> Frame {
        match came.kind {
            SETTINGS if came.flags & 1 == 0 => self.frame(SETTINGS, 1, 0, b""),
            PING if came.flags & 1 == 0 => self.frame(PING, 1, 0, &came.payload),
            DATA if self.reads && !came.payload.is_empty() => {
                let more = (came.payload.len() as u32).to_be_bytes();
                self.frame(WINDOW_UPDATE, 0, 0, &more);
                if came.flags & END_STREAM == 0 {
                    self.frame(WINDOW_UPDATE, 0, came.stream, &more);
                }
            }
            _ => {}
        }
        came
    }

    /// The next frame for which `wanted` holds; others wait. `None` when the connection is over.
    pub fn next(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at);
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let frame = self.read(until)?;
            if wanted(&frame) {
                return Some(frame);
            }
            self.waiting.push_back(frame);
        }
    }

    /// The code of weir's GOAWAY, and the last stream that it has taken; `None`: it closed without.
    pub fn goaway(&mut self) -> Option<(u32, u32)> {
        let frame = self.next(|frame| frame.kind == GOAWAY)?;
        let last = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
        Some((frame.code(), last))
    }

    /// The code of weir's last GOAWAY, once the connection is over.
    pub fn ended(&mut self) -> Option<u32> {
        while self.next(|_| false).is_some() {}
        self.waiting.iter().rev().find(|frame| frame.kind == GOAWAY).map(Frame::code)
    }

    /// All that comes on `stream` until it ends.
    pub fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        loop {
            let Some(came) = self.next(|frame| frame.stream == stream && frame.kind != WINDOW_UPDATE) else {
                panic!("the connection ended; until then: {answer:?}, {:?}", self.waiting);
            };
            match came.kind {
                HEADERS if answer.status != 0 => answer.trailers = Some(came.payload),
                HEADERS => match status(&came.payload) {
                    interim @ 100..200 => answer.interim.push(interim),
                    status => answer.status = status,
                },
                DATA => answer.body.extend_from_slice(&came.payload),
                RST_STREAM => {
                    answer.reset = Some(came.code());
                    return answer;
                }
                other => panic!("a frame of kind {other} on a stream"),
            }
            if came.flags & END_STREAM != 0 {
                return answer;
            }
        }
    }

    /// The status and body of the answer to a GET.
    pub fn ask(&mut self, path: &str) -> (u16, Vec<u8>) {
        let stream = self.get(path);
        let answer = self.answer(stream);
        (answer.status, answer.body)
    }
}

/// The status that a block of fields begins with: indexed in the static table, or a literal with its name there.
fn status(block: &[u8]) -> u16 {
    // A change of the dynamic table's size may stand before it.
    let block = match block {
        [size, rest @ ..] if size >> 5 == 1 => rest,
        block => block,
    };
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)],
        [0x48 | 0x08, 0x03, digits @ ..] => String::from_utf8_lossy(&digits[..3]).parse().unwrap(),
        [0x48 | 0x08, len, digits @ ..] if len & 0x80 != 0 => huffman(&digits[..usize::from(len & 0x7f)]),
        // Indexed in the dynamic table: the connection had it before.
        [0xbe..=0xff, ..] => SEEN,
        other => panic!("no status that this reader knows: {other:x?}"),
    }
}

/// Three digits in Huffman's code (RFC 7541, appendix B): 0, 1 and 2 have five bits, the others six.
fn huffman(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | u16::from(*bit));
        let five = number(&bits[at..at + 5]);
        let digit = if five < 3 {
            at += 5;
            five
        } else {
            at += 6;
            number(&bits[at - 6..at]) - 0x19 + 3
        };
        status = status * 10 + digit;
    }
    status
}
