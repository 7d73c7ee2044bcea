//! A reader of HTTP/1.1 of its own: written from the grammar (RFC 9112, RFC 9110 §5), plain and slow.
//!
//! The second opinion on what weir takes and on what it passes on, so nothing of weir is used here. As it
//! stands it refuses whatever the grammar does not have. Its quirks are those of readers out there, one by
//! one: who sits behind weir may have any of them, and what weir passes on must mean the same to all.

use std::fmt;

/// Names and values, in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What was read; `None`: more bytes are needed.
pub type Read<T> = Result<Option<T>, &'static str>;

/// A reader, with the ways in which it departs from the grammar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// LF alone ends a line.
    pub lf: bool,
    /// CR alone ends a line.
    pub cr: bool,
    /// A line that begins with white space goes on with the one before.
    pub folding: bool,
    /// White space before a colon does not count.
    pub spaced_colon: bool,
    /// Lines that are no fields do not count.
    pub skips_lines: bool,
    /// Whatever is no letter or digit in a name is `-`: who makes variables of names sees no difference.
    pub dashes: bool,
    /// A value ends at NUL.
    pub nul: bool,
    /// Numbers may have white space, a sign or `0x` before them and anything behind them.
    pub loose_numbers: bool,
    /// Any coding that has "chunked" in it is chunked, in any version; others do not count.
    pub loose_coding: bool,
    /// Of contradicting lengths the last counts instead of none.
    pub last_length: bool,
    /// `Content-Length` wins over `Transfer-Encoding` instead of neither.
    pub length_wins: bool,
    /// White space of any kind and number stands between the words of the first line.
    pub loose_line: bool,
}

/// The reader without quirks.
pub const STRICT: Reader = Reader {
    lf: false,
    cr: false,
    folding: false,
    spaced_colon: false,
    skips_lines: false,
    dashes: false,
    nul: false,
    loose_numbers: false,
    loose_coding: false,
    last_length: false,
    length_wins: false,
    loose_line: false,
};

/// Each quirk alone, and all that go together.
pub fn readers() -> impl Iterator<Item = Reader> {
    let all = |length_wins| Reader {
        lf: true,
        cr: true,
        folding: true,
        spaced_colon: true,
        skips_lines: true,
        dashes: true,
        nul: true,
        loose_numbers: true,
        loose_coding: true,
        last_length: true,
        length_wins,
        loose_line: true,
    };
    [
        Reader { lf: true, ..STRICT },
        Reader { cr: true, ..STRICT },
        Reader { dashes: true, ..STRICT },
        Reader { loose_numbers: true, loose_coding: true, ..STRICT },
        Reader { lf: true, folding: true, spaced_colon: true, ..STRICT },
        all(false),
        all(true),
    ]
    .into_iter()
}

/// A head.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The three parts of the first line.
    pub line: [Vec<u8>; 3],
    pub fields: Fields,
    /// Bytes, empty lines before it included.
    pub len: usize,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.line.iter().map(|word| word.escape_ascii().to_string()).collect();
        write!(f, "{}", words.join(" "))?;
        for (name, value) in &self.fields {
            write!(f, " | {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        Ok(())
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A body, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub payload: Vec<u8>,
    pub trailers: Fields,
    /// Some chunk had an extension.
    pub extended: bool,
    /// Bytes, if it is whole.
    pub len: Option<usize>,
}

pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A name as those see it who make a variable of it.
pub fn dashed(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&b| if b.is_ascii_alphanumeric() { b } else { b'-' }).collect()
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The elements of a list, the empty ones left out.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trimmed).filter(|element| !element.is_empty())
}

/// The values of all fields of this name.
pub fn all<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value.as_slice())
}

impl Reader {
    /// The line at `at`, and where the next one begins.
    fn line<'a>(&self, bytes: &'a [u8], at: usize) -> Read<(&'a [u8], usize)> {
        for i in at..bytes.len() {
            match (bytes[i], bytes.get(i + 1)) {
                (b'\n', _) if self.lf => return Ok(Some((&bytes[at..i], i + 1))),
                (b'\n', _) => return Err("LF without CR"),
                (b'\r', Some(b'\n')) => return Ok(Some((&bytes[at..i], i + 2))),
                (b'\r', Some(_)) if self.cr => return Ok(Some((&bytes[at..i], i + 1))),
                (b'\r', Some(_)) => return Err("CR without LF"),
                (b'\r', None) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    fn fields(&self, bytes: &[u8], mut at: usize) -> Read<(Fields, usize)> {
        let mut fields = Fields::new();
        loop {
            let Some((line, next)) = self.line(bytes, at)? else { return Ok(None) };
            at = next;
            if line.is_empty() {
                return Ok(Some((fields, at)));
            }
            if is_blank(line[0]) {
                match fields.last_mut() {
                    Some((_, value)) if self.folding => {
                        value.extend_from_slice(&[b" ", trimmed(line)].concat())
                    }
                    _ => return Err("a line begins with white space"),
                }
                continue;
            }
            match self.field(line) {
                Ok(field) => fields.push(field),
                Err(_) if self.skips_lines => {}
                Err(why) => return Err(why),
            }
        }
    }

    fn field(&self, line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let colon = line.iter().position(|&b| b == b':').ok_or("a field has no colon")?;
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        let name = if self.spaced_colon { trimmed(name) } else { name };
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err("a name is no token");
        }
        let value = if self.nul { value.split(|&b| b == 0).next().unwrap_or_default() } else { value };
        if !value.iter().copied().all(is_value) {
            return Err("a value has a control byte");
        }
        let name = if self.dashes { dashed(name) } else { name.to_vec() };
        Ok((name, value.to_vec()))
    }

    /// The request head that `bytes` begin with.
    pub fn request(&self, bytes: &[u8]) -> Read<Head> {
        let mut at = 0;
        let line = loop {
            let Some((line, next)) = self.line(bytes, at)? else { return Ok(None) };
            at = next;
            if !line.is_empty() {
                break line;
            }
        };
        let words: Vec<&[u8]> = if self.loose_line {
            line.split(|b| b" \t\x0b\x0c".contains(b)).filter(|word| !word.is_empty()).collect()
        } else {
            line.split(|&b| b == b' ').collect()
        };
        let [method, target, version] = words[..] else { return Err("the request line has not three parts") };
        if method.is_empty() || !method.iter().copied().all(is_token) {
            return Err("the method is no token");
        }
        if target.is_empty() || !target.iter().all(|&b| b > b' ' && b < 0x7f) {
            return Err("the target has a byte that none has");
        }
        is_version(version)?;
        let Some((fields, len)) = self.fields(bytes, at)? else { return Ok(None) };
        Ok(Some(Head { line: [method, target, version].map(<[u8]>::to_vec), fields, len }))
    }

    /// The response head that `bytes` begin with. Its line is told as version, status and reason.
    pub fn response(&self, bytes: &[u8]) -> Read<Head> {
        let Some((line, at)) = self.line(bytes, 0)? else { return Ok(None) };
        let mut words = line.splitn(3, |&b| b == b' ');
        let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        is_version(version)?;
        if status.len() != 3 || !status.iter().all(u8::is_ascii_digit) {
            return Err("the status is not three digits");
        }
        let reason = words.next().unwrap_or_default();
        if !reason.iter().copied().all(is_value) {
            return Err("the reason has a control byte");
        }
        let Some((fields, len)) = self.fields(bytes, at)? else { return Ok(None) };
        Ok(Some(Head { line: [version, status, reason].map(<[u8]>::to_vec), fields, len }))
    }

    /// What the fields say about the body's length; `None`: nothing.
    fn said(&self, old: bool, fields: &Fields) -> Result<Option<Framing>, &'static str> {
        let lengths: Vec<&[u8]> = all(fields, "content-length").collect();
        let codings: Vec<Vec<u8>> =
            all(fields, "transfer-encoding").map(<[u8]>::to_ascii_lowercase).collect();
        let chunked = if self.loose_coding {
            codings.iter().any(|coding| coding.windows(7).any(|part| part == b"chunked"))
        } else if codings.is_empty() {
            false
        } else if old || codings.len() > 1 || elements(&codings[0]).ne([b"chunked"]) {
            return Err("a coding other than chunked alone, or in HTTP/1.0");
        } else {
            true
        };
        let length = match lengths[..] {
            [] => None,
            [length] => Some(self.number(length, 10)?),
            [.., last] if self.last_length => Some(self.number(last, 10)?),
            _ => return Err("several lengths"),
        };
        match (chunked, length) {
            (true, Some(_)) if !self.length_wins && !self.loose_coding => Err("a length and a coding"),
            (true, None) => Ok(Some(Framing::Chunked)),
            (true, Some(_)) if !self.length_wins => Ok(Some(Framing::Chunked)),
            (_, Some(length)) => Ok(Some(Framing::Length(length))),
            (false, None) => Ok(None),
        }
    }

    fn number(&self, mut text: &[u8], radix: u32) -> Result<u64, &'static str> {
        if self.loose_numbers {
            text = trimmed(text);
            text = text.strip_prefix(b"+").unwrap_or(text);
            if radix == 16 {
                text = text.strip_prefix(b"0x").unwrap_or(text);
            }
            let digits = text.iter().take_while(|b| char::from(**b).is_digit(radix)).count();
            text = &text[..digits];
        }
        if text.is_empty() || !text.iter().all(|&b| char::from(b).is_digit(radix)) {
            return Err("a number is none");
        }
        let digits = text.iter().map(|&b| u64::from(char::from(b).to_digit(radix).unwrap_or_default()));
        digits
            .into_iter()
            .try_fold(0u64, |sum, digit| sum.checked_mul(u64::from(radix))?.checked_add(digit))
            .ok_or("a number is too large")
    }

    /// How long the body of a request is.
    pub fn request_framing(&self, head: &Head) -> Result<Framing, &'static str> {
        Ok(self.said(head.line[2] == b"HTTP/1.0", &head.fields)?.unwrap_or(Framing::Nothing))
    }

    /// How long the body of a response to a request with `method` is.
    pub fn response_framing(&self, head: &Head, method: &[u8]) -> Result<Framing, &'static str> {
        let said = self.said(head.line[0] == b"HTTP/1.0", &head.fields)?;
        let status = head.line[1].as_slice();
        if method == b"HEAD" || status[0] == b'1' || status == b"204" || status == b"304" {
            return Ok(Framing::Nothing);
        }
        Ok(said.unwrap_or(Framing::UntilClose))
    }

    /// The body that `bytes` begin with. `ended`: no more will come.
    pub fn body(&self, bytes: &[u8], framing: Framing, ended: bool) -> Result<Body, &'static str> {
        let so_much = |len: usize| Body { payload: bytes[..len].to_vec(), len: Some(len), ..Body::default() };
        Ok(match framing {
            Framing::Nothing => so_much(0),
            Framing::Length(length) if length <= bytes.len() as u64 => so_much(length as usize),
            Framing::UntilClose if ended => so_much(bytes.len()),
            Framing::Length(_) | Framing::UntilClose => Body { len: None, ..so_much(bytes.len()) },
            Framing::Chunked => self.chunks(bytes)?,
        })
    }

    fn chunks(&self, bytes: &[u8]) -> Result<Body, &'static str> {
        let mut body = Body::default();
        let mut at = 0;
        loop {
            let Some((line, next)) = self.line(bytes, at)? else { return Ok(body) };
            at = next;
            let semicolon = line.iter().position(|&b| b == b';');
            let size = &line[..semicolon.unwrap_or(line.len())];
            if let Some(semicolon) = semicolon {
                body.extended = true;
                if !line[semicolon..].iter().copied().all(is_value) {
                    return Err("an extension has a control byte");
                }
            }
            // White space may stand before the semicolon, and nowhere else.
            let size = if semicolon.is_some() { size.trim_ascii_end() } else { size };
            let size = self.number(size, 16)?;
            if size == 0 {
                break;
            }
            let there = (bytes.len() - at) as u64;
            if size > there {
                body.payload.extend_from_slice(&bytes[at..]);
                return Ok(body);
            }
            body.payload.extend_from_slice(&bytes[at..at + size as usize]);
            at += size as usize;
            match self.line(bytes, at)? {
                None if bytes.len() - at >= 2 => return Err("a chunk runs on beyond its size"),
                None if bytes.get(at).is_some_and(|&b| b != b'\r') => {
                    return Err("a chunk runs on beyond its size");
                }
                None => return Ok(body),
                Some(([], next)) => at = next,
                Some(_) => return Err("a chunk runs on beyond its size"),
            }
        }
        if let Some((trailers, end)) = self.fields(bytes, at)? {
            body.trailers = trailers;
            body.len = Some(end);
        }
        Ok(body)
    }
}

fn is_version(version: &[u8]) -> Result<(), &'static str> {
    match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => Ok(()),
        _ => Err("the version is not HTTP/1.x"),
    }
}
