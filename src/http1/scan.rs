//! Classes of bytes, and how far a run of one class goes. The innermost loops of the room.
//!
//! Values and targets are mostly long and mostly fine: sixteen bytes at a time are asked whether one of
//! them ends the run, in a loop that compilers turn into vector instructions of any CPU, without `unsafe`.
//! Where one does, and for names, eight bytes are looked at in one 64-bit word, which tells the first that
//! ends the run. (`below` and `equal` may also flag bytes *above* a true hit, never below one, and only the
//! lowest hit is used.) A table of classes has the last word.

const TOKEN: u8 = 1;
const REG_NAME: u8 = 2;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            classes[byte] = TOKEN | REG_NAME;
        }
        byte += 1;
    }
    classes = with(classes, b"!#$%&'*+-.^_`|~", TOKEN);
    // Without the comma that RFC 3986 has: no host has one, and some who read `Host` take it for a list.
    with(classes, b"-._~!$&'()*+;=", REG_NAME)
}

const fn with(mut classes: [u8; 256], members: &[u8], class: u8) -> [u8; 256] {
    let mut i = 0;
    while i < members.len() {
        classes[members[i] as usize] |= class;
        i += 1;
    }
    classes
}

/// Whether a token may have this byte (RFC 9110 §5.6.2).
#[inline]
pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether a registered name may have this byte as it is, without `%` (RFC 3986 §3.2.2).
#[inline]
pub(super) fn is_reg_name(byte: u8) -> bool {
    CLASSES[byte as usize] & REG_NAME != 0
}

/// Whether a value may have this byte: any but control bytes, the tab excepted (RFC 9110 §5.5).
#[inline]
pub(super) fn is_value(byte: u8) -> bool {
    (byte >= b' ') & (byte != DEL) | (byte == b'\t')
}

/// Whether a request target may have this byte: visible ASCII, but for the fragment's `#`, which no
/// target has (RFC 9112 §3.2). What RFC 3986 would have percent-encoded (`|`, `{`, `"`) is let through,
/// as browsers send it.
#[inline]
pub(super) fn is_target(byte: u8) -> bool {
    (byte > b' ') & (byte < DEL) & (byte != b'#')
}

/// Optional white space (RFC 9110 §5.6.3).
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// One byte for all that a name's byte may be taken for: whoever makes variables of names (CGI and its heirs)
/// makes the same of all that is no letter or digit, and does not see the case.
#[inline]
pub(super) const fn in_variables(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// The number that `digits` are, or the largest that there is if they are more; `None` if they are not digits
/// alone.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |n: u32, digit: &u8| n.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    is_number.then(|| digits.iter().fold(0, add))
}

/// How many bytes of a token `bytes` begins with.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut len = 0;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let others = HIGH & !name_bytes(word);
        if others != 0 {
            let run = others.trailing_zeros() / 8;
            len += run as usize;
            if (word >> (run * 8)) as u8 == b':' {
                return len;
            }
            rest = &bytes[len..];
            break;
        }
        len += 8;
        rest = after;
    }
    len + rest.iter().position(|&b| !is_token(b)).unwrap_or(rest.len())
}

/// The high bit of each byte of `word` that is a letter, a digit or `-`, exact up to the first that is
/// none: what names are made of. The few other bytes that a token may have are left to the table.
#[inline]
const fn name_bytes(word: u64) -> u64 {
    // A byte of 0x80 or more carries into the next, but it is itself the first that is none.
    let lower = word | (ONES * 0x20);
    let letters =
        lower.wrapping_add(ONES * (0x80 - b'a' as u64)) & !lower.wrapping_add(ONES * (0x7f - b'z' as u64));
    let digits =
        word.wrapping_add(ONES * (0x80 - b'0' as u64)) & !word.wrapping_add(ONES * (0x7f - b'9' as u64));
    let dashes = !(word ^ (ONES * b'-' as u64)).wrapping_add(ONES * 0x7f);
    (letters | digits | dashes) & !word & HIGH
}

const DEL: u8 = 0x7f;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte of `word` that is below `limit` (at most 0x80), exact up to the first.
#[inline]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGH
}

/// The high bit of each byte of `word` that is `byte`, exact up to the first.
#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// How many bytes of a field value `bytes` begins with.
#[inline]
pub(super) fn value_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += run_len(&bytes[at..], |word| below(word, b' ') | equal(word, DEL), is_value);
        // The word's arithmetic takes a tab for a control byte; it is rare enough to come back for.
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

/// How many bytes of a request target `bytes` begins with.
#[inline]
pub(super) fn target_len(bytes: &[u8]) -> usize {
    run_len(bytes, |word| below(word, b'!') | equal(word, DEL) | equal(word, b'#') | (word & HIGH), is_target)
}

/// How many bytes come before the first that `ends` flags in a word, or `stays` refuses at the end.
#[inline]
fn run_len(bytes: &[u8], ends: impl Fn(u64) -> u64, stays: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    let mut len = 0;
    while let Some((chunk, after)) = rest.split_first_chunk::<16>() {
        if chunk.iter().fold(false, |any, &b| any | !stays(b)) {
            break;
        }
        len += 16;
        rest = after;
    }
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let hits = ends(u64::from_le_bytes(*chunk));
        if hits != 0 {
            return len + (hits.trailing_zeros() / 8) as usize;
        }
        len += 8;
        rest = after;
    }
    len + rest.iter().position(|&b| !stays(b)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At every place in a word and after it, every byte is taken or refused as its class says.
    #[test]
    fn a_run_ends_at_the_first_byte_of_another_class_wherever_it_stands() {
        for byte in 0..=255u8 {
            for place in 0..26 {
                for after in [0x00, 0x20, b'a', 0x7f, 0x80, 0xff] {
                    let mut bytes = [b'a'; 27];
                    bytes[place] = byte;
                    bytes[place + 1] = after;
                    let first = |ok: fn(u8) -> bool| bytes.iter().position(|&b| !ok(b)).unwrap_or(27);
                    assert_eq!(value_len(&bytes), first(is_value), "value: {byte:#x} at {place}, {after:#x}");
                    assert_eq!(target_len(&bytes), first(is_target), "target: {byte:#x} at {place}");
                    assert_eq!(token_len(&bytes), first(is_token), "token: {byte:#x} at {place}");
                }
            }
        }
    }
}
