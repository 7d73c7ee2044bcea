//! What nobody outside may exhaust: a listener's and a client's connections, a shard's, and its turns.

use crate::harness::{Backend, Client, Load, Then, Weir, answers, cpu_time, one_pool, wait_until};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const REFUSED: &str = "weir_connections_refused_total";
const PER_CLIENT: [(&str, &str); 2] = [("listener", "web"), ("cause", "max_connections_per_client")];
const OF_LISTENER: [(&str, &str); 2] = [("listener", "web"), ("cause", "max_connections")];

/// Half of a request's head.
const HALF: &str = "GET / HTTP/1.1\r\nHost: ha";

/// A backend that answers /held only once it is let go, and everything else at once.
fn holding() -> (Backend, Arc<AtomicBool>) {
    let let_go = Arc::new(AtomicBool::new(false));
    let gate = let_go.clone();
    let backend = Backend::http(answers::by(move |received, wire| {
        while received.line().contains("/held") && !gate.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::KeepAlive)
    }));
    (backend, let_go)
}

/// Clients whose exchanges are under way.
fn held(weir: &Weir, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| {
        let mut client = weir.client();
        client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
        client
    });
    let clients = clients.collect();
    wait_until("the exchanges are under way", || weir.metric("weir_in_flight", &[]) == count as f64);
    clients
}

fn from(last: u8, weir: &Weir) -> Client {
    Client::connect_from(Ipv4Addr::new(127, 5, 0, last), weir.address("web"))
}

fn assert_reset(mut client: Client) {
    // The reset may come before or after what is sent.
    let asked = client.wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    match asked.and_then(|()| client.wire.rest()) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
        other => panic!("instead of a reset: {other:?}"),
    }
}

#[test]
fn one_client_has_no_more_connections_than_its_limit_over_all_shards_and_others_do_not_notice() {
    let backend = Backend::http(answers::text("ok"));
    let config =
        one_pool(&[&backend], "max_connections_per_client = 6", "").replace("cores = 1", "cores = \"0,0\"");
    let weir = Weir::start(&config);
    let began = Instant::now();
    for _ in 0..3 {
        let mut open: Vec<Client> = (0..6).map(|_| from(1, &weir)).collect();
        open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
        let before = weir.metric(REFUSED, &PER_CLIENT);
        (0..10).for_each(|_| assert_reset(from(1, &weir)));
        assert_eq!(weir.metric(REFUSED, &PER_CLIENT), before + 10.0);
        assert_eq!(from(2, &weir).get("/").status, 200);
        open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
        drop(open);
        wait_until("the places are free again", || weir.metric("weir_connections", &[]) == 0.0);
    }
    let log = weir.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("over the limit")).collect();
    assert!((1..=2 * seconds_since(began)).contains(&lines.len()), "once a second and shard: {log}");
    assert!(
        lines[0].contains("max_connections_per_client") && lines[0].contains("127.5.0.1"),
        "{}",
        lines[0]
    );
}

#[test]
fn proxies_that_are_trusted_have_as_many_connections_as_they_want() {
    let backend = Backend::http(answers::text("ok"));
    let listener = "max_connections_per_client = 2\ntrusted_proxies = [\"127.5.0.9\"]";
    let weir = Weir::start(&one_pool(&[&backend], listener, ""));
    let mut proxied: Vec<Client> = (0..20).map(|_| from(9, &weir)).collect();
    proxied.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let _two = [from(1, &weir), from(1, &weir)];
    assert_reset(from(1, &weir));
}

/// The seconds since then in which a line that is said once a second may have been said.
fn seconds_since(began: Instant) -> usize {
    began.elapsed().as_secs() as usize + 2
}

fn loaded(weir: &Weir) -> usize {
    weir.stderr().lines().filter(|line| line.contains("configuration loaded")).count()
}

#[test]
fn a_listener_has_no_more_connections_than_its_limit_and_a_reload_changes_it_for_new_ones() {
    let backend = Backend::http(answers::text("ok"));
    let config = |limit: u32| {
        one_pool(&[&backend], &format!("max_connections = {limit}"), "")
            .replace("cores = 1", "cores = \"0,0\"")
    };
    let mut weir = Weir::start(&config(5));
    let mut open: Vec<Client> = (1..=5).map(|last| from(last, &weir)).collect();
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert_reset(from(6, &weir));
    assert_eq!(weir.metric(REFUSED, &OF_LISTENER), 1.0);
    for (limit, more) in [(7, 2), (3, 0)] {
        let before = loaded(&weir);
        weir.rewrite(&config(limit));
        weir.signal(nix::sys::signal::Signal::SIGHUP);
        wait_until("the other limit is told", || loaded(&weir) > before);
        // The counts stay: those that were there before count.
        for last in 0..more {
            let mut client = from(10 + last, &weir);
            wait_until("the shards know of it", || {
                client
                    .wire
                    .send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    .is_ok_and(|()| client.wire.response("GET").is_ok_and(|response| response.is_some()))
                    || {
                        client = from(10 + last, &weir);
                        false
                    }
            });
            open.push(client);
        }
        wait_until("and no more than that", || {
            let mut client = from(20, &weir);
            client.wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").is_err() || client.wire.rest().is_err()
        });
    }
    open.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200, "nobody was cut off"));
}

#[test]
fn a_shard_that_is_full_of_idle_and_half_sent_connections_serves_new_clients_and_cuts_no_exchange() {
    const ATTACKERS: usize = 12;
    let (backend, let_go) = holding();
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = 1\nmax_connections = 16");
    let weir = Weir::start(&config);
    let mut busy = held(&weir, 4);
    let mut attackers: Vec<Client> = (0..ATTACKERS).map(|_| weir.client()).collect();
    attackers.iter_mut().step_by(2).for_each(|client| client.send(HALF));
    wait_until("the shard is full", || weir.metric("weir_connections", &[]) == 16.0);
    // Each stays, so that each needs room: the attackers' first, and then that of those before them.
    let (mut served, began) = (Vec::new(), Instant::now());
    for _ in 0..2 * ATTACKERS {
        let mut client = weir.client();
        assert_eq!(client.get("/").status, 200);
        served.push(client);
    }
    assert!(weir.metric("weir_connections_evicted_total", &[]) >= (2 * ATTACKERS - 1) as f64);
    for mut attacker in attackers {
        assert!(attacker.wire.rest().is_ok_and(|rest| rest.is_empty()), "it is closed, without an answer");
    }
    let_go.store(true, Ordering::SeqCst);
    busy.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    let log = weir.stderr();
    let lines = log.lines().filter(|line| line.contains("make room")).count();
    assert!((1..=seconds_since(began)).contains(&lines), "once a second: {log}");
}

#[test]
fn at_max_connections_who_has_an_exchange_stays_and_the_next_one_waits_until_one_goes() {
    let (backend, let_go) = holding();
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = 1\nmax_connections = 8");
    let weir = Weir::start(&config);
    let mut busy = held(&weir, 8);
    let mut waiting: Vec<Client> = (0..3).map(|_| weir.client()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let before = cpu_time(weir.pid());
    // Longer than an idle connection would have stayed.
    waiting[0].assert_silent(Duration::from_millis(1_500));
    assert!(cpu_time(weir.pid()) - before < Duration::from_millis(400), "it does not spin");
    assert_eq!(weir.metric("weir_connections", &[]), 8.0);
    assert_eq!(weir.metric("weir_connections_evicted_total", &[]), 0.0);
    let_go.store(true, Ordering::SeqCst);
    busy.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    for client in &mut waiting {
        busy.pop();
        assert_eq!(client.response().status, 200);
    }
    assert!(weir.metric("weir_accept_pauses_total", &[]) >= 1.0);
}

#[test]
fn a_full_shard_at_which_nobody_waits_keeps_its_idle_connections() {
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = 1\nmax_connections = 4");
    let weir = Weir::start(&config);
    let mut idle: Vec<Client> = (0..4).map(|_| weir.client()).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    idle[0].assert_silent(Duration::from_millis(1_300));
    idle.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert_eq!(weir.metric("weir_connections_evicted_total", &[]), 0.0);
}

/// One connection sends thousands of requests at once; another client asks again and again meanwhile.
fn asked_beside_a_flood(weir: &Weir, target: &str, status: &str, requests: usize) -> usize {
    let mut flood = weir.client();
    flood.patience(Duration::from_secs(60));
    let mut writer = flood.wire.socket.try_clone().unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let writing = thread::spawn(move || {
        let many = request.repeat(requests);
        std::io::Write::write_all(&mut writer, many.as_bytes()).unwrap();
    });
    let answered = Arc::new(AtomicUsize::new(0));
    let (counted, status) = (answered.clone(), status.to_owned());
    let reading = thread::spawn(move || {
        for _ in 0..requests {
            let response = flood.response();
            assert_eq!(response.status.to_string(), status);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut asked = 0;
    let mut client = weir.client();
    wait_until("the flood has begun", || answered.load(Ordering::SeqCst) > 0);
    while answered.load(Ordering::SeqCst) < requests && !reading.is_finished() {
        assert_eq!(client.get("/").status, 200);
        asked += 1;
    }
    writing.join().unwrap();
    reading.join().unwrap();
    asked
}

#[test]
fn who_pipelines_thousands_of_requests_does_not_hold_the_shard() {
    const REQUESTS: usize = 8_000;
    let backend = Backend::http(answers::text("ok"));
    let check = "[pool.nobody.health]\ninterval = \"100ms\"\n[[pool.nobody.backend]]\naddress = \"127.0.0.1:{nobody}\"\n";
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = \"0\"")
        + &format!("[[route]]\npath = \"/nobody\"\npool = \"nobody\"\n{check}");
    let weir = Weir::start(&config);
    wait_until("the pool has nobody", || weir.client().get("/nobody").text().contains("no backend"));
    for (what, target, status) in [("weir itself", "/nobody", "503"), ("a backend", "/flood", "200")] {
        let asked = asked_beside_a_flood(&weir, target, status, REQUESTS);
        println!("{asked} requests beside {REQUESTS} pipelined ones that {what} answers");
        // A shard that answers what it has in hand before it looks elsewhere would get through with a handful.
        assert!(asked > REQUESTS / 100, "{asked} beside those that {what} answers");
    }
}

#[test]
fn a_flood_of_connections_over_the_limit_does_not_hold_up_those_within() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "max_connections_per_client = 8", ""));
    let load = Load::get(weir.address("web"), 4, "/");
    wait_until("traffic flows", || load.counts().ok > 50);
    let _open: Vec<Client> = (0..8).map(|_| from(1, &weir)).collect();
    for _ in 0..2_000 {
        drop(from(1, &weir));
    }
    let before = load.counts().ok;
    wait_until("the others are served", || load.counts().ok > before + 50);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
    weir.wait_metric(REFUSED, &PER_CLIENT, 2_000.0);
    assert_eq!(weir.metric("weir_connections", &[]), 8.0);
}
