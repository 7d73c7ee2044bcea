//! TLS handshakes with backends: done when a connection is made, within its time.
//!
//! A handshake that fails is a failed connect with a cause of its own: counted, and told in the log at most once a
//! second for each pool, since the operator can act on nearly all of them. Called by `mod.rs`.

use super::UNSEALED;
use super::connection::Picked;
use crate::config::Protocol;
use crate::metrics::{Handshake, Side};
use crate::ring::{Fault, Ring, Stream};
use crate::time::Instant;
use crate::tls::{self, Failure, Sealed, Turns};
use crate::topology::BackendTls;
use std::cell::RefCell;

/// What came to be known of handshakes before control asks: so many at most.
const COME_TO_MAX: usize = 1 << 16;

/// A shard's.
#[derive(Default)]
pub(super) struct Sealing {
    pub(super) turns: Turns,
    /// What they came to.
    pub(super) come_to: RefCell<Vec<Handshake>>,
}

impl Sealing {
    /// Shakes hands with `picked` over `stream`.
    ///
    /// # Errors
    /// The deadline, or [`UNSEALED`]: also where HTTP/2 is to be spoken, and the backend did not agree to.
    pub(super) async fn seal(
        &self,
        ring: &Ring,
        stream: Stream,
        tls: &BackendTls,
        due: Instant,
        picked: &Picked,
    ) -> Result<Sealed, Fault> {
        let shaken = tls::connect(ring, stream, &tls.config, &tls.server_name, due, &self.turns).await;
        match shaken {
            Ok(shaken) => {
                self.count(shaken.counted_as());
                if picked.backend.protocol.get() == Protocol::Http2 && shaken.protocol != tls::Protocol::Http2
                {
                    say(ring, picked, || "the backend does not offer HTTP/2 (h2 by ALPN)".to_owned());
                    return Err(Fault::Os(UNSEALED));
                }
                Ok(shaken.sealed)
            }
            Err(failure) => {
                self.count(failure.counted_as());
                say(ring, picked, || failure.reason(Side::Backend));
                Err(if matches!(failure, Failure::TimedOut) { Fault::TimedOut } else { Fault::Os(UNSEALED) })
            }
        }
    }

    fn count(&self, came_to: Handshake) {
        let mut all = self.come_to.borrow_mut();
        if all.len() < COME_TO_MAX {
            all.push(came_to);
        }
    }
}

fn say(ring: &Ring, picked: &Picked, reason: impl FnOnce() -> String) {
    if let Some(times) = picked.pool().unsealed.count(ring.now()) {
        let (pool, backend, reason) = (picked.pool().name().to_owned(), picked.backend_name(), reason());
        tracing::warn!(pool, backend, times, reason, "no TLS handshake with a backend");
    }
}
