//! Threads that give way to all others.

/// The lowest priority that there is (nice(2)): such a thread gets what others leave.
const LOWEST: libc::c_int = 19;

/// Has the calling thread, and no other, give way to all others. Refused, it goes on as it is.
pub fn give_way() {
    // SAFETY: the call takes numbers only. On Linux a priority is a thread's, and 0 is the calling one.
    #[allow(unsafe_code)]
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The 19th field of its `stat`; the name has no blank.
    fn nice() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.split_whitespace().nth(18).unwrap().to_owned()
    }

    #[test]
    fn a_thread_gives_way_alone() {
        let before = nice();
        let there = std::thread::Builder::new().name("low".to_owned());
        let there = there.spawn(|| {
            give_way();
            nice()
        });
        assert_eq!((there.unwrap().join().unwrap().as_str(), nice()), ("19", before));
    }
}
