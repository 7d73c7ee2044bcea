//! What holds for every head: wherever it is cut, whatever it is made of, however often it is rewritten.

use super::generate::{almost, good_request, good_response};
use super::*;
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Parse<RequestHead>, BadHead> {
    parse_request(bytes, &LIMITS, &mut Fields::default())
}

/// What a request means: all of its head but where things stand.
#[derive(Debug, PartialEq)]
struct Meaning {
    method: Vec<u8>,
    target: Vec<u8>,
    host: Option<Vec<u8>>,
    body: RequestBody,
    expects_continue: bool,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meaning {
    /// `except`: names, in lower case, whose fields are left out.
    fn of(bytes: &[u8], except: &[&[u8]]) -> Self {
        let (head, fields) = request(bytes);
        let target = match head.target {
            Target::Origin(span) | Target::Authority(span) => span.of(bytes).to_vec(),
            Target::Asterisk => b"*".to_vec(),
            Target::Absolute { path, .. } => match path.of(bytes) {
                b"" if head.method == Method::Options => b"*".to_vec(),
                path if path.first() == Some(&b'/') => path.to_vec(),
                path => [b"/", path].concat(),
            },
        };
        let fields = fields
            .iter(bytes)
            .filter(|(name, _)| !except.contains(&name.to_ascii_lowercase().as_slice()))
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        Self {
            method: head.method_span.of(bytes).to_vec(),
            target,
            host: head.host.map(|host| host.of(bytes).to_vec()),
            body: head.body,
            expects_continue: head.expects_continue,
            fields,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_request_is_partial_until_its_last_byte_and_then_the_same_whatever_follows(
        bytes in good_request(),
        more in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for len in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..len]), Ok(Parse::Partial), "cut at {}", len);
        }
        let whole = parse(&bytes);
        prop_assert!(matches!(&whole, Ok(Parse::Complete(head)) if head.len == bytes.len()), "{:?}", whole);
        prop_assert_eq!(parse(&[bytes, more].concat()), whole);
    }

    #[test]
    fn a_response_is_partial_until_its_last_byte_and_then_the_same_whatever_follows(
        bytes in good_response(),
        more in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let parse = |bytes: &[u8]| parse_response(bytes, &LIMITS, &mut Fields::default(), Method::Get);
        for len in 0..bytes.len() {
            prop_assert_eq!(parse(&bytes[..len]), Ok(Parse::Partial), "cut at {}", len);
        }
        let whole = parse(&bytes);
        prop_assert!(matches!(&whole, Ok(Parse::Complete(head)) if head.len == bytes.len()), "{:?}", whole);
        prop_assert_eq!(parse(&[bytes, more].concat()), whole);
    }

    /// Partial, then a verdict that stays: more bytes never change it.
    #[test]
    fn a_verdict_stays_the_same_as_more_bytes_come(bytes in almost(good_request())) {
        let whole = parse(&bytes);
        for len in 0..bytes.len() {
            let so_far = parse(&bytes[..len]);
            prop_assert!(so_far == Ok(Parse::Partial) || so_far == whole, "{:?} at {}: {:?}", so_far, len, whole);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0..64usize) {
        let limits = HeadLimits { max_head: max, max_headers: 3 };
        let _ = parse(&bytes);
        let _ = parse_request(&bytes, &limits, &mut Fields::default());
        let _ = parse_response(&bytes, &limits, &mut Fields::default(), Method::Get);
        let _ = parse_response(&[b"HTTP/1.1 200 ", bytes.as_slice()].concat(), &LIMITS, &mut Fields::default(), Method::Get);
    }

    #[test]
    fn a_table_that_was_used_before_is_as_good_as_a_new_one(
        first in almost(good_request()),
        second in good_request(),
    ) {
        let mut used = Fields::default();
        let _ = parse_request(&first, &LIMITS, &mut used);
        let in_used = parse_request(&second, &LIMITS, &mut used);
        let (head, new) = request(&second);
        prop_assert_eq!(in_used, Ok(Parse::Complete(head.clone())));
        let (mut out_of_used, mut out_of_new) = (Vec::new(), Vec::new());
        write_request(&second, &head, &used, &PLAIN, &mut out_of_used);
        write_request(&second, &head, &new, &PLAIN, &mut out_of_new);
        prop_assert_eq!(out_of_used, out_of_new);
    }

    /// However damaged a head is: if it is taken, the head written from it is taken too, has no more lines
    /// than it should, and a second rewriting finds nothing left to do.
    #[test]
    fn whatever_is_taken_is_rewritten_to_the_same_meaning_and_only_once(
        bytes in almost(good_request()),
        upgrade in any::<bool>(),
    ) {
        if let Ok(Parse::Complete(head)) = parse(&bytes) {
            let rewrite = RequestRewrite { upgrade, ..PLAIN };
            let (_, fields) = request(&bytes);
            let mut once = Vec::new();
            write_request(&bytes, &head, &fields, &rewrite, &mut once);
            let hop_by_hop: &[&[u8]] =
                &[b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"x-a", b"x-b", b"x-c",
                  b"host", b"transfer-encoding",
                  // Of HTTP/1.0 it means nothing, and would seem to, once it says 1.1.
                  if head.version == Version::Http10 { &b"expect"[..] } else { b"host" }];
            let (before, after) = (Meaning::of(&bytes, hop_by_hop), Meaning::of(&once, hop_by_hop));
            if !fields.seen().has(super::super::fields::Kind::Nominated) {
                prop_assert_eq!(before, after);
            }
            let (head, fields) = request(&once);
            prop_assert_eq!(head.len, once.len());
            let mut twice = Vec::new();
            write_request(&once, &head, &fields, &rewrite, &mut twice);
            prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
        }
    }

    #[test]
    fn a_forwarded_request_says_who_its_client_is(bytes in good_request(), of_trusted in any::<bool>()) {
        let (head, fields) = request(&bytes);
        let via = Via::new("w");
        for (rule, trusted) in [(Forwarded::Append, false), (Forwarded::Append, true), (Forwarded::Replace, true)] {
            let client: &[u8] = if trusted && of_trusted { b"2001:db8::7" } else { b"192.0.2.17" };
            let rewrite = RequestRewrite { forwarded: rule, trusted, client: Some(client), via: Some(&via), ..PLAIN };
            let mut out = Vec::new();
            write_request(&bytes, &head, &fields, &rewrite, &mut out);
            let (_, fields) = request(&out);
            let values = |name: &[u8]| -> Vec<_> {
                fields.iter(&out).filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
            };
            prop_assert_eq!(values(b"x-real-ip"), [client]);
            prop_assert!(values(b"via").ends_with(&[b"1.1 w"]));
            for (name, _) in fields.iter(&out) {
                let name = String::from_utf8_lossy(name).to_lowercase();
                let alike = name.replace('_', "-");
                prop_assert!(name == alike || !alike.starts_with("x-forwarded-") && alike != "x-real-ip", "{}", name);
            }
            let chain = values(b"x-forwarded-for");
            if trusted && rule == Forwarded::Append {
                prop_assert!(chain.last().unwrap().ends_with(b"192.0.2.17"));
            } else {
                prop_assert_eq!(chain, [client]);
                prop_assert!(values(b"forwarded").is_empty());
            }
        }
    }

    #[test]
    fn whatever_response_is_taken_is_rewritten_to_one_that_is_taken(bytes in almost(good_response())) {
        let mut fields = Fields::default();
        if let Ok(Parse::Complete(head)) = parse_response(&bytes, &LIMITS, &mut fields, Method::Get) {
            let rewrite = ResponseRewrite {
                framing: DownstreamFraming::AsReceived,
                connection: ConnectionField::None,
                upgrade: false,
                added: b"",
            };
            let mut once = Vec::new();
            write_response(&bytes, &head, &fields, &rewrite, &mut once);
            let (again, fields) = response(&once, Method::Get);
            prop_assert_eq!((again.len, again.status, again.body), (once.len(), head.status, head.body));
            let mut twice = Vec::new();
            write_response(&once, &again, &fields, &rewrite, &mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
