//! Cores and network cards as /sys and /proc show them: sleep, frequency, nodes, queues, interrupts.
//!
//! Read by `host.rs`; judged in `cores.rs`.

use super::host::{Cores, Host};
use super::parse;
use std::fs;

/// A core's way to sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdleState {
    pub(super) name: String,
    /// What waking from it takes, in µs.
    pub(super) latency_us: u64,
}

/// A network card: an interface with a device behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// Queues of packets that arrive.
    pub(super) receive_queues: usize,
    /// Whether the kernel hands packets on to other cores (RPS).
    pub(super) spreads: bool,
    /// The cores that its interrupts come to, of those that have come at all.
    pub(super) interrupted: Vec<usize>,
    /// The memory node that it is at.
    pub(super) node: Option<usize>,
}

/// What is known of the cores, but for those that the process may use.
pub(super) fn cores(host: &Host) -> Cores {
    let of_cores = "sys/devices/system/cpu";
    let names = host.names(of_cores);
    let numbers = names.iter().filter_map(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
    let governor = |core: usize| {
        let path = format!("{of_cores}/cpu{core}/cpufreq/scaling_governor");
        Some((core, host.text(&path)?))
    };
    let set = |name: &str| host.text(&format!("{of_cores}/{name}")).map(|text| parse::cores(&text));
    let held = fs::read(host.path("dev/cpu_dma_latency")).ok();
    Cores {
        available: Vec::new(),
        governors: numbers.filter_map(governor).collect(),
        deepest: deepest(host),
        latency_held_us: held.and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?))),
        isolated: set("isolated"),
        nohz_full: set("nohz_full").unwrap_or_default(),
        nodes: nodes(host),
    }
}

/// The deepest sleep of the first core that is not switched off; all cores have the same.
fn deepest(host: &Host) -> Option<IdleState> {
    let of_states = "sys/devices/system/cpu/cpu0/cpuidle";
    let state = |name: &String| {
        let of = |what: &str| format!("{of_states}/{name}/{what}");
        let is_on = host.number::<u64>(&of("disable")).unwrap_or(0) == 0;
        let (name, latency_us) = (host.text(&of("name"))?, host.number(&of("latency"))?);
        is_on.then_some(IdleState { name, latency_us })
    };
    host.names(of_states).iter().filter_map(state).max_by_key(|state| state.latency_us)
}

fn nodes(host: &Host) -> Vec<(usize, Vec<usize>)> {
    let of_nodes = "sys/devices/system/node";
    let node = |name: &String| {
        let number = name.strip_prefix("node")?.parse().ok()?;
        let cores = parse::cores(&host.text(&format!("{of_nodes}/{name}/cpulist"))?);
        (!cores.is_empty()).then_some((number, cores))
    };
    let mut nodes: Vec<_> = host.names(of_nodes).iter().filter_map(node).collect();
    nodes.sort_unstable();
    nodes
}

/// The interfaces that have a device; those of software have no interrupts.
pub(super) fn interfaces(host: &Host) -> Vec<Interface> {
    let counts = parse::interrupt_counts(&host.text("proc/interrupts").unwrap_or_default());
    let of_interfaces = "sys/class/net";
    let interface = |name: &String| {
        let of = |what: &str| format!("{of_interfaces}/{name}/{what}");
        host.path(&of("device")).exists().then(|| {
            let queues = host.names(&of("queues"));
            let receiving: Vec<_> = queues.iter().filter(|queue| queue.starts_with("rx-")).collect();
            let mask = |queue: &&String| host.text(&of(&format!("queues/{queue}/rps_cpus")));
            let is_set = |mask: String| mask.contains(|digit: char| digit != '0' && digit != ',');
            Interface {
                receive_queues: receiving.len(),
                spreads: receiving.iter().filter_map(mask).any(is_set),
                interrupted: interrupted(host, name, &counts),
                node: host.number(&of("device/numa_node")),
                name: name.clone(),
            }
        })
    };
    host.names(of_interfaces).iter().filter_map(interface).collect()
}

/// The cores to which the interrupts of `interface` come. A virtio device's belong to the PCI device that it
/// sits on.
fn interrupted(host: &Host, interface: &str, counts: &[(u32, u64)]) -> Vec<usize> {
    let Ok(device) = host.path(&format!("sys/class/net/{interface}/device")).canonicalize() else {
        return Vec::new();
    };
    let numbers = [device.join("msi_irqs"), device.join("../msi_irqs")].into_iter().find_map(|directory| {
        let entries = fs::read_dir(directory).ok()?;
        let number = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        Some(entries.filter_map(number).collect::<Vec<u32>>())
    });
    let has_come = |number: &u32| counts.iter().any(|(counted, count)| counted == number && *count > 0);
    let come_to = |number: u32| {
        let of = |what: &str| host.text(&format!("proc/irq/{number}/{what}_affinity_list"));
        let effective = of("effective").filter(|cores| !cores.is_empty());
        parse::cores(&effective.or_else(|| of("smp")).unwrap_or_default())
    };
    let mut cores: Vec<usize> =
        numbers.unwrap_or_default().into_iter().filter(has_come).flat_map(come_to).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Tree;
    use super::*;

    #[test]
    fn cores_sleep_and_belong_to_nodes() {
        let of = "sys/devices/system/cpu/cpu0/cpuidle";
        let states = ["POLL", "C1", "C6"].iter().zip(["0", "2", "133"]).enumerate();
        let mut files: Vec<(String, &str)> = Vec::new();
        for (at, (name, latency)) in states {
            files.push((format!("{of}/state{at}/name"), name));
            files.push((format!("{of}/state{at}/latency"), latency));
        }
        files.push(("sys/devices/system/cpu/isolated".into(), "2-3\n"));
        files.push(("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor".into(), "powersave\n"));
        files.push(("sys/devices/system/node/node0/cpulist".into(), "0-1\n"));
        files.push(("sys/devices/system/node/node1/cpulist".into(), "2-3\n"));
        let mut borrowed: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let read = cores(&Tree::of(&borrowed).host());
        assert_eq!(read.deepest, Some(IdleState { name: "C6".into(), latency_us: 133 }));
        assert_eq!(read.governors, [(1, "powersave".to_owned())]);
        assert_eq!(read.nodes, [(0, vec![0, 1]), (1, vec![2, 3])]);
        assert_eq!((read.isolated, read.latency_held_us), (Some(vec![2, 3]), None));
        let switched_off = format!("{of}/state2/disable");
        borrowed.push((&switched_off, "1"));
        let held = 20_i32.to_ne_bytes();
        let tree = Tree::of(&borrowed);
        let _ = fs::create_dir_all(tree.path().join("dev"));
        let _ = fs::write(tree.path().join("dev/cpu_dma_latency"), held);
        let read = cores(&tree.host());
        assert_eq!(read.deepest, Some(IdleState { name: "C1".into(), latency_us: 2 }));
        assert_eq!(read.latency_held_us, Some(20));
    }

    #[test]
    fn a_card_has_queues_and_interrupts_and_what_is_software_has_none() {
        let tree = Tree::of(&[
            ("sys/class/net/lo/queues/rx-0/rps_cpus", "0"),
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,00000003"),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0"),
            ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0"),
            ("sys/class/net/eth0/device/numa_node", "-1"),
            ("sys/class/net/eth0/device/msi_irqs/41", ""),
            ("sys/class/net/eth0/device/msi_irqs/42", ""),
            ("sys/class/net/eth0/device/msi_irqs/43", ""),
            (
                "proc/interrupts",
                "   CPU0 CPU1\n 41: 5 0 eth0-rx-0\n 42: 0 7 eth0-rx-1\n 43: 0 0 eth0-config\n",
            ),
            ("proc/irq/41/effective_affinity_list", "0\n"),
            ("proc/irq/41/smp_affinity_list", "0-1\n"),
            ("proc/irq/42/smp_affinity_list", "1\n"),
            ("proc/irq/43/smp_affinity_list", "3\n"),
        ]);
        let expected = Interface {
            name: "eth0".into(),
            receive_queues: 2,
            spreads: true,
            interrupted: vec![0, 1],
            node: None,
        };
        assert_eq!(interfaces(&tree.host()), [expected]);
    }
}
