//! An exchange as a span: OpenTelemetry's conventions for HTTP servers (1.23 and later, which are stable), in
//! the JSON that OTLP makes of its messages.
//!
//! One span an exchange, of the kind SERVER: it is the parent of the backend's own, and what weir waited for
//! inside it stands in attributes that begin with `weir.`. Queries are left out of it, as they may hold
//! what is nobody else's business.

use crate::log::record::{Ending, Entry, Termination, Text};
use crate::trace::{Context, hex};
use serde::Serialize;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// `SPAN_KIND_SERVER`
const SERVER: u8 = 2;

/// `STATUS_CODE_ERROR`
const ERROR: u8 = 2;

/// Of a span's flags: it is known whether its parent is another process's, and it is (`SPAN_FLAGS_*`).
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

/// Methods that a span may be named by; any other could be anything.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent_span_id: &'a str,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Status {
    code: u8,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: Value<'a>,
}

/// `AnyValue`. Numbers of 64 bits are text in JSON.
#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "stringValue")]
    Text(Cow<'a, str>),
    #[serde(rename = "intValue")]
    Number(String),
}

/// Attributes in the making; what is empty is left out.
struct Attributes<'a>(Vec<Attribute<'a>>);

impl<'a> Attributes<'a> {
    fn text(&mut self, key: &'static str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push(Attribute { key, value: Value::Text(value) });
        }
    }

    fn number(&mut self, key: &'static str, value: impl Into<u64>) {
        self.0.push(Attribute { key, value: Value::Number(value.into().to_string()) });
    }
}

/// Appends an exchange that is a step of a trace to `out`. `texts`: the buffer that it was recorded in.
/// `unix_us_at_zero`: Unix time at the zero of the clock that exchanges are timed by.
pub(super) fn write(
    entry: &Entry,
    context: &Context,
    texts: &[u8],
    unix_us_at_zero: u64,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let text = |text| String::from_utf8_lossy(entry.text(text, texts));
    let line = text(Text::Line);
    let (method, target, version) = parts(&line);
    let known = METHODS.contains(&method);
    let mut attributes = Attributes(Vec::with_capacity(24));
    attributes.text("http.request.method", if known { method } else { "_OTHER" });
    if !known {
        attributes.text("http.request.method_original", method);
    }
    attributes.text("url.scheme", if entry.has(Text::TlsVersion) { "https" } else { "http" });
    attributes.text("url.path", path(target));
    let host = text(Text::Host);
    let (name, port) = host_and_port(&host);
    attributes.text("server.address", name);
    if let Some(port) = port {
        attributes.number("server.port", port);
    }
    attributes.text("network.protocol.version", version);
    if let Some(client) = entry.client {
        attributes.text("client.address", client.to_string());
    }
    attributes.text("user_agent.original", text(Text::UserAgent));
    if entry.status > 0 {
        attributes.number("http.response.status_code", entry.status);
    }
    if let Some(status) = entry.grpc_status {
        attributes.number("rpc.grpc.status_code", status.number());
    }
    let error = error(entry);
    attributes.text("error.type", error.clone().unwrap_or_default());
    own(entry, &text, &mut attributes);

    let (mut trace_id, mut span_id, mut parent) = ([0; 32], [0; 16], [0; 16]);
    hex(&context.trace.0, &mut trace_id);
    hex(&context.span.0, &mut span_id);
    hex(&context.parent.map_or([0; 8], |parent| parent.0), &mut parent);
    let digits = |digits| std::str::from_utf8(digits).unwrap_or_default();
    let start = unix_us_at_zero.saturating_add(entry.began.as_us());
    let nanos = |us: u64| us.saturating_mul(1_000).to_string();
    let remote = if context.parent.is_some() { PARENT_REMOTE } else { 0 };
    serde_json::to_writer(
        out,
        &Span {
            trace_id: digits(&trace_id),
            span_id: digits(&span_id),
            parent_span_id: if context.parent.is_some() { digits(&parent) } else { "" },
            flags: u32::from(context.sampled) | PARENT_KNOWN | remote,
            name: if known { method } else { "HTTP" },
            kind: SERVER,
            start_time_unix_nano: nanos(start),
            end_time_unix_nano: nanos(start.saturating_add(entry.whole.as_us())),
            attributes: attributes.0,
            status: error.map(|_| Status { code: ERROR }),
        },
    )
}

/// What no convention has a name for.
fn own<'a>(entry: &Entry, text: &impl Fn(Text) -> Cow<'a, str>, attributes: &mut Attributes<'a>) {
    attributes.text("weir.listener", text(Text::Listener));
    attributes.text("weir.pool", text(Text::Pool));
    attributes.text("weir.backend", text(Text::Backend));
    attributes.text("weir.request_id", text(Text::RequestId));
    attributes.text("weir.termination", Termination::of(entry).code());
    attributes.number("weir.retries", entry.retries);
    if let Some(connect) = entry.connect {
        attributes.number("weir.connect_us", connect.as_us());
    }
    if let Some(first_byte) = entry.first_byte {
        attributes.number("weir.first_byte_us", first_byte.as_us());
    }
    if entry.own.as_us() > 0 {
        attributes.number("weir.own_us", entry.own.as_us());
    }
}

/// Why the server has failed; `None`: it has not. A client that asks for what is not there has not found a
/// fault.
fn error(entry: &Entry) -> Option<Cow<'static, str>> {
    let failed = entry.status >= 500 || matches!(entry.ending, Ending::Cut(_) | Ending::Lost(_));
    failed.then(|| entry.cause().map_or_else(|| entry.status.to_string().into(), Cow::Borrowed))
}

/// Method, target, and version of a request's first line: what there is of them.
fn parts(line: &str) -> (&str, &str, &str) {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target) = (word(), word());
    (method, target, word().strip_prefix("HTTP/").unwrap_or_default())
}

/// The path of a target of whatever form, without its query.
fn path(target: &str) -> &str {
    let from = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    from.split('?').next().unwrap_or_default()
}

/// A `Host`, taken apart.
fn host_and_port(host: &str) -> (String, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let v6 = v6.filter(|v6| v6.parse::<Ipv6Addr>().is_ok());
    (v6.unwrap_or(name).to_owned(), port)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log::record::Draft;
    use crate::metrics::{Refusal, UpstreamFailure};
    use crate::time::{Instant, Micros};
    use crate::trace::{Dice, Share};
    use serde_json::{Value as Json, json};

    fn shown(draft: &Draft) -> Json {
        let mut texts = Vec::new();
        let entry = draft.put(&mut texts);
        let mut out = Vec::new();
        write(&entry, &entry.trace.unwrap(), &texts, 1_000_000, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    fn attribute(span: &Json, key: &str) -> Option<String> {
        let found = span["attributes"].as_array().unwrap().iter().find(|one| one["key"] == key)?;
        let value = found["value"].as_object().unwrap().values().next().unwrap();
        Some(value.as_str().unwrap().to_owned())
    }

    fn draft(line: &str) -> Draft {
        let mut draft = Draft::default();
        draft.begin(Instant::from_us(5), Some("192.0.2.7".parse().unwrap()));
        draft.set(Text::Line, line.as_bytes());
        draft.entry.trace = Some(Context::after(None, true, Share::of(1.0), &mut Dice::new([1; 4])));
        draft.entry.whole = Micros::from_us(7);
        draft
    }

    #[test]
    fn a_span_says_what_the_conventions_ask_for_and_no_query() {
        let mut draft = draft("GET /a/b?secret=c HTTP/1.1");
        draft.set(Text::Host, b"example.org:8080");
        draft.set(Text::UserAgent, b"curl/8 \xff");
        draft.set(Text::Backend, b"b1");
        draft.entry.status = 200;
        draft.entry.connect = Some(Micros::from_us(3));
        let span = shown(&draft);
        assert_eq!(span["name"], "GET");
        assert_eq!((&span["kind"], &span["flags"], span.get("status")), (&json!(2), &json!(0x101), None));
        assert_eq!(
            (&span["startTimeUnixNano"], &span["endTimeUnixNano"]),
            (&json!("1000005000"), &json!("1000012000"))
        );
        assert_eq!(span.get("parentSpanId"), None);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("url.path", "/a/b"),
            ("url.scheme", "http"),
            ("server.address", "example.org"),
            ("server.port", "8080"),
            ("network.protocol.version", "1.1"),
            ("client.address", "192.0.2.7"),
            ("user_agent.original", "curl/8 \u{fffd}"),
            ("http.response.status_code", "200"),
            ("weir.backend", "b1"),
            ("weir.termination", "--"),
            ("weir.retries", "0"),
            ("weir.connect_us", "3"),
        ] {
            assert_eq!(attribute(&span, key).as_deref(), Some(value), "{key}");
        }
        for key in ["url.query", "error.type", "weir.pool", "weir.first_byte_us", "weir.request_id"] {
            assert_eq!(attribute(&span, key), None, "{key}");
        }
        assert!(!span.to_string().contains("secret"));
    }

    #[test]
    fn what_failed_says_why_and_what_the_client_did_wrong_is_no_failure() {
        for (status, ending, expected) in [
            (200, Ending::Answered, None),
            (404, Ending::Answered, None),
            (404, Ending::Refused(Refusal::NoRoute, None), None),
            (500, Ending::Answered, Some("500")),
            (503, Ending::Refused(Refusal::NoBackend, None), Some("no_backend")),
            (
                502,
                Ending::Refused(Refusal::UpstreamFailed, Some(UpstreamFailure::Connect)),
                Some(UpstreamFailure::Connect.label()),
            ),
            (200, Ending::Cut(UpstreamFailure::Truncated), Some("truncated")),
            (0, Ending::Lost(Refusal::ClientGone), Some("client_gone")),
        ] {
            let mut draft = draft("GET / HTTP/1.1");
            (draft.entry.status, draft.entry.ending) = (status, ending);
            let span = shown(&draft);
            assert_eq!(attribute(&span, "error.type").as_deref(), expected, "{ending:?}");
            assert_eq!(span.get("status"), expected.map(|_| json!({ "code": 2 })).as_ref(), "{ending:?}");
        }
    }

    #[test]
    fn methods_that_could_be_anything_name_no_span() {
        let span = shown(&draft("BREW /pot HTTP/1.1"));
        assert_eq!(span["name"], "HTTP");
        assert_eq!(attribute(&span, "http.request.method").as_deref(), Some("_OTHER"));
        assert_eq!(attribute(&span, "http.request.method_original").as_deref(), Some("BREW"));
    }

    #[test]
    fn targets_and_hosts_are_taken_apart_whatever_their_form() {
        for (target, expected) in [
            ("/a?b", "/a"),
            ("http://h:1/a?b", "/a"),
            ("http://h?b", "/"),
            ("*", "*"),
            ("", ""),
            ("/a?x=http://b/c", "/a"),
        ] {
            assert_eq!(path(target), expected, "{target}");
        }
        for (host, name, port) in [
            ("a", "a", None),
            ("a:1", "a", Some(1)),
            ("[::1]:2", "::1", Some(2)),
            ("[::1]", "::1", None),
            ("a:b", "a", None),
        ] {
            assert_eq!(host_and_port(host), (name.to_owned(), port), "{host}");
        }
    }
}
