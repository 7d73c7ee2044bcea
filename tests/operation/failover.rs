//! A backend process that is killed under load, and comes back.
//!
//! After the fall nothing fails. Before it, a GET whose connection was kept from before is sent again, and so
//! is any request whose connect is refused. What is not sent twice, and may fail with 502: a POST, and a GET
//! whose connection was new when the backend died. No more can be under way than there are clients.

use crate::harness::{Counts, Load, Weir, wait_until};
use crate::process::ProcessBackend;
use crate::state;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// weir on two shards before three processes.
fn weir_before(fleet: &[ProcessBackend], check: &str) -> Weir {
    let mut config = format!(
        "[runtime]\ncores = \"0,1\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         pool = \"app\"\n[pool.app]\n{check}\n"
    );
    for (backend, name) in fleet.iter().zip(NAMES) {
        let address = backend.address();
        config.push_str(&format!("[[pool.app.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n"));
    }
    Weir::start(&config)
}

/// Clients at work, and how many answers came from each backend.
fn load(weir: &Weir, request: &str) -> (Load, Arc<[AtomicU64; 3]>) {
    let from: Arc<[AtomicU64; 3]> = Arc::default();
    let seen = from.clone();
    let load =
        Load::start(weir.address("web"), 6, request.as_bytes(), Duration::from_millis(1), move |response| {
            let text = response.text();
            if let Some(place) = NAMES.iter().position(|name| *name == text) {
                seen[place].fetch_add(1, Ordering::SeqCst);
            }
            response.status == 200
        });
    (load, from)
}

const CLIENTS: u64 = 6;
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
const CHECK: &str = "[pool.app.health]\ntype = \"tcp\"\ninterval = \"100ms\"\ninterval_down = \"50ms\"\n\
                     rise = 2\nfall = 3\n";

fn failed(counts: Counts) -> u64 {
    counts.wrong + counts.lost + counts.unconnected
}

#[test]
fn no_get_fails_after_the_fall_of_a_killed_backend_and_it_gets_traffic_when_it_is_back() {
    let mut fleet = NAMES.map(ProcessBackend::start);
    let weir = weir_before(&fleet, CHECK);
    wait_until("all are up", || (0..3).all(|backend| state(&weir, backend) == "up"));
    let (load, from) = load(&weir, GET);
    let count = |place: usize| from[place].load(Ordering::SeqCst);
    let mut lost = 0;
    for round in 0..3 {
        let before = count(1);
        wait_until("all have traffic", || count(1) > before + 100);
        fleet[1].kill();
        wait_until("the dead one is down", || state(&weir, 1) == "down");
        let (fallen, answered) = (count(1), load.counts().ok);
        wait_until("each client has been answered since", || load.counts().ok > answered + 60);
        let at_kill = load.counts();
        assert!(failed(at_kill) <= lost + CLIENTS, "before the fall: {at_kill:?}, {:?}", load.faults());
        println!("round {round}: {} of {} failed at the kill", failed(at_kill) - lost, at_kill.ok);
        lost = failed(at_kill);
        wait_until("the others serve on", || load.counts().ok > answered + 400);
        assert!(count(1) <= fallen + CLIENTS, "what was under way at most");
        fleet[1].revive();
        wait_until("it is up again", || state(&weir, 1) == "up");
        let returned = count(1);
        wait_until("it gets traffic", || count(1) > returned + 50);
    }
    let counts = load.stop();
    assert_eq!(failed(counts), lost, "after a fall, or at a return: {counts:?}");
    assert_eq!((counts.lost, counts.unconnected), (0, 0), "clients are told (502), not cut off: {counts:?}");
    let retries = weir.metric("weir_retries_total", &[("backend", "two")]);
    assert!(retries > 0.0, "the retries are what saved them");
    println!("killed three times: {counts:?}, {retries} retries");
}

#[test]
fn a_post_may_fail_before_the_fall_but_none_does_after_it() {
    let mut fleet = NAMES.map(ProcessBackend::start);
    let weir = weir_before(&fleet, CHECK);
    wait_until("all are up", || (0..3).all(|backend| state(&weir, backend) == "up"));
    let (load, from) = load(&weir, POST);
    wait_until("all have traffic", || from.iter().all(|count| count.load(Ordering::SeqCst) > 100));
    fleet[2].kill();
    wait_until("the dead one is down", || state(&weir, 2) == "down");
    let answered = load.counts().ok;
    // One exchange a client may have been under way when the message came to its shard.
    wait_until("each client has been answered since", || load.counts().ok > answered + 60);
    let (at_fall, answered) = (load.counts(), load.counts().ok);
    wait_until("the others serve on", || load.counts().ok > answered + 500);
    let counts = load.stop();
    assert_eq!(failed(counts), failed(at_fall), "after the fall");
    // Each connection of a client can have had one exchange on the dead one.
    assert!(failed(at_fall) <= CLIENTS, "at the kill no more than what was under way: {at_fall:?}");
    assert_eq!((counts.lost, counts.unconnected), (0, 0), "clients are told (502), not cut off: {counts:?}");
    println!("a POST cannot be sent twice: {} of {} got 502", counts.wrong, counts.ok);
}

#[test]
fn where_nobody_checks_retries_carry_on() {
    let mut fleet = NAMES.map(ProcessBackend::start);
    let weir = weir_before(&fleet, "");
    let (load, _) = load(&weir, GET);
    wait_until("traffic flows", || load.counts().ok > 200);
    fleet[0].kill();
    let answered = load.counts().ok;
    wait_until("retries carry on", || load.counts().ok > answered + 1_000);
    assert_eq!(state(&weir, 0), "no_check", "nobody notices");
    let counts = load.stop();
    assert!(failed(counts) <= CLIENTS && counts.lost == 0, "at the kill at most: {counts:?}");
}

#[test]
fn a_dead_backend_is_found_by_its_failed_exchanges_long_before_its_next_check() {
    let mut fleet = NAMES.map(ProcessBackend::start);
    let weir = weir_before(&fleet, "[pool.app.health]\ntype = \"tcp\"\ninterval = \"20s\"\n");
    wait_until("all are up", || (0..3).all(|backend| state(&weir, backend) == "up"));
    let (load, _) = load(&weir, GET);
    wait_until("traffic flows", || load.counts().ok > 200);
    fleet[0].kill();
    wait_until("it is found", || state(&weir, 0) == "down");
    let counts = load.stop();
    assert!(failed(counts) <= CLIENTS && counts.lost == 0, "at the kill at most: {counts:?}");
    wait_until("the log says what it cost", || weir.stderr().contains(" took="));
}
