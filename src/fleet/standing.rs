//! What control remembers of one backend beside its check, and what is told when that changes.
//!
//! Pure. Kept by `world`, which judges; what it says is carried out by the desk.

use super::groups::GroupId;
use super::roster::{Member, Pool};
use super::status::{Failovers, Left};
use crate::balance::{Admitted, BackendId, Traffic};
use crate::config::{BackendAddress, Destination};
use crate::health::{self, Condition, Ruling, SlowStart};
use crate::time::{Instant, Micros};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What control knows of a backend beside its check.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The name of its pool.
    pub(crate) pool: Arc<str>,
    /// `None`: it was not judged yet.
    pub(crate) condition: Option<Condition>,
    /// When it entered it.
    pub(crate) since: Instant,
    /// Why.
    pub(crate) why: String,
    /// What the shards were told last.
    pub(crate) traffic: Traffic,
    pub(crate) slow: SlowStart,
    pub(crate) transitions: u64,
    pub(crate) ejections: u64,
    pub(crate) failovers: Failovers,
    /// The first failure of those that are taking it out of traffic.
    pub(crate) first_failed: Option<Instant>,
    /// What the ejector said last.
    ruled: String,
    /// Its last exchanges failed for want of a connection.
    pub(crate) cannot_connect: bool,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notice {
    /// A backend entered another state. `failed_over`: it served, and failures took it out, so the line
    /// waits for what that cost.
    Transition {
        id: BackendId,
        backend: Named,
        from: Condition,
        to: Condition,
        why: String,
        failed_over: bool,
    },
    /// It should be out, but stays in.
    HeldBack { backend: Named, why: String },
    /// A pool's panic began or ended.
    Panic { pool: String, begins: bool, healthy: usize, counted: usize },
}

/// A backend in the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) pool: String,
    pub(crate) name: String,
    pub(crate) address: Destination,
}

/// What follows from a call.
#[derive(Default)]
pub(crate) struct Effects {
    /// What shards are to be told.
    pub(crate) traffic: Vec<(BackendId, Traffic)>,
    /// Backends that failures take out, and when the first of those was.
    pub(crate) failing: Vec<(BackendId, Instant)>,
    pub(crate) notices: Vec<Notice>,
    /// Groups of which a check is due at once.
    pub(crate) hurry: Vec<GroupId>,
    /// Names none of whose addresses can be connected to.
    pub(crate) doubted: Vec<BackendAddress>,
}

impl Named {
    fn of(pool: &Pool, member: &Member) -> Self {
        Self { pool: pool.name.clone(), name: member.name.clone(), address: member.address.clone() }
    }
}

impl Standing {
    /// Of one that is new: what the first topology says of one that is checked.
    pub(crate) fn new(pool: &str, now: Instant) -> Self {
        Self {
            pool: pool.into(),
            condition: None,
            since: now,
            why: String::new(),
            // One that is not checked is told otherwise at once.
            traffic: Traffic::NOTHING,
            slow: SlowStart::default(),
            transitions: 0,
            ejections: 0,
            failovers: Failovers::default(),
            first_failed: None,
            ruled: String::new(),
            cannot_connect: false,
        }
    }

    /// It leaves its pool, and what became of it stays in `left`.
    pub(crate) fn leaves(&self, left: &mut Left) {
        left.transitions += self.transitions;
        left.ejections += self.ejections;
        let (own, all) = (&self.failovers, &mut left.failovers);
        all.count += own.count;
        all.sum = Micros::from_us(all.sum.as_us().saturating_add(own.sum.as_us()));
        all.lost += own.lost;
    }

    /// What the ejector said, in another process.
    pub(crate) fn rule(&mut self, why: &str) {
        why.clone_into(&mut self.ruled);
    }

    /// It is in the state `to` and gets `traffic`; `check_says`: why its check says what it says.
    pub(crate) fn enter(
        &mut self,
        (pool, member): (&Pool, &Member),
        to: Condition,
        check_says: Option<&str>,
        traffic: Traffic,
        now: Instant,
        effects: &mut Effects,
    ) {
        let was = std::mem::replace(&mut self.traffic, traffic);
        if !is_same(&was, &traffic, now) {
            effects.traffic.retain(|(id, _)| *id != member.id);
            effects.traffic.push((member.id, traffic));
        }
        if self.condition == Some(to) {
            return;
        }
        let from = self.condition.replace(to);
        self.since = now;
        self.why = why(from, to, check_says, &self.ruled);
        let Some(from) = from else { return };
        self.transitions += 1;
        let failed = matches!(to, Condition::Down | Condition::Ejected);
        let failed_over = failed && was.admitted == Admitted::All && traffic.admitted != Admitted::All;
        if failed_over {
            effects.failing.push((member.id, self.first_failed.take().unwrap_or(now)));
        }
        let (id, backend, why) = (member.id, Named::of(pool, member), self.why.clone());
        effects.notices.push(Notice::Transition { id, backend, from, to, why, failed_over });
    }
}

/// Remembers what the ejector said.
pub(crate) fn note(
    pool: &Pool,
    changes: &[health::Change],
    standings: &mut BTreeMap<BackendId, Standing>,
    effects: &mut Effects,
) {
    for change in changes {
        let id = BackendId(change.backend);
        let Some(standing) = standings.get_mut(&id) else { continue };
        standing.ruled.clone_from(&change.why);
        match change.ruling {
            Ruling::Ejected { .. } => {
                standing.ejections += 1;
                standing.first_failed = Some(change.first_failed);
            }
            Ruling::Tried | Ruling::Readmitted => {}
            Ruling::HeldBack => {
                if let Some(member) = pool.members.iter().find(|member| member.id == id) {
                    let (backend, why) = (Named::of(pool, member), change.why.clone());
                    effects.notices.push(Notice::HeldBack { backend, why });
                }
            }
        }
    }
}

/// Why a backend is in its state, in words.
fn why(from: Option<Condition>, to: Condition, check_says: Option<&str>, ruled: &str) -> String {
    let taken_out = |condition| matches!(condition, Some(Condition::Draining | Condition::Maintenance));
    match to {
        Condition::Draining => "an operator drains it".to_owned(),
        Condition::Maintenance => "an operator took it out".to_owned(),
        Condition::Ejected | Condition::Trial => ruled.to_owned(),
        Condition::Up | Condition::NoCheck if matches!(from, Some(Condition::Ejected | Condition::Trial)) => {
            ruled.to_owned()
        }
        Condition::Up | Condition::NoCheck if taken_out(from) => "an operator made it ready".to_owned(),
        Condition::NoCheck => "no health check is configured".to_owned(),
        Condition::Unchecked | Condition::Up | Condition::Down => check_says.unwrap_or_default().to_owned(),
    }
}

/// Whether shards that do the one do the other. A ramp that is over is none.
fn is_same(a: &Traffic, b: &Traffic, now: Instant) -> bool {
    let ramp = |traffic: &Traffic| traffic.ramp.filter(|ramp| !ramp.is_over(now));
    a.admitted == b.admitted && ramp(a) == ramp(b)
}
