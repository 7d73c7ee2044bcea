//! Small files that a configuration names, read whole; and what tells one writing of a file from another.

use super::clock;
use std::fs::{Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A file that changed so shortly before it was looked at, in seconds, may change again without its times telling:
/// they are as coarse as the kernel's tick, or as a second on some file systems.
const COARSE_S: i64 = 2;

/// What tells one writing of a file from another.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Its times would tell of another change.
    told: bool,
}

impl Stamp {
    /// Of the file at `path` as it is now.
    ///
    /// # Errors
    /// It is not there, or out of reach.
    pub fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::from(&meta))
    }

    /// Whether the file is as it was, by a look at it `now`; what changed shortly before the first look may have
    /// changed again.
    pub fn is_same(&self, now: &Self) -> bool {
        self.told && self == now
    }

    fn parts(&self) -> (u64, u64, u64, (i64, i64), (i64, i64)) {
        (self.device, self.inode, self.size, self.modified, self.changed)
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Hash for Stamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        let now_s = clock::unix_s();
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            told: now_s.saturating_sub(meta.ctime()) >= COARSE_S,
        }
    }
}

/// What is in the regular file at `path`: `max` bytes at most, and one more if it has more.
///
/// # Errors
/// It cannot be read, or is no regular file: reading a FIFO might wait for ever, so it is not even opened for
/// waiting.
pub fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    read_stamped(path, max).map(|(bytes, _)| bytes)
}

/// [`read`], and the stamp of what was read.
///
/// # Errors
/// As there.
pub fn read_stamped(path: &Path, max: usize) -> io::Result<(Vec<u8>, Stamp)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, Stamp::from(&meta)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::fs;

    #[test]
    fn a_file_comes_whole_or_one_byte_too_long_and_a_fifo_or_folder_not_at_all() {
        let dir = std::env::temp_dir().join(format!("weir-file-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (file, fifo) = (dir.join("file"), dir.join("fifo"));
        fs::write(&file, "12345").unwrap();
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 3).unwrap(), b"1234");
        for other in [&fifo, &dir] {
            assert!(read(other, 5).unwrap_err().to_string().contains("no regular file"), "{other:?}");
        }
        assert_eq!(read(&dir.join("none"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&dir).unwrap();
    }
}
