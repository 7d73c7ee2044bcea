//! Becoming `runtime.user`: who that is, and the order in which weir gives up what it no longer needs.
//!
//! | when | what | why then |
//! |---|---|---|
//! | first of all | the names are looked up, and whether this process can become them | a wrong name is an error of the start |
//! | before binding | the folder where takeovers meet, the limit of locked memory | both need root |
//! | after binding | Unix sockets are given to the user, then it becomes the user, without any capability | ports below 1024 are bound, and there is one thread yet: capabilities are a thread's own |
//! | after that | whether what it will need later is in the user's reach | only now the kernel can tell |
//! | then | shards, control, admin | whatever reads what others send |
//!
//! No capability stays, CAP_NET_BIND_SERVICE neither: nothing that gets hold of weir can listen where the
//! host's own services do. So a reload cannot add a port below 1024; a takeover by root can, and so can a
//! weir without `user` to which its unit gives that capability. no_new_privs is set for every weir: it
//! executes nothing. Core dumps, which would hold requests, are given up with the user's change only:
//! else the system's own rule holds.
//!
//! Not here: the calls (`sys::privileges`). Called by `serve`; `cli` shows an [`Account`].

use super::takeover;
use crate::config::{Config, Runtime};
use crate::sys::limits;
use crate::sys::privileges::{self as sys, Use, UserEntry};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why weir does not become who it is to be.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesRefused {
    /// The host does not know the user.
    #[error(
        "runtime.user: this host has no user {0:?}; create it (`useradd --system --shell /usr/sbin/nologin \
         {0}`), or name another"
    )]
    NoUser(String),
    /// The host does not know the group.
    #[error(
        "runtime.group: this host has no group {0:?}; create it (`groupadd --system {0}`), or name another"
    )]
    NoGroup(String),
    /// A number without an entry.
    #[error(
        "runtime.user: this host's list of users does not have the number {0}, and so does not say its group; \
         set runtime.group beside it"
    )]
    GroupUnknown(u32),
    /// The system's lists do not answer.
    #[error("runtime.{key}: {name:?} cannot be looked up: {cause}; write its number instead")]
    Lookup {
        /// "user" or "group".
        key: &'static str,
        /// What was looked up.
        name: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Only root becomes somebody else.
    #[error(
        "runtime.user, runtime.group: only root can become {wanted}, and this process is user {uid}, group \
         {gid}; start weir as root or as that user and group, or leave the keys out"
    )]
    NotRoot {
        /// Who it was to become.
        wanted: Account,
        /// Who it is.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A call was refused.
    #[error(
        "cannot become {wanted}: {step}: {cause}; weir needs CAP_SETUID and CAP_SETGID for that: let it have \
         them, or start it as that user and group (a container: --user, runAsUser)"
    )]
    Step {
        /// Who it was to become.
        wanted: Account,
        /// The call.
        step: &'static str,
        /// The kernel's word.
        cause: io::Error,
    },
    /// Other threads would keep their rights.
    #[error("cannot become {wanted}: {threads} threads run already, and would keep their capabilities")]
    Threads {
        /// Who it was to become.
        wanted: Account,
        /// How many.
        threads: usize,
    },
    /// no_new_privs was refused.
    #[error(
        "prctl(PR_SET_NO_NEW_PRIVS): {0}; a seccomp filter must be in the way: config/seccomp.json allows it"
    )]
    NoNewPrivileges(io::Error),
}

/// Whom weir becomes once it has bound its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As the configuration has it.
    user: String,
    uid: u32,
    group: Option<String>,
    gid: u32,
    /// All that the process is in.
    groups: Vec<u32>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &str, number: u32| match name.parse::<u32>() {
            Ok(_) => name.to_owned(),
            Err(_) => format!("{name} ({number})"),
        };
        let group = self.group.as_deref().map_or_else(|| self.gid.to_string(), |name| named(name, self.gid));
        write!(f, "user {}, group {group}", named(&self.user, self.uid))
    }
}

impl Account {
    /// Whom the configuration names, by name or number; `None`: nobody, and weir stays who it is. `group`
    /// alone leaves the user as it is.
    ///
    /// # Errors
    /// The host does not know them.
    pub fn of(runtime: &Runtime) -> Result<Option<Self>, PrivilegesRefused> {
        if runtime.user.is_none() && runtime.group.is_none() {
            return Ok(None);
        }
        let user = runtime.user.clone().unwrap_or_else(|| sys::own().0.to_string());
        let (uid, entry) = find_user(&user)?;
        let gid = match (&runtime.group, &entry) {
            (Some(group), _) => find_group(group)?,
            (None, Some(entry)) => entry.gid,
            (None, None) => return Err(PrivilegesRefused::GroupUnknown(uid)),
        };
        let groups = match entry {
            Some(entry) => sys::groups_of(&entry.name, gid).map_err(lookup("user", &user))?,
            None => vec![gid],
        };
        Ok(Some(Self { user, uid, group: runtime.group.clone(), gid, groups }))
    }

    /// The user's number.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether it could read the file at `path`; `None`: that cannot be told.
    pub fn may_read(&self, path: &Path) -> Option<bool> {
        sys::another_may_read(self.uid, &self.groups, path).ok()
    }

    fn is_what_we_are(&self) -> bool {
        (self.uid, self.gid) == sys::own()
    }

    /// What needs root, before anything is bound.
    ///
    /// # Errors
    /// This process cannot become this account.
    pub(super) fn prepare(&self) -> Result<(), PrivilegesRefused> {
        let (uid, gid) = sys::own();
        if uid != 0 {
            let wanted = self.clone();
            return if self.is_what_we_are() {
                Ok(())
            } else {
                Err(PrivilegesRefused::NotRoot { wanted, uid, gid })
            };
        }
        if let Err(error) = takeover::provide_meeting_place(self.uid, self.gid) {
            tracing::warn!(%error, "takeovers will meet under /tmp");
        }
        if let Err(error) = limits::raise_locked_memory() {
            tracing::warn!(%error, "the limit of locked memory stays what it is, and holds for this user's rings");
        }
        Ok(())
    }

    /// Becomes this account, for good, and gives it the Unix sockets at `files`.
    fn assume<'a>(&self, files: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), PrivilegesRefused> {
        let failed = |step| move |cause| PrivilegesRefused::Step { wanted: self.clone(), step, cause };
        if let Ok(threads @ 2..) = sys::threads() {
            return Err(PrivilegesRefused::Threads { wanted: self.clone(), threads });
        }
        if sys::own().0 == 0 {
            files.into_iter().for_each(|file| self.give(file));
            // Needs CAP_SETPCAP, so it comes before that goes; who has not got it has, with no_new_privs, no
            // use of the set.
            if let Err(error) = sys::drop_bounding_set() {
                tracing::warn!(%error, "the capability bounding set stays; no_new_privs stands before it");
            }
            sys::become_user(self.uid, self.gid, &self.groups)
                .map_err(|(step, cause)| failed(step)(cause))?;
        }
        sys::drop_capabilities().map_err(failed("capset"))?;
        sys::forbid_dumps().map_err(failed("prctl(PR_SET_DUMPABLE)"))
    }

    /// Its group may connect then, and it may remove the file at the end, if the folder lets it.
    fn give(&self, file: &Path) {
        match sys::give_socket(file, self.uid, self.gid) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(file = %file.display(), "is not the socket that weir made: it stays as it is")
            }
            Err(error) => tracing::warn!(file = %file.display(), %error, "stays root's"),
        }
    }
}

fn find_user(user: &str) -> Result<(u32, Option<UserEntry>), PrivilegesRefused> {
    if let Ok(uid) = user.parse() {
        return Ok((uid, sys::user_by_number(uid).map_err(lookup("user", user))?));
    }
    let entry = sys::user_by_name(user).map_err(lookup("user", user))?;
    let entry = entry.ok_or_else(|| PrivilegesRefused::NoUser(user.to_owned()))?;
    Ok((entry.uid, Some(entry)))
}

fn find_group(group: &str) -> Result<u32, PrivilegesRefused> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let found = sys::group_by_name(group).map_err(lookup("group", group))?;
    found.ok_or_else(|| PrivilegesRefused::NoGroup(group.to_owned()))
}

fn lookup(key: &'static str, name: &str) -> impl FnOnce(io::Error) -> PrivilegesRefused {
    let name = name.to_owned();
    move |cause| PrivilegesRefused::Lookup { key, name, cause }
}

/// Gives up what is no longer needed once everything is bound: all that `account` has not, if there is one,
/// and in any case that anything executed could get more.
///
/// # Errors
/// The kernel does not let it; weir does not start then.
pub(super) fn give_up<'a>(
    account: Option<&Account>,
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), PrivilegesRefused> {
    if let Some(account) = account {
        account.assume(files)?;
        tracing::info!(user = %account.user, uid = account.uid, gid = account.gid, "has given up all privileges");
    }
    if sys::own().0 == 0 {
        tracing::warn!(
            "weir runs as root; set runtime.user, and it will be that user once it has bound its addresses"
        );
    }
    sys::no_new_privileges().map_err(PrivilegesRefused::NoNewPrivileges)
}

/// Says what of that which weir needs later is out of its reach. None of it stops the start: it serves.
pub(super) fn tell_what_is_out_of_reach(config: &Config, source: Option<&Path>) {
    if let Some(Err(error)) = source.map(|file| sys::may(Use::Read, file)) {
        tracing::warn!(%error, "weir's user may not read the configuration file: a reload will fail");
    }
    for page in config.listeners.iter().flat_map(|listener| &listener.error_pages.0) {
        if let Err(error) = sys::may(Use::Read, &page.file) {
            tracing::warn!(
                file = %page.file.display(), %error,
                "weir's user may not read this error page: a reload will fail"
            );
        }
    }
    for file in config.tls_files().filter(|file| sys::may(Use::Read, &file.path).is_err()) {
        tracing::warn!(
            file = %file.path.display(), key = %file.written.key,
            "weir's user may not read this file again: a reload will fail once it has changed"
        );
    }
    if let Some(state) = &config.runtime.state_file {
        let folder = state.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Err(error) = sys::may(Use::MakeFilesIn, folder.unwrap_or(Path::new("."))) {
            tracing::warn!(
                file = %state.display(), %error,
                "weir's user may not write in the state file's folder: a restart will forget run-time changes; make the folder its own"
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn named(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, PrivilegesRefused> {
        let named = |name: Option<&str>| name.map(str::to_owned);
        Account::of(&Runtime { user: named(user), group: named(group), ..Runtime::default() })
    }

    #[test]
    fn names_and_numbers_lead_to_the_same_account_and_nobody_named_to_none() {
        assert_eq!(named(None, None).unwrap(), None);
        let root = named(Some("root"), None).unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.groups.contains(&0)), (0, 0, true));
        let by_number = named(Some("0"), Some("0")).unwrap().unwrap();
        assert_eq!((by_number.uid, by_number.gid, by_number.groups), (0, 0, root.groups.clone()));
        let other_group = named(Some("root"), Some("4242")).unwrap().unwrap();
        assert_eq!((other_group.gid, other_group.groups.contains(&4242)), (4242, true));
        assert_eq!(other_group.to_string(), "user root (0), group 4242");
        assert_eq!(root.to_string(), "user root (0), group 0");
        let group_alone = named(None, Some("root")).unwrap().unwrap();
        assert_eq!((group_alone.uid, group_alone.gid), (sys::own().0, 0));
        let unlisted = named(Some("3999999"), Some("4242")).unwrap().unwrap();
        assert_eq!((unlisted.uid, unlisted.groups), (3_999_999, vec![4242]));
    }

    #[test]
    fn who_is_unknown_is_refused_by_the_key_that_names_it_and_with_a_remedy() {
        for (user, group, key, remedy) in [
            (Some("no-such-user"), None, "runtime.user", "useradd --system"),
            (Some("root"), Some("no-such-group"), "runtime.group", "groupadd --system"),
            (Some("3999999"), None, "runtime.user", "set runtime.group"),
        ] {
            let said = named(user, group).unwrap_err().to_string();
            assert!(said.starts_with(key) && said.contains(remedy), "{said}");
        }
    }
}
