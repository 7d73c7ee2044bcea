//! What an operator may ask of a running weir, and what the answer says.
//!
//! Plain data: no socket, no clock. Asked by `admin` and `weir ctl` through [`super::Desk`], which decides
//! (`roster`, `reload`) and answers when the last live shard has confirmed.

use super::status::BackendStatus;
use crate::time::Micros;

/// A change of one backend. It holds until the configuration of that backend changes in a reload, or,
/// without a state file, until a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A backend that the configuration does not name.
    Add {
        /// The pool's name.
        pool: String,
        /// As in the configuration: "10.0.0.1:80", "unix:/path".
        address: String,
        /// `None`: the address.
        name: Option<String>,
        /// 1 to 256; `None`: 1.
        weight: Option<u16>,
    },
    /// It gets nothing new, finishes what it has, and is gone.
    Remove {
        /// The pool's name.
        pool: String,
        /// The backend's name.
        name: String,
    },
    /// It gets nothing new and finishes what it has; it stays listed, and its checks go on.
    Drain {
        /// The pool's name.
        pool: String,
        /// The backend's name.
        name: String,
    },
    /// As [`Change::Drain`], and it is not checked.
    Maintenance {
        /// The pool's name.
        pool: String,
        /// The backend's name.
        name: String,
    },
    /// It may get traffic, as its check says.
    Ready {
        /// The pool's name.
        pool: String,
        /// The backend's name.
        name: String,
    },
    /// Another weight.
    Weight {
        /// The pool's name.
        pool: String,
        /// The backend's name.
        name: String,
        /// 1 to 256.
        weight: u16,
    },
}

impl Change {
    /// The pool that it is about.
    pub fn pool(&self) -> &str {
        match self {
            Self::Add { pool, .. }
            | Self::Remove { pool, .. }
            | Self::Drain { pool, .. }
            | Self::Maintenance { pool, .. }
            | Self::Ready { pool, .. }
            | Self::Weight { pool, .. } => pool,
        }
    }
}

/// A change that was made, or with `dry_run` what it would come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Nothing was done.
    pub dry_run: bool,
    /// What holds now, or would, in words: "backend b of pool app is draining; 3 exchanges are in flight".
    pub words: String,
    /// It held already, so there was nothing to do.
    pub unchanged: bool,
    /// The backend as it stands now, or, in a dry run, as it stands; `None`: it is not there.
    pub backend: Option<BackendStatus>,
    /// Live shards that confirmed; 0 in a dry run.
    pub shards: usize,
    /// From the decision until the last shard had confirmed; zero in a dry run.
    pub confirmed_in: Micros,
    /// In a pool whose policy goes by a hash: the share of clients, 0 to 1, that go to another backend
    /// than before.
    pub moved: Option<f64>,
}

/// Why a change was not made. Each names its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// There is no such pool.
    #[error("there is no pool {pool:?}; there are: {}", .known.join(", "))]
    NoPool {
        /// What was asked for.
        pool: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is no such backend.
    #[error("pool {pool:?} has no backend {name:?}; it has: {}", .known.join(", "))]
    NoBackend {
        /// The pool.
        pool: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A backend of this name is there already.
    #[error("pool {pool:?} has a backend {name:?} already; choose another name, or remove that one first")]
    Taken {
        /// The pool.
        pool: String,
        /// The name.
        name: String,
    },
    /// The address is none, or none that can be added at run time.
    #[error("{address:?} is no address of a backend: {wrong}; {remedy}")]
    Address {
        /// What was asked for.
        address: String,
        /// What is wrong with it.
        wrong: String,
        /// What to write instead.
        remedy: String,
    },
    /// The weight is out of bounds.
    #[error("a weight of {weight} is not possible; use 1 to 256")]
    Weight {
        /// What was asked for.
        weight: u16,
    },
    /// It was done, but not every shard has confirmed it in time.
    #[error("{0}; the change holds on the others, and there as soon as they go on")]
    Unconfirmed(#[from] Unconfirmed),
    /// The process is ending.
    #[error("weir is shutting down; ask its successor")]
    ShuttingDown,
}

/// Live shards did not say in time that they act on what they were told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shards {shards:?} did not confirm within {within}; see /shards for what they do")]
pub struct Unconfirmed {
    /// Their numbers.
    pub shards: Vec<u16>,
    /// How long was waited.
    pub within: Micros,
}

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reloaded {
    /// What changed, a line each: "pool app: backend c added"; none: the file says what it said.
    pub changes: Vec<String>,
    /// What the file says and only a restart can bring, a line each: "runtime.cores".
    pub needs_restart: Vec<String>,
    /// What is allowed but is probably not meant, a line each.
    pub warnings: Vec<String>,
    /// The file's text, hashed: as in `weir_config_hash`.
    pub hash: String,
    /// The topology's generation that holds now.
    pub generation: u64,
    /// From the begin, reading the file included, until the last shard had confirmed.
    pub took: Micros,
    /// Of that, from the first message to the shards.
    pub confirmed_in: Micros,
}

/// Why a reload changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadRefused {
    /// The configuration did not come from a file.
    #[error("this weir was not started from a file, so there is nothing to load again")]
    NoFile,
    /// The file cannot be read.
    #[error("{path}: cannot be read: {cause}; nothing was changed")]
    Unreadable {
        /// The file.
        path: String,
        /// The kernel's word.
        cause: String,
    },
    /// The file is wrong; one line each.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
    /// What the file says is right but cannot be had here: a name that does not resolve, an address that
    /// is taken; one line each.
    #[error("{}", .0.join("\n"))]
    Impossible(Vec<String>),
    /// It was applied, but not every shard has confirmed it in time.
    #[error("{0}; the configuration holds on the others, and there as soon as they go on")]
    Unconfirmed(#[from] Unconfirmed),
    /// The process is ending.
    #[error("weir is shutting down; ask its successor")]
    ShuttingDown,
}

impl ReloadRefused {
    /// The file is to blame, so that `weir ctl reload` exits with 2.
    pub fn is_wrong_file(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Wrong(_) => true,
            Self::NoFile | Self::Impossible(_) | Self::Unconfirmed(_) | Self::ShuttingDown => false,
        }
    }
}
