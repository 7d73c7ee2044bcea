//! Which kernel this is, and what it says about io_uring and seccomp.

use std::fmt;
use std::fs;

/// A kernel's version, as far as weir asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of "6.12.21".
    pub major: u32,
    /// 12 of "6.12.21".
    pub minor: u32,
    /// 21 of "6.12.21".
    pub patch: u32,
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl KernelVersion {
    /// Reads "6.18.44-fc" and the like; what is missing counts as 0.
    pub fn parse(release: &str) -> Self {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { major: next(), minor: next(), patch: next() }
    }

    /// The running kernel's.
    pub fn running() -> Self {
        nix::sys::utsname::uname()
            .map(|names| Self::parse(&names.release().to_string_lossy()))
            .unwrap_or(Self { major: 0, minor: 0, patch: 0 })
    }
}

/// `kernel.io_uring_disabled`: 0 for everybody, 1 for the privileged, 2 for nobody; `None` before 6.6.
pub fn io_uring_disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Whether a seccomp filter holds for this process.
pub fn seccomp_filters() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_read() {
        for (release, expected) in
            [("6.18.44-fc-v669", (6, 18, 44)), ("6.1.0", (6, 1, 0)), ("7.0-rc1", (7, 0, 0)), ("", (0, 0, 0))]
        {
            let (major, minor, patch) = expected;
            assert_eq!(KernelVersion::parse(release), KernelVersion { major, minor, patch }, "{release}");
        }
    }
}
