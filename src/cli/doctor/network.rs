//! The checks of the network's sysctls.

use super::host::{Facts, Network};
use super::{Finding, Plan, sysctl};
use crate::config::{self, BackendAddress, ListenAddress, Pool};

/// The backlog of a listener of which the file says nothing.
const BACKLOG: u32 = 4096;

/// How many ports Linux gives by default: 32768 to 60999.
const PORTS: u64 = 28_232;

/// From 10240 on: 55,296 ports.
const WIDE: &str = "net.ipv4.ip_local_port_range=10240 65535";

pub(super) fn examine(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    let network = &facts.network;
    let mut findings = vec![backlog(network, plan), syn_cookies(network), migrate_req(network)];
    findings.extend(local_ports(network, plan));
    findings
}

fn backlog(network: &Network, plan: &Plan<'_>) -> Finding {
    const CHECK: &str = "backlog";
    let Some(most) = network.somaxconn else {
        return Finding::unseen(CHECK, "net.core.somaxconn cannot be read");
    };
    let listeners = plan.listeners().iter().map(|listener| (listener.backlog, listener.name.as_str()));
    let (wanted, name) = listeners.max().unwrap_or((BACKLOG, ""));
    if u64::from(wanted) <= most {
        return Finding::ok(CHECK, format!("net.core.somaxconn={most}, {wanted} is wanted"));
    }
    let whose = if name.is_empty() { "a listener".to_owned() } else { format!("listener {name}") };
    Finding::advice(
        CHECK,
        format!("{whose} wants a backlog of {wanted}, and net.core.somaxconn cuts it to {most}"),
        sysctl(&format!("net.core.somaxconn={wanted}")),
    )
}

/// With SYN cookies a flood of half-open connections shuts nobody out, and `tcp_max_syn_backlog` is not asked.
fn syn_cookies(network: &Network) -> Finding {
    const CHECK: &str = "syn_cookies";
    match network.syn_cookies {
        None => Finding::unseen(CHECK, "net.ipv4.tcp_syncookies cannot be read"),
        Some(0) => Finding::advice(
            CHECK,
            format!(
                "net.ipv4.tcp_syncookies=0: {} half-open connections (net.ipv4.tcp_max_syn_backlog) shut everybody out",
                network.syn_backlog.map_or("few".to_owned(), |backlog| backlog.to_string())
            ),
            sysctl("net.ipv4.tcp_syncookies=1"),
        ),
        Some(level) => Finding::ok(CHECK, format!("net.ipv4.tcp_syncookies={level}")),
    }
}

fn migrate_req(network: &Network) -> Finding {
    const CHECK: &str = "migrate_req";
    match network.migrate_req {
        None => Finding::unseen(CHECK, "net.ipv4.tcp_migrate_req cannot be read"),
        Some(0) => Finding::advice(
            CHECK,
            "a listening socket that closes (a shard or a weir that ends) resets the connections that wait in it",
            sysctl("net.ipv4.tcp_migrate_req=1"),
        ),
        Some(_) => Finding::ok(CHECK, "net.ipv4.tcp_migrate_req=1"),
    }
}

/// Each connection to one backend's address has a port of its own.
fn local_ports(network: &Network, plan: &Plan<'_>) -> Vec<Finding> {
    const CHECK: &str = "local_ports";
    let Some((first, last)) = network.local_ports else {
        return vec![Finding::unseen(CHECK, "net.ipv4.ip_local_port_range cannot be read")];
    };
    let within = |&(from, to): &(u16, u16)| {
        let (from, to) = (from.max(first), to.min(last));
        u64::from(to).saturating_sub(u64::from(from)) + u64::from(from <= to)
    };
    let reserved: u64 = network.reserved_ports.iter().map(within).sum();
    let ports = within(&(first, last)).saturating_sub(reserved);
    let mut findings: Vec<_> = short_of_ports(network, plan, ports)
        .map(|(what, remedy)| Finding::advice(CHECK, what, remedy))
        .collect();
    let is_reserved =
        |port: u16| network.reserved_ports.iter().any(|&(from, to)| (from..=to).contains(&port));
    for listener in plan.listeners() {
        let ListenAddress::Tcp(address) = &listener.address else { continue };
        let port = address.port();
        if (first..=last).contains(&port) && !is_reserved(port) {
            findings.push(Finding::advice(
                CHECK,
                format!(
                    "listener {}: port {port} is one of those that outgoing connections take ({first} to {last}), so \
                     it may be taken when weir starts",
                    listener.name
                ),
                sysctl(&format!("net.ipv4.ip_local_reserved_ports={port}")),
            ));
        }
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok(CHECK, format!("{ports} to each address of a backend ({first} to {last})")));
    }
    findings
}

/// What is short of ports and what to do, for each pool; without a configuration, for the host.
fn short_of_ports(network: &Network, plan: &Plan<'_>, ports: u64) -> impl Iterator<Item = (String, String)> {
    let mut widen = sysctl(WIDE).replacen(WIDE, &format!("'{WIDE}'"), 1);
    if network.tw_reuse == Some(0) {
        widen = format!("{widen}; {}", sysctl("net.ipv4.tcp_tw_reuse=1"));
    }
    let Some(config) = plan.config else {
        let what = format!("only {ports} connections to each address of a backend; {PORTS} are usual");
        return (ports < PORTS).then_some((what, widen)).into_iter().collect::<Vec<_>>().into_iter();
    };
    let short = config.pools.iter().filter(|pool| has_ports(pool)).filter_map(|pool| {
        let most = config::worst_case_connections(config, pool, plan.shards());
        let what = format!(
            "pool {}: up to {most} connections to each backend, and {ports} ports to each address for them; closed \
             ones keep theirs for a minute",
            pool.name
        );
        let remedy = format!("{widen}; or bound them: pool.{}.upstream.max_connections = {ports}", pool.name);
        (most > ports).then_some((what, remedy))
    });
    short.collect::<Vec<_>>().into_iter()
}

/// Whether a backend of `pool` is reached over TCP.
fn has_ports(pool: &Pool) -> bool {
    pool.backends.iter().any(|backend| !matches!(backend.address, BackendAddress::Unix(_)))
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Advice, Ok as Fine, Unseen};
    use super::super::tests::{config, only, says};
    use super::*;

    const BOUNDED: &str = "[pool.app.upstream]\nmax_connections = 28232";

    fn found(network: Network, listener: &str, pool: &str) -> Vec<Finding> {
        let facts = Facts { network, ..Facts::default() };
        examine(&facts, &Plan::new(Some(&config("", listener, pool)), &[0]))
    }

    #[test]
    fn a_backlog_is_cut_by_somaxconn() {
        let somaxconn = |most| Network { somaxconn: most, ..Network::default() };
        let listener = "address = \"127.0.0.1:8080\"\nbacklog = 1000";
        only(&found(somaxconn(None), listener, ""), "backlog", Unseen);
        only(&found(somaxconn(Some(1000)), listener, ""), "backlog", Fine);
        let parts = ["listener web", "cuts it to 999", "sysctl -w net.core.somaxconn=1000"];
        says(&found(somaxconn(Some(999)), listener, ""), "backlog", Advice, &parts);
        let facts = Facts { network: somaxconn(Some(4095)), ..Facts::default() };
        only(&examine(&facts, &Plan::new(None, &[0])), "backlog", Advice);
    }

    #[test]
    fn switches_that_are_off_come_with_the_command_that_makes_it_last() {
        let listener = "address = \"127.0.0.1:8080\"";
        for (value, level) in [(None, Unseen), (Some(0), Advice), (Some(1), Fine)] {
            let network = Network { syn_cookies: value, migrate_req: value, ..Network::default() };
            let findings = found(network, listener, "");
            only(&findings, "syn_cookies", level);
            let finding = only(&findings, "migrate_req", level);
            let command = "sysctl -w net.ipv4.tcp_migrate_req=1; \
                           echo 'net.ipv4.tcp_migrate_req=1' >> /etc/sysctl.d/90-weir.conf";
            assert_eq!(finding.remedy.as_deref(), (level == Advice).then_some(command));
        }
    }

    #[test]
    fn ports_to_a_backend_are_measured_against_its_connections() {
        let listener = "address = \"127.0.0.1:8080\"";
        let usual = Some((32_768, 60_999));
        let network = |local_ports| Network { local_ports, ..Network::default() };
        only(&found(network(None), listener, BOUNDED), "local_ports", Unseen);
        says(&found(network(usual), listener, BOUNDED), "local_ports", Fine, &["28232 to each"]);
        let narrow = network(Some((32_769, 60_999)));
        let parts = ["pool app", "28231 ports", "sysctl -w 'net.ipv4.ip_local_port_range=10240 65535'"];
        says(&found(narrow, listener, BOUNDED), "local_ports", Advice, &parts);
        // Without a bound it is as many as clients.
        says(
            &found(network(usual), listener, ""),
            "local_ports",
            Advice,
            &["65536", "max_connections = 28232"],
        );
        let reserved =
            Network { reserved_ports: vec![(60_000, 61_000)], tw_reuse: Some(0), ..network(usual) };
        says(&found(reserved, listener, BOUNDED), "local_ports", Advice, &["27232", "tcp_tw_reuse=1"]);
        let facts = |ports| Facts { network: network(Some(ports)), ..Facts::default() };
        only(&examine(&facts((32_768, 60_999)), &Plan::new(None, &[0])), "local_ports", Fine);
        only(&examine(&facts((40_000, 60_999)), &Plan::new(None, &[0])), "local_ports", Advice);
    }

    #[test]
    fn a_listeners_port_must_not_be_one_that_outgoing_connections_take() {
        let network = |reserved_ports| Network {
            local_ports: Some((32_768, 60_999)),
            reserved_ports,
            ..Network::default()
        };
        for (port, reserved, level) in [
            (32_767, vec![], Fine),
            (32_768, vec![], Advice),
            (60_999, vec![], Advice),
            (61_000, vec![], Fine),
            (40_000, vec![(40_000, 40_000)], Fine),
        ] {
            let listener = format!("address = \"127.0.0.1:{port}\"");
            let findings = found(network(reserved), &listener, "[pool.app.upstream]\nmax_connections = 1000");
            only(&findings, "local_ports", level);
        }
    }
}
