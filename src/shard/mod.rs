//! A pinned core: its executor, ring, accept loops, mailbox, and the state that its connections share.
//!
//! Here: starting the thread, accepting, acting on control's messages, reporting. Not here: what happens on
//! a connection (`proxy`), and what the messages decide (`control`). Started by `serve`.

mod accept;
mod shift;

use crate::config::Runtime;
use crate::mesh::{Pulse, Receiver, Refused, Sender, ToControl, ToShard};
use crate::proxy::Service;
use crate::ring::{Ring, RingRefused, RingSettings};
use crate::sys::cpu;
use crate::time::Micros;
use crate::topology::{ListenerKey, Topology};
use crate::upstream::Upstreams;
use accept::Accepting;
use glommio::{LocalExecutorBuilder, Placement};
use shift::ShardShift;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// glommio's preempt timer: long, since a short one makes it park over a runnable task more often.
const PREEMPT: Duration = Duration::from_millis(10);

/// Locked memory that glommio's own rings take; weir's sockets do not use them.
const GLOMMIO_MEMORY: usize = 64 << 10;

/// How long a shard may take to start. glommio can sleep over the very first task, before any timer is
/// armed that would wake it; that has been seen only with preempt timers far shorter than ours.
const START_WITHIN: Duration = Duration::from_secs(10);

/// Between two tries of a shard that is over to tell control so.
const TELL_AGAIN: Duration = Duration::from_millis(10);

/// How long a stopped shard waits for the kernel to let go of its operations.
const WIND_UP: Micros = Micros::from_ms(500);

/// What a shard is started with.
pub struct ShardPlan {
    /// From 0.
    pub number: u16,
    /// How many shards there are.
    pub shards: usize,
    /// The core to pin to.
    pub core: usize,
    /// `[runtime]`
    pub runtime: Runtime,
    /// What is served at first.
    pub topology: Arc<Topology>,
    /// The listening sockets that it accepts on; a listener may have several.
    pub sockets: Vec<(ListenerKey, Arc<OwnedFd>)>,
    /// What control looks at to see that it lives.
    pub pulse: Arc<Pulse>,
    /// What control says.
    pub mail: Receiver<ToShard>,
    /// What is said to control.
    pub to_control: Sender<ToControl>,
}

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

/// Starts a shard and returns once it accepts.
///
/// # Errors
/// Why it does not.
pub fn start(plan: ShardPlan) -> Result<JoinHandle<()>, ShardRefused> {
    let (tell, told) = mpsc::channel();
    let thread = thread::Builder::new().name(format!("weir-shard-{}", plan.number)).spawn(move || {
        let (number, to_control) = (plan.number, plan.to_control.clone());
        let ran = catch_unwind(AssertUnwindSafe(|| run(plan, &tell)));
        let error = match ran {
            Ok(Ok(())) => None,
            Ok(Err(refused)) => {
                let said = refused.to_string();
                // Before the start nobody but `start` listens; after it, nobody does.
                let _ = tell.send(Err(refused));
                Some(said)
            }
            Err(_) => Some("its thread panicked".to_owned()),
        };
        // If control is gone, nobody is left to tell. If it is behind, it must hear of it all the same: others
        // are to accept in this shard's place.
        let mut message = ToControl::Ended { shard: number, error };
        while let Err(Refused::Full(back)) = to_control.send(message) {
            message = back;
            thread::sleep(TELL_AGAIN);
        }
    })?;
    match told.recv_timeout(START_WITHIN) {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(refused)) => Err(refused),
        Err(RecvTimeoutError::Disconnected) => {
            Err(ShardRefused::Executor("the shard's thread ended".to_owned()))
        }
        Err(RecvTimeoutError::Timeout) => Err(ShardRefused::Stuck),
    }
}

fn run(plan: ShardPlan, tell: &mpsc::Sender<Result<(), ShardRefused>>) -> Result<(), ShardRefused> {
    if !cpu::pin(plan.core) {
        tracing::warn!(
            shard = plan.number,
            core = plan.core,
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
    let runtime = &plan.runtime;
    let ring = Ring::new(&RingSettings {
        entries: runtime.ring_entries,
        buffers: runtime.buffers,
        buffer_size: runtime.buffer_size,
    })?;
    executor.run(serve(plan, ring, tell));
    Ok(())
}

/// Panics of a shard's loop after which not even its last connections are served.
const PANICS_MAX: u32 = 3;

/// A future whose panic is its end, and nobody else's.
struct Guarded<F>(Pin<Box<F>>);

impl<F: Future> Future for Guarded<F> {
    type Output = thread::Result<F::Output>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

async fn serve(mut plan: ShardPlan, ring: Ring, tell: &mpsc::Sender<Result<(), ShardRefused>>) {
    let upstreams = Upstreams::new(&ring, plan.number, plan.shards);
    let kept_max = crate::config::kept_max_bytes(&plan.runtime);
    let service = Service::new(ring.clone(), upstreams, kept_max);
    service.apply(&plan.topology);
    let accepting = Accepting::new(&service, plan.runtime.max_connections);
    let sockets = std::mem::take(&mut plan.sockets);
    let spin = plan.runtime.spin;
    let shift = Rc::new(ShardShift::new(service.clone(), accepting, plan));
    shift.accept(&sockets);
    ring.spawn(shift::mind_doorbell(shift.clone()));
    ring.spawn(shift::mind_heart(shift.clone()));
    // If nobody listens, the process is ending.
    let _ = tell.send(Ok(()));
    let mut panics = 0;
    while Guarded(Box::pin(ring.drive(spin, &*shift, shift.stopped()))).await.is_err() {
        panics += 1;
        if panics == PANICS_MAX {
            break;
        }
        shift.die();
    }
    service.upstreams.close_idle();
    ring.wind_up(WIND_UP);
}
