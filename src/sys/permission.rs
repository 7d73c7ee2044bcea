//! Whether an account exists, and whether this process may write somewhere: questions that change nothing.
//!
//! Not here: becoming another user. Called by `cli` (`weir doctor`).

use nix::unistd::{AccessFlags, Group, User, access};
use std::path::Path;

/// Whether this host knows the user, by name or by number; `None` if the accounts cannot be read.
///
/// A number needs no entry: the kernel takes any.
pub fn user_exists(name: &str) -> Option<bool> {
    if name.parse::<u32>().is_ok() {
        return Some(true);
    }
    User::from_name(name).ok().map(|user| user.is_some())
}

/// As [`user_exists`], of a group.
pub fn group_exists(name: &str) -> Option<bool> {
    if name.parse::<u32>().is_ok() {
        return Some(true);
    }
    Group::from_name(name).ok().map(|group| group.is_some())
}

/// Whether this process may make files in the directory `path`.
pub fn may_write(path: &Path) -> bool {
    access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_any_number_will_do() {
        assert_eq!((user_exists("root"), group_exists("root")), (Some(true), Some(true)));
        assert!(!user_exists("no-such-user-here").unwrap_or(false));
        assert!(!group_exists("no-such-group-here").unwrap_or(false));
        assert_eq!((user_exists("65533"), group_exists("65533")), (Some(true), Some(true)));
    }

    #[test]
    fn a_directory_that_is_not_there_may_not_be_written() {
        assert!(may_write(&std::env::temp_dir()));
        assert!(!may_write(Path::new("/nonexistent/directory")));
    }
}
