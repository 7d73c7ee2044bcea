//! The deadline of a wait, on the ring, made only when something is waited for.

use crate::ring::{Ring, Sleep};
use crate::time::Instant;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;

/// A timer that may be armed again and again.
#[derive(Default)]
pub(super) struct Timer(RefCell<Option<(Instant, Sleep)>>);

impl Timer {
    /// Whether `due` has passed; if not, `cx` is woken when it does.
    pub(super) fn is_over(&self, ring: &Ring, due: Instant, cx: &mut Context<'_>) -> bool {
        if ring.now() >= due {
            return true;
        }
        if due == Instant::NEVER {
            return false;
        }
        let mut armed = self.0.borrow_mut();
        let (until, sleep) = armed.get_or_insert_with(|| (due, ring.sleep_until(due)));
        if *until != due {
            *until = due;
            sleep.put_off(due);
        }
        // Over for a wait before this one, it has been put off by now.
        Pin::new(sleep).poll(cx).is_ready()
    }
}
