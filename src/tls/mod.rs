//! TLS: certificates and keys, whom they are shown to, who is believed, and connections that are sealed.
//!
//! | file | what lives there |
//! |---|---|
//! | `loader` | everything that a configuration names, read; what has not changed is not read again |
//! | `pem` | what is in such a file, or why it is of no use |
//! | `certificate` | a certificate with its key, and what is to be known of it |
//! | `staple` | what its authority says of it, as long as that holds |
//! | `choice` | which certificate a client gets |
//! | `trust` | who is believed: clients by a listener, backends by a pool |
//! | `tickets` | sessions that any shard and the next process can resume |
//! | `proof` | until when a client has proven who it is, however often it resumes |
//! | `subject` | a certificate's subject as a line of text |
//! | `handshake` | a handshake as a server or a client, on a shard, until the keys are there |
//! | `steps` | rustls driven through it over the ring, record by record |
//! | `hello` | the name that a client asks for |
//! | `reason` | why a handshake came to nothing, in words for an operator |
//! | `turns` | who may take an expensive step in this turn of the ring |
//! | `records` | where a record ends |
//! | `session` | rustls after the handshake: records opened and sealed |
//! | `layer` | [`Sealed`], the `wire::Layer` |
//! | `leaving` | its sends |
//!
//! All of the protocol is rustls' with aws-lc-rs, named at each place: nothing hangs on a default of the process. Its
//! unbuffered connections keep no buffers of their own, so an idle connection has none.
//!
//! Not here: which files there are (`config`), and when they are read (`control`). Connections: called by `upstream`
//! and `shard`.

mod certificate;
mod choice;
mod handshake;
mod hello;
mod layer;
mod leaving;
mod loader;
mod pem;
mod proof;
mod reason;
mod records;
mod session;
mod staple;
mod steps;
mod subject;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
mod tickets;
mod trust;
mod turns;

pub use certificate::CertificateFacts;
pub use handshake::{Failure, Handshaken, Protocol, accept, connect};
pub use layer::Sealed;
pub use loader::{Loaded, Loader, TlsRefused};
pub use reason::reason;
pub use subject::subject;
pub use tickets::{HandedKeys, TICKET_LIFE, Tickets};
pub use turns::Turns;
