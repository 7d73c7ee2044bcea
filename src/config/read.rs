//! The whole file: its sections in an order in which references resolve, and the sections of the process.
//!
//! Here: `[runtime]`, `[admin]`, `[log]`, and the checks over all parts. Not here: listeners and routes (`listener.rs`), pools (`pool.rs`), what is recorded
//! (`records.rs`).
//!
//! Where a value is wrong its default is taken, so that reading goes on and finds all faults; the recorded
//! fault keeps such a configuration from ever getting out of [`parse`](super::parse).

use super::address;
use super::cores;
use super::fault::{Place, Report, Wrong};
use super::listener;
use super::model::{AccessLog, Admin, Config, ListenAddress, Log, LogFormat, LogLevel, OnShardLoss, Runtime};
use super::pool;
use super::records;
use super::reference::Claims;
use super::section::Section;
use super::values;
use crate::time::Micros;
use toml::de::{DeTable, DeValue};

/// The addresses that something listens on already.
pub(super) type ListenAddresses = Claims<ListenAddress>;

const A_DAY: Micros = Micros::from_s(24 * 3600);

/// Reads everything and reports all faults.
pub(super) fn config<'a>(report: &'a Report<'a>, table: &'a DeTable<'a>) -> Config {
    let mut root = Section::root(report, table);
    let mut addresses = ListenAddresses::new();
    let (runtime, state_file_place) = match root.section("runtime") {
        Some(section) => {
            let place = section.place_of("state_file");
            (runtime(section), Some(place))
        }
        None => (Runtime::default(), None),
    };
    let log = root.section("log").map_or_else(Log::default, log);
    let pools = root.section("pool").map_or_else(Vec::new, |section| pool::pools(section, &runtime));
    let pool_names: Vec<String> = pools.iter().map(|read| read.pool.name.clone()).collect();
    let (listeners, routes) = listener::listeners_and_routes(&mut root, &pool_names, &mut addresses);
    // After the listeners, so that of an address taken twice the fault is told of the admin surface.
    let admin = match root.section("admin") {
        Some(section) => admin(section, &mut addresses),
        None => default_admin(report, &Place { offset: 0, key: "admin.listen".to_owned() }, &mut addresses),
    };
    if let (Some(_), Some(place), []) = (&runtime.state_file, state_file_place, admin.listen.as_slice()) {
        let what = "without an admin surface nothing is changed at run time, so there is nothing to keep";
        report.warn(&place, Wrong::new(what, "add an address to admin.listen, or remove it"));
    }
    let access_log = root.section("access_log").map_or_else(AccessLog::default, records::access_log);
    let tracing = root.section("tracing").map(records::tracing);
    root.finish(&[]);
    for (index, read) in pools.iter().enumerate() {
        let by_listener = listeners.iter().any(|listener| listener.pool == Some(index));
        let by_pool = pools.iter().any(|read| read.pool.fallback == Some(index));
        if !by_listener && !by_pool && !routes.iter().any(|route| route.pool == index) {
            let wrong = Wrong::new("nobody uses this pool", "name it in a listener or a route, or remove it");
            report.warn(&read.place, wrong);
        }
    }
    let pools = pools.into_iter().map(|read| read.pool).collect();
    Config { runtime, admin, log, access_log, tracing, listeners, routes, pools }
}

fn runtime(mut s: Section<'_>) -> Runtime {
    const LOSS: &[(&str, OnShardLoss)] = &[("serve_on", OnShardLoss::ServeOn), ("exit", OnShardLoss::Exit)];
    let default = Runtime::default();
    let to = Micros::ZERO;
    let runtime = Runtime {
        cores: s.read("cores", cores::read).unwrap_or(default.cores),
        spin: s.length("spin", to..=Micros::from_ms(10), default.spin),
        sync: s.length("sync", Micros::from_us(50)..=Micros::from_s(1), default.sync),
        max_connections: s.integer("max_connections", 1..=1 << 22, default.max_connections as u64) as usize,
        shutdown_delay: s.length("shutdown_delay", to..=A_DAY, default.shutdown_delay),
        grace: s.length("grace", to..=A_DAY, default.grace),
        ring_entries: power_of_two(&mut s, "ring_entries", 64..=32_768, default.ring_entries.into()),
        buffer_size: s.size("buffer_size", 4 << 10..=1 << 20, default.buffer_size as u64) as usize,
        buffers: power_of_two(&mut s, "buffers", 16..=32_768, default.buffers.into()) as u16,
        state_file: s.text("state_file", |text| address::file(text, "/var/lib/weir/state.json")),
        watch: s.read("watch", values::flag).unwrap_or(default.watch),
        on_shard_loss: s.choice("on_shard_loss", LOSS, &[], default.on_shard_loss),
        resolver: s.text("resolver", address::dns_server),
        user: s.text("user", address::account),
        group: s.text("group", address::account),
    };
    let repeated = cores::repeated(&runtime.cores);
    if !repeated.is_empty() {
        let wrong = Wrong::new(
            format!("core {} gets more than one shard", list_of(&repeated)),
            "name each core once, unless this is a test: shards that share a core slow each other down",
        );
        s.report.warn(&s.place_of("cores"), wrong);
    }
    s.finish(&[]);
    runtime
}

fn list_of(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The kernel rounds a ring's entries up to a power of two and refuses any other number of buffers in a
/// buffer ring (io_uring_register_buf_ring(3)); weir asks for it, so that what is written is what is had.
fn power_of_two(
    s: &mut Section<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> u32 {
    let parse = |value: &DeValue<'_>| {
        let n = values::integer(value, range)?;
        if n.is_power_of_two() {
            return Ok(n as u32);
        }
        let (above, below) = (n.next_power_of_two(), n.next_power_of_two() / 2);
        let what = format!("{n} is not a power of two, which the kernel's rings need");
        Err(Wrong::new(what, format!("use {below} or {above}")))
    };
    s.read(key, parse).unwrap_or(default as u32)
}

fn admin(mut s: Section<'_>, addresses: &mut ListenAddresses) -> Admin {
    let mut listen = Vec::new();
    let default_place = (!s.has("listen")).then(|| s.place_of("listen"));
    let report = s.report;
    let token_file = s.text("token_file", |text| address::file(text, "/etc/weir/admin.token"));
    let has_token = s.has("token_file");
    for entry in s.list("listen", "a list: listen = [\"127.0.0.1:9900\"]") {
        match values::text(entry.value.get_ref())
            .and_then(address::listen)
            .and_then(|address| reachable(address, has_token))
        {
            Ok(address) => {
                claim_address(report, addresses, &address, &entry.place);
                listen.push(address);
            }
            Err(wrong) => report.error(&entry.place, wrong),
        }
    }
    s.finish(&[]);
    match default_place {
        Some(place) => Admin { token_file, ..default_admin(report, &place, addresses) },
        None => Admin { listen, token_file },
    }
}

/// The default's address may be taken too, by a listener.
fn default_admin(report: &Report<'_>, place: &Place, addresses: &mut ListenAddresses) -> Admin {
    let admin = Admin::default();
    for address in &admin.listen {
        claim_address(report, addresses, address, place);
    }
    admin
}

/// Beyond loopback the admin surface needs a token.
fn reachable(address: ListenAddress, has_token: bool) -> Result<ListenAddress, Wrong> {
    match &address {
        ListenAddress::Tcp(tcp) if !tcp.ip().is_loopback() && !has_token => {
            let what = format!("{tcp} can be reached from other hosts, for which a token is required");
            let remedy =
                format!("set admin.token_file, or use \"127.0.0.1:{}\" or a \"unix:\" socket", tcp.port());
            Err(Wrong::new(what, remedy))
        }
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) => Ok(address),
    }
}

/// Reports an address on which something else listens already. Port 0 is a free port each time.
pub(super) fn claim_address(
    report: &Report<'_>,
    addresses: &mut ListenAddresses,
    address: &ListenAddress,
    place: &Place,
) {
    if matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == 0) {
        return;
    }
    if let Some(line) = addresses.take(report, address.clone(), place) {
        let what = format!("{address} is taken on line {line}");
        report.error(place, Wrong::new(what, "use another address or port"));
    }
}

fn log(mut s: Section<'_>) -> Log {
    const LEVELS: &[(&str, LogLevel)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    let log = Log {
        level: s.choice("level", LEVELS, &[], LogLevel::default()),
        format: s.choice("format", FORMATS, &[], LogFormat::default()),
    };
    s.finish(&[]);
    log
}
