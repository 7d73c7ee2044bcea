//! The limits of descriptors and of locked memory.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::io;

/// A limit as it holds for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// How far the process may raise it itself.
    pub hard: u64,
}

/// Raises the soft limit of open descriptors to the hard limit and returns what then holds.
///
/// # Errors
/// What the kernel says when the limit can be neither read nor set.
pub fn raise_descriptors() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard.max(soft))
}

/// The limit of open descriptors; `None` if the kernel does not say.
pub fn descriptors() -> Option<Limit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(Limit { soft, hard })
}

/// The limit of locked memory in bytes, `u64::MAX` for none; `None` if the kernel does not say.
pub fn locked_memory() -> Option<Limit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    Some(Limit { soft, hard })
}

/// Raises the limit of locked memory: to none for the privileged, else the soft limit to the hard limit.
/// Rings take of it, and all processes of a user share it (io_uring_setup(2)).
///
/// # Errors
/// What the kernel says when the limit can be neither read nor set.
pub fn raise_locked_memory() -> io::Result<()> {
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    Ok(setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)?)
}
