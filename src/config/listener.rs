//! `[[listener]]` and `[[route]]`: where weir accepts, and where requests go from there.
//!
//! Here: reading both, and the checks between them. Not here: matching a request to a route (`route`).

use super::address::{self, host_pattern, route_path};
use super::error_pages::error_pages;
use super::fault::{Place, Wrong};
use super::model::{
    ErrorPages, Forwarded, HostPattern, Http2, ListenAddress, Listener, OnHalfClose, Protocol, Route,
};
use super::network::TrustedProxies;
use super::read::{ListenAddresses, claim_address};
use super::reference::{Claims, find};
use super::section::{Later, Off, Section};
use super::tls;
use super::values::{self, A_YEAR, ANY_REQUESTS, Other, quoted};
use crate::time::Micros;
use std::net::SocketAddr;

/// The keys of a listener that are not built yet.
const LISTENER_LATER: &[Later] = &[
    ("proxy_protocol", Off::Text("off")),
    ("requests_per_s_per_client", Off::Number(0.0)),
    ("limit_key", Off::Text("client")),
];

/// The sizes that a `max_body` and a rate may have: all that a `Content-Length` can say.
const ANY_SIZE: std::ops::RangeInclusive<u64> = 0..=i64::MAX as u64;

/// The numbers of connections that a limit may have.
const ANY_COUNT: std::ops::RangeInclusive<u64> = 0..=1 << 32;

/// What is said of HTTP/2, which is none of `protocol`'s words.
const H2: Option<&str> = Some("write \"http\": clients may speak HTTP/2 where tls.alpn or h2c has it");

/// The words that somebody may write for `protocol`.
const PROTOCOLS: &[Other] = &[
    ("tcp", None),
    ("https", Some("write \"http\", and a section [listener.tls]")),
    ("tls", Some("write \"http\", and a section [listener.tls]")),
    ("h2", H2),
    ("h2c", H2),
    ("http2", H2),
    ("grpc", H2),
];

/// Reads listeners and routes; references lead to `pools`, by name.
pub(super) fn listeners_and_routes(
    root: &mut Section<'_>,
    pools: &[String],
    addresses: &mut ListenAddresses,
) -> (Vec<Listener>, Vec<Route>) {
    let mut names = Claims::new();
    let sections = root.sections("listener");
    if root.lacks("listener") {
        let what = "there is none: weir would accept nowhere";
        root.error("listener", Wrong::new(what, "write [[listener]] with an address and a pool"));
    }
    let mut reads = Vec::new();
    for section in sections {
        let place = section.place.clone();
        let has_pool = section.has("pool");
        let listener = listener(section, pools, &mut names, addresses);
        reads.push((listener, has_pool, place));
    }
    let listener_names: Vec<String> = reads.iter().map(|(listener, ..)| listener.name.clone()).collect();
    let mut table = RouteTable { pools, listeners: listener_names, taken: Claims::new() };
    let sections = root.sections("route");
    let routes: Vec<_> = sections.into_iter().map(|section| table.route(section)).collect();
    for (index, (listener, has_pool, place)) in reads.iter().enumerate() {
        // A route that leads to an unknown listener may have been meant for this one.
        let reached = routes.iter().any(|(to, _)| to.is_none_or(|to| to == index));
        if !has_pool && !reached {
            let what = format!("listener {} has neither a pool nor a route", quoted(&listener.name));
            root.report.error(place, Wrong::new(what, "give it a pool = \"NAME\", or a [[route]]"));
        }
        let everything = routes.iter().find(|(to, route)| {
            *to == Some(index) && route.host.is_none() && route.path.as_ref().is_none_or(|path| path == "/")
        });
        if let (true, Some(_)) = (has_pool, everything) {
            let what = "no request gets to this pool: a route of this listener takes any host and any path";
            let place = Place { key: format!("{}.pool", place.key), ..place.clone() };
            root.report.warn(&place, Wrong::new(what, "remove one of the two"));
        }
    }
    let mut listeners: Vec<_> = reads.into_iter().map(|(listener, ..)| listener).collect();
    let subject_fields = tls::subject_fields(&listeners);
    listeners.iter_mut().for_each(|listener| listener.subject_fields.clone_from(&subject_fields));
    (listeners, routes.into_iter().map(|(_, route)| route).collect())
}

fn listener(
    mut s: Section<'_>,
    pools: &[String],
    names: &mut Claims<String>,
    addresses: &mut ListenAddresses,
) -> Listener {
    const FORWARDED: &[(&str, Forwarded)] =
        &[("append", Forwarded::Append), ("replace", Forwarded::Replace), ("off", Forwarded::Off)];
    const HALF_CLOSE: &[(&str, OnHalfClose)] =
        &[("answer", OnHalfClose::Answer), ("abort", OnHalfClose::Abort)];
    s.require("address", "\"0.0.0.0:8080\"");
    let address = s.text("address", address::listen);
    if let Some(address) = &address {
        claim_address(s.report, addresses, address, &s.place_of("address"));
    }
    let name = s.text("name", address::label).or_else(|| address.as_ref().map(ToString::to_string));
    if let Some(name) = &name {
        let key = if s.has("name") { "name" } else { "address" };
        if let Some(line) = names.take(s.report, name.clone(), &s.place_of(key)) {
            let what = format!("the listener on line {line} is called {} too", quoted(name));
            s.error(key, Wrong::new(what, "give each its own name"));
        }
    }
    s.choice("protocol", &[("http", ())], PROTOCOLS, ());
    let request_id = s.text("request_id", address::id_field).flatten();
    let tls = s.section("tls").and_then(|section| tls::listener(section, request_id.as_deref()));
    let listener = Listener {
        name: name.unwrap_or_default(),
        address: address.unwrap_or(ListenAddress::Tcp(SocketAddr::from(([0; 4], 0)))),
        pool: s.text("pool", |name| find("pool", name, pools)),
        backlog: s.integer("backlog", 1..=1 << 20, 4096) as u32,
        head_timeout: s.length("head_timeout", Micros::ZERO..=A_YEAR, Micros::from_s(10)),
        idle_timeout: s.length("idle_timeout", Micros::ZERO..=A_YEAR, Micros::from_s(60)),
        body_min_rate_per_s: s.size("body_min_rate_per_s", ANY_SIZE, 1 << 10),
        max_head: s.size("max_head", 1 << 10..=1 << 20, 32 << 10) as usize,
        max_headers: s.integer("max_headers", 1..=4096, 100) as usize,
        max_body: s.size("max_body", ANY_SIZE, 1 << 30),
        max_age: s.length("max_age", Micros::ZERO..=A_YEAR, Micros::ZERO),
        max_requests: s.integer("max_requests", ANY_REQUESTS, 0) as u32,
        forwarded: s.choice("forwarded", FORWARDED, &[], Forwarded::default()),
        trusted_proxies: trusted_proxies(&mut s),
        via: s.text("via", address::pseudonym).unwrap_or_else(|| Some("weir".to_owned())),
        on_half_close: s.choice("on_half_close", HALF_CLOSE, &[], OnHalfClose::default()),
        request_id,
        max_connections: s.integer("max_connections", ANY_COUNT, 0) as usize,
        max_connections_per_client: s.integer("max_connections_per_client", ANY_COUNT, 0) as usize,
        error_pages: s.section("error_pages").map_or_else(ErrorPages::default, error_pages),
        h2c: s.read("h2c", values::flag).unwrap_or(true),
        http2: s.section("http2").map_or_else(Http2::default, http2),
        tls,
        // Those of all, once all are read.
        subject_fields: Vec::new(),
    };
    warn_of_no_http2(&s, &listener);
    s.finish(LISTENER_LATER);
    listener
}

/// What is said of HTTP/2 where nobody can speak it, or would without that.
fn warn_of_no_http2(s: &Section<'_>, listener: &Listener) {
    let (is_spoken, remedy) = match &listener.tls {
        Some(tls) => {
            if s.has("h2c") {
                let what = "it is for listeners without TLS, and this one has it";
                s.report
                    .warn(&s.place_of("h2c"), Wrong::new(what, "remove it; tls.alpn says what is spoken"));
            }
            let is_spoken = tls.alpn.is_empty() || tls.alpn.contains(&Protocol::Http2);
            (is_spoken, "add \"h2\" to tls.alpn, or remove it")
        }
        None => (listener.h2c, "remove h2c = false, or remove it"),
    };
    if s.has("http2") && !is_spoken {
        s.report.warn(&s.place_of("http2"), Wrong::new("no client can speak HTTP/2 here", remedy));
    }
}

fn http2(mut s: Section<'_>) -> Http2 {
    let Http2 { max_streams } = Http2::default();
    let http2 = Http2 { max_streams: s.integer("max_streams", 1..=1 << 16, max_streams.into()) as u32 };
    s.finish(&[]);
    http2
}

fn trusted_proxies(s: &mut Section<'_>) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    for entry in s.list("trusted_proxies", "a list: trusted_proxies = [\"10.0.0.0/8\"]") {
        if let Err(wrong) = values::text(entry.value.get_ref()).and_then(|text| trusted.add(text)) {
            s.report.error(&entry.place, wrong);
        }
    }
    trusted
}

/// What routes are read against.
struct RouteTable<'p> {
    pools: &'p [String],
    listeners: Vec<String>,
    /// Listener, host and path of the routes so far.
    taken: Claims<(usize, Option<HostPattern>, String)>,
}

impl RouteTable<'_> {
    /// A route and the listener that it leads from, if that is known.
    fn route(&mut self, mut s: Section<'_>) -> (Option<usize>, Route) {
        let listener = match s.text("listener", |name| find("listener", name, &self.listeners)) {
            Some(index) => Some(index),
            None if s.has("listener") => None,
            None => self.only_listener(&s),
        };
        s.require("pool", "\"NAME\"");
        let host = s.text("host", host_pattern);
        let path = s.text("path", route_path);
        let pool = s.text("pool", |name| find("pool", name, self.pools));
        let is_whole = (host.is_some() || !s.has("host")) && (path.is_some() || !s.has("path"));
        if let (Some(listener), true) = (listener, is_whole) {
            // Any path and "/" are the same: every path that routes look at begins with it.
            let any = || "/".to_owned();
            let key = (listener, host.clone(), path.clone().unwrap_or_else(any));
            if let Some(line) = self.taken.take(s.report, key, &s.place) {
                let what = format!("the route on line {line} has the same listener, host and path");
                s.report.error(&s.place, Wrong::new(what, "remove one, or change its host or path"));
            }
        }
        s.finish(&[("timeouts", Off::Never)]);
        (listener, Route { listener: listener.unwrap_or(0), host, path, pool: pool.unwrap_or(0) })
    }

    fn only_listener(&self, s: &Section<'_>) -> Option<usize> {
        match self.listeners.as_slice() {
            [_] => return Some(0),
            // That there is none is a fault of its own.
            [] => {}
            several => {
                let names: Vec<_> = several.iter().take(12).map(|name| quoted(name)).collect();
                let what = format!("missing: there are {} listeners", several.len());
                s.error("listener", Wrong::new(what, format!("write listener = {}", names.join(" or "))));
            }
        }
        None
    }
}
