//! Descriptors passed to another process over a Unix socket, and who that process is.
//!
//! Here: a private listening socket, a connect that never blocks, one message with descriptors each way,
//! the peer's credentials, and whether a descriptor that came is what it is said to be. Not here: what is
//! passed and in which order (`serve::takeover`). A message carries one byte besides its descriptors: the
//! kernel passes none without data, and a reader that asks for one byte cannot run over into what follows.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    bind, connect, getsockopt, listen, recvmsg, sendmsg, socket, sockopt,
};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Descriptors in one message; the kernel takes 253 (unix(7), SCM_RIGHTS).
pub const IN_ONE_MESSAGE: usize = 128;

/// Connections that may wait: a few processes look at the same time.
const BACKLOG: i32 = 16;

/// A process at the other end of a Unix socket, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id; 0 if this process's namespace does not show it.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
}

/// Who is at the other end.
///
/// # Errors
/// The kernel's.
pub fn peer(stream: BorrowedFd<'_>) -> io::Result<Peer> {
    let found = getsockopt(&stream, sockopt::PeerCredentials)?;
    Ok(Peer { pid: found.pid(), uid: found.uid() })
}

/// The user that this process acts as.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A non-blocking listening socket that only its owner may connect to. Its file appears under `path` when it
/// listens already, so whoever finds it refused knows that it is dead; `draft` is its name until then.
///
/// # Errors
/// The kernel's; a file that is under `path` is replaced.
pub fn listen_privately(draft: &Path, path: &Path) -> io::Result<UnixListener> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags(), None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(draft)?)?;
    fs::set_permissions(draft, fs::Permissions::from_mode(0o600))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    fs::rename(draft, path)?;
    Ok(UnixListener::from(fd))
}

/// Connects without waiting for anybody: a process that is stopped and has a full queue is `WouldBlock`. The
/// stream is blocking.
///
/// # Errors
/// The kernel's; `ConnectionRefused` says that nobody listens any more.
pub fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags(), None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn flags() -> SockFlag {
    SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK
}

/// Sends up to [`IN_ONE_MESSAGE`] descriptors; the other process gets descriptors of its own for the same
/// sockets.
///
/// # Errors
/// The kernel's; `WouldBlock` if nothing was sent and a non-blocking stream has no room.
pub fn send_descriptors(stream: BorrowedFd<'_>, descriptors: &[RawFd]) -> io::Result<()> {
    let (byte, rights) = ([IoSlice::new(&[0])], [ControlMessage::ScmRights(descriptors)]);
    loop {
        match sendmsg::<()>(stream.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop).map_err(io::Error::from),
        }
    }
}

/// Receives the descriptors of one message; they are close-on-exec.
///
/// # Errors
/// The kernel's; `UnexpectedEof` at the end of the stream; `InvalidData` for a message that carries none, or
/// of which some were lost, as they are when the limit of open files is reached.
pub fn receive_descriptors(stream: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut space = cmsg_space!([RawFd; IN_ONE_MESSAGE]);
    let mut into = [IoSliceMut::new(&mut byte)];
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(stream.as_raw_fd(), &mut into, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    let mut descriptors = Vec::new();
    // Before any error: what has come must be closed.
    if let Ok(parts) = message.cmsgs() {
        for part in parts {
            if let ControlMessageOwned::ScmRights(raw) = part {
                descriptors.extend(raw.into_iter().map(own));
            }
        }
    }
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if message.bytes == 0 {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        invalid("not all descriptors could be received; raise the limit of open files (`ulimit -n`)")
    } else if descriptors.is_empty() {
        invalid("a message without descriptors")
    } else {
        Ok(descriptors)
    }
}

#[allow(unsafe_code)]
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for this process, in the message that the caller
    // takes it from, once; nobody else knows of it, so it is ours alone to close.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Whether it is a stream socket that listens.
pub fn listens(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::path::PathBuf;

    #[test]
    fn a_listening_socket_that_was_passed_accepts_what_had_waited_in_its_queue() {
        let (from, to) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        send_descriptors(from.as_fd(), &[listener.as_raw_fd()]).unwrap();
        drop(listener);
        let mut passed = receive_descriptors(to.as_fd()).unwrap();
        assert!(passed.iter().all(|fd| listens(fd.as_fd())));
        let (mut server, _) = TcpListener::from(passed.remove(0)).accept().unwrap();
        server.write_all(b"x").unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn messages_keep_apart_and_do_not_swallow_what_follows() {
        let (mut from, mut to) = UnixStream::pair().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        send_descriptors(from.as_fd(), &[file.as_raw_fd(); IN_ONE_MESSAGE]).unwrap();
        send_descriptors(from.as_fd(), &[file.as_raw_fd()]).unwrap();
        from.write_all(b"then").unwrap();
        assert_eq!(receive_descriptors(to.as_fd()).unwrap().len(), IN_ONE_MESSAGE);
        let last = receive_descriptors(to.as_fd()).unwrap();
        assert_eq!(last.len(), 1);
        assert!(!listens(last[0].as_fd()));
        let mut then = [0; 4];
        to.read_exact(&mut then).unwrap();
        assert_eq!(&then, b"then");
    }

    #[test]
    fn the_end_and_a_message_without_descriptors_are_told_apart() {
        let (mut from, to) = UnixStream::pair().unwrap();
        from.write_all(b"x").unwrap();
        let kind = |stream: &UnixStream| receive_descriptors(stream.as_fd()).unwrap_err().kind();
        assert_eq!(kind(&to), io::ErrorKind::InvalidData);
        drop(from);
        assert_eq!(kind(&to), io::ErrorKind::UnexpectedEof);
    }

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("weir-handoff-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_private_socket_is_its_owners_and_knows_who_connects() {
        let dir = dir("private");
        let path = dir.join("a.sock");
        let listener = listen_privately(&dir.join("draft"), &path).unwrap();
        assert!(!dir.join("draft").exists());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let stream = connect_at_once(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let expected = Peer { pid: std::process::id() as i32, uid: own_uid() };
        assert_eq!(peer(accepted.as_fd()).unwrap(), expected);
        assert_eq!(peer(stream.as_fd()).unwrap(), expected);
        drop(listener);
        assert_eq!(connect_at_once(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_listener_that_accepts_nobody_blocks_nobody() {
        let dir = dir("full");
        let path = dir.join("a.sock");
        let _stuck = listen_privately(&dir.join("draft"), &path).unwrap();
        let waiting: Vec<_> = (0..100).map(|_| connect_at_once(&path)).collect();
        let last = waiting.into_iter().last().unwrap();
        assert_eq!(last.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        fs::remove_dir_all(&dir).unwrap();
    }
}
