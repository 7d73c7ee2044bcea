//! TLS: certificates and keys, whom they are shown to, who is believed, sessions that are resumed.
//!
//! | file | what lives there |
//! |---|---|
//! | `loader` | everything that a configuration names, read; what has not changed is not read again |
//! | `pem` | what is in such a file, or why it is of no use |
//! | `certificate` | a certificate with its key, and what is to be known of it |
//! | `choice` | which certificate a client gets |
//! | `trust` | who is believed: clients by a listener, backends by a pool |
//! | `tickets` | sessions that any shard and the next process can resume |
//! | `subject` | a certificate's subject as a line of text |
//!
//! The cryptography is rustls' with aws-lc-rs, named at each place: nothing hangs on a default of the process. Not
//! here: which files there are (`config`), and when they are read (`control`).

mod certificate;
mod choice;
mod loader;
mod pem;
mod subject;
mod tickets;
mod trust;

pub use certificate::CertificateFacts;
pub use loader::{Loaded, Loader, TlsRefused};
pub use subject::subject;
pub use tickets::{HandedKeys, TICKET_LIFE, Tickets};
