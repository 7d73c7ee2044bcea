//! One backend as its pool's ejector knows it: its window, its run, and whether it is out.

use super::window::{Counts, Window};
use super::{Carried, Others};
use crate::config::Eject;
use crate::health::Delta;
use crate::time::{Instant, Micros};

/// Exchanges that a whole window must hold before a share is made of them.
const WINDOW_EXCHANGES: u64 = 10;

/// Failures that the newest part of a window must be able to hold at `error_share`: a smaller part says
/// nothing reliable.
const NEWEST_FAILURES: f64 = 10.0;

/// No ejection lasts longer than so many doublings of `base_time`.
const DOUBLINGS_MAX: u32 = 5;

/// For each so many times `base_time` that a backend was well, one repetition is forgotten.
const WELL_FOR_BASES: u64 = 10;

/// Whether a member is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It gets exchanges, as far as the ejector is concerned.
    In,
    /// Out until a time.
    Ejected { since: Instant, until: Instant, why: String },
    /// So many trials have passed in a row.
    Trials { since: Instant, passed: u64, why: String },
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) others: Others,
    pub(super) state: State,
    pub(super) window: Window,
    /// Failures in a row since it came back, and when the first was.
    run: u32,
    run_began: Instant,
    /// The run that it had when it came back, which speaks of before.
    run_before: u32,
    pub(super) last: &'static str,
    /// The first failure that no window without one has followed.
    troubled: Option<Instant>,
    last_failed: Instant,
    /// Ejections that are not yet forgotten, up to where they make no difference.
    times: u32,
    came_back: Instant,
    /// Should be out, but may not: when that was last found, to say it once.
    pub(super) held: Option<Instant>,
    /// When its response times are looked at again, and since when they are suspect.
    pub(super) look_at: Instant,
    pub(super) looked: Instant,
    pub(super) slow_since: Option<Instant>,
}

impl Member {
    pub(super) fn new(rule: &Eject, others: Others, now: Instant) -> Self {
        Self {
            others,
            state: State::In,
            window: Window::new(rule.window),
            run: 0,
            run_began: Instant::NEVER,
            run_before: 0,
            last: "",
            troubled: None,
            last_failed: Instant::default(),
            times: 0,
            came_back: now,
            held: None,
            look_at: Instant::NEVER,
            looked: Instant::default(),
            slow_since: None,
        }
    }

    pub(super) fn is_in(&self) -> bool {
        self.state == State::In
    }

    /// Whether it serves: usable for every other reason, and in.
    pub(super) fn serves(&self) -> bool {
        self.is_in() && self.others == Others::Usable
    }

    /// Takes in what its exchanges came to.
    pub(super) fn count(&mut self, delta: &Delta, rule: &Eject, now: Instant) {
        self.window.add(&Counts::from(delta), now);
        if delta.passed > 0 || delta.run < self.run_before {
            self.run_before = 0;
        }
        let run = delta.run.saturating_sub(self.run_before);
        let began = delta.first_failed_at.min(now);
        if run > 0 && (delta.passed > 0 || self.run == 0) {
            self.run_began = began.max(self.came_back);
        }
        self.run = run;
        if delta.failed > 0 {
            if self.troubled.is_none() || now.since(self.last_failed) > rule.window {
                self.troubled = Some(began.max(self.came_back));
            }
            self.last_failed = now;
            self.last = delta.last;
        }
    }

    /// Why its failures speak for ejecting it, and when the first of them was.
    pub(super) fn failing(&self, rule: &Eject, now: Instant) -> Option<(String, Instant)> {
        if rule.consecutive_failures > 0 && self.run >= rule.consecutive_failures {
            let why = format!("{} failures in a row, the last: {}", self.run, self.last);
            return Some((why, self.run_began));
        }
        if rule.error_share <= 0.0 {
            return None;
        }
        // A good past must not hide that it has just begun to fail, so the newest part counts as well.
        let newest_exchanges = (NEWEST_FAILURES / rule.error_share).ceil() as u64;
        let newest = self.window.newest_with(now, |sum| sum.exchanges() >= newest_exchanges);
        let whole = (super::window::SLICES, self.window.newest(super::window::SLICES, now));
        let judged =
            newest.into_iter().chain(Some(whole).filter(|(_, sum)| sum.exchanges() >= WINDOW_EXCHANGES));
        for (slices, sum) in judged {
            if sum.failed > 0 && sum.failing() >= rule.error_share {
                let why = format!(
                    "{:.0} % of {} exchanges failed in {}, the last: {}",
                    100.0 * sum.failing(),
                    sum.exchanges(),
                    self.window.length(slices),
                    self.last
                );
                return Some((why, self.troubled.unwrap_or(now)));
            }
        }
        None
    }

    /// Puts it out; how long that lasts.
    pub(super) fn eject(&mut self, why: String, rule: &Eject, now: Instant) -> Micros {
        let lesson_us = rule.base_time.as_us().saturating_mul(WELL_FOR_BASES).max(1);
        if self.is_in() {
            let forgotten = now.since(self.came_back).as_us() / lesson_us;
            self.times = self.times.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        }
        let length_us = rule.base_time.as_us().saturating_mul(1 << self.times.min(DOUBLINGS_MAX));
        let length = Micros::from_us(length_us);
        self.times = (self.times + 1).min(DOUBLINGS_MAX + 1);
        self.state = State::Ejected { since: now, until: now + length, why };
        self.forget_suspicions();
        length
    }

    /// It gets exchanges again, and is judged by what comes from now on.
    pub(super) fn come_back(&mut self, now: Instant) {
        self.state = State::In;
        self.came_back = now;
        self.window.clear();
        self.run_before += self.run;
        self.run = 0;
        self.troubled = None;
        self.forget_suspicions();
    }

    /// Its repetitions are forgotten.
    pub(super) fn forgive(&mut self) {
        self.times = 0;
    }

    fn forget_suspicions(&mut self) {
        self.held = None;
        self.look_at = Instant::NEVER;
        self.slow_since = None;
    }

    pub(super) fn carried(&self) -> Carried {
        let out = match &self.state {
            State::In => None,
            State::Ejected { since, until, why } => Some((*since, *until, why.clone())),
            State::Trials { since, why, .. } => Some((*since, *since, why.clone())),
        };
        Carried { out, times: self.times, came_back: self.came_back }
    }

    pub(super) fn restore(&mut self, carried: Carried) {
        self.times = carried.times.min(DOUBLINGS_MAX + 1);
        self.came_back = carried.came_back;
        if let Some((since, until, why)) = carried.out {
            self.state = State::Ejected { since, until, why };
        }
    }
}
