//! Where lines go: a file, stderr, a syslog. Opened, written as far as it goes without waiting, or why not.
//!
//! Nobody but the thread `weir-log` writes. Files are appended to, so a predecessor and a successor may write to
//! one. Where a write can end in the middle of a line, what is torn is taken back, or the rest comes next; on
//! pipes and terminals no more goes at once than the kernel takes in one piece.

use crate::config::{AccessFormat, AccessLog, AccessTarget};
use crate::sys::privileges::{Use, may};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A file that is made: for weir's user, and for its group to read, as far as the process's umask lets it.
const MODE: u32 = 0o640;

/// What a pipe takes whole or not at all (pipe(7)).
const PIPE_BUF: usize = 4096;

/// What stands before each line for a syslog (RFC 3164, section 4.1.1): facility local0, severity info.
const PRIORITY: u32 = 16 * 8 + 6;

/// Lines cannot go where they are to go.
#[derive(Debug, thiserror::Error)]
#[error("access_log.to: {to} cannot be opened: {cause}; {}", self.remedy())]
pub struct SinkRefused {
    to: Named,
    cause: io::Error,
}

/// Where lines go, in words.
#[derive(Clone, Debug)]
struct Named(AccessTarget);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            AccessTarget::Stderr => f.write_str("stderr"),
            AccessTarget::File(path) => path.display().fmt(f),
            AccessTarget::Syslog(path) => write!(f, "the syslog at {}", path.display()),
        }
    }
}

impl SinkRefused {
    /// What the kernel said.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        remedy(&self.to.0, &self.cause)
    }
}

fn remedy(to: &AccessTarget, cause: &io::Error) -> String {
    let (is_syslog, path) = match to {
        AccessTarget::Syslog(path) => (true, &**path),
        AccessTarget::File(path) => (false, &**path),
        AccessTarget::Stderr => (false, Path::new("/")),
    };
    let folder = path.parent().unwrap_or(path).display();
    match Errno::from_raw(cause.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT | Errno::ECONNREFUSED if is_syslog => {
            "start a syslog there (in a container, mount the host's /dev/log), or name a file or \"stderr\""
                .to_owned()
        }
        Errno::ENOENT | Errno::ENOTDIR => {
            format!(
                "make its folder (install -d -m 0750 -o weir -g weir {folder}; LogsDirectory=weir in a unit)"
            )
        }
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            format!("let weir's user write there (chown weir {folder}; ReadWritePaths={folder} in a unit)")
        }
        Errno::EISDIR => "name a file in it".to_owned(),
        Errno::ENXIO => "it is a FIFO that nobody reads: start its reader first".to_owned(),
        _ => "name another place".to_owned(),
    }
}

/// Where lines go.
#[derive(Debug)]
pub struct Sink {
    to: AccessTarget,
    out: Out,
}

#[derive(Debug)]
enum Out {
    Stderr,
    /// One that keeps what was written, and whose end can be cut off.
    File(File),
    /// A FIFO, a terminal, `/dev/null`.
    Stream(File),
    /// With what stands before each line, and room for a message.
    Syslog(UnixDatagram, Vec<u8>),
}

/// How far a write came.
pub(super) struct Written {
    /// Bytes that are done with.
    pub(super) count: usize,
    /// Why there are no more.
    pub(super) end: End,
}

/// Why a write ended.
pub(super) enum End {
    /// All of it is written.
    Whole,
    /// It takes no more now.
    Full,
    /// It failed.
    Failed(io::Error),
}

impl Sink {
    /// Opens it. A file is made if there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(in crate::log) fn open(to: &AccessTarget) -> Result<Self, SinkRefused> {
        let out = match to {
            AccessTarget::Stderr => Ok(Out::Stderr),
            AccessTarget::File(path) => open_file(path),
            AccessTarget::Syslog(path) => open_syslog(path),
        };
        Ok(Self { to: to.clone(), out: out.map_err(|cause| SinkRefused { to: Named(to.clone()), cause })? })
    }

    /// What it was opened for.
    pub(super) fn to(&self) -> &AccessTarget {
        &self.to
    }

    /// The path of its file, if it is one.
    pub(in crate::log) fn file(&self) -> Option<PathBuf> {
        match &self.to {
            AccessTarget::File(path) => Some(path.clone()),
            AccessTarget::Stderr | AccessTarget::Syslog(_) => None,
        }
    }

    /// Writes of `lines` what goes without waiting. The first may be the rest of one that was begun before.
    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        let (count, ended) = match &mut self.out {
            Out::Stderr => in_pieces(lines, |piece| {
                // The log writes there too, a line at a time behind the same lock.
                let mut stderr = io::stderr().lock();
                if is_writable(stderr.as_fd(), PollTimeout::ZERO) {
                    stderr.write_all(piece).map(|()| piece.len())
                } else {
                    Err(ErrorKind::WouldBlock.into())
                }
            }),
            Out::File(file) => append(file, lines),
            Out::Stream(file) => in_pieces(lines, |piece| file.write(piece)),
            Out::Syslog(socket, message) => send(socket, message, lines),
        };
        let end = match ended {
            Ok(()) => End::Whole,
            Err(error) if error.kind() == ErrorKind::WouldBlock => End::Full,
            Err(error) => End::Failed(error),
        };
        Written { count, end }
    }

    /// Waits until it may take more, and no longer than this.
    pub(super) fn wait(&self, timeout: PollTimeout) {
        match &self.out {
            Out::Stderr => drop(is_writable(io::stderr().as_fd(), timeout)),
            Out::File(file) | Out::Stream(file) => drop(is_writable(file.as_fd(), timeout)),
            Out::Syslog(socket, _) => drop(is_writable(socket.as_fd(), timeout)),
        }
    }
}

/// Whether this process could open what an access log asks for. Nothing is made, written or sent.
///
/// # Errors
/// Why it could not.
pub fn look(access_log: &AccessLog) -> Result<(), SinkRefused> {
    let looked = match &access_log.to {
        _ if access_log.format == AccessFormat::Off => Ok(()),
        AccessTarget::Stderr => Ok(()),
        AccessTarget::Syslog(path) => open_syslog(path).map(drop),
        AccessTarget::File(path) => match fs::metadata(path) {
            Ok(file) if file.is_file() || file.is_dir() => {
                OpenOptions::new().append(true).open(path).map(drop)
            }
            // To open a FIFO and close it again would end its reader.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                may(Use::MakeFilesIn, path.parent().unwrap_or(path))
            }
            Err(error) => Err(error),
        },
    };
    looked.map_err(|cause| SinkRefused { to: Named(access_log.to.clone()), cause })
}

fn open_file(path: &Path) -> io::Result<Out> {
    // A FIFO that nobody reads, or is slow to, must not be waited for; files do not know the flag.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?;
    Ok(if file.metadata()?.is_file() { Out::File(file) } else { Out::Stream(file) })
}

fn open_syslog(path: &Path) -> io::Result<Out> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    // As syslog(3) writes it, which rsyslog and journald read, but for the time: they have a clock, and this form
    // has no room for a zone. The lines say theirs.
    let before = format!("<{PRIORITY}>weir[{}]: ", std::process::id()).into_bytes();
    Ok(Out::Syslog(socket, before))
}

/// Whether it takes something now, or within this time.
fn is_writable(descriptor: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    let mut polled = [PollFd::new(descriptor, PollFlags::POLLOUT)];
    // An error of the descriptor is for the write to find.
    poll(&mut polled, timeout).map_or(true, |ready| ready > 0)
}

/// Writes to a file. If it fails in the middle of a line, the file is cut at the line's beginning.
fn append(file: &mut File, lines: &[u8]) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < lines.len() {
        match file.write(&lines[count..]) {
            Ok(written) => count += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let whole = memchr::memrchr(b'\n', &lines[..count]).map_or(0, |end| end + 1);
                let torn = (count - whole) as u64;
                if torn > 0 && cut_off(file, torn).is_ok_and(|is_cut| is_cut) {
                    count = whole;
                }
                return (count, Err(error));
            }
        }
    }
    (count, Ok(()))
}

/// Takes the last `count` bytes back, if nobody has written behind them.
fn cut_off(file: &mut File, count: u64) -> io::Result<bool> {
    use std::io::Seek;
    let (end, len) = (file.stream_position()?, file.metadata()?.len());
    if end != len || end < count {
        return Ok(false);
    }
    file.set_len(end - count)?;
    file.seek(io::SeekFrom::Start(end - count))?;
    Ok(true)
}

/// Writes whole lines in pieces that a pipe takes whole; a longer line by itself.
fn in_pieces(lines: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < lines.len() {
        let rest = &lines[count..];
        let fits = &rest[..rest.len().min(PIPE_BUF)];
        let end = memchr::memrchr(b'\n', fits).or_else(|| memchr::memchr(b'\n', rest));
        match write(&rest[..end.map_or(rest.len(), |end| end + 1)]) {
            Ok(0) => return (count, Err(ErrorKind::WriteZero.into())),
            Ok(written) => count += written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// Sends each line as a message.
fn send(socket: &UnixDatagram, message: &mut Vec<u8>, lines: &[u8]) -> (usize, io::Result<()>) {
    let before = message.len();
    let mut count = 0;
    let mut sent = Ok(());
    while count < lines.len() {
        let rest = &lines[count..];
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        message.truncate(before);
        message.extend_from_slice(&rest[..len]);
        match socket.send(message) {
            Ok(_) => count += (len + 1).min(rest.len()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                // It would never be taken.
                let too_long = error.raw_os_error() == Some(libc::EMSGSIZE);
                count += if too_long { (len + 1).min(rest.len()) } else { 0 };
                sent = Err(error);
                break;
            }
        }
    }
    message.truncate(before);
    (count, sent)
}
