//! What a fall or a rise changes, and for whom: it is logged once, with the reason, and every shard acts on it.

use crate::harness::{Backend, Client, Handler, Then, Weir, answers, wait_until};
use crate::{backends, pool_of, state};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A check that passes or fails as `script` says, and passes from then on; `seen` counts the checks.
fn scripted(script: &'static [bool], seen: Arc<AtomicUsize>) -> Handler {
    answers::by(move |_, wire| {
        let passes = script.get(seen.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(true);
        let status = if passes { 200 } else { 503 };
        wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))?;
        Ok(Then::KeepAlive)
    })
}

/// The log's lines that tell of a change of state, from the level on.
fn told(weir: &Weir) -> Vec<String> {
    let log = weir.stderr();
    let lines = log.lines().filter(|line| line.contains(" backend is "));
    let said = lines.map(|line| line.split_once("Z ").unwrap().1.trim_start());
    // What a failover cost is another test's subject.
    said.map(|line| line.split_once(" took=").map_or(line, |(line, _)| line).to_owned()).collect()
}

#[test]
fn fall_and_rise_count_checks_in_a_row_and_each_change_is_logged_once_with_its_reason() {
    // Two of three fail, again and again: nothing. Then three: down. Then no two in a row pass: nothing.
    const SCRIPT: &[bool] = &[
        true, false, false, true, false, false, true, false, false, true, false, false, false, true, false,
        true, false, true, false, true, true,
    ];
    let seen = Arc::new(AtomicUsize::new(0));
    let backend = Backend::http(scripted(SCRIPT, seen.clone()));
    let check = "[pool.app.health]\ninterval = \"25ms\"\ninterval_down = \"25ms\"\ntimeout = \"20s\"\nrise = 2\nfall = 3\n";
    let weir = Weir::start(&pool_of("0,0,1,1", &[(&backend, "")], check));
    wait_until("the script is over", || seen.load(Ordering::SeqCst) > SCRIPT.len() + 5);
    let address = backend.address();
    let line = |level: &str, to: &str, from: &str, why: &str| {
        format!("{level} backend is {to} pool=app backend=0 address={address} from={from} why={why}")
    };
    let expected = [
        line("INFO", "up", "unchecked", "first check passed"),
        line("WARN", "down", "up", "3 checks failed in a row: status 503, expected 200-399"),
        line("INFO", "up", "down", "2 checks passed in a row"),
    ];
    assert_eq!(told(&weir), expected, "once, not once for each of the four shards");
    let page = &backends(&weir)[0];
    assert_eq!((page["state"].as_str(), page["usable"].as_bool()), (Some("up"), Some(true)));
    assert_eq!(page["why"], "2 checks passed in a row");
    assert_eq!(weir.metric("weir_backend_transitions_total", &[]), 3.0);
    assert_eq!(weir.metric("weir_probes_total", &[("result", "failed")]), 12.0);
}

#[test]
fn a_change_reaches_every_shard() {
    let ill = Arc::new(AtomicBool::new(false));
    let checked = ill.clone();
    // It answers all the same: only the check says that it should not be asked.
    let sick = Backend::http(answers::by(move |received, wire| {
        let bad = received.line().contains("/up") && checked.load(Ordering::SeqCst);
        let status = if bad { 500 } else { 200 };
        wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nsick"))?;
        Ok(Then::KeepAlive)
    }));
    let well = Backend::http(answers::text("well"));
    let check = "policy = \"round_robin\"\n[pool.app.health]\npath = \"/up\"\ninterval = \"20ms\"\n\
                 interval_down = \"20ms\"\ntimeout = \"20s\"\nrise = 1\nfall = 1\n";
    let weir = Weir::start(&pool_of("0,0,1,1", &[(&sick, ""), (&well, "")], check));
    wait_until("both are up", || (0..2).all(|backend| state(&weir, backend) == "up"));
    let mut clients: Vec<Client> = Vec::new();
    wait_until("every shard has a client", || {
        clients.push(weir.client());
        (0..4).all(|shard| weir.metric("weir_connections", &[("shard", &shard.to_string())]) >= 1.0)
    });
    let mut who = || {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..4 {
            names.extend(clients.iter_mut().map(|client| client.get("/").text()));
        }
        names.sort();
        names.dedup();
        names.join(" ")
    };
    assert_eq!(who(), "sick well");
    for _ in 0..3 {
        ill.store(true, Ordering::SeqCst);
        wait_until("it is down", || state(&weir, 0) == "down");
        wait_until("every shard knows", || who() == "well");
        assert_eq!(who(), "well", "and no shard forgets");
        ill.store(false, Ordering::SeqCst);
        wait_until("it is up", || state(&weir, 0) == "up");
        wait_until("every shard knows", || who() == "sick well");
    }
    assert_eq!(told(&weir).len(), 2 + 6, "{:?}", told(&weir));
}
