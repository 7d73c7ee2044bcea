//! What requests are marked with, and their answers.
#![allow(clippy::unwrap_used)]

use super::tests::{AS_IT_CAME, LIMITS};
use super::*;
use crate::config::TrustedProxies;
use crate::http1::{Fields, Method, RequestBody, Version};
use crate::route::Router;
use crate::trace::Share;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

/// What goes up of a request with these fields, without its first two lines; and how it was marked.
fn up(fields: &str, trusted: bool, marks: MarkRules<'_>) -> (String, Vec<u8>, Option<crate::trace::Context>) {
    let router = Router::from_routes([], Some(0));
    let proxies = TrustedProxies::default();
    let believed = trusted.then_some(&proxies);
    let rules =
        RequestRules { limits: &LIMITS, router: &router, max_body: 0, believed, rewrite: AS_IT_CAME, marks };
    let (mut marker, mut out) = (Marker::new([1, 2, 3, 4]), Vec::new());
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    take_request(text.as_bytes(), &rules, &mut marker, &mut Fields::default(), &mut out).unwrap().unwrap();
    let out = String::from_utf8(out).unwrap();
    let fields = out.strip_prefix("GET / HTTP/1.1\r\nHost: a\r\n").unwrap().strip_suffix("\r\n").unwrap();
    let Marks { id_line, context } = marker.marks();
    (fields.to_owned(), id_line.to_vec(), context)
}

const NONE: MarkRules<'static> =
    MarkRules { id_field: None, sample: None, unix_ms: 0, subject_fields: &[], subject: None };

const IDS: MarkRules<'static> =
    MarkRules { id_field: Some("X-Request-Id"), unix_ms: 0x017F_22E2_79B0, ..NONE };

fn traces(sample: f64) -> MarkRules<'static> {
    MarkRules { sample: Some(Share::of(sample)), ..NONE }
}

#[test]
fn one_id_goes_up_a_trusted_peers_if_it_is_good_and_a_new_one_else() {
    for (case, fields, trusted, kept) in [
        ("none", "", true, false),
        ("trusted", "x-request-id: abc\r\n", true, true),
        ("not trusted", "X-Request-Id: abc\r\n", false, false),
        ("no word", "X-Request-Id: a bc\r\n", true, false),
        ("empty", "X-Request-Id:\r\n", true, false),
        ("two", "X-Request-Id: abc\r\nX-Request-Id: abc\r\n", true, false),
        ("a look-alike beside it", "X_Request_Id: abd\r\nX-Request-Id: abc\r\n", true, true),
        ("a look-alike alone", "X_Request-Id: abc\r\n", true, false),
        ("for this hop alone", "Connection: x-request-id\r\nX-Request-Id: abc\r\n", true, false),
    ] {
        let (out, line, _) = up(fields, trusted, IDS);
        assert_eq!(out.as_bytes(), line, "{case}");
        let id = out.strip_prefix("X-Request-Id: ").unwrap().strip_suffix("\r\n").unwrap();
        assert_eq!(id == "abc", kept, "{case}: {id}");
        assert!(kept || id.starts_with("017f22e2-79b0-7") && id.len() == 36, "{case}: {id}");
    }
}

#[test]
fn without_rules_ids_and_contexts_pass_as_they_are() {
    let fields = format!("X-Request-Id: a b\r\n{PARENT}tracestate: a=b\r\nX_Request_Id: c\r\n");
    for trusted in [false, true] {
        let (out, line, context) = up(&fields, trusted, MarkRules::default());
        assert_eq!((out, line.as_slice(), context), (fields.clone(), &b""[..], None));
    }
}

#[test]
fn a_trace_is_continued_with_its_state_and_one_that_cannot_be_read_begins_anew_without() {
    let good = format!("{PARENT}tracestate: a=b\r\ntracestate: c=d\r\n");
    for (case, fields, continues) in [
        ("none", String::new(), false),
        ("good", good.clone(), true),
        ("a name in capitals", good.replace("traceparent", "TraceParent"), true),
        ("state alone", "tracestate: a=b\r\n".to_owned(), false),
        ("bad", good.replace("00-0af", "00-0AF"), false),
        ("two", format!("{PARENT}{good}"), false),
    ] {
        let (out, _, context) = up(&fields, true, traces(0.0));
        let context = context.unwrap();
        assert_eq!(context.parent.is_some(), continues, "{case}: {out}");
        let state = if continues { "tracestate: a=b\r\ntracestate: c=d\r\n" } else { "" };
        let text = String::from_utf8(context.text().to_vec()).unwrap();
        assert_eq!(out, format!("{state}traceparent: {text}\r\n"), "{case}");
        assert_eq!(text.contains(TRACE), continues, "{case}");
        assert_eq!(context.sampled, continues, "{case}");
    }
}

#[test]
fn who_is_not_trusted_does_not_decide_whether_a_trace_is_sampled() {
    for (sample, flag) in [(0.0, "-01\r\n"), (1.0, "-00\r\n")] {
        let fields = PARENT.replace("-01\r\n", flag);
        let (out, _, context) = up(&fields, false, traces(sample));
        assert_eq!(context.unwrap().sampled, sample > 0.5);
        assert!(out.contains(TRACE) && !out.ends_with(flag), "{out}");
    }
}

#[test]
fn a_trailer_cannot_say_what_weir_has_said() {
    let router = Router::from_routes([], Some(0));
    let marks = MarkRules { sample: Some(Share::of(0.0)), ..IDS };
    for (marks, refused) in [(marks, true), (MarkRules::default(), false)] {
        for trailer in ["x-request-id: a", "X_Request_Id: a", "traceparent: a"] {
            let rewrite = AS_IT_CAME;
            let rules = RequestRules {
                limits: &LIMITS,
                router: &router,
                max_body: 0,
                believed: None,
                rewrite,
                marks,
            };
            let text = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailer}\r\n\r\n"
            );
            let (mut marker, mut fields, mut out) =
                (Marker::new([1, 2, 3, 4]), Fields::default(), Vec::new());
            let taken = take_request(text.as_bytes(), &rules, &mut marker, &mut fields, &mut out);
            assert_eq!(taken.is_err(), refused, "{trailer}: {taken:?}");
        }
    }
}

#[test]
fn a_final_answer_has_the_id_of_its_request_instead_of_the_backends() {
    let facts = RequestFacts {
        method: Method::Get,
        version: Version::Http11,
        body: RequestBody::None,
        keep_alive: true,
        upgrade: true,
        grpc: false,
    };
    let line = b"X-Request-Id: abc\r\n".as_slice();
    for (case, answer, expected) in [
        ("none", "200 OK\r\nA: b", "200 OK\r\nA: b\r\nX-Request-Id: abc"),
        ("its own", "200 OK\r\nx-request-id: d\r\nA: b", "200 OK\r\nA: b\r\nX-Request-Id: abc"),
        (
            "an upgrade",
            "101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade",
            "101 Switching Protocols\r\nUpgrade: a\r\nX-Request-Id: abc\r\nConnection: upgrade",
        ),
        ("interim", "103 Early Hints\r\nX-Request-Id: d", "103 Early Hints\r\nX-Request-Id: d"),
    ] {
        let (bytes, mut out) = (format!("HTTP/1.1 {answer}\r\n\r\n"), Vec::new());
        let taken = take_response(bytes.as_bytes(), &facts, 0, false, line, &mut Fields::default(), &mut out);
        assert!(taken.unwrap().is_some());
        let out = String::from_utf8(out).unwrap().replace("Transfer-Encoding: chunked\r\n", "");
        assert_eq!(out, format!("HTTP/1.1 {expected}\r\n\r\n"), "{case}");
    }
}
