//! What the world knows as [`Carried`] and back: for a successor and for the state file.
//!
//! Where the configuration of a backend is another one now, nothing that an operator did to it is restored;
//! what checks and exchanges found out is, if it is the same address.

use super::addresses::Addresses;
use super::addresses::ResolvedAddress;
use super::carried::{
    Carried, CarriedBackend, CarriedCheck, CarriedEjection, CarriedName, CarriedPool, CarriedReadmission,
    CarriedState, VERSION,
};
use super::check::BadCheck;
use super::groups::SERVED;
use super::roster::Member;
use super::world::World;
use crate::balance::BackendId;
use crate::config::{BackendAddress, Destination};
use crate::health::{self, Condition, State};
use crate::time::Instant;
use std::path::PathBuf;

impl World {
    /// Everything that a successor must know.
    pub(crate) fn export(&self, now: Instant) -> Carried {
        let pools = self.roster.pools().iter().map(|pool| {
            let ejector = self.pools.get(&pool.name).and_then(|health| health.ejector.as_ref());
            let backends = pool.members.iter().map(|member| {
                let ejected = ejector.and_then(|ejector| ejector.carried(member.id.0));
                self.export_backend(member, ejected, now)
            });
            CarriedPool {
                name: pool.name.clone(),
                backends: backends.collect(),
                removed: pool.removed.clone(),
            }
        });
        Carried { version: VERSION, pools: pools.collect(), names: names(self.roster.names()) }
    }

    fn export_backend(
        &self,
        member: &Member,
        ejected: Option<health::Carried>,
        now: Instant,
    ) -> CarriedBackend {
        let group = self.groups.of(member.id);
        let check =
            group.filter(|group| group.checked.state() != State::Unchecked).map(|group| CarriedCheck {
                up: group.checked.state() == State::Up,
                since_us_ago: (now - group.checked.since()).as_us(),
                why: group.checked.why().to_owned(),
            });
        let readmitted = ejected.as_ref().filter(|ejected| ejected.out.is_none() && ejected.times > 0);
        let readmitted = readmitted.map(|ejected| CarriedReadmission {
            times: ejected.times,
            came_back_us_ago: (now - ejected.came_back).as_us(),
        });
        let ejection = ejected.and_then(|ejected| {
            let (since, until, why) = ejected.out?;
            Some(CarriedEjection {
                remaining_us: (until - now).as_us(),
                times: ejected.times,
                since_us_ago: (now - since).as_us(),
                why,
            })
        });
        let standing = self.standings.get(&member.id);
        let slow = standing.and_then(|standing| standing.slow.began);
        let state = standing.and_then(|standing| {
            let word = standing.condition?.word().to_owned();
            Some(CarriedState { word, since_us_ago: (now - standing.since).as_us() })
        });
        CarriedBackend {
            name: member.name.clone(),
            address: member.address.to_string(),
            configured: member.configured.clone(),
            weight: member.weight,
            will: member.will,
            check,
            ejection,
            readmitted,
            came_up_us_ago: slow.map(|began| (now - began).as_us()),
            state,
        }
    }

    /// Goes on where another process was. To be called before any shard knows of this world.
    ///
    /// # Errors
    /// A check whose request is no HTTP.
    pub(crate) fn restore(&mut self, carried: &Carried, now: Instant) -> Result<(), BadCheck> {
        if carried.version != VERSION {
            return Ok(());
        }
        self.roster.restore(carried);
        self.settle(now)?;
        // Ejectors only keep what they were told of a backend that they know.
        self.begin(now);
        for pool in &carried.pools {
            pool.backends.iter().for_each(|backend| self.restore_backend(&pool.name, backend, now));
        }
        self.begin(now);
        // What led here were no transitions of this process, and what has not changed is as old as it was.
        self.standings.values_mut().for_each(|standing| standing.transitions = 0);
        for pool in &carried.pools {
            pool.backends.iter().for_each(|backend| self.restore_since(&pool.name, backend, now));
        }
        Ok(())
    }

    /// The member that was carried.
    fn carried_member(&self, pool: &str, backend: &CarriedBackend) -> Option<BackendId> {
        let members = self.roster.members(pool, &backend.name).ok()?;
        let same =
            |member: &&Member| member.name == backend.name && member.address.to_string() == backend.address;
        members.into_iter().find(same).map(|member| member.id)
    }

    fn restore_since(&mut self, pool: &str, backend: &CarriedBackend, now: Instant) {
        if let Some(state) = &backend.state
            && let Some(id) = self.carried_member(pool, backend)
            && let Some(standing) = self.standings.get_mut(&id)
            && standing.condition.is_some_and(|condition| condition.word() == state.word)
        {
            standing.since = ago(now, state.since_us_ago);
        }
    }

    fn restore_backend(&mut self, pool: &str, backend: &CarriedBackend, now: Instant) {
        let Some(id) = self.carried_member(pool, backend) else { return };
        if let Some(number) = self.groups.number_of(id)
            && let Some(group) = self.groups.get_mut(number)
        {
            match (&backend.check, &backend.state) {
                (Some(check), _) => {
                    let state = if check.up { State::Up } else { State::Down };
                    group.checked.restore(state, ago(now, check.since_us_ago), check.why.clone());
                }
                // As in a reload: a check that is new takes nobody out by being so.
                (None, Some(state)) if state.word == Condition::NoCheck.word() => {
                    group.checked.restore(State::Up, now, SERVED.to_owned());
                }
                (None, _) => {}
            }
        }
        let ejector = self.pools.get_mut(pool).and_then(|health| health.ejector.as_mut());
        if let Some(ejector) = ejector {
            if let Some(ejection) = &backend.ejection {
                let since = ago(now, ejection.since_us_ago);
                let until = Instant::from_us(now.as_us().saturating_add(ejection.remaining_us));
                let out = Some((since, until, ejection.why.clone()));
                ejector.restore(id.0, health::Carried { out, times: ejection.times, came_back: since });
            } else if let Some(CarriedReadmission { times, came_back_us_ago }) = backend.readmitted {
                let came_back = ago(now, came_back_us_ago);
                ejector.restore(id.0, health::Carried { out: None, times, came_back });
            }
        }
        if let Some(standing) = self.standings.get_mut(&id) {
            standing.slow.began = backend.came_up_us_ago.map(|us| ago(now, us));
            if let Some(ejection) = &backend.ejection {
                standing.rule(&ejection.why);
            }
        }
    }
}

fn ago(now: Instant, us: u64) -> Instant {
    Instant::from_us(now.as_us().saturating_sub(us))
}

fn names(names: &Addresses) -> Vec<CarriedName> {
    let mut all: Vec<CarriedName> = names
        .iter()
        .map(|(name, found)| CarriedName {
            name: name.to_string(),
            found: found.iter().map(|found| (found.address.to_string(), found.weight)).collect(),
            backups: found
                .iter()
                .filter(|found| found.backup)
                .map(|found| found.address.to_string())
                .collect(),
            fresh_for_us: 0,
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What names resolved to when it was written: known without asking, if nobody can be asked now.
pub(crate) fn known_names(carried: &Carried) -> Addresses {
    let known = carried.names.iter().filter_map(|name| {
        let written = BackendAddress::parse(&name.name).ok()?;
        let found = name.found.iter().filter_map(|(address, weight)| {
            let backup = name.backups.contains(address);
            Some(ResolvedAddress { address: destination(address)?, weight: *weight, backup })
        });
        Some((written, found.collect()))
    });
    known.collect()
}

fn destination(text: &str) -> Option<Destination> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(Destination::Unix(PathBuf::from(path))),
        None => text.parse().ok().map(Destination::Tcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_names_addresses_are_known_as_they_were() {
        let of = |port: u16, weight, backup| ResolvedAddress {
            address: Destination::Tcp(([127, 0, 0, 1], port).into()),
            weight,
            backup,
        };
        let name = BackendAddress::Service("_http._tcp.app.internal".into());
        let known = Addresses::from([(name, vec![of(1, Some(5), false), of(2, None, true)])]);
        let carried = Carried { version: VERSION, pools: Vec::new(), names: names(&known) };
        assert_eq!(known_names(&carried), known);
    }
}
