//! The descriptor limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

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
