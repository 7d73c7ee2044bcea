//! The roster takes back what operators did in a process before.

use super::{Member, Pool, Roster};
use crate::balance::{BackendId, Traffic};
use crate::config::{BackendAddress, Destination};
use crate::fleet::carried::{Carried, CarriedBackend};

impl Roster {
    /// Weights, wills, removals and additions as they were carried, where the configuration of the backend
    /// says what it said then. To be called before any shard knows of this roster.
    pub(crate) fn restore(&mut self, carried: &Carried) {
        let generation = self.topology.generation;
        for from in &carried.pools {
            let Some(at) = self.pools.iter().position(|pool| pool.name == from.name) else { continue };
            let mut pools = std::mem::take(&mut self.pools);
            let pool = &mut pools[at];
            remove(pool, from, |id| self.ids.leave(id, std::iter::empty()));
            for backend in &from.backends {
                match &backend.configured {
                    Some(_) => change(pool, backend),
                    None => add(pool, backend, || self.ids.take(generation)),
                }
            }
            self.pools = pools;
        }
        self.plan(generation);
    }
}

fn remove(pool: &mut Pool, from: &crate::fleet::carried::CarriedPool, mut leave: impl FnMut(BackendId)) {
    for removed in &from.removed {
        let gone = |member: &Member| {
            member.answers_to(&removed.name) && member.configured.as_ref() == Some(&removed.configured)
        };
        if pool.members.iter().any(gone) {
            pool.members.iter().filter(|member| gone(member)).for_each(|member| leave(member.id));
            pool.members.retain(|member| !gone(member));
            pool.removed.push(removed.clone());
        }
    }
}

fn change(pool: &mut Pool, backend: &CarriedBackend) {
    let same = |member: &&mut Member| member.name == backend.name && member.configured == backend.configured;
    if let Some(member) = pool.members.iter_mut().find(same) {
        member.weight = backend.weight;
        member.will = backend.will;
    }
}

fn add(pool: &mut Pool, backend: &CarriedBackend, id: impl FnOnce() -> BackendId) {
    if pool.members.iter().any(|member| member.answers_to(&backend.name)) {
        return;
    }
    let Ok(written) = BackendAddress::parse(&backend.address) else { return };
    let address = match &written {
        BackendAddress::Tcp(address) => Destination::Tcp(*address),
        BackendAddress::Unix(path) => Destination::Unix(path.clone()),
        BackendAddress::Name(..) | BackendAddress::Service(_) => return,
    };
    pool.members.push(Member {
        id: id(),
        name: backend.name.clone(),
        entry: backend.name.clone(),
        written,
        address,
        weight: backend.weight,
        base_weight: backend.weight,
        backup: false,
        configured: None,
        will: backend.will,
        initial: Traffic::NOTHING,
    });
}
