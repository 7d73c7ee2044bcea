//! Passive health: which backends of a pool are out for what their exchanges came to, and how they
//! come back.
//!
//! One [`Ejector`] for each pool with `[pool.NAME.eject]`. Control feeds it with what each backend's
//! exchanges came to, summed over the shards, so that a threshold means the same on 1 core and on 64.
//! Three things eject: failures in a row; a share of failures, in the window or in its newest part; and
//! response times far above the median of the pool's others, twice in a row, measured over the same
//! span of time (so that what slows the whole pool ejects nobody).
//!
//! **How many may be out.** `max_share` of the pool's backends, rounded down, but one in any case if it
//! is above zero and there are at least two; with 0.5: of one none, of two one, of three one, of four
//! two. Backends that are drained, in maintenance or never checked are no part of that pool. The last
//! usable one is never ejected, nor the only one. What is held back is said once and looked at again
//! whenever the pool changes; and when the last usable backend goes otherwise, all that are ejected
//! come back: they are better than none.
//!
//! **How they come back.** After `base_time`, doubled with each repetition up to 32 times, a backend is
//! on trial: it gets a trickle of exchanges that can be retried elsewhere. [`TRIALS_NEEDED`] in a row
//! that pass readmit it; one that fails, or that is too slow, ejects it again. Only where no exchange
//! fit for a trial comes for thirty times `base_time` is it readmitted without.
//!
//! Not here: how the shards' counts become deltas (`balance::Outcomes`), and what a backend then gets
//! ([`judge`](super::judge)).

mod member;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
mod window;

use super::Delta;
use crate::config::Eject;
use crate::time::{Instant, Micros};
use member::{Member, State};
use std::collections::BTreeMap;
use window::{Counts, SLICES, Window};

/// Trials passed in a row, over all shards, that readmit a backend.
pub const TRIALS_NEEDED: u64 = 5;

/// How far apart a process begins its trials of one backend; over `n` shards each shard's gap is `n` times
/// as long.
pub const TRIAL_GAP: Micros = Micros::from_ms(100);

/// Without a trial for so many times `base_time`, a backend on trial is readmitted.
const UNTRIED_BASES: u64 = 30;

/// Response times in a whole window, and in its newest part, from which a mean is made.
const TIMED_WINDOW: u64 = 5;
const TIMED_NEWEST: u64 = 8;

/// Who is slower than the others by less than this is not slow, whatever the factor.
const SLOWER_BY_US: f64 = 5_000.0;

/// Response times are looked at no more often than this, and what is found must hold after the other.
const LOOK_EVERY: Micros = Micros::from_ms(50);
const SLOW_FOR: Micros = Micros::from_ms(200);

/// What speaks about a backend besides its ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nothing against it: it would serve.
    Usable,
    /// Its check says that it is down.
    Down,
    /// It is drained, in maintenance, or was never checked.
    Aside,
}

/// How a backend is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// It gets nothing.
    Ejected,
    /// It gets a trickle.
    Trials,
}

/// A backend that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection<'a> {
    /// How.
    pub out: Out,
    /// Since when it is out in this way.
    pub since: Instant,
    /// When its trials begin; [`Instant::NEVER`]: they have begun.
    pub until: Instant,
    /// Why it was ejected.
    pub why: &'a str,
}

/// What becomes of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is out.
    Ejected {
        /// When its trials begin.
        until: Instant,
    },
    /// It is on trial.
    Tried,
    /// It is in again, with slow start.
    Readmitted,
    /// It should be out, but stays in.
    HeldBack,
}

/// A ruling, to be logged once and carried to every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The backend's number.
    pub backend: u32,
    /// What becomes of it.
    pub ruling: Ruling,
    /// The log line: "ejected for 10s: 5 failures in a row, the last: truncated".
    pub why: String,
    /// When the first of the failures that brought it about ended.
    pub first_failed: Instant,
}

/// What another process must know of a backend to go on; the points of time are this host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Since when, until when, and why it is out.
    pub out: Option<(Instant, Instant, String)>,
    /// Ejections that are not yet forgotten.
    pub times: u32,
    /// When it last came in.
    pub came_back: Instant,
}

/// A pool's passive health.
#[derive(Clone, Debug)]
pub struct Ejector {
    rule: Eject,
    members: BTreeMap<u32, Member>,
}

impl Ejector {
    /// An ejector of no backends; [`set_members`](Self::set_members) names them.
    pub fn new(rule: Eject) -> Self {
        Self { rule, members: BTreeMap::new() }
    }

    /// Judges by another rule from now on. Who is out stays so.
    pub fn set_rule(&mut self, rule: Eject) {
        if rule.window != self.rule.window {
            self.members.values_mut().for_each(|member| member.window = Window::new(rule.window));
        }
        self.rule = rule;
    }

    /// Says which backends the pool has, by number, and what else speaks about each. To be called
    /// whenever that changes.
    pub fn set_members(&mut self, members: &[(u32, Others)], now: Instant) -> Vec<Change> {
        let new: BTreeMap<u32, Others> = members.iter().copied().collect();
        self.members.retain(|backend, _| new.contains_key(backend));
        for (backend, others) in new {
            let rule = &self.rule;
            let member = self.members.entry(backend).or_insert_with(|| Member::new(rule, others, now));
            let was = std::mem::replace(&mut member.others, others);
            if was == others || others != Others::Usable {
                continue;
            }
            match &mut member.state {
                State::In => member.come_back(now),
                State::Trials { since, .. } => *since = now,
                State::Ejected { .. } => {}
            }
        }
        let mut changes = self.release(now);
        self.look_at_held(now, &mut changes);
        changes
    }

    /// Takes in what a backend's exchanges came to.
    pub fn observe(&mut self, backend: u32, delta: &Delta, now: Instant) -> Vec<Change> {
        let slow_trial = self.slow_trial(backend, delta, now);
        let mut changes = Vec::new();
        let rule = &self.rule;
        let Some(member) = self.members.get_mut(&backend) else { return changes };
        member.count(delta, rule, now);
        match &mut member.state {
            State::In => {}
            State::Ejected { .. } => return changes,
            State::Trials { since, passed, .. } => {
                let failed = match slow_trial {
                    _ if delta.trials_failed > 0 => format!("a trial failed: {}", delta.last),
                    Some(factor) => format!("a trial was {}", slower(factor)),
                    None => {
                        *passed += delta.trials_passed;
                        *since = if delta.trials_passed > 0 { now } else { *since };
                        if *passed >= TRIALS_NEEDED {
                            let why = format!("{passed} trials passed in a row");
                            changes.push(self.readmit(backend, &why, now));
                            self.look_at_held(now, &mut changes);
                        }
                        return changes;
                    }
                };
                changes.push(eject(backend, member, failed, now, rule, now));
                return changes;
            }
        }
        if member.others != Others::Usable {
            return changes;
        }
        if delta.failed > 0
            && let Some((why, first_failed)) = member.failing(rule, now)
        {
            changes.extend(self.try_to_eject(backend, why, first_failed, now));
        }
        if delta.timed > 0 && self.rule.latency_factor > 0.0 {
            self.look_soon(backend, now, &mut changes);
        }
        changes
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        let untried = self.untried();
        let due: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, m)| due(m, untried) <= now)
            .map(|(&backend, _)| backend)
            .collect();
        let mut came_in = false;
        for backend in due {
            let Some(member) = self.members.get_mut(&backend) else { continue };
            match &member.state {
                State::In => self.look(backend, now, &mut changes),
                State::Ejected { since, until, why } => {
                    let length = until.since(*since);
                    let text = format!("on trial, after it was ejected for {length}: {why}");
                    member.state = State::Trials { since: now, passed: 0, why: why.clone() };
                    let ruling = Ruling::Tried;
                    changes.push(Change { backend, ruling, why: text, first_failed: now });
                }
                State::Trials { .. } => {
                    let why = format!("no exchange fit for a trial came in {untried}");
                    changes.push(self.readmit(backend, &why, now));
                    came_in = true;
                }
            }
        }
        if came_in {
            self.look_at_held(now, &mut changes);
        }
        changes
    }

    /// When [`tick`](Self::tick) next has something to do.
    pub fn next(&self) -> Instant {
        let untried = self.untried();
        self.members.values().map(|member| due(member, untried)).min().unwrap_or(Instant::NEVER)
    }

    /// How a backend is out, if it is.
    pub fn ejection(&self, backend: u32) -> Option<Ejection<'_>> {
        match &self.members.get(&backend)?.state {
            State::In => None,
            &State::Ejected { since, until, ref why } => {
                Some(Ejection { out: Out::Ejected, since, until, why })
            }
            &State::Trials { since, ref why, .. } => {
                Some(Ejection { out: Out::Trials, since, until: Instant::NEVER, why })
            }
        }
    }

    /// The operator says that a backend is well: it is in, and what it did before is forgotten.
    pub fn forgive(&mut self, backend: u32, now: Instant) -> Vec<Change> {
        let Some(member) = self.members.get_mut(&backend) else { return Vec::new() };
        member.forgive();
        if member.is_in() {
            member.come_back(now);
            return Vec::new();
        }
        let mut changes = vec![self.readmit(backend, "the operator said so", now)];
        self.look_at_held(now, &mut changes);
        changes
    }

    /// What another process must know of a backend to go on.
    pub fn carried(&self, backend: u32) -> Option<Carried> {
        self.members.get(&backend).map(Member::carried)
    }

    /// Goes on where another process left off. The backend must be a member already.
    pub fn restore(&mut self, backend: u32, carried: Carried) {
        if let Some(member) = self.members.get_mut(&backend) {
            member.restore(carried);
        }
    }

    fn untried(&self) -> Micros {
        Micros::from_us(self.rule.base_time.as_us().saturating_mul(UNTRIED_BASES))
    }

    /// Why the backend may not be ejected.
    fn hindrance(&self, backend: u32) -> Option<String> {
        if !self.members.iter().any(|(&other, member)| other != backend && member.serves()) {
            return Some("no other backend of its pool is usable".to_owned());
        }
        let counted = || self.members.values().filter(|member| member.others != Others::Aside);
        let (count, out) = (counted().count(), counted().filter(|member| !member.is_in()).count());
        let max = ejected_max(count, self.rule.max_share);
        (out >= max).then(|| format!("of {count} backends {max} may be out at once (max_share)"))
    }

    fn try_to_eject(
        &mut self,
        backend: u32,
        why: String,
        first_failed: Instant,
        now: Instant,
    ) -> Option<Change> {
        let hindrance = self.hindrance(backend);
        let member = self.members.get_mut(&backend)?;
        let Some(hindrance) = hindrance else {
            return Some(eject(backend, member, why, first_failed, &self.rule, now));
        };
        let said = member.held.replace(now).is_some_and(|held| now.since(held) <= self.rule.window);
        let why = format!("not ejected: {hindrance}; {why}");
        (!said).then_some(Change { backend, ruling: Ruling::HeldBack, why, first_failed })
    }

    fn readmit(&mut self, backend: u32, why: &str, now: Instant) -> Change {
        if let Some(member) = self.members.get_mut(&backend) {
            member.come_back(now);
        }
        Change { backend, ruling: Ruling::Readmitted, why: format!("readmitted: {why}"), first_failed: now }
    }

    /// If nobody serves, all that are out come back.
    fn release(&mut self, now: Instant) -> Vec<Change> {
        if self.members.values().any(Member::serves) {
            return Vec::new();
        }
        let out = |member: &Member| !member.is_in() && member.others == Others::Usable;
        let released: Vec<u32> = self.members.iter().filter(|(_, m)| out(m)).map(|(&id, _)| id).collect();
        released
            .into_iter()
            .map(|backend| self.readmit(backend, "no other backend of its pool is usable", now))
            .collect()
    }

    /// Whoever was held back is looked at again.
    fn look_at_held(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let held = |member: &Member| member.held.is_some() && member.serves();
        let held: Vec<u32> = self.members.iter().filter(|(_, m)| held(m)).map(|(&id, _)| id).collect();
        for backend in held {
            let failing = self.members.get(&backend).and_then(|member| member.failing(&self.rule, now));
            let reason = failing.or_else(|| Some((self.too_slow(backend, now).map(slower)?, now)));
            if let Some((why, first_failed)) = reason {
                changes.extend(self.try_to_eject(backend, why, first_failed, now));
            }
        }
    }

    /// Looks at a backend's response times now, or as soon as it may.
    fn look_soon(&mut self, backend: u32, now: Instant, changes: &mut Vec<Change>) {
        let Some(member) = self.members.get_mut(&backend) else { return };
        if member.slow_since.is_some() || !member.is_in() {
            return;
        }
        let from = member.looked + LOOK_EVERY;
        if now < from {
            member.look_at = from;
        } else {
            self.look(backend, now, changes);
        }
    }

    fn look(&mut self, backend: u32, now: Instant, changes: &mut Vec<Change>) {
        let slow = self.too_slow(backend, now);
        let Some(member) = self.members.get_mut(&backend) else { return };
        (member.looked, member.look_at) = (now, Instant::NEVER);
        match (slow, member.slow_since.take()) {
            (None, _) => {}
            (Some(_), None) => {
                member.slow_since = Some(now);
                member.look_at = now + SLOW_FOR;
            }
            (Some(factor), Some(since)) => {
                changes.extend(self.try_to_eject(backend, slower(factor), since, now));
            }
        }
    }

    /// How many times slower than the median of the pool's others a backend is, if that is too slow: by
    /// the shortest newest part of the window that has enough of its response times and of theirs. Nobody is
    /// without a `latency_factor`.
    fn too_slow(&self, backend: u32, now: Instant) -> Option<f64> {
        if self.rule.latency_factor <= 0.0 {
            return None;
        }
        let member = self.members.get(&backend).filter(|member| member.serves())?;
        (1..=SLICES).find_map(|slices| {
            let own = member.window.newest(slices, now);
            let needed = if slices < SLICES { TIMED_NEWEST } else { TIMED_WINDOW };
            let median = (own.timed >= needed).then(|| self.median(backend, slices, now))??;
            Some(self.slow_against(own.mean_log2(), median))
        })?
    }

    fn slow_against(&self, own_log2: f64, median_log2: f64) -> Option<f64> {
        let factor = (own_log2 - median_log2).exp2();
        let by_us = own_log2.exp2() - median_log2.exp2();
        (factor >= self.rule.latency_factor && by_us >= SLOWER_BY_US).then_some(factor)
    }

    /// How many times too slow the trials are that are all of this delta.
    fn slow_trial(&self, backend: u32, delta: &Delta, now: Instant) -> Option<f64> {
        let trials = delta.trials_passed + delta.trials_failed;
        let only_trials = trials > 0 && trials == delta.passed + delta.failed && delta.timed > 0;
        if !only_trials || self.rule.latency_factor <= 0.0 {
            return None;
        }
        self.slow_against(Counts::from(delta).mean_log2(), self.median(backend, SLICES, now)?)
    }

    /// The median of the others' mean log2 response times over the newest slices: of two at least, or of
    /// the one there is.
    fn median(&self, backend: u32, slices: usize, now: Instant) -> Option<f64> {
        let others = || self.members.iter().filter(|&(&other, m)| other != backend && m.serves());
        let mut means: Vec<f64> = others()
            .map(|(_, other)| other.window.newest(slices, now))
            .filter(|counts| counts.timed >= TIMED_WINDOW)
            .map(|counts| counts.mean_log2())
            .collect();
        if means.len() < others().count().clamp(1, 2) {
            return None;
        }
        means.sort_by(f64::total_cmp);
        Some((means[(means.len() - 1) / 2] + means[means.len() / 2]) / 2.0)
    }
}

/// When something is due for a member.
fn due(member: &Member, untried: Micros) -> Instant {
    match member.state {
        State::In => member.look_at,
        State::Ejected { until, .. } => until,
        State::Trials { since, .. } if member.others == Others::Usable => since + untried,
        State::Trials { .. } => Instant::NEVER,
    }
}

fn eject(
    backend: u32,
    member: &mut Member,
    why: String,
    first_failed: Instant,
    rule: &Eject,
    now: Instant,
) -> Change {
    let length = member.eject(why.clone(), rule, now);
    let ruling = Ruling::Ejected { until: now + length };
    Change { backend, ruling, why: format!("ejected for {length}: {why}"), first_failed }
}

fn slower(factor: f64) -> String {
    format!("{factor:.0} times slower than the pool's median")
}

/// How many of `count` backends may be out at once.
pub fn ejected_max(count: usize, max_share: f64) -> usize {
    if count < 2 || max_share <= 0.0 {
        return 0;
    }
    // A share such as 0.3 of ten is three, not 2.9999.
    ((count as f64 * max_share + 1e-9) as usize).clamp(1, count)
}
