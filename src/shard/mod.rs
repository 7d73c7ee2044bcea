//! A pinned core: its executor, ring, accept loops, mailbox, and the state that its connections share.
//!
//! Here: starting the thread, accepting, acting on control's messages, reporting. Not here: what happens on
//! a connection (`proxy`), and what the messages decide (`control`). Started by `serve`.

mod accept;
mod hand_over;
mod securing;
mod shift;
mod start;

pub use start::{ShardRefused, start};

use crate::config::Runtime;
use crate::log::record::Recorder;
use crate::mesh::{Neighbours, Pulse, Receiver, Sender, ToControl, ToShard};
use crate::proxy::Service;
use crate::ring::Ring;
use crate::time::Micros;
use crate::topology::{ListenerKey, Topology};
use crate::upstream::Upstreams;
use accept::Accepting;
use shift::ShardShift;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

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
    /// What it may have of the process's descriptors.
    pub descriptors: Descriptors,
    /// What is served at first.
    pub topology: Arc<Topology>,
    /// The listening sockets that it accepts on; a listener may have several.
    pub sockets: Vec<(ListenerKey, Arc<OwnedFd>)>,
    /// What control looks at to see that it lives.
    pub pulse: Arc<Pulse>,
    /// What control says.
    pub mail: Receiver<ToShard>,
    /// The other shards.
    pub neighbours: Neighbours,
    /// What is said to control.
    pub to_control: Sender<ToControl>,
}

/// A shard's part of the process's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Connections with clients, at least 1; and as many with backends.
    pub connections: usize,
    /// Pipes for long bodies.
    pub pipes: usize,
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

/// Runs the shard to its end. `begun` is called once it accepts.
async fn serve(mut plan: ShardPlan, recorder: Recorder, ring: Ring, begun: impl FnOnce()) {
    let upstreams = Upstreams::new(&ring, plan.number, plan.shards);
    let kept_max = crate::config::kept_max_bytes(&plan.runtime);
    let service = Service::new(ring.clone(), upstreams, kept_max, recorder);
    service.apply(&plan.topology);
    service.upstreams.bound(plan.descriptors.connections);
    ring.bound_pipes(plan.descriptors.pipes);
    let accepting = Accepting::new(&service, plan.descriptors.connections, plan.neighbours.clone());
    let sockets = std::mem::take(&mut plan.sockets);
    let spin = plan.runtime.spin;
    let shift = Rc::new(ShardShift::new(service.clone(), accepting, plan));
    shift.accept(&sockets);
    ring.spawn(shift::mind_doorbell(shift.clone()));
    ring.spawn(shift::mind_heart(shift.clone()));
    begun();
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
    service.end_records();
}
