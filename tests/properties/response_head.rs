//! Response heads: what weir takes, every reader takes to mean the same, before and after.

use super::meaning::{assert_gone, end_to_end, nominated, origin};
use super::reader::{Framing, Head, STRICT, all, readers};
use super::{LIMITS, assert_clean, assert_stays, places, shown};
use weir::exchange::{RequestFacts, pass_response};
use weir::http1::{
    ConnectionField, DownstreamFraming, Fields, HeadLimits, Method, Parse, RequestBody, ResponseBody,
    ResponseHead, ResponseRewrite, Version, parse_response, write_response,
};

/// The property, for the bytes that a backend sends.
pub fn holds(bytes: &[u8]) {
    for (method, name) in [(Method::Get, b"GET".as_slice()), (Method::Head, b"HEAD")] {
        let mut fields = Fields::default();
        let verdict = parse_response(bytes, &LIMITS, &mut fields, method);
        assert_stays(
            bytes,
            &verdict,
            |head| head.len,
            |bytes| parse_response(bytes, &LIMITS, &mut Fields::default(), method),
        );
        let theirs = STRICT.response(bytes);
        match &verdict {
            Err(bad) => assert!(bad.at <= bytes.len(), "{bad:?} for {}", shown(bytes)),
            Ok(Parse::Partial) => {
                assert!(!matches!(theirs, Ok(Some(_))), "weir waits for more of a whole {}", shown(bytes));
            }
            Ok(Parse::Complete(head)) => {
                let Ok(Some(theirs)) = theirs else { panic!("{theirs:?}, but weir takes {}", shown(bytes)) };
                assert_same(bytes, head, &fields, &theirs, name);
                assert_bounded(bytes, head, method);
                assert_httparse_agrees(bytes, &theirs);
                for (facts, closing) in clients(method) {
                    assert_goes_down(bytes, head, &fields, &theirs, (&facts, closing));
                }
            }
        }
    }
}

/// The clients that a response may go down to, and whether weir closes.
fn clients(method: Method) -> impl Iterator<Item = (RequestFacts, bool)> {
    [(Version::Http11, false), (Version::Http11, true), (Version::Http10, false)].into_iter().flat_map(
        move |(version, closing)| {
            [false, true].into_iter().map(move |upgrade| {
                let upgrade = upgrade && version == Version::Http11;
                let body = RequestBody::None;
                (RequestFacts { method, version, body, keep_alive: true, upgrade, grpc: false }, closing)
            })
        },
    )
}

fn framing(body: ResponseBody) -> Framing {
    match body {
        ResponseBody::None => Framing::Nothing,
        ResponseBody::Length(length) => Framing::Length(length),
        ResponseBody::Chunked => Framing::Chunked,
        ResponseBody::UntilClose => Framing::UntilClose,
    }
}

/// weir has read what the independent reader has read.
fn assert_same(bytes: &[u8], head: &ResponseHead, fields: &Fields, theirs: &Head, method: &[u8]) {
    let [version, status, reason] = &theirs.line;
    assert_eq!(head.len, theirs.len, "{}", shown(bytes));
    assert_eq!(head.version == Version::Http10, version == b"HTTP/1.0");
    assert_eq!(head.status.to_string().as_bytes(), status);
    assert_eq!(head.reason.of(bytes), reason);
    let ours: super::reader::Fields =
        fields.iter(bytes).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(ours, theirs.fields, "{}", shown(bytes));
    assert_eq!(STRICT.response_framing(theirs, method), Ok(framing(head.body)), "{}", shown(bytes));
    let said: Vec<String> = nominated(&theirs.fields);
    let says = |option: &str| said.iter().any(|name| name == option);
    let keeps =
        if head.version == Version::Http11 { !says("close") } else { says("keep-alive") && !says("close") };
    // A 204 that says that it has a body may be followed by one.
    let coded = all(&theirs.fields, "transfer-encoding").next().is_some();
    let misframed =
        coded || all(&theirs.fields, "content-length").any(|length| length.iter().any(|&b| b != b'0'));
    let ends = head.body != ResponseBody::UntilClose && !(status == b"204" && misframed);
    assert_eq!(head.keep_alive, keeps && ends, "{}", shown(bytes));
}

/// Smaller limits refuse it, or change nothing.
fn assert_bounded(bytes: &[u8], head: &ResponseHead, method: Method) {
    for max_head in places(head.len) {
        let limits = HeadLimits { max_head, ..LIMITS };
        match parse_response(bytes, &limits, &mut Fields::default(), method) {
            Ok(Parse::Complete(same)) => assert!(same == *head && max_head >= head.len),
            Ok(Parse::Partial) => panic!("waits beyond max_head = {max_head} for {}", shown(bytes)),
            Err(bad) => assert!(max_head < head.len, "{bad:?}"),
        }
    }
}

/// Where httparse takes it too, it has read the same.
fn assert_httparse_agrees(bytes: &[u8], head: &Head) {
    let mut headers = [httparse::EMPTY_HEADER; 300];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            assert_eq!(len, head.len, "{}", shown(bytes));
            assert_eq!(response.code.map(|code| code.to_string().into_bytes()).as_ref(), Some(&head.line[1]));
            let theirs = response.headers.iter().map(|h| (h.name.as_bytes().to_vec(), h.value.to_vec()));
            assert_eq!(theirs.collect::<Vec<_>>(), head.fields, "{}", shown(bytes));
        }
        Ok(httparse::Status::Partial) => panic!("httparse waits for more of {}", shown(bytes)),
        Err(_) => {}
    }
}

/// What goes down for a head means what the head meant, to every reader.
fn assert_goes_down(
    bytes: &[u8],
    head: &ResponseHead,
    fields: &Fields,
    before: &Head,
    (facts, closing): (&RequestFacts, bool),
) {
    let passing = pass_response(facts, head, closing);
    let upgrade = head.status == 101 && facts.upgrade && head.upgrade;
    let rewrite =
        ResponseRewrite { framing: passing.framing, connection: passing.connection, upgrade, added: b"" };
    let mut out = Vec::new();
    write_response(bytes, head, fields, &rewrite, &mut out);
    let context = || format!("{} from {before:?} with {rewrite:?}", shown(&out));

    let method = if facts.method == Method::Head { b"HEAD".as_slice() } else { b"GET" };
    let after = read_by_all(&out, method);
    assert_eq!(after.line[0], b"HTTP/1.1", "{}", context());
    assert_eq!(after.line[1..], before.line[1..], "{}", context());
    let expected = match rewrite.framing {
        DownstreamFraming::AsReceived => framing(head.body),
        DownstreamFraming::AddChunked => Framing::Chunked,
        DownstreamFraming::Bare => Framing::UntilClose,
    };
    assert_eq!(STRICT.response_framing(&after, method), Ok(expected), "{}", context());
    let for_us = nominated(&before.fields);
    assert_eq!(end_to_end(&before.fields, &for_us), end_to_end(&after.fields, &for_us), "{}", context());
    assert_eq!(origin(&before.fields), origin(&after.fields), "{}", context());
    assert_gone(&after.fields, &for_us);
    let says = match (upgrade, rewrite.connection) {
        (true, _) => vec!["upgrade"],
        (false, ConnectionField::None) => vec![],
        (false, ConnectionField::Close) => vec!["close"],
        (false, ConnectionField::KeepAlive) => vec!["keep-alive"],
    };
    assert_eq!(nominated(&after.fields), says, "{}", context());
    assert_eq!(all(&after.fields, "upgrade").next().is_some(), upgrade, "{}", context());
    // Whoever cannot tell the end of a body but by the close is told of the close.
    assert!(expected != Framing::UntilClose || passing.close, "{}", context());
}

/// Every reader, weir and httparse among them, reads a head of weir's in the same way. Returns what.
pub fn read_by_all(out: &[u8], method: &[u8]) -> Head {
    assert_clean(out);
    let strict = STRICT.response(out);
    let Ok(Some(head)) = strict else { panic!("{strict:?}: weir wrote {}", shown(out)) };
    assert_eq!(head.len, out.len(), "{}", shown(out));
    let weirs = if method == b"HEAD" { Method::Head } else { Method::Get };
    let limits = HeadLimits { max_head: 1 << 20, max_headers: 300 };
    let again = parse_response(out, &limits, &mut Fields::default(), weirs);
    assert!(
        matches!(&again, Ok(Parse::Complete(again)) if again.len == out.len()),
        "{again:?}: weir does not take what it wrote: {}",
        shown(out)
    );
    let framing = STRICT.response_framing(&head, method);
    for reader in readers() {
        let read = reader.response(out);
        let Ok(Some(read)) = read else { panic!("{reader:?} says {read:?} of {}", shown(out)) };
        assert_eq!((&read.line, read.len), (&head.line, head.len), "{reader:?}: {}", shown(out));
        let values = |head: &Head| head.fields.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
        assert_eq!(values(&read), values(&head), "{reader:?}: {}", shown(out));
        if !reader.dashes {
            assert_eq!(reader.response_framing(&read, method), framing, "{reader:?}: {}", shown(out));
        }
    }
    assert_httparse_agrees(out, &head);
    head
}
