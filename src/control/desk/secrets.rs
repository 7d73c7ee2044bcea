//! Certificates, keys and tickets, as control looks after them: loaded again with the configuration, on a thread that
//! gives way to the shards; ticket keys replaced in time, and handed to a successor.
//!
//! Not here: what is in the files (`tls`), when a configuration is loaded (`reload`).

use super::Desk;
use crate::config::{Config, Fault};
use crate::control::sleep_until;
use crate::fleet::change::ReloadRefused;
use crate::tls::{CertificateFacts, HandedKeys, Loaded, Loader, Tickets};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::spawn_local;

/// Between two looks whether what held before is used by anybody still.
const BURY_EVERY: Duration = Duration::from_secs(5);

/// The certificates of a configuration.
#[derive(Clone, Debug, Default)]
pub struct InUse {
    /// By place among the listeners.
    pub listeners: Vec<Vec<Arc<CertificateFacts>>>,
    /// What backends that ask are shown, with the name of the pool.
    pub pools: Vec<(String, Arc<CertificateFacts>)>,
}

/// What a process begins with.
pub struct Secrets {
    /// What has read the files of the configuration, and reads them again.
    pub loader: Loader,
    /// The keys of session tickets.
    pub tickets: Arc<Tickets>,
    /// What the shards were started with.
    pub certificates: InUse,
}

/// The desk's part.
pub(super) struct Kept {
    /// Locked by the threads that load, one at a time, and never on control's own.
    loader: Arc<Mutex<Loader>>,
    tickets: Arc<Tickets>,
    certificates: RefCell<InUse>,
    /// Somebody looks whether what held before is used by anybody still.
    burying: Cell<bool>,
}

impl From<Secrets> for Kept {
    fn from(Secrets { loader, tickets, certificates }: Secrets) -> Self {
        let (loader, certificates) = (Arc::new(Mutex::new(loader)), RefCell::new(certificates));
        Self { loader, tickets, certificates, burying: Cell::new(false) }
    }
}

impl Desk {
    /// Reads what has changed of what `config` names. Nothing of it holds yet.
    pub(super) async fn load_secrets(&self, config: Arc<Config>) -> Result<Loaded, ReloadRefused> {
        if !config.has_tls() && !self.config().has_tls() {
            return Ok(Loaded::default());
        }
        let loaded = self.with_loader(move |loader| loader.load(&config)).await?;
        loaded.map_err(|refused| ReloadRefused::Wrong(refused.0.0.iter().map(Fault::to_string).collect()))
    }

    /// Whether a file has changed since it was read; a number for what is there now.
    pub(super) async fn outdated_secrets(&self) -> Option<u64> {
        self.with_loader(|loader| loader.outdated()).await.ok()?
    }

    /// These hold now. What held before goes once nobody uses it.
    pub(super) fn follow_secrets(&self, certificates: InUse) {
        let before = self.0.secrets.certificates.replace(certificates);
        if before.listeners.iter().all(Vec::is_empty) || self.0.secrets.burying.replace(true) {
            return;
        }
        let desk = self.clone();
        spawn_local(async move {
            loop {
                tokio::time::sleep(BURY_EVERY).await;
                if desk.with_loader(Loader::bury).await.unwrap_or(true) {
                    break;
                }
            }
            desk.0.secrets.burying.set(false);
            tracing::debug!("what certificates were made into before the last reload is used by nobody");
        });
    }

    /// The certificates in use.
    pub fn certificates(&self) -> InUse {
        self.0.secrets.certificates.borrow().clone()
    }

    /// The keys of session tickets, for a successor.
    pub fn hand_on_ticket_keys(&self) -> HandedKeys {
        self.0.secrets.tickets.hand_on(self.now())
    }

    /// Replaces the keys of session tickets in time, until control ends.
    pub(in crate::control) async fn rotate_ticket_keys(self) {
        loop {
            sleep_until(self.now(), self.0.secrets.tickets.rotates_at()).await;
            self.0.secrets.tickets.rotate(self.now());
            tracing::debug!("session tickets are made with another key from now on");
        }
    }

    /// Has the loader do what takes long.
    async fn with_loader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Loader) -> T + Send + 'static,
    ) -> Result<T, ReloadRefused> {
        let loader = self.0.secrets.loader.clone();
        // A loader that has panicked has half a memory, which makes it read more and nothing else.
        self.aside(move || work(&mut loader.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}
