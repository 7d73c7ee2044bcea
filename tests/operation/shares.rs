//! How each policy shares the traffic. A share is right if it is within 2 % of all requests.

use crate::harness::{Backend, Client, Handler, Then, Weir, answers, wait_until};
use crate::pool_of;
use std::sync::Arc;
use std::sync::{Condvar, Mutex};

const TWO_SHARDS: &str = "0,0";

/// Asserts that `counts` are shares of their sum as `weights` are of theirs, within 2 % of the sum.
pub(crate) fn assert_shares(counts: &[usize], weights: &[usize], what: &str) {
    assert_shares_within(0.02, counts, weights, what);
}

fn assert_shares_within(bound: f64, counts: &[usize], weights: &[usize], what: &str) {
    let (sum, weight) = (counts.iter().sum::<usize>() as f64, weights.iter().sum::<usize>() as f64);
    for (count, own) in counts.iter().zip(weights) {
        let (found, right) = (*count as f64 / sum, *own as f64 / weight);
        assert!((found - right).abs() <= bound, "{what}: {counts:?} by weights {weights:?}");
    }
}

/// Backends with these weights behind weir, and what `requests` GETs on `connections` in turn come to.
fn shared_out(
    cores: &str,
    policy: &str,
    weights: &[usize],
    connections: usize,
    requests: usize,
) -> Vec<usize> {
    let backends: Vec<Backend> = weights.iter().map(|_| Backend::http(answers::text("ok"))).collect();
    let lines: Vec<String> = weights.iter().map(|weight| format!("weight = {weight}")).collect();
    let weighted: Vec<_> = backends.iter().zip(lines.iter().map(String::as_str)).collect();
    let weir = Weir::start(&pool_of(cores, &weighted, &format!("policy = \"{policy}\"")));
    let mut clients: Vec<Client> = (0..connections).map(|_| weir.client()).collect();
    for n in 0..requests {
        assert_eq!(clients[n % connections].get("/").status, 200);
    }
    backends.iter().map(Backend::requests).collect()
}

#[test]
fn round_robin_gives_each_backend_its_weight_exactly_and_evenly_spread() {
    let names = ["a", "b", "c"];
    let backends = names.map(|name| Backend::http(answers::text(name)));
    let weighted: Vec<_> = backends.iter().zip(["weight = 5", "weight = 1", "weight = 2"]).collect();
    let weir = Weir::start(&pool_of("0", &weighted, "policy = \"round_robin\""));
    let mut client = weir.client();
    let turns: String = (0..80).map(|_| client.get("/").text()).collect();
    for turn in turns.as_bytes().chunks(8) {
        let count = |name: u8| turn.iter().filter(|given| **given == name).count();
        assert_eq!((count(b'a'), count(b'b'), count(b'c')), (5, 1, 2), "{turns}");
    }
    assert!(!turns.contains("aaaa"), "the heavy one is not served in one go: {turns}");
}

#[test]
fn round_robin_keeps_to_the_weights_over_two_shards() {
    let counts = shared_out(TWO_SHARDS, "round_robin", &[5, 3, 2], 8, 1_000);
    assert_shares(&counts, &[5, 3, 2], "round_robin");
}

#[test]
fn least_conn_shares_one_request_at_a_time_by_weight() {
    let counts = shared_out("0", "least_conn", &[1, 3, 4], 1, 800);
    assert_shares(&counts, &[1, 3, 4], "least_conn");
}

#[test]
fn least_conn_on_two_shards_shares_by_weight_as_far_as_their_views_are_fresh() {
    // Alternating shards: the other one's last exchange, just over, often still counts in the view, and it
    // was most likely on the heaviest. That costs the heaviest about a fiftieth.
    let counts = shared_out(TWO_SHARDS, "least_conn", &[1, 3, 4], 8, 800);
    assert_shares_within(0.06, &counts, &[1, 3, 4], "least_conn");
}

#[test]
fn random_two_shares_one_request_at_a_time_by_weight() {
    // Chance, but the same in each run: a shard's draws begin with its number.
    let counts = shared_out("0", "random_two", &[1, 1, 2], 1, 4_000);
    assert_shares(&counts, &[1, 1, 2], "random_two");
}

/// Holds requests until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.moved.notify_all();
    }

    fn held(self: Arc<Self>) -> Handler {
        answers::by(move |_, wire| {
            drop(self.moved.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            Ok(Then::KeepAlive)
        })
    }
}

/// Requests in flight on backends of these weights when `count` came one after the other and none is answered.
fn held(policy: &str, weights: &[usize], count: usize) -> Vec<usize> {
    let gate = Arc::new(Gate::default());
    let backends: Vec<Backend> = weights.iter().map(|_| Backend::http(gate.clone().held())).collect();
    let lines: Vec<String> = weights.iter().map(|weight| format!("weight = {weight}")).collect();
    let weighted: Vec<_> = backends.iter().zip(lines.iter().map(String::as_str)).collect();
    let weir = Weir::start(&pool_of("0", &weighted, &format!("policy = \"{policy}\"")));
    let arrived = || backends.iter().map(Backend::requests).sum::<usize>();
    let mut clients = Vec::new();
    for n in 0..count {
        let mut client = weir.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        wait_until("the request has arrived", || arrived() == n + 1);
        clients.push(client);
    }
    let counts = backends.iter().map(Backend::requests).collect();
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    counts
}

#[test]
fn least_conn_fills_backends_in_proportion_to_their_weights() {
    assert_eq!(held("least_conn", &[1, 3], 16), [4, 12]);
    assert_eq!(held("least_conn", &[1, 1, 1], 12), [4, 4, 4]);
}

#[test]
fn random_two_of_two_fills_them_evenly() {
    assert_eq!(held("random_two", &[1, 1], 12), [6, 6], "the less busy of two is always known");
}

#[test]
fn least_conn_sends_less_to_who_is_slow() {
    let slow = Backend::http(answers::delayed(std::time::Duration::from_millis(60), answers::text("slow")));
    let fast = Backend::http(answers::text("fast"));
    let weir = Weir::start(&pool_of(TWO_SHARDS, &[(&slow, ""), (&fast, "")], "policy = \"least_conn\""));
    let load = crate::harness::Load::get(weir.address("web"), 4, "/");
    wait_until("1,000 requests are answered", || load.counts().ok >= 1_000);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
    assert!(slow.requests() * 5 < fast.requests(), "{} to {}", slow.requests(), fast.requests());
}
