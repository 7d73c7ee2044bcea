//! The backends of all pools: which there are, what state each is in and why, what a change does to them.
//!
//! Here: everything that control decides about backends, without a socket or a clock, which come in as
//! arguments. Not here: looking names up, checking, telling the shards (`control`), and the rules of health
//! themselves (`health`). `control` holds one [`World`], carries out what it says, and tells it what happened.
//!
//! | file | what lives there |
//! |---|---|
//! | `world` | who gets traffic: roster, verdicts, ejections and the operator's will, put together |
//! | `standing` | what is remembered of one backend, and told when it changes |
//! | `roster`, `ids` | what there is: pools, backends, their numbers, the topology |
//! | `groups`, `check` | what is checked with whom; a check's request |
//! | `addresses` | what names resolve to |
//! | `change`, `status` | what operators ask, what is told |
//! | `difference`, `moved` | what differs between two configurations; whom a change moves |
//! | `carried`, `carry` | what a successor must know, and making it so |
//! | `merge` | run-time changes against the configuration |
//! | `life` | serving, last requests, draining, stopping |

mod addresses;
pub(crate) mod carried;
mod carry;
pub(crate) mod change;
mod check;
pub(crate) mod difference;
pub(crate) mod groups;
mod ids;
pub(crate) mod life;
mod merge;
pub(crate) mod moved;
pub(crate) mod roster;
pub(crate) mod standing;
pub mod status;
pub(crate) mod world;

pub(crate) use addresses::is_name;
pub use addresses::{Addresses, ResolvedAddress};
pub use carried::{
    Carried, CarriedBackend, CarriedCheck, CarriedEjection, CarriedName, CarriedPool, CarriedReadmission,
    CarriedRemoval, CarriedState, Configured, VERSION as CARRIED_VERSION,
};
pub(crate) use carry::known_names;
pub use change::{Change, ChangeRefused, Changed, ReloadRefused, Reloaded, Unconfirmed};
pub use check::BadCheck;
#[cfg(test)]
pub(crate) use check::Sealed;
pub(crate) use check::{Carrier, Passes, Prepared, Question};
pub use life::ExitReason;
pub use merge::{Because, Forgotten, configured, merge};
pub use world::World;
