//! `/live`: what the stream tells against what was sent, and how it is bounded.

use crate::harness::{Backend, Load, Weir, answers, wait_until, wait_up_to};
use crate::pool_of;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use weir::admin::live::model::{BackendSlot, History, Live, Slot};

/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

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
        let mut socket = TcpStream::connect(address).unwrap();
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
    watcher.until("traffic is seen", |live| live.total.requests_per_s > 0.0);
    let before = load.counts().ok;
    let began = Instant::now();
    watcher.live();
    let live = watcher.live();
    let sent_per_s = (load.counts().ok - before) as f64 / began.elapsed().as_secs_f64();
    assert!((0.8..2.0).contains(&live.interval_s), "{}", live.interval_s);
    let of_backends: f64 = live.pools[0].backends.iter().map(|backend| backend.figures.requests_per_s).sum();
    assert!((of_backends - live.total.requests_per_s).abs() < 1.0, "{live:?}");
    assert!(
        (sent_per_s / 3.0..sent_per_s * 3.0).contains(&live.total.requests_per_s),
        "{sent_per_s} of {live:?}"
    );
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
    assert_eq!(load.stop().wrong, 0);
}
