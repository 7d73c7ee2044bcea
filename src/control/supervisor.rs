//! What the supervisor hears of the process: that it serves, loads again, ends, and that it is alive.
//!
//! Here: when which notice is told. Not here: the socket and the messages (`sys::notify`). Without a
//! supervisor, or with one that does not listen, everything goes on as it is: a notice that is not heard is
//! told of in the log, once. The watchdog is fed by control, but only while every shard that lives beats, so
//! that a supervisor restarts a process whose control thread is the last thing in it that runs.

use super::Desk;
use crate::sys::notify::{Notice, Notifier, watchdog_interval};
use crate::time::{Instant, Micros};
use std::cell::Cell;
use std::rc::Rc;
use tokio::task::spawn_local;

/// The supervisor's patience is used up by a quarter at a time: a shard that is late once does not cost the
/// process its life.
const FED_PER_INTERVAL: u64 = 4;

/// A handle to the supervisor, if there is one; on control's thread. Cloning it copies a pointer.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Rc<Told>>);

#[derive(Debug)]
struct Told {
    notifier: Notifier,
    watchdog: Option<Micros>,
    /// The process ends, or another one is the service's main one now: nothing more is to be said.
    stage: Cell<Stage>,
    /// The last notice was not heard, and the log says so.
    is_deaf: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    Stopping,
    HandedOver,
}

impl Supervisor {
    /// The supervisor that the environment names, if it names one. `predecessor` is the process that this one
    /// takes over from: the supervisor's watchdog watches this one in its place.
    pub fn from_environment(predecessor: Option<u32>) -> Self {
        match Notifier::from_environment() {
            Ok(notifier) => Self::of(notifier, watchdog_interval(predecessor)),
            Err(error) => {
                tracing::warn!(%error, "the supervisor hears nothing of weir");
                Self::default()
            }
        }
    }

    fn of(notifier: Option<Notifier>, watchdog: Option<Micros>) -> Self {
        let told = |notifier| {
            Rc::new(Told { notifier, watchdog, stage: Cell::new(Stage::Serving), is_deaf: Cell::new(false) })
        };
        Self(notifier.map(told))
    }

    /// It serves: all shards accept; or it serves on after a reload, whether that changed anything or not.
    pub fn ready(&self, status: &str) {
        self.tell_while(Stage::Serving, &Notice::Ready { status });
    }

    /// It loads its configuration again; [`Self::ready`] must follow.
    pub fn reloading(&self, now: Instant) {
        self.tell_while(Stage::Serving, &Notice::Reloading { since: now });
    }

    /// What is worth a line in `systemctl status`.
    pub fn status(&self, status: &str) {
        self.tell_while(Stage::Serving, &Notice::Status(status));
    }

    /// It ends; said once, however often it is called.
    pub fn stopping(&self) {
        self.tell_while(Stage::Serving, &Notice::Stopping { status: "finishing what is in flight" });
        self.leave(Stage::Stopping);
    }

    /// Another process serves in this one's place. Only the main process may say so, and it must not say
    /// that the service stops.
    pub fn succeeded_by(&self, pid: u32) {
        self.tell_while(Stage::Serving, &Notice::MainPid(pid));
        self.leave(Stage::HandedOver);
    }

    fn leave(&self, to: Stage) {
        if let Some(told) = self.0.as_ref().filter(|told| told.stage.get() == Stage::Serving) {
            told.stage.set(to);
        }
    }

    fn tell_while(&self, stage: Stage, notice: &Notice<'_>) {
        if let Some(told) = self.0.as_ref().filter(|told| told.stage.get() == stage) {
            told.tell(notice);
        }
    }
}

impl Told {
    fn tell(&self, notice: &Notice<'_>) {
        let told = self.notifier.tell(notice);
        let was_deaf = self.is_deaf.replace(told.is_err());
        match told {
            Err(error) if !was_deaf => tracing::warn!(%error, ?notice, "the supervisor did not hear"),
            Err(_) | Ok(()) => {}
        }
    }
}

impl Desk {
    /// The process serves, and `supervisor` is to hear of its life from here on.
    pub fn supervise(&self, supervisor: Supervisor) {
        let supervisor = self.supervisor().get_or_init(|| supervisor);
        supervisor.ready(&self.in_words());
        let desk = self.clone();
        spawn_local(feed(supervisor.clone(), move || desk.hearts_beat()));
    }

    /// Tells the supervisor, if there is one.
    pub fn supervised(&self, tell: impl FnOnce(&Supervisor)) {
        if let Some(supervisor) = self.supervisor().get() {
            tell(supervisor);
        }
    }

    /// How it is, in a line.
    pub(super) fn in_words(&self) -> String {
        let (serving, all) = (self.serving(), self.shards().len());
        if serving < all {
            format!("degraded: {serving} of {all} shards serve")
        } else {
            format!("{all} shards serve")
        }
    }
}

/// Feeds the supervisor's watchdog, if it has one, as long as `all_is_well`. Meant to be spawned.
pub(super) async fn feed(supervisor: Supervisor, all_is_well: impl Fn() -> bool) {
    let Some(told) = supervisor.0 else { return };
    let Some(interval) = told.watchdog else { return };
    let every = Micros::from_us((interval.as_us() / FED_PER_INTERVAL).max(1));
    // While it ends too: work in flight has until the end of `grace`.
    while told.stage.get() != Stage::HandedOver {
        if all_is_well() {
            told.tell(&Notice::Watchdog);
        } else {
            tracing::warn!("a shard does not beat: the supervisor's watchdog is not fed");
        }
        tokio::time::sleep(every.as_duration()).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::task::LocalSet;

    /// A supervisor and weir's handle to it.
    fn supervised(watchdog: Option<Micros>) -> (UnixDatagram, Supervisor) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-supervisor-{}-{number}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = Notifier::at(format!("@{name}").as_ref()).unwrap();
        (socket, Supervisor::of(Some(notifier), watchdog))
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut text = [0; 512];
        while let Ok(len) = socket.recv(&mut text) {
            let words = String::from_utf8_lossy(&text[..len]);
            all.push(words.lines().next().unwrap().to_owned());
        }
        all
    }

    #[test]
    fn a_life_is_told_and_its_end_once() {
        let (socket, supervisor) = supervised(None);
        supervisor.ready("2 shards");
        supervisor.reloading(Instant::from_us(5));
        supervisor.ready("2 shards");
        supervisor.stopping();
        supervisor.stopping();
        supervisor.status("late");
        supervisor.ready("too late");
        supervisor.succeeded_by(7);
        assert_eq!(heard(&socket), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
    }

    #[test]
    fn who_was_succeeded_names_its_successor_and_is_silent() {
        let (socket, supervisor) = supervised(None);
        supervisor.succeeded_by(4711);
        supervisor.stopping();
        assert_eq!(heard(&socket), ["MAINPID=4711"]);
    }

    #[test]
    fn without_a_supervisor_nothing_happens() {
        let supervisor = Supervisor::default();
        supervisor.ready("");
        supervisor.stopping();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(feed(supervisor, || unreachable!("there is no watchdog")));
    }

    #[test]
    fn the_watchdog_is_fed_four_times_an_interval_and_only_while_all_is_well() {
        let (socket, supervisor) = supervised(Some(Micros::from_s(30)));
        let is_well = Rc::new(Cell::new(true));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (fed, hungry, handed_over) = LocalSet::new().block_on(&runtime, async {
            let asked = is_well.clone();
            let feeding = spawn_local(feed(supervisor.clone(), move || asked.get()));
            let after = async |seconds| {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                heard(&socket).len()
            };
            let fed = after(29).await;
            is_well.set(false);
            let hungry = after(60).await;
            is_well.set(true);
            supervisor.succeeded_by(1);
            let _ = after(60).await;
            (fed, hungry, feeding.is_finished())
        });
        assert_eq!((fed, hungry, handed_over), (4, 0, true));
    }
}
