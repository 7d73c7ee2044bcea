//! Starting a shard: its thread, its executor, its ring.
//!
//! glommio can sleep over an executor's very first task, before any timer is armed that would wake it: if
//! the thread loses its core for as long as the preempt timer lasts between two steps. So the plan waits for
//! that first task to take it, and if it does not, another thread is started; the one that sleeps finds
//! nothing should it ever wake.

use super::{ShardPlan, serve};
use crate::config::Runtime;
use crate::log::record::Recorder;
use crate::mesh::{Refused, ToControl};
use crate::ring::{Ring, RingRefused, RingSettings};
use crate::sys::cpu;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// glommio's preempt timer: long, since a short one makes it park over a runnable task more often.
const PREEMPT: Duration = Duration::from_millis(10);

/// Locked memory that glommio's own rings take; weir's sockets do not use them.
const GLOMMIO_MEMORY: usize = 64 << 10;

/// How long a thread may take before another one is tried as well.
const START_WITHIN: Duration = Duration::from_secs(2);

/// Between two tries of a shard that is over to tell control so.
const TELL_AGAIN: Duration = Duration::from_millis(10);

/// Threads that are tried.
const TRIES: usize = 5;

/// Why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum ShardRefused {
    /// This host gives no ring.
    #[error(transparent)]
    Ring(#[from] RingRefused),
    /// No thread.
    #[error("cannot start a shard's thread: {0}")]
    Thread(#[from] io::Error),
    /// It neither started nor failed in time.
    #[error("a shard did not start within 10 s; start weir again")]
    Stuck,
    /// glommio's executor does not start.
    #[error("cannot start a shard's executor: {0}")]
    Executor(String),
}

/// What waits for a thread's first task, and what it tells.
struct Start {
    plan: Mutex<Option<(ShardPlan, Recorder)>>,
    number: u16,
    core: usize,
    runtime: Runtime,
}

/// How a thread fared, by its place among those that were tried.
type Told = (usize, Result<(), ShardRefused>);

/// Starts a shard and returns once it accepts. `recorder` takes the records of its exchanges.
///
/// # Errors
/// Why it does not.
pub fn start(plan: ShardPlan, recorder: Recorder) -> Result<JoinHandle<()>, ShardRefused> {
    let (tell, told) = mpsc::channel();
    let start = Arc::new(Start {
        number: plan.number,
        core: plan.core,
        runtime: plan.runtime.clone(),
        plan: Mutex::new(Some((plan, recorder))),
    });
    let mut threads = Vec::new();
    for place in 0..TRIES {
        let (start, tell) = (start.clone(), tell.clone());
        let name = format!("weir-shard-{}", start.number);
        threads.push(thread::Builder::new().name(name).spawn(move || live(&start, place, &tell))?);
        match told.recv_timeout(START_WITHIN) {
            Ok((place, Ok(()))) => return Ok(threads.swap_remove(place)),
            Ok((_, Err(refused))) => return Err(refused),
            // `tell` is kept here, so it cannot be disconnected.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                tracing::warn!(
                    place,
                    "a shard's thread has not started within {START_WITHIN:?}; trying another"
                );
            }
        }
    }
    Err(ShardRefused::Stuck)
}

/// A shard's thread.
#[allow(clippy::disallowed_methods, reason = "it sleeps only when its shard is over")]
fn live(start: &Start, place: usize, tell: &mpsc::Sender<Told>) {
    let mut to_control = None;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let (executor, ring) = prepare(start)?;
        executor.run(async {
            let taken = start.plan.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((plan, recorder)) = taken {
                to_control = Some(plan.to_control.clone());
                // If nobody listens, the process is ending.
                serve(plan, recorder, ring, || drop(tell.send((place, Ok(()))))).await;
            }
        });
        Ok(())
    }));
    let error = match ran {
        Ok(Ok(())) => None,
        Ok(Err(refused)) => {
            // Nobody but `start` listens.
            let _ = tell.send((place, Err(refused)));
            None
        }
        Err(_) => {
            let error = "its thread panicked";
            let _ = tell.send((place, Err(ShardRefused::Executor(error.to_owned()))));
            Some(error.to_owned())
        }
    };
    if let Some(to_control) = to_control {
        // If control is gone, nobody is left to tell. If it is behind, it must hear of it all the same: others
        // are to accept in this shard's place.
        let mut message = ToControl::Ended { shard: start.number, error };
        while let Err(Refused::Full(back)) = to_control.send(message) {
            message = back;
            thread::sleep(TELL_AGAIN);
        }
    }
}

fn prepare(start: &Start) -> Result<(LocalExecutor, Ring), ShardRefused> {
    if !cpu::pin(start.core) {
        tracing::warn!(
            shard = start.number,
            core = start.core,
            "the kernel does not pin this shard to its core"
        );
    }
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(GLOMMIO_MEMORY)
        .preempt_timer(PREEMPT)
        .make()
        .map_err(|error| match error.to_string() {
            // glommio wants 512 KiB for its own rings.
            locked if locked.contains("MemLockLimit") => RingRefused::Memory.into(),
            other => ShardRefused::Executor(other),
        })?;
    let ring = Ring::new(&RingSettings {
        entries: start.runtime.ring_entries,
        buffers: start.runtime.buffers,
        buffer_size: start.runtime.buffer_size,
    })?;
    Ok((executor, ring))
}
