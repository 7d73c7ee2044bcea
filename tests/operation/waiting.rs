//! Waiting inside weir is never hidden: what a shard lets wait shows in histograms of their own, and how busy
//! it is in the time that it slept.

use crate::exposition::Page;
use crate::harness::{Backend, Weir, answers, one_pool, wait_until};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than what a busy machine does to a shard by itself.
const STALL: Duration = Duration::from_secs(2);

/// A bound of the buckets that lies between that and [`STALL`].
const LONG: &str = "1";

fn injectable(config: &str) -> Weir {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env("WEIR_FAULT_INJECTION", "1");
    Weir::start_by(command, config)
}

/// Has the only shard do nothing for [`STALL`].
fn stall(weir: &Weir) {
    let path = format!("/inject/shards/0/stall/{}", STALL.as_millis());
    assert_eq!(weir.try_admin("POST", &path).unwrap().status, 200);
}

fn page(weir: &Weir) -> Page {
    Page::read(&weir.admin("/metrics").text())
}

/// How many lengths of a histogram are over [`LONG`].
fn long(page: &Page, name: &str) -> f64 {
    let below = page.sum(&format!("{name}_bucket"), &[("shard", "0"), ("le", LONG)]);
    page.sum(&format!("{name}_count"), &[("shard", "0")]) - below
}

#[test]
fn what_waited_for_a_stalled_shard_shows_in_its_histograms() {
    let backend = Backend::http(answers::text("ok"));
    let weir = injectable(&one_pool(&[&backend], "", ""));
    let mut kept = weir.client();
    for _ in 0..20 {
        assert_eq!(kept.get("/").status, 200);
        assert_eq!(weir.client().get("/").status, 200);
    }
    let before = page(&weir);
    for name in ["weir_loop_stall_seconds", "weir_accept_delay_seconds"] {
        assert!(before.sum(&format!("{name}_count"), &[]) >= 20.0, "{name} has what there was");
        assert_eq!(long(&before, name), 0.0, "{name}: nothing waited");
    }
    // Whatever was sent before the shard stood still has been answered by now; then both wait.
    let waited = (0..5).any(|_| {
        stall(&weir);
        let began = Instant::now();
        let mut fresh = weir.client();
        for client in [&mut kept, &mut fresh] {
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        let statuses = [kept.response().status, fresh.response().status];
        assert_eq!(statuses, [200, 200]);
        began.elapsed() > STALL * 3 / 4
    });
    assert!(waited, "no stall met a request");
    let after = page(&weir);
    // The request on the kept connection, and the accept of the other one.
    assert!(long(&after, "weir_loop_stall_seconds") >= 2.0);
    assert!(long(&after, "weir_accept_delay_seconds") >= 1.0);
}

#[test]
fn a_shard_that_has_nothing_to_do_sleeps_and_one_that_stands_still_does_not() {
    let backend = Backend::http(answers::text("ok"));
    let weir = injectable(&one_pool(&[&backend], "", ""));
    let read = |what: &str| page(&weir).sum(&format!("weir_ring_{what}_total"), &[("shard", "0")]);
    let before = read("parked_seconds");
    wait_until("it has slept for a second", || read("parked_seconds") - before > 1.0);
    let (began, before, turns) = (Instant::now(), read("parked_seconds"), read("turns"));
    stall(&weir);
    wait_until("it goes on", || began.elapsed() > STALL && read("turns") > turns + 10.0);
    let (slept, took) = (read("parked_seconds") - before, began.elapsed());
    assert!(slept < (took - STALL / 2).as_secs_f64(), "it slept {slept} s of {took:?}");
    assert_eq!(page(&weir).sum("weir_ring_spun_seconds_total", &[]), 0.0, "runtime.spin is 0");
}

#[test]
fn a_shard_that_spins_says_that_this_is_no_load() {
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "", "").replace("[runtime]", "[runtime]\nspin = \"10ms\"");
    let weir = Weir::start(&config);
    let mut client = weir.client();
    let counts = || {
        let page = page(&weir);
        ["spun", "parked"].map(|what| page.sum(&format!("weir_ring_{what}_seconds_total"), &[]))
    };
    let (began, [spun, slept]) = (Instant::now(), counts());
    wait_until("it has spun for half a second", || {
        // It sleeps only after ten milliseconds without anything to do.
        for _ in 0..10 {
            assert_eq!(client.get("/").status, 200);
            std::thread::sleep(Duration::from_millis(5));
        }
        counts()[0] - spun > 0.5
    });
    let [spun_now, slept_now] = counts();
    let (idle, took) = (spun_now - spun + slept_now - slept, began.elapsed().as_secs_f64());
    assert!(idle < took, "idle for {idle} s of {took} s");
}
