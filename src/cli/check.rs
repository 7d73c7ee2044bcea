//! `weir check`: a configuration file, checked and shown as weir understands it.
//!
//! Here: the summary, a pure function of the configuration and its cores, and the verdict on the kernel.
//! Not here: the checks themselves (`config`, `ring`).

use super::{WRONG, load, records, say, tell, warn};
use crate::config::{
    self, Answers, Check, Config, Eject, Forwarded, Health, HostPattern, ListenAddress, OnShardLoss, Pool,
    Protocol, Retry, Route, Runtime,
};
use crate::ring::{self, RingRefused};
use crate::serve::Account;
use crate::sys::{cpu, kernel::KernelVersion};
use crate::time::Micros;
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
        vec![name, address, of_clients(listener)]
    };
    section("listeners", config.listeners.iter().map(listener).collect());
    section("error pages", error_pages(config));
    section("routes", routes(config));
    section("pools", config.pools.iter().map(pool).collect());
    for pool in &config.pools {
        section(&format!("backends of {}", pool.name), backends(pool));
    }
    section("on failures", config.pools.iter().flat_map(|pool| on_failures(pool, &config.pools)).collect());
    let admin = config.admin.listen.iter().map(|address| {
        let guard = match (address, &config.admin.token_file) {
            (ListenAddress::Tcp(_), Some(file)) => format!("with the token in {}", file.display()),
            (ListenAddress::Tcp(_), None) => "open to everybody on this host".to_owned(),
            (ListenAddress::Unix(_), _) => "for weir's user and group".to_owned(),
        };
        vec![address.to_string(), guard]
    });
    section("admin", admin.collect());
    section("access log", records::access_log(&config.access_log));
    section("tracing", config.tracing.iter().map(tracing).collect());
    section("shards", vec![vec![shards(cores)], vec![on_shard_loss(config.runtime.on_shard_loss)]]);
    section("process", vec![vec![process(&config.runtime)]]);
    section("changes", changes(&config.runtime));
    section("at worst", at_worst(config, cores.len()));
    out
}

/// What a listener makes of who its clients are, and of what is said of them.
fn of_clients(listener: &config::Listener) -> String {
    let forwarded = match listener.forwarded {
        Forwarded::Append => "append",
        Forwarded::Replace => "replace",
        Forwarded::Off => "off",
    };
    let config::TrustedProxies { networks, unix } = &listener.trusted_proxies;
    let mut trusted: Vec<String> = networks.iter().map(ToString::to_string).collect();
    trusted.extend(unix.then(|| "unix:".to_owned()));
    let trusted = if trusted.is_empty() { "nobody".to_owned() } else { trusted.join(" ") };
    let via = listener.via.as_ref().map_or("no Via".to_owned(), |via| format!("Via {via}"));
    let ids = listener.request_id.as_ref().map_or(String::new(), |field| format!(", ids in {field}"));
    format!("http, forwarded {forwarded}, {via}, trusts {trusted}{ids}")
}

/// Which traces are sampled, and where they go.
fn tracing(tracing: &config::Tracing) -> Vec<String> {
    let share = percent(tracing.sample);
    let to = tracing.otlp.as_ref().map_or("told to nobody".to_owned(), |to| format!("told to {to}"));
    vec![format!("{share} of traces, and those that a trusted proxy samples"), to]
}

/// The pages that weir's own answers get, by listener, and how large each is.
fn error_pages(config: &Config) -> Vec<Vec<String>> {
    let row = |listener: &config::Listener, page: &config::ErrorPage| {
        let answers = match page.answers {
            Answers::Status(status) => status.to_string(),
            Answers::Class(class) => format!("{class}xx"),
        };
        let page = format!("{}, {} bytes, {}", page.file.display(), page.body.0.len(), page.content_type);
        vec![listener.name.clone(), answers, page]
    };
    let pages = |listener| move |page| row(listener, page);
    config.listeners.iter().flat_map(|listener| listener.error_pages.0.iter().map(pages(listener))).collect()
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
    let checked = pool.health.as_ref().map_or("not checked".to_owned(), health);
    let spoken = if pool.upstream.protocol == Protocol::Http2 { "HTTP/2" } else { "" };
    vec![pool.name.clone(), pool.policy.word().to_owned(), checked, spoken.to_owned()]
}

fn health(health: &Health) -> String {
    let what = match &health.check {
        Check::Tcp => "by connecting".to_owned(),
        Check::Http(http) => format!("by {} {}", http.method, http.path),
    };
    let Health { interval, rise, fall, .. } = health;
    format!("checked {what} every {interval}, up after {rise} passed, down after {fall} failed")
}

/// What `pool` does about backends that fail, a rule a row; what it does not do is left out.
fn on_failures(pool: &Pool, pools: &[Pool]) -> Vec<Vec<String>> {
    let mut rules = vec![retried(&pool.retry)];
    rules.extend(pool.eject.as_ref().map(ejected));
    if pool.slow_start > Micros::ZERO {
        rules.push(format!("slow start over {}", pool.slow_start));
    }
    if pool.panic_below > 0.0 {
        rules.push(format!("panic below {} healthy", percent(pool.panic_below)));
    }
    if let Some(fallback) = pool.fallback.and_then(|index| pools.get(index)) {
        rules.push(format!("falls back to {}", fallback.name));
    }
    let named = std::iter::once(pool.name.clone()).chain(std::iter::repeat(String::new()));
    named.zip(rules).map(|(name, rule)| vec![name, rule]).collect()
}

fn retried(retry: &Retry) -> String {
    let Retry { attempts, on, budget, budget_min_per_s, .. } = retry;
    let words = [
        (on.connect, "connect"),
        (on.no_response, "no_response"),
        (on.truncated, "truncated"),
        (on.response_timeout, "response_timeout"),
    ];
    let words = words.iter().filter(|(is_on, _)| *is_on).map(|(_, word)| (*word).to_owned());
    let on: Vec<_> = words.chain(on.statuses.iter().map(u16::to_string)).collect();
    if *attempts == 0 || on.is_empty() {
        return "not tried again".to_owned();
    }
    let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
    let share = percent(*budget);
    let on = on.join(", ");
    format!("tried again {times} on {on}, for {share} of requests and {budget_min_per_s} a second")
}

fn ejected(eject: &Eject) -> String {
    let Eject { consecutive_failures, error_share, window, base_time, max_share, latency_factor } = eject;
    let rules = [
        (*consecutive_failures > 0).then(|| format!("{consecutive_failures} failures in a row")),
        (*error_share > 0.0).then(|| format!("{} failed in {window}", percent(*error_share))),
        (*latency_factor > 0.0).then(|| format!("{latency_factor} times the median latency")),
    ];
    let rules: Vec<_> = rules.into_iter().flatten().collect();
    if rules.is_empty() {
        return "never ejected".to_owned();
    }
    let (rules, most) = (rules.join(" or "), percent(*max_share));
    format!("ejected for {base_time} and longer after {rules}, at most {most} of the pool")
}

/// A share as an operator says it: "20 %", "12.5 %".
pub(super) fn percent(share: f64) -> String {
    format!("{} %", (share * 10_000.0).round() / 100.0)
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

fn on_shard_loss(on_shard_loss: OnShardLoss) -> String {
    match on_shard_loss {
        OnShardLoss::ServeOn => "when one dies, the others serve on".to_owned(),
        OnShardLoss::Exit => "when one dies, weir drains and exits".to_owned(),
    }
}

/// Whom the process becomes, or why it cannot on this host, which may not be the one that it is for.
fn process(runtime: &Runtime) -> String {
    match Account::of(runtime) {
        Ok(Some(account)) => format!("becomes {account} once it has bound its addresses"),
        Ok(None) => "stays the user that starts it".to_owned(),
        Err(refused) => format!("cannot start here: {refused}"),
    }
}

/// How the running weir changes, and what of that outlives it.
fn changes(runtime: &Runtime) -> Vec<Vec<String>> {
    let file =
        if runtime.watch { "reloaded when the file changes, and on SIGHUP" } else { "reloaded on SIGHUP" };
    let kept = match &runtime.state_file {
        Some(path) => format!("what is changed at run time is kept in {}", path.display()),
        None => "what is changed at run time is forgotten at the end".to_owned(),
    };
    vec![vec![file.to_owned()], vec![kept]]
}

fn at_worst(config: &Config, shards: usize) -> Vec<Vec<String>> {
    let memory = config::worst_case_memory_bytes(config, shards);
    let clients = config.runtime.max_connections.saturating_mul(shards);
    let mut rows = vec![
        vec!["memory".to_owned(), format!("{} beside the kernel's socket buffers", size(memory))],
        vec!["clients".to_owned(), format!("{clients} connections")],
    ];
    rows.extend(config.listeners.iter().filter_map(|listener| {
        let bound = clients_bound(listener)?;
        Some(vec![listener.name.clone(), bound])
    }));
    for pool in &config.pools {
        let connections = config::worst_case_connections(config, pool, shards);
        rows.push(vec![pool.name.clone(), format!("{connections} connections to each backend")]);
    }
    rows
}

/// How many connections with clients `listener` has at most; `None`: it has no limit of its own.
fn clients_bound(listener: &config::Listener) -> Option<String> {
    let trusted = if listener.trusted_proxies.is_empty() { "" } else { " that is no trusted proxy" };
    match (listener.max_connections, listener.max_connections_per_client) {
        (0, 0) => None,
        (all, 0) => Some(format!("{all} connections with clients")),
        (0, each) => Some(format!("{each} connections with each client{trusted}")),
        (all, each) => Some(format!("{all} connections with clients, {each} with each client{trusted}")),
    }
}

/// A number of bytes in the unit that keeps it short: "210.5 MiB".
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size(bytes: u64) -> String {
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
on_shard_loss = "exit"
user = "root"
group = "4242"
watch = true
state_file = "/var/lib/weir/state.json"
[tracing]
otlp = "http://otel:4318"
[[listener]]
name = "web"
address = "127.0.0.1:8080"
pool = "app"
request_id = "X-Request-Id"
max_connections = 900
max_connections_per_client = 20
[[listener]]
name = "local"
address = "unix:/run/weir.sock"
forwarded = "off"
via = ""
trusted_proxies = ["10.0.0.0/8", "unix:", "fd00::1"]
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
slow_start = "10s"
panic_below = 0.3
fallback = "api"
[pool.app.upstream]
max_connections = 50
[pool.app.eject]
latency_factor = 5
[pool.app.retry]
attempts = 2
on = ["503", "connect"]
[[pool.app.backend]]
name = "a"
address = "10.0.0.1:80"
[[pool.app.backend]]
address = "app.internal:80"
weight = 3
backup = true
[pool.api]
retry.attempts = 0
[[pool.api.backend]]
address = "unix:/run/api.sock"
[pool.api.health]
type = "http"
path = "/up"
"#;

    #[test]
    fn a_pool_that_speaks_http_2_says_so_and_what_it_may_take_is_counted() {
        let config = |upstream: &str| {
            let text = format!(
                "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\n[pool.app.upstream]\n{upstream}\n\
                 [[pool.app.backend]]\naddress = \"127.0.0.1:2\"\n"
            );
            config::parse(&text, "weir.toml").unwrap().config
        };
        let (plain, h2) = (config(""), config("protocol = \"h2\""));
        assert!(
            summary(&h2, &[0]).lines().any(|line| line.contains("least_conn") && line.ends_with("HTTP/2"))
        );
        assert!(!summary(&plain, &[0]).contains("HTTP/2"));
        let more = config::worst_case_memory_bytes(&h2, 1) - config::worst_case_memory_bytes(&plain, 1);
        assert!(more >= plain.runtime.max_connections as u64 * (128 << 10));
    }

    #[test]
    fn the_summary_shows_every_part_as_weir_understands_it() {
        let config = config::parse(TEXT, "weir.toml").unwrap().config;
        let summary = summary(&config, &[0, 1]);
        let squeezed: Vec<String> =
            summary.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "web 127.0.0.1:8080 http, forwarded append, Via weir, trusts nobody, ids in X-Request-Id",
            "1 % of traces, and those that a trusted proxy samples told to http://otel:4318/v1/traces",
            "local unix:/run/weir.sock http, forwarded off, no Via, trusts 10.0.0.0/8 fd00::1/128 unix:",
            "web *.example.org /api to api",
            "web all else to app",
            "local any host any path to api",
            "app ip_hash not checked",
            "api least_conn checked by GET /up every 2s, up after 2 passed, down after 3 failed",
            "a 10.0.0.1:80 weight 1",
            "app.internal:80 app.internal:80 weight 3, backup",
            "app tried again 2 times on connect, 503, for 20 % of requests and 3 a second",
            "ejected for 10s and longer after 5 failures in a row or 50 % failed in 10s or 5 times the median \
             latency, at most 50 % of the pool",
            "slow start over 10s",
            "panic below 30 % healthy",
            "falls back to api",
            "api not tried again",
            "when one dies, weir drains and exits",
            "reloaded when the file changes, and on SIGHUP",
            "what is changed at run time is kept in /var/lib/weir/state.json",
            "127.0.0.1:9900 open to everybody on this host",
            "2 on cores 0-1",
            "becomes user root (0), group 4242 once it has bound its addresses",
            "clients 2000 connections",
            "web 900 connections with clients, 20 with each client",
            "app 50 connections to each backend",
            "api 2000 connections to each backend",
        ] {
            assert!(squeezed.iter().any(|line| line == expected), "{expected}\n{summary}");
        }
    }

    #[test]
    fn the_process_stays_or_becomes_somebody_or_cannot() {
        let of = |user: &str| process(&Runtime { user: Some(user.to_owned()), ..Runtime::default() });
        assert_eq!(process(&Runtime::default()), "stays the user that starts it");
        assert_eq!(of("root"), "becomes user root (0), group 0 once it has bound its addresses");
        assert!(of("no-such-user").contains("cannot start here: runtime.user: "));
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
