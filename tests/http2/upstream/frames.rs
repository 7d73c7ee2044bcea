//! HTTP/2 frames written and read by hand (RFC 9113 §4), for backends that break the rules.

use crate::harness::Wire;
use std::io;

pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

/// What a client sends first (§3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The code of a RST_STREAM.
    pub fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

/// Reads the client's preface, and says what a server says first.
pub fn greet(wire: &mut Wire) -> io::Result<()> {
    let preface = wire.bytes(PREFACE.len())?;
    assert_eq!(preface, PREFACE);
    send(wire, SETTINGS, 0, 0, &[])
}

/// The same, and allows so many streams at once.
pub fn greet_allowing(wire: &mut Wire, streams: u8) -> io::Result<()> {
    let preface = wire.bytes(PREFACE.len())?;
    assert_eq!(preface, PREFACE);
    // SETTINGS_MAX_CONCURRENT_STREAMS (§6.5.2).
    send(wire, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, streams])
}

/// Sends one.
pub fn send(wire: &mut Wire, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
    let len = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    wire.send(bytes)
}

/// The next one.
pub fn next(wire: &mut Wire) -> io::Result<Frame> {
    let head = wire.bytes(9)?;
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok(Frame { kind: head[3], stream, payload: wire.bytes(len)? })
}

/// The next request's stream; what comes before its HEADERS is read over.
pub fn request(wire: &mut Wire) -> io::Result<u32> {
    loop {
        let frame = next(wire)?;
        if frame.kind == HEADERS {
            return Ok(frame.stream);
        }
    }
}

/// Answers with 200 and nothing more: `:status: 200` is number 8 of HPACK's own table (RFC 7541 §A).
pub fn answer(wire: &mut Wire, stream: u32) -> io::Result<()> {
    send(wire, HEADERS, 0x4 | 0x1, stream, &[0x88])
}

/// Says that streams up to `last` are served, and none beyond (§6.8).
pub fn go_away(wire: &mut Wire, last: u32) -> io::Result<()> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend_from_slice(&[0; 4]);
    send(wire, GOAWAY, 0, 0, &payload)
}
