//! Small files that a configuration names, read whole.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is in the regular file at `path`: `max` bytes at most, and one more if it has more.
///
/// # Errors
/// It cannot be read, or is no regular file: reading a FIFO might wait for ever, so it is not even opened for
/// waiting.
pub fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
