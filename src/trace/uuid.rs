//! Request ids: UUIDs of version 7 (RFC 9562 §5.7), and what a peer may give for one.
//!
//! The first 48 bits are the time in milliseconds, so ids sort by when they were made; the next twelve count
//! within a millisecond, so that those of one shard do so strictly; the other 62 are random, so that no two
//! shards or hosts make the same.

use super::Dice;
use super::context::hex;

/// Bytes of an id from a peer at most.
pub const ID_MAX: usize = 128;

/// Whether a peer may give this for an id: visible ASCII without what would end a word in a log line or in
/// a list (space, quotes, comma, semicolon, backslash, angle brackets).
pub fn is_id(value: &[u8]) -> bool {
    let may_be = |&byte: &u8| byte.is_ascii_graphic() && !b"\"',;\\<>`".contains(&byte);
    (1..=ID_MAX).contains(&value.len()) && value.iter().all(may_be)
}

/// A UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uuid(u128);

/// A UUID in 36 characters.
pub type UuidText = [u8; 36];

impl Uuid {
    /// As text, in lower case (RFC 9562 §4).
    pub fn text(self) -> UuidText {
        let mut text = *b"00000000-0000-0000-0000-000000000000";
        let bytes = self.0.to_be_bytes();
        let mut from = 0;
        for (at, len) in [(0, 4), (9, 2), (14, 2), (19, 2), (24, 6)] {
            hex(&bytes[from..from + len], &mut text[at..at + 2 * len]);
            from += len;
        }
        text
    }
}

/// How far the clock may be set back without ids following it. They stay in order then; by more than that it
/// was wrong before.
const SET_BACK_MAX_MS: u64 = 10_000;

/// The twelve bits that count within a millisecond.
const COUNT_MAX: u16 = 0xfff;

/// Makes UUIDs, each greater than the last.
#[derive(Clone, Debug, Default)]
pub struct Mint {
    unix_ms: u64,
    count: u16,
}

impl Mint {
    /// The next one. `unix_ms`: the time.
    #[inline]
    pub fn make(&mut self, unix_ms: u64, dice: &mut Dice) -> Uuid {
        let drawn = dice.draw();
        let ahead = unix_ms > self.unix_ms || unix_ms.saturating_add(SET_BACK_MAX_MS) < self.unix_ms;
        if ahead {
            self.unix_ms = unix_ms;
            // The upper half is left for those that follow (RFC 9562 §6.2, method 1).
            self.count = (drawn >> 53) as u16;
        } else if self.count < COUNT_MAX {
            self.count += 1;
        } else {
            // More than two million a second: the time is ahead of the clock then.
            self.unix_ms += 1;
            self.count = 0;
        }
        let time = u128::from(self.unix_ms & 0xffff_ffff_ffff) << 80;
        let version = 7 << 76 | u128::from(self.count) << 64;
        let variant = 0b10 << 62 | u128::from(dice.draw() >> 2);
        Uuid(time | version | variant)
    }
}
