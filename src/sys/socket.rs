//! Sockets: listening ones, unconnected ones, and their options.
//!
//! Here: making and setting. Not here: accept, connect, send, receive, close (`ring` does those as
//! operations). Every descriptor is close-on-exec and non-blocking.

use crate::config::{Destination, ListenAddress};
use crate::time::Micros;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, getsockname,
    getsockopt, listen, setsockopt, socket, sockopt,
};
use nix::sys::socket::{SockaddrIn, SockaddrIn6, SockaddrLike};
use std::fs::Permissions;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// An address in the kernel's form.
pub enum KernelAddress {
    /// IPv4 or IPv6.
    Ip(SockaddrStorage),
    /// A Unix socket's path.
    Unix(UnixAddr),
}

impl KernelAddress {
    /// The kernel's form of `to`.
    ///
    /// # Errors
    /// A path longer than 107 bytes.
    pub fn of(to: &Destination) -> io::Result<Self> {
        Ok(match to {
            Destination::Tcp(address) => Self::Ip((*address).into()),
            Destination::Unix(path) => Self::Unix(UnixAddr::new(path)?),
        })
    }

    /// Where the address stands in memory, and its length in bytes; valid while `self` is not moved.
    pub fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            Self::Ip(address) => (address.as_ptr(), address.len()),
            Self::Unix(address) => (address.as_ptr().cast(), address.len()),
        }
    }

    fn family(&self) -> AddressFamily {
        match self {
            Self::Ip(address) => address.family().unwrap_or(AddressFamily::Inet),
            Self::Unix(_) => AddressFamily::Unix,
        }
    }
}

fn stream(family: AddressFamily) -> nix::Result<OwnedFd> {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

/// A stream socket fit to connect to `address`, without Nagle's delay.
///
/// # Errors
/// The kernel's, `EMFILE` among them.
pub fn unconnected(address: &KernelAddress) -> io::Result<OwnedFd> {
    let fd = stream(address.family())?;
    if !matches!(address, KernelAddress::Unix(_)) {
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    }
    Ok(fd)
}

/// Why a listening socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {address}: {source}{}", remedy(.source))]
pub struct ListenError {
    /// The address as the configuration has it.
    pub address: String,
    /// The call that failed.
    pub step: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EADDRINUSE) => "; another process holds it: stop that one, or choose another port",
        Some(libc::EACCES) => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE (which a weir with runtime.user has at its start only: \
             `weir run --takeover` as root brings a new one), a Unix socket a writable folder"
        }
        Some(libc::EADDRNOTAVAIL) => "; no interface of this host has this address",
        _ => "",
    }
}

/// Whether other sockets may listen on the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One socket of a group; the kernel spreads connections over the group.
    ReusePort,
    /// The address is this socket's alone.
    Alone,
    /// As `Alone`, and only bound, to see whether the address is free: whoever connected to a socket that is
    /// closed again would be reset.
    Trial,
}

/// A listening socket. A Unix socket's path is taken over if nobody listens there any more.
///
/// # Errors
/// The step that failed, the address and the kernel's word.
pub fn listening(address: &ListenAddress, backlog: u32, sharing: Sharing) -> Result<OwnedFd, ListenError> {
    let named = match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let failed = |step| {
        let address = named.clone();
        move |errno: Errno| ListenError { address, step, source: errno.into() }
    };
    let backlog = queue(backlog);
    let fd = match address {
        ListenAddress::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let fd = stream(family).map_err(failed("open a socket for"))?;
            setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(failed("set SO_REUSEADDR on"))?;
            // Accepted connections inherit it: no call for each.
            setsockopt(&fd, sockopt::TcpNoDelay, &true).map_err(failed("set TCP_NODELAY on"))?;
            if sharing == Sharing::ReusePort {
                setsockopt(&fd, sockopt::ReusePort, &true).map_err(failed("set SO_REUSEPORT on"))?;
            }
            if address.is_ipv6() {
                // "[::]" and "0.0.0.0" are two listeners, as nginx has it.
                setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(failed("set IPV6_V6ONLY on"))?;
            }
            bind(fd.as_raw_fd(), &SockaddrStorage::from(*address)).map_err(failed("bind"))?;
            fd
        }
        ListenAddress::Unix(path) => {
            let fd = stream(AddressFamily::Unix).map_err(failed("open a socket for"))?;
            remove_stale(path);
            let kernel = UnixAddr::new(path.as_path()).map_err(failed("use"))?;
            bind(fd.as_raw_fd(), &kernel).map_err(failed("bind"))?;
            fd
        }
    };
    if sharing != Sharing::Trial {
        listen(&fd, backlog).map_err(failed("listen on"))?;
    }
    Ok(fd)
}

/// A listening Unix socket that only its owner and its owner's group may connect to, whatever the umask; its
/// path is taken over if nobody listens there any more.
///
/// # Errors
/// The kernel's.
pub fn guarded(path: &Path) -> io::Result<OwnedFd> {
    let fd = stream(AddressFamily::Unix)?;
    remove_stale(path);
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    // Before it listens, so that nobody connects by the rights that the umask left.
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}

/// How many connections may wait from now on to be accepted on a socket that listens already.
///
/// # Errors
/// The kernel's.
pub fn resize_queue(listener: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    Ok(listen(&listener, queue(backlog))?)
}

fn queue(backlog: u32) -> Backlog {
    Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX)).unwrap_or(Backlog::MAXCONN)
}

/// Has `listener` ignore who begins to connect from here on; handshakes under way are finished. Closing a
/// listener resets those, and what waits to be accepted: this is how to wait for the last of them. Who is
/// ignored tries again a second later, and is then refused, or is served by who took the address over.
///
/// # Errors
/// The kernel's. A Unix socket has no handshake: it takes the filter, and nothing changes.
#[allow(unsafe_code)]
pub fn ignore_new(listener: BorrowedFd<'_>) -> io::Result<()> {
    /// Of the byte with the flags, 13th of a TCP header, which is where a socket's filter begins.
    const FLAGS: u32 = 13;
    const SYN: u32 = 2;
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, FLAGS),
        op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, SYN),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` and the `program` that it points at are ours and outlive the call, which only
    // reads them; the length is the option's.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(set).map(drop).map_err(io::Error::from)
}

/// Removes a Unix socket's file that a dead process left behind: one that refuses connections.
fn remove_stale(path: &Path) {
    let refused = std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    // A file that is no socket refuses too, and is nobody's to remove.
    let is_socket = path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
    if refused && is_socket {
        // If it cannot be removed, `bind` fails next and says so.
        let _ = std::fs::remove_file(path);
    }
}

/// Whether other sockets of this user may listen on its address: it is one of a group (SO_REUSEPORT).
pub fn shares_address(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::ReusePort).unwrap_or(false)
}

/// The address that a listening socket really has: its port, where 0 was asked for.
pub fn local_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    let storage: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    socket_address(&storage)
}

/// The address of a connection's other end; `None` for a Unix socket or one that is already gone.
pub fn peer_address(fd: BorrowedFd<'_>) -> Option<IpAddr> {
    let storage: SockaddrStorage = nix::sys::socket::getpeername(fd.as_raw_fd()).ok()?;
    socket_address(&storage).map(|address| address.ip())
}

/// How long ago the handshake of a connection ended on which nothing has been sent yet, to the kernel's tick
/// (4 ms where `CONFIG_HZ` is 250; a length below it shows as none or one). `None`: not known, as of a Unix
/// socket.
#[allow(unsafe_code)]
pub fn since_handshake(fd: BorrowedFd<'_>) -> Option<Micros> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and `length` are ours and outlive the call, which writes at most the length that is given.
    let got = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: all of it is zeroed at least, and it consists of integers.
    let info = unsafe { info.assume_init() };
    // The kernel sets this clock when it makes the connection's socket, which is when the handshake ends.
    (got == 0).then(|| Micros::from_ms(info.tcpi_last_data_sent.into()))
}

/// The kernel keeps about so many bytes, and as many again for its own purposes, of what is sent and not taken.
///
/// # Errors
/// The kernel's.
pub fn bound_unsent(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::SndBuf, &bytes)?)
}

/// Sends as much of `bytes` as the kernel takes without waiting: how much that was.
pub fn send_at_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    // A connection that is broken is seen to be by whoever waits for its bytes.
    nix::sys::socket::send(fd.as_raw_fd(), bytes, flags).unwrap_or(0)
}

/// Has the connection end in a reset when it is closed, whatever is still unsent (a Unix socket just ends).
pub fn reset_on_close(fd: BorrowedFd<'_>) {
    // Fails only if the connection is gone already.
    let _ = setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Whether the other end is gone for good: it has reset the connection, or a Unix socket's is closed; with
/// `half_close`, also if it has only said that no more comes. Never waits.
pub fn is_gone(fd: BorrowedFd<'_>, half_close: bool) -> bool {
    let end = if half_close { libc::POLLRDHUP } else { 0 };
    polled(fd, end) & (libc::POLLHUP | libc::POLLERR | end) != 0
}

/// Whether somebody waits in `listener`'s queue to be accepted. Never waits.
pub fn is_waited_at(listener: BorrowedFd<'_>) -> bool {
    polled(listener, libc::POLLIN) & libc::POLLIN != 0
}

/// What of `events` holds for `fd` now, and its errors. (nix's own gives nothing where POLLRDHUP is set, which
/// it does not know.)
#[allow(unsafe_code)]
fn polled(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::c_short {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: `poll` is ours, one entry long as is said, and outlives the call, which does not wait.
    let polled = unsafe { libc::poll(&raw mut poll, 1, 0) };
    // It fails only for want of memory: then nothing is known.
    if polled == 1 { poll.revents } else { 0 }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = |a: &SockaddrIn| SocketAddr::from((a.ip(), a.port()));
    let v6 = |a: &SockaddrIn6| SocketAddr::from((a.ip(), a.port()));
    storage.as_sockaddr_in().map(v4).or_else(|| storage.as_sockaddr_in6().map(v6))
}
