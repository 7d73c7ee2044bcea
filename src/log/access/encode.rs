//! Numbers and texts in lines. What a client sent must not be able to end a line, or a string in it.

use std::io::Write;
use std::net::IpAddr;

/// A whole number.
pub(super) fn number(mut number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        // Most are: retries, bytes of no body, a connection that was there.
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Microseconds of a second, all six digits.
pub(super) fn fraction(us: u64, out: &mut Vec<u8>) {
    let digit = |unit: u64| b'0' + (us / unit % 10) as u8;
    out.extend_from_slice(&[digit(100_000), digit(10_000), digit(1_000), digit(100), digit(10), digit(1)]);
}

/// An address.
pub(super) fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            number(a.into(), out);
            for part in [b, c, d] {
                out.push(b'.');
                number(part.into(), out);
            }
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// How nginx writes texts: quotes, backslashes, and all but printable ASCII as `\xHH`.
pub(super) fn escaped(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    pieces(text, &ESCAPED, out, |byte, out| {
        let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
        out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    });
}

/// A JSON string (RFC 8259, section 7), in its quotes. What is no UTF-8 stands as U+FFFD.
pub(super) fn json(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if is_plain(text) {
        out.extend_from_slice(text);
    } else {
        for chunk in text.utf8_chunks() {
            json_pieces(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

/// Whether no format has to escape anything in it, as in nearly all. All of it is looked at, which is quicker than
/// to stop.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, &byte| plain & !ESCAPED[usize::from(byte)])
}

fn json_pieces(text: &[u8], out: &mut Vec<u8>) {
    pieces(text, &ESCAPED_IN_JSON, out, |byte, out| {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]),
        }
    });
}

/// Copies `text`, but what `special` has by `instead`.
fn pieces(text: &[u8], special: &[bool; 256], out: &mut Vec<u8>, instead: impl Fn(u8, &mut Vec<u8>)) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| special[usize::from(byte)]) {
        out.extend_from_slice(&rest[..at]);
        instead(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

const ESCAPED: [bool; 256] = table(false);
const ESCAPED_IN_JSON: [bool; 256] = table(true);

/// The bytes that are not copied; DEL and what is beyond ASCII may stand in JSON.
const fn table(json: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || byte == b'"' as usize || byte == b'\\' as usize || !json && byte > 0x7e;
        byte += 1;
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_escaped_as_nginx_does() {
        for (given, expected) in [
            (&b"plain ~text"[..], "plain ~text"),
            (b"a\"b\\c", "a\\x22b\\x5Cc"),
            (b"\r\n\t\0\x7f", "\\x0D\\x0A\\x09\\x00\\x7F"),
            ("é".as_bytes(), "\\xC3\\xA9"),
            (b"", ""),
        ] {
            assert_eq!(text(|out| escaped(given, out)), expected);
        }
    }

    #[test]
    fn what_is_no_utf8_is_told_so_in_json() {
        assert_eq!(text(|out| json(b"a\xff\"\n\x01\xc3\xa9", out)), "\"a\u{fffd}\\\"\\n\\u0001é\"");
    }

    #[test]
    fn addresses_and_fractions_are_whole() {
        for address_text in ["0.0.0.0", "10.20.30.255", "::1", "2001:db8::7"] {
            assert_eq!(text(|out| address(address_text.parse().unwrap(), out)), address_text);
        }
        assert_eq!(text(|out| fraction(1_000_042, out)), "000042");
    }

    proptest! {
        #[test]
        fn a_json_string_is_read_back_as_it_was(given in prop::collection::vec(any::<u8>(), 0..60)) {
            let read: String = serde_json::from_str(&text(|out| json(&given, out))).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&given));
        }

        #[test]
        fn an_escaped_text_ends_neither_line_nor_string_and_tells_every_byte(
            given in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            let line = text(|out| escaped(&given, out));
            prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
            let mut parts = line.split("\\x");
            let mut back = parts.next().unwrap().as_bytes().to_vec();
            for part in parts {
                back.push(u8::from_str_radix(&part[..2], 16).unwrap());
                back.extend_from_slice(&part.as_bytes()[2..]);
            }
            prop_assert_eq!(back, given);
        }

        #[test]
        fn a_number_has_its_digits(given: u64) {
            prop_assert_eq!(text(|out| number(given, out)), given.to_string());
        }
    }
}
