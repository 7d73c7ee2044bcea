//! The heads of frames as bytes pass (RFC 9113 §4.1), whatever pieces they come in.
//!
//! Not here: what frames say, but for a stream's number and the code of a reset, which the meter must know. Called by `meter.rs`.

/// Bytes of a frame's head.
const HEAD: usize = 9;

/// Bytes of a reset's code.
const CODE: usize = 4;

/// A frame's kind (RFC 9113 §6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// What a frame's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of its payload.
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// The stream's number; 0: the connection.
    pub(super) stream: u32,
    /// The error code of a RST_STREAM; else 0.
    pub(super) code: u32,
}

impl Frame {
    /// END_STREAM of DATA and HEADERS.
    pub(super) const fn ends_stream(&self) -> bool {
        self.flags & 0x1 != 0
    }

    /// END_HEADERS of HEADERS and CONTINUATION.
    pub(super) const fn ends_headers(&self) -> bool {
        self.flags & 0x4 != 0
    }
}

/// Finds the frames in a connection's bytes, in one direction.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    /// The head under way, and a reset's code.
    begun: [u8; HEAD + CODE],
    filled: usize,
    /// Bytes before the next head.
    skip: usize,
}

impl Frames {
    /// Before the first byte, of which the first `skip` are of no frame.
    pub(super) const fn new(skip: usize) -> Self {
        Self { begun: [0; HEAD + CODE], filled: 0, skip }
    }

    /// Whether the bytes so far end with a frame's last.
    pub(super) const fn is_between(&self) -> bool {
        self.filled == 0 && self.skip == 0
    }

    /// Takes the next bytes, and tells of each frame whose head they end.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let here = self.skip.min(bytes.len());
                self.skip -= here;
                bytes = &bytes[here..];
                continue;
            }
            let needed = self.needed();
            let here = (needed - self.filled).min(bytes.len());
            self.begun[self.filled..self.filled + here].copy_from_slice(&bytes[..here]);
            self.filled += here;
            bytes = &bytes[here..];
            if self.filled == self.needed() {
                let frame = self.frame();
                self.skip = frame.len - (self.filled - HEAD);
                self.filled = 0;
                tell(frame);
            }
        }
    }

    /// Bytes to collect before the frame is told of.
    fn needed(&self) -> usize {
        let is_reset = self.filled >= HEAD && self.begun[3] == kind::RST_STREAM;
        if is_reset && self.frame().len >= CODE { HEAD + CODE } else { HEAD }
    }

    fn frame(&self) -> Frame {
        let [a, b, c, kind, flags, s, t, r, m, code @ ..] = self.begun;
        let code = if self.filled > HEAD { u32::from_be_bytes(code) } else { 0 };
        // Its first bit is reserved.
        let stream = u32::from_be_bytes([s & 0x7f, t, r, m]);
        Frame { len: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream, code }
    }
}
