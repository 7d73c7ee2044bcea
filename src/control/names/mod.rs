//! Names that move: the addresses of host names and services, looked up again and again.
//!
//! [`Names::first`] looks a name up before anything is changed, at the start and for a reload;
//! [`Names::watch`] looks it up again at its records' TTL within bounds, and tells whenever what was found
//! differs. What is found is a whole set: whoever hears of it swaps the old one for it. A look-up that
//! fails is told once as well, and changes nothing; it is tried again, less and less often.
//! [`Names::doubt`] is for when no address of a name can be connected to: it may have moved before its
//! TTL was over. Called by `control`, on its `LocalSet`; one look-up is `look_up.rs`.

mod look_up;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

use crate::config::BackendAddress;
use crate::fleet::ResolvedAddress;
use look_up::LookUps;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

/// Between two look-ups of a name, whatever the TTL.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(300);

/// After the first look-up that failed, and after many.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A name could not be looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot look up {name:?}: {cause}")]
pub struct LookUpFailed {
    /// The name.
    pub name: String,
    /// What the look-up said.
    pub cause: String,
}

/// What a look-up found: the name's addresses, at least one, always in the same order.
pub type Found = Result<Vec<ResolvedAddress>, LookUpFailed>;

/// The names that are watched.
pub struct Names {
    look_ups: Rc<LookUps>,
    watched: RefCell<HashMap<u64, Watched>>,
}

struct Watched {
    doubted: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    /// Asks the DNS server at `server`; `None`: those of `/etc/resolv.conf`. In any case `/etc/hosts` comes
    /// first. Nothing is asked yet.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { look_ups: Rc::new(LookUps::new(server)), watched: RefCell::default() }
    }

    /// Looks an address up, once. One that is no name is what it says.
    ///
    /// # Errors
    /// It has no address, or nobody knows.
    pub async fn first(&self, address: &BackendAddress) -> Found {
        self.look_ups.look_up(address).await.map(|answer| answer.addresses)
    }

    /// Looks an address up from now on, and tells `to`, with the `key`, what is found: the first time, and
    /// whenever it differs from what was told last. An address that is no name is told once. What was
    /// watched under the key before is forgotten.
    pub fn watch(&self, key: u64, address: BackendAddress, to: UnboundedSender<(u64, Found)>) {
        let doubted = Rc::new(Notify::new());
        let task = spawn_local(watch(self.look_ups.clone(), key, address, doubted.clone(), to));
        self.watched.borrow_mut().insert(key, Watched { doubted, task });
    }

    /// Looks the address under a key up no more.
    pub fn forget(&self, key: u64) {
        self.watched.borrow_mut().remove(&key);
    }

    /// What is known of the address under a key may no longer hold: it is looked up at once, but not twice
    /// within a second.
    pub fn doubt(&self, key: u64) {
        if let Some(watched) = self.watched.borrow().get(&key) {
            watched.doubted.notify_one();
        }
    }
}

/// Until whoever listens is gone, or the task is aborted.
async fn watch(
    look_ups: Rc<LookUps>,
    key: u64,
    address: BackendAddress,
    doubted: Rc<Notify>,
    to: UnboundedSender<(u64, Found)>,
) {
    let (mut told, mut failures) = (None, 0);
    loop {
        let began = Instant::now();
        let (found, again_in) = match look_ups.look_up(&address).await {
            Ok(answer) => {
                failures = 0;
                (Ok(answer.addresses), answer.ttl.clamp(TTL_MIN, TTL_MAX))
            }
            Err(failed) => {
                failures += 1;
                (Err(failed), retry_in(failures))
            }
        };
        if told.as_ref() != Some(&found) {
            if to.send((key, found.clone())).is_err() {
                return;
            }
            told = Some(found);
        }
        if !matches!(address, BackendAddress::Name(..) | BackendAddress::Service(_)) {
            return;
        }
        let doubt = async {
            doubted.notified().await;
            sleep_until(began + TTL_MIN).await;
        };
        tokio::select! {
            () = sleep(again_in) => {}
            () = doubt => {}
        }
    }
}

/// How long to wait after so many failures in a row.
fn retry_in(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY_MAX)
}
