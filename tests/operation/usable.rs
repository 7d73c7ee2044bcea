//! Backups, and what happens when nobody is left.

use crate::harness::{Backend, Weir, answers, wait_until};
use crate::{pool_of, state};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const CHECK: &str = "policy = \"round_robin\"\n[pool.app.health]\ntype = \"tcp\"\ninterval = \"20ms\"\n\
    interval_down = \"20ms\"\ntimeout = \"20s\"\nrise = 1\nfall = 1\n";

#[test]
fn backups_get_traffic_only_while_no_other_is_usable() {
    let mut backends = ["a", "b", "spare"].map(|name| Backend::http(answers::text(name)));
    let lines = ["", "", "backup = true"];
    let weir = Weir::start(&pool_of("0,0", &backends.iter().zip(lines).collect::<Vec<_>>(), CHECK));
    wait_until("all are up", || (0..3).all(|backend| state(&weir, backend) == "up"));
    let mut clients: Vec<_> = (0..6).map(|_| weir.client()).collect();
    let mut served = |rounds: usize| {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..rounds {
            names.extend(clients.iter_mut().map(|client| client.get("/").text()));
        }
        names.sort();
        names.dedup();
        names.join(" ")
    };
    let down = |backend: usize, wanted: &str| {
        wait_until(&format!("{backend} is {wanted}"), || state(&weir, backend) == wanted);
    };
    assert_eq!(served(10), "a b");
    backends[0].stop();
    down(0, "down");
    assert_eq!(served(10), "b", "one primary is enough");
    backends[1].stop();
    down(1, "down");
    assert_eq!(served(10), "spare");
    backends[0].revive();
    down(0, "up");
    wait_until("both shards know", || served(1) == "a");
    assert_eq!(served(10), "a", "the backup rests again");
    assert_eq!(weir.metric("weir_refusals_total", &[]), 0.0);
}

/// A listener whose queue is full: connecting to it takes for ever.
struct Full {
    listener: TcpListener,
    _held: Vec<TcpStream>,
}

impl Full {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backlog = nix::sys::socket::Backlog::new(0).unwrap();
        nix::sys::socket::listen(&listener, backlog).unwrap();
        let address = listener.local_addr().unwrap();
        let patience = Duration::from_millis(100);
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, patience) {
            held.push(stream);
        }
        Self { listener, _held: held }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

#[test]
fn when_all_are_down_503_comes_at_once_without_a_connect() {
    let full = [Full::new(), Full::new()];
    let config = format!(
        "[runtime]\ncores = \"0,0\"\n[[listener]]\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         [pool.app.timeouts]\nconnect = \"20s\"\n[pool.app.health]\ntype = \"tcp\"\ninterval = \"100ms\"\n\
         timeout = \"100ms\"\n[[pool.app.backend]]\naddress = \"{}\"\n[[pool.app.backend]]\naddress = \"{}\"\n",
        full[0].address(),
        full[1].address()
    );
    let weir = Weir::start(&config);
    wait_until("both are down", || (0..2).all(|backend| state(&weir, backend) == "down"));
    let began = Instant::now();
    for _ in 0..20 {
        let mut client = weir.client();
        for _ in 0..5 {
            let response = client.get("/");
            assert_eq!(response.status, 503);
            assert_eq!(response.text(), "503 Service Unavailable: no backend is usable (no_backend)\n");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(20), "a connect would take that: {:?}", began.elapsed());
    assert_eq!(weir.metric("weir_refusals_total", &[("cause", "no_backend"), ("status", "503")]), 100.0);
    assert_eq!(weir.metric("weir_upstream_failures_total", &[]), 0.0, "nobody was asked");
}

#[test]
fn a_pool_that_was_down_serves_again_with_its_first_backend_that_comes_back() {
    let mut backend = Backend::absent(answers::text("back"));
    let weir = Weir::start(&pool_of("0,0", &[(&backend, "")], CHECK));
    wait_until("it is down", || state(&weir, 0) == "down");
    let mut client = weir.client();
    assert_eq!(client.get("/").status, 503);
    backend.revive();
    wait_until("it serves", || client.get("/").status == 200);
}
