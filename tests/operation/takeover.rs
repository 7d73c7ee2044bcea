//! A new process takes the sockets and the state over from the one that runs, and nobody notices.
//!
//! "Lost" is a request that was sent and not answered whole; "unconnected" a connect that was refused or
//! reset. Both are zero all through this file.

use crate::harness::{
    Backend, Client, Counts, Load, Program, Then, Weir, answers, free_port, one_pool, wait_until, wait_up_to,
};
use crate::{backends, pool_of, state, why};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use weir::sys::handoff::receive_descriptors;
use weir::sys::socket::local_address;

const SOON: Duration = Duration::from_secs(20);

/// Keep-alive clients, and clients that connect for each request.
struct Clients {
    kept: Load,
    new: Load,
}

impl Clients {
    fn of(address: SocketAddr) -> Self {
        let new = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let well = |response: &crate::harness::Response| response.status == 200;
        Self {
            kept: Load::get(address, 6, "/"),
            new: Load::start(address, 4, new, Duration::from_millis(1), well),
        }
    }

    fn flow(&self) {
        let (kept, new) = (self.kept.counts().ok, self.new.counts().ok);
        wait_until("traffic flows", || {
            self.kept.counts().ok > kept + 200 && self.new.counts().ok > new + 100
        });
    }

    fn lose_nothing(self) {
        for counts in [self.kept.stop(), self.new.stop()] {
            assert_eq!(counts, Counts { ok: counts.ok, ..Counts::default() });
        }
    }
}

fn ok() -> Backend {
    Backend::http(answers::text("ok"))
}

fn ends(weir: &mut Weir) {
    assert_eq!(weir.wait_exit(SOON).code(), Some(0), "{}", weir.stderr());
    assert!(!weir.stderr().contains("ERROR"), "{}", weir.stderr());
}

/// Asserts that a start fails with this code and says this; what it writes last is read a moment later.
fn fails(mut weir: Weir, code: i32, said: &str) {
    assert_eq!(weir.wait_exit(SOON).code(), Some(code), "{}", weir.stderr());
    wait_until(&format!("it has said {said:?}"), || weir.stderr().contains(said));
}

#[test]
fn under_load_nothing_is_refused_reset_or_lost_and_the_old_one_leaves() {
    let backend = ok();
    let config = pool_of("0,1", &[(&backend, "")], "");
    let mut old = Weir::start(&config);
    let clients = Clients::of(old.address("web"));
    clients.flow();
    let new = old.successor(&config);
    ends(&mut old);
    clients.flow();
    clients.lose_nothing();
    assert_eq!(new.admin("/healthz").status, 200);
    assert!(new.is_ready());
    assert!(new.metric("weir_requests_total", &[]) > 100.0, "it is the new one that answers");
    assert!(old.stderr().contains("another process takes over"), "{}", old.stderr());
}

#[test]
fn five_in_a_row_with_more_and_fewer_shards_lose_nothing() {
    let backend = ok();
    let config = |cores| pool_of(cores, &[(&backend, "")], "");
    let mut weir = Weir::start(&config("0,1"));
    let address = weir.address("web");
    let clients = Clients::of(address);
    for cores in ["0", "0,0,1", "0,1", "0,0,1,1,1", "1"] {
        clients.flow();
        let new = weir.successor(&config(cores));
        ends(&mut weir);
        weir = new;
        // To every socket of the group, accepted on by whichever shard.
        let mut many: Vec<Client> = (0..60).map(|_| weir.client()).collect();
        assert!(many.iter_mut().all(|client| client.get("/").status == 200), "{cores}");
    }
    clients.flow();
    clients.lose_nothing();
}

#[test]
fn every_new_shard_gets_connections_also_when_there_are_more_than_before() {
    let backend = ok();
    let config = |cores| pool_of(cores, &[(&backend, "")], "");
    let mut old = Weir::start(&config("0"));
    let new = old.successor(&config("0,0,1"));
    ends(&mut old);
    let mut many: Vec<Client> = Vec::new();
    wait_until("every shard has a connection", || {
        many.push(new.client());
        many.last_mut().unwrap().get("/");
        (0..3).all(|shard| new.metric("weir_connections", &[("shard", &shard.to_string())]) >= 1.0)
    });
}

#[test]
fn the_backend_that_is_down_gets_no_exchange_from_the_new_process() {
    let ill = Arc::new(AtomicBool::new(false));
    let checked = ill.clone();
    // It answers all the same: only its check says that it should not be asked.
    let sick = Backend::http(answers::by(move |received, wire| {
        let bad = received.line().contains("/up") && checked.load(Ordering::SeqCst);
        wire.send(format!("HTTP/1.1 {} X\r\nContent-Length: 4\r\n\r\nsick", if bad { 500 } else { 200 }))?;
        Ok(Then::KeepAlive)
    }));
    let well = Backend::http(answers::text("well"));
    let check = "policy = \"round_robin\"\n[pool.app.health]\npath = \"/up\"\ninterval = \"50ms\"\n\
                 interval_down = \"50ms\"\nrise = 3\nfall = 2\n";
    let config = |cores| pool_of(cores, &[(&sick, ""), (&well, "")], check);
    let mut old = Weir::start(&config("0,1"));
    wait_until("both are up", || (0..2).all(|backend| state(&old, backend) == "up"));
    ill.store(true, Ordering::SeqCst);
    wait_until("it is down", || state(&old, 0) == "down");
    let clients = Clients::of(old.address("web"));
    clients.flow();
    let asked = || sick.received().iter().filter(|received| !received.line().contains("/up")).count();
    let (before, reason) = (asked(), why(&old, 0));
    let new = old.successor(&config("0,0,1"));
    assert_eq!((state(&new, 0).as_str(), why(&new, 0)), ("down", reason), "it remembers");
    assert_eq!(state(&new, 1), "up", "and this one served at once");
    ends(&mut old);
    clients.flow();
    assert_eq!(asked(), before, "no exchange went to the one that is down");
    clients.lose_nothing();
    ill.store(false, Ordering::SeqCst);
    wait_until("it is up again", || state(&new, 0) == "up");
    assert!(backends(&new).iter().all(|backend| backend["usable"] == true));
}

/// Asks the admin surface for a change.
fn change(weir: &Weir, path: &str) {
    let mut admin = Client::connect(weir.address("admin"));
    let response = admin.ask(format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
    assert_eq!(response.status, 200, "{path}: {}", response.text());
}

#[test]
fn what_an_operator_took_out_stays_out() {
    let fleet: Vec<Backend> = (0..3).map(|_| ok()).collect();
    let all: Vec<_> = fleet.iter().map(|backend| (backend, "")).collect();
    let check = "policy = \"round_robin\"\n[pool.app.health]\npath = \"/up\"\ninterval = \"50ms\"\n";
    let config = |cores| pool_of(cores, &all, check);
    let mut old = Weir::start(&config("0,1"));
    wait_until("all are up", || (0..3).all(|backend| state(&old, backend) == "up"));
    let clients = Clients::of(old.address("web"));
    clients.flow();
    change(&old, "/pools/app/backends/0/drain");
    change(&old, "/pools/app/backends/1/maintenance");
    let asked = || {
        let exchanges = |backend: &Backend| {
            backend.received().iter().filter(|received| !received.line().contains("/up")).count()
        };
        (exchanges(&fleet[0]), exchanges(&fleet[1]))
    };
    // What was in flight has ended once further requests have gone through.
    clients.flow();
    let before = asked();
    let mut new = old.successor(&config("0"));
    ends(&mut old);
    for cores in ["0,0,1", "0,1"] {
        assert_eq!((state(&new, 0).as_str(), state(&new, 1).as_str()), ("draining", "maintenance"));
        assert_eq!(state(&new, 2), "up");
        clients.flow();
        let newer = new.successor(&config(cores));
        ends(&mut new);
        new = newer;
    }
    clients.flow();
    assert_eq!(asked(), before, "no exchange went to either");
    change(&new, "/pools/app/backends/0/ready");
    wait_until("it is back", || asked().0 > before.0);
    assert_eq!(asked().1, before.1);
    clients.lose_nothing();
}

#[test]
fn a_backend_that_was_ejected_stays_ejected_for_the_rest_of_its_time() {
    let sick = Backend::http(answers::fixed("HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n"));
    let (well, other) = (ok(), ok());
    let eject = "policy = \"round_robin\"\n[pool.app.retry]\non = [\"connect\", \"500\"]\nbudget = 1.0\n\
                 [pool.app.eject]\nconsecutive_failures = 3\nbase_time = \"60s\"\n";
    let config = |cores| pool_of(cores, &[(&sick, ""), (&well, ""), (&other, "")], eject);
    let mut old = Weir::start(&config("0,1"));
    let clients = Clients::of(old.address("web"));
    wait_until("it is ejected", || state(&old, 0) == "ejected");
    clients.flow();
    let (asked, reason) = (sick.requests(), why(&old, 0));
    let new = old.successor(&config("0"));
    assert_eq!(state(&new, 0), "ejected");
    assert!(reason.contains(&why(&new, 0)), "it remembers {reason:?}: {:?}", why(&new, 0));
    ends(&mut old);
    clients.flow();
    assert_eq!(sick.requests(), asked);
    clients.lose_nothing();
}

#[test]
fn a_configuration_or_an_address_that_cannot_be_had_changes_nothing() {
    let backend = ok();
    let config = pool_of("0,1", &[(&backend, "")], "");
    let old = Weir::start(&config);
    let clients = Clients::of(old.address("web"));
    clients.flow();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = format!(
        "{config}\n[[listener]]\nname = \"other\"\naddress = \"{}\"\npool = \"app\"\n",
        taken.local_addr().unwrap()
    );
    for (broken, code, said) in [
        (config.replace("[pool.app]", "[pool.app]\npolicy = \"fastest\"\n"), 2, "fastest"),
        (config.replace("cores = \"0,1\"", "cores = \"900\""), 1, "runtime.cores"),
        (elsewhere, 1, "cannot bind"),
    ] {
        fails(old.spawn_successor(&broken), code, said);
        clients.flow();
    }
    clients.lose_nothing();
    assert!(old.is_ready());
    old.successor(&config);
}

/// A connection to where `weir` waits for a successor.
fn meeting(weir: &Weir) -> UnixStream {
    let uid = nix::unistd::geteuid().as_raw();
    let session = std::env::var("XDG_RUNTIME_DIR").map(|dir| format!("{dir}/weir"));
    let places = ["/run/weir".to_owned(), format!("/tmp/weir-{uid}")].into_iter().chain(session);
    let files = places.filter_map(|place| std::fs::read_dir(place).ok()).flatten();
    let paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    let own = format!("handoff-{}-", weir.pid());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&own);
    UnixStream::connect(paths.iter().find(|path| named(path)).unwrap()).unwrap()
}

/// As far as a successor gets that has the sockets and has not begun to serve. Dropped, it has been killed.
struct HalfWay {
    stream: UnixStream,
    sockets: Vec<OwnedFd>,
}

impl HalfWay {
    fn of(weir: &Weir) -> Self {
        let mut half = Self { stream: meeting(weir), sockets: Vec::new() };
        half.stream.set_read_timeout(Some(SOON)).unwrap();
        assert!(half.hears().contains("\"hello\""));
        let take = br#"{"take":{"protocol":1}}"#;
        half.stream.write_all(&(take.len() as u32).to_be_bytes()).unwrap();
        half.stream.write_all(take).unwrap();
        assert!(half.hears().contains(&weir.address("web").to_string()));
        half.sockets = receive_descriptors(half.stream.as_fd()).unwrap();
        half
    }

    fn hears(&mut self) -> String {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
        self.stream.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn a_signal_while_another_process_has_the_sockets_does_not_shut_them_down() {
    let backend = ok();
    let mut old = Weir::start(&pool_of("0", &[(&backend, "")], ""));
    let mut half = HalfWay::of(&old);
    old.signal(Signal::SIGTERM);
    ends(&mut old);
    let address = old.address("web");
    let client = TcpStream::connect(address).expect("whoever has the socket may still accept");
    let ours = |socket: &OwnedFd| local_address(socket.as_fd()) == Some(address);
    let socket = half.sockets.remove(half.sockets.iter().position(ours).unwrap());
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(false).unwrap();
    assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
}

#[test]
fn a_successor_that_is_killed_before_it_serves_leaves_the_old_one_serving() {
    let backend = ok();
    let config = pool_of("0,1", &[(&backend, "")], "");
    let mut old = Weir::start(&config);
    let clients = Clients::of(old.address("web"));
    for _ in 0..3 {
        clients.flow();
        let half = HalfWay::of(&old);
        clients.flow();
        fails(old.spawn_successor(&config), 1, "taking over already");
        let told = || old.stderr().matches("this one serves on").count();
        let before = told();
        drop(half);
        wait_until("the old one has noticed", || told() > before);
    }
    clients.flow();
    let _new = old.successor(&config);
    ends(&mut old);
    clients.flow();
    clients.lose_nothing();
}

#[test]
fn where_nobody_runs_the_error_says_what_to_do() {
    let backend = ok();
    let old = Weir::start(&one_pool(&[&backend], "", ""));
    let elsewhere = one_pool(&[&backend], "", "").replace("{web}", &free_port().to_string())
        + &format!("\n[admin]\nlisten = [\"127.0.0.1:{}\"]\n", free_port());
    fails(old.spawn_successor(&elsewhere), 1, "no running weir");
    fails(old.spawn_successor(&elsewhere), 1, "start without --takeover");
    assert_eq!(old.client().get("/").status, 200, "and the other one was left alone");
}

/// Switches protocols, then sends back whatever comes.
fn tunnel() -> Backend {
    Backend::raw(|mut wire, _| {
        if !matches!(wire.head(), Ok(Some(_))) {
            return;
        }
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        wire.send(head).unwrap();
        while let Ok(byte) = wire.bytes(1) {
            if wire.send(byte).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_tunnel_lives_on_in_the_old_process_until_its_grace_is_over() {
    let backend = tunnel();
    let config = one_pool(&[&backend], "", "").replace("[runtime]", "[runtime]\ngrace = \"3s\"");
    let mut old = Weir::start(&config);
    let upgrade = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut kept = old.client();
    assert_eq!(kept.ask(upgrade).status, 101);
    let new = old.successor(&config);
    for _ in 0..20 {
        kept.send("x");
        assert_eq!(kept.bytes(1), b"x");
    }
    let mut other = new.client();
    assert_eq!(other.ask(upgrade).status, 101);
    ends(&mut old);
    assert!(old.stderr().contains("grace is over"), "{}", old.stderr());
    other.send("y");
    assert_eq!(other.bytes(1), b"y");
}

#[test]
fn a_signal_to_the_old_one_while_it_leaves_does_not_touch_the_sockets() {
    let backend = tunnel();
    let config = one_pool(&[&backend], "", "").replace("[runtime]", "[runtime]\ngrace = \"60s\"");
    let mut old = Weir::start(&config);
    let upgrade = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut kept = old.client();
    assert_eq!(kept.ask(upgrade).status, 101);
    let new = old.successor(&config);
    for signal in [Signal::SIGTERM, Signal::SIGTERM] {
        old.signal(signal);
        wait_up_to(SOON, "the old one stops at once", || TcpStream::connect(new.address("web")).is_ok());
    }
    old.wait_exit(SOON);
    for _ in 0..20 {
        assert_eq!(new.client().ask(upgrade).status, 101);
    }
}

#[test]
fn listeners_that_come_are_bound_and_those_that_go_are_drained_by_the_old_one() {
    let backend = ok();
    let base = pool_of("0,1", &[(&backend, "")], "");
    let more = |name: &str, key: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:{key}\"\npool = \"app\"\n")
    };
    let (gone, come) = (free_port(), free_port());
    let mut old = Weir::start(&(more("gone", &gone.to_string()) + &base));
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let clients = Clients::of(old.address("web"));
    let leaving = Load::get(address(gone), 4, "/");
    wait_until("traffic flows", || leaving.counts().ok > 100);
    clients.flow();
    let _new = old.successor(&(more("come", &come.to_string()) + &base));
    ends(&mut old);
    assert_eq!(Client::connect(address(come)).get("/").status, 200);
    wait_until("connects are refused", || leaving.counts().unconnected > 0);
    let counts = leaving.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{counts:?}");
    clients.flow();
    clients.lose_nothing();
}

#[test]
fn unix_sockets_keep_their_files_and_are_accepted_on_by_every_shard() {
    let backend = ok();
    let dir = std::env::temp_dir().join(format!("weir-takeover-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (web, admin) = (dir.join("web.sock"), dir.join("admin.sock"));
    let config = |cores| {
        pool_of(cores, &[(&backend, "")], "").replace("127.0.0.1:{web}", &format!("unix:{}", web.display()))
            + &format!("\n[admin]\nlisten = [\"127.0.0.1:{{admin}}\", \"unix:{}\"]\n", admin.display())
    };
    let mut old = Weir::start(&config("0"));
    let mut new = old.successor(&config("0,1"));
    ends(&mut old);
    assert!(web.exists() && admin.exists());
    for _ in 0..20 {
        assert_eq!(Client::connect_unix(&web).get("/").text(), "ok");
    }
    assert_eq!(Client::connect_unix(&admin).get("/healthz").status, 200);
    new.signal(Signal::SIGTERM);
    assert_eq!(new.wait_exit(SOON).code(), Some(0));
    assert!(!web.exists(), "whoever ends last removes it");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn help_tells_of_it() {
    let (status, out, _) =
        Program::run(Command::new(env!("CARGO_BIN_EXE_weir")).args(["run", "--help"]), SOON);
    assert_eq!((status.code(), out.contains("--takeover")), (Some(0), true), "{out}");
}
