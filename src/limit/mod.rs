//! What nobody outside may exhaust: exact counts of connections, and who makes room where there is none.
//!
//! Here: [`ConnectionCounts`], one a listener, shared by all its shards; [`longest_waiting`], which connections
//! of a full shard end for a new one; [`Life`], when a connection has lived long enough; [`is_lighter`], which
//! shard takes one where there are few; [`OncePerSecond`], for a line that says so. Pure: addresses, draws and `now` come in, values go out. Not here: sockets, and when it is asked (`shard`, at accepts alone).

mod connections;
mod life;
mod once;
mod spread;
mod waiting;

pub use connections::{ClientKey, ConnectionCounts, ConnectionLimits, Exceeded, Place};
pub use life::{Life, LifeLimits, LifeOver};
pub use once::OncePerSecond;
pub use spread::{Turnover, is_lighter};
pub use waiting::{WAIT_MIN, Wait, longest_waiting};
