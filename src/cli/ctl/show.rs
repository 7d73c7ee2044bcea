//! What the admin surface answered, as text for people.
//!
//! Reads the JSON leniently: what a weir of another version leaves out is shown as "-". Pure.

use crate::cli::table::{Column, Paint, age, count, length, numbers, percent, printable, size, table, words};
use serde_json::Value;

const NONE: &str = "-";

/// `/backends`
pub(super) fn backends(page: &Value, paint: Paint) -> String {
    const COLUMNS: [Column; 10] = [
        words("POOL"),
        words("NAME"),
        words("ADDRESS"),
        words("STATE"),
        words("SINCE"),
        numbers("WEIGHT"),
        numbers("IN-FLIGHT"),
        numbers("REQUESTS"),
        numbers("P99"),
        words("WHY"),
    ];
    let row = |backend: &Value| {
        vec![
            string(&backend["pool"]),
            string(&backend["name"]),
            string(&backend["address"]),
            string(&backend["state"]),
            backend["since_seconds"].as_f64().map_or(NONE.to_owned(), age),
            weight(backend),
            number(&backend["in_flight"]),
            number(&backend["requests"]),
            micros(&backend["whole"]["p99_us"]),
            string(&backend["why"]),
        ]
    };
    let rows: Vec<_> = list(&page["backends"]).iter().map(row).collect();
    if rows.is_empty() { "there are no backends\n".to_owned() } else { table(&COLUMNS, &rows, paint) }
}

/// A weight, with what makes it mean less than it says.
fn weight(backend: &Value) -> String {
    let mut text = number(&backend["weight"]);
    if let Some(configured) = backend["configured_weight"].as_u64() {
        text = format!("{text} (configured {configured})");
    }
    match backend["share"].as_f64() {
        Some(share) if share < 1.0 => text = format!("{text} at {}", percent(share)),
        _ => {}
    }
    if backend["backup"] == true { format!("backup {text}") } else { text }
}

/// `/shards`
pub(super) fn shards(page: &Value, paint: Paint) -> String {
    const COLUMNS: [Column; 9] = [
        numbers("SHARD"),
        words("STATE"),
        numbers("CONNECTIONS"),
        numbers("IN-FLIGHT"),
        numbers("ACCEPTED"),
        numbers("HEARTBEAT"),
        numbers("STALLS"),
        words("ADOPTED"),
        words("DOING"),
    ];
    let row = |shard: &Value| {
        let adopted: Vec<String> = list(&shard["adopted"]).iter().map(number).collect();
        let beat = shard["beat_ago_us"].as_u64();
        vec![
            number(&shard["number"]),
            string(&shard["state"]),
            number(&shard["connections"]),
            number(&shard["in_flight"]),
            number(&shard["accepted"]),
            beat.map_or(NONE.to_owned(), |ago| format!("{} ago", length(ago))),
            number(&shard["stalls"]),
            if adopted.is_empty() { NONE.to_owned() } else { adopted.join(", ") },
            string(&shard["doing"]),
        ]
    };
    let all = list(&page["shards"]);
    let mut text = table(&COLUMNS, &all.iter().map(row).collect::<Vec<_>>(), paint);
    if page["degraded"] == true {
        text.push_str("\ndegraded: fewer shards serve than configured; restart weir when it suits\n");
    }
    for shard in all.iter().filter(|shard| shard["error"].is_string()) {
        text.push_str(&format!("shard {} ended: {}\n", number(&shard["number"]), string(&shard["error"])));
    }
    text
}

/// `/stats`
pub(super) fn stats(page: &Value, paint: Paint) -> String {
    let ready = match page["why"].as_str() {
        Some(why) => format!("not ready: {}", printable(why)),
        None => "ready".to_owned(),
    };
    let mut text = format!(
        "weir {}, up {}, {ready}; {} of {} shards serve\n",
        string(&page["version"]),
        page["uptime_seconds"].as_f64().map_or(NONE.to_owned(), age),
        number(&page["shards_serving"]),
        number(&page["shards"]),
    );
    text.push_str(&configuration(&page["configuration"]));
    text.push('\n');
    text.push_str(&totals(page));
    text.push_str(&sealed(page));
    text.push('\n');
    text.push_str(&phases(&page["phases"], &page["waiting"], paint));
    text.push('\n');
    text.push_str(&pools(&page["pools"], paint));
    text
}

fn configuration(held: &Value) -> String {
    let Some(path) = held["path"].as_str() else { return String::new() };
    let mut text = format!("configuration {}, hash {}\n", printable(path), string(&held["hash"]));
    if let Some(why) = held["last_refusal"].as_str() {
        text.push_str("the last reload was refused:\n");
        why.lines().for_each(|line| text.push_str(&format!("  {}\n", printable(line))));
    }
    for change in list(&held["needs_restart"]) {
        text.push_str(&format!("waits for a restart: {}\n", string(change)));
    }
    text
}

fn totals(page: &Value) -> String {
    let failovers = &page["failovers"];
    let took = failovers["mean_us"].as_u64();
    let rows = [
        (
            "connections",
            vec![number(&page["connections"]), format!("accepted {}", number(&page["accepted"]))],
        ),
        ("requests", with(number(&page["requests"]), counts(&page["classes"]))),
        ("in flight", vec![number(&page["in_flight"])]),
        ("failures", with(sum(&page["failures"]), counts(&page["failures"]))),
        ("retries", vec![number(&page["retries"]), format!("denied {}", number(&page["retries_denied"]))]),
        ("refusals", refusals(list(&page["refusals"]))),
        ("ejections", vec![number(&page["ejections"])]),
        (
            "failovers",
            with(
                number(&failovers["count"]),
                took.into_iter()
                    .flat_map(|took| {
                        [format!("mean {}", length(took)), format!("lost {}", number(&failovers["lost"]))]
                    })
                    .collect(),
            ),
        ),
        (
            "bodies",
            vec![
                format!("{} up", bytes(&page["request_body_bytes"])),
                format!("{} down", bytes(&page["response_body_bytes"])),
            ],
        ),
    ];
    rows.into_iter().map(|(what, parts)| format!("{what:<12}{}\n", parts.join("   "))).collect()
}

/// What there is of HTTP/2 and TLS; nothing, if there is none.
fn sealed(page: &Value) -> String {
    let (http2, tls) = (&page["http2"], &page["tls"]);
    let mut rows = Vec::new();
    if http2["requests"].as_u64().unwrap_or(0) > 0 {
        let requests = format!("requests {}", number(&http2["requests"]));
        rows.push(("http/2", vec![number(&http2["connections"]), requests]));
    }
    for (what, side) in [("tls client", "client"), ("tls backend", "backend")] {
        let handshakes = &tls["handshakes"][side];
        if handshakes.is_object() {
            rows.push((what, with(sum(handshakes), counts(handshakes))));
        }
    }
    let days = |certificate: &Value| certificate["days_left"].as_f64().unwrap_or(f64::INFINITY);
    let all = list(&tls["certificates"]);
    if let Some(first) = all.iter().min_by(|a, b| days(a).total_cmp(&days(b))) {
        let left = format!("{:.1} days left of {}", days(first), string(&first["file"]));
        rows.push(("certs", vec![all.len().to_string(), left]));
    }
    rows.into_iter().map(|(what, parts)| format!("{what:<12}{}\n", parts.join("   "))).collect()
}

fn with(first: String, rest: Vec<String>) -> Vec<String> {
    std::iter::once(first).chain(rest).collect()
}

/// A map of counts, those that are not zero: "2xx 17".
fn counts(map: &Value) -> Vec<String> {
    let Some(map) = map.as_object() else { return Vec::new() };
    let counted = map.iter().filter(|(_, value)| value.as_u64() != Some(0));
    counted.map(|(what, value)| format!("{what} {}", number(value))).collect()
}

fn sum(map: &Value) -> String {
    map.as_object().map_or(NONE.to_owned(), |map| count(map.values().filter_map(Value::as_u64).sum()))
}

fn refusals(all: &[Value]) -> Vec<String> {
    let sum: u64 = all.iter().filter_map(|refusal| refusal["count"].as_u64()).sum();
    let shown = |refusal: &Value| {
        let cause = string(&refusal["cause"]);
        match refusal["status"].as_u64() {
            Some(0) | None => format!("{cause} {}", number(&refusal["count"])),
            Some(status) => format!("{cause} ({status}) {}", number(&refusal["count"])),
        }
    };
    with(count(sum), all.iter().map(shown).collect())
}

fn phases(all: &Value, waiting: &Value, paint: Paint) -> String {
    const COLUMNS: [Column; 4] = [words("PHASE"), numbers("P50"), numbers("P99"), numbers("P99.9")];
    let row = |what: &str, marks: &Value| {
        vec![what.to_owned(), micros(&marks["p50_us"]), micros(&marks["p99_us"]), micros(&marks["p99_9_us"])]
    };
    let rows = [
        row("connect", &all["connect"]),
        row("first byte", &all["first_byte"]),
        row("whole", &all["whole"]),
        row("own", &all["own"]),
        row("waited for the loop", &waiting["loop"]),
        row("waited for the accept", &waiting["accept"]),
    ];
    table(&COLUMNS, &rows, paint)
}

fn pools(all: &Value, paint: Paint) -> String {
    const COLUMNS: [Column; 5] =
        [words("POOL"), numbers("BACKENDS"), numbers("USABLE"), numbers("EJECTED"), words("")];
    let row = |pool: &Value| {
        vec![
            string(&pool["name"]),
            number(&pool["backends"]),
            number(&pool["usable"]),
            number(&pool["ejected"]),
            if pool["panic"] == true { "panic: all get traffic".to_owned() } else { String::new() },
        ]
    };
    table(&COLUMNS, &list(all).iter().map(row).collect::<Vec<_>>(), paint)
}

/// What a change came to.
pub(in crate::cli) fn changed(page: &Value) -> String {
    let dry_run = page["dry_run"] == true;
    let mut text = String::new();
    if dry_run {
        text.push_str("nothing was done; it would come to this:\n");
    }
    text.push_str(&format!("{}\n", string(&page["done"])));
    if let Some(moved) = page["moved"].as_f64() {
        let go = if dry_run { "would go" } else { "go" };
        text.push_str(&format!("{} of clients {go} to another backend than before\n", percent(moved)));
    }
    if page["unchanged"] == true && !dry_run {
        text.push_str("it was so already\n");
    } else if !dry_run {
        let shards = if page["shards"] == 1 {
            "1 shard".to_owned()
        } else {
            format!("{} shards", number(&page["shards"]))
        };
        text.push_str(&format!("confirmed by {shards} within {}\n", micros(&page["confirmed_us"])));
    }
    if page["drained"] == true {
        text.push_str("nothing is in flight there any more\n");
    }
    text
}

/// What a reload came to.
pub(super) fn reloaded(page: &Value) -> String {
    let changes = list(&page["changes"]);
    let mut text = String::new();
    if changes.is_empty() {
        text.push_str("loaded; nothing is different\n");
    }
    changes.iter().for_each(|change| text.push_str(&format!("{}\n", string(change))));
    for change in list(&page["needs_restart"]) {
        text.push_str(&format!("waits for a restart: {}\n", string(change)));
    }
    for warning in list(&page["warnings"]) {
        text.push_str(&format!("warning: {}\n", string(warning)));
    }
    let (took, confirmed) = (micros(&page["took_us"]), micros(&page["confirmed_us"]));
    text.push_str(&format!("took {took}, of which the shards {confirmed}; hash {}\n", string(&page["hash"])));
    text
}

pub(super) fn reopened(page: &Value) -> String {
    format!("{}\n", string(&page["done"]))
}

/// What a refusal says, a line each.
pub(in crate::cli) fn refused(page: &Value) -> String {
    let mut text = match page["remedy"].as_str() {
        Some(remedy) => format!("{}; {}\n", string(&page["error"]), printable(remedy)),
        None => format!("{}\n", string(&page["error"])),
    };
    list(&page["faults"]).iter().for_each(|fault| text.push_str(&format!("{}\n", string(fault))));
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().map_or(NONE.to_owned(), printable)
}

fn number(value: &Value) -> String {
    value.as_u64().map_or(NONE.to_owned(), count)
}

fn micros(value: &Value) -> String {
    value.as_u64().map_or(NONE.to_owned(), length)
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or(NONE.to_owned(), size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn backends_line_up_with_what_matters_of_each() {
        let page = json!({"backends": [
            {"pool": "app", "name": "one", "address": "127.0.0.1:9001", "state": "up", "since_seconds": 130.2,
             "weight": 10, "configured_weight": null, "share": 1.0, "backup": false, "in_flight": 3,
             "requests": 1_234_567, "whole": {"p99_us": 1_250}, "why": "2 checks passed"},
            {"pool": "app", "name": "127.0.0.1:9002", "address": "127.0.0.1:9002", "state": "draining",
             "since_seconds": 4.0, "weight": 5, "configured_weight": 10, "share": 0.25, "backup": true,
             "in_flight": 0, "requests": 0, "whole": {"p99_us": null}, "why": "by an operator"},
        ]});
        let expected = "\
POOL  NAME            ADDRESS         STATE     SINCE                             WEIGHT  IN-FLIGHT   REQUESTS      P99  WHY
app   one             127.0.0.1:9001  up        2m 10s                                10          3  1,234,567  1.25 ms  2 checks passed
app   127.0.0.1:9002  127.0.0.1:9002  draining  4s      backup 5 (configured 10) at 25 %          0          0        -  by an operator
";
        let shown = backends(&page, Paint::Plain);
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn a_refusal_gives_the_remedy_and_every_fault_a_line() {
        let page = json!({"error": "wrong", "remedy": "mend it", "faults": ["weir.toml:3: a: b; c", "x"]});
        assert_eq!(refused(&page), "wrong; mend it\nweir.toml:3: a: b; c\nx\n");
        assert_eq!(refused(&json!({"error": "wrong"})), "wrong\n");
    }

    #[test]
    fn a_change_says_what_holds_and_a_dry_run_that_nothing_was_done() {
        let mut page = json!({"done": "backend b is draining", "dry_run": false, "unchanged": false,
            "shards": 2, "confirmed_us": 840, "moved": 0.125});
        assert_eq!(
            changed(&page),
            "backend b is draining\n12.5 % of clients go to another backend than before\n\
             confirmed by 2 shards within 840 µs\n"
        );
        page["dry_run"] = true.into();
        let text = changed(&page);
        assert!(
            text.starts_with("nothing was done") && text.contains("would go") && !text.contains("confirmed")
        );
    }

    #[test]
    fn an_empty_page_of_another_version_is_shown_as_unknown() {
        let empty = json!({});
        for text in
            [stats(&empty, Paint::Plain), shards(&empty, Paint::Plain), reloaded(&empty), changed(&empty)]
        {
            assert!(text.contains('-') || text.starts_with("SHARD"), "{text}");
        }
    }
}
