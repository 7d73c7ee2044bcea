//! What is told about backends, pools, shards and the configuration.

use super::Desk;
use super::shards::STALLED_AFTER;
use crate::balance::{Admitted, BackendId, Traffic};
use crate::fleet::roster::{Member, Pool};
use crate::fleet::standing::Standing;
use crate::fleet::status::{BackendState, BackendStatus, ConfigStatus, PoolStatus, ShardStatus};
use crate::fleet::world::World;
use crate::health::{Condition, State};
use crate::time::Instant;
use crate::topology::ListenerPlan;
use std::sync::Arc;

/// Why `/readyz` says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// A signal came.
    #[error("shutting down")]
    ShuttingDown,
    /// Every shard has ended.
    #[error("no shard is left that serves")]
    NoShard,
    /// A pool has no usable backend, and one that was never checked.
    #[error("the first health checks of pool {0} have not ended")]
    Unchecked(String),
    /// Some shard does not know yet which backends it may use.
    #[error("the shards have not heard yet which backends are usable")]
    Unheard,
}

impl Desk {
    /// All backends, in the roster's order.
    pub fn backends(&self) -> Vec<BackendStatus> {
        let (world, in_flight, now) = (self.0.world.borrow(), self.in_flight(), self.now());
        let pools = world.roster.pools().iter();
        pools
            .flat_map(|pool| pool.members.iter().map(move |member| (pool, member)))
            .filter_map(|(pool, member)| {
                let standing = world.standings.get(&member.id)?;
                let in_flight = in_flight.get(member.id.0 as usize).copied().unwrap_or(0);
                Some(backend(&world, pool, member, standing, in_flight, now))
            })
            .collect()
    }

    /// All listeners, in the configuration's order.
    pub fn listeners(&self) -> Vec<Arc<ListenerPlan>> {
        self.0.world.borrow().roster.listeners().to_vec()
    }

    /// All pools, in the configuration's order.
    pub fn pools(&self) -> Vec<PoolStatus> {
        let world = self.0.world.borrow();
        let status = |pool: &Pool| {
            let standings = || pool.members.iter().filter_map(|member| world.standings.get(&member.id));
            let ejected = |standing: &&Standing| {
                matches!(standing.condition, Some(Condition::Ejected | Condition::Trial))
            };
            PoolStatus {
                name: pool.name.clone(),
                panic: world.pools.get(&pool.name).is_some_and(|health| health.panic),
                usable: standings().filter(|standing| is_usable(&standing.traffic)).count(),
                backends: pool.members.len(),
                ejected: standings().filter(ejected).count(),
                left: world.pools.get(&pool.name).map(|health| health.left).unwrap_or_default(),
            }
        };
        world.roster.pools().iter().map(status).collect()
    }

    /// Backends that left and whose numbers were not given to others yet, and the pools that they were of.
    pub fn leaving(&self) -> Vec<(BackendId, Arc<str>)> {
        self.0.world.borrow().leaving().iter().map(|(id, pool)| (*id, pool.clone())).collect()
    }

    /// All shards, by their numbers.
    pub fn shards(&self) -> Vec<ShardStatus> {
        let (life, now) = (self.0.life.borrow(), self.now());
        let status = |(number, shard): (u16, &super::Shard)| {
            let alive = life.is_alive(number);
            let beat_ago = shard.beat().map(|beat| now - beat);
            ShardStatus {
                number,
                alive,
                error: shard.error.clone(),
                beat_ago,
                doing: shard.pulse.doing().label(),
                stalled: alive && beat_ago.is_some_and(|ago| ago >= STALLED_AFTER),
                stalls: shard.stalls,
                adopted: shard.adopted.clone(),
                mark: shard.mark,
            }
        };
        (0u16..).zip(self.0.shards.borrow().iter()).map(status).collect()
    }

    /// The configuration that holds, and how the last attempt at another one went.
    pub fn configuration(&self) -> ConfigStatus {
        self.0.configuration.borrow().clone()
    }

    /// Shards whose thread is not over.
    pub fn serving(&self) -> usize {
        self.0.life.borrow().serving()
    }

    /// Whether a load balancer in front should send traffic here: no signal came, a shard serves, and
    /// each pool has a usable backend or knows that it has none. A pool that is down does not make weir
    /// unready: other pools may be up, and restarting weir would not bring it back.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), NotReady> {
        let life = self.0.life.borrow();
        if !life.is_serving() {
            return Err(NotReady::ShuttingDown);
        }
        if life.serving() == 0 {
            return Err(NotReady::NoShard);
        }
        let world = self.0.world.borrow();
        for pool in world.roster.pools() {
            let standings = || pool.members.iter().filter_map(|member| world.standings.get(&member.id));
            let unchecked = standings().any(|standing| standing.condition == Some(Condition::Unchecked));
            if unchecked && !standings().any(|standing| is_usable(&standing.traffic)) {
                return Err(NotReady::Unchecked(pool.name.clone()));
            }
        }
        // Control knows it a moment before the shards do, and who asks here sends requests next.
        if !self.0.was_ready.get() && self.0.settled.get() < self.0.mark.get() {
            return Err(NotReady::Unheard);
        }
        self.0.was_ready.set(true);
        Ok(())
    }
}

fn is_usable(traffic: &Traffic) -> bool {
    traffic.admitted != Admitted::Nothing
}

fn backend(
    world: &World,
    pool: &Pool,
    member: &Member,
    standing: &Standing,
    in_flight: u32,
    now: Instant,
) -> BackendStatus {
    let group = world.groups.of(member.id);
    let configured = member.configured.as_ref().map(|configured| configured.weight);
    BackendStatus {
        id: member.id,
        pool: pool.name.clone(),
        name: member.name.clone(),
        address: member.address.clone(),
        weight: member.weight,
        configured_weight: configured.filter(|_| member.weight != member.base_weight),
        backup: member.backup,
        origin: member.origin(),
        will: member.will,
        state: standing.condition.map_or(BackendState::NoCheck, state),
        usable: is_usable(&standing.traffic),
        share: standing.traffic.ramp.map_or(1.0, |ramp| ramp.share(now)),
        since: standing.since,
        why: standing.why.clone(),
        probes_passed: group.map_or(0, |group| group.passed),
        probes_failed: group.map_or(0, |group| group.failed),
        probe_took: group.and_then(|group| group.took),
        transitions: standing.transitions,
        ejections: standing.ejections,
        failovers: standing.failovers,
        in_flight,
    }
}

fn state(condition: Condition) -> BackendState {
    match condition {
        Condition::NoCheck => BackendState::NoCheck,
        Condition::Unchecked => BackendState::Checked(State::Unchecked),
        Condition::Up => BackendState::Checked(State::Up),
        Condition::Down => BackendState::Checked(State::Down),
        Condition::Ejected => BackendState::Ejected,
        Condition::Trial => BackendState::Trial,
        Condition::Draining => BackendState::Draining,
        Condition::Maintenance => BackendState::Maintenance,
    }
}
