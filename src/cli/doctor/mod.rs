//! `weir doctor`: what this host lacks for weir, or makes slow, and what to do about each.
//!
//! Three steps: the host is read into plain facts, in which "could not be read" is a fact too (`host.rs`,
//! `devices.rs`, `access.rs`, with `parse.rs` for the kernel's formats); each check is a pure function of the
//! facts and the configuration that gives a [`Finding`]; and they are shown (`show.rs`). Nothing is changed,
//! bound or sent. Not here: what `weir check` says, that is, whether a file is right.
//!
//! | file | checks |
//! |---|---|
//! | `kernel.rs` | kernel, io_uring, io_uring_features |
//! | `limits.rs` | descriptors, locked_memory, memory, cpu_quota |
//! | `network.rs` | backlog, syn_cookies, migrate_req, local_ports |
//! | `cores.rs` | cores, isolated_cores, governor, idle_states, interrupts, numa, clocksource, hugepages, machine |
//! | `claims.rs` | addresses, accounts, files |

mod access;
mod claims;
mod cores;
mod devices;
mod host;
mod kernel;
mod limits;
mod network;
mod parse;
mod show;

use super::{WRONG, load, say, warn};
use crate::config::{self, Config, Listener, Runtime};
use crate::ring::RingSettings;
use host::Facts;
use serde::Serialize;
use std::path::Path;

pub(super) const HELP: &str = "\
Look at this host, and say what is missing for weir or makes it slow, and the remedy for each.

With --config it is measured against that FILE: its cores, limits, addresses, accounts and files; without, against the defaults. Run it as the user, in the container and with the limits that weir will have: it sees its own. Nothing is changed, bound or sent.

Each check comes to one of four levels:

  missing   weir cannot run so, or this is known to be broken
  advice    weir runs; this is slow, or will be short at its limits
  unseen    could not be looked at, and why
  ok        as it should be

Exits 0 if nothing is missing, else 2; a FILE that is wrong is 2 as well, with its faults on stderr.

With --json it prints one object: `config` (FILE or null), `missing` and `advice` (how many), and `findings`, each with `check`, `level`, `what`, and `remedy` (null if there is none). The checks, each of which has at least one finding:

  kernel io_uring io_uring_features
  descriptors locked_memory memory cpu_quota
  backlog syn_cookies migrate_req local_ports
  cores isolated_cores governor idle_states interrupts numa clocksource
  hugepages machine addresses accounts files";

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// weir cannot run so, or what it needs is known to be broken.
    Missing,
    /// weir runs, but slower or less than it might.
    Advice,
    /// It could not be looked at.
    Unseen,
    /// As it should be.
    Ok,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at, by a name that stays.
    check: &'static str,
    level: Level,
    /// What was found, with the numbers.
    what: String,
    /// What to do about it: commands to paste, or what to write where.
    remedy: Option<String>,
}

impl Finding {
    fn missing(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Missing, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn advice(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Advice, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn unseen(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, level: Level::Unseen, what: why.into(), remedy: None }
    }

    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), remedy: None }
    }
}

/// What the host is measured against: a configuration or, where there is none, the defaults.
struct Plan<'a> {
    config: Option<&'a Config>,
    runtime: Runtime,
    /// The core of each shard, or why there is none.
    cores: Result<Vec<usize>, String>,
}

impl<'a> Plan<'a> {
    fn new(config: Option<&'a Config>, available: &[usize]) -> Self {
        let runtime = config.map(|config| config.runtime.clone()).unwrap_or_default();
        let cores = config::expand(&runtime.cores, available).map_err(|refused| refused.to_string());
        Self { config, runtime, cores }
    }

    /// How many shards; one where that is unknown.
    fn shards(&self) -> usize {
        self.cores.as_ref().map_or(1, |cores| cores.len().max(1))
    }

    /// The shards' cores, each once, ascending.
    fn cores(&self) -> Vec<usize> {
        let mut cores = self.cores.clone().unwrap_or_default();
        cores.sort_unstable();
        cores.dedup();
        cores
    }

    fn listeners(&self) -> &'a [Listener] {
        self.config.map_or(&[], |config| &config.listeners)
    }
}

/// What a shard's ring is made with.
fn ring_settings(runtime: &Runtime) -> RingSettings {
    let Runtime { ring_entries: entries, buffers, buffer_size, .. } = *runtime;
    RingSettings { entries, buffers, buffer_size }
}

/// Every check, in the order in which they are shown.
fn examine(facts: &Facts, config: Option<&Config>) -> Vec<Finding> {
    let plan = Plan::new(config, &facts.cores.available);
    let rooms: [fn(&Facts, &Plan<'_>) -> Vec<Finding>; 5] =
        [kernel::examine, limits::examine, network::examine, cores::examine, claims::examine];
    rooms.iter().flat_map(|examine| examine(facts, &plan)).collect()
}

/// Examines this host, for the file `config` if there is one, and prints what was found; the exit code.
pub(super) fn doctor(config: Option<&Path>, json: bool) -> u8 {
    let checked = match config.map(load).transpose() {
        Ok(checked) => checked,
        Err(code) => return code,
    };
    if let Some(checked) = &checked {
        warn(&checked.warnings);
    }
    let parsed = checked.as_ref().map(|checked| &checked.config);
    let findings = examine(&host::read(parsed), parsed);
    say(if json { show::json(config, &findings) } else { show::table(&findings) });
    if findings.iter().any(|finding| finding.level == Level::Missing) { WRONG } else { 0 }
}

/// A sysctl's new value: for now, and for every start.
fn sysctl(setting: &str) -> String {
    format!("sysctl -w {setting}; echo '{setting}' >> /etc/sysctl.d/90-weir.conf")
}

/// Cores as the kernel and `runtime.cores` write them: "0-3,8".
fn listed(cores: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => runs.push((core, core)),
        }
    }
    let shown = runs.iter().map(|&(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A configuration with these lines, and what every one must have.
    pub(super) fn config(runtime: &str, listener: &str, pool: &str) -> Config {
        let text = format!(
            "[runtime]\n{runtime}\n[admin]\nlisten = []\n[[listener]]\nname = \"web\"\npool = \"app\"\n{listener}\n\
             [pool.app]\n{pool}\n[[pool.app.backend]]\naddress = \"10.0.0.1:80\"\n"
        );
        config::parse(&text, "weir.toml").unwrap().config
    }

    /// The one finding of `check`, at this level.
    pub(super) fn only(findings: &[Finding], check: &str, level: Level) -> Finding {
        let found: Vec<_> = findings.iter().filter(|finding| finding.check == check).collect();
        assert_eq!(found.len(), 1, "{check}: {findings:#?}");
        assert_eq!(found[0].level, level, "{:#?}", found[0]);
        assert_eq!(found[0].remedy.is_some(), matches!(level, Level::Missing | Level::Advice));
        found[0].clone()
    }

    /// The one finding of `check`, whose words have all of `parts`.
    pub(super) fn says(findings: &[Finding], check: &str, level: Level, parts: &[&str]) {
        let finding = only(findings, check, level);
        let said = format!("{}\n{}", finding.what, finding.remedy.unwrap_or_default());
        for part in parts {
            assert!(said.contains(part), "{check}: {part:?} is not in\n{said}");
        }
    }

    #[test]
    fn of_a_host_of_which_nothing_is_known_nothing_is_claimed() {
        let config = config("", "address = \"127.0.0.1:8080\"", "");
        for config in [None, Some(&config)] {
            let findings = examine(&Facts::default(), config);
            for finding in findings.iter().filter(|finding| finding.check != "cores") {
                assert!(matches!(finding.level, Level::Unseen | Level::Ok), "{finding:#?}");
            }
        }
    }

    #[test]
    fn every_check_of_the_help_text_has_a_finding_and_there_are_no_others() {
        let findings = examine(&Facts::default(), None);
        let listed = HELP.rsplit_once("at least one finding:").unwrap().1;
        let mut named: Vec<&str> = listed.split_whitespace().collect();
        let mut found: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
        named.sort_unstable();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, named);
    }

    #[test]
    fn cores_are_listed_as_the_key_would_write_them() {
        for (cores, expected) in [(&[][..], ""), (&[3], "3"), (&[0, 1, 2, 8], "0-2,8"), (&[1, 3], "1,3")] {
            assert_eq!(listed(cores), expected);
        }
    }

    #[test]
    fn this_host_is_read_without_a_panic_and_gets_its_findings() {
        let config = config("user = \"root\"", "address = \"127.0.0.1:8080\"", "");
        for config in [None, Some(&config)] {
            assert!(examine(&host::read(config), config).len() >= 20);
        }
    }
}
