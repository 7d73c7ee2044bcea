//! A strict reader of a response that may not have come whole yet. What a browser might forgive is a fault.

use super::wire::{Fields, fields_of};

/// A response that has come whole.
#[derive(Clone, Debug)]
pub struct Whole {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    /// Bytes that it took.
    pub used: usize,
}

impl Whole {
    /// The connection ends after it.
    pub fn closes(&self) -> bool {
        self.fields.all("Connection").any(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// What there is so far.
#[derive(Clone, Debug)]
pub enum Read {
    /// Not even a whole head.
    NoHead,
    /// A head, and not yet the whole body.
    Part,
    /// All of it.
    Whole(Whole),
    /// What came cannot be the beginning of a response.
    Bad(String),
}

/// Reads the next final response from `bytes`; interim ones are passed over. `ended`: no more will come.
pub fn read(bytes: &[u8], ended: bool) -> Read {
    let mut from = 0;
    loop {
        match one(&bytes[from..], ended) {
            Read::Whole(whole) if whole.status < 200 => from += whole.used,
            Read::Whole(mut whole) => {
                whole.used += from;
                return Read::Whole(whole);
            }
            other => return other,
        }
    }
}

fn one(bytes: &[u8], ended: bool) -> Read {
    const LINE: &[u8] = b"HTTP/1.1 ";
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    if bytes[..bytes.len().min(LINE.len())] != LINE[..bytes.len().min(LINE.len())] {
        return Read::Bad(format!("no status line: {:?}", shown()));
    }
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Read::NoHead };
    let head = &bytes[..end + 4];
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| digits.parse::<u16>().ok()).filter(|_| head[12] == b' ');
    let (Some(status), Ok(fields)) = (status, fields_of(head)) else {
        return Read::Bad(format!("a head that is none: {:?}", shown()));
    };
    let rest = &bytes[end + 4..];
    let body = match body(status, &fields, rest, ended) {
        Ok(Some(body)) => body,
        Ok(None) => return Read::Part,
        Err(why) => return Read::Bad(why),
    };
    Read::Whole(Whole { status, fields, body: body.0, used: end + 4 + body.1 })
}

/// The body and the bytes that it took, if it is there whole.
fn body(status: u16, fields: &Fields, rest: &[u8], ended: bool) -> Result<Option<(Vec<u8>, usize)>, String> {
    if status < 200 || status == 204 || status == 304 {
        return Ok(Some((Vec::new(), 0)));
    }
    let lengths: Vec<&str> = fields.all("Content-Length").collect();
    let codings: Vec<&str> = fields.all("Transfer-Encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([length], []) => {
            let length: usize = length.parse().map_err(|_| format!("a length of {length:?}"))?;
            Ok((rest.len() >= length).then(|| (rest[..length].to_vec(), length)))
        }
        ([], ["chunked"]) => chunks(rest),
        ([], []) => Ok(ended.then(|| (rest.to_vec(), rest.len()))),
        _ => Err(format!("framed by {lengths:?} and {codings:?}")),
    }
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    let line = |from: usize| bytes[from..].windows(2).position(|window| window == b"\r\n");
    loop {
        let Some(length) = line(at) else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        let size = usize::from_str_radix(&text, 16).map_err(|_| format!("a chunk's size is {text:?}"))?;
        at += length + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk runs on beyond its size".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    // Trailers, up to the blank line.
    loop {
        let Some(length) = line(at) else { return Ok(None) };
        at += length + 2;
        if length == 0 {
            return Ok(Some((body, at)));
        }
    }
}
