//! `weir check`: a configuration file, checked and shown as weir understands it.
//!
//! Here: the summary, a pure function of the configuration and its cores, and the verdict on the kernel.
//! Not here: the checks themselves (`config`, `ring`).

use super::{WRONG, load, say, tell, warn};
use crate::config::{self, Check, Config, Forwarded, Health, HostPattern, Policy, Pool, Route};
use crate::ring::{self, RingRefused};
use crate::sys::{cpu, kernel::KernelVersion};
use std::path::Path;

/// Checks `file` and prints what it comes to; the exit code.
pub(super) fn check(file: &Path) -> u8 {
    let checked = match load(file) {
        Ok(checked) => checked,
        Err(code) => return code,
    };
    warn(&checked.warnings);
    let cores = match config::expand(&checked.config.runtime.cores, &cpu::available()) {
        Ok(cores) => cores,
        Err(refused) => {
            tell(format_args!("{}: {refused}", file.display()));
            return WRONG;
        }
    };
    say(format_args!("{} is right.\n\n{}", file.display(), summary(&checked.config, &cores)));
    say(format_args!("kernel\n  {}", verdict(&ring::probe())));
    0
}

/// What `config` comes to on `cores`, one of them for each shard.
fn summary(config: &Config, cores: &[usize]) -> String {
    let mut out = String::new();
    let mut section = |title: &str, rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            out.push_str(title);
            out.push('\n');
            out.push_str(&columns(&rows));
        }
    };
    let listener = |listener: &config::Listener| {
        let (name, address) = (listener.name.clone(), listener.address.to_string());
        vec![name, address, forwarded(listener.forwarded).to_owned()]
    };
    section("listeners", config.listeners.iter().map(listener).collect());
    section("routes", routes(config));
    section("pools", config.pools.iter().map(pool).collect());
    for pool in &config.pools {
        section(&format!("backends of {}", pool.name), backends(pool));
    }
    let admin = config.admin.listen.iter().map(|address| vec![address.to_string()]);
    section("admin", admin.collect());
    section("shards", vec![vec![shards(cores)]]);
    section("at worst", at_worst(config, cores.len()));
    out
}

fn forwarded(forwarded: Forwarded) -> &'static str {
    match forwarded {
        Forwarded::Append => "http, forwarded append",
        Forwarded::Replace => "http, forwarded replace",
        Forwarded::Off => "http, forwarded off",
    }
}

/// The routes, and each listener's default pool as the last of its own.
fn routes(config: &Config) -> Vec<Vec<String>> {
    let pool = |index: usize| config.pools.get(index).map_or("", |pool| &pool.name);
    let row = |listener: &str, host: String, path: &str, to: usize| {
        vec![listener.to_owned(), host, path.to_owned(), format!("to {}", pool(to))]
    };
    let mut rows = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        for Route { host, path, pool, .. } in config.routes.iter().filter(|route| route.listener == index) {
            rows.push(row(&listener.name, host_shown(host), path.as_deref().unwrap_or("any path"), *pool));
        }
        if let Some(default) = listener.pool {
            rows.push(row(&listener.name, "all else".to_owned(), "", default));
        }
    }
    rows
}

fn host_shown(host: &Option<HostPattern>) -> String {
    match host {
        None => "any host".to_owned(),
        Some(HostPattern::Exact(host)) => host.clone(),
        Some(HostPattern::Suffix(suffix)) => format!("*{suffix}"),
    }
}

fn pool(pool: &Pool) -> Vec<String> {
    let policy = match pool.policy {
        Policy::RoundRobin => "round_robin",
        Policy::LeastConn => "least_conn",
        Policy::IpHash => "ip_hash",
        Policy::RandomTwo => "random_two",
    };
    let checked = pool.health.as_ref().map_or("not checked".to_owned(), health);
    vec![pool.name.clone(), policy.to_owned(), checked]
}

fn health(health: &Health) -> String {
    let what = match &health.check {
        Check::Tcp => "by connecting".to_owned(),
        Check::Http(http) => format!("by {} {}", http.method, http.path),
    };
    let Health { interval, rise, fall, .. } = health;
    format!("checked {what} every {interval}, up after {rise} passed, down after {fall} failed")
}

fn backends(pool: &Pool) -> Vec<Vec<String>> {
    let row = |backend: &config::Backend| {
        let backup = if backend.backup { ", backup" } else { "" };
        vec![backend.name.clone(), backend.address.to_string(), format!("weight {}{backup}", backend.weight)]
    };
    pool.backends.iter().map(row).collect()
}

fn shards(cores: &[usize]) -> String {
    let listed = match cores {
        [only] => format!("core {only}"),
        [first, .., last] if cores.windows(2).all(|pair| pair[0] + 1 == pair[1]) => {
            format!("cores {first}-{last}")
        }
        _ => format!("cores {}", cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
    };
    format!("{} on {listed}", cores.len())
}

fn at_worst(config: &Config, shards: usize) -> Vec<Vec<String>> {
    let memory = config::worst_case_memory_bytes(config, shards);
    let clients = config.runtime.max_connections.saturating_mul(shards);
    let mut rows = vec![
        vec!["memory".to_owned(), format!("{} beside the kernel's socket buffers", size(memory))],
        vec!["clients".to_owned(), format!("{clients} connections")],
    ];
    for pool in &config.pools {
        let connections = config::worst_case_connections(config, pool, shards);
        rows.push(vec![pool.name.clone(), format!("{connections} connections to each backend")]);
    }
    rows
}

/// A number of bytes in the unit that keeps it short: "210.5 MiB".
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (0x400, "KiB"),
        0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
        _ => (0x4000_0000, "GiB"),
    };
    format!("{:.1} {name}", bytes as f64 / f64::from(unit))
}

/// Rows of cells as aligned lines, indented by two.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("  {cell:<0$}", width(column)));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn verdict(probed: &Result<KernelVersion, RingRefused>) -> String {
    match probed {
        Ok(found) if *found < ring::RECOMMENDED => {
            let recommended = ring::RECOMMENDED;
            format!("{found}: its io_uring is good enough; {recommended} or newer mends faults in it")
        }
        Ok(found) => format!("{found}: its io_uring is good"),
        Err(refused) => format!("weir cannot run here: {refused}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[runtime]
max_connections = 1000
[[listener]]
name = "web"
address = "127.0.0.1:8080"
pool = "app"
[[listener]]
name = "local"
address = "unix:/run/weir.sock"
forwarded = "off"
[[route]]
listener = "web"
host = "*.example.org"
path = "/api"
pool = "api"
[[route]]
listener = "local"
pool = "api"
[pool.app]
policy = "ip_hash"
[pool.app.upstream]
max_connections = 50
[[pool.app.backend]]
name = "a"
address = "10.0.0.1:80"
[[pool.app.backend]]
address = "app.internal:80"
weight = 3
backup = true
[pool.api]
[[pool.api.backend]]
address = "unix:/run/api.sock"
[pool.api.health]
type = "http"
path = "/up"
"#;

    #[test]
    fn the_summary_shows_every_part_as_weir_understands_it() {
        let config = config::parse(TEXT, "weir.toml").unwrap().config;
        let summary = summary(&config, &[0, 1]);
        let squeezed: Vec<String> =
            summary.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "web 127.0.0.1:8080 http, forwarded append",
            "local unix:/run/weir.sock http, forwarded off",
            "web *.example.org /api to api",
            "web all else to app",
            "local any host any path to api",
            "app ip_hash not checked",
            "api least_conn checked by GET /up every 2s, up after 2 passed, down after 3 failed",
            "a 10.0.0.1:80 weight 1",
            "app.internal:80 app.internal:80 weight 3, backup",
            "127.0.0.1:9900",
            "2 on cores 0-1",
            "clients 2000 connections",
            "app 50 connections to each backend",
            "api 2000 connections to each backend",
        ] {
            assert!(squeezed.iter().any(|line| line == expected), "{expected}\n{summary}");
        }
    }

    #[test]
    fn the_samples_are_right_and_what_cannot_run_here_is_wrong() {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for sample in ["minimal.toml", "demo.toml", "production.toml"] {
            assert_eq!(check(&samples.join(sample)), 0, "{sample}");
        }
        let file = std::env::temp_dir().join(format!("weir-check-{}.toml", std::process::id()));
        for (case, text) in [
            ("a core that is not there", TEXT.replace("[runtime]", "[runtime]\ncores = \"1023\"")),
            ("an unknown key", format!("{TEXT}\npaht = 1")),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(check(&file), WRONG, "{case}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn cores_are_listed_as_the_key_would_write_them() {
        for (cores, expected) in [
            (&[3][..], "1 on core 3"),
            (&[0, 1, 2], "3 on cores 0-2"),
            (&[0, 2], "2 on cores 0,2"),
            (&[0, 0], "2 on cores 0,0"),
        ] {
            assert_eq!(shards(cores), expected);
        }
    }

    #[test]
    fn a_size_is_shown_in_the_unit_that_keeps_it_short() {
        for (bytes, expected) in
            [(512, "0.5 KiB"), (1 << 20, "1.0 MiB"), (220_725_248, "210.5 MiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn the_verdict_tells_a_good_kernel_from_a_better_and_from_none() {
        let kernel = |major, minor, patch| Ok(KernelVersion { major, minor, patch });
        assert!(verdict(&kernel(6, 18, 0)).ends_with("is good"));
        assert!(verdict(&kernel(6, 1, 0)).contains("6.12.21 or newer"));
        let refused = Err(RingRefused::SwitchedOff { level: 2 });
        assert!(verdict(&refused).contains("cannot run here"));
    }

    #[test]
    fn columns_line_up_and_leave_no_blanks_at_the_end() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        assert_eq!(columns(&[row(["a", "b"]), row(["ccc", ""])]), "  a    b\n  ccc\n");
    }
}
