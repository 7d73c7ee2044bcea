//! `/live`: what the stream tells against what was sent, and how it is bounded.

use crate::harness::{Backend, Client, Load, Weir, answers, one_pool, wait_until, wait_up_to};
use crate::pool_of;
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use weir::admin::live::model::{History, Live, Slot};

/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(25);

/// An event of the stream.
#[derive(Debug)]
enum Event {
    History(History),
    Live(Box<Live>),
    Slot(Slot),
}

/// Somebody who watches.
struct Watcher {
    socket: TcpStream,
    head: String,
    /// Of the body, in its chunks.
    raw: Vec<u8>,
    text: String,
    events: VecDeque<Event>,
    over: bool,
}

impl Watcher {
    /// Asks for a stream, and reads the answer's head.
    fn ask(address: SocketAddr, fields: &str) -> Self {
        Self::ask_on(TcpStream::connect(address).unwrap(), fields)
    }

    fn ask_on(mut socket: TcpStream, fields: &str) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
            .write_all(format!("GET /live HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes())
            .unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        Self { socket, head, raw: Vec::new(), text: String::new(), events: VecDeque::new(), over: false }
    }

    fn of(weir: &Weir) -> Self {
        let watcher = Self::ask(weir.address("admin"), "");
        assert!(watcher.head.starts_with("http/1.1 200"), "{}", watcher.head);
        watcher
    }

    fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    /// The next event; `None`: the stream has ended as it should.
    fn next(&mut self) -> Option<Event> {
        let began = Instant::now();
        while self.events.is_empty() && !self.over {
            assert!(began.elapsed() < PATIENCE, "no event in {PATIENCE:?}");
            let mut piece = [0; 64 << 10];
            let count = self.socket.read(&mut piece).expect("an event");
            assert!(count > 0, "the stream breaks off");
            self.raw.extend_from_slice(&piece[..count]);
            self.unchunk();
        }
        self.events.pop_front()
    }

    /// Takes whole chunks, and whole events out of them.
    fn unchunk(&mut self) {
        while let Some(line) = self.raw.windows(2).position(|two| two == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).unwrap(), 16).unwrap();
            if self.raw.len() < line + 2 + length + 2 {
                break;
            }
            self.over |= length == 0;
            self.text.push_str(std::str::from_utf8(&self.raw[line + 2..line + 2 + length]).unwrap());
            self.raw.drain(..line + 2 + length + 2);
        }
        while let Some((event, rest)) = self.text.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            self.events.push_back(parsed(&event));
            self.text = rest;
        }
    }

    fn history(&mut self) -> History {
        match self.next() {
            Some(Event::History(history)) => history,
            other => panic!("no history comes first: {other:?}"),
        }
    }

    /// The next `live`; what comes before it is left out.
    fn live(&mut self) -> Live {
        loop {
            match self.next() {
                Some(Event::Live(live)) => return *live,
                Some(_) => {}
                None => panic!("the stream has ended"),
            }
        }
    }

    /// The first `live` for which something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Live) -> bool) -> Live {
        let began = Instant::now();
        loop {
            let live = self.live();
            if holds(&live) {
                return live;
            }
            assert!(began.elapsed() < 2 * PATIENCE, "in vain until {what}: {live:#?}");
        }
    }

    /// The next `slot`.
    fn slot(&mut self) -> Slot {
        loop {
            match self.next() {
                Some(Event::Slot(slot)) => return slot,
                Some(_) => {}
                None => panic!("the stream has ended"),
            }
        }
    }
}

fn parsed(event: &str) -> Event {
    let mut lines = event.lines().filter(|line| !line.starts_with("retry: "));
    let name = lines.next().and_then(|line| line.strip_prefix("event: ")).unwrap();
    let data = lines.next().and_then(|line| line.strip_prefix("data: ")).unwrap();
    assert_eq!(lines.next(), None, "{event}");
    match name {
        "history" => Event::History(serde_json::from_str(data).unwrap()),
        "live" => Event::Live(serde_json::from_str(data).unwrap()),
        "slot" => Event::Slot(serde_json::from_str(data).unwrap()),
        other => panic!("an event {other}"),
    }
}

#[test]
fn the_stream_tells_the_history_first_and_then_each_second_how_it_is() {
    let backends: Vec<Backend> = (0..2).map(|_| Backend::http(answers::text("ok"))).collect();
    let all: Vec<_> = backends.iter().map(|backend| (backend, "weight = 3\n")).collect();
    let weir = Weir::start(&pool_of("0,1", &all, ""));
    let mut watcher = Watcher::of(&weir);
    for field in
        ["content-type: text/event-stream\r\n", "cache-control: no-store\r\n", "connection: close\r\n"]
    {
        assert!(watcher.head.contains(field), "{field} is not in {}", watcher.head);
    }
    let history = watcher.history();
    assert_eq!((history.slot_s, history.slots.len()), (5, 0));
    assert!(history.bounds_us.is_sorted() && history.bounds_us.len() > 30, "{:?}", history.bounds_us);
    let first = watcher.live();
    assert!(first.ready && first.why.is_none() && first.may_change, "{first:?}");
    assert_eq!(first.total.requests_per_s, 0.0);
    let (pool, shards) = (&first.pools[0], &first.shards);
    assert_eq!(
        (pool.name.as_str(), pool.policy.as_str(), pool.usable, pool.panic),
        ("app", "least_conn", 2, false)
    );
    let names: Vec<_> = pool.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["0", "1"]);
    for (backend, real) in pool.backends.iter().zip(&backends) {
        assert_eq!((&backend.address, backend.weight, backend.share), (&real.address(), 3, 1.0));
        assert_eq!(
            (backend.state.as_str(), backend.why.as_str()),
            ("no_check", "no health check is configured")
        );
        assert_eq!(backend.in_flight_per_shard, [0, 0]);
    }
    assert_eq!(
        shards.iter().map(|shard| (shard.number, shard.state.as_str())).collect::<Vec<_>>(),
        [(0, "serving"), (1, "serving")]
    );
    let load = Load::get(weir.address("web"), 4, "/");
    let mut told = 0.0;
    let mut next = |watcher: &mut Watcher| {
        let live = watcher.live();
        // A busy machine makes a second longer, never shorter.
        assert!(live.interval_s >= 0.8, "{}", live.interval_s);
        told += live.total.requests_per_s * live.interval_s;
        (live, told)
    };
    let mut live = next(&mut watcher).0;
    // A whole second of it.
    while live.total.requests_per_s == 0.0 {
        live = next(&mut watcher).0;
    }
    let (live, _) = next(&mut watcher);
    let of_backends: f64 = live.pools[0].backends.iter().map(|backend| backend.figures.requests_per_s).sum();
    assert!((of_backends - live.total.requests_per_s).abs() < 1.0, "{live:?}");
    for figures in [&live.total, &live.pools[0].backends[0].figures] {
        let marks = [figures.p50_us, figures.p90_us, figures.p99_us, figures.p99_9_us].map(Option::unwrap);
        assert!(marks.is_sorted() && marks[0] > 0, "{marks:?}");
        assert_eq!(figures.error_share, 0.0);
    }
    let phases: Vec<_> = live.phases.iter().map(|phase| phase.phase.as_str()).collect();
    assert_eq!(phases, ["connect", "first_byte", "whole", "own"]);
    assert_eq!(live.shards.iter().map(|shard| shard.connections).sum::<u32>(), 4);
    for shard in live.shards.iter().filter(|shard| shard.connections > 0) {
        assert!(shard.load > 0.0 && shard.load <= 1.0 && shard.turns_per_s > 0.0, "{shard:?}");
        assert!(shard.completions_per_turn > 0.0 && shard.stall_p99_us >= shard.stall_p50_us, "{shard:?}");
        assert!(shard.stall_p50_us.is_some() && shard.view_age_p99_us.is_some(), "{shard:?}");
    }
    let counts = load.stop();
    assert_eq!(counts.wrong, 0);
    // All seconds together are what was sent.
    let told = loop {
        let (live, told) = next(&mut watcher);
        if live.total.requests_per_s == 0.0 {
            break told;
        }
    };
    let sent = counts.ok as f64;
    assert!((told - sent).abs() < sent * 0.02 + 2.0, "{told} told of {sent}");
}

/// Whole exchanges in these slots.
fn whole(slots: &[Slot]) -> u64 {
    let phases = slots.iter().flat_map(|slot| &slot.phases);
    phases.filter(|phase| phase.phase == "whole").flat_map(|phase| &phase.counts).sum()
}

#[test]
fn the_history_is_there_when_somebody_comes_and_every_request_is_in_one_slot() {
    let backends: Vec<Backend> = (0..2).map(|_| Backend::http(answers::text("ok"))).collect();
    let all: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
    let weir = Weir::start(&pool_of("0,1", &all, ""));
    let get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let load = Load::start(weir.address("web"), 1, get, Duration::from_millis(20), |response| {
        response.status == 200
    });
    // Nobody watches meanwhile.
    let began = Instant::now();
    wait_up_to(Duration::from_secs(60), "twelve seconds of traffic", || {
        load.counts().ok > 50 && began.elapsed() > Duration::from_secs(12)
    });
    let mut watcher = Watcher::of(&weir);
    let history = watcher.history();
    let sent = load.counts().ok;
    let most = began.elapsed().as_secs() as usize / 5 + 1;
    assert!((2..=most).contains(&history.slots.len()), "{:?}", history.slots);
    assert!((1..=sent).contains(&whole(&history.slots)), "{} of {sent}", whole(&history.slots));
    for slot in &history.slots {
        assert!(
            slot.phases.iter().all(|phase| phase.counts.len() == history.bounds_us.len() + 1),
            "{slot:?}"
        );
        let names: Vec<_> =
            slot.backends.iter().map(|part| (part.pool.as_str(), part.backend.as_str())).collect();
        assert_eq!(names, [("app", "0"), ("app", "1")]);
        assert!(
            slot.backends
                .iter()
                .all(|part| part.figures.requests_per_s > 0.0 && part.figures.p99_us.is_some())
        );
    }
    let apart: Vec<u64> = history.slots.windows(2).map(|two| two[1].at_ms - two[0].at_ms).collect();
    assert!(apart.iter().all(|ms| *ms >= 4_900), "{apart:?}");
    // Those that end from now on are told of as they do.
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0));
    let mut slots = history.slots;
    while whole(&slots) < counts.ok {
        slots.push(watcher.slot());
    }
    assert_eq!(whole(&slots), counts.ok);
    let page: Value = serde_json::from_str(&weir.admin("/live?once=true").text()).unwrap();
    let history: History = serde_json::from_value(page["history"].clone()).unwrap();
    assert_eq!(history.slots, slots, "and who comes later sees the same");
    let live: Live = serde_json::from_value(page["live"].clone()).unwrap();
    assert_eq!((live.total.requests_per_s, live.pools[0].backends.len()), (0.0, 2));
}

#[test]
fn a_backend_that_dies_is_seen_with_its_errors_its_failover_and_why() {
    let (good, mut bad) = (Backend::http(answers::text("ok")), Backend::http(answers::text("ok")));
    let check = "policy = \"round_robin\"\n[pool.app.health]\ninterval = \"500ms\"\ninterval_down = \"200ms\"\n\
                 rise = 2\nfall = 3\n";
    let weir = Weir::start(&pool_of("0,1", &[(&good, ""), (&bad, "")], check));
    let mut watcher = Watcher::of(&weir);
    let load = Load::get(weir.address("web"), 4, "/");
    let up =
        watcher.until("both are up", |live| live.pools[0].usable == 2 && live.total.requests_per_s > 0.0);
    assert_eq!((up.transitions.len(), up.transitions[0].to.as_str()), (2, "up"), "{:?}", up.transitions);
    bad.stop();
    let down = watcher.until("one is down, and what that took is known", |live| {
        let backend = &live.pools[0].backends[1];
        backend.state == "down" && live.transitions[0].failover_us.is_some()
    });
    let backend = &down.pools[0].backends[1];
    assert!(!backend.usable && backend.why.contains("connect refused"), "{backend:?}");
    assert_eq!(down.pools[0].usable, 1);
    let last = &down.transitions[0];
    assert_eq!((last.pool.as_str(), last.backend.as_str()), ("app", "1"));
    assert_eq!((last.from.as_str(), last.to.as_str(), &last.why), ("up", "down", &backend.why));
    assert!(last.at_ms >= down.transitions[1].at_ms && last.at_ms <= down.at_ms, "{:?}", down.transitions);
    assert!((1..10_000_000).contains(&last.failover_us.unwrap()), "{last:?}");
    // Every attempt at it failed since it stopped; what it was tried with is in the slot.
    let slot = watcher.slot();
    let of = |name: &str| slot.backends.iter().find(|part| part.backend == name).unwrap().figures;
    assert!(of("1").error_share > 0.0 && of("0").error_share == 0.0, "{slot:?}");
    bad.revive();
    let back = watcher.until("it is back", |live| live.pools[0].usable == 2);
    assert_eq!((back.transitions[0].to.as_str(), back.transitions[0].failover_us), ("up", None));
    assert_eq!(back.transitions[1].failover_us, last.failover_us, "it is not lost again");
    assert_eq!(load.stop().lost, 0);
}

#[test]
fn what_is_in_flight_and_what_is_refused_is_told() {
    let slow = Backend::http(answers::delayed(Duration::from_secs(4), answers::text("late")));
    let weir = Weir::start(&pool_of("0,1", &[(&slow, "")], ""));
    let mut watcher = Watcher::of(&weir);
    let mut clients: Vec<Client> = (0..6).map(|_| weir.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(weir.client().ask("nonsense\r\n\r\n").status, 400);
    let live = watcher.until("all are in flight", |live| live.total.in_flight == 6);
    let backend = &live.pools[0].backends[0];
    assert_eq!((backend.figures.in_flight, backend.in_flight_per_shard.iter().sum::<u32>()), (6, 6));
    let by_shard: Vec<u32> = live.shards.iter().map(|shard| shard.in_flight).collect();
    assert_eq!(by_shard, backend.in_flight_per_shard);
    let live = watcher.until("the refusal is seen", |live| !live.refusals.is_empty());
    let refused = &live.refusals[0];
    assert_eq!((refused.cause.as_str(), refused.status, refused.count), ("bad_head", 400, 1));
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    watcher.until("none is left", |live| live.total.in_flight == 0);
}

#[test]
fn streams_are_bounded_and_one_more_is_served_once_another_has_gone() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut watchers: Vec<Watcher> = (0..16).map(|_| Watcher::of(&weir)).collect();
    let refused = weir.admin("/live");
    let problem: Value = serde_json::from_str(&refused.text()).unwrap();
    assert_eq!((refused.status, problem["code"].as_str()), (503, Some("too_many_watch")));
    assert!(problem["remedy"].as_str().unwrap().contains("once=true"), "{problem}");
    for path in ["/live?once=true", "/backends", "/metrics"] {
        assert_eq!(weir.admin(path).status, 200, "{path} is none of them");
    }
    // All of them are told of the same round.
    let told: Vec<u64> = watchers.iter_mut().map(|watcher| watcher.live().at_ms).collect();
    assert!(told.iter().max().unwrap() - told.iter().min().unwrap() < 3_000, "{told:?}");
    watchers.pop();
    wait_until("the place is free again", || Watcher::ask(weir.address("admin"), "").status() == 200);
}

/// A connection for which the kernel keeps little on this side, so that who does not read is noticed soon.
fn narrow(to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("{to}") };
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, RcvBuf, &4096).unwrap();
    connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    socket.into()
}

#[test]
fn who_reads_nothing_is_hung_up_on_and_piles_nothing_up() {
    let backend = Backend::http(answers::text("ok"));
    let mut config = one_pool(&[&backend], "", "");
    for name in 1..400 {
        // Nobody is there, and nobody asks.
        let address = format!("127.1.{}.{}:9", name / 200, name % 200 + 1);
        config.push_str(&format!("[[pool.app.backend]]\nname = \"b{name}\"\naddress = \"{address}\"\n"));
    }
    let weir = Weir::start(&config);
    let mut reader = Watcher::of(&weir);
    reader.live();
    let event_bytes = serde_json::to_vec(&reader.live()).unwrap().len();
    let before = weir.resident();
    let stalled: Vec<Watcher> = (0..15).map(|_| Watcher::ask_on(narrow(weir.address("admin")), "")).collect();
    let mut most = 0;
    wait_up_to(Duration::from_secs(90), "those that read nothing have lost their places", || {
        most = most.max(weir.resident());
        reader.live();
        Watcher::ask(weir.address("admin"), "").status() == 200
    });
    let each = most.saturating_sub(before) / stalled.len();
    println!("an event has {event_bytes} bytes; each that reads nothing took {each}");
    assert!(event_bytes > 100_000 && each < 4 * event_bytes, "{each} for events of {event_bytes}");
}

#[test]
fn the_stream_ends_when_weir_drains_and_the_last_event_says_why() {
    let slow = Backend::http(answers::delayed(Duration::from_secs(3), answers::text("late")));
    let mut weir = Weir::start(&one_pool(&[&slow], "", ""));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut watcher = Watcher::of(&weir);
    watcher.until("it is in flight", |live| live.total.in_flight == 1);
    weir.signal(Signal::SIGTERM);
    let last = watcher.until("it drains", |live| !live.ready);
    assert_eq!(last.why.as_deref(), Some("shutting down"));
    assert!(watcher.next().is_none(), "the stream is whole");
    assert_eq!(client.response().status, 200);
    assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn the_stream_ends_at_a_takeover_and_the_successor_goes_on() {
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "", "");
    let mut old = Weir::start(&config);
    let mut watcher = Watcher::of(&old);
    watcher.live();
    let new = old.successor(&config);
    while watcher.next().is_some() {}
    assert_eq!(old.wait_exit(Duration::from_secs(20)).code(), Some(0));
    let mut watcher = Watcher::of(&new);
    watcher.history();
    assert!(watcher.live().ready);
}

#[test]
fn who_may_watch_and_what_a_page_is_told_that_it_may_do() {
    let backend = Backend::http(answers::text("ok"));
    let both = one_pool(&[&backend], "", "")
        + "[admin]\nlisten = [\"127.0.0.1:{admin}\", \"unix:{dir}/admin.sock\"]\n";
    let weir = Weir::start(&both);
    let of_site = |site: &str| {
        let mut watcher = Watcher::ask(weir.address("admin"), &format!("Sec-Fetch-Site: {site}\r\n"));
        (watcher.status(), (watcher.status() == 200).then(|| watcher.live().may_change))
    };
    assert_eq!(of_site("same-origin"), (200, Some(true)), "it is the dashboard");
    for site in ["cross-site", "same-site"] {
        assert_eq!(of_site(site), (403, None), "{site}");
    }
    assert!(Watcher::of(&weir).live().may_change);
    let unix = Client::connect_unix(&weir.dir().join("admin.sock")).get("/live?once=true").text();
    let page: Value = serde_json::from_str(&unix).unwrap();
    assert_eq!(page["live"]["may_change"], true);
    assert_eq!(weir.admin("/live?twice=true").status, 400);
    assert_eq!(weir.admin("/live?once=yes").status, 400);
    let head = weir.try_admin("HEAD", "/live").unwrap();
    assert_eq!(
        (head.status, head.field("Content-Type"), head.body.len()),
        (200, Some("text/event-stream"), 0)
    );
    let post = weir.try_admin("POST", "/live").unwrap();
    assert_eq!((post.status, post.field("Allow")), (405, Some("GET, HEAD")));
}
