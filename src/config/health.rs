//! `[pool.NAME.health]`: how backends are checked.
//!
//! Here: reading the section. Not here: the rule of rise and fall (the room `health`), probing (`control`).

use super::address;
use super::fault::{Place, Report, Wrong};
use super::model::{Backend, BackendAddress, Check, Health, HttpCheck};
use super::section::Section;
use super::values::{self, quoted};
use crate::time::Micros;

/// The keys that mean something only where the check is a request.
const HTTP_KEYS: &[&str] = &["path", "method", "host", "headers", "expect", "body_contains"];

/// The fields that a check writes itself; a second one would contradict it.
const OWN_FIELDS: &[&str] = &["host", "connection", "content-length", "transfer-encoding"];

/// Reads a pool's check; `backends` are those that it asks.
pub(super) fn health(mut s: Section<'_>, backends: &[Backend]) -> Health {
    const LONGEST: Micros = Micros::from_s(24 * 3600);
    let range = Micros::from_ms(1)..=LONGEST;
    let is_http = s.choice("type", &[("tcp", false), ("http", true)], &["grpc"], true);
    let http = http_check(&mut s);
    if !is_http {
        for key in HTTP_KEYS.iter().filter(|key| s.has(key)) {
            let what = "a tcp check only connects: it makes no use of this";
            s.error(key, Wrong::new(what, "remove it, or write type = \"http\""));
        }
    }
    let port = s.integer("port", 0..=65_535, 0) as u16;
    let on_unix = |backend: &&Backend| matches!(backend.address, BackendAddress::Unix(_));
    if let (Some(backend), true) = (backends.iter().find(on_unix), port != 0) {
        let what = format!("backend {} is a Unix socket, which has no port", quoted(&backend.name));
        s.error("port", Wrong::new(what, "remove it: the check then asks where the backend is"));
    }
    let interval = s.length("interval", range.clone(), Micros::from_s(2));
    let health = Health {
        check: if is_http { Check::Http(http) } else { Check::Tcp },
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

fn http_check(s: &mut Section<'_>) -> HttpCheck {
    let check = HttpCheck {
        path: s.text("path", address::target).unwrap_or_else(|| "/".to_owned()),
        method: s.text("method", method).unwrap_or_else(|| "GET".to_owned()),
        host: s.text("host", address::host_field),
        headers: s.section("headers").map_or_else(Vec::new, headers),
        expect: s.text("expect", expect).unwrap_or_else(|| vec![(200, 399)]),
        body_contains: s.text("body_contains", not_empty),
    };
    if check.method == "HEAD" && check.body_contains.is_some() {
        let what = "the answer to HEAD has no body";
        s.error("body_contains", Wrong::new(what, "remove it, or write method = \"GET\""));
    }
    check
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

fn headers(s: Section<'_>) -> Vec<(String, String)> {
    let report = s.report;
    s.entries().into_iter().filter_map(|e| header(report, &e.place, e.name, e.value.get_ref())).collect()
}

fn header(
    report: &Report<'_>,
    place: &Place,
    name: &str,
    value: &toml::de::DeValue<'_>,
) -> Option<(String, String)> {
    let read = || {
        let name = address::token(name)?;
        if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
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
