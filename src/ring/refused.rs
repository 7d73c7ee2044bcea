//! Why this host gives weir no ring, and what to do about it.
//!
//! Kernel, sysctl and seccomp all show as the same few errnos; they are told apart here, so that an
//! operator reads one cause and one remedy. Called at start and by `weir check`.

use crate::sys::kernel::{self, KernelVersion};
use io_uring::IoUring;
use std::io;

/// The oldest kernel with all that the ring needs (DEFER_TASKRUN and multishot receive).
pub const OLDEST: KernelVersion = KernelVersion { major: 6, minor: 1, patch: 0 };

/// From here on the known faults of provided buffers and multishot receive are mended.
pub const RECOMMENDED: KernelVersion = KernelVersion { major: 6, minor: 12, patch: 21 };

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingRefused {
    /// The kernel lacks what the ring needs.
    #[error(
        "kernel {found} is too old for weir's ring; run Linux {OLDEST} or newer ({RECOMMENDED} or newer recommended)"
    )]
    KernelTooOld {
        /// The running kernel.
        found: KernelVersion,
    },
    /// The sysctl forbids it.
    #[error(
        "io_uring is switched off on this host (kernel.io_uring_disabled={level}{}); \
         set it to 0 with `sysctl -w kernel.io_uring_disabled=0`{}",
        if *.level == 1 { ", which leaves it to CAP_SYS_ADMIN and one group" } else { "" },
        if *.level == 1 {
            ", or put weir's user in the group whose number is kernel.io_uring_group"
        } else {
            ""
        }
    )]
    SwitchedOff {
        /// 1: forbidden to the unprivileged; 2: to everybody.
        level: u8,
    },
    /// A seccomp filter forbids it.
    #[error(
        "io_uring is forbidden by a seccomp filter, as Docker's default profile does; run the container with \
         `--security-opt seccomp=config/seccomp.json` (a profile that allows io_uring_setup, io_uring_enter and \
         io_uring_register)"
    )]
    Seccomp,
    /// The kernel would not give memory for it.
    #[error(
        "the kernel gives no memory for a ring; raise the limit of locked memory (`ulimit -l`, LimitMEMLOCK=)"
    )]
    Memory,
    /// Anything else.
    #[error("the kernel refuses a ring: {0}")]
    Other(io::Error),
}

impl RingRefused {
    /// Tells the cause behind an error of `io_uring_setup` or `io_uring_register`.
    pub(super) fn from_setup(error: io::Error) -> Self {
        diagnose(error, KernelVersion::running(), kernel::io_uring_disabled(), kernel::seccomp_filters())
    }
}

fn diagnose(error: io::Error, found: KernelVersion, disabled: Option<u8>, seccomp: bool) -> RingRefused {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) if found < OLDEST => RingRefused::KernelTooOld { found },
        Some(libc::EPERM) if disabled.is_some_and(|level| level > 0) && !seccomp => {
            RingRefused::SwitchedOff { level: disabled.unwrap_or_default() }
        }
        Some(libc::EPERM) if disabled == Some(2) => RingRefused::SwitchedOff { level: 2 },
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => RingRefused::Seccomp,
        Some(libc::ENOMEM) => RingRefused::Memory,
        _ => RingRefused::Other(error),
    }
}

/// Whether this host gives weir a ring; the running kernel's version if so.
///
/// # Errors
/// The cause and its remedy.
pub fn probe() -> Result<KernelVersion, RingRefused> {
    let found = KernelVersion::running();
    if found < OLDEST {
        return Err(RingRefused::KernelTooOld { found });
    }
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    builder.build(8).map(|_: IoUring| found).map_err(RingRefused::from_setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_apart_and_names_its_remedy() {
        let new = KernelVersion { major: 6, minor: 12, patch: 30 };
        let old = KernelVersion { major: 5, minor: 15, patch: 0 };
        for (case, errno, kernel, disabled, seccomp, remedy) in [
            ("sysctl", libc::EPERM, new, Some(2), false, "sysctl -w"),
            ("sysctl, unprivileged", libc::EPERM, new, Some(1), false, "sysctl -w"),
            ("sysctl, not in the group", libc::EPERM, new, Some(1), false, "kernel.io_uring_group"),
            ("seccomp", libc::EPERM, new, Some(0), true, "seccomp="),
            ("seccomp that denies the call", libc::ENOSYS, new, None, true, "seccomp="),
            ("both", libc::EPERM, new, Some(2), true, "sysctl -w"),
            ("old, no such call", libc::ENOSYS, old, None, false, "6.1"),
            ("old, no such flag", libc::EINVAL, old, None, false, "6.1"),
            ("memory", libc::ENOMEM, new, Some(0), false, "ulimit -l"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let said = diagnose(error, kernel, disabled, seccomp).to_string();
            assert!(said.contains(remedy), "{case}: {said}");
        }
    }
}
