//! TLS on a shard: handshakes by rustls, driven over the ring's sockets, and what is sealed after them.
//!
//! rustls makes and judges everything that is said until a handshake is over, and afterwards derives new keys
//! and takes session tickets. The records in between are opened and sealed here, with the keys that it hands
//! over for just that (as it does for the kernel's TLS): in the ring's own chunks, without a copy or an
//! allocation for what comes in, and with one copy into the one buffer that is sent for what goes out. An idle
//! connection keeps two keys and no buffer.
//!
//! | file | what |
//! |---|---|
//! | `handshake.rs` | a handshake as a server or a client, until the keys are there |
//! | `steps.rs` | the driving of rustls, record by record |
//! | `hello.rs` | the name that a client asks for |
//! | `turns.rs` | who may take an expensive step in this turn of the ring |
//! | `records.rs` | one direction's key: records opened and sealed |
//! | `session.rs` | both directions, alerts, new keys, tickets |
//! | `layer.rs` | [`Sealed`], the `wire::Layer` |
//! | `leaving.rs` | its sends |
//! | `subject.rs` | the subject of a client's certificate, as text |
//!
//! Not here: which certificates and rules there are. Called by `upstream` and `shard`.

mod handshake;
mod hello;
mod layer;
mod leaving;
mod records;
mod session;
mod steps;
mod subject;
mod turns;

pub use handshake::{Failure, Handshaken, Protocol, accept, connect};
pub use layer::Sealed;
pub use turns::Turns;
