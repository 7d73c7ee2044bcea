//! What a supervisor restarts: a process whose control has failed, or one that was told to leave when it
//! lost a shard.

use crate::harness::{Backend, Client, Then, answers, wait_until};
use crate::shards::{inject, injectable};
use crate::{FOUR_SHARDS, site_of};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

/// Without control nothing is checked, changed or counted: the process ends for a supervisor to start it
/// again, whatever its shards do.
#[test]
fn when_control_panics_the_process_says_so_and_exits_with_an_error_at_once() {
    for stalled in [false, true] {
        let fleet = [Backend::http(answers::text("a"))];
        let mut weir = injectable(&site_of("0,1", &fleet, ""));
        let address = weir.address("web");
        let mut held = Client::connect(address);
        assert_eq!(held.get("/").text(), "a");
        if stalled {
            inject(&weir, "/inject/shards/1/stall/60000");
            wait_until("it is stalled", || weir.stderr().contains("stalled"));
        }
        inject(&weir, "/inject/control/panic");
        let status = weir.wait_exit(Duration::from_secs(20));
        assert_eq!(status.code(), Some(1), "{status}");
        // The kernel takes a ring that was not wound up apart when the process is gone already.
        wait_until("nobody waits in a queue that nobody serves", || TcpStream::connect(address).is_err());
        wait_until("the log tells of it", || weir.stderr().contains("control has failed"));
    }
}

/// Where a host has others to take its place, a process that is not whole may leave: it answers what it has,
/// the lost shard's too, and says by its exit code that it is to be started again.
#[test]
fn with_on_shard_loss_exit_a_lost_shard_ends_the_process_in_order_and_with_an_error() {
    let answers = Arc::new(AtomicBool::new(false));
    let told = answers.clone();
    let slow = Backend::http(answers::by(move |_, wire| {
        while !told.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(5));
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")?;
        Ok(Then::KeepAlive)
    }));
    let fleet = [slow];
    let config = site_of(FOUR_SHARDS, &fleet, "");
    let mut weir = injectable(&config.replace("[runtime]\n", "[runtime]\non_shard_loss = \"exit\"\n"));
    let address = weir.address("web");
    let ask = || thread::spawn(move || Client::connect(address).get("/").text());
    let under_way: Vec<_> = (0..12).map(|_| ask()).collect();
    wait_until("all are with the backend", || fleet[0].requests() == 12);
    inject(&weir, "/inject/shards/2/panic");
    wait_until("the log tells of it", || weir.stderr().contains("on_shard_loss"));
    answers.store(true, Ordering::SeqCst);
    for asked in under_way {
        assert_eq!(asked.join().unwrap(), "slow", "what was under way is answered");
    }
    assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(1));
    wait_until("nobody is there", || TcpStream::connect(address).is_err());
}
