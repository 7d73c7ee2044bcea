//! What weir costs when nothing happens.

use crate::harness::{Backend, Client, Load, Weir, answers, cpu_time, one_pool, wait_until};
use crate::pool_of;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The share of a core that weir uses for `length`.
fn cpu_share(weir: &Weir, length: Duration) -> f64 {
    let (before, began) = (cpu_time(weir.pid()), Instant::now());
    sleep(length);
    (cpu_time(weir.pid()) - before).as_secs_f64() / began.elapsed().as_secs_f64()
}

#[test]
fn an_idle_weir_uses_next_to_no_cpu() {
    let backend = Backend::http(answers::text("ok"));
    let check = "[pool.app.health]\ninterval = \"2s\"\n";
    let weir = Weir::start(&pool_of("0,1", &[(&backend, "")], check));
    let fresh = cpu_share(&weir, Duration::from_secs(2));
    assert!(fresh < 0.03, "{fresh} of a core before any traffic");
    let load = Load::get(weir.address("web"), 8, "/");
    wait_until("traffic flows", || load.counts().ok > 500);
    assert_eq!(load.stop().wrong, 0);
    // Idle connections with the backend are still open, and then closed.
    let after = cpu_share(&weir, Duration::from_secs(3));
    assert!(after < 0.03, "{after} of a core after traffic");
    // Somebody has watched, and watches no more.
    let mut watcher = TcpStream::connect(weir.address("admin")).unwrap();
    watcher.write_all(b"GET /live HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    wait_until("three rounds are seen", || {
        let mut piece = [0; 4096];
        let count = watcher.read(&mut piece).unwrap();
        seen.extend_from_slice(&piece[..count]);
        seen.windows(12).filter(|text| text == b"event: live\n").count() == 3
    });
    drop(watcher);
    let unwatched = cpu_share(&weir, Duration::from_secs(3));
    assert!(unwatched < 0.03, "{unwatched} of a core when nobody watches any more");
    println!("idle: {fresh:.4} of a core before traffic, {after:.4} after it, {unwatched:.4} unwatched");
}

#[test]
fn thousands_of_idle_clients_cost_little_and_are_all_still_served() {
    const CLIENTS: usize = 3_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 2 * CLIENTS as u64 {
        println!("skipped: no more than {hard} descriptors (ulimit -Hn)");
        return;
    }
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let open = |count: usize| -> Vec<Client> {
        (0..count)
            .map(|_| {
                let mut client = weir.client();
                assert_eq!(client.get("/").status, 200);
                client
            })
            .collect()
    };
    // What the first ones bring about (pages of code, tables, pools) is no cost of a connection.
    let mut clients = open(300);
    let before = weir.resident();
    clients.extend(open(CLIENTS));
    assert_eq!(weir.metric("weir_connections", &[]), clients.len() as f64);
    let each = weir.resident().saturating_sub(before) / CLIENTS;
    println!("{each} bytes a connection, in this build");
    assert!(each < 2 << 10, "{each} bytes a connection");
    let idle = cpu_share(&weir, Duration::from_secs(2));
    assert!(idle < 0.03, "{idle} of a core with {} idle clients", clients.len());
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(
        weir.metric("weir_connections_accepted_total", &[]),
        clients.len() as f64,
        "nobody had to return"
    );
    drop(clients);
    wait_until("all are gone", || weir.metric("weir_connections", &[]) == 0.0);
}
