//! The checks of cores and what comes to them: sleep, frequency, interrupts, nodes; and of the machine.

use super::devices::Interface;
use super::host::{Cores, Facts, Kernel};
use super::{Finding, Plan, listed};

/// Waking up may take as long without a word: a tenth of what a request through a quiet weir takes.
const WAKE_UP_US: u64 = 20;

/// Clocks that are read by a system call each time. weir reads its clock at every turn of a ring.
const SLOW_CLOCKS: [&str; 5] = ["hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies"];

pub(super) fn examine(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    let Facts { cores, kernel, interfaces, .. } = facts;
    let mut findings = vec![available(plan), isolated(cores, plan), governor(cores, plan), idle(cores, plan)];
    findings.extend(interrupts(interfaces, plan));
    findings.extend([numa(facts, plan), clocksource(kernel), hugepages(facts), machine(kernel)]);
    findings
}

fn available(plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "cores";
    match &plan.cores {
        Ok(_) => Finding::ok(CHECK, format!("{} shards on {}", plan.shards(), listed(&plan.cores()))),
        Err(refused) => Finding::missing(
            CHECK,
            refused.clone(),
            "correct runtime.cores; or give more: AllowedCPUs= in the unit, --cpuset-cpus, taskset -c",
        ),
    }
}

fn isolated(cores: &Cores, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "isolated_cores";
    let Some(isolated) = &cores.isolated else {
        return Finding::unseen(CHECK, "/sys/devices/system/cpu/isolated cannot be read");
    };
    let shards = plan.cores();
    if isolated.is_empty() {
        let ticks =
            if cores.nohz_full.is_empty() { "" } else { ", though some without a timer tick (nohz_full)" };
        return Finding::ok(CHECK, format!("none are kept free of other work{ticks}"));
    }
    let outside: Vec<_> = shards.iter().copied().filter(|core| !isolated.contains(core)).collect();
    if outside.is_empty() {
        return Finding::ok(CHECK, format!("all shards run on isolated cores ({})", listed(isolated)));
    }
    let free = listed(isolated);
    Finding::advice(
        CHECK,
        format!(
            "cores {free} are kept free of other work (isolcpus), and shards run on {}",
            listed(&outside)
        ),
        format!(
            "runtime.cores = \"{free}\", and let weir use them: AllowedCPUs={free} or CPUAffinity={free} in the unit"
        ),
    )
}

fn governor(cores: &Cores, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "governor";
    if cores.governors.is_empty() {
        return Finding::unseen(CHECK, "no cpufreq here; a hypervisor or the firmware decides");
    }
    let shards = plan.cores();
    let slow =
        cores.governors.iter().filter(|(core, governor)| governor != "performance" && shards.contains(core));
    let (slow, names): (Vec<usize>, Vec<&str>) = slow.map(|(core, name)| (*core, name.as_str())).unzip();
    let Some(name) = names.first() else {
        return Finding::ok(CHECK, "performance");
    };
    Finding::advice(
        CHECK,
        format!(
            "the frequency of cores {} is up to \"{name}\": a quiet weir is slower than a busy one",
            listed(&slow)
        ),
        "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; to last, \
         `cpupower frequency-set -g performance` in a unit that runs at boot",
    )
}

fn idle(cores: &Cores, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "idle_states";
    let Some(deepest) = &cores.deepest else {
        return Finding::unseen(CHECK, "no cpuidle here; a hypervisor decides");
    };
    let shown = format!("{}, from which waking takes {} µs", deepest.name, deepest.latency_us);
    let held = cores.latency_held_us.and_then(|held| u64::try_from(held).ok());
    if deepest.latency_us <= WAKE_UP_US || held.is_some_and(|held| held <= WAKE_UP_US) {
        return Finding::ok(CHECK, format!("at the deepest {shown}"));
    }
    if plan.runtime.spin.as_us() > 0 {
        return Finding::ok(
            CHECK,
            format!("{shown}; runtime.spin keeps shards awake for {}", plan.runtime.spin),
        );
    }
    Finding::advice(
        CHECK,
        format!("idle cores sleep as deep as {shown}: that is added to a quiet weir's latency"),
        format!(
            "cpupower idle-set -D {WAKE_UP_US} (until the next boot); or runtime.spin = \"50us\" for weir alone, \
             paid in CPU"
        ),
    )
}

fn interrupts(interfaces: &[Interface], plan: &Plan<'_>) -> Vec<Finding> {
    const CHECK: &str = "interrupts";
    let shards = plan.cores();
    let seen: Vec<_> = interfaces.iter().filter(|interface| !interface.interrupted.is_empty()).collect();
    if seen.is_empty() {
        return vec![Finding::unseen(CHECK, "no network card whose interrupts can be seen")];
    }
    let uneven = |interface: &&Interface| {
        let Interface { name, receive_queues, interrupted, .. } = interface;
        let on = |core: &usize| interrupted.contains(core);
        let spared = shards.iter().any(|core| !on(core));
        if !shards.iter().any(on) || !spared || interface.spreads {
            return None;
        }
        let at = listed(interrupted);
        let mask =
            shards.iter().fold(0_u128, |mask, core| mask | 1_u128.checked_shl(*core as u32).unwrap_or(0));
        let what = format!(
            "the interrupts of {name} ({receive_queues} receive queues) come to cores {at}, and shards run on {}: \
             some of these do the network's work for all",
            listed(&shards)
        );
        let remedy = format!(
            "a queue for each shard: ethtool -L {name} combined {}, and each interrupt on its own core (echo CORE > \
             /proc/irq/NUMBER/smp_affinity_list, without irqbalance); where the card has fewer, spread what arrives: \
             for q in /sys/class/net/{name}/queues/rx-*; do echo {mask:x} > $q/rps_cpus; done; or keep shards off \
             cores {at} (runtime.cores)",
            shards.len()
        );
        Some(Finding::advice(CHECK, what, remedy))
    };
    let mut findings: Vec<_> = seen.iter().copied().filter_map(|interface| uneven(&interface)).collect();
    if findings.is_empty() {
        let shown: Vec<_> =
            seen.iter().map(|card| format!("{} on cores {}", card.name, listed(&card.interrupted))).collect();
        findings.push(Finding::ok(CHECK, shown.join(", ")));
    }
    findings
}

fn numa(facts: &Facts, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "numa";
    let nodes = &facts.cores.nodes;
    if nodes.is_empty() {
        return Finding::unseen(CHECK, "/sys/devices/system/node cannot be read");
    }
    let shards = plan.cores();
    let used: Vec<&(usize, Vec<usize>)> =
        nodes.iter().filter(|(_, cores)| cores.iter().any(|core| shards.contains(core))).collect();
    let cards: Vec<_> =
        facts.interfaces.iter().filter_map(|card| Some((card.name.as_str(), card.node?))).collect();
    let elsewhere = cards.iter().find(|(_, node)| used.iter().all(|(at, _)| at != node));
    let (what, node) = match (&used[..], elsewhere) {
        ([_], Some((name, node))) if nodes.len() > 1 => {
            (format!("{name} is at memory node {node}, and all shards are at another"), *node)
        }
        ([] | [_], _) => return Finding::ok(CHECK, format!("one of {} memory nodes is used", nodes.len())),
        ([(first, _), ..], _) => {
            let numbers: Vec<usize> = used.iter().map(|(node, _)| *node).collect();
            let at = cards.first().map_or(*first, |(_, node)| *node);
            (
                format!(
                    "the shards are spread over memory nodes {}; access to another's is slower",
                    listed(&numbers)
                ),
                at,
            )
        }
    };
    let of_node =
        nodes.iter().find(|(number, _)| *number == node).map_or(String::new(), |(_, cores)| listed(cores));
    Finding::advice(CHECK, what, format!("runtime.cores = \"{of_node}\": the cores of node {node}"))
}

fn clocksource(kernel: &Kernel) -> Finding {
    const CHECK: &str = "clocksource";
    match kernel.clocksource.as_deref() {
        None => Finding::unseen(CHECK, "/sys/devices/system/clocksource cannot be read"),
        Some(clock) if SLOW_CLOCKS.contains(&clock) => Finding::advice(
            CHECK,
            format!("the clock is {clock}: each reading is a system call, and weir reads it at every turn"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource; if it is not among \
             available_clocksource there, dmesg says why the kernel does not trust it",
        ),
        Some(clock) => Finding::ok(CHECK, clock),
    }
}

fn hugepages(facts: &Facts) -> Finding {
    const CHECK: &str = "hugepages";
    match facts.memory.hugepages.as_deref() {
        None => Finding::unseen(CHECK, "/sys/kernel/mm/transparent_hugepage cannot be read"),
        Some("always") => {
            Finding::ok(CHECK, "always: weir's memory grows by 2 MiB at a time, up to the same bound")
        }
        Some(mode) => Finding::ok(CHECK, mode),
    }
}

/// Where this runs; nothing is wrong with it.
fn machine(kernel: &Kernel) -> Finding {
    let machine = match kernel.is_virtual {
        Some(true) => "a virtual machine",
        Some(false) => "no sign of a hypervisor",
        None => "a machine of which /proc/cpuinfo says nothing",
    };
    let container =
        kernel.container.map_or("no sign of a container".to_owned(), |name| format!("inside {name}"));
    Finding::ok("machine", format!("{machine}, {container}"))
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Advice, Missing, Ok as Fine, Unseen};
    use super::super::devices::IdleState;
    use super::super::tests::{config, only, says};
    use super::*;

    fn found(facts: &Facts, runtime: &str) -> Vec<Finding> {
        let config = config(runtime, "address = \"127.0.0.1:8080\"", "");
        examine(facts, &Plan::new(Some(&config), &[0, 1]))
    }

    #[test]
    fn cores_that_are_not_there_are_missing() {
        let facts = Facts::default();
        says(&found(&facts, "cores = \"0-1\""), "cores", Fine, &["2 shards on 0-1"]);
        says(&found(&facts, "cores = \"0,9\""), "cores", Missing, &["runtime.cores names 9"]);
        says(&found(&facts, "cores = 3"), "cores", Missing, &["runtime.cores = 3"]);
    }

    #[test]
    fn isolated_cores_are_there_to_be_used() {
        let with = |isolated| Facts { cores: Cores { isolated, ..Cores::default() }, ..Facts::default() };
        only(&found(&with(None), ""), "isolated_cores", Unseen);
        only(&found(&with(Some(vec![])), ""), "isolated_cores", Fine);
        only(&found(&with(Some(vec![0, 1])), ""), "isolated_cores", Fine);
        let parts = ["cores 1-2", "shards run on 0", "runtime.cores = \"1-2\""];
        says(&found(&with(Some(vec![1, 2])), ""), "isolated_cores", Advice, &parts);
    }

    #[test]
    fn a_governor_counts_on_the_shards_cores_only() {
        let with = |governors: &[(usize, &str)]| {
            let governors = governors.iter().map(|(core, name)| (*core, (*name).to_owned())).collect();
            Facts { cores: Cores { governors, ..Cores::default() }, ..Facts::default() }
        };
        only(&found(&with(&[]), ""), "governor", Unseen);
        let mixed = with(&[(0, "performance"), (1, "powersave")]);
        says(&found(&mixed, ""), "governor", Advice, &["cores 1 ", "powersave", "scaling_governor"]);
        only(&found(&mixed, "cores = \"0\""), "governor", Fine);
    }

    #[test]
    fn deep_sleep_is_slow_unless_it_is_held_off() {
        let with = |latency_us, latency_held_us| {
            let deepest = Some(IdleState { name: "C6".into(), latency_us });
            Facts { cores: Cores { deepest, latency_held_us, ..Cores::default() }, ..Facts::default() }
        };
        only(&found(&Facts::default(), ""), "idle_states", Unseen);
        for (latency, held, runtime, level) in [
            (20, None, "", Fine),
            (21, None, "", Advice),
            (133, Some(2_000_000_000), "", Advice),
            (133, Some(0), "", Fine),
            (133, None, "spin = \"50us\"", Fine),
        ] {
            says(&found(&with(latency, held), runtime), "idle_states", level, &["C6"]);
        }
    }

    #[test]
    fn interrupts_on_some_shards_cores_only_are_uneven() {
        let with = |interrupted: &[usize], spreads| {
            let (name, interrupted) = ("eth0".to_owned(), interrupted.to_vec());
            let card = Interface { name, receive_queues: 1, spreads, interrupted, node: None };
            Facts { interfaces: vec![card], ..Facts::default() }
        };
        only(&found(&Facts::default(), ""), "interrupts", Unseen);
        only(&found(&with(&[], false), ""), "interrupts", Unseen);
        let parts = ["eth0 (1 receive queues)", "come to cores 0,", "echo 3 >", "ethtool -L eth0 combined 2"];
        says(&found(&with(&[0], false), ""), "interrupts", Advice, &parts);
        only(&found(&with(&[0], true), ""), "interrupts", Fine);
        only(&found(&with(&[0, 1], false), ""), "interrupts", Fine);
        only(&found(&with(&[0], false), "cores = \"1\""), "interrupts", Fine);
        only(&found(&with(&[0], false), "cores = \"0\""), "interrupts", Fine);
    }

    #[test]
    fn shards_stay_at_one_node_and_at_the_cards() {
        let with = |nodes: &[(usize, &[usize])], node| {
            let nodes = nodes.iter().map(|(number, cores)| (*number, cores.to_vec())).collect();
            let card = Interface { name: "eth0".into(), node, ..Interface::default() };
            Facts { cores: Cores { nodes, ..Cores::default() }, interfaces: vec![card], ..Facts::default() }
        };
        only(&found(&Facts::default(), ""), "numa", Unseen);
        only(&found(&with(&[(0, &[0, 1])], Some(0)), ""), "numa", Fine);
        let two: [(usize, &[usize]); 2] = [(0, &[0]), (1, &[1])];
        says(&found(&with(&two, Some(1)), ""), "numa", Advice, &["nodes 0-1", "runtime.cores = \"1\""]);
        only(&found(&with(&two, Some(1)), "cores = \"1\""), "numa", Fine);
        says(
            &found(&with(&two, Some(1)), "cores = \"0\""),
            "numa",
            Advice,
            &["eth0", "runtime.cores = \"1\""],
        );
        only(&found(&with(&two, None), "cores = \"0\""), "numa", Fine);
    }

    #[test]
    fn a_clock_is_slow_or_not() {
        for (clock, level) in
            [(None, Unseen), (Some("hpet"), Advice), (Some("tsc"), Fine), (Some("kvm-clock"), Fine)]
        {
            let kernel = Kernel { clocksource: clock.map(str::to_owned), ..Kernel::default() };
            only(&found(&Facts { kernel, ..Facts::default() }, ""), "clocksource", level);
        }
    }

    #[test]
    fn the_machine_is_named_and_is_no_fault() {
        let kernel = Kernel { container: Some("Docker"), is_virtual: Some(true), ..Kernel::default() };
        let facts = Facts { kernel, ..Facts::default() };
        says(&found(&facts, ""), "machine", Fine, &["virtual", "inside Docker"]);
        let mut facts = Facts::default();
        only(&found(&facts, ""), "hugepages", Unseen);
        facts.memory.hugepages = Some("always".into());
        says(&found(&facts, ""), "hugepages", Fine, &["2 MiB"]);
    }
}
