//! The access log's own words: its variables, and format strings of them, read once.
//!
//! Here: the one table of variables (the README's and `weir check`'s words come from it), and from a format
//! string to its pieces, or to what is wrong with it. Not here: what a variable comes to (`log`).

use super::fault::Wrong;
use super::reference::nearest;
use super::values::quoted;

/// Makes the enum of variables: each with its name and what it says, in one place.
macro_rules! variables {
    ($($variant:ident $name:literal $meaning:literal;)+) => {
        /// Something that a line of the access log can say of an exchange.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Variable { $(#[doc = $meaning] $variant),+ }

        impl Variable {
            /// All of them, in the order in which they are told.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name: behind a `$` in a format string, and the key in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it says.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }
    };
}

variables! {
    Time "time" "When the request was there: RFC 3339 in UTC, to the microsecond.";
    TimeCommon "time_common" "The same as the common format writes it: 29/Nov/2026:10:31:43 +0000. Not in JSON.";
    Client "client" "The client's address, after trusted_proxies.";
    Listener "listener" "The listener's name.";
    Request "request" "The request's first line as it came, query and all. Not in JSON.";
    Method "method" "Its method.";
    Path "path" "Its target as it came, without the query; a first line that is none, whole.";
    Query "query" "Its query, without the question mark.";
    Version "version" "Its version: HTTP/1.0, HTTP/1.1 or HTTP/2.0.";
    Host "host" "The request's Host.";
    Referer "referer" "The request's Referer.";
    UserAgent "user_agent" "The request's User-Agent.";
    RequestId "request_id" "The request's id, where listener.request_id names a field for it.";
    TlsVersion "tls_version" "The version of TLS that the client spoke; nothing without TLS.";
    TlsCipher "tls_cipher" "The cipher suite of the client's connection.";
    TlsServerName "tls_server_name" "The name that the client asked for in its handshake (SNI).";
    TlsClientSubject "tls_client_subject" "The subject of the certificate that the client has shown, and that was verified.";
    TraceId "trace_id" "Its trace's id, with [tracing].";
    SpanId "span_id" "weir's own span in it, sampled or not.";
    Pool "pool" "The pool of the last attempt.";
    Backend "backend" "The backend of the last attempt.";
    Shard "shard" "The number of the shard that served it.";
    Status "status" "The status that the client got.";
    GrpcStatus "grpc_status" "How a call of gRPC ended for its client: the number of its status, 0 is OK; nothing of other requests, and of calls without one.";
    BytesIn "bytes_in" "Bytes of the request's body; in a tunnel, of all from the client.";
    BytesOut "bytes_out" "Bytes of the answer's body; in a tunnel, of all to the client.";
    Connect "connect_us" "µs from the pick to a connection to the backend, 0 for one that was there; of the last attempt.";
    FirstByte "first_byte_us" "µs from the request's last byte to the backend to the answer's first; of the last attempt.";
    Whole "whole_us" "µs from the request to the end of its answer.";
    Own "own_us" "Of these, what weir itself took.";
    Retries "retries" "Attempts beyond the first.";
    Reused "reused" "Whether the last attempt's connection was there already: 1 or 0, in JSON true or false.";
    Termination "termination" "How it ended, in two letters.";
    Cause "cause" "Why it ended so, in the word by which metrics count it; nothing of what ended well.";
}

/// A format string, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// What a variable comes to.
    Variable(Variable),
}

impl Template {
    /// Reads a format string: text, and variables as `$name` or `${name}`; `$$` is a dollar.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(at) = text.find(char::is_control).filter(|at| !text[*at..].starts_with('\t')) {
            let what = format!("a control character stands at {}", place(text, at));
            return Err(Wrong::new(what, "write the format in one line; weir ends each line itself"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            let at = text.len() - rest.len() + dollar;
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let (variable, after) = variable(rest, &place(text, at))?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Variable(variable));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Its parts, in their order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A place in a format string, as people count.
fn place(text: &str, at: usize) -> String {
    format!("character {}", text[..at].chars().count() + 1)
}

/// The variable that `rest` begins with, behind its dollar, and what follows it.
fn variable<'t>(rest: &'t str, place: &str) -> Result<(Variable, &'t str), Wrong> {
    let braced = rest.strip_prefix('{');
    let inner = braced.unwrap_or(rest);
    let len = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(len);
    let after = if braced.is_some() { after.strip_prefix('}') } else { Some(after) };
    let (Some(after), false) = (after, name.is_empty()) else {
        let what = format!("the dollar at {place} begins no variable");
        return Err(Wrong::new(what, "write one such as $status or ${status}, or $$ for a dollar"));
    };
    match Variable::ALL.iter().find(|variable| variable.name() == name) {
        Some(variable) => Ok((*variable, after)),
        None => Err(unknown(name, place)),
    }
}

fn unknown(name: &str, place: &str) -> Wrong {
    let what = format!("there is no variable {} ({place})", quoted(&format!("${name}")));
    let names = || Variable::ALL.iter().map(|variable| variable.name());
    let remedy = match nearest(name, names()) {
        Some(near) => format!("did you mean ${near}?"),
        None if name.starts_with("http_") || name.starts_with("sent_http_") => {
            "of the fields there are $host, $referer, $user_agent and $request_id; no others are recorded"
                .to_owned()
        }
        None => format!("use {}", names().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ")),
    };
    Wrong::new(what, remedy)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    #[test]
    fn a_format_is_text_and_variables_and_two_dollars_are_one() {
        use Variable::{BytesIn, Status};
        for (format, expected) in [
            ("$status", vec![Piece::Variable(Status)]),
            ("a $status b", vec![text("a "), Piece::Variable(Status), text(" b")]),
            ("$status$bytes_in", vec![Piece::Variable(Status), Piece::Variable(BytesIn)]),
            (
                "${status}s $$5\t\"$$$status\"",
                vec![Piece::Variable(Status), text("s $5\t\"$"), Piece::Variable(Status), text("\"")],
            ),
            ("é$status.", vec![text("é"), Piece::Variable(Status), text(".")]),
        ] {
            let read = Template::parse(format).unwrap();
            assert_eq!((read.pieces(), read.text()), (&*expected, format), "{format}");
        }
    }

    #[test]
    fn what_is_no_variable_is_told_with_its_place_and_the_nearest_name() {
        for (format, what, remedy) in [
            ("é $sttaus", "\"$sttaus\" (character 3)", "did you mean $status?"),
            ("$http_cookie", "\"$http_cookie\" (character 1)", "no others are recorded"),
            ("$nothing_like_it", "character 1", "use $time, $time_common, $client"),
            ("$status $", "character 9 begins no variable", "$$ for a dollar"),
            ("$ status", "character 1 begins no variable", "$$"),
            ("${status", "character 1 begins no variable", "${status}"),
            ("$status\nnext", "control character stands at character 8", "one line"),
        ] {
            let wrong = Template::parse(format).unwrap_err();
            assert!(wrong.what.contains(what) && wrong.remedy.contains(remedy), "{format}: {wrong:?}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<_> = Variable::ALL.iter().map(|variable| variable.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Variable::ALL.len());
    }
}
