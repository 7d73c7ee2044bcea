//! A pipe as the place where bytes stand on their way from one socket to another, uncopied.
//!
//! Here: making one, filling it from a socket, draining it into another, never blocking. Not here:
//! waiting for either (`ring`).

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Bytes that a pipe is asked to hold. The kernel counts pages, and gives an unprivileged user 16,384 of
/// them in all before it falls back to small pipes.
const CAPACITY: i32 = 256 << 10;

/// A pipe.
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    /// No descriptors.
    pub fn new() -> io::Result<Self> {
        let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where it is refused, the pipe keeps its default size: slower, not wrong.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { out, into })
    }

    /// Moves at most `max` bytes from `socket` into the pipe: how many, 0 at the socket's end, `None` if
    /// there are none now.
    ///
    /// # Errors
    /// The socket's errno.
    pub fn fill(&self, socket: BorrowedFd<'_>, max: usize) -> io::Result<Option<usize>> {
        moved(splice(socket, None, &self.into, None, max, flags()))
    }

    /// Moves at most `max` bytes from the pipe into `socket`: how many, `None` if it takes none now.
    ///
    /// # Errors
    /// The socket's errno.
    pub fn drain(&self, socket: BorrowedFd<'_>, max: usize) -> io::Result<Option<usize>> {
        moved(splice(&self.out, None, socket, None, max, flags()))
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

fn moved(result: nix::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
