//! The control thread: everything that exists once in the process and is not on the request path.
//!
//! Here: [`run`], which checks backends, merges the shards' reports and broadcasts snapshots, carries
//! transitions to every shard, collects statistics when asked, and leads the process through its life
//! from signals to the end. Not here: starting shards (`main`), the admin pages (`admin`, which reads a
//! [`Desk`]), and every decision that can be made without a socket or a clock (`health`, `balance`,
//! and [`life`] beside this file).
//!
//! It may use a runtime of its own, since no request waits for it: tokio, one thread. Everything on it
//! shares the [`Desk`]; one loop, [`serve`], is all that sends to shards. Idle, it sleeps: nothing is
//! sent unless something changed, and nothing is polled.
//!
//! | file | what lives there |
//! |---|---|
//! | `desk` | what is known, what is due |
//! | `life` | serving, last requests, draining, stopping: a pure state machine |
//! | `outbox` | what a shard's mailbox has not yet taken |
//! | `collector` | statistics, a few boxes at a time |
//! | `prober`, `probe` | when to check, one check |
//! | `names` | names that move, looked up again and again |
//! | `resolve` | names to addresses, at start |

mod carried;
mod change;
mod collector;
mod desk;
mod life;
mod names;
mod outbox;
mod probe;
mod prober;
mod resolve;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod rig;
pub mod status;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

pub use carried::{
    Carried, CarriedBackend, CarriedCheck, CarriedEjection, CarriedName, CarriedPool, CarriedRemoval,
    Configured, VERSION as CARRIED_VERSION,
};
pub use change::{Change, ChangeRefused, Changed, ReloadRefused, Reloaded, Unconfirmed};
pub use desk::{BackendState, Desk, NotReady, Standing};
pub use life::ExitReason;
pub use names::{Found, LookUpFailed, Names, ResolvedAddress};
pub use probe::BadCheck;
pub use resolve::{ResolveRefused, ResolvedBackend, Unresolved, resolve};

use crate::config::Config;
use crate::mesh::{Receiver, Sender, ToControl, ToShard};
use crate::time::{Instant, Micros};
use std::io;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{LocalSet, spawn_local, yield_now};

/// Messages taken in one go, before whoever else is on the thread has a turn.
const MESSAGES_AT_ONCE: usize = 256;

/// The longest that a shard records without handing its box over, scraped or not: its histograms count
/// in 32 bits, which no traffic fills in this time.
const COLLECT_EVERY: Micros = Micros::from_s(600);

/// Control's way to a shard; its place in [`Setup::links`] is the shard's number.
pub struct ShardLink {
    /// The shard's mailbox.
    pub to_shard: Sender<ToShard>,
}

/// What control needs to know of the process.
pub struct Setup {
    /// The configuration.
    pub config: Arc<Config>,
    /// The backends, as [`resolve`] numbered them.
    pub backends: Arc<[ResolvedBackend]>,
    /// One a shard.
    pub links: Vec<ShardLink>,
    /// The clock that the shards use too: snapshots carry its time.
    pub clock: fn() -> Instant,
}

/// Why control could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlRefused {
    /// A health check's request is no HTTP.
    #[error(transparent)]
    Check(#[from] BadCheck),
    /// The kernel gave no descriptor for the runtime, a doorbell or the signals.
    #[error("the control thread cannot start: {0}; raise the limit of open files (ulimit -n)")]
    Io(#[from] io::Error),
}

/// Runs control on this thread until the process is to end. `surface` is called once, inside the
/// runtime, and may spawn local tasks that read the desk: the admin surface.
///
/// SIGTERM and SIGINT are taken over from here on.
///
/// # Errors
/// When it could not begin; shards that run already are then for the caller to end.
pub fn run(
    setup: Setup,
    mail: Receiver<ToControl>,
    surface: impl FnOnce(Desk),
) -> Result<ExitReason, ControlRefused> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (sender, signals) = mpsc::unbounded_channel();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            spawn_local(forward(signal(kind)?, sender.clone()));
        }
        serve(setup, mail, signals, surface).await
    })
}

async fn forward(mut signal: tokio::signal::unix::Signal, to: UnboundedSender<()>) {
    while signal.recv().await.is_some() && to.send(()).is_ok() {}
}

/// Control's loop: takes the shards' messages, sends what is due, sleeps until something is.
async fn serve(
    setup: Setup,
    mail: Receiver<ToControl>,
    mut signals: UnboundedReceiver<()>,
    surface: impl FnOnce(Desk),
) -> Result<ExitReason, ControlRefused> {
    let (desk, groups) = Desk::new(setup)?;
    // Deprecated for types whose descriptor may close or change meanwhile; its successor is unsafe for
    // their sake. A borrowed descriptor of `mail`, which outlives it here, does neither.
    #[allow(deprecated)]
    let doorbell = AsyncFd::with_interest(mail.doorbell(), Interest::READABLE)?;
    let seed = prober::random();
    for index in 0..groups {
        spawn_local(prober::check(desk.clone(), index, groups, seed));
    }
    spawn_local(collect_now_and_then(desk.clone()));
    surface(desk.clone());
    loop {
        let taken = std::iter::from_fn(|| mail.try_recv())
            .take(MESSAGES_AT_ONCE)
            .map(|message| desk.take(message))
            .count();
        let now = desk.now();
        let next = desk.send_due(now);
        if let Some(reason) = desk.over(now) {
            return Ok(reason);
        }
        if taken == MESSAGES_AT_ONCE || !mail.may_sleep() {
            yield_now().await;
            continue;
        }
        tokio::select! {
            rung = doorbell.readable() => {
                rung?.clear_ready();
                mail.silence();
            }
            () = desk.woken() => {}
            Some(()) = signals.recv() => desk.signal(),
            () = sleep_until(now, next) => {}
        }
        mail.awake();
    }
}

async fn sleep_until(now: Instant, then: Instant) {
    if then == Instant::NEVER {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep((then - now).as_duration()).await;
}

async fn collect_now_and_then(desk: Desk) {
    loop {
        tokio::time::sleep(COLLECT_EVERY.as_duration()).await;
        desk.collect().await;
    }
}
