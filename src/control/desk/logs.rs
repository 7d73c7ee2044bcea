//! The logs' files: opened again when somebody has moved them away; and what became of their lines.

use super::Desk;
use crate::log::access::Counts;
use crate::log::record::ReopenRefused;
use tokio::task::spawn_blocking;

impl Desk {
    /// Opens the access log's file again, and returns, in words, what came of it, once nothing goes to the old
    /// one any more. The log says it too.
    ///
    /// # Errors
    /// It cannot be opened: the old one goes on.
    pub async fn reopen_logs(&self) -> Result<String, ReopenRefused> {
        // A reload may be about to have it go elsewhere.
        let _one_at_a_time = self.0.reloading.lock().await;
        let Some(reopener) = self.0.journal.as_ref().map(|journal| journal.reopener()) else {
            return Ok(NOTHING.to_owned());
        };
        let access_log = self.config().access_log.clone();
        let opened = spawn_blocking(move || reopener.reopen(&access_log)).await;
        match opened.unwrap_or(Err(ReopenRefused::Busy)) {
            Ok(Some(path)) => {
                tracing::info!(file = %path.display(), "access log opened again");
                Ok(format!("the access log is open again: {}", path.display()))
            }
            Ok(None) => {
                tracing::info!("no log opened again: none goes to a file");
                Ok(NOTHING.to_owned())
            }
            Err(refused) => {
                tracing::error!("log not opened again, the old one goes on: {refused}");
                Err(refused)
            }
        }
    }

    /// What became of the access log's lines.
    pub fn access_log_counts(&self) -> Option<&Counts> {
        self.0.journal.as_ref().map(|journal| journal.counts())
    }
}

const NOTHING: &str = "no log goes to a file, so there is nothing to open again";
