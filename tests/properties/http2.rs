//! HTTP/2 messages as HTTP/1.1: whatever fields a client sends, its request is one request, and so it is at a
//! backend of HTTP/2; whatever fields a backend sends, its answer is one answer, and so it is at a client of HTTP/2;
//! bodies and frames are the same however they are cut.

use super::reader::{Framing, STRICT, all};
use super::{LIMITS, places, shown};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use weir::http1::{self, Fields, Parse, RequestBody, ResponseBody, parse_request, parse_response};
use weir::http2::{
    Asked, Decoded, Decoding, Encoding, Expects, Meter, RequestFields, Terms, is_for_one_connection,
    read_answer, read_backend_request, write_backend_answer, write_request_head,
};
use weir::time::Instant;

/// The property, for a method, a target and field lines, each ended by LF; or for a status and field lines.
pub fn holds(bytes: &[u8]) {
    for cut in [false, true] {
        if let Some((method, uri, fields)) = request(bytes) {
            assert_one_request(bytes, &method, &uri, &fields, cut);
        }
        if let Some((status, fields)) = answer(bytes) {
            for (method, name) in [(http1::Method::Get, b"GET".as_slice()), (http1::Method::Head, b"HEAD")] {
                assert_one_answer(bytes, status, &fields, (method, name), cut);
            }
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
    Some((method, uri, fields_of(lines)?))
}

/// The same of an answer.
fn answer(bytes: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let status = StatusCode::from_bytes(lines.next()?).ok()?;
    Some((status, fields_of(lines)?))
}

fn fields_of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines {
        let at = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_lowercase(&line[..at]).ok()?;
        fields.append(name, HeaderValue::from_bytes(&line[at + 1..]).ok()?);
    }
    Some(fields)
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
    assert_goes_on(&head, method, uri, fields);
}

/// At a backend of HTTP/2 it is what it was.
fn assert_goes_on(head: &[u8], method: &Method, uri: &Uri, fields: &HeaderMap) {
    let terms = Terms { scheme: Scheme::HTTP, extended_connect: true };
    let Ok(went) = read_backend_request(head, &terms, &mut Fields::default()) else {
        assert!(*method == Method::CONNECT, "it goes nowhere: {}", shown(head));
        return;
    };
    assert_eq!((went.len, went.request.method()), (head.len(), method), "{}", shown(head));
    let path = |uri: &Uri| uri.path_and_query().map(|path| path.as_str().to_owned());
    assert_eq!(path(went.request.uri()), path(uri), "{}", shown(head));
    let went = went.request.headers();
    assert!(!went.keys().any(is_for_one_connection), "{went:?}");
    let is_made_anew =
        |name: &&HeaderName| ["host", "cookie", "te", "content-length"].contains(&name.as_str());
    for name in fields.keys().filter(|name| !is_made_anew(name)) {
        assert!(values(went, name).eq(values(fields, name)), "{name} of {}", shown(head));
    }
}

/// The values of a field, as HTTP/1.1 has them.
fn values<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    fields.get_all(name).iter().map(|value| value.as_bytes().trim_ascii())
}

fn assert_one_answer(
    bytes: &[u8],
    status: StatusCode,
    fields: &HeaderMap,
    (method, name): (http1::Method, &[u8]),
    ends: bool,
) {
    let mut head = Vec::new();
    let expects = Expects::Answer(method);
    let Ok(encoding) = write_backend_answer(status, fields, &expects, ends, &mut head) else { return };
    // What weir's own parser refuses is a bad answer.
    let parsed = parse_response(&head, &LIMITS, &mut Fields::default(), method);
    let Ok(Parse::Complete(read)) = parsed else { return };
    assert_eq!(read.len, head.len(), "more than one head: {} for {}", shown(&head), shown(bytes));
    let Ok(Some(theirs)) = STRICT.response(&head) else { panic!("nobody else takes {}", shown(&head)) };
    assert_eq!(theirs.len, head.len(), "{}", shown(&head));
    let framing = match encoding {
        Encoding::Nothing => Framing::Nothing,
        Encoding::Length(length) => Framing::Length(length),
        Encoding::Chunks => Framing::Chunked,
        Encoding::Raw => panic!("it is no tunnel: {}", shown(&head)),
    };
    assert_eq!(STRICT.response_framing(&theirs, name), Ok(framing), "{}", shown(&head));
    let Some(back) = read_answer(&head, Asked::Request(method)) else {
        panic!("it does not come back: {}", shown(&head))
    };
    let left = match &back.body {
        Decoding::Nothing => Encoding::Nothing,
        Decoding::Length(length) => Encoding::Length(*length),
        Decoding::Chunks(_) => Encoding::Chunks,
        Decoding::Raw => Encoding::Raw,
    };
    let nothing_left = [Encoding::Nothing, Encoding::Length(0)];
    assert!(
        left == encoding || nothing_left.contains(&left) && nothing_left.contains(&encoding),
        "{left:?} is left of {}",
        shown(&head)
    );
    assert_eq!((back.len, back.status), (head.len(), status), "{}", shown(&head));
    for name in fields.keys().filter(|name| !is_for_one_connection(name) && *name != "content-length") {
        assert!(values(&back.fields, name).eq(values(fields, name)), "{name} of {}", shown(&head));
    }
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
