//! Shards that know of each other's exchanges: least_conn over the merged view.

use crate::harness::{Backend, Client, Handler, Load, Then, Weir, answers, wait_until};
use crate::{backends, pool_of};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Opens connections until each shard has those that are asked for; the others are closed again.
fn on_shards(weir: &Weir, wanted: &[usize]) -> Vec<Vec<Client>> {
    let open = || -> Vec<usize> {
        let page = weir.admin("/metrics").text();
        let line = |shard: usize| format!("weir_connections{{shard=\"{shard}\"}} ");
        let count =
            |shard| page.lines().find_map(|l| l.strip_prefix(line(shard).as_str())).unwrap().parse().unwrap();
        (0..wanted.len()).map(count).collect()
    };
    let mut clients: Vec<Vec<Client>> = wanted.iter().map(|_| Vec::new()).collect();
    let mut spare = Vec::new();
    let mut before = open();
    while clients.iter().zip(wanted).any(|(clients, wanted)| clients.len() < *wanted) {
        let client = weir.client();
        let mut now = Vec::new();
        wait_until("a shard has accepted", || {
            now = open();
            now != before
        });
        let shard = (0..wanted.len()).find(|shard| now[*shard] > before[*shard]).unwrap();
        if clients[shard].len() < wanted[shard] {
            clients[shard].push(client)
        } else {
            spare.push(client)
        }
        before = now;
    }
    drop(spare);
    wait_until("the others are closed", || open() == wanted);
    clients
}

/// Holds requests until its backend is let go.
#[derive(Default)]
struct Hold {
    gone: Mutex<bool>,
    moved: Condvar,
}

impl Hold {
    fn let_go(&self) {
        *self.gone.lock().unwrap() = true;
        self.moved.notify_all();
    }

    fn handler(self: &Arc<Self>) -> Handler {
        let hold = self.clone();
        answers::by(move |_, wire| {
            drop(hold.moved.wait_while(hold.gone.lock().unwrap(), |gone| !*gone).unwrap());
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            Ok(Then::KeepAlive)
        })
    }
}

#[test]
fn what_one_shard_holds_on_a_backend_keeps_the_other_away_from_it() {
    let holds: [Arc<Hold>; 4] = Default::default();
    let fleet: Vec<Backend> = holds.iter().map(|hold| Backend::http(hold.handler())).collect();
    let all: Vec<_> = fleet.iter().map(|backend| (backend, "")).collect();
    let weir = Weir::start(&pool_of("0,1", &all, "policy = \"least_conn\""));
    let mut clients = on_shards(&weir, &[12, 9]);
    let (mut second, mut first) = (clients.pop().unwrap(), clients.pop().unwrap());
    let arrived = || fleet.iter().map(Backend::requests).collect::<Vec<_>>();
    first.iter_mut().for_each(|client| client.send(GET));
    wait_until("all twelve are held", || arrived() == [3, 3, 3, 3]);
    // Shard 0 keeps three on backend 0 and none elsewhere.
    holds[1..].iter().for_each(|hold| hold.let_go());
    let in_flight =
        || backends(&weir).iter().map(|page| page["in_flight_per_shard"].clone()).collect::<Vec<_>>();
    let expected = [[3, 0], [0, 0], [0, 0], [0, 0]].map(|shards| serde_json::json!(shards));
    wait_until("control knows", || in_flight() == expected);
    // A page is made of what each shard hands over, after it has read its mail: the snapshots too.
    for _ in 0..3 {
        in_flight();
    }
    // One at a time, each answered at once by those three: with its own counts alone shard 1 sees four
    // idle backends, and would send a fourth of its requests to each.
    let mut answered = 0;
    for client in &mut second {
        for _ in 0..3 {
            client.patience(Duration::from_secs(2));
            client.send(GET);
            assert_eq!(client.response().status, 200);
            answered += 1;
        }
    }
    let counts = arrived();
    assert_eq!((counts[0], counts[1..].iter().sum::<usize>()), (3, 9 + answered), "{counts:?}");
    holds[0].let_go();
    for client in &mut first {
        assert_eq!(client.response().status, 200);
    }
    wait_until("nothing is in flight", || {
        in_flight().iter().all(|shards| *shards == serde_json::json!([0, 0]))
    });
}

/// Requests that came to a backend, by how many it then had.
type Depths = Arc<Mutex<Vec<usize>>>;

/// Takes `length` for each request.
fn measured(length: Duration, depths: Depths) -> Handler {
    let now = AtomicUsize::new(0);
    answers::by(move |_, wire| {
        let depth = now.fetch_add(1, Ordering::SeqCst) + 1;
        depths.lock().unwrap().push(depth);
        std::thread::sleep(length);
        now.fetch_sub(1, Ordering::SeqCst);
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    })
}

#[test]
fn backends_stay_balanced_although_one_shard_has_most_connections() {
    let depths: Vec<Depths> = (0..4).map(|_| Depths::default()).collect();
    // Each takes another time, so that it is the counts and not the turns that balance.
    let lengths = [15, 20, 25, 30].map(Duration::from_millis);
    let handlers = depths.iter().zip(lengths).map(|(depths, length)| measured(length, depths.clone()));
    let fleet: Vec<Backend> = handlers.map(Backend::http).collect();
    let all: Vec<_> = fleet.iter().map(|backend| (backend, "")).collect();
    let weir = Weir::start(&pool_of("0,0,1,1", &all, "policy = \"least_conn\""));
    let clients = on_shards(&weir, &[7, 2, 2, 1]);
    assert!((2.3..2.4).contains(&weir.metric("weir_connections_imbalance", &[])), "7 of 12 on one of four");
    let stop = Arc::new(AtomicBool::new(false));
    let work = |mut client: Client| {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut answered = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                client.send(GET);
                assert_eq!(client.response().status, 200);
                answered += 1;
            }
            answered
        })
    };
    let clients: Vec<_> = clients.into_iter().flatten().map(work).collect();
    let arrived = || fleet.iter().map(Backend::requests).sum::<usize>();
    wait_until("1,500 requests have come", || arrived() >= 1_500);
    stop.store(true, Ordering::SeqCst);
    let answered: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    // Twelve at once over four: three each.
    let depths: Vec<usize> = depths.iter().flat_map(|depths| depths.lock().unwrap().clone()).collect();
    let deeper = |than: usize| depths.iter().filter(|depth| **depth > than).count();
    println!("of {} deeper than 3: {}, 4: {}, 5: {}", depths.len(), deeper(3), deeper(4), deeper(5));
    assert!(deeper(4) * 50 < depths.len() && deeper(6) == 0);
    assert_view_age(&weir, answered);
}

/// The age of the view was recorded at each pick, and is what `sync` and the mail make of it.
fn assert_view_age(weir: &Weir, picks: usize) {
    let count = weir.metric("weir_view_age_seconds_count", &[]);
    // Before the first snapshot a view has no age.
    let first = picks as f64 - count;
    assert!((0.0..=50.0).contains(&first), "{count} of {picks} picks");
    let within = |le: &str| weir.metric("weir_view_age_seconds_bucket", &[("le", le)]) / count;
    println!("view age: {:.2} within 1 ms, {:.2} within 10 ms", within("0.001"), within("0.01"));
    assert!(within("0.1") > 0.9, "{}", weir.admin("/metrics").text());
}

#[test]
fn an_idle_pair_of_shards_tells_each_other_nothing() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&pool_of("0,1", &[(&backend, "")], ""));
    let load = Load::get(weir.address("web"), 2, "/");
    wait_until("traffic flows", || load.counts().ok > 100);
    assert_eq!(load.stop().wrong, 0);
    wait_until("all is told", || backends(&weir)[0]["in_flight"] == 0);
    let turns = || weir.metric("weir_ring_turns_total", &[]);
    let (before, began) = (turns(), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let per_second = (turns() - before) / began.elapsed().as_secs_f64();
    // The heartbeat, ten a second on each shard, a few turns each; and this page's own messages.
    assert!(per_second < 150.0, "{per_second} turns a second on two idle shards");
}
