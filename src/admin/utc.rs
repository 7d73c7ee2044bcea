//! A wall-clock time as RFC 3339 text in UTC.

use crate::time::Utc;
use std::time::{SystemTime, UNIX_EPOCH};

/// "2024-02-29T12:00:00.250Z"; what lies before 1970 is shown as its first moment.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = since.subsec_millis();
    let Utc { year, month, day, hour, minute, second } = Utc::of_unix_s(since.as_secs());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_times_read_right() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.250Z"),
            (951_782_400, "2000-02-29T00:00:00.250Z"),
            (1_709_208_000, "2024-02-29T12:00:00.250Z"),
            (1_735_689_599, "2024-12-31T23:59:59.250Z"),
            (4_107_542_400, "2100-03-01T00:00:00.250Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(250);
            assert_eq!(rfc3339(time), expected);
        }
    }
}
