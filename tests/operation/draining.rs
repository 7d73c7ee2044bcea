//! Shutdown under load: what clients lose, which is nothing.
//!
//! A loss is a request that was sent on a connection that weir had accepted, and got no answer. A connect
//! that is refused once the listeners are closed is none.

use crate::harness::{Backend, Load, Weir, answers, wait_until};
use crate::pool_of;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn with(runtime: &str, cores: &str, backends: &[&Backend]) -> String {
    let all: Vec<_> = backends.iter().map(|backend| (*backend, "")).collect();
    pool_of(cores, &all, "").replacen("[runtime]\n", &format!("[runtime]\n{runtime}\n"), 1)
}

/// SIGTERM in the middle of a load of keep-alive clients; asserts that nothing is lost and how weir ends, which is
/// before the grace (30 s) is over. How long that took.
fn drained_under_load(runtime: &str, cores: &str, clients: usize, pause: Duration) -> Duration {
    let fleet =
        [1, 5].map(|ms| Backend::http(answers::delayed(Duration::from_millis(ms), answers::text("ok"))));
    let mut weir = Weir::start(&with(runtime, cores, &[&fleet[0], &fleet[1]]));
    let load = Load::start(weir.address("web"), clients, GET, pause, |response| response.status == 200);
    wait_until("traffic flows", || load.counts().ok > 10 * clients as u64);
    let began = Instant::now();
    weir.signal(Signal::SIGTERM);
    let status = weir.wait_exit(Duration::from_secs(20));
    let took = began.elapsed();
    wait_until("connects are refused", || load.counts().unconnected > 0);
    let counts = load.stop();
    assert_eq!(status.code(), Some(0), "{runtime}");
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{runtime}, {cores}: {counts:?}");
    took
}

#[test]
fn busy_keep_alive_clients_lose_nothing() {
    for cores in ["0", "0,1"] {
        for _ in 0..3 {
            drained_under_load("", cores, 12, Duration::ZERO);
        }
    }
}

#[test]
fn busy_clients_that_reconnect_all_through_the_shutdown_delay_lose_nothing() {
    for cores in ["0", "0,1"] {
        for _ in 0..2 {
            let took = drained_under_load("shutdown_delay = \"300ms\"", cores, 12, Duration::ZERO);
            assert!(took >= Duration::from_millis(300), "{took:?}");
        }
    }
}

#[test]
fn clients_with_pauses_between_requests_lose_nothing() {
    // Shorter than the second that weir waits for a last request.
    drained_under_load("", "0,1", 12, Duration::from_millis(150));
}
