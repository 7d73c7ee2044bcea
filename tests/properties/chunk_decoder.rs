//! Chunked bodies: however they are cut, one payload, one end; and every reader finds the same in what
//! goes on.

use super::meaning::is_origin;
use super::reader::{Body, Framing, STRICT, readers};
use super::{assert_clean, places, shown};
use weir::exchange::{BodyPass, CHUNK_LIMITS, RequestLeft, ResponseLeft};
use weir::http1::{ChunkDecoder, ChunkLimits, ChunkWhy, RequestBody};

/// What decoding came to: the payload, and the bytes taken with whether that was all, or the fault.
type Decoded = (Vec<u8>, Result<(usize, bool), (ChunkWhy, usize)>);

/// Limits that hardly any body keeps.
const SMALL: ChunkLimits = ChunkLimits { max_line: 12, max_extensions: 6, max_trailers: 40 };

/// The property, for the bytes of a body and what comes behind it.
pub fn holds(bytes: &[u8]) {
    let whole = decode(&[bytes], &CHUNK_LIMITS);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single, &CHUNK_LIMITS), whole, "byte by byte: {}", shown(bytes));
    for at in places(bytes.len()) {
        let (first, second) = bytes.split_at(at);
        assert_eq!(decode(&[first, second], &CHUNK_LIMITS), whole, "cut at {at}: {}", shown(bytes));
    }
    if let (payload, Ok((consumed, true))) = &whole {
        let (bounded_payload, bounded) = decode(&[bytes], &SMALL);
        assert!(bounded.is_err() || (&bounded_payload, bounded) == (payload, Ok((*consumed, true))));
    }
    assert_same(bytes, &whole);
    assert_goes_on(bytes, &whole);
}

fn decode(pieces: &[&[u8]], limits: &ChunkLimits) -> Decoded {
    let mut decoder = ChunkDecoder::new(*limits);
    let (mut payload, mut consumed, mut done) = (Vec::new(), 0, false);
    for piece in pieces {
        let decoded = decoder.decode(piece, |range| payload.extend_from_slice(&piece[range]));
        match decoded {
            Ok(chunks) => {
                assert!(chunks.done || chunks.consumed == piece.len(), "stopped in the middle of a body");
                consumed += chunks.consumed;
                done = chunks.done;
            }
            Err(bad) => return (payload, Err((bad.why, consumed + bad.at))),
        }
        assert_eq!(decoder.payload_len(), payload.len() as u64);
    }
    (payload, Ok((consumed, done)))
}

/// weir has read what the independent reader has read.
fn assert_same(bytes: &[u8], (payload, end): &Decoded) {
    let theirs = STRICT.body(bytes, Framing::Chunked, false);
    match (end, &theirs) {
        (Ok((consumed, done)), Ok(body)) => {
            assert_eq!((payload, done.then_some(*consumed)), (&body.payload, body.len), "{}", shown(bytes));
            assert!(*done || *consumed == bytes.len());
        }
        (Ok(_), Err(why)) => panic!("{why}, but weir takes {}", shown(bytes)),
        (Err((_, at)), _) => assert!(*at < bytes.len(), "{}", shown(bytes)),
    }
}

/// What goes up, and what goes down, is the same body to every reader.
fn assert_goes_on(bytes: &[u8], (payload, end): &Decoded) {
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    for pieces in [&[bytes][..], &single] {
        let mut up = RequestLeft::of(RequestBody::Chunked, 0).unwrap_or(RequestLeft::Nothing);
        let up = passed(pieces, |piece, out| {
            let taken = up.take(piece, 0).map_err(drop)?;
            out.extend_from_slice(taken.goes_on(piece));
            Ok((taken.count, up.is_done()))
        });
        let mut down = ResponseLeft::of(BodyPass::Chunks);
        let down = passed(pieces, |piece, out| {
            let count = down.transform(piece, out).map_err(drop)?;
            Ok((count, down.is_done()))
        });
        assert_eq!(up, down, "up and down: {}", shown(bytes));
        let mut bare = ResponseLeft::of(BodyPass::Unchunk);
        let bare = passed(pieces, |piece, out| {
            let count = bare.transform(piece, out).map_err(drop)?;
            Ok((count, bare.is_done()))
        });
        let taken = up.as_ref().ok().map(|(_, count, done)| (*count, *done));
        assert_eq!(taken, end.ok(), "{}", shown(bytes));
        let Ok((up, _, done)) = up else { continue };
        assert_eq!(bare.map(|(out, ..)| out).as_ref(), Ok(payload), "{}", shown(bytes));
        let body = read_by_all(&up);
        assert_eq!((&body.payload, body.len), (payload, done.then_some(up.len())), "{}", shown(bytes));
        let before = STRICT.body(bytes, Framing::Chunked, false).map(|body| body.trailers);
        assert_eq!(before.as_ref(), Ok(&body.trailers), "{}", shown(bytes));
    }
}

/// What went on of a body in pieces, how many bytes were taken, and whether it is whole.
fn passed(
    pieces: &[&[u8]],
    mut pass: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(usize, bool), ()>,
) -> Result<(Vec<u8>, usize, bool), ()> {
    let (mut out, mut count, mut done) = (Vec::new(), 0, false);
    for piece in pieces {
        let (taken, is_done) = pass(piece, &mut out)?;
        count += taken;
        done = is_done;
    }
    Ok((out, count, done))
}

/// Names that trailers may not have: what frames, routes, authenticates, or says what a body is.
const FORBIDDEN: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Every reader reads a body of weir's in the same way. Returns what.
pub fn read_by_all(coded: &[u8]) -> Body {
    let strict = STRICT.body(coded, Framing::Chunked, false);
    let Ok(body) = strict else { panic!("{strict:?}: weir wrote {}", shown(coded)) };
    assert!(!body.extended, "an extension went on: {}", shown(coded));
    for reader in readers() {
        let read = reader.body(coded, Framing::Chunked, false);
        let Ok(read) = read else { panic!("{reader:?} says {read:?} of {}", shown(coded)) };
        assert_eq!((&read.payload, read.len), (&body.payload, body.len), "{reader:?}: {}", shown(coded));
    }
    for (name, value) in &body.trailers {
        let name = shown(name).to_ascii_lowercase();
        assert!(!FORBIDDEN.contains(&name.as_str()) && !is_origin(name.as_bytes()), "{name} in the trailers");
        assert_clean(value);
    }
    body
}
