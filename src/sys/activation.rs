//! Listening sockets that the supervisor opened before it started the process: socket activation
//! (sd_listen_fds(3)), without its library.
//!
//! Here: taking the descriptors over, once, and what each of them is. Not here: which listener gets which
//! (`serve`). They begin at 3 and are told of by `$LISTEN_FDS`, `$LISTEN_PID` and `$LISTEN_FDNAMES`. The
//! variables stay in the environment: removing them races with whoever reads others, weir starts no
//! programs, and `$LISTEN_PID` tells a child that they are not meant for it.

use crate::config::ListenAddress;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{SockType, SockaddrStorage, UnixAddr, getsockname, getsockopt, setsockopt, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first of them (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// More than this is a slip in the variable.
const MOST: RawFd = 4096;

/// A listening socket that the supervisor opened.
#[derive(Debug)]
pub struct Passed {
    /// Its name in the supervisor's unit (`FileDescriptorName=`); systemd's default is the unit's name.
    pub name: String,
    /// Where it listens; `None`: nowhere that a configuration could name.
    pub address: Option<ListenAddress>,
    /// Non-blocking and close-on-exec.
    pub socket: OwnedFd,
}

/// Why sockets that were passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationRefused {
    /// The variables contradict themselves.
    #[error(
        "$LISTEN_FDS is {0:?}, which is no number of descriptors up to {MOST}; start weir by systemd, or without the variable"
    )]
    Count(String),
    /// It is not open, or is no socket, or does not listen, or not for streams.
    #[error(
        "descriptor {descriptor} ({name}), which was passed by socket activation, is no listening stream \
         socket{}; the socket unit needs ListenStream= and Accept=no",
        .cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default()
    )]
    NoListener {
        /// Its number.
        descriptor: RawFd,
        /// Its name.
        name: String,
        /// The kernel's word, if it has one.
        cause: Option<io::Error>,
    },
}

/// The sockets that were passed to this process, in their order; none if it was not started by a socket unit,
/// or if they were taken already.
///
/// # Errors
/// The first that is not what it must be; all of them are closed then.
pub fn take() -> Result<Vec<Passed>, ActivationRefused> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let read = |name| std::env::var(name).ok();
    let named = named(
        read("LISTEN_FDS").as_deref(),
        read("LISTEN_PID").as_deref(),
        read("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )?;
    if named.is_empty() || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    // All first, so that each is closed, whatever is wrong with one of them.
    let owned: Result<Vec<_>, _> = named.into_iter().map(own).collect();
    owned?.into_iter().map(passed).collect()
}

/// The descriptors and their names, if they are for the process `own`.
fn named(
    count: Option<&str>,
    pid: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> Result<Vec<(RawFd, String)>, ActivationRefused> {
    let (Some(count), true) = (count, pid.is_some_and(|pid| pid.parse() == Ok(own))) else {
        return Ok(Vec::new());
    };
    let fits = count.parse().ok().filter(|count| (0..=MOST).contains(count));
    let end = FIRST + fits.ok_or_else(|| ActivationRefused::Count(count.to_owned()))?;
    let mut names = names.unwrap_or("").split(':');
    let mut name = || names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
    Ok((FIRST..end).map(|descriptor| (descriptor, name())).collect())
}

#[allow(unsafe_code)]
fn own((descriptor, name): (RawFd, String)) -> Result<(String, OwnedFd), ActivationRefused> {
    // SAFETY: the number is only asked about: a descriptor that is not open is an error and nothing else,
    // and the borrow ends with this statement.
    let is_open = fcntl(unsafe { BorrowedFd::borrow_raw(descriptor) }, FcntlArg::F_GETFD);
    if let Err(errno) = is_open {
        return Err(ActivationRefused::NoListener { descriptor, name, cause: Some(errno.into()) });
    }
    // SAFETY: it is open, and the variables say that the supervisor opened it for this very process, so
    // nothing in here opened it and nothing else owns it. `take` comes here once in a process's life.
    Ok((name, unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

fn passed((name, socket): (String, OwnedFd)) -> Result<Passed, ActivationRefused> {
    let descriptor = socket.as_raw_fd();
    match listens(socket.as_fd()) {
        Ok(true) => Ok(Passed { name, address: address(socket.as_fd()), socket }),
        Ok(false) => Err(ActivationRefused::NoListener { descriptor, name, cause: None }),
        Err(cause) => Err(ActivationRefused::NoListener { descriptor, name, cause: Some(cause) }),
    }
}

/// Whether it is a listening stream socket; makes it as those that weir opens itself.
fn listens(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let is_stream = getsockopt(&socket, sockopt::SockType)? == SockType::Stream;
    if !is_stream || !getsockopt(&socket, sockopt::AcceptConn)? {
        return Ok(false);
    }
    fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    if matches!(address(socket), Some(ListenAddress::Tcp(_))) {
        // Accepted connections inherit it.
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    }
    Ok(true)
}

/// Where a socket listens; `None`: on no IP address and no path.
fn address(socket: BorrowedFd<'_>) -> Option<ListenAddress> {
    if let Ok(unix) = getsockname::<UnixAddr>(socket.as_raw_fd()) {
        return unix.path().map(|path| ListenAddress::Unix(path.to_owned()));
    }
    let storage: SockaddrStorage = getsockname(socket.as_raw_fd()).ok()?;
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::from((address.ip(), address.port())));
    let v6 = || storage.as_sockaddr_in6().map(|address| SocketAddr::from((address.ip(), address.port())));
    v4.or_else(v6).map(ListenAddress::Tcp)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn descriptors_are_counted_from_three_and_named_in_their_order() {
        let found = |count, pid, names| named(Some(count), Some(pid), names, 7).unwrap();
        let name = |(descriptor, name): (RawFd, &str)| (descriptor, name.to_owned());
        assert_eq!(found("2", "7", Some("web:api")), [(3, "web"), (4, "api")].map(name));
        assert_eq!(found("2", "7", Some("web")), [(3, "web"), (4, "unknown")].map(name));
        assert_eq!(found("1", "7", None), [(3, "unknown")].map(name));
        assert_eq!(found("2", "7", Some(":api:more")), [(3, "unknown"), (4, "api")].map(name));
        assert_eq!(found("0", "7", None), []);
    }

    #[test]
    fn variables_for_another_process_say_nothing_and_wrong_ones_are_refused() {
        for (count, pid) in [(Some("2"), Some("8")), (Some("2"), None), (None, Some("7")), (Some("x"), None)]
        {
            assert_eq!(named(count, pid, None, 7).unwrap(), [], "{count:?} {pid:?}");
        }
        for count in ["", "x", "-1", "4097", "99999999999999"] {
            let refused = named(Some(count), Some("7"), None, 7).unwrap_err();
            assert!(refused.to_string().contains(&format!("{count:?}")), "{refused}");
        }
    }

    fn passed_as(name: &str, socket: impl Into<OwnedFd>) -> Result<Passed, ActivationRefused> {
        passed((name.to_owned(), socket.into()))
    }

    #[test]
    fn a_listening_stream_socket_is_taken_with_its_address_and_made_non_blocking() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = ListenAddress::Tcp(tcp.local_addr().unwrap());
        let taken = passed_as("web", tcp).unwrap();
        assert_eq!((taken.name.as_str(), taken.address), ("web", Some(expected)));
        let flags = OFlag::from_bits_retain(fcntl(&taken.socket, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_NONBLOCK));
        assert!(getsockopt(&taken.socket, sockopt::TcpNoDelay).unwrap());
        let v6 = TcpListener::bind("[::1]:0").unwrap();
        let expected = ListenAddress::Tcp(v6.local_addr().unwrap());
        assert_eq!(passed_as("v6", v6).unwrap().address, Some(expected));
        let path = std::env::temp_dir().join(format!("weir-activation-{}.sock", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        let taken = passed_as("local", unix).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(taken.address, Some(ListenAddress::Unix(path)));
    }

    #[test]
    fn what_is_no_listening_stream_socket_is_refused_by_number_and_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (case, socket) in
            [("connected", OwnedFd::from(connected)), ("datagrams", datagrams.into()), ("file", file.into())]
        {
            let descriptor = socket.as_raw_fd();
            let refused = passed_as(case, socket).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("descriptor {descriptor} ({case})")), "{refused}");
            assert!(refused.contains("ListenStream="), "{refused}");
        }
        let refused = own((1 << 20, "none".to_owned())).unwrap_err().to_string();
        assert!(refused.contains("(none)") && refused.contains("Bad file descriptor"), "{refused}");
    }
}
