//! What each backend of a pool gets, of all that speaks about it: the operator's will, its check, its
//! ejection, and panic.
//!
//! One pure function for a whole pool, since panic is a matter of the whole: with fewer healthy backends
//! than `panic_below`, the checks are more likely wrong than the backends, and refusing everybody would
//! certainly be. [`SlowStart`] remembers when a backend began to serve. Called by `control`, which makes
//! `balance::Traffic` of the verdicts.

use super::{Others, Out, Ramp, State};
use crate::time::{Instant, Micros};

/// What the operator wants of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Will {
    /// That it serves.
    #[default]
    Ready,
    /// That what is under way ends and nothing new begins.
    Draining,
    /// That it is left alone.
    Maintenance,
}

/// What speaks about one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The operator's will.
    pub will: Will,
    /// What its check says; `None`: it has none.
    pub check: Option<State>,
    /// How it is out for what its exchanges came to, if it is.
    pub out: Option<Out>,
}

impl Facts {
    /// What the ejector is told about the backend.
    pub fn others(&self) -> Others {
        match (self.will, self.check) {
            (Will::Draining | Will::Maintenance, _) | (Will::Ready, Some(State::Unchecked)) => Others::Aside,
            (Will::Ready, Some(State::Down)) => Others::Down,
            (Will::Ready, Some(State::Up) | None) => Others::Usable,
        }
    }

    fn condition(&self) -> Condition {
        match (self.will, self.check, self.out) {
            (Will::Maintenance, _, _) => Condition::Maintenance,
            (Will::Draining, _, _) => Condition::Draining,
            (Will::Ready, Some(State::Unchecked), _) => Condition::Unchecked,
            (Will::Ready, Some(State::Down), _) => Condition::Down,
            (Will::Ready, Some(State::Up) | None, Some(Out::Ejected)) => Condition::Ejected,
            (Will::Ready, Some(State::Up) | None, Some(Out::Trials)) => Condition::Trial,
            (Will::Ready, Some(State::Up), None) => Condition::Up,
            (Will::Ready, None, None) => Condition::NoCheck,
        }
    }
}

/// The one word for a backend's state: where several things speak against it, the first of the operator,
/// the check, the ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It has no check, and nothing speaks against it.
    NoCheck,
    /// No check of it has ended yet.
    Unchecked,
    /// Its check passes, and nothing speaks against it.
    Up,
    /// Its check fails.
    Down,
    /// It is ejected.
    Ejected,
    /// It was ejected and is tried again.
    Trial,
    /// The operator lets it finish.
    Draining,
    /// The operator took it out.
    Maintenance,
}

impl Condition {
    /// Every condition, in the order in which pages list them.
    pub const ALL: [Self; 8] = [
        Self::NoCheck,
        Self::Unchecked,
        Self::Up,
        Self::Down,
        Self::Ejected,
        Self::Trial,
        Self::Draining,
        Self::Maintenance,
    ];

    /// Its word in metrics, logs and answers.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCheck => "no_check",
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Trial => "trial",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }

    /// Whether nothing speaks against the backend: it serves.
    pub fn serves(self) -> bool {
        matches!(self, Self::NoCheck | Self::Up)
    }

    /// Whether the backend is one of those of which `panic_below` is a share.
    fn counts(self) -> bool {
        !matches!(self, Self::Unchecked | Self::Draining | Self::Maintenance)
    }
}

/// Which exchanges a backend gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanges {
    /// None that is new.
    Nothing,
    /// A trickle of those that can be retried elsewhere.
    Trials,
    /// Any.
    All,
}

/// What one backend is and gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its state, panic or not.
    pub condition: Condition,
    /// What it gets.
    pub exchanges: Exchanges,
}

/// What a pool's backends get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// One for each of the facts, in their order.
    pub verdicts: Vec<Verdict>,
    /// So few are healthy that all get exchanges.
    pub panic: bool,
    /// How many serve.
    pub healthy: usize,
    /// Of how many: unchecked ones and those that the operator took out are not counted.
    pub counted: usize,
}

/// Judges a pool. `panic_below` is the share of healthy backends under which all get exchanges, but those
/// that the operator took out and those that were never checked; 0: never.
pub fn judge(facts: &[Facts], panic_below: f64) -> Judgement {
    let conditions: Vec<Condition> = facts.iter().map(Facts::condition).collect();
    let counted = conditions.iter().filter(|condition| condition.counts()).count();
    let healthy = conditions.iter().filter(|condition| condition.serves()).count();
    let panic = counted > 0 && (healthy as f64) < panic_below * counted as f64;
    let verdict = |condition: Condition| {
        let exchanges = match condition {
            Condition::Draining | Condition::Maintenance | Condition::Unchecked => Exchanges::Nothing,
            Condition::NoCheck | Condition::Up => Exchanges::All,
            Condition::Down | Condition::Ejected | Condition::Trial if panic => Exchanges::All,
            Condition::Trial => Exchanges::Trials,
            Condition::Down | Condition::Ejected => Exchanges::Nothing,
        };
        Verdict { condition, exchanges }
    };
    Judgement { verdicts: conditions.into_iter().map(verdict).collect(), panic, healthy, counted }
}

/// When a backend last began to serve.
///
/// Each beginning counts: the first passed check, up after down, readmitted after an ejection, ready
/// after a drain or maintenance, and for a backend without a check its being added. At the start of the
/// process all begin at once; that is harmless, since shares are relative and equal ramps change none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlowStart {
    /// `None`: it does not serve.
    pub began: Option<Instant>,
}

impl SlowStart {
    /// To be called with each judgement; panic does not count as serving.
    pub fn follow(&mut self, condition: Condition, now: Instant) {
        self.began = if condition.serves() { self.began.or(Some(now)) } else { None };
    }

    /// The ramp that the backend is on at `now`, if `pool.slow_start` is so long.
    pub fn ramp(&self, length: Micros, now: Instant) -> Option<Ramp> {
        let ramp = Ramp { began: self.began?, length };
        (!ramp.is_over(now)).then_some(ramp)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(word: char) -> Facts {
        let with = |will, check, out| Facts { will, check, out };
        match word {
            'n' => with(Will::Ready, None, None),
            '?' => with(Will::Ready, Some(State::Unchecked), None),
            'u' => with(Will::Ready, Some(State::Up), None),
            'd' => with(Will::Ready, Some(State::Down), None),
            'e' => with(Will::Ready, Some(State::Up), Some(Out::Ejected)),
            't' => with(Will::Ready, None, Some(Out::Trials)),
            'E' => with(Will::Ready, Some(State::Down), Some(Out::Ejected)),
            'D' => with(Will::Draining, Some(State::Down), Some(Out::Ejected)),
            'M' => with(Will::Maintenance, Some(State::Up), Some(Out::Trials)),
            other => panic!("{other}"),
        }
    }

    fn pool(words: &str) -> Vec<Facts> {
        words.chars().map(facts).collect()
    }

    #[test]
    fn a_backend_gets_what_the_first_that_speaks_against_it_leaves() {
        use Condition::{Down, Draining, Ejected, Maintenance, NoCheck, Trial, Unchecked, Up};
        use Exchanges::{All, Nothing, Trials};
        for (word, condition, calm, panic) in [
            ('n', NoCheck, All, All),
            ('?', Unchecked, Nothing, Nothing),
            ('u', Up, All, All),
            ('d', Down, Nothing, All),
            ('e', Ejected, Nothing, All),
            ('t', Trial, Trials, All),
            ('E', Down, Nothing, All),
            ('D', Draining, Nothing, Nothing),
            ('M', Maintenance, Nothing, Nothing),
        ] {
            for (panic_below, exchanges) in [(0.0, calm), (1.0, panic)] {
                let judged = judge(&pool(&format!("{word}d")), panic_below);
                assert_eq!(judged.verdicts[0], Verdict { condition, exchanges }, "{word} {panic_below}");
            }
        }
    }

    #[test]
    fn panic_begins_below_the_share_and_leaves_out_who_is_new_or_taken_out() {
        for (case, words, panic_below, panic) in [
            ("at the share", "uudd", 0.5, false),
            ("below it", "uddd", 0.5, true),
            ("trials are not healthy", "uett", 0.5, true),
            ("six new beside four", "uuuu??????", 0.8, false),
            ("six new beside four of which two are down", "uudd??????", 0.5, false),
            ("drained and in maintenance", "uDDDMMM", 0.9, false),
            ("all new", "????", 1.0, false),
            ("nobody", "", 1.0, false),
            ("all down", "dd", 0.1, true),
            ("never", "dd", 0.0, false),
        ] {
            assert_eq!(judge(&pool(words), panic_below).panic, panic, "{case}");
        }
    }

    #[test]
    fn slow_start_begins_at_each_return_and_not_in_between() {
        let (mut slow, at) = (SlowStart::default(), |s: u64| Instant::from_us(s * 1_000_000));
        let length = Micros::from_s(10);
        for (second, word, began) in [
            (0, '?', None),
            (1, 'u', Some(1)),
            (5, 'u', Some(1)),
            (6, 'd', None),
            (7, 'u', Some(7)),
            (8, 'e', None),
            (9, 't', None),
            (10, 'u', Some(10)),
            (11, 'M', None),
            (12, 'n', Some(12)),
            (21, 'n', Some(12)),
        ] {
            slow.follow(facts(word).condition(), at(second));
            let expected = began.map(|began| Ramp { began: at(began), length });
            assert_eq!(slow.ramp(length, at(second)), expected, "{second} {word}");
        }
        assert_eq!(slow.ramp(length, at(22)), None, "over");
        assert_eq!(slow.ramp(Micros::ZERO, at(12)), None, "no slow start");
    }

    proptest! {
        #[test]
        fn the_operator_is_obeyed_and_panic_takes_nothing_from_anybody(
            words in "[nudetEDM?]{1,12}",
            panic_below in 0.0f64..1.0,
        ) {
            let (calm, judged) = (judge(&pool(&words), 0.0), judge(&pool(&words), panic_below));
            for (word, (calm, judged)) in words.chars().zip(calm.verdicts.iter().zip(&judged.verdicts)) {
                prop_assert_eq!(calm.condition, judged.condition);
                prop_assert!(judged.exchanges == calm.exchanges || judged.exchanges == Exchanges::All);
                if "DM?".contains(word) {
                    prop_assert_eq!(judged.exchanges, Exchanges::Nothing);
                }
            }
            let share = judged.healthy as f64 / judged.counted.max(1) as f64;
            prop_assert_eq!(judged.panic, judged.counted > 0 && share < panic_below);
        }
    }
}
