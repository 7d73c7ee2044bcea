//! The meter of floods: what a connection's frames cost, against what it does that is worth it.
//!
//! Most frames that attacks are made of are all right one by one: a cancelled request (rapid reset,
//! CVE-2023-44487), a frame that makes *us* reset a stream (MadeYouReset, CVE-2025-8671), a SETTINGS, a PING, a
//! PRIORITY, a WINDOW_UPDATE, an empty DATA, a CONTINUATION. So each has a price, paid from a budget that grows with
//! time, with requests, and with answers that the connection takes. Who has none left is not served on. A request that has been open
//! for a while is cancelled for nothing: that is how a deadline of gRPC ends, and when a backend hangs all that a
//! client has open end so, again and again, while an attack that waits is none. Here: the prices. Pure:
//! bytes and the time in. Not here: closing the connection (`streams`), the limits on what frames hold and on how
//! many streams are open at once (`h2`, by settings). Asked by `streams` for each piece that comes and goes.

use super::frames::{Frame, Frames, kind};
use crate::time::{Instant, Micros};
use std::collections::VecDeque;

/// Bytes of a client's preface, which are of no frame.
const PREFACE: usize = 24;

/// Frames that move nothing that may come at once.
const IDLE_FRAMES_MAX: u32 = 512;

/// And how many more a second.
const IDLE_FRAMES_PER_S: u32 = 50;

/// How many a frame of an answer is worth: some clients ask how far away we are each time.
const WORTH: u32 = 4;

/// How many a request is worth: gRPC's clients raise the window of each stream that they open, answered or not.
const OPENED_WORTH: u32 = 2;

/// WINDOW_UPDATEs that a piece of an answer is worth beside that: clients raise two windows for what they read.
const WINDOWS_WORTH: u32 = 2;

/// How many of them may be due at once. Where windows are nearly spent an answer goes in many small pieces, and
/// whoever has read them all raises windows for all of them in one go, so this is far more than other frames get.
const WINDOWS_MAX: u32 = 1 << 17;

/// Reset streams for each one that may be open at once, before any answer.
const RESETS_PER_STREAM: u32 = 2;

/// Reset streams that may come at once, where few may be open.
const RESETS_MIN: u32 = 100;

/// And how many more a second.
const RESETS_PER_S: u32 = 20;

/// A stream that has been open for so long is reset for nothing, once. Those that may be open at once bound how many
/// there are: twenty times as many a second.
const OF_AGE: Micros = Micros::from_ms(50);

/// Streams are told apart by age in steps of this.
const AGE_STEP: Micros = Micros::from_ms(10);

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flood {
    /// Frames that move nothing.
    #[error("too many frames that move nothing")]
    Frames,
    /// Streams that it has cancelled, or made us reset.
    #[error("too many streams were reset")]
    Resets,
}

/// What may be spent, and how it grows.
#[derive(Clone, Debug)]
struct Budget {
    left: u32,
    max: u32,
    per_s: u32,
    /// As of when `left` is.
    at: Instant,
}

impl Budget {
    const fn new(max: u32, per_s: u32, now: Instant) -> Self {
        Self { left: max, max, per_s, at: now }
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.max);
    }

    /// Whether there is one to spend.
    fn spend(&mut self, now: Instant) -> bool {
        if self.left == 0 {
            let earned = now.since(self.at).as_us().saturating_mul(u64::from(self.per_s)) / 1_000_000;
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
            if earned > 0 {
                self.at = now;
            }
        } else if self.left == self.max {
            // It does not grow beyond its most, so time counts from the first that is spent.
            self.at = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

/// Which of a connection's streams have been open for a while. Their numbers grow, so it is enough to remember with
/// which of them each step of time begins.
#[derive(Clone, Debug)]
struct Ages {
    /// The first stream of each step, and when it was opened; steps in which all are of age are forgotten.
    steps: VecDeque<(u32, Instant)>,
    /// The newest stream.
    newest: u32,
    /// Resets that may be for nothing: as many as there were streams, and as may be open at once.
    free: u32,
    max: u32,
}

impl Ages {
    const fn new(max: u32) -> Self {
        Self { steps: VecDeque::new(), newest: 0, free: 0, max }
    }

    /// HEADERS of this stream have come; whether they open it, and are not its trailers.
    fn came(&mut self, stream: u32, now: Instant) -> bool {
        if stream <= self.newest {
            return false;
        }
        self.newest = stream;
        self.free = self.max.min(self.free + 1);
        if self.steps.back().is_none_or(|(_, began)| now.since(*began) >= AGE_STEP) {
            while self.steps.front().is_some_and(|(_, began)| is_of_age(*began, now)) {
                self.steps.pop_front();
            }
            self.steps.push_back((stream, now));
        }
        true
    }

    /// Whether this stream may be reset for nothing.
    fn frees(&mut self, stream: u32, now: Instant) -> bool {
        let step = self.steps.iter().rev().find(|(first, _)| *first <= stream);
        let of_age = step.is_none_or(|(_, began)| is_of_age(*began, now));
        let frees = of_age && self.free > 0;
        self.free -= u32::from(frees);
        frees
    }
}

/// Whether all streams of a step that began then are.
fn is_of_age(began: Instant, now: Instant) -> bool {
    now >= began + AGE_STEP + OF_AGE
}

/// One connection's meter.
#[derive(Clone, Debug)]
pub struct Meter {
    received: Frames,
    sent: Frames,
    frames: Budget,
    /// WINDOW_UPDATEs that answers have earned.
    windows: u32,
    resets: Budget,
    ages: Ages,
    /// The field block under way has not ended.
    in_block: bool,
}

impl Meter {
    /// Of a server's connection, before its first byte. `max_streams`: how many may be open at once.
    pub fn new(max_streams: u32, now: Instant) -> Self {
        let resets = max_streams.saturating_mul(RESETS_PER_STREAM).max(RESETS_MIN);
        Self {
            received: Frames::new(PREFACE),
            sent: Frames::new(0),
            frames: Budget::new(IDLE_FRAMES_MAX, IDLE_FRAMES_PER_S, now),
            windows: 0,
            resets: Budget::new(resets, RESETS_PER_S, now),
            ages: Ages::new(max_streams),
            in_block: false,
        }
    }

    /// These bytes have come.
    ///
    /// # Errors
    /// They are a flood.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let Self { received, frames, windows, resets, ages, in_block, .. } = self;
        let mut verdict = Ok(());
        received.read(bytes, |frame| {
            if matches!(frame.kind, kind::HEADERS | kind::CONTINUATION) {
                *in_block = !frame.ends_headers();
            }
            let paid = match frame.kind {
                kind::HEADERS => {
                    if ages.came(frame.stream, now) {
                        frames.earn(OPENED_WORTH);
                    }
                    true
                }
                kind::DATA => frame.len > 0 || frame.ends_stream() || frames.spend(now),
                kind::RST_STREAM => ages.frees(frame.stream, now) || resets.spend(now),
                kind::WINDOW_UPDATE if *windows > 0 => {
                    *windows -= 1;
                    true
                }
                _ => frames.spend(now),
            };
            if !paid && verdict.is_ok() {
                verdict = Err(if frame.kind == kind::RST_STREAM { Flood::Resets } else { Flood::Frames });
            }
        });
        verdict
    }

    /// These bytes go out.
    ///
    /// # Errors
    /// The client made us reset too many streams.
    pub fn sent(&mut self, bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let Self { sent, frames, windows, resets, .. } = self;
        let mut verdict = Ok(());
        sent.read(bytes, |frame| match frame.kind {
            kind::HEADERS => {
                frames.earn(WORTH);
                resets.earn(1);
            }
            kind::DATA => {
                frames.earn(WORTH);
                *windows = (*windows + WINDOWS_WORTH).min(WINDOWS_MAX);
            }
            kind::RST_STREAM if is_their_fault(&frame) && !resets.spend(now) => {
                verdict = Err(Flood::Resets);
            }
            _ => {}
        });
        verdict
    }

    /// Whether the client is in the middle of a frame, or of a field block.
    pub const fn is_amid(&self) -> bool {
        self.in_block || !self.received.is_between()
    }

    /// How long who has spent all must wait for the next.
    pub const fn pause() -> Micros {
        Micros::from_us(1_000_000 / RESETS_PER_S as u64)
    }
}

/// Whether a reset of ours says that the client did wrong (RFC 9113 §7): PROTOCOL_ERROR, FLOW_CONTROL_ERROR,
/// STREAM_CLOSED, FRAME_SIZE_ERROR or REFUSED_STREAM. That a backend failed it cannot help.
const fn is_their_fault(frame: &Frame) -> bool {
    matches!(frame.code, 1 | 3 | 5 | 6 | 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn begun() -> Meter {
        let mut meter = Meter::new(128, Instant::default());
        assert_eq!(meter.received(&[0; PREFACE], Instant::default()), Ok(()));
        meter
    }

    /// How many of these are taken at once, a byte at a time and in one piece.
    fn taken(bytes: &[u8]) -> usize {
        let counts = [1, bytes.len()].map(|size| {
            let mut meter = begun();
            let passes = |meter: &mut Meter| {
                bytes.chunks(size).all(|piece| meter.received(piece, Instant::default()).is_ok())
            };
            (0..10_000).take_while(|_| passes(&mut meter)).count()
        });
        assert_eq!(counts[0], counts[1], "pieces do not matter");
        counts[0]
    }

    #[test]
    fn frames_that_move_nothing_are_bounded_and_others_are_not() {
        for (case, kind, payload) in [
            ("SETTINGS", 4, &b""[..]),
            ("PING", 6, &[0; 8]),
            ("PRIORITY", 2, &[0; 5]),
            ("DATA", 0, b""),
            ("WINDOW_UPDATE", 8, &[0; 4]),
            ("CONTINUATION", 9, b"x"),
            ("unknown", 77, b"x"),
        ] {
            assert_eq!(taken(&frame(kind, 0, payload)), IDLE_FRAMES_MAX as usize, "{case}");
        }
        assert_eq!(taken(&frame(kind::RST_STREAM, 0, &[0, 0, 0, 8])), 256);
        assert_eq!(taken(&frame(kind::DATA, 0, b"payload")), 10_000);
        assert_eq!(taken(&frame(kind::DATA, 1, b"")), 10_000, "an empty one that ends its stream");
        assert_eq!(taken(&frame(kind::HEADERS, 4, b"x")), 10_000);
    }

    #[test]
    fn answers_and_time_earn_what_is_spent() {
        let (mut meter, start) = (begun(), Instant::default());
        let (cancel, answer) = (frame(kind::RST_STREAM, 0, &[0, 0, 0, 8]), frame(kind::HEADERS, 4, b"x"));
        for _ in 0..10_000 {
            assert_eq!(meter.sent(&answer, start), Ok(()));
            assert_eq!(meter.received(&cancel, start), Ok(()));
        }
        while meter.received(&cancel, start).is_ok() {}
        let later = start + Meter::pause();
        assert_eq!(meter.received(&cancel, later), Ok(()));
        assert_eq!(meter.received(&cancel, later), Err(Flood::Resets));
    }

    #[test]
    fn windows_may_be_raised_for_all_that_was_sent_however_late() {
        let (mut meter, now) = (begun(), Instant::default());
        for _ in 0..10_000 {
            assert_eq!(meter.sent(&frame(kind::DATA, 0, b"x"), now), Ok(()));
        }
        let raised = frame(kind::WINDOW_UPDATE, 0, &[0, 0, 0, 1]);
        let count = (0..100_000).take_while(|_| meter.received(&raised, now).is_ok()).count();
        assert_eq!(count, 20_000 + IDLE_FRAMES_MAX as usize);
    }

    #[test]
    fn streams_that_were_open_for_a_while_are_cancelled_for_nothing_but_once_each() {
        let (mut meter, mut now) = (begun(), Instant::default());
        let of = |kind: u8, stream: u32| {
            let mut frame = frame(kind, 4, if kind == kind::RST_STREAM { &[0, 0, 0, 8] } else { b"x" });
            frame[5..9].copy_from_slice(&stream.to_be_bytes());
            frame
        };
        let open = |meter: &mut Meter, from: u32, now| {
            (0..128).all(|nth| meter.received(&of(kind::HEADERS, from + 2 * nth), now).is_ok())
        };
        let cancel = |meter: &mut Meter, from: u32, now| {
            (0..128).all(|nth| meter.received(&of(kind::RST_STREAM, from + 2 * nth), now).is_ok())
        };
        for round in 0..100 {
            assert!(open(&mut meter, 1 + 256 * round, now));
            now = now + OF_AGE + AGE_STEP;
            assert!(cancel(&mut meter, 1 + 256 * round, now), "round {round}");
        }
        // The same again are none that were open.
        assert!(cancel(&mut meter, 1, now) && cancel(&mut meter, 1, now));
        assert!(!cancel(&mut meter, 1, now));
        // Those of a moment ago are not of age, as long as any before them may be.
        let (mut meter, now) = (begun(), Instant::default());
        assert!(open(&mut meter, 1, now) && open(&mut meter, 257, now + OF_AGE));
        let later = now + OF_AGE + AGE_STEP;
        let cancelled =
            |meter: &mut Meter, stream| meter.received(&of(kind::RST_STREAM, stream), later).is_ok();
        assert_eq!((0..1000).take_while(|_| cancelled(&mut meter, 257)).count(), 256);
        assert_eq!((0..1000).take_while(|_| cancelled(&mut meter, 1)).count(), 128);
    }

    #[test]
    fn resets_that_the_client_has_us_make_count_and_others_do_not() {
        let mut meter = begun();
        let ours = |code: u8| frame(kind::RST_STREAM, 0, &[0, 0, 0, code]);
        for code in [0, 2, 8] {
            assert!((0..10_000).all(|_| meter.sent(&ours(code), Instant::default()).is_ok()), "{code}");
        }
        let made = (0..10_000).take_while(|_| meter.sent(&ours(3), Instant::default()).is_ok()).count();
        assert_eq!(made, 256);
    }

    #[test]
    fn it_is_known_whether_a_frame_or_a_block_is_under_way() {
        let mut meter = begun();
        assert!(!meter.is_amid());
        let now = Instant::default();
        let open = frame(kind::HEADERS, 0, b"xx");
        assert!(meter.received(&open[..4], now).is_ok() && meter.is_amid());
        assert!(meter.received(&open[4..], now).is_ok() && meter.is_amid(), "its block goes on");
        assert!(meter.received(&frame(kind::CONTINUATION, 4, b"x"), now).is_ok() && !meter.is_amid());
    }
}
