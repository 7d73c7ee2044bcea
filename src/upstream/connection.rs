//! One connection to a backend, and the guards: what is taken must be given back.

use super::Upstreams;
use super::backend::{Backend, Failure};
use super::pool::{Pool, log2_of};
use crate::balance::BackendId;
use crate::limit::Life;
use crate::streams::{ClientStream, Fate};
use crate::time::Micros;
use crate::wire::Wire;
use std::cell::Cell;
use std::rc::Rc;

/// A backend that was picked for an exchange. It stays valid whatever becomes of the topology.
#[derive(Clone)]
pub struct Picked {
    pub(super) backend: Rc<Backend>,
    pub(super) pool: Rc<Pool>,
    pub(super) trial: bool,
}

impl Picked {
    /// The backend's number in the process.
    pub fn id(&self) -> BackendId {
        self.backend.id()
    }

    /// The pool that it was picked from: the one that was asked, or its fallback.
    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// The backend's name in its pool.
    pub fn backend_name(&self) -> &str {
        self.backend.name()
    }

    /// The backend was ejected, and this exchange tries whether it is well again.
    pub fn is_trial(&self) -> bool {
        self.trial
    }
}

/// A place among the shard's connections to a backend, and to all backends.
pub(super) struct Place {
    backend: Rc<Backend>,
    /// The shard's connections to all backends.
    all: Rc<Cell<usize>>,
}

impl Place {
    pub(super) fn take(picked: &Picked, all: &Rc<Cell<usize>>) -> Self {
        let open = &picked.backend.open;
        open.set(open.get() + 1);
        all.set(all.get() + 1);
        Self { backend: picked.backend.clone(), all: all.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.backend.open;
        open.set(open.get() - 1);
        self.all.set(self.all.get() - 1);
    }
}

/// What an exchange has of a connection.
enum Held {
    /// All of it.
    Whole { _place: Place, life: Life },
    /// A stream, and what became of it.
    Stream(Fate),
}

/// A connection to a backend, or a stream of one that others use too. Dropping it closes it;
/// [`Upstreams::keep`] keeps it.
pub struct Connection {
    /// What it goes over.
    pub stream: Wire,
    picked: Picked,
    /// In a box, since it is kept in the memory of every connection of a client.
    held: Box<Held>,
    made: bool,
    reused: bool,
    ends: bool,
}

impl Connection {
    pub(super) fn new(stream: Wire, picked: &Picked, place: Place, life: Life) -> Self {
        let held = Box::new(Held::Whole { _place: place, life });
        Self { stream, picked: picked.clone(), held, made: true, reused: false, ends: false }
    }

    /// A stream, for which its connection was made.
    pub(super) fn stream(picked: &Picked, stream: ClientStream) -> Self {
        let held = Box::new(Held::Stream(stream.fate()));
        let stream = Wire::Layered(Box::new(stream));
        Self { stream, picked: picked.clone(), held, made: true, reused: false, ends: false }
    }

    /// It was made for another exchange.
    pub(super) fn made_by_another(mut self) -> Self {
        self.made = false;
        self
    }

    /// It serves no further exchange: the backend would take the next request for the rest of this one.
    pub fn end_with_this(&mut self) {
        self.ends = true;
    }

    /// Whether it serves no further exchange; a stream never does.
    pub(super) fn ends(&self) -> bool {
        self.ends || self.is_shared()
    }

    /// How long it has lived; `None`: it is a stream, whose connection's life is not its own.
    pub(super) fn life(&self) -> Option<&Life> {
        match &*self.held {
            Held::Whole { life, .. } => Some(life),
            Held::Stream(_) => None,
        }
    }

    /// It has carried an exchange.
    pub(super) fn count(&mut self) {
        if let Held::Whole { life, .. } = &mut *self.held {
            life.count();
        }
    }

    /// It serves another exchange, which picked its backend for reasons of its own.
    pub(super) fn reused(mut self, picked: &Picked) -> Self {
        (self.made, self.reused) = (false, true);
        self.picked.trial = picked.trial;
        self
    }

    /// Whether it is new, and this is the exchange to which that is told.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Whether a failure of its exchange may be no more than that of a connection that has served before, and died;
    /// or the backend has refused a stream, which another connection may have room for.
    pub fn is_reused(&self) -> bool {
        match &*self.held {
            Held::Whole { .. } => self.reused,
            Held::Stream(fate) => fate.is_untouched() || self.reused && fate.is_its_connections(),
        }
    }

    /// Whether it is a stream, which the backend may refuse before it has begun with the request.
    pub fn is_shared(&self) -> bool {
        matches!(*self.held, Held::Stream(_))
    }

    /// Whose connection it is.
    pub fn picked(&self) -> &Picked {
        &self.picked
    }
}

/// An exchange in flight at a backend, from the moment of the pick until it has passed or failed, or this
/// is dropped, which says nothing of the backend: the client went away, say.
#[must_use = "the exchange counts only while its guard lives"]
pub struct InFlight {
    upstreams: Rc<Upstreams>,
    picked: Picked,
    /// It keeps its place a while longer.
    lingers: bool,
}

impl InFlight {
    pub(super) fn new(upstreams: &Rc<Upstreams>, picked: &Picked) -> Self {
        upstreams.view.admit(picked.id());
        Self { upstreams: upstreams.clone(), picked: picked.clone(), lingers: false }
    }

    /// The backend served it; its first byte came so long after the request's last.
    pub fn passed(self, first_byte: Micros) {
        let log2 = log2_of(first_byte);
        let Picked { backend, pool, trial } = &self.picked;
        pool.responded(log2);
        backend.passed(log2, *trial);
        if pool.ejects() {
            self.upstreams.to_report(backend);
        }
    }

    /// The backend failed it. It keeps its place for about the pool's median response time, or a backend
    /// that fails fast would look idle and attract everything.
    pub fn failed(mut self, word: &'static str, noticed: bool) {
        let Picked { backend, trial, .. } = &self.picked;
        backend.failed(Failure { word, noticed }, *trial, self.upstreams.now());
        self.upstreams.to_report(backend);
        self.lingers = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Picked { backend, pool, trial } = &self.picked;
        if *trial {
            pool.trial_over(backend.id());
        }
        if self.lingers {
            self.upstreams.linger(backend, pool.middle_response());
        } else {
            self.upstreams.view.release(backend.id());
        }
    }
}
