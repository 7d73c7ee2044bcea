//! What is recorded of one exchange: plain values, and the texts behind each other in one buffer.
//!
//! Filled by `proxy` through a [`Draft`], which is used again and again; read by `journal.rs`.

use crate::config::GrpcStatus;
use crate::exchange::is_grpc_failure;
use crate::metrics::{Refusal, UpstreamFailure};
use crate::time::{Instant, Micros};
use crate::trace::Context;
use std::net::IpAddr;

/// A text of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The request's first line, without its end.
    Line,
    /// The request's `Host`.
    Host,
    /// The request's `Referer`.
    Referer,
    /// The request's `User-Agent`.
    UserAgent,
    /// The request's id.
    RequestId,
    /// The version of TLS that the client spoke; nothing: it spoke none.
    TlsVersion,
    /// The cipher suite's name.
    TlsCipher,
    /// The name that the client asked for in its handshake.
    TlsServerName,
    /// The subject of the client's certificate.
    TlsClientSubject,
    /// The listener's name.
    Listener,
    /// The pool's name.
    Pool,
    /// The backend's name.
    Backend,
}

impl Text {
    const COUNT: usize = Self::Backend as usize + 1;
}

/// Bytes of one text that are kept. A longer one is cut.
const TEXT_MAX: usize = 2 << 10;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// The answer went down whole.
    #[default]
    Answered,
    /// The tunnel that it became is over.
    Tunnelled,
    /// weir answered by itself; if no backend could, then for this.
    Refused(Refusal, Option<UpstreamFailure>),
    /// The backend's answer broke off after its head had gone down. While the exchange goes on: the last
    /// attempt failed for this.
    Cut(UpstreamFailure),
    /// The client was lost, or weir stopped, before its answer was whole.
    Lost(Refusal),
}

/// One exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// When its request was there.
    pub began: Instant,
    /// From there to the answer's last byte.
    pub whole: Micros,
    /// Of it, what weir itself took.
    pub own: Micros,
    /// From the pick to a connection that can be written to, of the last attempt; `None`: there was none.
    pub connect: Option<Micros>,
    /// From the request's last byte to the backend to the answer's first; `None`: none came.
    pub first_byte: Option<Micros>,
    /// The last attempt used a connection that was there.
    pub reused: bool,
    /// The status that the client got; 0: none.
    pub status: u16,
    /// How a call of gRPC has ended; `None`: it is not known, or no call.
    pub grpc_status: Option<GrpcStatus>,
    /// Attempts beyond the first.
    pub retries: u8,
    /// How it ended.
    pub ending: Ending,
    /// Bytes of the request's body, as the client framed them; in a tunnel, of all from the client.
    pub bytes_in: u64,
    /// Bytes of the answer's body, as the backend framed them; in a tunnel, of all to the client.
    pub bytes_out: u64,
    /// Whose request it was; `None`: of a peer on a Unix socket that named nobody.
    pub client: Option<IpAddr>,
    /// The request's body has not come whole.
    pub uploading: bool,
    /// weir's step of its trace; `None`: there is no tracing, or its head could not be read.
    pub trace: Option<Context>,
    /// A line in the access log is wanted for it.
    pub line: bool,
    /// It is wanted as a span.
    pub span: bool,
    /// Where the texts stand.
    texts: [Span; Text::COUNT],
}

/// A piece of a buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    len: u16,
}

impl Span {
    fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.start as usize + usize::from(self.len)).unwrap_or_default()
    }
}

impl Entry {
    /// Whether it got no answer, or one that says that the server failed or that weir refused it.
    pub fn failed(&self) -> bool {
        let went_well = match self.ending {
            // A TRACE that was meant for weir is answered as it was to be.
            Ending::Answered | Ending::Tunnelled | Ending::Refused(Refusal::LastHop, _) => true,
            Ending::Refused(..) | Ending::Cut(_) | Ending::Lost(_) => false,
        };
        self.status >= 500 || self.grpc_status.is_some_and(is_grpc_failure) || !went_well
    }

    /// Why it ended as it did, in the word by which metrics count it; `None`: it ended well.
    pub fn cause(&self) -> Option<&'static str> {
        match self.ending {
            Ending::Answered | Ending::Tunnelled => None,
            Ending::Refused(Refusal::UpstreamFailed, Some(failure)) | Ending::Cut(failure) => {
                Some(failure.label())
            }
            Ending::Refused(refusal, _) | Ending::Lost(refusal) => Some(refusal.label()),
        }
    }

    /// Whether there is such a text.
    pub fn has(&self, text: Text) -> bool {
        self.texts[text as usize].len > 0
    }

    /// The same, with its texts appended to another buffer.
    pub(in crate::log) fn copied(&self, buffer: &[u8], to: &mut Vec<u8>) -> Self {
        let mut copy = *self;
        for span in &mut copy.texts {
            let text = span.of(buffer);
            *span = Span { start: to.len() as u32, len: text.len() as u16 };
            to.extend_from_slice(text);
        }
        copy
    }

    /// A text, in the buffer that it was recorded in; empty if there is none.
    pub fn text<'a>(&self, text: Text, buffer: &'a [u8]) -> &'a [u8] {
        self.texts[text as usize].of(buffer)
    }
}

/// A record that is being made.
#[derive(Debug, Default)]
pub struct Draft {
    /// What is known so far.
    pub entry: Entry,
    buffer: Vec<u8>,
    /// The field line that names the request.
    id_line: Span,
}

impl Draft {
    /// Empties it for an exchange that begins at `began`.
    pub fn begin(&mut self, began: Instant, client: Option<IpAddr>) {
        self.entry = Entry { began, client, ..Entry::default() };
        self.buffer.clear();
        self.id_line = Span::default();
    }

    /// Sets the field line that names the request, `Name: id CRLF`, and with it the text; nothing, if there is
    /// none. It is kept for the answer, which gets it too.
    pub fn set_id_line(&mut self, line: &[u8]) {
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let start = self.buffer.len() as u32;
        self.id_line = Span { start, len: line.len() as u16 };
        self.buffer.extend_from_slice(line);
        let id = line[colon..].trim_ascii_end().len().saturating_sub(2) as u16;
        self.entry.texts[Text::RequestId as usize] = Span { start: start + colon as u32 + 2, len: id };
    }

    /// The field line that names the request; empty: there is none.
    pub fn id_line(&self) -> &[u8] {
        self.id_line.of(&self.buffer)
    }

    /// Sets a text, in the place of what it was.
    pub fn set(&mut self, text: Text, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(TEXT_MAX)];
        self.entry.texts[text as usize] = Span { start: self.buffer.len() as u32, len: bytes.len() as u16 };
        self.buffer.extend_from_slice(bytes);
    }

    /// A text so far.
    pub fn text(&self, text: Text) -> &[u8] {
        self.entry.text(text, &self.buffer)
    }

    /// Appends its texts to `buffer`; the entry that names them there.
    pub(in crate::log) fn put(&self, buffer: &mut Vec<u8>) -> Entry {
        let mut entry = self.entry;
        let base = buffer.len() as u32;
        entry.texts.iter_mut().for_each(|span| span.start += base);
        buffer.extend_from_slice(&self.buffer);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_where_they_were_put_and_the_last_word_counts() {
        let mut draft = Draft::default();
        draft.begin(Instant::from_us(5), None);
        draft.set(Text::Backend, b"a");
        draft.set(Text::Line, b"GET / HTTP/1.1");
        draft.set(Text::Backend, b"second");
        let mut buffer = b"others'".to_vec();
        let entry = draft.put(&mut buffer);
        assert_eq!(entry.text(Text::Line, &buffer), b"GET / HTTP/1.1");
        assert_eq!(entry.text(Text::Backend, &buffer), b"second");
        assert_eq!(entry.text(Text::Host, &buffer), b"");
        draft.begin(Instant::from_us(6), None);
        assert_eq!(draft.text(Text::Backend), b"");
    }

    #[test]
    fn the_line_that_names_a_request_is_kept_whole_and_its_id_is_a_text() {
        let mut draft = Draft::default();
        draft.set_id_line(b"");
        assert!(draft.id_line().is_empty() && !draft.entry.has(Text::RequestId));
        draft.set(Text::Line, b"GET / HTTP/1.1");
        draft.set_id_line(b"X-Request-Id: a:b\r\n");
        assert_eq!(
            (draft.id_line(), draft.text(Text::RequestId)),
            (&b"X-Request-Id: a:b\r\n"[..], &b"a:b"[..])
        );
        draft.begin(Instant::from_us(6), None);
        assert!(draft.id_line().is_empty());
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut draft = Draft::default();
        draft.set(Text::Line, &vec![b'a'; 100_000]);
        assert_eq!(draft.text(Text::Line).len(), TEXT_MAX);
    }
}
