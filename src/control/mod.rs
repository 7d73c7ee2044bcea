//! The control thread: everything that exists once in the process and is not on the request path.
//!
//! Here: [`run`], which checks backends, merges the shards' reports and broadcasts snapshots, carries
//! transitions to every shard, collects statistics when asked, and leads the process through its life
//! from signals to the end. Not here: starting shards (`main`), the admin pages (`admin`, which reads a
//! [`Desk`]), and every decision that can be made without a socket or a clock (`fleet`).
//!
//! It may use a runtime of its own, since no request waits for it: tokio, one thread. Everything on it
//! shares the [`Desk`]; one loop, [`serve`], is all that sends to shards. Idle, it sleeps: nothing is
//! sent unless something changed, and nothing is polled.
//!
//! | file | what lives there |
//! |---|---|
//! | `prober`, `probe` | when checks run, one check |
//! | `desk` | what is known, what is due; changes, reloads |
//! | `outbox` | what a shard's mailbox has not yet taken |
//! | `collector` | statistics, a few boxes at a time |
//! | `listening` | the listening sockets |
//! | `names`, `resolve` | names that move, looked up again and again; all of a configuration |
//! | `state` | run-time changes over a restart |
//! | `supervisor` | what the supervisor hears |

mod collector;
mod desk;
mod listening;
mod names;
mod outbox;
mod probe;
mod prober;
mod resolve;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod rig;
mod state;
mod supervisor;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests_change;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests_reload;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests_state;

pub use desk::{Desk, InUse, NotReady, Secrets, Transition, Watch};
pub use listening::{Group, Listening, spread};
pub use names::{Found, LookUpFailed, Names};
pub use resolve::{ResolveRefused, Unresolved};
pub use state::{StateFile, StateRefused};
pub use supervisor::Supervisor;

use crate::balance::name_hash;
use crate::config::Config;
use crate::fleet::{Addresses, Carried, ExitReason, World, known_names};
use crate::log::record::Journal;
use crate::mesh::{Pulse, Receiver, Sender, ToControl, ToShard};
use crate::time::{Instant, Micros};
use std::cell::RefCell;
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};

/// Messages taken in one go, before whoever else is on the thread has a turn.
const MESSAGES_AT_ONCE: usize = 256;

/// The longest that a shard records without handing its box over, scraped or not: its histograms count
/// in 32 bits, which no traffic fills in this time.
const COLLECT_EVERY: Micros = Micros::from_s(600);

/// Control's way to a shard; its place in [`Setup::links`] is the shard's number.
#[derive(Clone)]
pub struct ShardLink {
    /// The shard's mailbox.
    pub to_shard: Sender<ToShard>,
    /// Its heart.
    pub pulse: Arc<Pulse>,
}

/// Where the configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// [`ConfigFile::hash`] of the text that holds.
    pub hash: String,
}

impl ConfigFile {
    /// A configuration's text as 16 hexadecimal digits, by which two hosts are seen to have the same.
    pub fn hash(text: &str) -> String {
        format!("{:016x}", name_hash(text))
    }
}

/// What control needs to know of the process.
pub struct Setup {
    /// All that it decides about, with the topology that the shards were started with.
    pub world: World,
    /// The configuration's file; `None`: there is none, so it cannot be loaded again.
    pub source: Option<ConfigFile>,
    /// Where operators' changes are kept.
    pub state: Option<StateFile>,
    /// Certificates, keys and tickets.
    pub tls: Secrets,
    /// The listening sockets, which a successor may be given.
    pub listening: Rc<RefCell<Listening>>,
    /// Writes the records of exchanges.
    pub journal: Option<Rc<Journal>>,
    /// One a shard.
    pub links: Vec<ShardLink>,
    /// The clock that the shards use too: snapshots carry its time.
    pub clock: fn() -> Instant,
}

/// What happens to the process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT: it is to end.
    Leave,
    /// SIGHUP: the configuration is to be loaded again.
    Reload,
    /// SIGUSR2: the logs' files are to be opened again.
    Reopen,
}

/// Looks up the names of a configuration, before anything runs. What was `carried` is not asked for again:
/// it is looked up in the background once all runs.
///
/// # Errors
/// All names that do not resolve and all checks that are no HTTP, at once.
pub fn look_up(config: &Config, carried: Option<&Carried>) -> Result<Addresses, ResolveRefused> {
    let known = carried.map(known_names).unwrap_or_default();
    resolve::resolve_at_start(config, &known)
}

/// Why control could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlRefused {
    /// The kernel gave no descriptor for the runtime, a doorbell or the signals.
    #[error("the control thread cannot start: {0}; raise the limit of open files (ulimit -n)")]
    Io(#[from] io::Error),
}

/// Runs control on this thread until the process is to end. `surface` is called once, inside the
/// runtime, and may spawn local tasks that read the desk: the admin surface.
///
/// SIGTERM, SIGINT, SIGHUP and SIGUSR2 are taken over from here on.
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
        for (kind, meaning) in [
            (SignalKind::terminate(), Signal::Leave),
            (SignalKind::interrupt(), Signal::Leave),
            (SignalKind::hangup(), Signal::Reload),
            (SignalKind::user_defined2(), Signal::Reopen),
        ] {
            spawn_local(forward(signal(kind)?, meaning, sender.clone()));
        }
        serve(setup, mail, signals, surface).await
    })
}

async fn forward(mut signal: tokio::signal::unix::Signal, meaning: Signal, to: UnboundedSender<Signal>) {
    while signal.recv().await.is_some() && to.send(meaning).is_ok() {}
}

/// Control's loop: takes the shards' messages, sends what is due, sleeps until something is.
async fn serve(
    setup: Setup,
    mail: Receiver<ToControl>,
    mut signals: UnboundedReceiver<Signal>,
    surface: impl FnOnce(Desk),
) -> Result<ExitReason, ControlRefused> {
    let (desk, mut names_found) = Desk::new(setup);
    // Deprecated for types whose descriptor may close or change meanwhile; its successor is unsafe for
    // their sake. A borrowed descriptor of `mail`, which outlives it here, does neither.
    #[allow(deprecated)]
    let doorbell = AsyncFd::with_interest(mail.doorbell(), Interest::READABLE)?;
    desk.begin();
    let mut beside = JoinSet::new();
    beside.spawn_local(collect_now_and_then(desk.clone()));
    beside.spawn_local(desk.clone().keep_history());
    beside.spawn_local(desk.clone().watch_hearts());
    beside.spawn_local(desk.clone().watch_file());
    beside.spawn_local(desk.clone().rotate_ticket_keys());
    surface(desk.clone());
    loop {
        let taken = std::iter::from_fn(|| mail.try_recv())
            .take(MESSAGES_AT_ONCE)
            .map(|message| desk.take(message))
            .count();
        let now = desk.now();
        let next = desk.send_due(now);
        if let Some(reason) = desk.over(now) {
            desk.end();
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
            Some(signal) = signals.recv() => match signal {
                Signal::Leave => desk.signal(),
                Signal::Reload => reload(desk.clone()),
                Signal::Reopen => reopen(desk.clone()),
            },
            Some((key, found)) = names_found.recv() => desk.found(key, found),
            // The runtime keeps a task's panic to itself; without these the process is not whole.
            Some(Err(failed)) = beside.join_next() => if failed.is_panic() {
                resume_unwind(failed.into_panic());
            },
            () = sleep_until(now, next) => {}
        }
        mail.awake();
    }
}

/// What comes of it stands in the log.
fn reload(desk: Desk) {
    spawn_local(async move { desk.reload().await.is_ok() });
}

/// As there.
fn reopen(desk: Desk) {
    spawn_local(async move { desk.reopen_logs().await.is_ok() });
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
