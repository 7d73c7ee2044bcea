//! `weir check`: a configuration file, checked and shown as weir understands it.
//!
//! Here: the summary, a pure function of the configuration and its cores, and the verdict on the kernel.
//! Not here: the checks themselves (`config`, `ring`).

use super::{WRONG, load, records, say, seals, tell, warn};
use crate::config::{
    self, Answers, Check, Config, Eject, Forwarded, Health, HostPattern, ListenAddress, OnShardLoss, Pool,
    Protocol, Retry, Route, Runtime,
};
use crate::ring::{self, RingRefused};
use crate::serve::Account;
use crate::sys::{clock, cpu, kernel::KernelVersion};
use crate::time::Micros;
use crate::tls::{Loaded, Loader};
use std::path::Path;
use std::sync::Arc;

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
    let loaded = match Loader::new(Arc::default()).load(&checked.config) {
        Ok(loaded) => loaded,
        Err(refused) => {
            tell(refused);
            return WRONG;
        }
    };
    warn(&loaded.warnings);
    say(format_args!("{} is right.\n\n{}", file.display(), summary(&checked.config, &loaded, &cores)));
    say(format_args!("kernel\n  {}", verdict(&ring::probe())));
    0
}

/// What `config`, with what it names `loaded`, comes to on `cores`, one of them for each shard.
fn summary(config: &Config, loaded: &Loaded, cores: &[usize]) -> String {
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
    section("tls", seals::rules(config));
    let now_unix_s = clock::unix_s();
    section("certificates", seals::certificates(config, loaded, now_unix_s));
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
    let last = lasting(listener.max_age, listener.max_requests);
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    let http2 = http2_of_clients(listener);
    format!("{scheme}, forwarded {forwarded}, {via}, trusts {trusted}{ids}{last}{http2}")
}

/// What a listener has of HTTP/2 beyond the defaults.
fn http2_of_clients(listener: &config::Listener) -> String {
    let max_streams = listener.http2.max_streams;
    if listener.tls.is_none() && !listener.h2c {
        ", no HTTP/2".to_owned()
    } else if max_streams == config::Http2::default().max_streams {
        String::new()
    } else {
        format!(", {max_streams} streams on an HTTP/2 connection")
    }
}

/// How long connections go on, behind what else is said; nothing if that has no limit.
fn lasting(max_age: Micros, max_requests: u32) -> String {
    let requests =
        if max_requests == 1 { "1 request".to_owned() } else { format!("{max_requests} requests") };
    match (max_age.is_zero(), max_requests) {
        (true, 0) => String::new(),
        (false, 0) => format!(", connections last {max_age}"),
        (true, _) => format!(", connections last {requests}"),
        (false, _) => format!(", connections last {max_age} or {requests}"),
    }
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
    let last = lasting(pool.upstream.max_age, pool.upstream.max_requests);
    let spoken = if pool.upstream.protocol == Protocol::Http2 { "HTTP/2" } else { "" };
    vec![pool.name.clone(), pool.policy.word().to_owned(), format!("{checked}{last}"), spoken.to_owned()]
}

fn health(health: &Health) -> String {
    let what = match &health.check {
        Check::Tcp => "by connecting".to_owned(),
        Check::Http(http) => format!("by {} {}", http.method, http.path),
        Check::Grpc(grpc) if grpc.service.is_empty() => "by gRPC".to_owned(),
        Check::Grpc(grpc) => format!("by gRPC for {}", grpc.service),
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
    let grpc = on.grpc.iter().map(|status| format!("grpc-{}", status.word()));
    let on: Vec<_> = words.chain(on.statuses.iter().map(u16::to_string)).chain(grpc).collect();
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
    rows.extend(http2_at_worst(config));
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

/// What HTTP/2 may take beyond the memory told before, for each connection and exchange that does its worst.
fn http2_at_worst(config: &Config) -> Vec<Vec<String>> {
    let bytes = |listener| config::http2_connection_bytes(listener).map(|bytes| (listener, bytes));
    let worst = config.listeners.iter().filter_map(bytes).max_by_key(|(_, bytes)| *bytes);
    let clients = worst.map(|(listener, bytes)| {
        let streams = listener.http2.max_streams;
        format!(
            "{} more for a client's connection whose {streams} requests and their bodies all wait",
            size(bytes)
        )
    });
    let is_shared = |pool: &&config::Pool| pool.upstream.protocol == config::Protocol::Http2;
    let pools: Vec<&str> = config.pools.iter().filter(is_shared).map(|pool| &*pool.name).collect();
    let backends = (!pools.is_empty()).then(|| {
        let bytes = size(config::HTTP2_EXCHANGE_BYTES);
        format!(
            "{bytes} more for an exchange with {} while its client or the backend does not read",
            pools.join(", ")
        )
    });
    clients.into_iter().chain(backends).map(|row| vec!["HTTP/2".to_owned(), row]).collect()
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
mod tests;
