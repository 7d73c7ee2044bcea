//! The checks of what the process may use: descriptors, locked memory, memory, CPU.

use super::host::{Facts, Quota};
use super::{Finding, Plan, ring_settings, sysctl};
use crate::cli::check::size;
use crate::config;
use crate::ring;
use crate::serve;

/// Connections that a weir worth starting must have room for.
const CONNECTIONS_MIN: usize = 100;

pub(super) fn examine(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    let mut findings = descriptors(facts, plan);
    findings.extend([locked_memory(facts, plan), memory(facts, plan), cpu_quota(facts, plan)]);
    findings
}

fn descriptors(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    const CHECK: &str = "descriptors";
    let shards = plan.shards();
    let most = plan.runtime.max_connections;
    let wanted = serve::descriptors_wanted(most, shards);
    let Some(limit) = facts.limits.descriptors else {
        return vec![Finding::unseen(CHECK, "the kernel does not tell the limit")];
    };
    let mut findings = Vec::new();
    // weir raises the soft limit to the hard one by itself.
    if limit.hard < wanted {
        let what = format!(
            "the hard limit is {}; {shards} shards with runtime.max_connections = {most} may need {wanted}, one for \
             each client and one for its backend",
            limit.hard
        );
        let mut remedy = format!(
            "LimitNOFILE={wanted} in the unit; ulimit -Hn {wanted}; docker run --ulimit nofile={wanted}; or lower \
             runtime.max_connections"
        );
        if let Some(nr_open) = facts.limits.nr_open.filter(|nr_open| *nr_open < wanted) {
            remedy.push_str(&format!(
                "; first, as fs.nr_open is {nr_open}: {}",
                sysctl(&format!("fs.nr_open={wanted}"))
            ));
        }
        let too_few = limit.hard < serve::descriptors_wanted(CONNECTIONS_MIN.div_ceil(shards), shards);
        findings.push(if too_few {
            Finding::missing(CHECK, what, remedy)
        } else {
            Finding::advice(CHECK, what, remedy)
        });
    }
    if let Some(all) = facts.limits.file_max.filter(|all| *all < wanted) {
        let twice = wanted.saturating_mul(2);
        findings.push(Finding::advice(
            CHECK,
            format!(
                "the whole host may have {all} files open (fs.file-max), and weir alone may need {wanted}"
            ),
            sysctl(&format!("fs.file-max={twice}")),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("up to {}; at most {wanted} are needed", limit.hard)));
    }
    findings
}

fn locked_memory(facts: &Facts, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "locked_memory";
    let shards = plan.shards();
    let wanted = ring::locked_bytes(&ring_settings(&plan.runtime)).saturating_mul(shards as u64);
    let Some(limit) = facts.limits.locked else {
        return Finding::unseen(CHECK, "the kernel does not tell the limit");
    };
    if limit.soft == u64::MAX {
        return Finding::ok(CHECK, "no limit");
    }
    if limit.soft >= wanted {
        return Finding::ok(CHECK, format!("up to {}; {} are needed", size(limit.soft), size(wanted)));
    }
    let of_user =
        plan.runtime.user.as_ref().map(|user| format!(" But {user} is bound by it.")).unwrap_or_default();
    if facts.privileges.locks_memory == Some(true) && of_user.is_empty() {
        return Finding::ok(CHECK, "the limit does not hold for this process (CAP_IPC_LOCK)");
    }
    let what =
        format!("the limit is {}; {shards} shards lock about {}.{of_user}", size(limit.soft), size(wanted));
    let remedy = "LimitMEMLOCK=infinity in the unit; ulimit -l unlimited; docker run --ulimit memlock=-1; or fewer \
                  runtime.cores";
    if of_user.is_empty() && facts.privileges.locks_memory == Some(false) {
        Finding::missing(CHECK, what, remedy)
    } else {
        Finding::advice(CHECK, what, remedy)
    }
}

fn memory(facts: &Facts, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "memory";
    let Some(config) = plan.config else {
        return Finding::unseen(CHECK, "no --config, so what weir may take is not known");
    };
    let worst = config::worst_case_memory_bytes(config, plan.shards());
    let (cgroup, total) = (facts.memory.cgroup, facts.memory.total);
    let Some(least) = cgroup.into_iter().chain(total).min() else {
        return Finding::unseen(CHECK, "neither /proc/meminfo nor a cgroup's memory.max can be read");
    };
    if worst <= least {
        return Finding::ok(CHECK, format!("at worst weir takes {} of {}", size(worst), size(least)));
    }
    let whose = if cgroup == Some(least) { "this cgroup's limit" } else { "this host" };
    let more = if cgroup == Some(least) { "raise MemoryMax= or --memory, or lower" } else { "lower" };
    Finding::advice(
        CHECK,
        format!("at worst weir takes {}, and {whose} has {}", size(worst), size(least)),
        format!(
            "{more} runtime.max_connections, runtime.buffers or runtime.buffer_size (weir check shows the sum)"
        ),
    )
}

#[expect(clippy::cast_precision_loss, reason = "shards are few")]
fn cpu_quota(facts: &Facts, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "cpu_quota";
    let shards = plan.shards();
    let cores = match facts.limits.cpu_quota {
        Quota::Unknown => return Finding::unseen(CHECK, "no cgroup's cpu.max can be read"),
        Quota::None => return Finding::ok(CHECK, "none"),
        Quota::Cores(cores) if cores >= shards as f64 => {
            return Finding::ok(CHECK, format!("{cores} cores for {shards} shards"));
        }
        Quota::Cores(cores) => cores,
    };
    let spins = if plan.runtime.spin.as_us() > 0 { ", sooner as they spin when idle" } else { "" };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a quota is a small number")]
    let whole = (cores.floor() as usize).max(1);
    Finding::advice(
        CHECK,
        format!(
            "a cgroup grants {cores} cores to {shards} shards: they are stopped for the rest of each period once \
             that is used up{spins}"
        ),
        format!(
            "lift it (CPUQuota= in the unit, --cpus, a limit of CPU in Kubernetes) and bind to cores instead \
             (AllowedCPUs=, --cpuset-cpus, the static CPU manager); or runtime.cores = {whole}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Advice, Missing, Ok as Fine, Unseen};
    use super::super::tests::{config, only, says};
    use super::*;
    use crate::sys::limits::Limit;

    const ADDRESS: &str = "address = \"127.0.0.1:8080\"";

    fn found(facts: &Facts, runtime: &str, cores: &[usize]) -> Vec<Finding> {
        examine(facts, &Plan::new(Some(&config(runtime, ADDRESS, "")), cores))
    }

    #[test]
    fn descriptors_are_measured_against_what_the_file_wants() {
        let mut facts = Facts::default();
        only(&found(&facts, "", &[0]), "descriptors", Unseen);
        let wanted = serve::descriptors_wanted(1000, 2);
        for (hard, level) in [(wanted, Fine), (wanted - 1, Advice), (4096, Advice), (256, Missing)] {
            facts.limits.descriptors = Some(Limit { soft: 16, hard });
            let findings = found(&facts, "max_connections = 1000", &[0, 1]);
            let parts = [wanted.to_string(), hard.to_string()];
            says(&findings, "descriptors", level, &[&parts[0], &parts[1]]);
        }
        facts.limits.nr_open = Some(1024);
        let remedy = format!("sysctl -w fs.nr_open={wanted}");
        says(&found(&facts, "max_connections = 1000", &[0, 1]), "descriptors", Missing, &[&remedy]);
    }

    #[test]
    fn the_hosts_own_limit_of_files_counts_too() {
        let mut facts = Facts::default();
        facts.limits.descriptors = Some(Limit { soft: 1 << 30, hard: 1 << 30 });
        let wanted = serve::descriptors_wanted(1000, 1);
        for (file_max, level) in [(wanted, Fine), (wanted - 1, Advice)] {
            facts.limits.file_max = Some(file_max);
            only(&found(&facts, "max_connections = 1000", &[0]), "descriptors", level);
        }
    }

    #[test]
    fn locked_memory_binds_the_unprivileged_and_who_becomes_one() {
        let mut facts = Facts::default();
        only(&found(&facts, "", &[0]), "locked_memory", Unseen);
        let wanted = ring::locked_bytes(&ring_settings(&config("", ADDRESS, "").runtime)) * 2;
        for (soft, locks, runtime, level) in [
            (u64::MAX, Some(false), "", Fine),
            (wanted, Some(false), "", Fine),
            (wanted - 1, Some(false), "", Missing),
            (wanted - 1, Some(true), "", Fine),
            (wanted - 1, Some(true), "user = \"weir\"", Advice),
            (wanted - 1, None, "", Advice),
        ] {
            facts.limits.locked = Some(Limit { soft, hard: soft });
            facts.privileges.locks_memory = locks;
            only(&found(&facts, runtime, &[0, 1]), "locked_memory", level);
        }
    }

    #[test]
    fn memory_is_the_least_of_host_and_cgroup() {
        let mut facts = Facts::default();
        only(&found(&facts, "", &[0]), "memory", Unseen);
        let worst = config::worst_case_memory_bytes(&config("", ADDRESS, ""), 1);
        for (cgroup, total, level, part) in [
            (None, Some(worst), Fine, "at worst"),
            (None, Some(worst - 1), Advice, "this host"),
            (Some(worst), Some(worst + 1), Fine, ""),
            (Some(worst - 1), Some(worst + 1), Advice, "MemoryMax="),
            // What version 1 writes where there is no limit.
            (Some(0x7FFF_FFFF_FFFF_F000), Some(worst), Fine, ""),
        ] {
            facts.memory.cgroup = cgroup;
            facts.memory.total = total;
            says(&found(&facts, "", &[0]), "memory", level, &[part]);
        }
        only(&examine(&facts, &Plan::new(None, &[0])), "memory", Unseen);
    }

    #[test]
    fn a_quota_below_the_shards_throttles_them() {
        for (quota, runtime, level, part) in [
            (Quota::Unknown, "", Unseen, ""),
            (Quota::None, "", Fine, ""),
            (Quota::Cores(2.0), "", Fine, "2 cores for 2 shards"),
            (Quota::Cores(1.9), "", Advice, "runtime.cores = 1"),
            (Quota::Cores(0.5), "spin = \"20us\"", Advice, "spin"),
        ] {
            let mut facts = Facts::default();
            facts.limits.cpu_quota = quota;
            says(&found(&facts, runtime, &[0, 1]), "cpu_quota", level, &[part]);
        }
    }
}
