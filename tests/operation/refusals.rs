//! Refused requests in the log: each cause by its word, at most once a second, with how many there were.

use crate::harness::{Backend, Weir, answers, one_pool, wait_until};
use std::time::{Duration, Instant};

/// The log's lines about a cause, in JSON.
fn said(weir: &Weir, cause: &str) -> Vec<serde_json::Value> {
    let lines = weir.stderr();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["cause"] == cause).collect()
}

fn logging(level: &str) -> String {
    format!("[log]\nformat = \"json\"\nlevel = \"{level}\"\n")
}

#[test]
fn a_cause_is_said_once_a_second_with_how_often_it_was_and_where() {
    let backend = Backend::absent(answers::text("ok"));
    let weir = Weir::start(&(one_pool(&[&backend], "", "") + &logging("info")));
    let mut client = weir.client();
    let began = Instant::now();
    let mut sent = 0;
    let mut ask = || {
        assert_eq!(client.get("/").status, 502);
        sent += 1;
    };
    (0..50).for_each(|_| ask());
    wait_until("it has been said three times", || {
        ask();
        said(&weir, "upstream_failed").len() >= 3
    });
    let took = began.elapsed();
    let lines = said(&weir, "upstream_failed");
    assert!(took >= Duration::from_millis(1_900), "{} lines in {took:?}", lines.len());
    // All but those since the last line, which the next will count.
    let told: u64 = lines.iter().map(|line| line["times"].as_u64().unwrap()).sum();
    assert!((50..=sent).contains(&told), "{told} of {sent}: {lines:?}");
    let labels = [("cause", "upstream_failed"), ("status", "502")];
    assert_eq!(weir.metric("weir_refusals_total", &labels), sent as f64);
    assert_eq!(lines[0]["times"], 1);
    assert!(lines[1..].iter().any(|line| line["times"].as_u64() > Some(1)), "{lines:?}");
    for line in lines {
        assert_eq!((&line["level"], &line["status"]), (&"WARN".into(), &502.into()), "{line}");
        assert_eq!((&line["listener"], &line["pool"]), (&"web".into(), &"app".into()), "{line}");
        assert_eq!(line["last"], "could not connect to a backend", "{line}");
        assert!(line["message"].as_str().unwrap().contains("weir explain upstream_failed"), "{line}");
    }
}

#[test]
fn what_clients_do_of_themselves_is_a_detail_and_what_a_limit_did_is_not() {
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "max_body = \"1KiB\"\n", "");
    let refused = |weir: &Weir| {
        for (status, request) in [
            (400, "GET / HTTP/1.1\r\n\r\n"),
            (413, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n"),
        ] {
            assert_eq!(weir.client().ask(request).status, status);
        }
    };
    let weir = Weir::start(&(config.clone() + &logging("info")));
    refused(&weir);
    wait_until("the limit is said", || said(&weir, "body_too_large").len() == 1);
    assert_eq!(said(&weir, "body_too_large")[0]["level"], "INFO");
    assert_eq!(said(&weir, "bad_head").len(), 0, "{}", weir.stderr());
    let weir = Weir::start(&(config + &logging("debug")));
    refused(&weir);
    wait_until("both are said", || {
        !said(&weir, "body_too_large").is_empty() && !said(&weir, "bad_head").is_empty()
    });
    let line = &said(&weir, "bad_head")[0];
    assert_eq!((&line["level"], &line["pool"]), (&"DEBUG".into(), &serde_json::Value::Null));
    assert!(line["last"].as_str().unwrap().contains("no Host"), "{line}");
}
