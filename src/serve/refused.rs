//! Why weir does not start.

use super::takeover::TakeoverRefused;
use super::{ActivatedRefused, PrivilegesRefused};
use crate::admin::{BindRefused, TokenRefused};
use crate::config::CoresRefused;
use crate::control::{ControlRefused, ResolveRefused};
use crate::fleet::BadCheck;
use crate::log::record::JournalRefused;
use crate::ring::RingRefused;
use crate::shard::ShardRefused;
use crate::sys::socket::ListenError;
use crate::tls::TlsRefused;
use std::io;

/// Why weir does not start; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This host gives no ring.
    #[error(transparent)]
    Ring(#[from] RingRefused),
    /// The cores that were asked for are not there.
    #[error(transparent)]
    Cores(#[from] CoresRefused),
    /// It cannot become the user that it is to be.
    #[error(transparent)]
    Privileges(#[from] PrivilegesRefused),
    /// A backend cannot be resolved.
    #[error(transparent)]
    Backends(#[from] ResolveRefused),
    /// Sockets were passed that are of no use.
    #[error(transparent)]
    Activated(#[from] ActivatedRefused),
    /// Certificates and keys are of no use.
    #[error(transparent)]
    Tls(#[from] TlsRefused),
    /// A health check's request is no HTTP.
    #[error(transparent)]
    Check(#[from] BadCheck),
    /// A listener's address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An admin address cannot be had.
    #[error(transparent)]
    Admin(#[from] BindRefused),
    /// The admin surface has no token to ask for.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// Nothing can be taken over.
    #[error(transparent)]
    Takeover(#[from] TakeoverRefused),
    /// There is no thread for the access log.
    #[error(transparent)]
    Journal(#[from] JournalRefused),
    /// A shard does not start.
    #[error(transparent)]
    Shard(#[from] ShardRefused),
    /// Control does not start.
    #[error(transparent)]
    Control(#[from] ControlRefused),
    /// The kernel gives no descriptor for a mailbox.
    #[error("no descriptor for a mailbox: {0}; raise the limit of descriptors (`ulimit -n`)")]
    Mailbox(#[from] io::Error),
}
