//! Files that are watched: the configuration's, and those that it names for TLS (`runtime.watch`).
//!
//! Here: when they are to be loaded again. Not here: loading (`reload`).

use super::Desk;
use super::reload::{blocking, text};
use crate::control::ConfigFile;
use std::fs;
use std::time::{Duration, SystemTime};

/// Between two looks at a file that is watched.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// So many looks at the configuration's file to one at the files that it names, which may be thousands.
const SECRETS_EVERY: u32 = 2;

impl Desk {
    /// Reloads whenever the file is another one, while `runtime.watch` says so.
    pub(in crate::control) async fn watch_file(self) {
        let Some(source) = self.0.source.clone() else { return };
        let mut seen = self.0.configuration.borrow().hash.clone();
        let (mut found, mut tried) = (None, None);
        let (mut secrets, mut looks) = (SecretsWatch::default(), 0_u32);
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            looks = looks.wrapping_add(1);
            if !self.config().runtime.watch {
                // Once it is watched again, what is new is what differs from what holds.
                seen.clone_from(&self.0.configuration.borrow().hash);
                continue;
            }
            let is_due = looks.is_multiple_of(SECRETS_EVERY) && self.config().has_tls();
            if is_due && secrets.look(self.outdated_secrets().await) {
                tracing::info!("certificates' files changed");
                let _ = self.reload().await;
            }
            let stamp = stamp(&source);
            let still = stamp == found;
            found = stamp;
            // What is written in pieces is whole once a look finds it as the last one did.
            if !still || found.is_none() || found == tried {
                continue;
            }
            tried = found;
            let file = source.clone();
            let Ok(hash) = blocking(move || text(&file).map(|text| ConfigFile::hash(&text))).await else {
                continue;
            };
            if self.is_news(&hash, &seen) {
                tracing::info!(file = %source.path.display(), "the configuration's file changed");
                // What comes of it stands in the log.
                let _ = self.reload().await;
            }
            seen = hash;
        }
    }

    /// Whether a watched file with this hash, after one with the hash `seen`, is to be loaded. What holds
    /// already is, once, if another file was refused since: that is over now, and the metrics are to say so.
    fn is_news(&self, hash: &str, seen: &str) -> bool {
        let status = self.0.configuration.borrow();
        hash != seen && (hash != status.hash || status.last_reload.is_some())
    }
}

/// What was seen of the files that a configuration names.
#[derive(Default)]
struct SecretsWatch {
    found: Option<u64>,
    tried: Option<u64>,
}

impl SecretsWatch {
    /// Whether to load them, given a number for what is there if that is not what was read. As with the
    /// configuration's file: once it stays as it is, and once only.
    fn look(&mut self, outdated: Option<u64>) -> bool {
        let still = outdated.is_some() && outdated == self.found;
        self.found = outdated;
        let is_news = still && outdated != self.tried;
        if is_news {
            self.tried = outdated;
        }
        is_news
    }
}

/// What tells one writing of the file from another.
fn stamp(source: &ConfigFile) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(&source.path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
