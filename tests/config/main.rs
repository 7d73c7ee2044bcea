//! Configuration from the outside: the samples load, and every fault names its line, its key and a remedy.
//!
//! Here: the samples and what the tables beside it share. The tables: `values.rs` (single values),
//! `listeners.rs` (listeners and routes), `failures.rs` (what a pool does about failures), `keys.rs` (unknown keys, keys not built yet, TOML's syntax, many
//! faults at once, warnings), `marks.rs` (ids
//! and traces), `tls.rs` (what is sealed), `arbitrary.rs` (properties over any text).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod arbitrary;
mod failures;
mod keys;
mod listeners;
mod marks;
mod tls;
mod values;

use std::path::Path;
use weir::config::{
    BackendAddress, Check, Checked, Config, Eject, Fault, Forwarded, HostPattern, ListenAddress, Policy,
    Retry, parse,
};
use weir::time::Micros;

const MINIMAL: &str = include_str!("../../config/minimal.toml");
const DEMO: &str = include_str!("../../config/demo.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

/// What makes any text below complete, and stands behind it, so that lines count from the text's first.
const REST: &str = "\n[[listener]]\nname = \"rest\"\naddress = \"127.0.0.1:1\"\npool = \"rest\"\n\
                    [[pool.rest.backend]]\naddress = \"127.0.0.1:2\"\n";

fn checked(text: &str) -> Checked {
    parse(text, "weir.toml").unwrap_or_else(|faults| panic!("{faults}\n---\n{text}"))
}

fn config(text: &str) -> Config {
    checked(text).config
}

fn faults(text: &str) -> Vec<Fault> {
    match parse(text, "weir.toml") {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(faults) => faults.0,
    }
}

/// Each row: a text, and the line, key, words of what is wrong, and words of the remedy of its one fault.
type Rows<'a> = &'a [(&'a str, usize, &'a str, &'a str, &'a str)];

fn one(found: &[Fault], (text, line, key, wrong, remedy): (&str, usize, &str, &str, &str)) {
    let [fault] = found else { panic!("{} faults, not one: {found:#?}\n---\n{text}", found.len()) };
    assert_eq!((fault.line, fault.key.as_str()), (line, key), "{fault}\n---\n{text}");
    assert!(fault.wrong.contains(wrong), "{fault}\n  lacks {wrong:?}\n---\n{text}");
    assert!(fault.remedy.contains(remedy), "{fault}\n  lacks {remedy:?}\n---\n{text}");
}

/// Checks rows that `REST` completes.
fn each_is_one_fault(rows: Rows<'_>) {
    for row in rows {
        one(&faults(&format!("{}{REST}", row.0)), *row);
    }
}

/// Checks rows that stand alone.
fn each_alone_is_one_fault(rows: Rows<'_>) {
    for row in rows {
        one(&faults(row.0), *row);
    }
}

#[test]
fn the_minimal_sample_is_all_defaults() {
    let Checked { config, warnings } = checked(MINIMAL);
    assert_eq!(warnings, []);
    assert_eq!(config.runtime, Default::default());
    assert_eq!(config.admin, Default::default());
    assert_eq!(config.log, Default::default());
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!(listener.name, "0.0.0.0:8080");
    assert_eq!(listener.pool, Some(0));
    assert_eq!(listener.idle_timeout, Micros::from_s(60));
    let [pool] = config.pools.as_slice() else { panic!("{:?}", config.pools) };
    assert_eq!(pool.policy, Policy::LeastConn);
    assert_eq!(pool.timeouts, Default::default());
    assert_eq!(pool.upstream, Default::default());
    assert_eq!(pool.health, None);
    assert_eq!((&pool.retry, pool.eject), (&Retry::default(), None));
    assert_eq!((pool.slow_start, pool.panic_below, pool.fallback), (Micros::ZERO, 0.0, None));
    assert_eq!(pool.backends[1].name, "127.0.0.1:9002");
    assert_eq!((pool.backends[1].weight, pool.backends[1].backup), (1, false));
}

#[test]
fn the_demo_sample_shows_three_backends_two_listeners_and_routes() {
    let Checked { config, warnings } = checked(DEMO);
    assert_eq!(warnings, []);
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.routes[1].listener, 1);
    assert_eq!(
        config.pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>(),
        ["app", "sticky", "weighted"]
    );
    assert_eq!(config.pools[0].backends.len(), 3);
    assert!(config.pools.iter().all(|pool| pool.health.is_some()));
    assert_eq!(config.pools[0].eject, Some(Eject::default()));
    assert_eq!(config.pools[1].fallback, Some(0));
}

#[test]
fn the_production_sample_says_what_it_seems_to_say() {
    let Checked { config, warnings } = checked(PRODUCTION);
    assert_eq!(warnings, []);
    assert_eq!(config.runtime.shutdown_delay, Micros::from_s(10));
    assert_eq!(config.admin.listen[1], ListenAddress::Unix("/run/weir/admin.sock".into()));
    let web = &config.listeners[0];
    assert_eq!((web.max_head, web.max_body, web.body_min_rate_per_s), (32 << 10, 1 << 30, 1 << 10));
    assert_eq!(web.forwarded, Forwarded::Append);
    assert!(web.trusted_proxies.trusts(Some([10, 1, 2, 3].into())) && !web.trusted_proxies.unix);
    assert_eq!((web.max_connections, web.max_connections_per_client), (0, 200));
    assert_eq!(config.listeners[1].via.as_deref(), Some("weir"));
    assert_eq!(
        (config.runtime.user.as_deref(), config.runtime.group.as_deref()),
        (Some("weir"), Some("weir"))
    );
    assert_eq!(config.admin.token_file.as_deref(), Some(Path::new("/etc/weir/admin.token")));
    let api = &config.routes[0];
    assert_eq!(api.host, Some(HostPattern::Suffix(".example.org".to_owned())));
    assert_eq!(api.path.as_deref(), Some("/api"));
    assert_eq!(config.pools[api.pool].name, "api");
    let app = &config.pools[0];
    assert_eq!(app.backends[1].address, BackendAddress::Name("app-b.internal".to_owned(), 8080));
    assert_eq!(app.backends[2].address, BackendAddress::Service("_http._tcp.app-c.internal".to_owned()));
    assert!(app.backends[3].backup);
    assert_eq!(app.fallback, Some(2));
    assert_eq!((app.slow_start, app.panic_below), (Micros::from_s(30), 0.3));
    assert_eq!(app.retry.on.statuses, [502, 503]);
    assert!(app.retry.on.response_timeout);
    assert_eq!(app.eject.map(|eject| eject.latency_factor), Some(8.0));
    assert_eq!(config.runtime.state_file.as_deref(), Some(Path::new("/var/lib/weir/state.json")));
    assert_eq!(config.runtime.resolver, Some(([10, 0, 0, 53], 53).into()));
    let health = app.health.as_ref().unwrap();
    assert_eq!((health.interval, health.interval_down), (Micros::from_s(2), Micros::from_s(1)));
    let Check::Http(check) = &health.check else { panic!("{health:?}") };
    assert_eq!(check.expect, [(200, 200), (204, 204), (300, 399)]);
    assert_eq!(check.headers[0], ("X-Check".to_owned(), "weir".to_owned()));
    assert_eq!(check.headers[1].0, "User-Agent");
    assert_eq!(config.pools[2].backends[0].address, BackendAddress::Unix("/run/nginx/static.sock".into()));
}

/// The samples document the defaults; this holds the comments to the code.
#[test]
fn what_production_marks_as_default_is_the_default() {
    let kept: Vec<_> = PRODUCTION.lines().filter(|line| !line.contains("# (d)")).collect();
    assert!(PRODUCTION.lines().count() - kept.len() > 30, "the mark has changed");
    assert_eq!(config(&kept.join("\n")), config(PRODUCTION));
}

/// What a section knows is what it says when something unknown is in it.
#[test]
fn production_has_every_key_that_is_built() {
    let mut seen = 0;
    let headers = PRODUCTION.lines().enumerate().filter(|(_, line)| line.starts_with('['));
    for (index, header) in headers {
        let mut lines: Vec<_> = PRODUCTION.lines().collect();
        lines.insert(index + 1, "xxxxxxxxxxxx = 1");
        let found = faults(&lines.join("\n"));
        assert_eq!((found[0].line, found[0].wrong.as_str()), (index + 2, "unknown key"), "{header}");
        for key in found[0].remedy.strip_prefix("known here: ").unwrap().split(", ") {
            let is_set = |line: &str| {
                line.starts_with(&format!("{key} = "))
                    || line.starts_with('[') && line.contains(&format!(".{key}]"))
            };
            assert!(PRODUCTION.lines().any(is_set), "{header} has no {key}");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}
