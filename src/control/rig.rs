//! What the tests of control and admin stand on: shards that are threads, backends that are small
//! servers on loopback, and control itself in the test's own runtime.
//!
//! Nothing here waits for a length of time: [`until`] waits for a condition, and gives up loudly.

use super::{
    Carried, ConfigFile, Desk, ExitReason, InUse, Listening, Secrets, Setup, ShardLink, Signal, StateFile,
    World, look_up, serve,
};
use crate::balance::{Admitted, BackendId, Outcome, Report, Snapshot, Traffic};
use crate::config::Destination;
use crate::config::{
    AccessLog, Admin, Backend, BackendAddress, Check, Config, Health, HttpCheck, Log, Policy, Pool, Retry,
    Runtime, Timeouts, Upstream,
};
use crate::fleet::status::BackendStatus;
use crate::mesh::{Pulse, Receiver, Sender, ToControl, ToShard, mailbox};
use crate::metrics::{Phase, ShardStats};
use crate::time::{Instant, Micros};
use crate::tls::{Loaded, Loader, Tickets};
use crate::topology::{ListenerKey, Topology};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

/// The tests' clock.
#[allow(clippy::disallowed_methods, reason = "a clock of the tests' own")]
pub(crate) fn clock() -> Instant {
    static ZERO: OnceLock<std::time::Instant> = OnceLock::new();
    let zero = ZERO.get_or_init(std::time::Instant::now);
    Instant::from_us(1_000_000 + zero.elapsed().as_micros() as u64)
}

/// Waits until `condition` holds, ten seconds at most.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("ten seconds without: {what}");
}

/// How a shard behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Does what it is told.
    Good,
    /// Keeps the boxes it is given.
    Silent,
    /// Never says that it is drained.
    Busy,
    /// Reads no message until it is told to go on.
    Stuck,
    /// Keeps the backends that are removed.
    Clinging,
}

/// What a shard was told so far.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) topologies: Vec<Arc<Topology>>,
    pub(crate) traffic: BTreeMap<BackendId, Traffic>,
    pub(crate) accept: Vec<(ListenerKey, Arc<OwnedFd>)>,
    pub(crate) marks: Vec<u64>,
    pub(crate) usable: BTreeMap<BackendId, bool>,
    pub(crate) transitions: Vec<(BackendId, bool)>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) orders: Vec<&'static str>,
}

/// A shard that is a thread and has no traffic but what [`FakeShard::told`]'s tests make up.
pub(crate) struct FakeShard {
    told: Arc<Mutex<Told>>,
    manner: Arc<Mutex<Manner>>,
}

impl FakeShard {
    fn start(
        number: u16,
        topology: Arc<Topology>,
        mail: Receiver<ToShard>,
        control: Sender<ToControl>,
    ) -> Self {
        let backends = topology.backends_end;
        let told = Told { topologies: vec![topology], ..Told::default() };
        let (told, manner) = (Arc::new(Mutex::new(told)), Arc::new(Mutex::new(Manner::Good)));
        let shard = Self { told: told.clone(), manner: manner.clone() };
        thread::spawn(move || {
            let mut stats = Box::new(ShardStats::new(backends));
            loop {
                let manner = *manner.lock().unwrap();
                let message = if manner == Manner::Stuck { None } else { mail.try_recv() };
                let Some(message) = message else {
                    if mail.may_sleep() || manner == Manner::Stuck {
                        let mut bell = [PollFd::new(mail.doorbell(), PollFlags::POLLIN)];
                        let _ = poll(&mut bell, PollTimeout::from(20u8)); // 20 ms: its manner may change
                        mail.awake();
                        mail.silence();
                    }
                    continue;
                };
                if !obey(number, message, manner, &told, &mut stats, &control) {
                    return;
                }
            }
        });
        shard
    }

    /// Reads what it was told.
    pub(crate) fn told<T>(&self, read: impl FnOnce(&Told) -> T) -> T {
        read(&self.told.lock().unwrap())
    }

    /// Closes what it was told to accept on.
    pub(crate) fn forget_sockets(&self) {
        self.told.lock().unwrap().accept.clear();
    }

    /// Changes how it behaves.
    pub(crate) fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

/// Does what a message says; `false`: the thread ends.
fn obey(
    shard: u16,
    message: ToShard,
    manner: Manner,
    told: &Mutex<Told>,
    stats: &mut Box<ShardStats>,
    control: &Sender<ToControl>,
) -> bool {
    let mut told = told.lock().unwrap();
    match message {
        ToShard::Topology(topology) => {
            let ids = |topology: &Topology| {
                let pools = topology.pools.iter();
                pools.flat_map(|pool| pool.backends.iter().map(|backend| backend.id)).collect::<Vec<_>>()
            };
            let before = told.topologies.last().map(|before| ids(before)).unwrap_or_default();
            let now = ids(&topology);
            if manner != Manner::Clinging {
                for id in before.into_iter().filter(|id| !now.contains(id)) {
                    control.send(ToControl::Gone { shard, id }).unwrap();
                }
            }
            told.topologies.push(topology);
        }
        ToShard::Mark(mark) => {
            told.marks.push(mark);
            control.send(ToControl::Marked { shard, mark }).unwrap();
        }
        ToShard::Accept(sockets) => told.accept.extend(sockets),
        ToShard::HandOver(_) | ToShard::Inject(_) | ToShard::Connection(_) => {}
        ToShard::Snapshot(snapshot) => told.snapshots.push(snapshot),
        ToShard::Traffic(traffic) => {
            let usable = traffic.iter().map(|(id, traffic)| (*id, traffic.admitted != Admitted::Nothing));
            let usable: Vec<(BackendId, bool)> = usable.collect();
            told.transitions.extend(&usable);
            told.usable.extend(usable);
            told.traffic.extend(traffic);
        }
        ToShard::Collect(spare) => {
            stats.accepted(None);
            stats.answered(BackendId(0), 200);
            stats.record(BackendId(0), Phase::Whole, Micros::from_ms(2));
            stats.set_connections(u32::from(shard) + 1, 0);
            let stats = ShardStats::swap(stats, spare);
            if manner != Manner::Silent {
                control.send(ToControl::Collected { shard, stats }).unwrap();
            }
        }
        ToShard::LastRequests => told.orders.push("last requests"),
        ToShard::Drain => {
            told.orders.push("drain");
            if manner != Manner::Busy {
                control.send(ToControl::Drained { shard }).unwrap();
            }
        }
        ToShard::Stop => {
            told.orders.push("stop");
            let _ = control.send(ToControl::Ended { shard, error: None }); // control may be gone first
            return false;
        }
    }
    true
}

/// What a test holds while control runs.
pub(crate) struct Rig {
    pub(crate) desk: Desk,
    pub(crate) shards: Vec<FakeShard>,
    pub(crate) to_control: Sender<ToControl>,
    pub(crate) signals: UnboundedSender<Signal>,
    pub(crate) pulses: Vec<Arc<Pulse>>,
    exit: tokio::task::JoinHandle<ExitReason>,
}

impl Rig {
    /// Waits for control to end.
    pub(crate) async fn exit(self) -> ExitReason {
        tokio::time::timeout(Duration::from_secs(10), self.exit).await.expect("control does not end").unwrap()
    }

    /// The backend of this number.
    pub(crate) fn standing(&self, id: BackendId) -> BackendStatus {
        self.desk.backends().into_iter().find(|backend| backend.id == id).unwrap()
    }

    /// The backend of this name in pool "app".
    pub(crate) fn backend(&self, name: &str) -> Option<BackendStatus> {
        self.desk.backends().into_iter().find(|backend| backend.pool == "app" && backend.name == name)
    }

    /// Sends what a shard's exchanges with a backend came to, beside counts that are all zero.
    pub(crate) fn outcome(&self, shard: u16, sequence: u64, id: BackendId, outcome: Outcome) {
        let report = Report { shard, sequence, in_flight: [].into(), outcomes: vec![(id, outcome)] };
        self.to_control.send(ToControl::Report(report)).unwrap();
    }

    /// Sends a shard's in-flight counts.
    pub(crate) fn report(&self, shard: u16, sequence: u64, in_flight: &[u32]) {
        let report = Report { shard, sequence, in_flight: in_flight.into(), outcomes: vec![] };
        self.to_control.send(ToControl::Report(report)).unwrap();
    }
}

/// What control is begun with, beside its configuration.
#[derive(Default)]
pub(crate) struct Begun {
    pub(crate) source: Option<ConfigFile>,
    pub(crate) state: Option<StateFile>,
    pub(crate) carried: Option<Carried>,
}

/// Runs a test beside control, on one thread, with so many shards. Mailboxes to shards hold four messages.
pub(crate) fn with_control<F: Future>(config: Config, shards: u16, test: impl FnOnce(Rig) -> F) -> F::Output {
    with_begun(config, Begun::default(), shards, test)
}

/// As [`with_control`], begun with more than a configuration.
pub(crate) fn with_begun<F: Future>(
    config: Config,
    begun: Begun,
    shards: u16,
    test: impl FnOnce(Rig) -> F,
) -> F::Output {
    let Begun { source, state, carried } = begun;
    let (mut setup, pulses) = setup(config, carried, shards);
    (setup.source, setup.state) = (source, state);
    let (to_control, mail) = mailbox(1024).unwrap();
    let topology = setup.world.topology().clone();
    let mut fakes = Vec::new();
    for shard in 0..shards {
        let (to_shard, mail) = mailbox(4).unwrap();
        setup.links.push(ShardLink { to_shard, pulse: pulses[usize::from(shard)].clone() });
        fakes.push(FakeShard::start(shard, topology.clone(), mail, to_control.clone()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (signals, received) = unbounded_channel();
        let (give, mut desk) = unbounded_channel();
        let exit = spawn_local(async move {
            serve(setup, mail, received, |desk| give.send(desk).unwrap()).await.unwrap()
        });
        let desk = desk.recv().await.unwrap();
        test(Rig { desk, shards: fakes, to_control, signals, pulses, exit }).await
    })
}

/// What control is run with, but for the shards; and their pulses.
pub(crate) fn setup(config: Config, carried: Option<Carried>, shards: u16) -> (Setup, Vec<Arc<Pulse>>) {
    let found = look_up(&config, carried.as_ref()).unwrap();
    let listening = Listening::bind(&config.listeners, usize::from(shards), |_| Vec::new()).unwrap();
    let tickets = Arc::new(Tickets::new(clock()));
    let mut loader = Loader::new(tickets.clone());
    let Loaded { sealing, certificates, shown, .. } = loader.load(&config).unwrap();
    let (plans, shards) = (listening.plans(&config, &sealing), listening.shards());
    let world = World::of(Arc::new(config), found, plans, sealing.pools, shards, carried, clock()).unwrap();
    let listening = Rc::new(RefCell::new(listening));
    let certificates = InUse { listeners: certificates, pools: shown };
    let tls = Secrets { loader, tickets, certificates };
    let setup =
        Setup { world, source: None, state: None, tls, listening, journal: None, links: Vec::new(), clock };
    (setup, (0..shards).map(|_| Arc::default()).collect())
}

/// What a fake backend does with a connection.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Reads a head, writes this, closes.
    Bytes(Vec<u8>),
    /// Reads a head and says nothing.
    Hang,
}

impl Answer {
    pub(crate) fn status(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
    }
}

/// A backend that is a thread on loopback and keeps the heads of all requests.
pub(crate) struct FakeBackend {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    heads: Arc<Mutex<Vec<String>>>,
    _thread: JoinHandle<()>,
}

impl FakeBackend {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, heads) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let (answers, seen) = (answer.clone(), heads.clone());
        let _thread = thread::spawn(move || {
            let mut hanging = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                let answer = answers.lock().unwrap().clone();
                hanging.extend(serve_one(stream, &answer, &seen));
            }
        });
        Self { address, answer, heads, _thread }
    }

    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Serves one connection; gives it back if it is to hang.
fn serve_one(mut stream: TcpStream, answer: &Answer, seen: &Mutex<Vec<String>>) -> Option<TcpStream> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(bytes); // a check that has seen enough closes first
            None
        }
        Answer::Hang => Some(stream),
    }
}

/// An address on loopback where nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An HTTP check of "/up" that passes on 2xx.
pub(crate) fn http_check() -> HttpCheck {
    HttpCheck {
        path: "/up".into(),
        method: "GET".into(),
        host: None,
        headers: Vec::new(),
        expect: vec![(200, 299)],
        body_contains: None,
    }
}

/// A check every 10 ms; it may take long, since the tests' machine may be busy.
pub(crate) fn health(check: Check) -> Health {
    Health {
        check,
        port: 0,
        interval: Micros::from_ms(10),
        interval_down: Micros::from_ms(10),
        jitter: 0.1,
        timeout: Micros::from_s(10),
        rise: 2,
        fall: 3,
    }
}

/// A pool of these backends, named by their places: "0", "1".
pub(crate) fn pool(name: &str, addresses: &[SocketAddr], health: Option<Health>) -> Pool {
    let backend = |(place, address): (usize, &SocketAddr)| Backend {
        name: place.to_string(),
        address: BackendAddress::Tcp(*address),
        weight: 1,
        backup: false,
    };
    Pool {
        name: name.into(),
        policy: Policy::LeastConn,
        timeouts: Timeouts::default(),
        upstream: Upstream::default(),
        backends: addresses.iter().enumerate().map(backend).collect(),
        health,
        retry: Retry::default(),
        eject: None,
        slow_start: Micros::ZERO,
        panic_below: 0.0,
        fallback: None,
        tls: None,
    }
}

/// A configuration of these pools and nothing else.
pub(crate) fn config(pools: Vec<Pool>) -> Config {
    Config {
        runtime: Runtime::default(),
        admin: Admin { listen: Vec::new(), token_file: None },
        log: Log::default(),
        access_log: AccessLog::default(),
        tracing: None,
        listeners: Vec::new(),
        routes: Vec::new(),
        pools,
    }
}

/// The address as `resolve` gives it.
pub(crate) fn tcp(address: SocketAddr) -> Destination {
    Destination::Tcp(address)
}
