//! The checks of the kernel: its version against those that are known to be bad, and its io_uring.
//!
//! A range stands in [`KNOWN`] only with a report of the fault that can be read. The reports name versions that
//! were tried, not always the first and the last with the fault: where they do not say which release mends it
//! (6.1.8, 6.6.18, 6.6.60, 6.7.6), the end is the release in which stable took the mending to our knowledge, and
//! has not been tried here.

use super::host::{Facts, Kernel};
use super::{Finding, Level, Plan, sysctl};
use crate::ring::{OLDEST, RECOMMENDED, RingRefused};
use crate::sys::kernel::KernelVersion;

/// Versions with a fault in what weir uses.
struct Known {
    from: KernelVersion,
    /// The first version without it.
    until: KernelVersion,
    level: Level,
    what: &'static str,
    source: &'static str,
}

const fn version(major: u32, minor: u32, patch: u32) -> KernelVersion {
    KernelVersion { major, minor, patch }
}

const HANGS: &str = "processes with io_uring hang in it and cannot be killed";
const WRONG_ACCEPT: &str = "a multishot accept may give a descriptor that is none, with DEFER_TASKRUN";

const KNOWN: [Known; 7] = [
    Known {
        from: version(6, 1, 7),
        until: version(6, 1, 8),
        level: Level::Missing,
        what: "multishot receives use up all provided buffers",
        source: "https://github.com/axboe/liburing/issues/778",
    },
    Known {
        from: version(6, 1, 115),
        until: version(6, 1, 119),
        level: Level::Missing,
        what: HANGS,
        source: "https://github.com/amazonlinux/amazon-linux-2023/issues/840",
    },
    Known {
        from: version(6, 6, 57),
        until: version(6, 6, 60),
        level: Level::Missing,
        what: HANGS,
        source: "https://github.com/NixOS/nixpkgs/issues/353709",
    },
    Known {
        from: version(6, 6, 0),
        until: version(6, 6, 18),
        level: Level::Missing,
        what: WRONG_ACCEPT,
        source: "https://github.com/axboe/liburing/issues/1062",
    },
    Known {
        from: version(6, 7, 0),
        until: version(6, 7, 6),
        level: Level::Missing,
        what: WRONG_ACCEPT,
        source: "https://github.com/axboe/liburing/issues/1062",
    },
    // What RECOMMENDED asks of 6.12, of the series beside it: the report has one fix in 6.12.21, 6.13.9 and 6.14.
    Known {
        from: version(6, 13, 0),
        until: version(6, 13, 9),
        level: Level::Advice,
        what: "it has faults in io_uring that 6.12.21 and 6.13.9 mend",
        source: "https://github.com/scylladb/seastar/issues/2728",
    },
    Known {
        from: version(6, 15, 4),
        until: version(6, 15, 5),
        level: Level::Advice,
        what: "its io_uring is many times slower than 6.15.3's or 6.15.5's",
        source: "https://github.com/ghostty-org/ghostty/issues/7724",
    },
];

pub(super) fn examine(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    let Facts { kernel, .. } = facts;
    vec![kernel_version(kernel), io_uring(facts, plan), features(kernel)]
}

fn kernel_version(kernel: &Kernel) -> Finding {
    const CHECK: &str = "kernel";
    let Some(found) = kernel.version else {
        return Finding::unseen(CHECK, "/proc/sys/kernel/osrelease cannot be read");
    };
    let release = kernel.release.as_deref().unwrap_or_default();
    let named = if release.starts_with(&found.to_string()) {
        release.to_owned()
    } else {
        format!("{release}, which is {found}")
    };
    if found < OLDEST {
        let remedy = format!(
            "run Linux {OLDEST} or newer ({RECOMMENDED} or newer recommended). A distribution's kernel that is \
             numbered lower and has newer io_uring ported back, as Red Hat's 5.14, will not do: weir goes by the number"
        );
        return Finding::missing(CHECK, format!("{named}: too old for weir's ring"), remedy);
    }
    let known = KNOWN.iter().find(|known| (known.from..known.until).contains(&found));
    if let Some(Known { level, what, source, until, .. }) = known {
        let mended = if *until < RECOMMENDED { RECOMMENDED } else { *until };
        let remedy = format!(
            "run Linux {mended} or newer, at the least {until}; or make sure that your distribution has ported the \
             mending back ({source})"
        );
        return Finding {
            check: CHECK,
            level: *level,
            what: format!("{named}: {what}"),
            remedy: Some(remedy),
        };
    }
    if found < RECOMMENDED {
        let remedy = format!(
            "run Linux {RECOMMENDED} or newer; a distribution's kernel may have the mending ported back, which its \
             number does not show"
        );
        return Finding::advice(CHECK, format!("{named}: has faults in the io_uring that weir uses"), remedy);
    }
    Finding::ok(CHECK, named)
}

fn io_uring(facts: &Facts, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "io_uring";
    let kernel = &facts.kernel;
    let refused = match &kernel.ring {
        None => return Finding::unseen(CHECK, "no ring was tried"),
        Some(Ok(_)) => return allowed(CHECK, facts, plan),
        Some(Err(refused)) => refused,
    };
    let remedy = match refused {
        RingRefused::KernelTooOld { .. } => format!("run Linux {OLDEST} or newer"),
        RingRefused::SwitchedOff { level } => switched_on(*level, kernel.group),
        RingRefused::Seccomp => {
            "docker run --security-opt seccomp=config/seccomp.json …; in Kubernetes put that file \
             under the kubelet's seccomp/ folder and name it with `seccompProfile: {type: Localhost, \
             localhostProfile: …}`; under systemd allow @io-event in SystemCallFilter="
                .to_owned()
        }
        RingRefused::Memory => {
            "ulimit -l unlimited; LimitMEMLOCK=infinity in the unit; docker run --ulimit memlock=-1"
                .to_owned()
        }
        RingRefused::Other(_) => "look in the kernel's log (`dmesg`) for what it says of io_uring".to_owned(),
    };
    Finding::missing(CHECK, told(refused), remedy)
}

/// What is wrong, without the remedy that stands beside it.
fn told(refused: &RingRefused) -> String {
    match refused {
        RingRefused::KernelTooOld { found } => format!("kernel {found} is too old for weir's ring"),
        RingRefused::SwitchedOff { level } => {
            format!("io_uring is switched off by the sysctl kernel.io_uring_disabled={level}")
        }
        RingRefused::Seccomp => {
            "io_uring is forbidden by a seccomp filter, as Docker's default profile does".to_owned()
        }
        RingRefused::Memory => "the kernel gives no memory for a ring: the limit of locked memory".to_owned(),
        RingRefused::Other(error) => format!("the kernel refuses a ring: {error}"),
    }
}

fn switched_on(level: u8, group: Option<i64>) -> String {
    let on = sysctl("kernel.io_uring_disabled=0");
    match (level, group) {
        (1, Some(0..)) => {
            format!("{on}; or make weir's user a member of the group kernel.io_uring_group names")
        }
        (1, _) => format!("{on}; or, for weir's group alone: sysctl -w kernel.io_uring_group=$(id -g weir)"),
        _ => on,
    }
}

/// A ring there is; whether there will be one for the user that weir becomes.
fn allowed(check: &'static str, facts: &Facts, plan: &Plan<'_>) -> Finding {
    let is_restricted = facts.kernel.disabled == Some(1);
    match &plan.runtime.user {
        Some(user) if is_restricted && facts.privileges.administers == Some(true) => Finding::advice(
            check,
            format!(
                "kernel.io_uring_disabled=1 allows a ring to the privileged, as this process is; {user} may be refused"
            ),
            switched_on(1, facts.kernel.group),
        ),
        _ => Finding::ok(check, "allowed"),
    }
}

fn features(kernel: &Kernel) -> Finding {
    const CHECK: &str = "io_uring_features";
    match &kernel.ring {
        None => Finding::unseen(CHECK, "no ring was tried"),
        Some(Err(_)) => Finding::unseen(CHECK, "there is no ring to ask (see io_uring)"),
        Some(Ok(lacking)) if lacking.is_empty() => {
            Finding::ok(CHECK, "a ring with weir's flags, its buffer ring and all its operations")
        }
        Some(Ok(lacking)) => Finding::missing(
            CHECK,
            format!("this kernel's io_uring lacks {}", lacking.join(", ")),
            format!("run Linux {RECOMMENDED} or newer, built with CONFIG_IO_URING and CONFIG_NET"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Advice, Missing, Ok as Fine, Unseen};
    use super::super::tests::{config, only, says};
    use super::*;
    use std::io;

    fn of(release: &str) -> Vec<Finding> {
        let version = Some(KernelVersion::parse(release));
        let kernel = Kernel { release: Some(release.into()), version, ..Kernel::default() };
        found(kernel)
    }

    fn found(kernel: Kernel) -> Vec<Finding> {
        examine(&Facts { kernel, ..Facts::default() }, &Plan::new(None, &[0]))
    }

    #[test]
    fn each_known_fault_begins_and_ends_where_the_table_says() {
        for (release, level, part) in [
            ("5.14.0-503.el9", Missing, "Red Hat"),
            ("6.0.19", Missing, "too old"),
            ("6.1.0", Advice, "6.12.21"),
            ("6.1.6", Advice, "6.12.21"),
            ("6.1.7", Missing, "liburing/issues/778"),
            ("6.1.8", Advice, "6.12.21"),
            ("6.1.114", Advice, "6.12.21"),
            ("6.1.115", Missing, "cannot be killed"),
            ("6.1.118", Missing, "at the least 6.1.119"),
            ("6.1.119", Advice, "6.12.21"),
            ("6.5.13", Advice, "6.12.21"),
            ("6.6.0", Missing, "multishot accept"),
            ("6.6.17", Missing, "at the least 6.6.18"),
            ("6.6.18", Advice, "6.12.21"),
            ("6.6.56", Advice, "6.12.21"),
            ("6.6.57", Missing, "cannot be killed"),
            ("6.6.59", Missing, "at the least 6.6.60"),
            ("6.6.60", Advice, "6.12.21"),
            ("6.7.5", Missing, "multishot accept"),
            ("6.7.6", Advice, "6.12.21"),
            ("6.12.20", Advice, "6.12.21"),
            ("6.12.21", Fine, ""),
            ("6.13.0", Advice, "6.13.9"),
            ("6.13.8", Advice, "6.13.9"),
            ("6.13.9", Fine, ""),
            ("6.15.3", Fine, ""),
            ("6.15.4", Advice, "slower"),
            ("6.15.5", Fine, ""),
            ("6.18.44", Fine, "6.18.44"),
        ] {
            says(&of(release), "kernel", level, &[part, release]);
        }
        only(&found(Kernel::default()), "kernel", Unseen);
    }

    #[test]
    fn a_distributions_name_is_shown_with_the_version_behind_it() {
        let version = Some(version(6, 1, 115));
        let kernel = Kernel { release: Some("6.1.0-27-amd64".into()), version, ..Kernel::default() };
        says(&found(kernel), "kernel", Missing, &["6.1.0-27-amd64, which is 6.1.115", "hang"]);
    }

    #[test]
    fn each_reason_for_no_ring_has_its_own_words_and_remedy() {
        let eperm = || io::Error::from_raw_os_error(libc::EPERM);
        for (refused, part, absent) in [
            (RingRefused::KernelTooOld { found: version(5, 15, 0) }, "too old", "seccomp"),
            (RingRefused::SwitchedOff { level: 2 }, "sysctl -w kernel.io_uring_disabled=0; echo", "seccomp"),
            (RingRefused::SwitchedOff { level: 1 }, "kernel.io_uring_group=$(id -g weir)", "seccomp"),
            (RingRefused::Seccomp, "--security-opt seccomp=config/seccomp.json", "sysctl"),
            (RingRefused::Memory, "LimitMEMLOCK=infinity", "seccomp"),
            (RingRefused::Other(eperm()), "dmesg", "sysctl"),
        ] {
            let findings = found(Kernel { ring: Some(Err(refused)), ..Kernel::default() });
            says(&findings, "io_uring", Missing, &[part]);
            let finding = only(&findings, "io_uring", Missing);
            assert!(!format!("{finding:?}").contains(absent), "{finding:?}");
            only(&findings, "io_uring_features", Unseen);
        }
        let kernel = || Kernel { group: Some(5), ..Kernel::default() };
        let ring = Some(Err(RingRefused::SwitchedOff { level: 1 }));
        says(&found(Kernel { ring, ..kernel() }), "io_uring", Missing, &["member of the group"]);
        only(&found(Kernel::default()), "io_uring", Unseen);
    }

    #[test]
    fn an_operation_that_is_not_there_is_named() {
        let findings = found(Kernel { ring: Some(Ok(vec!["RECV", "ACCEPT"])), ..Kernel::default() });
        says(&findings, "io_uring_features", Missing, &["lacks RECV, ACCEPT"]);
        let findings = found(Kernel { ring: Some(Ok(vec![])), ..Kernel::default() });
        only(&findings, "io_uring_features", Fine);
        only(&findings, "io_uring", Fine);
    }

    #[test]
    fn the_privileged_learn_that_their_user_will_be_refused() {
        let config = config("user = \"weir\"", "address = \"127.0.0.1:8080\"", "");
        for (disabled, administers, level) in
            [(Some(1), Some(true), Advice), (Some(0), Some(true), Fine), (Some(1), Some(false), Fine)]
        {
            let kernel = Kernel { ring: Some(Ok(vec![])), disabled, ..Kernel::default() };
            let mut facts = Facts { kernel, ..Facts::default() };
            facts.privileges.administers = administers;
            only(&examine(&facts, &Plan::new(Some(&config), &[0])), "io_uring", level);
            only(&examine(&facts, &Plan::new(None, &[0])), "io_uring", Fine);
        }
    }
}
