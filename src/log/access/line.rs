//! A record as a line: each format is a list of texts and variables, made when the configuration is read.
//!
//! Pure: the time of day comes in with the record. `config` knows the variables and their names; what each
//! comes to is here.

use super::encode;
use super::stamp::Stamps;
use crate::config::{AccessFormat, Piece, Variable};
use crate::log::record::{Entry, Termination, Text};
use crate::time::Micros;
use crate::trace::hex;

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
        let mut pen = Pen { style: self.style, out };
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => pen.out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => pen.put(*variable, &record, &request, &mut self.stamps),
            }
        }
        pen.out.push(b'\n');
    }
}

/// A request's first line, taken apart.
struct FirstLine<'a> {
    line: &'a [u8],
    method: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
    version: &'a [u8],
}

impl<'a> FirstLine<'a> {
    fn of(line: &'a [u8]) -> Self {
        let mut parts = Self { line, method: b"", path: line, query: b"", version: b"" };
        let Some(first) = memchr::memchr(b' ', line) else { return parts };
        let Some(last) = memchr::memrchr(b' ', line).filter(|last| *last > first) else { return parts };
        parts.method = &line[..first];
        parts.version = &line[last + 1..];
        let target = &line[first + 1..last];
        match memchr::memchr(b'?', target) {
            Some(mark) => (parts.path, parts.query) = (&target[..mark], &target[mark + 1..]),
            None => parts.path = target,
        }
        parts
    }
}

/// Writes values in a style.
struct Pen<'a> {
    style: Style,
    out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    /// What a variable comes to.
    fn put(&mut self, variable: Variable, record: &Record<'_>, request: &FirstLine<'_>, stamps: &mut Stamps) {
        let Record { entry, texts, shard, unix_us } = record;
        let recorded = |name: Text| entry.text(name, texts);
        match variable {
            Variable::Time => self.quoted(|out| {
                out.extend_from_slice(stamps.rfc3339(unix_us / 1_000_000).as_bytes());
                out.push(b'.');
                encode::fraction(unix_us % 1_000_000, out);
                out.push(b'Z');
            }),
            Variable::TimeCommon => self.quoted(|out| {
                out.extend_from_slice(stamps.common(unix_us / 1_000_000).as_bytes());
            }),
            Variable::Client => match entry.client {
                Some(client) => self.quoted(|out| encode::address(client, out)),
                None => self.nothing(),
            },
            Variable::Listener => self.text(recorded(Text::Listener)),
            Variable::Request => self.text(request.line),
            Variable::Method => self.text(request.method),
            Variable::Path => self.text(request.path),
            Variable::Query => self.text(request.query),
            Variable::Version => self.text(request.version),
            Variable::Host => self.text(recorded(Text::Host)),
            Variable::Referer => self.text(recorded(Text::Referer)),
            Variable::UserAgent => self.text(recorded(Text::UserAgent)),
            Variable::RequestId => self.text(recorded(Text::RequestId)),
            Variable::TlsVersion => self.text(recorded(Text::TlsVersion)),
            Variable::TlsCipher => self.text(recorded(Text::TlsCipher)),
            Variable::TlsServerName => self.text(recorded(Text::TlsServerName)),
            Variable::TlsClientSubject => self.text(recorded(Text::TlsClientSubject)),
            Variable::TraceId => self.digits(entry.trace.as_ref().map(|step| &step.trace.0[..])),
            Variable::SpanId => self.digits(entry.trace.as_ref().map(|step| &step.span.0[..])),
            Variable::Pool => self.text(recorded(Text::Pool)),
            Variable::Backend => self.text(recorded(Text::Backend)),
            Variable::Shard => self.number((*shard).into()),
            Variable::Status if entry.status == 0 => self.nothing(),
            Variable::Status => self.number(entry.status.into()),
            Variable::GrpcStatus => match entry.grpc_status {
                Some(status) => self.number(status.number().into()),
                None => self.nothing(),
            },
            Variable::BytesIn => self.number(entry.bytes_in),
            Variable::BytesOut => self.number(entry.bytes_out),
            Variable::Connect => self.length(entry.connect),
            Variable::FirstByte => self.length(entry.first_byte),
            Variable::Whole => self.number(entry.whole.as_us()),
            Variable::Own => self.number(entry.own.as_us()),
            Variable::Retries => self.number(entry.retries.into()),
            Variable::Reused => self.flag(entry.reused),
            Variable::Termination => self.quoted(|out| {
                out.extend_from_slice(Termination::of(entry).code().as_bytes());
            }),
            Variable::Cause => self.text(entry.cause().unwrap_or_default().as_bytes()),
        }
    }

    /// A text; nothing, if it is empty.
    fn text(&mut self, text: &[u8]) {
        match self.style {
            _ if text.is_empty() => self.nothing(),
            Style::Plain => encode::escaped(text, self.out),
            Style::Json => encode::json(text, self.out),
        }
    }

    /// A text that needs no escapes.
    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.style {
            Style::Plain => write(self.out),
            Style::Json => {
                self.out.push(b'"');
                write(self.out);
                self.out.push(b'"');
            }
        }
    }

    /// An id in hexadecimal digits.
    fn digits(&mut self, id: Option<&[u8]>) {
        match id {
            Some(id) => self.quoted(|out| {
                let from = out.len();
                out.resize(from + 2 * id.len(), 0);
                hex(id, &mut out[from..]);
            }),
            None => self.nothing(),
        }
    }

    fn number(&mut self, number: u64) {
        encode::number(number, self.out);
    }

    fn length(&mut self, length: Option<Micros>) {
        match length {
            Some(length) => self.number(length.as_us()),
            None => self.nothing(),
        }
    }

    fn flag(&mut self, flag: bool) {
        match self.style {
            Style::Plain => self.out.push(b'0' + u8::from(flag)),
            Style::Json => self.out.extend_from_slice(if flag { b"true" } else { b"false" }),
        }
    }

    fn nothing(&mut self) {
        match self.style {
            Style::Plain => self.out.push(b'-'),
            Style::Json => self.out.extend_from_slice(b"null"),
        }
    }
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
                "request_id": null, "tls_version": null, "tls_cipher": null,
                "tls_server_name": null, "tls_client_subject": null, "trace_id": null, "span_id": null, "pool": "app", "backend": "b1", "shard": 3, "status": 200, "grpc_status": null,
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
