//! The roster follows another configuration, or other addresses of a name: who stays, who comes, who goes.
//!
//! A backend stays what it is, with its number, its connections and all that is known of it, as long as
//! pool, name and address are the same. An operator's changes of it hold as long as its configuration says
//! what it said; where the configuration now says something else, the configuration wins.

use super::member::{Wanted, wanted};
use super::{Member, Pool, Roster, Told, plan};
use crate::balance::Traffic;
use crate::config::Config;
use crate::fleet::addresses::Addresses;
use crate::fleet::status::Will;
use crate::topology::ListenerPlan;
use rustls::ClientConfig;
use std::sync::Arc;

/// What is to hold.
pub(crate) struct Next {
    pub(crate) config: Arc<Config>,
    pub(crate) names: Addresses,
    /// In the configuration's order; the last ones where nothing differs.
    pub(crate) listeners: Vec<Arc<ListenerPlan>>,
    /// How connections to the backends are sealed, by pool.
    pub(crate) sealing: Vec<Option<Arc<ClientConfig>>>,
}

impl Roster {
    /// Makes it hold. Returns what changed among the backends, in words.
    pub(crate) fn follow(&mut self, next: Next, told: Told<'_>) -> Vec<String> {
        let generation = self.topology.generation + 1;
        let mut words = Vec::new();
        let mut old = std::mem::take(&mut self.pools);
        for configured in &next.config.pools {
            let pool = match old.iter().position(|pool| pool.name == configured.name) {
                Some(at) => old.swap_remove(at),
                None => Pool {
                    name: configured.name.clone(),
                    members: Vec::new(),
                    removed: Vec::new(),
                    plan: plan::empty(configured),
                },
            };
            let checked = configured.health.is_some();
            let pool = self.follow_pool(pool, wanted(configured, &next.names), checked, told, &mut words);
            self.pools.push(pool);
        }
        for member in old.iter().flat_map(|pool| &pool.members) {
            self.ids.leave(member.id, told.iter().copied());
        }
        (self.config, self.names, self.listeners) = (next.config, next.names, next.listeners);
        self.sealing = next.sealing;
        self.plan(generation);
        words
    }

    fn follow_pool(
        &mut self,
        mut pool: Pool,
        wanted: Vec<Wanted>,
        checked: bool,
        told: Told<'_>,
        words: &mut Vec<String>,
    ) -> Pool {
        let generation = self.topology.generation + 1;
        let name = &pool.name;
        pool.removed.retain(|removed| {
            wanted
                .iter()
                .any(|wanted| removes(&removed.name, wanted) && removed.configured == wanted.configured)
        });
        let mut old = std::mem::take(&mut pool.members);
        for wanted in wanted {
            if pool.removed.iter().any(|removed| removes(&removed.name, &wanted)) {
                continue;
            }
            let same = |member: &Member| member.name == wanted.name && member.address == wanted.address;
            match old.iter().position(same) {
                Some(at) => {
                    let member = old.remove(at);
                    let stays = keep(name, member, wanted, words);
                    pool.members.push(stays);
                }
                None => {
                    words.push(format!("pool {name}: backend {} added ({})", wanted.name, wanted.address));
                    let initial = if checked { Traffic::NOTHING } else { Traffic::ALL };
                    let id = self.ids.take(generation);
                    pool.members.push(new(id, wanted, initial));
                }
            }
        }
        for member in old {
            let taken = pool.members.iter().any(|other| other.name == member.name);
            if member.configured.is_none() && !taken {
                pool.members.push(member);
            } else {
                words.push(format!("pool {name}: backend {} removed ({})", member.name, member.address));
                self.ids.leave(member.id, told.iter().copied());
            }
        }
        pool
    }
}

fn removes(removed: &str, wanted: &Wanted) -> bool {
    removed == wanted.name || removed == wanted.entry
}

fn new(id: crate::balance::BackendId, wanted: Wanted, initial: Traffic) -> Member {
    Member {
        id,
        name: wanted.name,
        entry: wanted.entry,
        written: wanted.written,
        address: wanted.address,
        weight: wanted.weight,
        base_weight: wanted.weight,
        backup: wanted.backup,
        configured: Some(wanted.configured),
        will: Will::Ready,
        initial,
    }
}

/// The member as it goes on.
fn keep(pool: &str, mut member: Member, wanted: Wanted, words: &mut Vec<String>) -> Member {
    let changed = member.configured.as_ref() != Some(&wanted.configured);
    let overridden = member.weight != member.base_weight;
    if changed || !overridden {
        if member.weight != wanted.weight {
            words.push(format!(
                "pool {pool}: weight of backend {} is {} (was {})",
                member.name, wanted.weight, member.weight
            ));
        }
        member.weight = wanted.weight;
    }
    member.base_weight = wanted.weight;
    if changed {
        if member.will != Will::Ready {
            words.push(format!("pool {pool}: backend {} is ready again", member.name));
        }
        if member.backup != wanted.backup {
            let what = if wanted.backup { "a backup" } else { "no backup any more" };
            words.push(format!("pool {pool}: backend {} is {what}", member.name));
        }
        member.will = Will::Ready;
    }
    member.backup = wanted.backup;
    (member.entry, member.written) = (wanted.entry, wanted.written);
    member.configured = Some(wanted.configured);
    member
}
