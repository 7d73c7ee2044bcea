//! One connection to a backend, and the guards: what is taken must be given back.

use super::{Picked, Upstreams};
use crate::balance::BackendId;
use crate::ring::Stream;
use crate::time::Micros;
use std::rc::Rc;

/// A place among the shard's connections to a backend.
pub(super) struct Place {
    picked: Picked,
}

impl Place {
    pub(super) fn take(picked: &Picked) -> Self {
        let open = &picked.backend.open;
        open.set(open.get() + 1);
        Self { picked: picked.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.picked.backend.open;
        open.set(open.get() - 1);
    }
}

/// A connection to a backend. Dropping it closes it; [`Upstreams::keep`] keeps it.
pub struct Connection {
    /// The socket.
    pub stream: Stream,
    place: Place,
    reused: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, place: Place) -> Self {
        Self { stream, place, reused: false }
    }

    pub(super) fn reused(mut self) -> Self {
        self.reused = true;
        self
    }

    /// Whether it has served an exchange before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whose connection it is.
    pub fn picked(&self) -> &Picked {
        &self.place.picked
    }
}

/// An exchange in flight at a backend, from the moment of the pick until this is dropped: answered, failed
/// or cancelled alike.
#[must_use = "the exchange counts only while its guard lives"]
pub struct InFlight {
    upstreams: Rc<Upstreams>,
    id: BackendId,
}

impl InFlight {
    pub(super) fn new(upstreams: &Rc<Upstreams>, id: BackendId) -> Self {
        upstreams.view.admit(id);
        Self { upstreams: upstreams.clone(), id }
    }

    /// The backend served the exchange; the first byte of its answer took so long.
    pub fn passed(self, _first_byte: Micros) {}

    /// The backend failed it. `noticed`: a client got an error or a cut answer for it.
    pub fn failed(self, _word: &'static str, _noticed: bool) {}
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstreams.view.release(self.id);
    }
}
