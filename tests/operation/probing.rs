//! When checks run, and how often: the backend counts.

use crate::harness::{AT_ONCE, Backend, Handler, Then, Weir, answers, wait_until};
use crate::{backends, pool_of, state};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Notes when each request comes; fails it while `ill`.
fn noted(times: Arc<Mutex<Vec<Instant>>>, ill: Arc<AtomicBool>) -> Handler {
    answers::by(move |_, wire| {
        times.lock().unwrap().push(Instant::now());
        let status = if ill.load(Ordering::SeqCst) { 500 } else { 200 };
        wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))?;
        Ok(Then::KeepAlive)
    })
}

/// Checks noted, and the time from the first to the last of those after `skip`.
fn rhythm(times: &Mutex<Vec<Instant>>, skip: usize) -> (u32, Duration) {
    let times = times.lock().unwrap();
    let counted = &times[skip..];
    (counted.len() as u32 - 1, *counted.last().unwrap() - counted[0])
}

#[test]
fn a_backend_is_checked_once_an_interval_whatever_the_number_of_shards() {
    let (times, ill) = (Arc::default(), Arc::default());
    let backend = Backend::http(noted(Arc::clone(&times), Arc::clone(&ill)));
    let check = "[pool.app.health]\ninterval = \"200ms\"\ninterval_down = \"20ms\"\njitter = 0.0\n\
                 timeout = \"20s\"\nrise = 1\nfall = 1\n";
    let weir = Weir::start(&pool_of("0,0,1,1", &[(&backend, "")], check));
    assert_eq!(weir.metric("weir_shards", &[("state", "serving")]), 4.0);
    wait_until("10 checks were made", || times.lock().unwrap().len() > 10);
    let (count, took) = rhythm(&times, 0);
    // If each of four shards did so it would be 50 ms. How late each comes is the machine's doing, the first too.
    assert!(took >= Duration::from_millis(150) * count, "{count} checks in {took:?}");
    ill.store(true, Ordering::SeqCst);
    wait_until("it is down", || state(&weir, 0) == "down");
    let down = times.lock().unwrap().len();
    wait_until("30 more checks were made", || times.lock().unwrap().len() > down + 30);
    let (count, took) = rhythm(&times, down);
    assert!(took >= Duration::from_millis(12) * count, "{count} checks in {took:?} while down");
    assert!(took <= Duration::from_millis(200) * count, "{count} checks in {took:?} while down");
    // The pages know of each of them.
    ill.store(false, Ordering::SeqCst);
    let made = |result: &str| weir.metric("weir_probes_total", &[("result", result)]);
    wait_until("the metrics have counted them", || {
        let noted = times.lock().unwrap().len() as f64;
        made("passed") >= 10.0 && made("failed") >= 30.0 && made("passed") + made("failed") >= noted
    });
}

#[test]
fn jitter_moves_checks_and_keeps_their_mean() {
    let (times, ill) = (Arc::default(), Arc::default());
    let backend = Backend::http(noted(Arc::clone(&times), ill));
    let check = "[pool.app.health]\ninterval = \"50ms\"\njitter = 0.9\ntimeout = \"20s\"\n";
    let _weir = Weir::start(&pool_of("0", &[(&backend, "")], check));
    wait_until("40 checks were made", || times.lock().unwrap().len() > 40);
    let gaps: Vec<Duration> = times.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (short, long) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*short < Duration::from_millis(35), "{gaps:?}");
    assert!(*long > Duration::from_millis(65), "{gaps:?}");
    let mean = gaps.iter().sum::<Duration>() / gaps.len() as u32;
    assert!(mean >= Duration::from_millis(35), "{mean:?}");
}

#[test]
fn first_checks_are_spread() {
    const COUNT: usize = 20;
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let fleet: Vec<Backend> =
        (0..COUNT).map(|_| Backend::http(noted(times.clone(), Arc::default()))).collect();
    let all: Vec<_> = fleet.iter().map(|backend| (backend, "")).collect();
    let check = "[pool.app.health]\ninterval = \"30s\"\n";
    let weir = Weir::start(&pool_of("0", &all, check));
    wait_until("all are checked", || times.lock().unwrap().len() == COUNT);
    let mut gaps: Vec<Duration> = times.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort();
    let (_, took) = rhythm(&times, 0);
    // Half a second in all, so that a start is not slow.
    assert!(took >= Duration::from_millis(250) && took < AT_ONCE, "{took:?}");
    // A busy machine brings some together, and parts others.
    assert!(gaps[COUNT / 2] > Duration::from_millis(5), "not in bursts: {gaps:?}");
    wait_until("all are up", || backends(&weir).iter().all(|backend| backend["state"] == "up"));
    assert_eq!(times.lock().unwrap().len(), COUNT, "one each");
}

#[test]
fn a_backend_serves_only_after_its_first_passed_check() {
    let free = Arc::new(AtomicBool::new(false));
    let gate = free.clone();
    let backend = Backend::http(answers::by(move |received, wire| {
        if received.line().contains("/up") {
            while !gate.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    }));
    let check = "[pool.app.health]\npath = \"/up\"\ninterval = \"20s\"\ntimeout = \"20s\"\n";
    let weir = Weir::spawn(&pool_of("0,0", &[(&backend, "")], check));
    wait_until("the first check is under way", || backend.requests() == 1);
    wait_until("admin answers", || weir.try_admin("GET", "/healthz").is_some());
    let ready = weir.admin("/readyz");
    let said = "not ready: the first health checks of pool app have not ended\n";
    assert_eq!((ready.status, ready.text().as_str()), (503, said));
    assert_eq!(state(&weir, 0), "unchecked");
    let mut clients: Vec<_> = (0..8).map(|_| weir.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 503);
    }
    assert_eq!(backend.requests(), 1, "no client's request");
    free.store(true, Ordering::SeqCst);
    wait_until("it is up", || state(&weir, 0) == "up");
    for client in &mut clients {
        wait_until("it serves", || client.get("/").status == 200);
    }
    assert_eq!(weir.admin("/readyz").status, 200);
}
