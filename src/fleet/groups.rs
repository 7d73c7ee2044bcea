//! Who is checked with whom, and how hurriedly: the series of checks.
//!
//! Backends with the same address and the same rule, in whatever pools, are one [`Group`]: one series of
//! checks answers for all of them. Groups come and go with the roster; one whose rule changed keeps its
//! state. An exchange that fails at a backend that counts as up hurries its checks: one at once, then one
//! every [`HURRY`] until the verdict is clear, and no more than `fall` beyond the schedule in any interval,
//! so that a backend that only fails its exchanges is not besieged as well. A check that asks something else
//! from now on takes nobody out by being new: who was up is up until it has failed `fall` times. No socket and no clock here:
//! `prober` has the tasks, `probe` the checks, `health` the judgement.

use super::check::{BadCheck, Carrier, Prepared, Sealed};
use super::roster::{Member, Pool, Roster};
use super::status::Will;
use crate::balance::BackendId;
use crate::config::{self, BackendAddress, Destination, Health, PoolTls, Protocol};
use crate::health::{Checked, ProbeFailure, Rule, State, Transition};
use crate::time::{Instant, Micros};
use rustls::pki_types::ServerName;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Between two checks of a backend whose exchanges fail.
pub(crate) const HURRY: Micros = Micros::from_ms(100);

/// Why a backend counts as up that is in traffic and has a check now.
pub(crate) const SERVED: &str = "it served before it was checked";

/// A group's number, never given twice.
pub(crate) type GroupId = u64;

/// What is checked, and how.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    /// Where the checks go: the backend's address, or another port of it.
    address: Destination,
    health: Health,
    /// The Host of a check without one is the address as written: two names of one address differ.
    host: Option<BackendAddress>,
    /// By which rules the check is sealed, and whom the backend's certificate must name.
    tls: Option<(PoolTls, ServerName<'static>)>,
    /// It speaks HTTP/2.
    http2: bool,
}

impl Series {
    /// The same question to the same server, however often it is asked and its answers are counted.
    fn asks_the_same(&self, other: &Self) -> bool {
        let Self { address, health, host, tls, http2 } = self;
        *address == other.address
            && *host == other.host
            && health.check == other.health.check
            && *tls == other.tls
            && *http2 == other.http2
    }
}

/// Backends that one series of checks answers for.
pub(crate) struct Group {
    series: Series,
    prepared: Prepared,
    pub(crate) members: Vec<BackendId>,
    pub(crate) checked: Checked,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// How long the last check took.
    pub(crate) took: Option<Micros>,
    /// Checks come in quick succession.
    hurried: bool,
    /// Checks that may still come beyond the schedule in this interval.
    beyond: u32,
    /// When the schedule has the next check.
    scheduled: Instant,
}

impl Group {
    /// What a check needs: the request, where it goes, and how long it may take.
    pub(crate) fn errand(&self) -> (Prepared, Destination, Micros) {
        (self.prepared.clone(), self.series.address.clone(), self.series.health.timeout)
    }

    /// Between two checks.
    pub(crate) fn interval(&self) -> Micros {
        self.series.health.interval
    }

    /// A check begins.
    pub(crate) fn begins(&mut self, now: Instant, draw: u64) {
        if now >= self.scheduled {
            self.scheduled = now + self.checked.next_in(draw);
            self.beyond = self.series.health.fall.max(1);
        } else {
            self.beyond = self.beyond.saturating_sub(1);
        }
    }

    /// Takes in how a check ended.
    pub(crate) fn observe(
        &mut self,
        outcome: &Result<(), ProbeFailure>,
        began: Instant,
        now: Instant,
    ) -> Option<Transition> {
        *if outcome.is_ok() { &mut self.passed } else { &mut self.failed } += 1;
        self.took = Some(now - began);
        let transition = self.checked.observe(outcome, now);
        self.hurried &= outcome.is_err() && self.checked.state() == State::Up && self.beyond > 0;
        if transition.is_some() {
            // The interval of the new state counts from this check.
            self.scheduled = self.scheduled.min(began + self.checked.next_in(u64::MAX / 2));
        }
        transition
    }

    /// When the next check is due after one that began at `began`.
    pub(crate) fn next(&self, began: Instant) -> Instant {
        if self.hurried { self.scheduled.min(began + HURRY) } else { self.scheduled }
    }

    /// An exchange failed. `true`: a check is due at once.
    pub(crate) fn suspect(&mut self) -> bool {
        let begins = !self.hurried && self.checked.state() == State::Up && self.beyond > 0;
        self.hurried |= begins;
        begins
    }
}

/// All groups.
#[derive(Default)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupId, Group>,
    of: BTreeMap<BackendId, GroupId>,
    last: GroupId,
}

impl Groups {
    /// The group that answers for a backend; `None`: it is not checked.
    pub(crate) fn of(&self, id: BackendId) -> Option<&Group> {
        self.groups.get(self.of.get(&id)?)
    }

    /// The number of the group that answers for a backend.
    pub(crate) fn number_of(&self, id: BackendId) -> Option<GroupId> {
        self.of.get(&id).copied()
    }

    /// A group, if it is still there.
    pub(crate) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(&id)
    }

    /// All that are there.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = GroupId> {
        self.groups.keys().copied()
    }

    /// Makes the groups those of the roster. `served`: it is in traffic without having been checked, and
    /// counts as up for a check that it gets now.
    ///
    /// # Errors
    /// A check whose request is no HTTP; `resolve` has found those before.
    pub(crate) fn follow(
        &mut self,
        roster: &Roster,
        served: impl Fn(BackendId) -> bool,
        now: Instant,
    ) -> Result<(), BadCheck> {
        let mut old = std::mem::take(&mut self.groups);
        let was = std::mem::take(&mut self.of);
        let mut at: HashMap<Destination, Vec<GroupId>> = HashMap::new();
        for (number, group) in &old {
            at.entry(group.series.address.clone()).or_default().push(*number);
        }
        for (pool, configured) in roster.configured() {
            let Some(health) = &configured.health else { continue };
            for member in pool.members.iter().filter(|member| member.will != Will::Maintenance) {
                let (series, prepared) = series(member, health, (pool, configured))?;
                let before = match was.get(&member.id) {
                    Some(number) => Before::Checked(*number),
                    None if served(member.id) => Before::Served,
                    None => Before::Nothing,
                };
                let number = self.join(&mut old, &mut at, (series, prepared), before, now);
                if let Some(group) = self.groups.get_mut(&number) {
                    group.members.push(member.id);
                }
                self.of.insert(member.id, number);
            }
        }
        Ok(())
    }

    /// The number of the group that asks this: one that is there, one of before, or a new one, which goes
    /// on from what the backend's last group knew. `at`: the numbers of all of them, by where they check.
    fn join(
        &mut self,
        old: &mut BTreeMap<GroupId, Group>,
        at: &mut HashMap<Destination, Vec<GroupId>>,
        (series, prepared): (Series, Prepared),
        before: Before,
        now: Instant,
    ) -> GroupId {
        let at = at.entry(series.address.clone()).or_default();
        let group = |number: &GroupId| self.groups.get(number).or_else(|| old.get(number));
        let same = |number: &&GroupId| group(number).is_some_and(|group| group.series == series);
        if let Some(&number) = at.iter().find(same) {
            if let Some(mut group) = old.remove(&number) {
                group.members.clear();
                // The rules may be the same and what is in the files that they name another.
                group.prepared = prepared;
                self.groups.insert(number, group);
            }
            return number;
        }
        self.last += 1;
        let number = self.last;
        at.push(number);
        let rule = Rule::from(&series.health);
        let last = if let Before::Checked(number) = &before { group(number) } else { None };
        let checked = checked(before, last, &series, rule, now);
        let group = Group {
            prepared,
            members: Vec::new(),
            checked,
            passed: last.map_or(0, |last| last.passed),
            failed: last.map_or(0, |last| last.failed),
            took: last.and_then(|last| last.took),
            hurried: false,
            beyond: series.health.fall.max(1),
            scheduled: now,
            series,
        };
        self.groups.insert(number, group);
        number
    }
}

/// What a backend that is to be checked was before.
#[derive(Clone, Copy)]
enum Before {
    /// New, or not in traffic.
    Nothing,
    /// In traffic, and not checked.
    Served,
    Checked(GroupId),
}

/// The memory that a new group begins with.
fn checked(before: Before, last: Option<&Group>, series: &Series, rule: Rule, now: Instant) -> Checked {
    let mut checked = last.map_or_else(|| Checked::new(rule, now), |last| last.checked.clone());
    checked.set_rule(rule);
    if last.is_some_and(|last| !last.series.asks_the_same(series)) {
        // The run speaks of another question.
        checked.restore(checked.state(), checked.since(), checked.why().to_owned());
    }
    if matches!(before, Before::Served) {
        checked.restore(State::Up, now, SERVED.to_owned());
    }
    checked
}

fn series(
    member: &Member,
    health: &Health,
    (pool, configured): (&Pool, &config::Pool),
) -> Result<(Series, Prepared), BadCheck> {
    let sealed = configured.tls.as_ref().zip(pool.tls()).and_then(|(rules, config)| {
        // That there is a name was seen when the configuration or the backend was taken.
        let server_name = ServerName::try_from(rules.name_of(&member.written)?).ok()?;
        Some((rules.clone(), Sealed { config: config.clone(), server_name }))
    });
    let (rules, tls) = sealed.unzip();
    let name = tls.as_ref().map(|tls| tls.server_name.clone());
    let http2 = configured.upstream.protocol == Protocol::Http2;
    let prepared = Prepared::new(health, &member.written, Carrier { http2, tls })?;
    let host = prepared.names_backend(health).then(|| member.written.clone());
    let address = at_port(&member.address, health.port);
    Ok((Series { address, health: health.clone(), host, tls: rules.zip(name), http2 }, prepared))
}

fn at_port(address: &Destination, port: u16) -> Destination {
    match address {
        Destination::Tcp(tcp) if port != 0 => Destination::Tcp(SocketAddr::new(tcp.ip(), port)),
        Destination::Tcp(_) | Destination::Unix(_) => address.clone(),
    }
}
