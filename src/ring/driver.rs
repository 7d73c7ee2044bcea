//! The loop that turns a shard's ring, and how its tasks are started.
//!
//! A turn submits what the tasks queued, hands out what completed and lets the woken tasks run. When
//! nothing is left the shard sleeps *in its own ring*. That is right only if nobody is runnable and
//! nothing but this ring can wake the shard. So each task goes through [`Ring::spawn`], which counts its
//! polls; the loop yields once more before it sleeps, and sleeps only if that yield polled no task. (All
//! tasks stand in one queue, first in first out: who was runnable has run by then.)
//!
//! Not here: what the tasks do. Called by `shard`.

use super::Ring;
use super::looks::Look;
use crate::sys::clock;
use crate::time::{Instant, Micros};
use glommio::{executor, spawn_local, timer::Timer};
use std::cell::{Cell, RefMut};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The longest sleep: a shard that lives shows it this often.
pub const HEARTBEAT: Micros = Micros::from_ms(100);

/// Yields that polled a task before the loop looks at its ring in any case: tasks that wake each other
/// must not starve it.
const YIELDS_MAX: u32 = 4;

/// What the loop asks of its shard.
pub trait Shift {
    /// Once a turn: look after what must not wait for a sleep.
    fn each_turn(&self, now: Instant);
    /// Whether the shard may sleep: no message waits for it.
    fn may_sleep(&self) -> bool;
    /// When it must be awake again at the latest.
    fn sleep_until(&self) -> Instant;
    /// It has woken.
    fn awake(&self);
    /// So many completions were handled, none of which waited for the loop longer than `at_most`.
    fn handled(&self, completions: u64, at_most: Micros);
}

/// A task whose polls are counted and whose panics end nothing but itself.
struct Counted<F> {
    polls: Rc<Cell<u64>>,
    task: F,
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        // SAFETY: `task` is pinned with its owner: it is never moved out, `Counted` has no `Drop` that
        // could, and it is `Unpin` only if the task is.
        let task = unsafe { self.map_unchecked_mut(|counted| &mut counted.task) };
        catch_unwind(AssertUnwindSafe(|| task.poll(cx))).unwrap_or_else(|_| {
            tracing::error!("a task panicked; its connection is closed, the shard goes on");
            Poll::Ready(())
        })
    }
}

impl Ring {
    /// Starts a task on this shard. Every task must be started here, or the shard may sleep over it: also one that
    /// the shift starts, so it counts as polled already.
    #[allow(clippy::disallowed_methods, reason = "this is the one place: it counts the polls")]
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.polls.set(self.0.polls.get() + 1);
        spawn_local(Counted { polls: self.0.polls.clone(), task }).detach();
    }

    /// Turns the ring until `stop` holds. `spin`: how long to look at the ring before sleeping.
    pub async fn drive(&self, spin: Micros, shift: &impl Shift, stop: &Cell<bool>) {
        start_safety_net().await;
        let mut yields = 0;
        let mut last_event = clock::now();
        while !stop.get() {
            let before = self.0.polls.get();
            executor().yield_now().await;
            if self.0.polls.get() != before && yields < YIELDS_MAX {
                yields += 1;
                continue;
            }
            yields = 0;
            let has_work = self.0.core.borrow_mut().has_work(&self.0.buffers);
            if has_work || self.0.polls.get() != before {
                if self.turn(shift) {
                    last_event = self.now();
                }
                shift.each_turn(self.now());
                continue;
            }
            if !spin.is_zero() && self.spin(shift) {
                last_event = self.now();
                continue;
            }
            shift.each_turn(self.now());
            if self.now().since(last_event) < spin {
                continue;
            }
            if shift.may_sleep() && self.0.polls.get() == before {
                self.park(shift.sleep_until(), shift);
            }
            shift.awake();
            last_event = self.now();
        }
    }

    /// Submits and completes without waiting. Whether anything came.
    fn turn(&self, shift: &impl Shift) -> bool {
        let mut core = self.0.core.borrow_mut();
        let came = core.turn(&self.0.buffers);
        self.tick(core, Look::AWAKE, shift);
        came
    }

    /// A turn with nothing to do. Whether anything came.
    fn spin(&self, shift: &impl Shift) -> bool {
        let (looked, polls) = (self.now(), self.0.looks.borrow().polls());
        let came = self.turn(shift);
        // Tasks may have run since the look before; that was no spinning.
        if self.0.polls.get() == polls {
            self.0.core.borrow_mut().counts.spun_us += self.now().since(looked).as_us();
        }
        came
    }

    fn park(&self, until: Instant, shift: &impl Shift) {
        let mut core = self.0.core.borrow_mut();
        let begun = clock::now();
        let length = core.deadlines.next().min(until).since(begun).min(HEARTBEAT);
        let look = Look { slept_from: Some(begun), waited_for: core.is_waited_for() };
        core.park(length);
        core.take_completions(&self.0.buffers);
        self.tick(core, look, shift);
    }

    /// The turn's one look at the clock, and what is left to do after it.
    fn tick(&self, mut core: RefMut<'_, super::core::Core>, look: Look, shift: &impl Shift) {
        let now = clock::now();
        self.0.now.set(now);
        if let Some(begun) = look.slept_from {
            core.counts.parked_us += now.since(begun).as_us();
        }
        let handled =
            self.0.looks.borrow_mut().looked(now, look, core.counts.completions, self.0.polls.get());
        core.fire_deadlines(now);
        core.relieve(now, &self.0.buffers);
        if core.unneeded.is_empty() {
            drop(core);
        } else {
            let mut unneeded = std::mem::take(&mut core.unneeded);
            drop(core);
            unneeded.clear();
            self.0.core.borrow_mut().unneeded = unneeded;
        }
        if let Some((completions, at_most)) = handled {
            shift.handled(completions, at_most);
        }
    }

    /// The time as of this turn.
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }
}

/// Timers of the safety net that are armed at once.
const NET_TIMERS: u32 = 8;

/// glommio can park although a task is runnable (its preempt timer fires between its poll and the first
/// task, and it takes the round for idle). Timers of its own that are always armed bound that sleep. Of a
/// single timer that would not be true: when it has fired, and glommio parks once more before the task has
/// run that arms it again, nothing is left to wake it. So there are several, a heartbeat apart.
#[allow(clippy::disallowed_methods, reason = "the safety net is the one thing that waits for glommio")]
async fn start_safety_net() {
    let heartbeat = Duration::from_micros(HEARTBEAT.as_us());
    let mut armed: VecDeque<Timer> = VecDeque::new();
    let mut arm = move |cx: &mut Context<'_>| {
        armed.retain_mut(|timer| Pin::new(timer).poll(cx).is_pending());
        for nth in armed.len() as u32 + 1..=NET_TIMERS {
            let mut timer = Timer::new(heartbeat * nth);
            if Pin::new(&mut timer).poll(cx).is_pending() {
                armed.push_back(timer);
            }
        }
    };
    // At once, and not when the task first runs: it may be the one that is slept over.
    poll_fn(|cx| {
        arm(cx);
        Poll::Ready(())
    })
    .await;
    spawn_local(poll_fn(move |cx| {
        arm(cx);
        Poll::<()>::Pending
    }))
    .detach();
}
