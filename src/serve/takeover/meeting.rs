//! Where a running weir and its successor meet: a Unix socket of the running one, in a folder that only its
//! user may write.
//!
//! One file a process, not one an address or configuration: the successor's configuration may be another
//! one, so it looks at each file of the folders and asks who is there. Of a process that is gone the file
//! stays behind; it refuses, and whoever comes next removes it. Used by [`super::give`] and
//! [`super::take`].
//!
//! A weir that becomes another user (`runtime.user`) waits as that user, so that both that user and root find
//! it, and it can remove its file; root provides the folder before. Root that is to become a user looks where
//! that user would wait, too.

use crate::sys::clock;
use crate::sys::handoff::{connect_at_once, listen_privately, own_uid};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// What the files end in; drafts end in something else.
const SOCKET: &str = "sock";

/// The folder that packages and units make (`RuntimeDirectory=weir`).
const PACKAGED: &str = "/run/weir";

/// Files that are looked at in one folder: more processes than one host runs.
const FILES_MAX: usize = 512;

/// A socket that waits for a successor. The file goes with it.
pub(crate) struct MeetingPoint {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl MeetingPoint {
    /// Waits in the first folder that will do.
    ///
    /// # Errors
    /// Why the last of them will not.
    pub(crate) fn open() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places() {
            match Self::open_in(&place) {
                Ok(point) => return Ok(point),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn open_in(place: &Path) -> io::Result<Self> {
        prepare(place)?;
        // Removes what the dead have left.
        drop(knock(place));
        // Containers that share the folder have the same process ids.
        let name = format!("handoff-{}-{:x}", std::process::id(), clock::now().as_us());
        let path = place.join(&name).with_extension(SOCKET);
        let draft = place.join(name).with_extension("draft");
        Ok(Self { listener: listen_privately(&draft, &path)?, path })
    }
}

impl Drop for MeetingPoint {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = fs::remove_file(&self.path);
    }
}

/// Connections to every weir of this user, or of anybody if this is root, that can be found; and of the user
/// that this process `becomes`.
pub(super) fn everybody(becomes: Option<u32>) -> Vec<UnixStream> {
    let mut places = places();
    places.extend(becomes.map(of_user).filter(|place| !places.contains(place)));
    places.iter().filter(|place| is_safe(place, becomes).is_ok()).flat_map(|place| knock(place)).collect()
}

/// Makes the folder that packages and units make, if nobody has, for a process that root is about to turn into
/// this user. Who is in the group gets to the sockets in it.
///
/// # Errors
/// The kernel's. The process will wait elsewhere.
pub(crate) fn provide(uid: u32, gid: u32) -> io::Result<()> {
    provide_at(Path::new(PACKAGED), uid, gid)
}

fn provide_at(place: &Path, uid: u32, gid: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o750).create(place) {
        Ok(()) => lchown(place, Some(uid), Some(gid)),
        // Whoever made it has said whose it is: root's own weir may wait there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folders, best first: the one that packages and units make, the session's, one of our own.
fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(PACKAGED)];
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    places.extend(session.filter(|dir| dir.is_absolute()).map(|dir| dir.join("weir")));
    places.push(of_user(own_uid()));
    places
}

/// A user's own folder.
fn of_user(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/weir-{uid}"))
}

/// Makes the folder if it is not there, and looks whether it is safe.
fn prepare(place: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => is_safe(place, None),
    }
}

/// In a folder that others may write, a file may be anybody's trap. A link is as good as who made it: systemd
/// makes one for a user that exists only as long as its service (`DynamicUser=`). Whom this process `becomes`
/// may do to it what it likes soon anyway.
fn is_safe(place: &Path, becomes: Option<u32>) -> io::Result<()> {
    let (named, found) = (place.symlink_metadata()?, place.metadata()?);
    let ours = |uid: u32| uid == own_uid() || uid == 0 || Some(uid) == becomes;
    // Only root can have made it, and given it to whom weir runs as.
    let given = own_uid() == 0 && place == Path::new(PACKAGED);
    if found.is_dir() && ours(named.uid()) && (ours(found.uid()) || given) && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what = format!(
        "{} is no folder that only this user may write; remove it, or `chmod go-w` it",
        place.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Connects to each socket in `place`, and removes those of the dead.
fn knock(place: &Path) -> Vec<UnixStream> {
    let Ok(files) = fs::read_dir(place) else { return Vec::new() };
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let sockets = paths.filter(|path| path.extension().is_some_and(|extension| extension == SOCKET));
    let answers = sockets.take(FILES_MAX).filter_map(|path| match connect_at_once(&path) {
        Ok(stream) => Some(stream),
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                // Somebody else may have been quicker.
                let _ = fs::remove_file(&path);
            }
            None
        }
    });
    answers.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("weir-meeting-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn who_waits_is_found_until_it_goes_and_the_dead_are_cleared_away() {
        let place = folder("found");
        let point = MeetingPoint::open_in(&place).unwrap();
        assert_eq!(knock(&place).len(), 1);
        let dead = place.join("handoff-1.sock");
        drop(listen_privately(&place.join("draft"), &dead).unwrap());
        assert!(dead.exists());
        assert_eq!(knock(&place).len(), 1);
        assert!(!dead.exists());
        drop(point);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        fs::remove_dir(&place).unwrap();
    }

    #[test]
    fn a_folder_or_a_link_of_others_or_that_others_may_write_is_not_used() {
        let place = folder("open");
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o770)).unwrap();
        let refused = MeetingPoint::open_in(&place).err().unwrap();
        assert!(refused.to_string().contains("chmod go-w"), "{refused}");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        let link = folder("link");
        let _ = fs::remove_file(&link);
        symlink(&place, &link).unwrap();
        drop(MeetingPoint::open_in(&link).unwrap());
        if own_uid() == 0 {
            lchown(&link, Some(65_534), None).unwrap();
            assert!(MeetingPoint::open_in(&link).is_err(), "another's link may lead anywhere");
            chown(&place, Some(65_534), None).unwrap();
            assert!(MeetingPoint::open_in(&place).is_err(), "another's folder");
            assert!(is_safe(&place, Some(65_534)).is_ok(), "the folder of whom this process becomes");
            assert!(is_safe(&place, Some(65_533)).is_err());
        }
        fs::remove_file(&link).unwrap();
        fs::remove_dir(&place).unwrap();
    }

    #[test]
    fn the_folder_is_provided_for_the_user_once_and_never_taken_from_anybody() {
        if own_uid() != 0 {
            println!("skipped: only root can give a folder away");
            return;
        }
        let place = folder("provided");
        for _ in 0..2 {
            provide_at(&place, 65_534, 65_533).unwrap();
            let found = place.metadata().unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (65_534, 65_533, 0o750));
        }
        chown(&place, Some(0), Some(0)).unwrap();
        provide_at(&place, 65_534, 65_533).unwrap();
        assert_eq!(place.metadata().unwrap().uid(), 0);
        fs::remove_dir(&place).unwrap();
    }
}
