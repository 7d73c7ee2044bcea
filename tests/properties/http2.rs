//! HTTP/2 messages as HTTP/1.1: whatever fields a client sends, its request is one request; bodies and frames are
//! the same however they are cut.

use super::reader::{STRICT, all};
use super::{LIMITS, places, shown};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use weir::http1::{Fields, Parse, RequestBody, ResponseBody, parse_request};
use weir::http2::{Decoded, Decoding, Encoding, Meter, RequestFields, write_request_head};
use weir::time::Instant;

/// The property, for a method, a target and field lines, each ended by LF.
pub fn holds(bytes: &[u8]) {
    for cut in [false, true] {
        if let Some((method, uri, fields)) = request(bytes) {
            assert_one_request(bytes, &method, &uri, &fields, cut);
        }
    }
    assert_bodies(bytes);
    assert_frames(bytes);
}

/// The message that the bytes stand for, if the library would have it at all.
fn request(bytes: &[u8]) -> Option<(Method, Uri, HeaderMap)> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let uri = Uri::try_from(lines.next()?).ok()?;
    let mut fields = HeaderMap::new();
    for line in lines {
        let at = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_lowercase(&line[..at]).ok()?;
        fields.append(name, HeaderValue::from_bytes(&line[at + 1..]).ok()?);
    }
    Some((method, uri, fields))
}

fn assert_one_request(bytes: &[u8], method: &Method, uri: &Uri, fields: &HeaderMap, ends: bool) {
    let protocol = (*method == Method::CONNECT && ends).then_some("websocket");
    let request = RequestFields { method, uri, protocol, fields, ends, seed: 1 };
    let mut head = Vec::new();
    let Ok(encoding) = write_request_head(&request, &mut head) else { return };
    let mut table = Fields::default();
    // What weir's own parser refuses goes nowhere.
    let Ok(Parse::Complete(read)) = parse_request(&head, &LIMITS, &mut table) else { return };
    assert_eq!(read.len, head.len(), "more than one head: {} for {}", shown(&head), shown(bytes));
    let Ok(Some(theirs)) = STRICT.request(&head) else { panic!("nobody else takes {}", shown(&head)) };
    assert_eq!(theirs.len, head.len(), "{}", shown(&head));
    let framed = match read.body {
        RequestBody::None => Encoding::Nothing,
        RequestBody::Length(0) if encoding == Encoding::Nothing => Encoding::Nothing,
        RequestBody::Length(length) => Encoding::Length(length),
        RequestBody::Chunked => Encoding::Chunks,
    };
    if protocol.is_none() {
        assert_eq!(framed, encoding, "the body is not written as the head says: {}", shown(&head));
    }
    assert!(all(&theirs.fields, "host").count() <= 1, "{}", shown(&head));
    assert!(all(&theirs.fields, "cookie").count() <= 1, "{}", shown(&head));
}

/// A body in chunks comes back as it went, however it is cut; whatever else comes is taken or refused the same.
fn assert_bodies(bytes: &[u8]) {
    let mut coded = Vec::new();
    let mut encoding = Encoding::Chunks;
    for piece in bytes.chunks(7) {
        assert_eq!(encoding.data(piece, &mut coded), Ok(()));
    }
    assert_eq!(encoding.end(None, &mut coded), Ok(()));
    assert_eq!(decoded(&[&coded]), Ok((bytes.to_vec(), true)), "{}", shown(&coded));
    for body in [&coded, bytes] {
        let whole = decoded(&[body]);
        for at in places(body.len()) {
            let (first, second) = body.split_at(at);
            assert_eq!(decoded(&[first, second]), whole, "cut at {at}: {}", shown(body));
        }
    }
}

/// The payload of a chunked body, and whether it has ended; or that it is none.
fn decoded(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), ()> {
    let mut decoding = Decoding::of_response(ResponseBody::Chunked);
    let (mut payload, mut ended) = (Vec::new(), false);
    for piece in pieces {
        if !ended {
            let decoded = decoding.decode(piece, |range| payload.extend_from_slice(&piece[range]));
            ended = decoded.map_err(|_| ())? != Decoded::More;
        }
    }
    Ok((payload, ended))
}

/// The meter says the same however the frames are cut.
fn assert_frames(bytes: &[u8]) {
    let metered = |size: usize| {
        let mut meter = Meter::new(1, Instant::default());
        let flood = bytes.chunks(size).find_map(|piece| meter.received(piece, Instant::default()).err());
        (flood, flood.is_none() && meter.is_amid())
    };
    assert_eq!(metered(1), metered(bytes.len().max(1)), "{}", shown(bytes));
}
