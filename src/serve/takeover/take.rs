//! The new process's side: finds the running weir, gets its sockets and state, says when it serves.
//!
//! Blocking, since it happens at start, before any shard or control runs, and each step has its limit. Until
//! [`Inheritance::serving`] has been said nothing has changed for the old process: whatever goes wrong here
//! ends this process and not that one.

use super::meeting;
use super::protocol::{self, FromNew, FromOld, Hello, Malformed, Offer, Offered, PREFIX, PROTOCOL};
use crate::config::ListenAddress;
use crate::fleet::Carried;
use crate::sys::handoff::{Peer, listens, own_uid, peer, receive_descriptors};
use crate::sys::socket::local_address;
use crate::time::Micros;
use crate::tls::HandedKeys;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// How long a running weir may take for its greeting: its control thread is never busy for long.
const GREETING: Micros = Micros::from_s(3);

/// How long it may take for anything after it.
const ANSWER: Micros = Micros::from_s(10);

/// Why nothing was taken over. Nothing has changed for the weir that runs.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverRefused {
    /// Nobody listens where this configuration does, or who does is no weir of ours.
    #[error(
        "--takeover: no running weir of this user listens on {}; run this as the user that the running one \
         has, or, if none runs, start without --takeover",
        .0.join(" or ")
    )]
    Nobody(Vec<String>),
    /// It speaks otherwise.
    #[error(
        "--takeover: the running weir (process {pid}) is version {version} and hands over by protocol \
         {theirs}, this one is {} and knows {PROTOCOL}; end that one (SIGTERM) and start this one without \
         --takeover",
        env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// Its process id.
        pid: i32,
        /// Its version.
        version: String,
        /// Its protocol.
        theirs: u32,
    },
    /// It does not want to.
    #[error("--takeover: the running weir (process {pid}) refuses: {why}")]
    Refused {
        /// Its process id.
        pid: i32,
        /// What it says.
        why: String,
    },
    /// The conversation broke.
    #[error(
        "--takeover: the running weir (process {pid}) did not {step}: {cause}; it serves on. Try again, or \
         end it (SIGTERM) and start without --takeover"
    )]
    Broken {
        /// Its process id.
        pid: i32,
        /// What it was to do.
        step: &'static str,
        /// What came instead.
        cause: io::Error,
    },
}

/// What a running weir has handed over, and the connection to it.
pub(crate) struct Inheritance {
    old: Conversation,
    listeners: Vec<Handed>,
    admin: Vec<Handed>,
    taken: Vec<String>,
    carried: Option<Carried>,
    ticket_keys: HandedKeys,
}

/// The sockets of one address.
struct Handed {
    address: String,
    sockets: Vec<OwnedFd>,
    lent: bool,
}

/// The connection to a running weir.
struct Conversation {
    stream: UnixStream,
    peer: Peer,
}

/// Asks the weir that listens on any of `addresses` for its sockets and state. It is of this process's user,
/// or of the one that this process is to become.
///
/// # Errors
/// Why not.
pub(crate) fn take(
    addresses: &[&ListenAddress],
    becomes: Option<u32>,
) -> Result<Inheritance, TakeoverRefused> {
    let wanted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    take_from(meeting::everybody(becomes), wanted)
}

pub(super) fn take_from(
    everybody: Vec<UnixStream>,
    wanted: Vec<String>,
) -> Result<Inheritance, TakeoverRefused> {
    // Told only if no other can be taken over: it may be a third one that is leaving.
    let mut refused = None;
    for stream in everybody {
        let Some(mut old) = Conversation::with(stream) else { continue };
        match old.greeting() {
            Ok(hello) if hello.addresses.iter().any(|theirs| wanted.contains(theirs)) => return old.take(),
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or(TakeoverRefused::Nobody(wanted)))
}

impl Conversation {
    /// `None` with somebody else's process, which could lead this one to anywhere.
    fn with(stream: UnixStream) -> Option<Self> {
        let peer = peer(stream.as_fd()).ok()?;
        let trusted = peer.uid == own_uid() || peer.uid == 0 || own_uid() == 0;
        trusted.then_some(Self { stream, peer })
    }

    fn greeting(&mut self) -> Result<Hello, TakeoverRefused> {
        let bytes = self.receive(GREETING).map_err(self.broke("greet"))?;
        match protocol::version_of(&bytes) {
            Some((theirs, version)) if theirs != PROTOCOL => {
                Err(TakeoverRefused::Version { pid: self.peer.pid, version, theirs })
            }
            Some(_) | None => match self.read(&bytes, "greet")? {
                FromOld::Hello(hello) => Ok(hello),
                other => Err(self.unexpected(other, "greet")),
            },
        }
    }

    fn take(mut self) -> Result<Inheritance, TakeoverRefused> {
        const STEP: &str = "offer its sockets";
        self.say(&FromNew::Take { protocol: PROTOCOL }, STEP)?;
        let bytes = self.receive(ANSWER).map_err(self.broke(STEP))?;
        let offer = match self.read(&bytes, STEP)? {
            FromOld::Offer(offer) => offer,
            other => return Err(self.unexpected(other, STEP)),
        };
        let mut descriptors = self.descriptors(&offer).map_err(self.broke(STEP))?.into_iter();
        let mut handed = |offered: Vec<Offered>| -> Vec<Handed> {
            let one = |Offered { address, sockets, lent }| {
                let sockets = descriptors.by_ref().take(sockets);
                Handed { address, sockets: sockets.collect(), lent }
            };
            offered.into_iter().map(one).collect()
        };
        let (listeners, admin) = (handed(offer.listeners), handed(offer.admin));
        let wrong = listeners.iter().chain(&admin).find(|handed| !handed.is_what_it_says());
        if let Some(Handed { address, .. }) = wrong {
            let what = format!("what it offers for {address} does not listen there");
            return Err(self.broke(STEP)(invalid(what)));
        }
        let (carried, ticket_keys) = (Some(offer.carried), offer.ticket_keys);
        Ok(Inheritance { old: self, listeners, admin, taken: Vec::new(), carried, ticket_keys })
    }

    fn descriptors(&self, offer: &Offer) -> io::Result<Vec<OwnedFd>> {
        let count = offer.descriptors().ok_or_else(|| invalid("more sockets than anybody has".to_owned()))?;
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            all.extend(receive_descriptors(self.stream.as_fd())?);
        }
        if all.len() > count { Err(invalid("more sockets than it said".to_owned())) } else { Ok(all) }
    }

    fn say(&mut self, message: &FromNew, step: &'static str) -> Result<(), TakeoverRefused> {
        let framed = protocol::frame(message).map_err(|error| self.malformed(error, step))?;
        let sent = self
            .stream
            .set_write_timeout(Some(ANSWER.as_duration()))
            .and_then(|()| self.stream.write_all(&framed));
        sent.map_err(self.broke(step))
    }

    /// The next message's bytes.
    fn receive(&mut self, within: Micros) -> io::Result<Vec<u8>> {
        self.stream.set_read_timeout(Some(within.as_duration()))?;
        let mut prefix = [0; PREFIX];
        self.stream.read_exact(&mut prefix)?;
        let mut bytes = vec![0; protocol::len(prefix).map_err(|error| invalid(error.to_string()))?];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&self, bytes: &[u8], step: &'static str) -> Result<FromOld, TakeoverRefused> {
        protocol::read(bytes).map_err(|error| self.malformed(error, step))
    }

    fn malformed(&self, error: Malformed, step: &'static str) -> TakeoverRefused {
        self.broke(step)(invalid(error.to_string()))
    }

    fn unexpected(&self, message: FromOld, step: &'static str) -> TakeoverRefused {
        match message {
            FromOld::Refused { why } => TakeoverRefused::Refused { pid: self.peer.pid, why },
            FromOld::Hello(_) | FromOld::Offer(_) | FromOld::Leaving => {
                self.broke(step)(invalid("it said something else".to_owned()))
            }
        }
    }

    fn broke(&self, step: &'static str) -> impl FnOnce(io::Error) -> TakeoverRefused + use<> {
        let pid = self.peer.pid;
        move |error| {
            let cause = match error.kind() {
                // What a read with a time limit says when it is over.
                io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
                io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it hung up"),
                _ => error,
            };
            TakeoverRefused::Broken { pid, step, cause }
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Handed {
    fn is_what_it_says(&self) -> bool {
        let mut sockets = self.sockets.iter();
        sockets.all(|socket| {
            // A Unix socket keeps the name that it was bound under, whatever its file is called now.
            let there = self.address.starts_with("unix:")
                || local_address(socket.as_fd()).is_some_and(|real| real.to_string() == self.address);
            there && listens(socket.as_fd())
        })
    }
}

impl Inheritance {
    /// The old process's id.
    pub(crate) fn pid(&self) -> i32 {
        self.old.peer.pid
    }

    /// What it knows; there only once.
    pub(crate) fn carried(&mut self) -> Option<Carried> {
        self.carried.take()
    }

    /// The keys of session tickets.
    pub(crate) fn ticket_keys(&self) -> &HandedKeys {
        &self.ticket_keys
    }

    /// The sockets of a listener; empty if it had none there.
    pub(crate) fn listener(&mut self, address: &ListenAddress) -> Vec<OwnedFd> {
        find(&mut self.listeners, address, &mut self.taken)
    }

    /// Whether the supervisor has lent this listener's sockets to the old process, and so to this one.
    pub(crate) fn is_lent(&self, address: &ListenAddress) -> bool {
        let address = address.to_string();
        self.listeners.iter().any(|handed| handed.address == address && handed.lent)
    }

    /// The socket of an admin address.
    pub(crate) fn admin(&mut self, address: &ListenAddress) -> Option<OwnedFd> {
        find(&mut self.admin, address, &mut self.taken).into_iter().next()
    }

    /// Says that this process accepts now, and waits until the old one does no more. What was not asked for
    /// stays with the old one.
    ///
    /// # Errors
    /// It does not say so. Both accept then, and it may or may not leave.
    pub(crate) fn serving(mut self) -> Result<(), TakeoverRefused> {
        const STEP: &str = "say that it leaves";
        let taken = std::mem::take(&mut self.taken);
        self.old.say(&FromNew::Serving { taken }, STEP)?;
        let bytes = self.old.receive(ANSWER).map_err(self.old.broke(STEP))?;
        match self.old.read(&bytes, STEP)? {
            FromOld::Leaving => Ok(()),
            other => Err(self.old.unexpected(other, STEP)),
        }
    }
}

fn find(handed: &mut [Handed], address: &ListenAddress, taken: &mut Vec<String>) -> Vec<OwnedFd> {
    let address = address.to_string();
    let found = handed.iter_mut().find(|handed| handed.address == address && !handed.sockets.is_empty());
    let Some(found) = found else { return Vec::new() };
    taken.push(address);
    std::mem::take(&mut found.sockets)
}
