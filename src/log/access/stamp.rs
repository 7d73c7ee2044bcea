//! Times of day as lines have them: in UTC, made anew when the second changes.

use crate::time::Utc;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last second that was asked for, as text.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    second: u64,
    /// "2026-11-29T10:31:43"
    rfc3339: String,
    /// "29/Nov/2026:10:31:43 +0000"
    common: String,
}

impl Stamps {
    /// RFC 3339 to the second, without its zone.
    pub(super) fn rfc3339(&mut self, unix_s: u64) -> &str {
        self.turn(unix_s);
        &self.rfc3339
    }

    /// As NCSA's servers wrote it.
    pub(super) fn common(&mut self, unix_s: u64) -> &str {
        self.turn(unix_s);
        &self.common
    }

    fn turn(&mut self, unix_s: u64) {
        if self.second == unix_s && !self.common.is_empty() {
            return;
        }
        let Utc { year, month, day, hour, minute, second } = Utc::of_unix_s(unix_s);
        let name = MONTHS.get(month as usize - 1).unwrap_or(&MONTHS[0]);
        self.second = unix_s;
        self.rfc3339 = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        self.common = format!("{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_text() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.common(0), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(stamps.rfc3339(1_795_948_303), "2026-11-29T10:31:43");
        assert_eq!(stamps.common(1_795_948_303), "29/Nov/2026:10:31:43 +0000");
        assert_eq!(stamps.common(1_709_208_000), "29/Feb/2024:12:00:00 +0000");
    }
}
