//! Request heads: what weir takes, every reader takes to mean the same, before and after.

use super::meaning::{asked, assert_gone, end_to_end, nominated, origin};
use super::reader::{Framing, Head, Reader, STRICT, all, dashed, readers};
use super::{LIMITS, assert_clean, assert_stays, places, shown};
use weir::config::Forwarded;
use weir::http1::{
    Fields, HeadLimits, Method, Parse, RequestBody, RequestHead, RequestRewrite, Target, Version, Via,
    parse_request, write_request,
};

/// Who connected, and for whom, if it is believed.
const PEER: &[u8] = b"192.0.2.17";
const CLIENT: &[u8] = b"2001:db8::1";

/// The property, for the bytes that a client sends.
pub fn holds(bytes: &[u8]) {
    let mut fields = Fields::default();
    let verdict = parse_request(bytes, &LIMITS, &mut fields);
    assert_stays(
        bytes,
        &verdict,
        |head| head.len,
        |bytes| parse_request(bytes, &LIMITS, &mut Fields::default()),
    );
    let theirs = STRICT.request(bytes);
    match &verdict {
        Err(bad) => {
            assert!(bad.at <= bytes.len(), "{bad:?} for {}", shown(bytes));
            assert!([400, 414, 417, 431, 501, 505].contains(&bad.status()), "{bad:?}");
        }
        Ok(Parse::Partial) => {
            assert!(!matches!(theirs, Ok(Some(_))), "weir waits for more of a whole {}", shown(bytes));
        }
        Ok(Parse::Complete(head)) => {
            let Ok(Some(theirs)) = theirs else { panic!("{theirs:?}, but weir takes {}", shown(bytes)) };
            assert_same(bytes, head, &fields, &theirs);
            assert_bounded(bytes, head);
            assert_httparse_agrees(bytes, &theirs);
            // A CONNECT never goes up.
            let via = Via::new("weir");
            for rewrite in rewrites(&via).filter(|_| head.method != Method::Connect) {
                let mut out = Vec::new();
                write_request(bytes, head, &fields, &rewrite, &mut out);
                assert_passed(head, &theirs, &rewrite, &out);
            }
        }
    }
}

/// All that a listener may do to a head.
fn rewrites(via: &Via) -> impl Iterator<Item = RequestRewrite<'_>> {
    let rules = [
        (Forwarded::Off, false),
        (Forwarded::Append, false),
        (Forwarded::Append, true),
        (Forwarded::Replace, true),
    ];
    rules.into_iter().flat_map(move |(forwarded, trusted)| {
        [false, true].into_iter().map(move |upgrade| RequestRewrite {
            forwarded,
            trusted,
            peer: Some(PEER),
            client: Some(if trusted { CLIENT } else { PEER }),
            proto: b"http",
            via: Some(via),
            upgrade,
            added: b"",
        })
    })
}

fn framing(body: RequestBody) -> Framing {
    match body {
        RequestBody::None => Framing::Nothing,
        RequestBody::Length(length) => Framing::Length(length),
        RequestBody::Chunked => Framing::Chunked,
    }
}

/// weir has read what the independent reader has read.
fn assert_same(bytes: &[u8], head: &RequestHead, fields: &Fields, theirs: &Head) {
    let [method, target, version] = &theirs.line;
    assert_eq!(head.len, theirs.len, "{}", shown(bytes));
    assert_eq!(head.method_span.of(bytes), method);
    assert_eq!(head.version == Version::Http10, version == b"HTTP/1.0");
    let ours: super::reader::Fields =
        fields.iter(bytes).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(ours, theirs.fields, "{}", shown(bytes));
    assert_eq!(STRICT.request_framing(theirs), Ok(framing(head.body)), "{}", shown(bytes));
    let (path, host) = asked(theirs);
    match head.target {
        Target::Origin(span) | Target::Authority(span) => assert_eq!(span.of(bytes), target),
        Target::Asterisk => assert_eq!(target, b"*"),
        Target::Absolute { path: span, .. } => assert!(path.ends_with(span.of(bytes))),
    }
    let authority = matches!(head.target, Target::Authority(_)).then(|| target.clone());
    assert_eq!(head.host.map(|host| host.of(bytes).to_vec()), authority.or(host), "{}", shown(bytes));
    let said: Vec<String> = nominated(&theirs.fields);
    let says = |option: &str| said.iter().any(|name| name == option);
    let keeps =
        if head.version == Version::Http11 { !says("close") } else { says("keep-alive") && !says("close") };
    assert_eq!(head.keep_alive, keeps, "{}", shown(bytes));
    let expects = all(&theirs.fields, "expect").next().is_some() && head.version == Version::Http11;
    assert_eq!(head.expects_continue, expects, "{}", shown(bytes));
}

/// Smaller limits refuse it, or change nothing.
fn assert_bounded(bytes: &[u8], head: &RequestHead) {
    for max_head in places(head.len) {
        let limits = HeadLimits { max_head, ..LIMITS };
        let bounded = parse_request(bytes, &limits, &mut Fields::default());
        match bounded {
            Ok(Parse::Complete(same)) => assert!(same == *head && max_head >= head.len),
            Ok(Parse::Partial) => panic!("waits beyond max_head = {max_head} for {}", shown(bytes)),
            Err(bad) => assert!(max_head < head.len && [414, 431].contains(&bad.status()), "{bad:?}"),
        }
    }
}

/// Where httparse takes it too, it has read the same.
fn assert_httparse_agrees(bytes: &[u8], head: &Head) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            assert_eq!(len, head.len, "{}", shown(bytes));
            assert_eq!(request.method.map(str::as_bytes), Some(head.line[0].as_slice()));
            assert_eq!(request.path.map(str::as_bytes), Some(head.line[1].as_slice()));
            let theirs = request.headers.iter().map(|h| (h.name.as_bytes().to_vec(), h.value.to_vec()));
            assert_eq!(theirs.collect::<Vec<_>>(), head.fields, "{}", shown(bytes));
        }
        Ok(httparse::Status::Partial) => panic!("httparse waits for more of {}", shown(bytes)),
        Err(_) => {}
    }
}

/// What goes up for a head means what the head meant, to every reader.
fn assert_passed(head: &RequestHead, before: &Head, rewrite: &RequestRewrite<'_>, out: &[u8]) {
    let context = || format!("{} from {before:?} with {rewrite:?}", shown(out));
    let after = read_by_all(out);
    let old = head.version == Version::Http10 && head.host.is_none();
    assert_eq!(after.line[2], if old { b"HTTP/1.0" } else { b"HTTP/1.1" }, "{}", context());
    assert_eq!(after.line[0], before.line[0], "{}", context());
    assert_eq!(STRICT.request_framing(&after), Ok(framing(head.body)), "{}", context());
    let (path, host) = asked(before);
    assert_eq!(asked(&after), (path.clone(), host.clone()), "{}", context());
    assert_eq!(after.line[1], path, "{}", context());
    assert_eq!(all(&after.fields, "host").count(), usize::from(host.is_some()), "{}", context());

    let for_us = nominated(&before.fields);
    assert_eq!(end_to_end(&before.fields, &for_us), end_to_end(&after.fields, &for_us), "{}", context());
    assert_gone(&after.fields, &for_us);
    let upgrades = rewrite.upgrade && head.upgrade;
    for name in ["connection", "upgrade"] {
        assert_eq!(all(&after.fields, name).next().is_some(), upgrades, "{name}: {}", context());
    }
    if upgrades {
        assert!(all(&after.fields, "upgrade").eq(all(&before.fields, "upgrade")), "{}", context());
        assert_eq!(nominated(&after.fields), ["upgrade"], "{}", context());
    }
    let version = if head.version == Version::Http10 { b"1.0 weir" } else { b"1.1 weir" };
    let ways = all(&before.fields, "via").chain([version.as_slice()]);
    assert!(all(&after.fields, "via").eq(ways), "{}", context());
    let forwards = all(&after.fields, "max-forwards");
    match head.max_forwards {
        Some(0) => {}
        Some(left) => assert!(forwards.eq([(left - 1).to_string().as_bytes()]), "{}", context()),
        None => assert!(forwards.eq(all(&before.fields, "max-forwards")), "{}", context()),
    }
    assert_says_who(before, &after, host.as_deref(), rewrite);
}

/// Every reader, weir and httparse among them, reads a head of weir's in the same way. Returns what.
pub fn read_by_all(out: &[u8]) -> Head {
    assert_clean(out);
    let strict = STRICT.request(out);
    let Ok(Some(head)) = strict else { panic!("{strict:?}: weir wrote {}", shown(out)) };
    assert_eq!(head.len, out.len(), "{}", shown(out));
    let again =
        parse_request(out, &HeadLimits { max_head: 1 << 20, max_headers: 128 }, &mut Fields::default());
    assert!(
        matches!(&again, Ok(Parse::Complete(again)) if again.len == out.len()),
        "{again:?}: weir does not take what it wrote: {}",
        shown(out)
    );
    for reader in readers() {
        assert_read_alike(&reader, out, &head);
    }
    assert_httparse_agrees(out, &head);
    head
}

fn assert_read_alike(reader: &Reader, out: &[u8], head: &Head) {
    let all_dashed = |head: &Head| {
        head.fields
            .iter()
            .map(|(name, value)| (dashed(name), value.clone()))
            .collect::<super::reader::Fields>()
    };
    let read = reader.request(out);
    let Ok(Some(read)) = read else { panic!("{reader:?} says {read:?} of {}", shown(out)) };
    assert_eq!((&read.line, read.len), (&head.line, head.len), "{reader:?}: {}", shown(out));
    assert_eq!(all_dashed(&read), all_dashed(head), "{reader:?}: {}", shown(out));
    assert_eq!(reader.request_framing(&read), STRICT.request_framing(head), "{reader:?}: {}", shown(out));
    assert_eq!(asked(&read), asked(head), "{reader:?}: {}", shown(out));
}

/// The backend hears who the client is from whom it may believe.
fn assert_says_who(before: &Head, after: &Head, host: Option<&[u8]>, rewrite: &RequestRewrite<'_>) {
    let context = || format!("{after:?} from {before:?} with {rewrite:?}");
    let theirs = |name| all(&before.fields, name);
    let ours = |name| all(&after.fields, name).collect::<Vec<_>>();
    let client = rewrite.client.unwrap_or_default();
    match (rewrite.forwarded, rewrite.trusted) {
        (Forwarded::Off, _) => {
            assert_eq!(origin(&before.fields), origin(&after.fields), "{}", context());
            return;
        }
        (Forwarded::Append, true) => {
            let chain = ours("x-forwarded-for");
            assert!(chain.last().is_some_and(|last| last.ends_with(PEER)), "{}", context());
            assert!(theirs("x-forwarded-for").zip(&chain).all(|(a, b)| b.starts_with(a)), "{}", context());
            assert_eq!(ours("forwarded").len(), theirs("forwarded").count(), "{}", context());
            assert!(
                theirs("forwarded").zip(ours("forwarded")).all(|(a, b)| b.starts_with(a)),
                "{}",
                context()
            );
        }
        (Forwarded::Append, false) | (Forwarded::Replace, _) => {
            assert_eq!(ours("x-forwarded-for"), [client], "{}", context());
            assert_eq!(ours("x-forwarded-proto"), [b"http"], "{}", context());
            let host = host.filter(|host| !host.is_empty());
            assert_eq!(ours("x-forwarded-host"), host.into_iter().collect::<Vec<_>>(), "{}", context());
            assert_eq!(origin(&after.fields).len(), 3 + usize::from(host.is_some()), "{}", context());
        }
    }
    assert_eq!(ours("x-real-ip"), [client], "{}", context());
    let alike = origin(&after.fields).into_iter().any(|(name, _)| dashed(&name) != name);
    assert!(!alike, "a look-alike passed: {}", context());
}
