//! What takes long, done on a thread of its own which gives way to the shards.
//!
//! Reading a configuration with thousands of certificates or routes takes tens of milliseconds and more of a core. On
//! a shard's core such a thread would take turns with the shard, and each turn be a stall. Called by `reload.rs` and
//! `secrets.rs`; what waits (files, sockets) and does not compute is tokio's (`reload::blocking`).

use super::Desk;
use crate::config::expand;
use crate::fleet::change::ReloadRefused;
use crate::sys::{cpu, priority};
use std::thread;
use tokio::sync::oneshot;

impl Desk {
    /// Does `work` on a thread that has the lowest priority, and keeps off the shards' cores where there are others.
    ///
    /// # Errors
    /// There is no thread, or the work has panicked.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReloadRefused> {
        let (done, result) = oneshot::channel();
        let cores = self.cores_without_shards();
        let begun = thread::Builder::new().name("weir-aside".to_owned()).spawn(move || {
            priority::give_way();
            cpu::keep_to(&cores);
            // Control has ended meanwhile if nobody waits for it.
            let _ = done.send(work());
        });
        let failed = |cause: String| ReloadRefused::Impossible(vec![cause]);
        begun.map_err(|error| failed(format!("there is no thread to read a configuration on: {error}")))?;
        result.await.map_err(|_| failed("a fault of weir: reading a configuration has panicked".to_owned()))
    }

    /// Cores on which no shard runs. There may be none.
    fn cores_without_shards(&self) -> Vec<usize> {
        let all = cpu::available();
        let taken = expand(&self.0.started_with.runtime.cores, &all).unwrap_or_default();
        all.into_iter().filter(|core| !taken.contains(core)).collect()
    }
}
