//! One backend of the roster, and what the configuration wants of it.

use crate::balance::{BackendId, Traffic};
use crate::config::{self, BackendAddress, Destination};
use crate::fleet::addresses::Addresses;
use crate::fleet::carried::Configured;
use crate::fleet::merge::configured;
use crate::fleet::status::{Origin, Will};

/// A backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) id: BackendId,
    /// Unique in its pool.
    pub(crate) name: String,
    /// Its name in the configuration, which is another one for an address of a host name.
    pub(crate) entry: String,
    /// As written.
    pub(crate) written: BackendAddress,
    /// Never changes: a backend that moves is another one.
    pub(crate) address: Destination,
    /// What holds.
    pub(crate) weight: u16,
    /// What would hold without an operator.
    pub(crate) base_weight: u16,
    pub(crate) backup: bool,
    /// What the configuration says; `None`: added at run time.
    pub(crate) configured: Option<Configured>,
    pub(crate) will: Will,
    /// What a shard that hears of it for the first time gives it, before it hears anything else.
    pub(super) initial: Traffic,
}

impl Member {
    /// Where it comes from.
    pub(crate) fn origin(&self) -> Origin {
        match (&self.configured, &self.written) {
            (None, _) => Origin::Added,
            (Some(_), BackendAddress::Name(..) | BackendAddress::Service(_)) => Origin::Resolved,
            (Some(_), BackendAddress::Tcp(_) | BackendAddress::Unix(_)) => Origin::Configured,
        }
    }

    /// Whether an operator who says `name` means it.
    pub(super) fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.entry == name
    }
}

/// A backend as the configuration and the names want it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) entry: String,
    pub(super) written: BackendAddress,
    pub(super) address: Destination,
    pub(super) weight: u16,
    pub(super) backup: bool,
    pub(super) configured: Configured,
}

/// What a pool's configuration wants: a backend for each address of a name.
pub(super) fn wanted(pool: &config::Pool, names: &Addresses) -> Vec<Wanted> {
    let mut all = Vec::new();
    for backend in &pool.backends {
        let one = |name: String, address: Destination, weight: u16, backup: bool| Wanted {
            name,
            entry: backend.name.clone(),
            written: backend.address.clone(),
            address,
            weight,
            backup,
            configured: configured(backend),
        };
        match &backend.address {
            BackendAddress::Tcp(address) => {
                all.push(one(
                    backend.name.clone(),
                    Destination::Tcp(*address),
                    backend.weight,
                    backend.backup,
                ));
            }
            BackendAddress::Unix(path) => {
                all.push(one(
                    backend.name.clone(),
                    Destination::Unix(path.clone()),
                    backend.weight,
                    backend.backup,
                ));
            }
            BackendAddress::Name(..) | BackendAddress::Service(_) => {
                for found in names.get(&backend.address).into_iter().flatten() {
                    let name = format!("{}@{}", backend.name, found.address);
                    let weight = found.weight.unwrap_or(backend.weight);
                    all.push(one(name, found.address.clone(), weight, backend.backup || found.backup));
                }
            }
        }
    }
    all
}
