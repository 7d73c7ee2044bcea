//! The checks' tasks: one a group, begun and ended with it.
//!
//! One check at a time and group, so a backend that hangs has one connection of ours, not a pile. When a
//! check is due is the group's to say, what came out the world's to judge; here is the waiting.

use super::desk::Desk;
use crate::fleet::groups::GroupId;
use crate::health::first_probe_after;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

/// The tasks, by group.
#[derive(Default)]
pub(super) struct Probers(BTreeMap<GroupId, Prober>);

/// One group's task; it ends, in the middle of a check or not, when this is dropped.
struct Prober {
    task: AbortHandle,
    /// A check is due at once.
    hurry: Rc<Notify>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probers {
    /// Ends the tasks of groups that are gone and begins those of new ones, spread over a while.
    pub(super) fn follow(&mut self, desk: &Desk, numbers: &[GroupId], seed: u64) {
        self.0.retain(|number, _| numbers.contains(number));
        let new: Vec<GroupId> =
            numbers.iter().copied().filter(|number| !self.0.contains_key(number)).collect();
        for (index, number) in new.iter().enumerate() {
            let hurry = Rc::new(Notify::new());
            let place = Place { index, of: new.len(), seed };
            let task = spawn_local(check(desk.clone(), *number, place, hurry.clone())).abort_handle();
            self.0.insert(*number, Prober { task, hurry });
        }
    }

    /// A check of this group is due at once.
    pub(super) fn hurry(&self, number: GroupId) {
        if let Some(prober) = self.0.get(&number) {
            prober.hurry.notify_one();
        }
    }

    /// Ends all tasks.
    pub(super) fn end(&mut self) {
        self.0.clear();
    }
}

/// A group's place among those that begin together.
struct Place {
    index: usize,
    of: usize,
    seed: u64,
}

/// Checks a group until it is gone.
async fn check(desk: Desk, number: GroupId, place: Place, hurry: Rc<Notify>) {
    let Some(interval) = desk.group(number, |group| group.interval()) else { return };
    sleep(first_probe_after(place.index, place.of, interval, place.seed).as_duration()).await;
    loop {
        let began = desk.now();
        let errand = desk.group(number, |group| {
            group.begins(began, random());
            group.errand()
        });
        let Some((prepared, address, timeout)) = errand else { return };
        let outcome = prepared.run(&address, timeout).await;
        desk.checked(number, &outcome, began);
        loop {
            let Some(next) = desk.group(number, |group| group.next(began)) else { return };
            let wait = (next - desk.now()).as_duration();
            if wait.is_zero() {
                break;
            }
            tokio::select! {
                () = sleep(wait) => {}
                // Whoever calls for haste has made the check due at once.
                () = hurry.notified() => break,
            }
        }
    }
}

/// 64 bits that nobody foresees, from the standard library's seed for hash tables.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
