//! Backends that could not be reached, each left alone by this shard for a while.
//!
//! Passive, local and short: one failed connect says that the next would fail as well, and picks that are
//! spared need no retry. It ends by itself, by control's word, or when nobody else is left.

use super::backend::Backend;
use super::pool::Pool;
use crate::balance::BackendId;
use crate::time::Instant;
use std::rc::Rc;

/// The backends, and until when.
#[derive(Default)]
pub(super) struct Unreachable(Vec<(Instant, Rc<Backend>, Rc<Pool>)>);

impl Unreachable {
    /// Whether the backend is left alone.
    pub(super) fn has(&self, backend: &Rc<Backend>) -> bool {
        self.0.iter().any(|(_, known, _)| Rc::ptr_eq(known, backend))
    }

    /// The backend, which is not left alone yet, is so until then.
    pub(super) fn add(&mut self, until: Instant, backend: &Rc<Backend>, pool: &Rc<Pool>) {
        self.0.push((until, backend.clone(), pool.clone()));
    }

    /// Control has said what this backend gets.
    pub(super) fn remove(&mut self, id: BackendId) {
        self.0.retain(|(_, backend, _)| backend.id() != id);
    }

    /// Gives those that `over` holds for what control said that they get; `false`: there are none.
    pub(super) fn release(&mut self, over: impl Fn((Instant, &Rc<Pool>)) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(until, backend, pool)| {
            let ends = over((*until, pool));
            if ends {
                pool.set_traffic(backend.id(), backend.told());
            }
            !ends
        });
        self.0.len() < before
    }
}

/// Whether a connect failed for want of something on this host, which says nothing of the backend.
pub(super) fn is_ours(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL)
}
