//! The host as plain facts, each of which may be unknown.
//!
//! Here: [`Facts`], and reading those that stand in one file of /proc or /sys. Network devices and cores are in
//! `devices.rs`, what the configuration names in `access.rs`. Paths are below a root that tests choose. Not
//! here: what a fact means.

use super::access::{self, Account, Taken, Wanted};
use super::devices::{self, IdleState, Interface};
use super::{parse, ring_settings};
use crate::config::Config;
use crate::ring::{self, RingRefused};
use crate::sys::cpu;
use crate::sys::kernel::KernelVersion;
use crate::sys::limits::{self, Limit};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// CAP_NET_BIND_SERVICE, CAP_IPC_LOCK and CAP_SYS_ADMIN of capabilities(7).
const BIND_LOW_PORTS: u32 = 10;
const LOCK_MEMORY: u32 = 14;
const ADMINISTER: u32 = 21;

/// What is known of the host; `None` and empty: it could not be read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) kernel: Kernel,
    pub(super) limits: Limits,
    pub(super) network: Network,
    pub(super) cores: Cores,
    pub(super) memory: Memory,
    pub(super) privileges: Privileges,
    pub(super) interfaces: Vec<Interface>,
    /// Which addresses and files of the configuration others have, or lack.
    pub(super) claims: Claims,
}

/// The kernel, and what it makes of io_uring.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: Option<String>,
    /// Which of upstream's versions it is.
    pub(super) version: Option<KernelVersion>,
    /// The operations that it lacks, or why it gives no ring.
    pub(super) ring: Option<Result<Vec<&'static str>, RingRefused>>,
    /// `kernel.io_uring_disabled`, and the group that may use it at 1.
    pub(super) disabled: Option<u8>,
    pub(super) group: Option<i64>,
    pub(super) clocksource: Option<String>,
    /// The container that this is, and whether the machine is a virtual one.
    pub(super) container: Option<&'static str>,
    pub(super) is_virtual: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) descriptors: Option<Limit>,
    pub(super) locked: Option<Limit>,
    /// `fs.nr_open` and `fs.file-max`.
    pub(super) nr_open: Option<u64>,
    pub(super) file_max: Option<u64>,
    /// The cores that a cgroup grants over its period.
    pub(super) cpu_quota: Quota,
}

/// A cgroup's limit of CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Quota {
    /// No cgroup's could be read.
    #[default]
    Unknown,
    None,
    Cores(f64),
}

#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) somaxconn: Option<u64>,
    pub(super) syn_backlog: Option<u64>,
    pub(super) syn_cookies: Option<u64>,
    pub(super) migrate_req: Option<u64>,
    pub(super) tw_reuse: Option<u64>,
    /// `net.ipv4.ip_local_port_range`, and what of it is reserved.
    pub(super) local_ports: Option<(u16, u16)>,
    pub(super) reserved_ports: Vec<(u16, u16)>,
    pub(super) unprivileged_from: Option<u16>,
}

#[derive(Debug, Default)]
pub(super) struct Cores {
    /// What this process may use.
    pub(super) available: Vec<usize>,
    /// The frequency governor of each core that has one.
    pub(super) governors: Vec<(usize, String)>,
    /// The deepest sleep that is not switched off.
    pub(super) deepest: Option<IdleState>,
    /// What /dev/cpu_dma_latency holds the wake-up to, in µs.
    pub(super) latency_held_us: Option<i32>,
    /// `isolcpus=` and `nohz_full=`.
    pub(super) isolated: Option<Vec<usize>>,
    pub(super) nohz_full: Vec<usize>,
    /// The cores of each memory node.
    pub(super) nodes: Vec<(usize, Vec<usize>)>,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) total: Option<u64>,
    /// The least that a cgroup allows.
    pub(super) cgroup: Option<u64>,
    /// `transparent_hugepage/enabled`.
    pub(super) hugepages: Option<String>,
}

/// What this process may.
#[derive(Debug, Default)]
pub(super) struct Privileges {
    pub(super) binds_low_ports: Option<bool>,
    pub(super) locks_memory: Option<bool>,
    pub(super) administers: Option<bool>,
}

/// What the configuration asks for that is not weir's own to give.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Whether the table of sockets could be read.
    pub(super) sockets_seen: bool,
    pub(super) taken: Vec<Taken>,
    pub(super) accounts: Vec<Account>,
    pub(super) files: Vec<Wanted>,
}

/// Reads this host; what `config` names too, if there is one.
pub(super) fn read(config: Option<&Config>) -> Facts {
    let mut facts = Host::at("/").read();
    let runtime = config.map(|config| config.runtime.clone()).unwrap_or_default();
    facts.kernel.ring = Some(ring::survey(&ring_settings(&runtime)));
    facts.limits.descriptors = limits::descriptors();
    facts.limits.locked = limits::locked_memory();
    facts.cores.available = cpu::available();
    if let Some(config) = config {
        facts.claims = access::read(&Host::at("/"), config);
    }
    facts
}

/// A host's /proc and /sys, below a root.
pub(super) struct Host(PathBuf);

impl Host {
    pub(super) fn at(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// A path of the host's, such as "proc/version".
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// A file's text, without what is blank at its ends.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    pub(super) fn number<N: FromStr>(&self, path: &str) -> Option<N> {
        self.text(path)?.parse().ok()
    }

    fn sysctl<N: FromStr>(&self, name: &str) -> Option<N> {
        self.number(&format!("proc/sys/{}", name.replace('.', "/")))
    }

    /// The names in a directory; none where it cannot be read.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    fn read(&self) -> Facts {
        Facts {
            kernel: self.kernel(),
            limits: Limits {
                nr_open: self.sysctl("fs.nr_open"),
                file_max: self.sysctl("fs.file-max"),
                cpu_quota: self.cpu_quota(),
                ..Limits::default()
            },
            network: self.network(),
            cores: devices::cores(self),
            memory: self.memory(),
            privileges: self.privileges(),
            interfaces: devices::interfaces(self),
            claims: Claims::default(),
        }
    }

    fn kernel(&self) -> Kernel {
        let release = self.text("proc/sys/kernel/osrelease");
        let banner = self.text("proc/version").unwrap_or_default();
        let signature = self.text("proc/version_signature").unwrap_or_default();
        let flags = self.text("proc/cpuinfo");
        Kernel {
            version: release.as_deref().map(|release| parse::upstream(release, &banner, &signature)),
            release,
            ring: None,
            disabled: self.sysctl("kernel.io_uring_disabled"),
            group: self.sysctl("kernel.io_uring_group"),
            clocksource: self.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            container: self.container(),
            is_virtual: flags.map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
        }
    }

    fn container(&self) -> Option<&'static str> {
        let there = |path: &str| self.path(path).exists();
        let environment = fs::read(self.path("proc/1/environ")).unwrap_or_default();
        let named = |name: &[u8]| environment.split(|byte| *byte == 0).any(|pair| pair.starts_with(name));
        if there("var/run/secrets/kubernetes.io") {
            Some("Kubernetes")
        } else if there(".dockerenv") {
            Some("Docker")
        } else if there("run/.containerenv") {
            Some("Podman")
        } else {
            named(b"container=").then_some("a container")
        }
    }

    fn network(&self) -> Network {
        let range = self.text("proc/sys/net/ipv4/ip_local_port_range").and_then(|range| {
            let (first, last) = range.split_once(char::is_whitespace)?;
            Some((first.parse().ok()?, last.trim().parse().ok()?))
        });
        let reserved = self.text("proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
        Network {
            somaxconn: self.sysctl("net.core.somaxconn"),
            syn_backlog: self.sysctl("net.ipv4.tcp_max_syn_backlog"),
            syn_cookies: self.sysctl("net.ipv4.tcp_syncookies"),
            migrate_req: self.sysctl("net.ipv4.tcp_migrate_req"),
            tw_reuse: self.sysctl("net.ipv4.tcp_tw_reuse"),
            local_ports: range,
            reserved_ports: parse::ports(&reserved),
            unprivileged_from: self.sysctl("net.ipv4.ip_unprivileged_port_start"),
        }
    }

    fn memory(&self) -> Memory {
        let meminfo = self.text("proc/meminfo").unwrap_or_default();
        let total_kib = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
        let allowed = |group: &String| self.number::<u64>(&format!("{group}/memory.max"));
        let first_version = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        Memory {
            total: total_kib.map(|kib| kib.saturating_mul(1024)),
            cgroup: self.cgroups().iter().filter_map(allowed).chain(self.number(first_version)).min(),
            hugepages: self.text("sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| {
                let (_, rest) = text.split_once('[')?;
                Some(rest.split_once(']')?.0.to_owned())
            }),
        }
    }

    /// The least quota of this process's cgroups; one above limits what is below.
    fn cpu_quota(&self) -> Quota {
        let texts: Vec<_> =
            self.cgroups().iter().filter_map(|group| self.text(&format!("{group}/cpu.max"))).collect();
        let first = "sys/fs/cgroup/cpu/cpu.cfs";
        let quota = self.number::<f64>(&format!("{first}_quota_us"));
        let period = self.number::<f64>(&format!("{first}_period_us")).filter(|period| *period > 0.0);
        let of_first = quota.zip(period);
        if texts.is_empty() && of_first.is_none() && !self.path("sys/fs/cgroup/cgroup.controllers").exists() {
            return Quota::Unknown;
        }
        let of_first = of_first.filter(|(quota, _)| *quota > 0.0).map(|(quota, period)| quota / period);
        let least = texts.iter().filter_map(|text| parse::cpu_max(text)).chain(of_first).reduce(f64::min);
        least.map_or(Quota::None, Quota::Cores)
    }

    /// The directories of this process's cgroup and those above it, as version 2 has them.
    fn cgroups(&self) -> Vec<String> {
        let groups = self.text("proc/self/cgroup").unwrap_or_default();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let ancestors = Path::new(own).ancestors();
        ancestors.map(|group| format!("sys/fs/cgroup{}", group.display())).collect()
    }

    fn privileges(&self) -> Privileges {
        let held = self.text("proc/self/status").and_then(|status| parse::capabilities(&status, "CapEff"));
        let has = |capability: u32| held.map(|held| held >> capability & 1 == 1);
        Privileges {
            binds_low_ports: has(BIND_LOW_PORTS),
            locks_memory: has(LOCK_MEMORY),
            administers: has(ADMINISTER),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory that looks like a host's root.
    pub(in super::super) struct Tree(PathBuf);

    impl Tree {
        pub(in super::super) fn of(files: &[(&str, &str)]) -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let root = std::env::temp_dir().join(format!("weir-doctor-{}-{number}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        pub(in super::super) fn host(&self) -> Host {
            Host::at(&self.0)
        }

        pub(in super::super) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_tree_of_files_becomes_facts() {
        let tree = Tree::of(&[
            ("proc/sys/kernel/osrelease", "6.8.0-45-generic\n"),
            ("proc/version_signature", "Ubuntu 6.8.0-45.45-generic 6.8.12\n"),
            ("proc/sys/kernel/io_uring_disabled", "1\n"),
            ("proc/sys/kernel/io_uring_group", "-1\n"),
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/net/ipv4/ip_local_reserved_ports", "40000-40010\n"),
            ("proc/self/status", "CapEff:\t0000000000000400\n"),
            ("proc/self/cgroup", "0::/system.slice/weir.service\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/system.slice/weir.service/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/weir.service/memory.max", "1073741824\n"),
            ("proc/meminfo", "MemTotal:        8148944 kB\nMemFree: 1 kB\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("proc/cpuinfo", "flags\t\t: fpu hypervisor\n"),
            (".dockerenv", ""),
        ]);
        let facts = tree.host().read();
        assert_eq!(facts.kernel.version, Some(KernelVersion { major: 6, minor: 8, patch: 12 }));
        assert_eq!((facts.kernel.disabled, facts.kernel.group), (Some(1), Some(-1)));
        assert_eq!((facts.kernel.container, facts.kernel.is_virtual), (Some("Docker"), Some(true)));
        assert_eq!((facts.network.somaxconn, facts.network.migrate_req), (Some(128), None));
        assert_eq!(facts.network.local_ports, Some((32_768, 60_999)));
        assert_eq!(facts.network.reserved_ports, [(40_000, 40_010)]);
        assert_eq!(facts.privileges.binds_low_ports, Some(true));
        assert_eq!(facts.privileges.locks_memory, Some(false));
        // The group above has the tighter quota, the group itself the limit of memory.
        assert_eq!(facts.limits.cpu_quota, Quota::Cores(1.5));
        assert_eq!((facts.memory.cgroup, facts.memory.total), (Some(1 << 30), Some(8_148_944 << 10)));
        assert_eq!(facts.memory.hugepages.as_deref(), Some("madvise"));
    }

    #[test]
    fn of_an_empty_tree_nothing_is_known() {
        let facts = Tree::of(&[]).host().read();
        assert_eq!((facts.kernel.release, facts.kernel.version), (None, None));
        assert_eq!((facts.limits.cpu_quota, facts.memory.cgroup), (Quota::Unknown, None));
        assert_eq!((facts.privileges.locks_memory, facts.interfaces.len()), (None, 0));
    }

    #[test]
    fn a_quota_of_the_first_version_of_cgroups_counts_too() {
        let (quota, period) = ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu/cpu.cfs_period_us");
        for (value, expected) in [("50000", Quota::Cores(0.5)), ("-1", Quota::None)] {
            let tree = Tree::of(&[(quota, value), (period, "100000")]);
            assert_eq!(tree.host().cpu_quota(), expected);
        }
    }
}
