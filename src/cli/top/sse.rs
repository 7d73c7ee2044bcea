//! Server-sent events out of pieces of bytes, wherever they are cut (HTML, section 9.2.6).
//!
//! Pure. Fed by `feed`; what an event says is decided there.

/// What one event may hold: far more than a page of ten thousand backends.
const EVENT_MAX: usize = 64 << 20;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// "message" where it says nothing.
    pub(super) name: String,
    pub(super) data: String,
}

/// An event is longer than anything that weir sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than 64 MiB came, which no weir sends")]
pub(super) struct TooLong;

/// What has come of a stream and is not an event yet.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// The last byte was a carriage return: a line feed now belongs to it.
    returned: bool,
    /// The first line is over, so a byte order mark would be text.
    begun: bool,
}

impl Reader {
    /// The events that this piece completes.
    ///
    /// # Errors
    /// One grows without end.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in piece {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = byte == b'\r';
                    events.extend(self.line_over());
                }
                _ => {
                    self.returned = false;
                    self.line.push(byte);
                }
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_MAX {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn line_over(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&bytes).into_owned();
        if !std::mem::replace(&mut self.begun, true) && line.starts_with('\u{feff}') {
            line.remove(0);
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            return Some(Event { name: if name.is_empty() { "message".to_owned() } else { name }, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            // A comment (no name), `id`, `retry`, and what is not known.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_however_they_are_written() {
        for (case, text, expected) in [
            ("plain", "event: live\ndata: {}\n\n", vec![event("live", "{}")]),
            ("no blank", "event:live\ndata:{}\n\n", vec![event("live", "{}")]),
            ("two blanks", "data:  x\n\n", vec![event("message", " x")]),
            ("several lines of data", "data: a\ndata:\ndata: b\n\n", vec![event("message", "a\n\nb")]),
            ("a comment", ": ping\n\ndata: a\n: in it\n\n", vec![event("message", "a")]),
            ("no data", "event: live\n\ndata: a\n\n", vec![event("message", "a")]),
            ("other fields", "id: 7\nretry: 10\nwho: me\ndata: a\n\n", vec![event("message", "a")]),
            ("a colon in the data", "data: {\"a\": 1}\n\n", vec![event("message", "{\"a\": 1}")]),
            ("CRLF", "event: a\r\ndata: b\r\n\r\n", vec![event("a", "b")]),
            ("CR", "event: a\rdata: b\r\rdata: c\r\r", vec![event("a", "b"), event("message", "c")]),
            ("a mark of the byte order", "\u{feff}data: b\n\n", vec![event("message", "b")]),
            ("not over", "data: a\n", vec![]),
            ("two", "data: a\n\nevent: x\ndata: b\n\n", vec![event("message", "a"), event("x", "b")]),
            ("beyond ASCII", "data: 5 µs\n\n", vec![event("message", "5 µs")]),
        ] {
            assert_eq!(Reader::default().feed(text.as_bytes()).unwrap(), expected, "{case}");
            // And cut anywhere.
            let mut reader = Reader::default();
            let pieces = text.as_bytes().chunks(1).flat_map(|piece| reader.feed(piece).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>(), expected, "{case}, byte by byte");
        }
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        let mut reader = Reader::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..80).any(|_| reader.feed(&piece) == Err(TooLong)));
    }
}
