//! What the process tells its supervisor: systemd's notification socket (sd_notify(3)), without its library.
//!
//! Here: the messages, the socket, and how often the supervisor wants to hear that all is well. Not here:
//! when what is told (`control`). A message is a datagram of lines; it is sent within a moment or not at all,
//! since control may not wait for a supervisor that hangs. Any supervisor that sets `$NOTIFY_SOCKET` will do.

use crate::time::{Instant, Micros};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// How long a message may wait for room in the supervisor's socket.
const SEND_WITHIN: Micros = Micros::from_ms(100);

/// Why the supervisor cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub enum NotifyRefused {
    /// The variable names no Unix socket.
    #[error("$NOTIFY_SOCKET is {0:?}, which is neither an absolute path nor an abstract name (\"@…\")")]
    NoAddress(String),
    /// The kernel does not let it be reached.
    #[error("the supervisor's socket {address} cannot be used: {cause}")]
    Io {
        /// Its address.
        address: String,
        /// The kernel's word.
        cause: io::Error,
    },
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// It serves; also at the end of a reload.
    Ready {
        /// In words, for `systemctl status`.
        status: &'a str,
    },
    /// It loads its configuration again, since this point of the monotonic clock; `Ready` ends it.
    Reloading {
        /// When it began.
        since: Instant,
    },
    /// It ends.
    Stopping {
        /// In words.
        status: &'a str,
    },
    /// In words, for `systemctl status`.
    Status(&'a str),
    /// All is well.
    Watchdog,
    /// From now on this process is the service's main one: it took over.
    MainPid(u32),
}

impl Notice<'_> {
    /// The datagram.
    fn text(&self) -> String {
        match self {
            Self::Ready { status } => format!("READY=1\nSTATUS={}", one_line(status)),
            // The point of time tells this reload from one before (Type=notify-reload).
            Self::Reloading { since } => format!("RELOADING=1\nMONOTONIC_USEC={}", since.as_us()),
            Self::Stopping { status } => format!("STOPPING=1\nSTATUS={}", one_line(status)),
            Self::Status(status) => format!("STATUS={}", one_line(status)),
            Self::Watchdog => "WATCHDOG=1".to_owned(),
            Self::MainPid(pid) => format!("MAINPID={pid}"),
        }
    }
}

/// A line break would begin another message.
fn one_line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

/// The way to the supervisor.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
    shown: String,
}

impl Notifier {
    /// The supervisor that `$NOTIFY_SOCKET` names; `None`: there is none that wants to be told.
    ///
    /// # Errors
    /// The variable names no socket, or the kernel gives none.
    pub fn from_environment() -> Result<Option<Self>, NotifyRefused> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Self::at(&name).map(Some),
            None => Ok(None),
        }
    }

    /// The supervisor at a path, or at an abstract name that begins with "@".
    ///
    /// # Errors
    /// As [`Self::from_environment`].
    pub fn at(name: &OsStr) -> Result<Self, NotifyRefused> {
        let shown = name.to_string_lossy().into_owned();
        let failed = |cause| NotifyRefused::Io { address: shown.clone(), cause };
        let address = match name.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(name).map_err(failed)?,
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).map_err(failed)?,
            _ => return Err(NotifyRefused::NoAddress(shown)),
        };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.set_write_timeout(Some(SEND_WITHIN.as_duration())).map_err(failed)?;
        Ok(Self { socket, address, shown })
    }

    /// Tells.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` if the supervisor does not read.
    pub fn tell(&self, notice: &Notice<'_>) -> Result<(), NotifyRefused> {
        let text = notice.text();
        loop {
            match self.socket.send_to_addr(text.as_bytes(), &self.address) {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(NotifyRefused::Io { address: self.shown.clone(), cause }),
            }
        }
    }
}

/// How long the supervisor waits for [`Notice::Watchdog`] before it takes the process for dead; `None`: it
/// does not. A process that took over from `predecessor`, and was started by it, is watched in its place.
pub fn watchdog_interval(predecessor: Option<u32>) -> Option<Micros> {
    let read = |name| std::env::var(name).ok();
    let watched = [Some(std::process::id()), predecessor];
    watchdog(read("WATCHDOG_USEC").as_deref(), read("WATCHDOG_PID").as_deref(), &watched)
}

/// A variable for another process, which this one inherited, says nothing to it (sd_watchdog_enabled(3)).
fn watchdog(usec: Option<&str>, pid: Option<&str>, watched: &[Option<u32>]) -> Option<Micros> {
    let is_ours = pid.is_none_or(|pid| pid.parse().is_ok_and(|pid| watched.contains(&Some(pid))));
    let usec = usec?.parse().ok().filter(|usec| *usec > 0 && is_ours)?;
    Some(Micros::from_us(usec))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A supervisor at a name of the test's own.
    fn received(supervisor: &UnixDatagram) -> String {
        supervisor.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let mut text = [0; 512];
        let len = supervisor.recv(&mut text).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    }

    #[test]
    fn each_notice_is_a_datagram_of_the_supervisors_lines() {
        let name = format!("weir-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let supervisor = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::at(format!("@{name}").as_ref()).unwrap();
        for (notice, expected) in [
            (Notice::Ready { status: "2 shards" }, "READY=1\nSTATUS=2 shards"),
            (Notice::Reloading { since: Instant::from_us(1_234_567) }, "RELOADING=1\nMONOTONIC_USEC=1234567"),
            (Notice::Stopping { status: "draining" }, "STOPPING=1\nSTATUS=draining"),
            (Notice::Status("a\nREADY=1\r"), "STATUS=a READY=1 "),
            (Notice::Watchdog, "WATCHDOG=1"),
            (Notice::MainPid(77), "MAINPID=77"),
        ] {
            notifier.tell(&notice).unwrap();
            assert_eq!(received(&supervisor), expected);
        }
    }

    #[test]
    fn a_path_is_an_address_too_and_a_supervisor_that_is_gone_is_an_error_with_its_name() {
        let path: PathBuf = std::env::temp_dir().join(format!("weir-notify-{}.sock", std::process::id()));
        let supervisor = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::at(path.as_os_str()).unwrap();
        notifier.tell(&Notice::Watchdog).unwrap();
        assert_eq!(received(&supervisor), "WATCHDOG=1");
        drop(supervisor);
        std::fs::remove_file(&path).unwrap();
        let error = notifier.tell(&Notice::Watchdog).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        for name in ["vsock:2:1", "relative", ""] {
            assert!(matches!(Notifier::at(name.as_ref()), Err(NotifyRefused::NoAddress(_))), "{name}");
        }
    }

    #[test]
    fn a_supervisor_that_reads_nothing_holds_nobody_up() {
        let name = format!("weir-notify-full-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _supervisor = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::at(format!("@{name}").as_ref()).unwrap();
        // The kernel holds net.unix.max_dgram_qlen of them, 10 to some hundreds.
        let full = (0..100_000).find_map(|_| notifier.tell(&Notice::Watchdog).err());
        let Some(NotifyRefused::Io { cause, .. }) = full else { panic!("{full:?}") };
        assert_eq!(cause.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_watchdog_is_on_only_with_an_interval_for_this_process_or_its_predecessor() {
        for (usec, pid, expected) in [
            (Some("30000000"), Some("7"), Some(Micros::from_s(30))),
            (Some("30000000"), None, Some(Micros::from_s(30))),
            (Some("30000000"), Some("6"), Some(Micros::from_s(30))),
            (Some("30000000"), Some("8"), None),
            (Some("30000000"), Some("x"), None),
            (Some("0"), Some("7"), None),
            (Some("x"), Some("7"), None),
            (None, Some("7"), None),
        ] {
            assert_eq!(watchdog(usec, pid, &[Some(7), Some(6)]), expected, "{usec:?} {pid:?}");
        }
    }
}
