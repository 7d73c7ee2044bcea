//! What is said while it runs, to stderr: on a terminal one line that is rewritten every second, elsewhere a
//! line every few seconds.
//!
//! Not here: the result (`report`).

use super::tally::Tally;
use crate::cli::table::{count, length};
use crate::time::Micros;
use std::io::{self, IsTerminal, Write};

/// How often a line is written where it cannot be rewritten: every fifth time, and no tick is quite on time.
const LINE_EVERY: Micros = Micros::from_ms(4_500);

/// The line of progress.
pub(super) struct Progress {
    terminal: bool,
    /// What of several rounds is running, such as "round 2/6 A"; empty if there is only one.
    round: String,
    warmup: Micros,
    /// Of the round, warm-up included.
    length: Micros,
    /// Since what is said now was last collected, and when a line was last written.
    collected: Micros,
    written: Micros,
}

impl Progress {
    /// Of a round of this length.
    pub(super) fn new(round: String, warmup: Micros, length: Micros) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { terminal, round, warmup, length, collected: Micros::ZERO, written: Micros::ZERO }
    }

    /// Says how it goes: what was counted since this was last called, and in all, `elapsed` after the start.
    pub(super) fn tick(&mut self, counted: &Tally, total: &Tally, elapsed: Micros) {
        let since = Micros::from_us(elapsed.as_us().saturating_sub(self.collected.as_us()));
        self.collected = elapsed;
        let line = self.line(counted, total, elapsed, since);
        // Who closed stderr does not want it.
        if self.terminal {
            let mut to = io::stderr().lock();
            let _ = write!(to, "\r\x1b[2K{line}").and_then(|()| to.flush());
        } else if elapsed.as_us() >= self.written.as_us() + LINE_EVERY.as_us() {
            self.written = elapsed;
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Takes the line away, so that the result stands alone.
    pub(super) fn clear(&self) {
        if self.terminal {
            let mut to = io::stderr().lock();
            let _ = write!(to, "\r\x1b[2K").and_then(|()| to.flush());
        }
    }

    fn line(&self, counted: &Tally, total: &Tally, elapsed: Micros, since: Micros) -> String {
        let seconds = |length: Micros| (length.as_us() as f64 / 1e6).round();
        let round = if self.round.is_empty() { String::new() } else { format!("{}: ", self.round) };
        if elapsed < self.warmup {
            return format!("{round}warming up, {} of {} s", seconds(elapsed), seconds(self.warmup));
        }
        let (now, whole) = (elapsed.as_us() - self.warmup.as_us(), self.length.as_us() - self.warmup.as_us());
        let at = if now > whole {
            "waiting for the last answers".to_owned()
        } else {
            format!("{} of {} s", seconds(Micros::from_us(now)), seconds(Micros::from_us(whole)))
        };
        let rate = counted.answers() as f64 * 1e6 / since.as_us().max(1) as f64;
        let latency = if counted.corrected.is_empty() {
            "no answer".to_owned()
        } else {
            let quantile = |quantile| length(counted.corrected.value_at_quantile(quantile));
            format!("p50 {}  p99 {}", quantile(0.5), quantile(0.99))
        };
        format!(
            "{round}{at}  {} answers/s  {latency}  errors {}",
            count(rate.round() as u64),
            count(total.errors())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::tally::{Failure, Times};
    use crate::time::Instant;

    #[test]
    fn the_line_says_where_it_is_how_fast_and_what_went_wrong() {
        let s = Micros::from_s;
        let progress = Progress::new("round 2/6 A".into(), s(1), s(11));
        let (mut counted, mut total) = (Tally::default(), Tally::default());
        let line = |counted: &Tally, total: &Tally, at| progress.line(counted, total, at, s(1));
        assert_eq!(line(&counted, &total, Micros::from_ms(500)), "round 2/6 A: warming up, 1 of 1 s");
        assert_eq!(line(&counted, &total, s(3)), "round 2/6 A: 2 of 10 s  0 answers/s  no answer  errors 0");
        let at = Instant::from_us;
        let times = Times { due: at(0), sent: Some(at(0)), over: at(300) };
        (0..1_500).for_each(|_| counted.answer(200, 0, times));
        total.add(&counted);
        total.failure(Failure::Reset, None, times);
        assert_eq!(
            line(&counted, &total, s(3)),
            "round 2/6 A: 2 of 10 s  1,500 answers/s  p50 300 µs  p99 300 µs  errors 1"
        );
        assert!(line(&counted, &total, s(12)).contains("waiting for the last answers"));
    }
}
