//! Every format, against what was sent.

use crate::harness::{Backend, Weir, answers};
use crate::{as_json, fields, lines, logging, objects};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REQUEST: &str = "GET /a%20b?q=\"1\" HTTP/1.1\r\nHost: example.org\r\nReferer: http://r/\r\n\
                       User-Agent: tester \"7\" \u{e9}\r\nAuthorization: Basic c2VjcmV0\r\nCookie: id=s3cret\r\n\
                       X-Forwarded-For: 192.0.2.1\r\n\r\n";

/// What a format string makes of `REQUEST` in front of a backend that answers "hello".
fn written(format: &str) -> String {
    let backend = Backend::http(answers::text("hello"));
    let keys = format!("format = {}\nto = \"{{dir}}/access.log\"", Value::from(format));
    let weir = Weir::start(&logging(&[&backend], "", &keys));
    // A quote in the target is refused, so it comes without.
    assert_eq!(weir.client().ask(REQUEST.replace("\"1\"", "1")).status, 200);
    lines(&weir, 1).remove(0)
}

#[test]
fn common_and_combined_are_what_log_readers_expect() {
    let line = written("common");
    let (before, rest) = line.split_once('[').unwrap();
    let (time, rest) = rest.split_once(']').unwrap();
    assert_eq!((before, rest), ("127.0.0.1 - - ", " \"GET /a%20b?q=1 HTTP/1.1\" 200 5"));
    // 29/Nov/2026:10:31:43 +0000
    assert!(time.len() == 26 && time.ends_with(" +0000") && time.matches('/').count() == 2, "{time}");
    let line = written("combined");
    assert!(line.ends_with("\" 200 5 \"http://r/\" \"tester \\x227\\x22 \\xC3\\xA9\""), "{line}");
}

#[test]
fn a_json_line_says_all_of_an_exchange_and_no_secret() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&as_json(&[&backend], ""));
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut client = weir.client();
    let post = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!((client.ask(post).status, client.ask(REQUEST.replace("\"1\"", "1")).status), (200, 200));
    let text = lines(&weir, 2).join("\n");
    for secret in ["secret", "s3cret", "c2VjcmV0", "Authorization", "Cookie"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let objects = objects(&weir, 2);
    let names = ["method", "path", "query", "version", "status", "bytes_in", "bytes_out", "reused"];
    assert_eq!(
        fields(&objects[0], names),
        [
            json!("POST"),
            json!("/x"),
            json!(null),
            json!("HTTP/1.1"),
            json!(200),
            json!(3),
            json!(3),
            json!(false)
        ]
    );
    let names = ["client", "listener", "host", "referer", "user_agent", "pool", "backend", "shard"];
    assert_eq!(
        fields(&objects[1], names),
        ["127.0.0.1", "web", "example.org", "http://r/", "tester \"7\" é", "app", "0"]
            .map(Value::from)
            .into_iter()
            .chain([json!(0)])
            .collect::<Vec<_>>()[..]
    );
    let names = ["reused", "connect_us", "query", "retries", "termination", "cause"];
    assert_eq!(
        fields(&objects[1], names),
        [json!(true), json!(0), json!("q=1"), json!(0), json!("--"), json!(null)]
    );
    for object in &objects {
        let [whole, own, first_byte] = fields(object, ["whole_us", "own_us", "first_byte_us"]);
        let (whole, own) = (whole.as_u64().unwrap(), own.as_u64().unwrap());
        assert!(own <= whole && first_byte.as_u64().unwrap() <= whole && whole > 0, "{object}");
    }
    // RFC 3339, not before the test began nor after now, by the clock of days.
    let time = objects[0]["time"].as_str().unwrap().to_owned();
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    let of_day = |part: std::ops::Range<usize>| time[part].parse::<u64>().unwrap();
    let second = of_day(11..13) * 3600 + of_day(14..16) * 60 + of_day(17..19);
    let since = (second + 86_400 - began.as_secs() % 86_400) % 86_400;
    assert!(Duration::from_secs(since) < Duration::from_secs(60), "{time} is {since} s after {began:?}");
}

#[test]
fn a_format_string_is_filled_in() {
    let line = written("$client $method $path ? $query $$ $status/$bytes_out $termination ${user_agent}|");
    assert_eq!(line, "127.0.0.1 GET /a%20b ? q=1 $ 200/5 -- tester \\x227\\x22 \\xC3\\xA9|");
}

#[test]
fn the_client_is_whom_a_trusted_proxy_names_even_if_it_is_refused() {
    let backend = Backend::http(answers::text("hello"));
    let text = as_json(&[&backend], "").replace(
        "pool = \"app\"\n",
        "trusted_proxies = [\"127.0.0.1\"]\n[[route]]\npath = \"/app\"\npool = \"app\"\n",
    );
    let weir = Weir::start(&text);
    for (path, status) in [("/app", 200), ("/none", 404)] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 198.51.100.7\r\nUser-Agent: u\r\n\r\n"
        );
        assert_eq!(weir.client().ask(request).status, status);
    }
    for object in objects(&weir, 2) {
        assert_eq!(fields(&object, ["client", "user_agent", "host"]), ["198.51.100.7", "u", "h"], "{object}");
    }
}

#[test]
fn bytes_that_no_line_may_have_are_told_and_end_none() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&as_json(&[&backend], ""));
    let mut client = weir.client();
    client.send(b"GET /\xff\x01 HTTP/1.1\r\nHost: h\r\nUser-Agent: \xff\xfe\r\n\r\n");
    client.response();
    let mut client = weir.client();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: a\xffb\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let objects = objects(&weir, 2);
    assert_eq!(objects[0]["path"], "/\u{fffd}\u{1}");
    assert_eq!(objects[1]["user_agent"], "a\u{fffd}b");
}
