//! ip_hash: the same client, the same backend, and who has to move when one leaves.

use crate::harness::{Backend, Client, Handler, Then, Weir, answers, wait_until};
use crate::{pool_of, shares, state};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a client's request goes.
type Homes = BTreeMap<Ipv4Addr, usize>;

/// Addresses of so many clients, all on this host.
fn addresses(count: u16) -> impl Iterator<Item = Ipv4Addr> {
    (1..=count).map(|n| Ipv4Addr::new(127, 3, (n >> 8) as u8, n as u8))
}

/// Answers with its number, and fails its check while `ill`.
fn numbered(number: usize, ill: Arc<AtomicBool>) -> Handler {
    answers::by(move |received, wire| {
        let status = if received.line().contains("/up") && ill.load(Ordering::SeqCst) { 500 } else { 200 };
        let body = number.to_string();
        wire.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()))?;
        Ok(Then::KeepAlive)
    })
}

fn homes(weir: &Weir, count: u16) -> Homes {
    let home = |ip| {
        let response = Client::connect_from(ip, weir.address("web")).get("/");
        assert_eq!(response.status, 200, "{ip}: {}", response.text());
        (ip, response.text().parse().unwrap())
    };
    addresses(count).map(home).collect()
}

fn counts(homes: &Homes, backends: usize) -> Vec<usize> {
    (0..backends).map(|backend| homes.values().filter(|home| **home == backend).count()).collect()
}

const CHECK: &str = "policy = \"ip_hash\"\n[pool.app.health]\npath = \"/up\"\ninterval = \"20ms\"\n\
    interval_down = \"20ms\"\ntimeout = \"20s\"\nrise = 1\nfall = 1\n";

#[test]
fn the_same_client_gets_the_same_backend_on_every_shard_and_connection() {
    let backends: Vec<Backend> = (0..5).map(|n| Backend::http(answers::text(&n.to_string()))).collect();
    let all: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
    let weir = Weir::start(&pool_of("0,0", &all, "policy = \"ip_hash\""));
    let first = homes(&weir, 40);
    for _ in 0..5 {
        assert_eq!(homes(&weir, 40), first);
    }
    for shard in ["0", "1"] {
        let accepted = weir.metric("weir_connections_accepted_total", &[("shard", shard)]);
        assert!(accepted > 50.0, "shard {shard} had its share of the 240 connections: {accepted}");
    }
    assert!(counts(&first, 5).iter().all(|count| *count > 0), "{first:?}");
}

#[test]
fn who_leaves_takes_only_its_own_clients_along_and_gets_them_back() {
    const CLIENTS: u16 = 400;
    let ill: Vec<_> = (0..4).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let backends: Vec<Backend> = (0..4).map(|n| Backend::http(numbered(n, ill[n].clone()))).collect();
    let all: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
    let weir = Weir::start(&pool_of("0", &all, CHECK));
    let is = |wanted: &str| wait_until(&format!("backend 2 is {wanted}"), || state(&weir, 2) == wanted);
    wait_until("all are up", || (0..4).all(|backend| state(&weir, backend) == "up"));
    let before = homes(&weir, CLIENTS);
    ill[2].store(true, Ordering::SeqCst);
    is("down");
    let without = homes(&weir, CLIENTS);
    let moved = before.iter().filter(|(ip, home)| without[ip] != **home).count();
    assert_eq!(moved, counts(&before, 4)[2], "its clients and nobody else's");
    let share = moved as f64 / f64::from(CLIENTS);
    assert!((0.18..0.32).contains(&share), "about a quarter of all clients: {share}");
    let heirs: Homes =
        before.iter().filter(|(_, home)| **home == 2).map(|(ip, _)| (*ip, without[ip])).collect();
    for (backend, count) in counts(&heirs, 4).into_iter().enumerate() {
        let fair = if backend == 2 { count == 0 } else { count > moved / 6 };
        assert!(fair, "the leaver's load spreads over the others: {:?}", counts(&heirs, 4));
    }
    ill[2].store(false, Ordering::SeqCst);
    is("up");
    assert_eq!(homes(&weir, CLIENTS), before, "all are back");
}

#[test]
fn many_clients_come_to_shares_by_weight() {
    // Chance, but the same in each run: the backends' names and the clients' addresses are.
    let backends: Vec<Backend> = (0..3).map(|n| Backend::http(answers::text(&n.to_string()))).collect();
    let all: Vec<_> = backends.iter().zip(["weight = 1", "weight = 1", "weight = 2"]).collect();
    let weir = Weir::start(&pool_of("0", &all, "policy = \"ip_hash\""));
    shares::assert_shares(&counts(&homes(&weir, 3_000), 3), &[1, 1, 2], "ip_hash");
}
