//! A record as a line: each format is a list of texts and variables, made when the configuration is read.
//!
//! Pure: the time of day comes in with the record. `config` knows the variables and their names; what each
//! comes to is here.

use super::encode;
use super::stamp::Stamps;
use crate::config::{AccessFormat, Piece, Variable};
use crate::log::record::{Entry, Termination, Text};
use crate::time::Micros;

/// How lines look.
#[derive(Debug)]
pub(super) struct Lines {
    pieces: Vec<Piece>,
    style: Style,
    stamps: Stamps,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// As it is; "-" for nothing.
    Plain,
    /// As a JSON value.
    Json,
}

/// One exchange, with all that its line may need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) entry: &'a Entry,
    /// The texts that it names.
    pub(super) texts: &'a [u8],
    pub(super) shard: u16,
    /// When it began, in µs since 1970.
    pub(super) unix_us: u64,
}

/// What a variable comes to.
enum Value<'a> {
    Nothing,
    Text(&'a [u8]),
    Number(u64),
    Flag(bool),
    Client,
    Time,
    TimeCommon,
}

/// "common" and "combined", as the servers that named them write them.
fn common() -> Vec<Piece> {
    use Variable::{BytesOut, Client, Request, Status, TimeCommon};
    let text = |text: &str| Piece::Text(text.to_owned());
    vec![
        Piece::Variable(Client),
        text(" - - ["),
        Piece::Variable(TimeCommon),
        text("] \""),
        Piece::Variable(Request),
        text("\" "),
        Piece::Variable(Status),
        text(" "),
        Piece::Variable(BytesOut),
    ]
}

fn combined() -> Vec<Piece> {
    let text = |text: &str| Piece::Text(text.to_owned());
    let mut pieces = common();
    pieces.extend([text(" \""), Piece::Variable(Variable::Referer)]);
    pieces.extend([text("\" \""), Piece::Variable(Variable::UserAgent), text("\"")]);
    pieces
}

/// One object with every variable that is not in others.
fn json() -> Vec<Piece> {
    let others = [Variable::TimeCommon, Variable::Request];
    let mut pieces = Vec::new();
    for variable in Variable::ALL.iter().filter(|variable| !others.contains(variable)) {
        let before = if pieces.is_empty() { "{" } else { "," };
        pieces.push(Piece::Text(format!("{before}\"{}\":", variable.name())));
        pieces.push(Piece::Variable(*variable));
    }
    pieces.push(Piece::Text("}".to_owned()));
    pieces
}

impl Lines {
    /// `None`: there are none.
    pub(super) fn of(format: &AccessFormat) -> Option<Self> {
        let (pieces, style) = match format {
            AccessFormat::Off => return None,
            AccessFormat::Common => (common(), Style::Plain),
            AccessFormat::Combined => (combined(), Style::Plain),
            AccessFormat::Json => (json(), Style::Json),
            AccessFormat::Template(template) => (template.pieces().to_vec(), Style::Plain),
        };
        Some(Self { pieces, style, stamps: Stamps::default() })
    }

    /// Appends a record's line, with its end.
    pub(super) fn write(&mut self, record: Record<'_>, out: &mut Vec<u8>) {
        let request = FirstLine::of(record.entry.text(Text::Line, record.texts));
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => {
                    let value = value(*variable, record, &request);
                    match self.style {
                        Style::Plain => plain(&value, record, &mut self.stamps, out),
                        Style::Json => in_json(&value, record, &mut self.stamps, out),
                    }
                }
            }
        }
        out.push(b'\n');
    }
}

/// A request's first line, taken apart.
struct FirstLine<'a> {
    line: &'a [u8],
    method: &'a [u8],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    version: &'a [u8],
}

impl<'a> FirstLine<'a> {
    fn of(line: &'a [u8]) -> Self {
        let mut parts = Self { line, method: b"", path: line, query: None, version: b"" };
        let Some(first) = memchr::memchr(b' ', line) else { return parts };
        let Some(last) = memchr::memrchr(b' ', line).filter(|last| *last > first) else { return parts };
        parts.method = &line[..first];
        parts.version = &line[last + 1..];
        let target = &line[first + 1..last];
        match memchr::memchr(b'?', target) {
            Some(mark) => (parts.path, parts.query) = (&target[..mark], Some(&target[mark + 1..])),
            None => parts.path = target,
        }
        parts
    }
}

fn value<'a>(variable: Variable, record: Record<'a>, request: &FirstLine<'a>) -> Value<'a> {
    let Record { entry, texts, shard, .. } = record;
    let text = |text: &'a [u8]| if text.is_empty() { Value::Nothing } else { Value::Text(text) };
    let recorded = |name: Text| text(entry.text(name, texts));
    let length = |length: Option<Micros>| length.map_or(Value::Nothing, |us| Value::Number(us.as_us()));
    match variable {
        Variable::Time => Value::Time,
        Variable::TimeCommon => Value::TimeCommon,
        Variable::Client if entry.client.is_none() => Value::Nothing,
        Variable::Client => Value::Client,
        Variable::Listener => recorded(Text::Listener),
        Variable::Request => text(request.line),
        Variable::Method => text(request.method),
        Variable::Path => text(request.path),
        Variable::Query => request.query.map_or(Value::Nothing, text),
        Variable::Version => text(request.version),
        Variable::Host => recorded(Text::Host),
        Variable::Referer => recorded(Text::Referer),
        Variable::UserAgent => recorded(Text::UserAgent),
        Variable::RequestId => recorded(Text::RequestId),
        Variable::Pool => recorded(Text::Pool),
        Variable::Backend => recorded(Text::Backend),
        Variable::Shard => Value::Number(shard.into()),
        Variable::Status if entry.status == 0 => Value::Nothing,
        Variable::Status => Value::Number(entry.status.into()),
        Variable::BytesIn => Value::Number(entry.bytes_in),
        Variable::BytesOut => Value::Number(entry.bytes_out),
        Variable::Connect => length(entry.connect),
        Variable::FirstByte => length(entry.first_byte),
        Variable::Whole => Value::Number(entry.whole.as_us()),
        Variable::Own => Value::Number(entry.own.as_us()),
        Variable::Retries => Value::Number(entry.retries.into()),
        Variable::Reused => Value::Flag(entry.reused),
        Variable::Termination => Value::Text(Termination::of(entry).code().as_bytes()),
        Variable::Cause => entry.cause().map_or(Value::Nothing, |cause| Value::Text(cause.as_bytes())),
    }
}

fn plain(value: &Value<'_>, record: Record<'_>, stamps: &mut Stamps, out: &mut Vec<u8>) {
    match value {
        Value::Nothing => out.push(b'-'),
        Value::Text(text) => encode::escaped(text, out),
        Value::Flag(flag) => out.push(b'0' + u8::from(*flag)),
        Value::Number(number) => encode::number(*number, out),
        Value::Client => client(record, out),
        Value::Time => time(record, stamps, out),
        Value::TimeCommon => {
            out.extend_from_slice(stamps.common(record.unix_us / 1_000_000).as_bytes());
        }
    }
}

fn in_json(value: &Value<'_>, record: Record<'_>, stamps: &mut Stamps, out: &mut Vec<u8>) {
    match value {
        Value::Nothing => out.extend_from_slice(b"null"),
        Value::Text(text) => encode::json(text, out),
        Value::Flag(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(_) => plain(value, record, stamps, out),
        Value::Client | Value::Time | Value::TimeCommon => {
            out.push(b'"');
            plain(value, record, stamps, out);
            out.push(b'"');
        }
    }
}

fn client(record: Record<'_>, out: &mut Vec<u8>) {
    if let Some(client) = record.entry.client {
        encode::address(client, out);
    }
}

fn time(record: Record<'_>, stamps: &mut Stamps, out: &mut Vec<u8>) {
    out.extend_from_slice(stamps.rfc3339(record.unix_us / 1_000_000).as_bytes());
    out.push(b'.');
    encode::fraction(record.unix_us % 1_000_000, out);
    out.push(b'Z');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::log::record::{Draft, Ending};
    use crate::metrics::{Refusal, UpstreamFailure};
    use crate::time::Instant;
    use serde_json::{Value as Json, json};

    /// 2026-11-29T10:31:43.000042Z
    const UNIX_US: u64 = 1_795_948_303_000_042;

    fn draft() -> Draft {
        let mut draft = Draft::default();
        draft.begin(Instant::from_us(7), Some("192.0.2.7".parse().unwrap()));
        draft.set(Text::Listener, b"web");
        draft.set(Text::Line, b"GET /a%20b?q=1&r=? HTTP/1.1");
        draft.set(Text::Host, b"example.org");
        draft.set(Text::UserAgent, b"curl \"8\" \xc3\xa9\xff");
        draft.set(Text::Pool, b"app");
        draft.set(Text::Backend, b"b1");
        let entry = &mut draft.entry;
        (entry.status, entry.bytes_in, entry.bytes_out, entry.retries) = (200, 5, 1234, 1);
        (entry.connect, entry.first_byte) = (Some(Micros::ZERO), Some(Micros::from_us(810)));
        (entry.whole, entry.own, entry.reused) = (Micros::from_us(900), Micros::from_us(31), true);
        draft
    }

    fn line(format: &str, draft: &Draft) -> String {
        let text = format!(
            "[access_log]\nformat = {}\n[[listener]]\naddress = \"127.0.0.1:80\"\npool = \"a\"\n[[pool.a.backend]]\naddress = \"127.0.0.1:81\"\n",
            Json::from(format)
        );
        let config = crate::config::parse(&text, "weir.toml").unwrap().config;
        let mut out = Vec::new();
        let mut texts = b"others'".to_vec();
        let entry = draft.put(&mut texts);
        let record = Record { entry: &entry, texts: &texts, shard: 3, unix_us: UNIX_US };
        Lines::of(&config.access_log.format).unwrap().write(record, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn common_and_combined_are_as_other_servers_write_them() {
        let common = "192.0.2.7 - - [29/Nov/2026:10:31:43 +0000] \"GET /a%20b?q=1&r=? HTTP/1.1\" 200 1234";
        assert_eq!(line("common", &draft()), common);
        let agent = "curl \\x228\\x22 \\xC3\\xA9\\xFF";
        assert_eq!(line("combined", &draft()), format!("{common} \"-\" \"{agent}\""));
    }

    #[test]
    fn a_json_line_is_one_object_with_every_variable_by_its_name() {
        let read: Json = serde_json::from_str(&line("json", &draft())).unwrap();
        assert_eq!(
            read,
            json!({
                "time": "2026-11-29T10:31:43.000042Z", "client": "192.0.2.7", "listener": "web",
                "method": "GET", "path": "/a%20b", "query": "q=1&r=?", "version": "HTTP/1.1",
                "host": "example.org", "referer": null, "user_agent": "curl \"8\" é\u{fffd}",
                "request_id": null, "pool": "app", "backend": "b1", "shard": 3, "status": 200,
                "bytes_in": 5, "bytes_out": 1234, "connect_us": 0, "first_byte_us": 810, "whole_us": 900,
                "own_us": 31, "retries": 1, "reused": true, "termination": "--", "cause": null
            })
        );
    }

    #[test]
    fn a_format_string_has_its_variables_filled_in_and_nothing_is_a_dash() {
        let format = "$client [$time] \"$request\" ${method}$path?$query $version $status $connect_us/$first_byte_us/$whole_us/$own_us $referer $reused $$5 $termination $cause";
        assert_eq!(
            line(format, &draft()),
            "192.0.2.7 [2026-11-29T10:31:43.000042Z] \"GET /a%20b?q=1&r=? HTTP/1.1\" GET/a%20b?q=1&r=? \
             HTTP/1.1 200 0/810/900/31 - 1 $5 -- -"
        );
        let mut refused = Draft::default();
        refused.begin(Instant::from_us(7), None);
        refused.entry.ending = Ending::Refused(Refusal::UpstreamFailed, Some(UpstreamFailure::Connect));
        let format = "$client $status $backend $connect_us $first_byte_us $bytes_out $termination $cause";
        assert_eq!(line(format, &refused), "- - - - - 0 SC connect");
    }

    #[test]
    fn a_first_line_is_taken_apart_if_it_is_one_and_stands_whole_as_the_path_if_not() {
        for (given, expected) in [
            ("GET / HTTP/1.1", "GET|/|-|HTTP/1.1"),
            ("GET /?  HTTP/1.0", "GET|/|\\x20|HTTP/1.0"),
            ("OPTIONS * HTTP/1.1", "OPTIONS|*|-|HTTP/1.1"),
            ("GET http://a/b?c HTTP/1.1", "GET|http://a/b|c|HTTP/1.1"),
            ("\u{16}\u{3}\u{1}", "-|\\x16\\x03\\x01|-|-"),
            ("GET /", "-|GET /|-|-"),
            ("", "-|-|-|-"),
        ] {
            let mut draft = Draft::default();
            draft.set(Text::Line, given.as_bytes());
            let written = line("$method|$path|$query|$version", &draft);
            assert_eq!(written, expected.replace("\\x20", " "), "{given:?}");
        }
    }
}
