//! Who the process is, and becoming less: accounts, user and groups, capabilities, no_new_privs, core dumps.
//!
//! Here: thin calls, each of one step. Not here: which of them, in which order, and what it means when one
//! fails (`serve::privileges`). Capabilities and no_new_privs are a thread's own (capabilities(7), prctl(2)):
//! what is given up here is given up by this thread and by those that it starts later, so it is called
//! before there are others. User and groups are the process's, libc sees to that.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, faccessat, fchownat, getegid, geteuid, getgrouplist, setgroups,
    setresgid, setresuid,
};
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The highest capability that a kernel may know: a set has 64 bits.
const CAPABILITIES: libc::c_ulong = 64;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: two words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// An entry of the system's list of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
}

impl From<User> for UserEntry {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

/// The user of this name; `None`: there is none.
///
/// # Errors
/// The list cannot be read.
pub fn user_by_name(name: &str) -> io::Result<Option<UserEntry>> {
    Ok(User::from_name(name)?.map(UserEntry::from))
}

/// The user of this number; `None`: the list has none, which forbids nothing.
///
/// # Errors
/// The list cannot be read.
pub fn user_by_number(uid: u32) -> io::Result<Option<UserEntry>> {
    Ok(User::from_uid(Uid::from_raw(uid))?.map(UserEntry::from))
}

/// The number of the group of this name; `None`: there is none.
///
/// # Errors
/// The list cannot be read.
pub fn group_by_name(name: &str) -> io::Result<Option<u32>> {
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// The groups that the system's list has a user in, `gid` among them.
///
/// # Errors
/// The list cannot be read, or the name has a NUL.
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let groups = getgrouplist(&CString::new(name)?, Gid::from_raw(gid))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// The user and the group that this process acts as.
pub fn own() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

/// Becomes another user for good: real, effective and saved ids, and these groups beside its own.
///
/// # Errors
/// The call that was refused, and the kernel's word.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), (&'static str, io::Error)> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let failed = |step| move |errno: Errno| (step, errno.into());
    // The groups first: without the user's rights they can no longer be changed.
    setgroups(&groups).map_err(failed("setgroups"))?;
    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;
    setresuid(uid, uid, uid).map_err(failed("setresuid"))
}

/// Takes every capability out of the bounding set: no program that is executed can get one.
///
/// # Errors
/// The kernel's, for want of CAP_SETPCAP.
#[allow(unsafe_code)]
pub fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..CAPABILITIES {
        // SAFETY: this option takes a number and no pointer; it changes nothing but a set of bits of this
        // thread's in the kernel.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match Errno::result(dropped) {
            // The kernel knows no more.
            Err(Errno::EINVAL) => break,
            dropped => drop(dropped?),
        }
    }
    Ok(())
}

/// Gives up every capability: ambient, effective, permitted and inheritable.
///
/// # Errors
/// The kernel's; nobody needs a right to have less.
#[allow(unsafe_code)]
pub fn drop_capabilities() -> io::Result<()> {
    let all = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: this option takes numbers and no pointer; it changes a set of bits of this thread's.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, all, 0, 0, 0) })?;
    // `struct __user_cap_header_struct`: the version, and 0 for this thread; then two of
    // `struct __user_cap_data_struct`, each with its word of the effective, permitted and inheritable set.
    let header = [CAPABILITY_VERSION, 0];
    let nothing = [[0_u32; 3]; 2];
    // SAFETY: both arrays have the layout and the length that this version of capset(2) reads, live until
    // it returns, and are not written to: the version is one that every kernel of weir's knows.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), nothing.as_ptr()) };
    Errno::result(set).map(drop).map_err(io::Error::from)
}

/// Nothing that this process executes gets more rights than it has (no_new_privs).
///
/// # Errors
/// The kernel's.
pub fn no_new_privileges() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

/// Nobody but root may look into this process's memory, and it leaves no core dump.
///
/// # Errors
/// The kernel's.
pub fn forbid_dumps() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// How many threads the process has.
///
/// # Errors
/// /proc is not there.
pub fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Gives a Unix socket's file to a user and group; whether it was one to give. A file that is no socket, or
/// has a second name, was put there by somebody else, and stays as it is: no link leads anywhere.
///
/// # Errors
/// The kernel's.
pub fn give_socket(path: &Path, uid: u32, gid: u32) -> io::Result<bool> {
    // The file itself, not what its name may lead to a moment later.
    let file = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let found = fstat(&file)?;
    let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFSOCK || found.st_nlink != 1 {
        return Ok(false);
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fchownat(file.as_fd(), "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    Ok(true)
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its text is read.
    Read,
    /// Files are made and replaced in it.
    MakeFilesIn,
}

/// Whether this process, as what it is now, may do so.
///
/// # Errors
/// Why it may not.
pub fn may(purpose: Use, path: &Path) -> io::Result<()> {
    let access = match purpose {
        Use::Read => AccessFlags::R_OK,
        Use::MakeFilesIn => AccessFlags::W_OK | AccessFlags::X_OK,
    };
    Ok(faccessat(nix::fcntl::AT_FDCWD, path, access, AtFlags::AT_EACCESS)?)
}

/// Whether a user in these groups may read the file at `path`, as the permissions of it and of the folders
/// above say. Access control lists are not looked at, nor what a sandbox adds.
///
/// # Errors
/// They cannot be looked at.
pub fn another_may_read(uid: u32, groups: &[u32], path: &Path) -> io::Result<bool> {
    const READ: u32 = 0o4;
    const PASS: u32 = 0o1;
    if uid == 0 {
        return Ok(true);
    }
    let may = |path: &Path, wanted: u32| {
        let of = std::fs::metadata(path)?;
        // The first class that fits decides, even if a later one would allow more.
        let shift = if of.uid() == uid {
            6
        } else if groups.contains(&of.gid()) {
            3
        } else {
            0
        };
        io::Result::Ok((of.mode() >> shift) & wanted == wanted)
    };
    for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
        if !may(folder, PASS)? {
            return Ok(false);
        }
    }
    may(path, READ)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn who_may_read_is_decided_by_the_first_class_that_fits_in_each_folder() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("weir-may-read-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("page");
        std::fs::write(&file, "x").unwrap();
        let (own, groups) =
            (std::fs::metadata(&file).unwrap().uid(), [std::fs::metadata(&file).unwrap().gid()]);
        let (other, nobody) = (own + 4242, [u32::MAX]);
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (folder, mode, of_group, of_all) in [
            (0o755, 0o644, true, true),
            (0o755, 0o640, true, false),
            (0o755, 0o600, false, false),
            (0o755, 0o604, false, true),
            (0o750, 0o644, true, false),
            (0o700, 0o644, false, false),
        ] {
            set(&dir, folder);
            set(&file, mode);
            let case = format!("{folder:o} {mode:o}");
            assert_eq!(another_may_read(other, &groups, &file).unwrap(), of_group, "{case}");
            assert_eq!(another_may_read(other, &nobody, &file).unwrap(), of_all, "{case}");
            assert!(another_may_read(0, &nobody, &file).unwrap(), "{case}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn root_is_known_by_name_and_number_and_nobodys_name_and_number_are_not() {
        let root = UserEntry { name: "root".to_owned(), uid: 0, gid: 0 };
        assert_eq!(user_by_name("root").unwrap().as_ref(), Some(&root));
        assert_eq!(user_by_number(0).unwrap(), Some(root));
        assert_eq!(user_by_name("no-such-user").unwrap(), None);
        assert_eq!(user_by_number(3_999_999_999).unwrap(), None);
        assert_eq!(group_by_name("root").unwrap(), Some(0));
        assert_eq!(group_by_name("no-such-group").unwrap(), None);
        assert!(groups_of("root", 7).unwrap().contains(&7));
    }

    #[test]
    fn a_directory_that_is_not_there_may_not_be_written() {
        assert!(may(Use::MakeFilesIn, &std::env::temp_dir()).is_ok());
        assert!(may(Use::MakeFilesIn, Path::new("/nonexistent/directory")).is_err());
    }

    #[test]
    fn a_socket_is_given_away_and_nothing_that_lies_in_its_place() {
        let dir = std::env::temp_dir().join(format!("weir-give-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (uid, gid) = own();
        let to = if uid == 0 { (65_534, 65_534) } else { (uid, gid) };
        let owner = |path: &Path| path.symlink_metadata().map(|found| (found.uid(), found.gid())).unwrap();
        let socket = dir.join("a.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(give_socket(&socket, to.0, to.1).unwrap());
        assert_eq!(owner(&socket), to);
        let (file, link, twice) = (dir.join("file"), dir.join("link"), dir.join("twice.sock"));
        std::fs::write(&file, "").unwrap();
        assert!(!give_socket(&file, to.0, to.1).unwrap());
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        assert!(!give_socket(&link, to.0, to.1).unwrap(), "a link may lead anywhere");
        std::fs::hard_link(&socket, &twice).unwrap();
        assert!(!give_socket(&twice, uid, gid).unwrap(), "it may be anybody's");
        assert_eq!((owner(&file), owner(&twice)), ((uid, gid), to));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
