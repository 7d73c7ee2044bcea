//! A shard that dies, one that stalls: the others serve on.
//!
//! Both are injected, through admin pages that are there only if weir was started with
//! `WEIR_FAULT_INJECTION=1`.

use crate::control::ctl;
use crate::harness::{Backend, End, Mix, OpenLoop, Record, Weir, wait_until};
use crate::sick::well;
use crate::verdict::{as_prompt_as, excusing};
use crate::{CAREFUL, FOUR_SHARDS, ledger, site_of};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) fn injectable(config: &str) -> Weir {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env("WEIR_FAULT_INJECTION", "1");
    Weir::start_by(command, config)
}

pub(crate) fn inject(weir: &Weir, path: &str) {
    let response = weir.try_admin("POST", path).expect("admin answers");
    assert!((200..300).contains(&response.status), "{path}: {} {}", response.status, response.text());
}

#[test]
fn nothing_can_be_injected_into_a_weir_that_was_not_started_for_it() {
    let fleet = [Backend::http(well("0", &ledger()))];
    let weir = Weir::start(&site_of("0,1", &fleet, ""));
    let response = weir.try_admin("POST", "/inject/shards/0/panic").unwrap();
    assert!((400..500).contains(&response.status), "{}", response.status);
    assert_eq!(weir.metric("weir_shards", &[("state", "serving")]), 2.0);
}

#[test]
fn when_a_shard_dies_the_others_adopt_its_sockets() {
    let ledger = ledger();
    let fleet = ["0", "1"].map(|who| Backend::http(well(who, &ledger)));
    let weir = injectable(&site_of(FOUR_SHARDS, &fleet, CAREFUL));
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 2, ..Mix::default() });
    load.run(0.7);
    let died = Instant::now();
    inject(&weir, "/inject/shards/1/panic");
    wait_until("it is over", || weir.metric("weir_shards", &[("state", "serving")]) == 3.0);
    let over = Instant::now();
    load.run(2.0);
    assert!(weir.is_ready(), "the process serves on");
    assert_eq!(weir.metric("weir_degraded", &[]), 1.0, "and says that it is not whole");
    let page: Value = serde_json::from_str(&weir.admin("/shards").text()).unwrap();
    assert_eq!((&page["degraded"], &page["shards"][1]["state"]), (&Value::from(true), &Value::from("ended")));
    assert!(ctl(&weir, &["shards"]).contains("degraded"));
    let ended = load.stop();
    // What the dead one had under way cannot be saved; who was in its queue is served by another.
    let under_way = |record: &Record| {
        matches!(record.end, End::Lost(_) | End::Cut(_)) && record.ended() >= died && record.due < over
    };
    let lost = excusing("a shard died", &ended, &ledger, under_way);
    // 300 a second for 5 ms each, on four shards: about half of one. On a busy machine more are under way.
    let at_once = ended.count(|record| record.due <= died && record.ended() >= died);
    assert!(lost <= at_once.max(8), "{lost} lost with the shard, of {at_once} under way");
    as_prompt_as("a shard died", &ended.due(ended.records[0].due, died), &ended.due(over, Instant::now()));
    let log = weir.stderr();
    assert!(log.contains("panicked") || log.contains("panic"), "the log tells of it: {log}");
}

#[test]
fn when_a_shard_stalls_nobody_is_lost_and_it_is_told_of() {
    let ledger = ledger();
    let fleet = ["0", "1"].map(|who| Backend::http(well(who, &ledger)));
    let weir = injectable(&site_of(FOUR_SHARDS, &fleet, CAREFUL));
    let load = OpenLoop::start(weir.address("web"), Mix { fresh_every: 2, ..Mix::default() });
    load.run(0.7);
    let stalled = Instant::now();
    inject(&weir, "/inject/shards/1/stall/5000");
    wait_until("the log tells of it", || weir.stderr().contains("stall"));
    load.run(6.0);
    let ended = load.stop();
    // What was under way on it may find its time-outs passed when it goes on.
    let under_way = |record: &Record| {
        matches!(record.end, End::Refused(504, _)) && record.ended() >= stalled && record.ticket.post
    };
    let lost = excusing("a shard stalled", &ended, &ledger, under_way);
    assert!(lost <= 8, "{lost} POSTs lost");
    // Three of four shards go on as if nothing were. If all stood still for the 5 s, of the 6 s of load six in ten
    // would have waited for more than a second.
    let prompt = ended.only(|record| record.due >= stalled).latency(0.6);
    assert!(prompt < Duration::from_secs(1), "{prompt:?}");
    assert_eq!(weir.metric("weir_shards", &[("state", "serving")]), 4.0);
    assert!(weir.metric("weir_shard_stalls_total", &[("shard", "1")]) >= 1.0);
}
