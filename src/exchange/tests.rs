//! Bodies in pieces, and whole messages from bytes to bytes.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::Forwarded;
use crate::http1::{Fields, HeadLimits, Method, RequestBody, RequestRewrite, Version};
use crate::route::Router;
use proptest::prelude::*;

pub(super) const LIMITS: HeadLimits = HeadLimits { max_head: 32 << 10, max_headers: 100 };

pub(super) const AS_IT_CAME: RequestRewrite<'static> = RequestRewrite {
    forwarded: Forwarded::Off,
    trusted: false,
    peer: Some(b"192.0.2.17"),
    client: Some(b"192.0.2.17"),
    proto: b"http",
    via: None,
    upgrade: false,
    added: b"",
};

fn rules(router: &Router, max_body: u64) -> RequestRules<'_> {
    let marks = MarkRules::default();
    RequestRules { limits: &LIMITS, router, max_body, believed: None, rewrite: AS_IT_CAME, marks }
}

fn marker() -> Marker {
    Marker::new([1, 2, 3, 4])
}

/// What goes up for `bytes`, and how many of them were taken.
fn up(bytes: &[u8], max_body: u64) -> Result<Option<(Vec<u8>, Upward)>, BadRequest> {
    let router = Router::from_routes([], Some(0));
    let rules = rules(&router, max_body);
    let mut out = Vec::new();
    let taken = take_request(bytes, &rules, &mut marker(), &mut Fields::default(), &mut out)?;
    Ok(taken.map(|upward| (out, upward)))
}

const GET: RequestFacts = RequestFacts {
    method: Method::Get,
    version: Version::Http11,
    body: RequestBody::None,
    keep_alive: true,
    upgrade: false,
    grpc: false,
};

/// What goes down for `bytes`.
fn down(bytes: &[u8], facts: &RequestFacts) -> Result<Option<(Vec<u8>, Downward)>, BadResponse> {
    let mut out = Vec::new();
    let taken = take_response(bytes, facts, 0, false, b"", &mut Fields::default(), &mut out)?;
    Ok(taken.map(|downward| (out, downward)))
}

/// What goes on of a body that comes in `pieces`, and whether it is whole.
fn passed(body: &mut RequestLeft, pieces: &[&[u8]], max_body: u64) -> Result<(Vec<u8>, usize), BadBody> {
    let (mut out, mut count) = (Vec::new(), 0);
    for piece in pieces {
        let taken = body.take(piece, max_body)?;
        out.extend_from_slice(taken.goes_on(piece));
        count += taken.count;
    }
    Ok((out, count))
}

fn chunks() -> RequestLeft {
    RequestLeft::of(RequestBody::Chunked, 0).unwrap()
}

#[test]
fn a_body_of_a_length_ends_there_and_what_follows_is_left() {
    let mut body = RequestLeft::of(RequestBody::Length(5), 0).unwrap();
    assert_eq!(passed(&mut body, &[b"hel", b"", b"loGET /"], 0), Ok((b"hello".to_vec(), 5)));
    assert!(body.is_done());
    assert_eq!(passed(&mut body, &[b"GET /"], 0), Ok((vec![], 0)));
}

#[test]
fn a_chunked_body_goes_on_as_it_came_and_is_not_copied() {
    let coded = b"5\r\nhello\r\n006\r\n world\r\n0\r\nDigest: x\r\n\r\nGET /";
    let mut body = chunks();
    let taken = body.take(coded, 0).unwrap();
    assert_eq!(taken, Taken { count: coded.len() - 5, instead: None });
    assert!(body.is_done());
}

#[test]
fn a_body_that_is_too_large_is_refused_as_soon_as_that_is_known() {
    let too_large = |max| Some(BadBody::TooLarge { max });
    assert_eq!(RequestLeft::of(RequestBody::Length(6), 5).err(), too_large(5));
    assert!(RequestLeft::of(RequestBody::Length(5), 5).is_ok());
    assert!(passed(&mut chunks(), &[b"5\r\nhello\r\n0\r\n\r\n"], 5).is_ok());
    assert_eq!(passed(&mut chunks(), &[b"5\r\nhello\r\n1"], 5).err(), too_large(5));
    assert_eq!(passed(&mut chunks(), &[b"6\r\n"], 5).err(), too_large(5));
    let unbounded = passed(&mut chunks(), &[b"7fffffffffffffff\r\n"], 0);
    assert!(unbounded.is_ok());
}

#[test]
fn extensions_do_not_go_on_in_either_direction() {
    let coded = b"5;a=b\r\nhello\r\n0 ; c\r\nDigest: x\r\n\r\nGET /";
    let expected = b"5\r\nhello\r\n0\r\nDigest: x\r\n\r\n";
    let bytes: Vec<&[u8]> = coded.chunks(1).collect();
    for pieces in [vec![coded.as_slice()], bytes] {
        assert_eq!(passed(&mut chunks(), &pieces, 0), Ok((expected.to_vec(), coded.len() - 5)));
        let mut body = ResponseLeft::of(BodyPass::Chunks);
        let mut out = Vec::new();
        for piece in pieces {
            body.transform(piece, &mut out).unwrap();
        }
        assert_eq!((out.as_slice(), body.is_done()), (expected.as_slice(), true));
    }
}

#[test]
fn a_trailer_that_connection_names_is_refused_in_either_direction() {
    let fields = "Connection: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}0\r\nX-Sum: 1\r\n\r\n");
    assert!(matches!(up(request.as_bytes(), 0), Err(BadRequest::Body(BadBody::Malformed(_)))));
    for version in [Version::Http11, Version::Http10] {
        let response = format!("HTTP/1.1 200 OK\r\n{fields}");
        let (_, downward) = down(response.as_bytes(), &RequestFacts { version, ..GET }).unwrap().unwrap();
        let Downward::Final(mut head) = downward else { panic!("{downward:?}") };
        assert!(head.body.take(b"0\r\nX-Sum: 1\r\n\r\n").is_err(), "{version:?}");
    }
}

#[test]
fn a_response_goes_down_in_the_framing_that_its_client_knows() {
    for (pass, pieces, expected, whole) in [
        (BodyPass::Length(5), vec!["hel", "lo", "rest"], "hello", true),
        (BodyPass::Chunks, vec!["5\r\nhel", "lo\r\n0\r\n\r\n"], "5\r\nhello\r\n0\r\n\r\n", true),
        (BodyPass::Unchunk, vec!["5\r\nhel", "lo\r\n0\r\nA: b\r\n\r\n", "rest"], "hello", true),
        (BodyPass::Chunk, vec!["hel", "", "lo"], "3\r\nhel\r\n2\r\nlo\r\n", false),
        (BodyPass::UntilClose, vec!["hel", "lo"], "hello", false),
        (BodyPass::Nothing, vec!["hello"], "", true),
    ] {
        let mut body = ResponseLeft::of(pass);
        let mut transformed = ResponseLeft::of(pass);
        let (mut took, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            took.extend_from_slice(body.take(piece.as_bytes()).unwrap().goes_on(piece.as_bytes()));
            transformed.transform(piece.as_bytes(), &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(took).unwrap(), expected, "{pass:?}");
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{pass:?}, transformed");
        assert_eq!(body.is_done(), whole, "{pass:?}");
    }
}

#[test]
fn a_response_that_is_cut_off_is_no_whole_one() {
    for (pass, expected) in [
        (BodyPass::Nothing, Ok("")),
        (BodyPass::UntilClose, Ok("")),
        (BodyPass::Chunk, Ok("0\r\n\r\n")),
        (BodyPass::Length(1), Err(BadBody::Truncated)),
        (BodyPass::Chunks, Err(BadBody::Truncated)),
        (BodyPass::Unchunk, Err(BadBody::Truncated)),
    ] {
        let ended = ResponseLeft::of(pass).close();
        assert_eq!(ended, expected.map(str::as_bytes), "{pass:?}");
    }
}

#[test]
fn a_request_goes_up_with_what_came_of_its_body() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /";
    let (out, upward) = up(bytes, 0).unwrap().unwrap();
    assert_eq!(out, bytes[..bytes.len() - 5]);
    assert_eq!((upward.len, upward.body_len, upward.body.is_done()), (bytes.len() - 5, 5, true));
    assert!(up(&bytes[..20], 0).unwrap().is_none());
    let (out, upward) = up(&bytes[..bytes.len() - 8], 0).unwrap().unwrap();
    assert_eq!((out.len(), upward.body_len, upward.body.is_done()), (bytes.len() - 8, 2, false));
}

#[test]
fn what_cannot_go_up_is_refused() {
    for (request, expected) in [
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest::Connect),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n",
            BadRequest::UpgradeWithBody,
        ),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", BadRequest::TraceWithBody),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest::TraceWithBody),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n",
            BadRequest::Body(BadBody::TooLarge { max: 5 }),
        ),
    ] {
        assert_eq!(up(request.as_bytes(), 5).err(), Some(expected), "{request}");
    }
}

#[test]
fn a_head_request_is_known_before_it_is_whole_and_even_if_it_is_none() {
    assert!(is_head(b"HEAD / HT") && is_head(b"\r\n\r\nHEAD /\0"));
    assert!(!is_head(b"HEAD") && !is_head(b"HEADER / HTTP/1.1") && !is_head(b"head /") && !is_head(b""));
}

#[test]
fn the_last_hop_of_a_trace_or_options_answers_itself() {
    let router = Router::from_routes([], Some(0));
    for (method, status, start) in
        [("TRACE", 200, "HTTP/1.1 200 OK\r\n"), ("OPTIONS", 204, "HTTP/1.1 204 No Content\r\n")]
    {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
        let mut out = Vec::new();
        let taken = take_request(
            text.as_bytes(),
            &rules(&router, 0),
            &mut marker(),
            &mut Fields::default(),
            &mut out,
        );
        assert_eq!(taken.err(), Some(BadRequest::LastHop { status }));
        assert!(out.starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(&out));
        let (out, _) = up(text.replace(": 0", ": 1").as_bytes(), 0).unwrap().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
    let get = "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    assert_eq!(up(get.as_bytes(), 0).unwrap().unwrap().0, get.as_bytes());
}

#[test]
fn interim_responses_are_bounded_in_number() {
    let bytes = b"HTTP/1.1 102 Processing\r\n\r\n";
    let take =
        |interims| take_response(bytes, &GET, interims, false, b"", &mut Fields::default(), &mut Vec::new());
    assert!(take(INTERIMS_MAX - 1).is_ok());
    assert_eq!(take(INTERIMS_MAX).err(), Some(BadResponse::TooManyInterims));
}

#[test]
fn an_interim_response_goes_down_by_itself_but_not_to_http_1_0() {
    let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (out, downward) = down(bytes, &GET).unwrap().unwrap();
    assert!(matches!(downward, Downward::Interim { len: 37 }), "{downward:?}");
    assert_eq!(out, bytes[..37]);
    let (out, _) = down(bytes, &RequestFacts { version: Version::Http10, ..GET }).unwrap().unwrap();
    assert!(out.is_empty());
}

#[test]
fn a_protocol_is_switched_only_when_it_was_asked_for() {
    let bytes = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(down(bytes, &GET).err(), Some(BadResponse::UnaskedUpgrade));
    let (_, downward) = down(bytes, &RequestFacts { upgrade: true, ..GET }).unwrap().unwrap();
    assert!(matches!(downward, Downward::Final(FinalHead { tunnel: true, pool: false, .. })), "{downward:?}");
}

proptest! {
    #[test]
    fn a_body_passes_the_same_however_it_is_cut(
        coded in "([1-3](;[a-z]{1,3}(=\"[a-z ;]{0,3}\")?)?\r\n[a-z]{2}\r\n){0,6}0\r\n(A: b\r\n)?\r\nGET /",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = coded.as_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let whole = passed(&mut chunks(), &[bytes], 0).ok();
        prop_assert_eq!(passed(&mut chunks(), &pieces, 0).ok(), whole);
    }
}
