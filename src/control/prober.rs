//! When which backend is checked, and what each check's end means.
//!
//! Backends with the same address and the same rule, in whatever pools, are one [`Group`]: one task
//! checks it and all members share the verdict. One check at a time and group, so a backend that hangs
//! has one connection of ours, not a pile. The judgement is `health`'s, the check itself [`Prepared`]'s;
//! here is the timing, and the desk is told what came out.

use super::ResolvedBackend;
use super::desk::Desk;
use super::probe::{BadCheck, Prepared};
use crate::balance::BackendId;
use crate::config::Destination;
use crate::config::{BackendAddress, Config, Health};
use crate::health::{Checked, ProbeFailure, Rule, Transition, first_probe_after};
use crate::time::{Instant, Micros};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use tokio::time::sleep;

/// Backends that one series of checks answers for.
pub(super) struct Group {
    /// Where the checks go: the backend's address, or another port of it.
    address: Destination,
    health: Health,
    prepared: Prepared,
    pub(super) members: Vec<BackendId>,
    pub(super) checked: Checked,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) transitions: u64,
    /// How long the last check took.
    pub(super) took: Option<Micros>,
}

impl Group {
    /// Takes in how a check ended.
    pub(super) fn observe(
        &mut self,
        outcome: &Result<(), ProbeFailure>,
        began: Instant,
        now: Instant,
    ) -> Option<Transition> {
        *if outcome.is_ok() { &mut self.passed } else { &mut self.failed } += 1;
        self.took = Some(now - began);
        let transition = self.checked.observe(outcome, now);
        self.transitions += u64::from(transition.is_some());
        transition
    }
}

/// The groups of all checked backends.
///
/// # Errors
/// A check whose request is no HTTP; `resolve` has found those before.
pub(super) fn groups(
    config: &Config,
    backends: &[ResolvedBackend],
    now: Instant,
) -> Result<Vec<Group>, BadCheck> {
    // The Host of a check without one is the address as written: two names of one address differ.
    let mut groups: Vec<(Group, Option<&BackendAddress>)> = Vec::new();
    for backend in backends {
        let pool = &config.pools[backend.pool];
        let Some(health) = &pool.health else { continue };
        let written = &pool.backends[backend.index].address;
        let prepared = Prepared::new(&health.check, written)?;
        let host = prepared.names_backend(health).then_some(written);
        let address = at_port(&backend.address, health.port);
        let same = groups
            .iter_mut()
            .find(|(group, other)| group.address == address && group.health == *health && *other == host);
        match same {
            Some((group, _)) => group.members.push(backend.id),
            None => {
                let group = Group {
                    address,
                    health: health.clone(),
                    prepared,
                    members: vec![backend.id],
                    checked: Checked::new(Rule::from(health), now),
                    passed: 0,
                    failed: 0,
                    transitions: 0,
                    took: None,
                };
                groups.push((group, host));
            }
        }
    }
    Ok(groups.into_iter().map(|(group, _)| group).collect())
}

fn at_port(address: &Destination, port: u16) -> Destination {
    match address {
        Destination::Tcp(tcp) if port != 0 => Destination::Tcp(SocketAddr::new(tcp.ip(), port)),
        Destination::Tcp(_) | Destination::Unix(_) => address.clone(),
    }
}

/// Checks the desk's group `index` of `count` for ever, each check one interval after the last began.
pub(super) async fn check(desk: Desk, index: usize, count: usize, seed: u64) {
    let (prepared, address, health) =
        desk.group(index, |group| (group.prepared.clone(), group.address.clone(), group.health.clone()));
    sleep(first_probe_after(index, count, health.interval, seed).as_duration()).await;
    loop {
        let began = desk.now();
        let outcome = prepared.run(&address, health.timeout).await;
        desk.checked(index, &outcome, began);
        let next = began + desk.group(index, |group| group.checked.next_in(random()));
        sleep((next - desk.now()).as_duration()).await;
    }
}

/// 64 bits that nobody foresees, from the standard library's seed for hash tables.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
