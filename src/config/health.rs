//! `[pool.NAME.health]`: how backends are checked.
//!
//! Here: reading the section. Not here: the rule of rise and fall (the room `health`), probing (`control`).

use super::address;
use super::fault::{Place, Report, Wrong};
use super::model::{Backend, BackendAddress, Check, GrpcCheck, Health, HttpCheck};
use super::section::{Entry, Section};
use super::values::{self, quoted};
use crate::time::Micros;

/// `type`
#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Http,
    Grpc,
}

/// The keys that mean something only where the check is a request of HTTP's own.
const HTTP_KEYS: &[&str] = &["path", "method", "expect", "body_contains"];

/// The keys of any request.
const REQUEST_KEYS: &[&str] = &["host", "headers"];

/// The fields that a check writes itself; a second one would contradict it.
const OWN_FIELDS: &[&str] = &["host", "connection", "content-length", "transfer-encoding"];

/// Reads a pool's check; `backends` are those that it asks.
pub(super) fn health(mut s: Section<'_>, backends: &[Backend]) -> Health {
    const LONGEST: Micros = Micros::from_s(24 * 3600);
    let range = Micros::from_ms(1)..=LONGEST;
    let kinds = [("tcp", Kind::Tcp), ("http", Kind::Http), ("grpc", Kind::Grpc)];
    let kind = s.choice("type", &kinds, &[], Kind::Http);
    let check = check(&mut s, kind);
    let port = s.integer("port", 0..=65_535, 0) as u16;
    let on_unix = |backend: &&Backend| matches!(backend.address, BackendAddress::Unix(_));
    if let (Some(backend), true) = (backends.iter().find(on_unix), port != 0) {
        let what = format!("backend {} is a Unix socket, which has no port", quoted(&backend.name));
        s.error("port", Wrong::new(what, "remove it: the check then asks where the backend is"));
    }
    let interval = s.length("interval", range.clone(), Micros::from_s(2));
    let health = Health {
        check,
        port,
        interval,
        interval_down: s.length("interval_down", range.clone(), interval),
        jitter: s.read("jitter", values::share).unwrap_or(0.1),
        timeout: s.length("timeout", range, Micros::from_s(1)),
        rise: s.integer("rise", 1..=1000, 2) as u32,
        fall: s.integer("fall", 1..=1000, 3) as u32,
    };
    if health.timeout > health.interval {
        let what = format!("a check may take {}, longer than the interval of {interval}", health.timeout);
        let key = if s.has("timeout") { "timeout" } else { "interval" };
        let remedy = "use a timeout of at most the interval, or checks come late";
        s.report.warn(&s.place_of(key), Wrong::new(what, remedy));
    }
    s.finish(&[]);
    health
}

/// What is asked, and that no key asks something else.
fn check(s: &mut Section<'_>, kind: Kind) -> Check {
    let headers_own: fn(&str) -> bool = match kind {
        Kind::Grpc => is_grpcs_own,
        Kind::Tcp | Kind::Http => is_own,
    };
    let host = s.text("host", address::host_field);
    let headers = s.section("headers").map_or_else(Vec::new, |section| headers(section, headers_own));
    let http = HttpCheck {
        path: s.text("path", address::target).unwrap_or_else(|| "/".to_owned()),
        method: s.text("method", method).unwrap_or_else(|| "GET".to_owned()),
        host: host.clone(),
        headers: headers.clone(),
        expect: s.text("expect", expect).unwrap_or_else(|| vec![(200, 399)]),
        body_contains: s.text("body_contains", not_empty),
    };
    let service = s.text("service", service).unwrap_or_default();
    let refuse = |keys: &[&str], what: &str, remedy: &str| {
        keys.iter().filter(|key| s.has(key)).for_each(|key| s.error(key, Wrong::new(what, remedy)));
    };
    const NOT_GRPC: &str = "it is a part of gRPC's health protocol";
    match kind {
        Kind::Tcp => {
            let what = "a tcp check only connects: it makes no use of this";
            refuse(HTTP_KEYS, what, "remove it, or write type = \"http\"");
            refuse(REQUEST_KEYS, what, "remove it, or write type = \"http\"");
            refuse(&["service"], NOT_GRPC, "remove it, or write type = \"grpc\"");
            Check::Tcp
        }
        Kind::Http => {
            refuse(&["service"], NOT_GRPC, "remove it, or write type = \"grpc\"");
            if http.method == "HEAD" && http.body_contains.is_some() {
                let what = "the answer to HEAD has no body";
                s.error("body_contains", Wrong::new(what, "remove it, or write method = \"GET\""));
            }
            Check::Http(http)
        }
        Kind::Grpc => {
            let what = "a grpc check asks as gRPC's health protocol says: it makes no use of this";
            refuse(HTTP_KEYS, what, "remove it, or write type = \"http\"");
            Check::Grpc(GrpcCheck { service, host, headers })
        }
    }
}

/// A service's full name, as its protocol buffers have it: "shop.v1.Cart".
fn service(text: &str) -> Result<String, Wrong> {
    const SERVICE_BYTES_MAX: usize = 255;
    let wrong = |what: String| Wrong::new(what, "write the service's full name, such as \"shop.v1.Cart\"");
    if text.len() > SERVICE_BYTES_MAX {
        return Err(wrong(format!("{} bytes are too long for a service's name", text.len())));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong(format!("{} is no service's name", quoted(text))));
    }
    Ok(text.to_owned())
}

fn method(text: &str) -> Result<String, Wrong> {
    if text == "CONNECT" {
        return Err(Wrong::new("CONNECT asks for a tunnel, not for an answer", "use \"GET\" or \"HEAD\""));
    }
    address::token(text)
}

fn not_empty(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("every body contains the empty text", "remove it, or write what to look for"));
    }
    Ok(text.to_owned())
}

/// Whether a check writes this field itself.
fn is_own(name: &str) -> bool {
    OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str())
}

/// The same of a gRPC check: those by which the protocol works.
fn is_grpcs_own(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_own(name) || lower == "te" || lower == "content-type" || lower.starts_with("grpc-")
}

fn headers(s: Section<'_>, is_own: fn(&str) -> bool) -> Vec<(String, String)> {
    let report = s.report;
    let header = |e: Entry<'_>| header(report, &e.place, (e.name, e.value.get_ref()), is_own);
    s.entries().into_iter().filter_map(header).collect()
}

fn header(
    report: &Report<'_>,
    place: &Place,
    (name, value): (&str, &toml::de::DeValue<'_>),
    is_own: fn(&str) -> bool,
) -> Option<(String, String)> {
    let read = || {
        let name = address::token(name)?;
        if is_own(&name) {
            let remedy = if name.eq_ignore_ascii_case("host") { "use the key `host`" } else { "remove it" };
            return Err(Wrong::new(format!("the check writes its own {name}"), remedy));
        }
        Ok((name, address::field_value(values::text(value)?)?))
    };
    read().map_err(|wrong| report.error(place, wrong)).ok()
}

/// "200,204,300-399": statuses and ranges of them, as inclusive ranges.
fn expect(text: &str) -> Result<Vec<(u16, u16)>, Wrong> {
    const FORM: &str = "write statuses and ranges such as \"200,204,300-399\"";
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u16>(), last.trim().parse::<u16>()) else {
            return Err(Wrong::new(format!("{} is no status and no range", quoted(part)), FORM));
        };
        if first > last {
            return Err(Wrong::new(
                format!("{} runs backwards", quoted(part)),
                format!("write {last}-{first}"),
            ));
        }
        // 1xx is never an answer's last word (RFC 9110, 15.2), so a check never sees one.
        if first < 200 || last > 599 {
            let what = format!("{} is outside of what an answer's status can be", quoted(part));
            return Err(Wrong::new(what, "use statuses from 200 to 599"));
        }
        Ok((first, last))
    };
    text.split(',').map(str::trim).map(range).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn expected_statuses_are_a_list_of_statuses_and_ranges() {
        for (text, expected) in [
            ("200", vec![(200, 200)]),
            ("200-399", vec![(200, 399)]),
            ("200,204, 300 - 399", vec![(200, 200), (204, 204), (300, 399)]),
            ("599", vec![(599, 599)]),
        ] {
            assert_eq!(expect(text).unwrap(), expected, "{text}");
        }
        for text in
            ["", "200,", "ok", "2xx", "399-200", "100-399", "600", "-", "200-", "200-300-400", "70000"]
        {
            assert!(expect(text).is_err(), "{text}");
        }
    }
}
