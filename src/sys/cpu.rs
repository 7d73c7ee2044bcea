//! Which cores the process may use, and pinning a thread to one, or keeping it to some.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The cores that the process may use, ascending. Empty only if the kernel does not say.
pub fn available() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// Pins the calling thread to `core`; false if the kernel refuses.
pub fn pin(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Keeps the calling thread to `cores`; false if the kernel refuses, or there are none.
pub fn keep_to(cores: &[usize]) -> bool {
    let mut set = CpuSet::new();
    let known = cores.iter().filter(|core| set.set(**core).is_ok()).count();
    // Of the calling thread alone (sched_setaffinity(2)).
    known > 0 && sched_setaffinity(Pid::from_raw(0), &set).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_kept_to_some_cores_alone() {
        let all = available();
        let last = all[all.len() - 1..].to_vec();
        let there = std::thread::spawn(move || (keep_to(&last), available(), keep_to(&[])));
        assert_eq!(there.join().unwrap(), (true, all[all.len() - 1..].to_vec(), false));
        assert_eq!(available(), all);
    }
}
