//! What this process uses: CPU, memory, descriptors, and since when.
//!
//! All of it by a handful of calls and one small file, so it can be asked at every scrape. Called by `admin`.

use super::limits;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a process uses now; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all its threads so far.
    pub cpu: Option<Duration>,
    /// Bytes that it has in RAM.
    pub resident_bytes: Option<u64>,
    /// Bytes of addresses that it has taken.
    pub virtual_bytes: Option<u64>,
    /// Open descriptors.
    pub open_descriptors: Option<u64>,
    /// How many it may open.
    pub descriptors_max: Option<u64>,
    /// When it began, in seconds since 1970; the same at every call.
    pub started_unix_s: Option<f64>,
}

/// What this process uses.
pub fn usage() -> Usage {
    static STARTED: OnceLock<Option<f64>> = OnceLock::new();
    let memory = memory();
    Usage {
        cpu: clock(ClockId::CLOCK_PROCESS_CPUTIME_ID),
        resident_bytes: memory.map(|(_, resident)| resident),
        virtual_bytes: memory.map(|(size, _)| size),
        open_descriptors: open_descriptors(),
        descriptors_max: limits::descriptors().map(|limit| limit.soft),
        started_unix_s: *STARTED.get_or_init(started),
    }
}

fn clock(id: ClockId) -> Option<Duration> {
    let at = clock_gettime(id).ok()?;
    Some(Duration::new(at.tv_sec().try_into().ok()?, at.tv_nsec().try_into().ok()?))
}

/// Its size and what of it is resident, in bytes.
fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let page: u64 = sysconf(SysconfVar::PAGE_SIZE).ok()??.try_into().ok()?;
    let mut pages = text.split_whitespace().map_while(|number| number.parse::<u64>().ok());
    Some((pages.next()? * page, pages.next()? * page))
}

/// Kernels from 6.2 on say how many there are without listing them, which takes long if there are many.
fn open_descriptors() -> Option<u64> {
    match std::fs::metadata("/proc/self/fd").ok()?.size() {
        // The listing opens one itself.
        0 => Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

/// When the process began: the wall clock less its age.
#[allow(clippy::disallowed_methods, reason = "people and Prometheus read dates; nothing is decided by this")]
fn started() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let hertz = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
    let began_s = started_ticks(&stat)? as f64 / hertz;
    let age_s = clock(ClockId::CLOCK_BOOTTIME)?.as_secs_f64() - began_s;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    // To the tick, as it was read.
    Some(((now.as_secs_f64() - age_s) * 100.0).round() / 100.0)
}

/// The 22nd field of `/proc/PID/stat`. The second is a name in parentheses, in which anything may stand.
fn started_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_behind_any_name() {
        let rest = "S 1 1 1 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 8115 227540992 1000";
        for name in ["weir", "a b", "a) (b", ")"] {
            assert_eq!(started_ticks(&format!("17 ({name}) {rest}")), Some(8_115), "{name}");
        }
        assert_eq!(started_ticks("17 (weir) S 1"), None);
    }

    #[test]
    fn this_process_uses_something_of_everything_and_began_once() {
        let first = usage();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let second = usage();
        assert!(first.cpu.unwrap() <= second.cpu.unwrap());
        let (resident, size) = (second.resident_bytes.unwrap(), second.virtual_bytes.unwrap());
        assert!((1 << 20..size).contains(&resident), "{resident} of {size}");
        let (open, most) = (second.open_descriptors.unwrap(), second.descriptors_max.unwrap());
        assert!((4..=most).contains(&open), "{open} of {most}");
        assert_eq!(first.started_unix_s, second.started_unix_s);
        assert!(second.started_unix_s.unwrap() > 1.6e9);
        drop(file);
    }
}
