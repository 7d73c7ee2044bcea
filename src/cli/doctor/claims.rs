//! The checks of what the configuration names: addresses, accounts, files.

use super::access::{Account, FileState, Holder, Taken, Wanted};
use super::host::Facts;
use super::{Finding, Plan};
use crate::config::ListenAddress;

pub(super) fn examine(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    let mut findings = addresses(facts, plan);
    findings.extend(accounts(&facts.claims.accounts));
    findings.extend(files(&facts.claims.files));
    findings
}

fn addresses(facts: &Facts, plan: &Plan<'_>) -> Vec<Finding> {
    const CHECK: &str = "addresses";
    let Some(config) = plan.config else {
        return vec![Finding::unseen(CHECK, "no --config, so no addresses are known")];
    };
    if !facts.claims.sockets_seen {
        return vec![Finding::unseen(CHECK, "/proc/net/tcp cannot be read here")];
    }
    let mut findings: Vec<_> = facts.claims.taken.iter().map(|taken| taken_by(CHECK, taken)).collect();
    let low = config.listeners.iter().filter_map(|listener| match &listener.address {
        ListenAddress::Tcp(address) => Some((listener, address.port())),
        ListenAddress::Unix(_) => None,
    });
    let unprivileged_from = facts.network.unprivileged_from.unwrap_or(0);
    for (listener, port) in low.filter(|(_, port)| *port > 0 && *port < unprivileged_from) {
        if facts.privileges.binds_low_ports == Some(false) {
            findings.push(Finding::missing(
                CHECK,
                format!("listener {}: this user may not bind port {port}, below {unprivileged_from}", listener.name),
                format!(
                    "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, as config/weir.service has it; or {}",
                    super::sysctl(&format!("net.ipv4.ip_unprivileged_port_start={port}"))
                ),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "nobody listens on those of FILE"));
    }
    findings
}

fn taken_by(check: &'static str, taken: &Taken) -> Finding {
    let Taken { claim, address, holder, is_perhaps } = taken;
    let port = match address {
        ListenAddress::Tcp(address) => format!("ss -ltnp 'sport = :{}'", address.port()),
        ListenAddress::Unix(path) => format!("ss -lxp src {}", path.display()),
    };
    match holder {
        // A running weir is no fault of the host, and systemd passes its sockets on.
        Holder::Process { pid, name } if name == "weir" => Finding::ok(
            check,
            format!("{claim}: a running weir ({pid}) has {address}; --takeover follows it"),
        ),
        Holder::Process { pid: 1, name } if name == "systemd" => {
            Finding::ok(check, format!("{claim}: systemd holds {address}, for weir.socket to pass on"))
        }
        Holder::Process { pid, name } if *is_perhaps => Finding::advice(
            check,
            format!("{claim}: {name} ({pid}) listens on [::], which may take IPv4 and so {address} as well"),
            format!("look with `{port}`, and stop it or choose another port"),
        ),
        Holder::Unseen if *is_perhaps => Finding::advice(
            check,
            format!("{claim}: somebody listens on [::], which may take IPv4 and so {address} as well"),
            format!("look as root with `{port}`, and stop it or choose another port"),
        ),
        Holder::Process { pid, name } => Finding::missing(
            check,
            format!("{claim}: {name} ({pid}) has {address}"),
            format!("stop it (`kill {pid}`), or choose another port"),
        ),
        Holder::Unseen => Finding::missing(
            check,
            format!("{claim}: {address} is taken; this user may not see by whom"),
            format!("look as root with `{port}`, and stop it or choose another port"),
        ),
    }
}

fn accounts(accounts: &[Account]) -> Vec<Finding> {
    const CHECK: &str = "accounts";
    const NO_LOGIN: &str = "--no-create-home --shell /usr/sbin/nologin";
    let group = accounts.iter().find(|account| account.kind == "group");
    let finding = |account: &Account| {
        let Account { kind, name, exists } = account;
        match exists {
            Some(true) => return None,
            None => {
                return Some(Finding::unseen(
                    CHECK,
                    format!("whether there is a {kind} {name} is not to be found out"),
                ));
            }
            Some(false) => {}
        }
        let make = match (*kind, group) {
            ("group", _) => format!("groupadd --system {name}"),
            (_, None) => format!("useradd --system --user-group {NO_LOGIN} {name}"),
            (_, Some(group)) => format!("useradd --system --gid {} {NO_LOGIN} {name}", group.name),
        };
        Some(Finding::missing(CHECK, format!("runtime.{kind}: this host has no {kind} {name}"), make))
    };
    let found: Vec<_> = accounts.iter().filter_map(finding).collect();
    if !found.is_empty() {
        return found;
    }
    vec![match accounts.len() {
        0 => Finding::ok(CHECK, "none is asked for"),
        _ => Finding::ok(CHECK, "those of FILE are there"),
    }]
}

fn files(files: &[Wanted]) -> Vec<Finding> {
    const CHECK: &str = "files";
    let finding = |file: &Wanted| {
        let Wanted { key, path, state } = file;
        let shown = path.display();
        let directory = path.parent().unwrap_or(path).display();
        match state {
            FileState::Fine => None,
            FileState::Absent => Some(Finding::missing(
                CHECK,
                format!("{key}: there is no {shown}"),
                format!(
                    "openssl rand -hex 32 > {shown} && chown weir {shown} && chmod 400 {shown}; or correct {key}"
                ),
            )),
            FileState::Wrong(why, remedy) => {
                Some(Finding::missing(CHECK, format!("{key}: {shown}: {why}"), remedy.clone()))
            }
            // weir runs without, and what is changed at run time is lost at its end.
            FileState::NoDirectory => Some(Finding::advice(
                CHECK,
                format!("{key}: there is no directory {directory}, so changes do not outlive a restart"),
                format!("install -d -m 0750 -o weir -g weir {directory}; or StateDirectory=weir in the unit"),
            )),
            FileState::NotWritable => Some(Finding::advice(
                CHECK,
                format!("{key}: this user may not write in {directory}, so changes do not outlive a restart"),
                format!("chown weir:weir {directory}; or run the doctor as weir's user"),
            )),
            FileState::OutOfReach => Some(Finding::advice(
                CHECK,
                format!("{key}: weir's user may not read {shown}, so a reload will fail"),
                format!("chmod a+r {shown}, and a+x on the directories above it; or chown it to weir's user"),
            )),
        }
    };
    let found: Vec<_> = files.iter().filter_map(finding).collect();
    if !found.is_empty() {
        return found;
    }
    vec![match files.len() {
        0 => Finding::ok(CHECK, "none is asked for"),
        _ => Finding::ok(CHECK, "those of FILE are within reach"),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::Level::{self, Advice, Missing, Ok as Fine, Unseen};
    use super::super::host::Claims;
    use super::super::tests::{config, only, says};
    use super::*;

    fn found(facts: &Facts) -> Vec<Finding> {
        let config = config("", "address = \"127.0.0.1:80\"", "");
        examine(facts, &Plan::new(Some(&config), &[0]))
    }

    fn taken(holder: Holder, is_perhaps: bool) -> Facts {
        let address = ListenAddress::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
        let taken = vec![Taken { claim: "listener web".into(), address, holder, is_perhaps }];
        Facts { claims: Claims { sockets_seen: true, taken, ..Claims::default() }, ..Facts::default() }
    }

    fn process(pid: u32, name: &str) -> Holder {
        Holder::Process { pid, name: name.into() }
    }

    #[test]
    fn an_address_is_free_or_says_who_has_it() {
        let cases: [(Holder, bool, Level, &[&str]); 6] = [
            (
                process(42, "nginx"),
                false,
                Missing,
                &["listener web", "nginx (42)", "127.0.0.1:80", "kill 42"],
            ),
            (Holder::Unseen, false, Missing, &["taken", "as root", "ss -ltnp 'sport = :80'"]),
            (process(42, "weir"), false, Fine, &["running weir (42)", "--takeover"]),
            (process(1, "systemd"), false, Fine, &["weir.socket"]),
            (process(42, "java"), true, Advice, &["[::]", "java (42)"]),
            (Holder::Unseen, true, Advice, &["[::]", "as root"]),
        ];
        for (holder, is_perhaps, level, parts) in cases {
            says(&found(&taken(holder, is_perhaps)), "addresses", level, parts);
        }
        let mut free = taken(Holder::Unseen, false);
        free.claims.taken.clear();
        only(&found(&free), "addresses", Fine);
        free.claims.sockets_seen = false;
        only(&found(&free), "addresses", Unseen);
        only(&examine(&free, &Plan::new(None, &[0])), "addresses", Unseen);
    }

    #[test]
    fn a_low_port_needs_the_right_to_bind_it() {
        let mut facts = taken(Holder::Unseen, false);
        facts.claims.taken.clear();
        facts.network.unprivileged_from = Some(1024);
        facts.privileges.binds_low_ports = Some(false);
        let parts = ["port 80", "CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start=80"];
        says(&found(&facts), "addresses", Missing, &parts);
        facts.network.unprivileged_from = Some(80);
        only(&found(&facts), "addresses", Fine);
        facts.network.unprivileged_from = Some(1024);
        facts.privileges.binds_low_ports = Some(true);
        only(&found(&facts), "addresses", Fine);
    }

    #[test]
    fn an_account_that_is_not_there_comes_with_the_command_that_makes_it() {
        let mut facts = Facts::default();
        only(&found(&facts), "accounts", Fine);
        for (kind, exists, level, part) in [
            ("user", Some(false), Missing, "useradd --system --user-group"),
            ("group", Some(false), Missing, "groupadd --system weir"),
            ("user", Some(true), Fine, ""),
            ("user", None, Unseen, "weir"),
        ] {
            facts.claims.accounts = vec![Account { kind, name: "weir".into(), exists }];
            says(&found(&facts), "accounts", level, &[part]);
        }
        let account = |kind, name: &str, exists| Account { kind, name: name.into(), exists };
        facts.claims.accounts =
            vec![account("group", "web", Some(true)), account("user", "weir", Some(false))];
        says(&found(&facts), "accounts", Missing, &["useradd --system --gid web", " weir"]);
    }

    #[test]
    fn a_file_out_of_reach_is_told_with_its_key() {
        let mut facts = Facts::default();
        only(&found(&facts), "files", Fine);
        for (state, level, parts) in [
            (FileState::Fine, Fine, &[][..]),
            (FileState::Absent, Missing, &["there is no /var/lib/weir/file", "openssl rand -hex 32"]),
            (FileState::Wrong("denied".into(), "chmod".into()), Missing, &["a.key", "denied", "chmod"]),
            (FileState::NoDirectory, Advice, &["a.key", "/var/lib/weir", "install -d"]),
            (FileState::NotWritable, Advice, &["/var/lib/weir", "chown"]),
            (FileState::OutOfReach, Advice, &["a.key", "reload will fail", "chmod a+r /var/lib/weir/file"]),
        ] {
            facts.claims.files = vec![Wanted { key: "a.key", path: "/var/lib/weir/file".into(), state }];
            says(&found(&facts), "files", level, parts);
        }
    }
}
