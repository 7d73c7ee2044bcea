//! `traceparent` (W3C Trace Context): read from a request, continued or begun, written for the next.
//!
//! weir is one step of a trace: it keeps the trace's id and puts its own span's in the place of the
//! sender's. `tracestate` is other vendors' and passes as it is; without a `traceparent` that is right it
//! means nothing, and is dropped (§3.3.1.4 of level 2).

use super::{Dice, Share};

/// Which trace. Never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

impl TraceId {
    /// A new one.
    pub fn draw(dice: &mut Dice) -> Self {
        Self(((u128::from(dice.draw()) << 64) | u128::from(dice.draw()).max(1)).to_be_bytes())
    }

    /// Whether the trace falls into `share`. It depends on the id alone, so that all who sample by it decide
    /// alike; like OpenTelemetry's samplers on its last seven bytes, which are the random ones in any id, and
    /// the larger they are the sooner it does.
    pub fn is_in(self, share: Share) -> bool {
        let [.., a, b, c, d, _, _, _] = self.0;
        share.has(!u32::from_be_bytes([a, b, c, d]))
    }
}

/// Which step of it. Never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

impl SpanId {
    /// A new one.
    pub fn draw(dice: &mut Dice) -> Self {
        Self(dice.draw().max(1).to_be_bytes())
    }
}

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The sender's step.
    pub span: SpanId,
    /// What is known of its flags: [`SAMPLED`] and [`RANDOM`].
    flags: u8,
}

/// The sender may have recorded its step.
const SAMPLED: u8 = 0x01;

/// The last seven bytes of the trace's id are random (level 2).
const RANDOM: u8 = 0x02;

/// Bytes of version 00: `00-` and 32, `-` and 16, `-` and 2 hexadecimal digits.
const LEN: usize = 55;

impl Parent {
    /// Reads one. A version that weir does not know is read as far as it is this one, which all later ones are
    /// (§4.3); `ff` is none.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_first_chunk::<LEN>()?;
        let [version] = bytes::<1>(&known[..2])?;
        let ends = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        if !ends || [2, 35, 52].iter().any(|&at| known[at] != b'-') {
            return None;
        }
        let (trace, span) = (bytes(&known[3..35])?, bytes(&known[36..52])?);
        let [flags] = bytes(&known[53..])?;
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        Some(Self { trace: TraceId(trace), span: SpanId(span), flags: flags & (SAMPLED | RANDOM) })
    }

    /// Whether the sender says that it may have recorded its step.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// weir's own step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// weir's step, which the next one's sender gets to see as its parent.
    pub span: SpanId,
    /// The step before it; `None`: the trace begins here.
    pub parent: Option<SpanId>,
    /// It is recorded, and those behind weir are told so.
    pub sampled: bool,
    random: bool,
}

impl Context {
    /// The step that follows `parent`, or the first one of a new trace. A parent that is `trusted` decides
    /// whether it is sampled; for any other, and where there is none, it is the trace's id that does.
    ///
    /// A new trace does not say that its id is random, though it is: OpenTelemetry's libraries for Go take no
    /// flags above 2, and all take an id without the flag for a random one.
    pub fn after(parent: Option<&Parent>, trusted: bool, share: Share, dice: &mut Dice) -> Self {
        let span = SpanId::draw(dice);
        let Some(parent) = parent else {
            let trace = TraceId::draw(dice);
            return Self { trace, span, parent: None, sampled: trace.is_in(share), random: false };
        };
        let sampled = if trusted { parent.is_sampled() } else { parent.trace.is_in(share) };
        let random = parent.flags & RANDOM != 0;
        Self { trace: parent.trace, span, parent: Some(parent.span), sampled, random }
    }

    /// As the next one gets it.
    pub fn text(&self) -> TraceParent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&self.trace.0, &mut text[3..35]);
        hex(&self.span.0, &mut text[36..52]);
        let flags = if self.sampled { SAMPLED } else { 0 } | if self.random { RANDOM } else { 0 };
        hex(&[flags], &mut text[53..]);
        text
    }
}

/// The value of a `traceparent`.
pub type TraceParent = [u8; LEN];

/// The bytes that so many hexadecimal digits are, of which none may be a capital letter.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Writes `bytes` as hexadecimal digits, two each, into `digits`.
#[inline]
pub fn hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}
