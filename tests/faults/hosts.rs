//! Faults between hosts: a link that goes down, packets that vanish without a word. On loopback a dead peer
//! always says so; another host does not.
//!
//! One of three backends runs in a network namespace, behind a link of its own. That needs root and `ip`;
//! where it cannot be had the tests are skipped, with the reason.

use crate::control::state;
use crate::fleet::Server;
use crate::harness::{Ledger, Mix, OpenLoop, Weir, require, wait_until};
use crate::verdict::{as_prompt_as, counters_match, excusing, post_between};
use crate::{FOUR_SHARDS, hasty, ledger, site};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Another host, and the link to it.
struct Host {
    /// The namespace's name and, with an ending, those of both ends of the link.
    name: String,
    net: String,
}

impl Host {
    /// `None`, and a line that says why, if this machine does not allow it. That is no program that could be
    /// installed, so `WEIR_TESTS=all` skips it as well.
    fn start() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        require("ip")?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // Names of links have at most 15 letters; 198.18.0.0/15 is for tests (RFC 2544).
        let name = format!("wf{process:x}-{number}");
        let net = format!("198.{}.{}", 18 + process % 2, (process / 2 + number * 97) % 256);
        let host = Self { name, net };
        match host.set_up() {
            Ok(()) => Some(host),
            Err(why) => {
                println!("skipped: no network namespace can be made here: {why}");
                None
            }
        }
    }

    fn set_up(&self) -> Result<(), String> {
        let Self { name, net } = self;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {name}a type veth peer name {name}b"))?;
        ip(&format!("link set {name}b netns {name}"))?;
        ip(&format!("address add {net}.1/24 dev {name}a"))?;
        ip(&format!("link set {name}a up"))?;
        ip(&format!("-n {name} address add {net}.2/24 dev {name}b"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} link set {name}b up"))
    }

    /// A backend there.
    fn server(&self, name: &str, ledger: &Ledger, takes: Duration) -> Server {
        let address = format!("{}.2:8080", self.net).parse().unwrap();
        Server::start_at(address, &["ip", "netns", "exec", &self.name], name, ledger, takes)
    }

    /// The cable is pulled, or put back.
    fn link(&self, up: bool) {
        let to = if up { "up" } else { "down" };
        ip(&format!("-n {0} link set {0}b {to}", self.name)).unwrap();
    }

    /// What it sends goes to a host that there is not, or arrives again. It hears all and says nothing.
    fn silence(&self, silent: bool) {
        let Self { name, net } = self;
        ip(&if silent {
            format!("-n {name} neigh replace {net}.1 lladdr 02:00:00:00:00:99 dev {name}b nud permanent")
        } else {
            format!("-n {name} neigh del {net}.1 dev {name}b")
        })
        .unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its end of the link, and so the link, goes with it; unless that was never made.
        let _ = ip(&format!("link del {}a", self.name));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(args: &str) -> Result<(), String> {
    let output = Command::new("ip").args(args.split(' ')).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {args}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// The load while `fault` holds for three seconds between weir and one of three backends.
fn with_a_fault(what: &str, fault: impl Fn(&Host, bool)) {
    let Some(host) = Host::start() else { return };
    let ledger = ledger();
    let takes = Duration::from_millis(3);
    let fleet = [
        host.server("far", &ledger, takes),
        Server::start("near", &ledger, takes),
        Server::start("by", &ledger, takes),
    ];
    let entries: Vec<_> = fleet.iter().map(Server::entry).collect();
    let weir = Weir::start(&site(FOUR_SHARDS, &entries, &hasty()));
    wait_until("all are up", || fleet.iter().all(|server| state(&weir, &server.name) == "up"));
    let load = OpenLoop::start(weir.address("web"), Mix::default());
    load.run(1.0);
    let began = Instant::now();
    fault(&host, true);
    load.run(3.5);
    let over = Instant::now();
    fault(&host, false);
    load.wait_for("it has traffic again", 50, |record| record.backend.as_deref() == Some("far"));
    load.run(0.5);
    let ended = load.stop();
    let noticed = began + Duration::from_millis(2_500);
    let lost = excusing(what, &ended, &ledger, post_between(began, noticed));
    println!("{what}: {lost} POSTs lost");
    let quiet = ended.due(ended.records[0].due, began);
    assert!(quiet.share_of("far") > 0.2);
    assert_eq!(ended.due(noticed, over).share_of("far"), 0.0);
    as_prompt_as(what, &quiet, &ended.due(noticed, over));
    counters_match(what, &ended, &weir);
}

#[test]
fn a_link_goes_down_and_comes_up() {
    with_a_fault("link down", |host, bad| host.link(!bad));
}

#[test]
fn packets_vanish_without_a_word() {
    with_a_fault("packets vanish", Host::silence);
}
