//! The roster takes an operator's change: what it would come to, and making it so.

use super::{Member, Roster, Told, no_backend};
use crate::balance::Traffic;
use crate::config::{BackendAddress, Destination};
use crate::fleet::carried::CarriedRemoval;
use crate::fleet::change::{Change, ChangeRefused};
use crate::fleet::status::Will;
use std::fmt::Display;

/// What a change came to, or would.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operated {
    /// The pool's place.
    pub(crate) pool: usize,
    /// Its members afterwards; one that is new has the number 0 in a dry run.
    pub(crate) members: Vec<Member>,
    /// Names of the members that it is about.
    pub(crate) about: Vec<String>,
    /// It held already.
    pub(crate) unchanged: bool,
    /// Shards need another topology for it.
    pub(crate) structural: bool,
    /// What holds afterwards.
    pub(crate) words: String,
    /// Configured backends that are removed by an operator afterwards.
    removed: Vec<CarriedRemoval>,
}

impl Roster {
    /// What `change` would come to.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(crate) fn consider(&self, change: &Change) -> Result<Operated, ChangeRefused> {
        match change {
            Change::Add { pool, address, name, weight } => {
                self.consider_adding(pool, address, name.as_deref(), weight.unwrap_or(1))
            }
            Change::Remove { pool, name } => self.consider_removing(pool, name),
            Change::Drain { pool, name } => self.consider_will(pool, name, Will::Draining, "is draining"),
            Change::Maintenance { pool, name } => {
                self.consider_will(pool, name, Will::Maintenance, "is in maintenance")
            }
            Change::Ready { pool, name } => {
                self.consider_will(pool, name, Will::Ready, "is ready; it gets traffic as its check says")
            }
            Change::Weight { pool, name, weight } => self.consider_weight(pool, name, *weight),
        }
    }

    /// Makes it so. `initial`: what one that is new gets until shards hear otherwise.
    pub(crate) fn operate(&mut self, operated: Operated, initial: Traffic, told: Told<'_>) {
        let generation = self.topology.generation + 1;
        let pool = &mut self.pools[operated.pool];
        let old = std::mem::replace(&mut pool.members, operated.members);
        pool.removed = operated.removed;
        for member in &mut pool.members {
            if !old.iter().any(|before| before.name == member.name) {
                (member.id, member.initial) = (self.ids.take(generation), initial);
            }
        }
        for gone in old.iter().filter(|old| !pool.members.iter().any(|now| now.name == old.name)) {
            self.ids.leave(gone.id, told.iter().copied());
        }
        if operated.structural {
            self.plan(generation);
        }
    }

    fn consider_adding(
        &self,
        pool: &str,
        address: &str,
        name: Option<&str>,
        weight: u16,
    ) -> Result<Operated, ChangeRefused> {
        let mut operated = self.as_it_is(pool)?;
        weight_fits(weight)?;
        let written = destination(address)?;
        let name = name.unwrap_or(address).to_owned();
        if operated.members.iter().any(|member| member.answers_to(&name)) {
            return Err(ChangeRefused::Taken { pool: pool.to_owned(), name });
        }
        let (written, destination) = written;
        let tls = self.config.pools.get(operated.pool).and_then(|pool| pool.tls.as_ref());
        if tls.is_some_and(|tls| tls.name_of(&written).is_none()) {
            return Err(ChangeRefused::Address {
                address: address.to_owned(),
                wrong: "it does not say whom the backend's certificate must name".to_owned(),
                remedy: format!("give pool.{pool}.tls a server_name"),
            });
        }
        // One that an operator removed and brings back as it was is the configured one again.
        let configured = operated
            .removed
            .iter()
            .position(|removed| removed.name == name)
            .map(|at| operated.removed.remove(at).configured)
            .filter(|configured| configured.address == written.to_string());
        operated.members.push(Member {
            id: crate::balance::BackendId(0),
            name: name.clone(),
            entry: name.clone(),
            written,
            address: destination,
            weight,
            base_weight: configured.as_ref().map_or(weight, |configured| configured.weight),
            backup: configured.as_ref().is_some_and(|configured| configured.backup),
            configured,
            will: Will::Ready,
            initial: Traffic::NOTHING,
        });
        operated.structural = true;
        operated.words = format!("pool {pool} has a backend {name} of weight {weight}");
        operated.about = vec![name];
        Ok(operated)
    }

    fn consider_removing(&self, pool: &str, name: &str) -> Result<Operated, ChangeRefused> {
        let mut operated = self.about(pool, name)?;
        let (gone, stay): (Vec<Member>, Vec<Member>) =
            std::mem::take(&mut operated.members).into_iter().partition(|member| member.answers_to(name));
        operated.members = stay;
        if let Some(configured) = gone.iter().find_map(|member| member.configured.clone()) {
            operated.removed.push(CarriedRemoval { name: name.to_owned(), configured });
        }
        operated.structural = true;
        operated.words = format!("pool {pool} has no backend {name} any more; what it has is finished");
        Ok(operated)
    }

    fn consider_will(
        &self,
        pool: &str,
        name: &str,
        will: Will,
        what: &str,
    ) -> Result<Operated, ChangeRefused> {
        let mut operated = self.about(pool, name)?;
        let mut unchanged = true;
        for member in operated.members.iter_mut().filter(|member| member.answers_to(name)) {
            unchanged &= member.will == will;
            member.will = will;
        }
        operated.unchanged = unchanged;
        operated.words = format!("backend {name} of pool {pool} {what}");
        Ok(operated)
    }

    fn consider_weight(&self, pool: &str, name: &str, weight: u16) -> Result<Operated, ChangeRefused> {
        let mut operated = self.about(pool, name)?;
        weight_fits(weight)?;
        let mut unchanged = true;
        for member in operated.members.iter_mut().filter(|member| member.answers_to(name)) {
            unchanged &= member.weight == weight;
            member.weight = weight;
        }
        (operated.unchanged, operated.structural) = (unchanged, !unchanged);
        operated.words = format!("backend {name} of pool {pool} has weight {weight}");
        Ok(operated)
    }

    fn about(&self, pool: &str, name: &str) -> Result<Operated, ChangeRefused> {
        let mut operated = self.as_it_is(pool)?;
        let about = operated.members.iter().filter(|member| member.answers_to(name));
        operated.about = about.map(|member| member.name.clone()).collect();
        if operated.about.is_empty() {
            return Err(no_backend(&self.pools[operated.pool], name));
        }
        Ok(operated)
    }

    fn as_it_is(&self, pool: &str) -> Result<Operated, ChangeRefused> {
        let pool = self.pool(pool)?;
        Ok(Operated {
            pool,
            members: self.pools[pool].members.clone(),
            about: Vec::new(),
            unchanged: false,
            structural: false,
            words: String::new(),
            removed: self.pools[pool].removed.clone(),
        })
    }
}

fn weight_fits(weight: u16) -> Result<(), ChangeRefused> {
    if (1..=256).contains(&weight) { Ok(()) } else { Err(ChangeRefused::Weight { weight }) }
}

/// Where a backend that is added is.
fn destination(address: &str) -> Result<(BackendAddress, Destination), ChangeRefused> {
    let refused = |wrong: &dyn Display, remedy: &dyn Display| ChangeRefused::Address {
        address: address.to_owned(),
        wrong: wrong.to_string(),
        remedy: remedy.to_string(),
    };
    let written = BackendAddress::parse(address).map_err(|(wrong, remedy)| refused(&wrong, &remedy))?;
    let destination = match &written {
        BackendAddress::Tcp(address) => Destination::Tcp(*address),
        BackendAddress::Unix(path) => Destination::Unix(path.clone()),
        BackendAddress::Name(..) | BackendAddress::Service(_) => {
            return Err(refused(
                &"names are only followed where the configuration has them",
                &"give an IP address and a port, or put the name into the configuration and reload",
            ));
        }
    };
    Ok((written, destination))
}
