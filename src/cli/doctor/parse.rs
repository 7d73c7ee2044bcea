//! The formats in which the kernel tells of itself, as values. Pure.
//!
//! Not here: which file is read for what (`host.rs`, `devices.rs`, `access.rs`), and what follows from it.

use crate::sys::kernel::KernelVersion;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// "0-3,8" as the kernel writes sets of cores; empty for what is none.
pub(super) fn cores(text: &str) -> Vec<usize> {
    let run = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse::<usize>().ok()?);
        // More cores than Linux can have are no list of cores.
        (last < 1 << 16).then_some(first..=last)
    };
    text.trim().split(',').filter_map(run).flatten().collect()
}

/// The version that a kernel really is. Debian and Ubuntu put an ABI's number into the release ("6.1.0-27",
/// "6.8.0-45"), and the upstream version elsewhere: `banner` is /proc/version, `signature` Ubuntu's
/// /proc/version_signature.
pub(super) fn upstream(release: &str, banner: &str, signature: &str) -> KernelVersion {
    let of_release = KernelVersion::parse(release);
    // "Debian 12.2.0-14" of the compiler stands in the banner too: what is meant is of the release's series.
    let debian = banner.split("Debian ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    let ubuntu = signature.starts_with("Ubuntu").then(|| signature.split_whitespace().last()).flatten();
    let of_series =
        |named: &KernelVersion| (named.major, named.minor) == (of_release.major, of_release.minor);
    ubuntu.into_iter().chain(debian).map(KernelVersion::parse).find(of_series).unwrap_or(of_release)
}

/// A set of capabilities of /proc/self/status, by the name of its line ("CapEff").
pub(super) fn capabilities(status: &str, set: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// A listening socket of /proc/net/tcp or tcp6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) inode: u64,
}

/// The sockets that listen, of /proc/net/tcp or tcp6.
pub(super) fn listening(table: &str) -> Vec<Listening> {
    let socket = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = address(fields.nth(1)?)?;
        // 0A is TCP_LISTEN; behind it come queues, timer, retransmits, user, timeout, inode.
        let listens = fields.nth(1)? == "0A";
        let inode = fields.nth(5)?.parse().ok()?;
        listens.then_some(Listening { address, inode })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// "0100007F:1F90": 32-bit words in the byte order of the host, the port in network order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Ports of `net.ipv4.ip_local_reserved_ports`: "8080,9000-9100".
pub(super) fn ports(text: &str) -> Vec<(u16, u16)> {
    let run = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    text.split(',').filter_map(run).collect()
}

/// How often each interrupt came, over all cores, by its number: of /proc/interrupts.
pub(super) fn interrupt_counts(table: &str) -> Vec<(u32, u64)> {
    let mut lines = table.lines();
    let cores = lines.next().map_or(0, |heading| heading.split_whitespace().count());
    let row = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let counts = rest.split_whitespace().take(cores).filter_map(|count| count.parse::<u64>().ok());
        Some((number.trim().parse().ok()?, counts.sum()))
    };
    lines.filter_map(row).collect()
}

/// cgroup v2's cpu.max, "200000 100000", as cores; `None`: no quota.
pub(super) fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cores_are_read() {
        for (text, expected) in [
            ("0-3,8\n", &[0, 1, 2, 3, 8][..]),
            ("\n", &[]),
            ("5", &[5]),
            ("(null)", &[]),
            ("0-4294967295", &[]),
        ] {
            assert_eq!(cores(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_version_is_upstreams_where_a_distribution_hides_it() {
        let debian = "Linux version 6.1.0-27-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) \
                      12.2.0) #1 SMP PREEMPT_DYNAMIC Debian 6.1.115-1 (2024-11-01)";
        let ubuntu = "Ubuntu 6.8.0-45.45-generic 6.8.12\n";
        for (release, banner, signature, expected) in [
            ("6.18.44-fc", "Linux version 6.18.44-fc (gcc 15.3.0)", "", "6.18.44"),
            ("6.1.115-126.197.amzn2023.x86_64", "", "", "6.1.115"),
            ("6.8.0-45-generic", "Linux version 6.8.0-45-generic (Ubuntu 13.2.0)", ubuntu, "6.8.12"),
            ("5.14.0-503.el9.x86_64", "Linux version 5.14.0-503.el9 (Red Hat 11.5.0-2)", "", "5.14.0"),
            // The compiler's package comes first in this banner, and must not be taken for the kernel's.
            ("6.1.0-27-amd64", &debian.replace("Debian 6.1.115-1", ""), "", "6.1.0"),
            ("6.1.0-27-amd64", &debian.replace("(Debian 12.2.0-14)", ""), "", "6.1.115"),
            ("6.1.0-27-amd64", debian, "", "6.1.115"),
        ] {
            assert_eq!(upstream(release, banner, signature).to_string(), expected, "{release} {banner}");
        }
    }

    #[test]
    fn capabilities_are_read_by_their_lines_name() {
        let status = "Name:\tweir\nCapPrm:\t0\nCapEff:\t0000000000004400\n";
        assert_eq!(capabilities(status, "CapEff"), Some(0x4400));
        assert_eq!((capabilities(status, "CapBnd"), capabilities("", "CapEff")), (None, None));
    }

    #[test]
    fn listening_sockets_are_told_from_the_rest() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1520 1 0\n\
                     \x20 1: 0100007F:1F91 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 1521 1 0\n\
                     garbage\n";
        let expected = SocketAddr::from(([127, 0, 0, 1], 8080));
        assert_eq!(listening(table), [Listening { address: expected, inode: 1520 }]);
        let v6 = "heading\n 0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A \
                  0:0 0:0 0 0 0 77 1\n";
        let expected = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
        assert_eq!(listening(v6), [Listening { address: expected, inode: 77 }]);
    }

    #[test]
    fn interrupts_are_counted_over_all_cores() {
        let table = "           CPU0       CPU1       \n 38:          2       5648 PCI-MSIX-0000:00:03.0   1-edge      \
                     virtio2-input.0\nNMI:          0          0   Non-maskable interrupts\n";
        assert_eq!(interrupt_counts(table), [(38, 5650)]);
    }

    #[test]
    fn quotas_and_ports_are_read_and_none_is_none() {
        assert_eq!((cpu_max("150000 100000\n"), cpu_max("max 100000"), cpu_max("")), (Some(1.5), None, None));
        assert_eq!(ports("8080,9000-9100\n"), [(8080, 8080), (9000, 9100)]);
        assert_eq!(ports("\n"), []);
    }
}
