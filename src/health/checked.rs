//! One backend's active check: the state, the run of passes or failures against it, and when to
//! probe next.
//!
//! A checked backend serves only after its first passed check, and that one is enough whatever `rise`
//! says: at start clients wait for it, and there is no failure yet to be careful about. One that fails
//! its first check is down at once, since it serves nothing either way and the log should say why.
//! From then on it takes `rise` passes in a row to come up and `fall` failures in a row to go down.

use super::ProbeFailure;
use crate::config::Health;
use crate::time::{Instant, Micros};
use std::fmt;

/// What a check knows of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No check has ended yet; no traffic.
    Unchecked,
    /// It gets traffic.
    Up,
    /// It gets none.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// How a backend is judged, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Passes in a row that bring a backend up again; 0 counts as 1.
    pub rise: u32,
    /// Failures in a row that take it down; 0 counts as 1.
    pub fall: u32,
    /// Between two checks.
    pub interval: Micros,
    /// Between two checks while it is down.
    pub interval_down: Micros,
    /// Share of the interval by which a check may come earlier or later, 0 to 1.
    pub jitter: f64,
}

impl From<&Health> for Rule {
    fn from(health: &Health) -> Self {
        Self {
            rise: health.rise,
            fall: health.fall,
            interval: health.interval,
            interval_down: health.interval_down,
            jitter: health.jitter,
        }
    }
}

/// A change of state, to be logged once and carried to every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// What brought it about, for the log: "3 checks failed in a row: connect refused".
    pub why: String,
    /// When the first check of the run that decided it ended.
    pub began: Instant,
    /// When the deciding check ended.
    pub at: Instant,
}

/// The memory of one backend's check.
#[derive(Clone, Debug)]
pub struct Checked {
    rule: Rule,
    state: State,
    since: Instant,
    why: String,
    /// Outcomes in a row that speak against `state`; one that speaks for it ends the run.
    against: u32,
    against_since: Instant,
}

impl Checked {
    /// A backend that was never checked.
    pub fn new(rule: Rule, now: Instant) -> Self {
        Self {
            rule,
            state: State::Unchecked,
            since: now,
            why: "not checked yet".into(),
            against: 0,
            against_since: now,
        }
    }

    /// Judges by another rule from now on; the state and the run stay.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// Goes on from what another process knew.
    pub fn restore(&mut self, state: State, since: Instant, why: String) {
        (self.state, self.since, self.why, self.against) = (state, since, why, 0);
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the backend entered its state.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why it is in its state.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Takes in how a check ended; a transition if it was the deciding one.
    pub fn observe(&mut self, outcome: &Result<(), ProbeFailure>, now: Instant) -> Option<Transition> {
        let (to, needed) = match (self.state, outcome) {
            (State::Unchecked, Ok(())) => (State::Up, 1),
            (State::Unchecked, Err(_)) => (State::Down, 1),
            (State::Up, Err(_)) => (State::Down, self.rule.fall),
            (State::Down, Ok(())) => (State::Up, self.rule.rise),
            (State::Up, Ok(())) | (State::Down, Err(_)) => {
                self.against = 0;
                return None;
            }
        };
        if self.against == 0 {
            self.against_since = now;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        let verb = if outcome.is_ok() { "passed" } else { "failed" };
        self.why = match (self.state, self.against) {
            (State::Unchecked, _) => format!("first check {verb}"),
            (State::Up | State::Down, 1) => format!("a check {verb}"),
            (State::Up | State::Down, run) => format!("{run} checks {verb} in a row"),
        };
        if let Err(failure) = outcome {
            self.why = format!("{}: {failure}", self.why);
        }
        let from = std::mem::replace(&mut self.state, to);
        (self.since, self.against) = (now, 0);
        Some(Transition { from, to, why: self.why.clone(), began: self.against_since, at: now })
    }

    /// How long after a check the next one begins: the interval of the state, earlier or later by up
    /// to the jitter's share of it. `draw` is any 64 random bits.
    pub fn next_in(&self, draw: u64) -> Micros {
        let interval = match self.state {
            State::Down => self.rule.interval_down,
            State::Unchecked | State::Up => self.rule.interval,
        };
        let swing = self.rule.jitter.clamp(0.0, 1.0) * (2.0 * fraction(draw) - 1.0);
        Micros::from_us((interval.as_us() as f64 * (1.0 + swing)).round() as u64)
    }
}

/// First probes are spread over no more than this: at start, clients wait for them.
const FIRST_PROBES_WITHIN: Micros = Micros::from_ms(500);

/// How long after the start the first probe of backend `index` of `count` begins. Each backend has a
/// slot of its own in the interval or in half a second, whichever is shorter, and begins somewhere in
/// its slot: one host's backends are not all probed at once, nor by all of a fleet's balancers that
/// were started together, if their `seed` differs.
pub fn first_probe_after(index: usize, count: usize, interval: Micros, seed: u64) -> Micros {
    let within = interval.min(FIRST_PROBES_WITHIN).as_us() as f64;
    let draw = (seed ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let slots = (index as f64 + fraction(draw ^ (draw >> 32))) / count.max(1) as f64;
    Micros::from_us((within * slots.min(1.0)) as u64)
}

/// Random bits as a number from 0 up to 1.
fn fraction(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}
