//! Spans that wait to be sent, as bodies of requests; and when a body is sent again.
//!
//! Bounded in bytes: what does not fit is not taken. Pure. Used by `exporter.rs`.

use crate::time::{Instant, Micros};
use std::collections::VecDeque;
use std::time::Duration;

/// Spans in a request at most (the batch of OpenTelemetry's own exporters), and bytes from which it is full.
const SPANS_MAX: usize = 512;
const BODY_FULL: usize = 1 << 20;

/// How long a span waits for others.
const WAITS: Micros = Micros::from_s(1);

/// Bytes that may wait in all.
const BYTES_MAX: usize = 8 << 20;

/// Spans for one request, with commas between them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) spans: usize,
    pub(super) json: Vec<u8>,
    /// When it goes at the latest.
    due: Instant,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Pile {
    /// Those that are full, oldest first.
    full: VecDeque<Body>,
    /// The one that is being filled.
    open: Body,
    bytes: usize,
}

impl Pile {
    /// Takes a span, if there is room.
    #[must_use]
    pub(super) fn add(&mut self, span: &[u8], now: Instant) -> bool {
        if self.bytes + span.len() + 1 > BYTES_MAX {
            return false;
        }
        let open = &mut self.open;
        if open.spans == 0 {
            open.due = now + WAITS;
        } else {
            open.json.push(b',');
        }
        open.json.extend_from_slice(span);
        open.spans += 1;
        self.bytes += span.len() + 1;
        if open.spans >= SPANS_MAX || open.json.len() >= BODY_FULL {
            self.full.push_back(std::mem::take(open));
        }
        true
    }

    /// When there is a body to send.
    pub(super) fn due(&self) -> Instant {
        match (self.full.is_empty(), self.open.spans) {
            (false, _) => Instant::default(),
            (true, 0) => Instant::NEVER,
            (true, _) => self.open.due,
        }
    }

    /// The next body to send; with `all`, also one that might wait for more.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Option<Body> {
        let is_due = self.open.spans > 0 && (all || now >= self.open.due);
        let body = self.full.pop_front().or_else(|| is_due.then(|| std::mem::take(&mut self.open)))?;
        self.bytes -= body.json.len() + 1;
        Some(body)
    }
}

/// How often a body is sent at most.
const TRIES_MAX: u32 = 5;

/// How long the first wait before another try is; each later one is twice as long.
const FIRST_WAIT_MS: u64 = 1_000;

/// How long a collector may ask for at most. What comes meanwhile would have to be dropped.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// How long a body waits that has been sent `tries` times in vain; `None`: it has been often enough. `asked`:
/// what the collector asked for. `drawn`: random bits, so that those who were refused at once do not come
/// back at once.
pub(super) fn again_after(tries: u32, asked: Option<Duration>, drawn: u64) -> Option<Duration> {
    if tries >= TRIES_MAX {
        return None;
    }
    let wait_ms = FIRST_WAIT_MS << tries.saturating_sub(1);
    // Half of it to all of it.
    let own = Duration::from_millis(wait_ms / 2 + drawn % (wait_ms / 2 + 1));
    Some(asked.map_or(own, |asked| asked.min(ASKED_MAX).max(own)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn spans_wait_for_each_other_for_a_second_or_until_they_are_many() {
        let mut pile = Pile::default();
        let at = Instant::from_us;
        assert_eq!(pile.due(), Instant::NEVER);
        assert!(pile.add(b"a", at(5)) && pile.add(b"b", at(9)));
        assert_eq!(pile.due(), at(1_000_005));
        assert_eq!(pile.take(at(1_000_004), false), None);
        let body = pile.take(at(1_000_005), false).unwrap();
        assert_eq!((body.spans, body.json.as_slice()), (2, b"a,b".as_slice()));
        assert!((0..SPANS_MAX + 1).all(|_| pile.add(b"c", at(7))));
        assert!(pile.due() <= at(7));
        assert_eq!(pile.take(at(7), false).unwrap().spans, SPANS_MAX);
        assert_eq!(pile.take(at(7), false), None);
        assert_eq!(pile.take(at(7), true).unwrap().spans, 1);
        assert_eq!(pile.bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_room_comes_back() {
        let mut pile = Pile::default();
        let span = vec![b'a'; 10_000];
        let taken = (0..10_000).take_while(|_| pile.add(&span, Instant::default())).count();
        assert!((800..=BYTES_MAX / 10_000).contains(&taken), "{taken}");
        let bytes: usize = pile.full.iter().map(|body| body.json.len()).sum();
        assert!(bytes + pile.open.json.len() <= BYTES_MAX);
        assert!(pile.take(Instant::default(), false).is_some());
        assert!(pile.add(&span, Instant::default()));
    }

    #[test]
    fn waits_grow_end_and_are_never_shorter_than_the_collector_asks_for() {
        let wait = |tries, asked, drawn| again_after(tries, asked, drawn);
        let ms = Duration::from_millis;
        assert_eq!((wait(1, None, 0), wait(1, None, 500)), (Some(ms(500)), Some(ms(1_000))));
        assert_eq!((wait(4, None, 0), wait(5, None, 0)), (Some(ms(4_000)), None));
        assert_eq!(wait(1, Some(ms(7_000)), 0), Some(ms(7_000)));
        assert_eq!(wait(1, Some(ms(1)), 0), Some(ms(500)));
        assert_eq!(wait(1, Some(ms(10_000_000)), 0), Some(ASKED_MAX));
    }
}
