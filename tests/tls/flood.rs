//! Many handshakes at once, and who is served meanwhile.

use crate::harness::{Authority, Backend, Then, Weir, answers, one_pool, wait_until};
use crate::listener;
use crate::seal::{self, Sealed};
use rustls::version::TLS13;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients that do nothing but begin handshakes: for each the server has the whole work, and they none.
struct Flood {
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn of(address: SocketAddr, hello: &[u8], threads: usize) -> Self {
        let (ends, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = |_| {
            let (ends, answered, hello) = (ends.clone(), answered.clone(), hello.to_vec());
            std::thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    // Several at once, so that the server always has some to do.
                    let begin = |_| {
                        let mut tcp = TcpStream::connect(address).ok()?;
                        tcp.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
                        tcp.write_all(&hello).ok()?;
                        Some(tcp)
                    };
                    let begun: Vec<TcpStream> = (0..32).filter_map(begin).collect();
                    for mut tcp in begun {
                        if tcp.read(&mut [0; 1]).is_ok_and(|count| count == 1) {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                        nix::sys::socket::setsockopt(&tcp, nix::sys::socket::sockopt::Linger, &linger)
                            .unwrap();
                    }
                }
            })
        };
        let threads = (0..threads).map(thread).collect();
        Self { ends, answered, threads }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// What a client says first.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(authority.client_config(&[&TLS13], None), name).unwrap();
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_flood_of_handshakes_leaves_those_who_are_connected_their_share() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("served"));
    let weir = Weir::start(&one_pool(&[&backend], &listener(&authority, ""), ""));
    let mut client = seal::client(weir.address("web"), &authority.client_config(&[&TLS13], None));
    assert_eq!(client.get("/").status, 200);
    let flood = Flood::of(weir.address("web"), &hello(&authority), 2);
    wait_until("the flood is on", || flood.answered() > 100);
    // While it lasts: how many handshakes are done beside each of the requests that are served one after the other.
    let before = flood.answered();
    let mut beside = Vec::new();
    while beside.len() < 20 || flood.answered() - before < 500 {
        let answered = flood.answered();
        assert_eq!(client.get("/").status, 200);
        beside.push(flood.answered() - answered);
    }
    flood.stop();
    beside.sort_unstable();
    println!("handshakes beside each request: {beside:?}");
    // A request takes a few turns of the ring; a turn takes one or two handshakes. If a request had to wait for all
    // that stand in line (64), that would be so for nearly each; on a busy machine many wait for their own thread.
    assert!(beside[beside.len() / 4] <= 40, "handshakes beside each request: {beside:?}");
}

/// Clients that connect and then stall: some say nothing, some half of what they should, some all and no more.
fn stalling(address: SocketAddr, hello: &[u8], count: usize) -> Vec<TcpStream> {
    let stall = |number: usize| {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        tcp.write_all(&hello[..[0, hello.len() / 2, hello.len()][number % 3]]).unwrap();
        tcp
    };
    (0..count).map(stall).collect()
}

/// How many of these were reset.
fn reset(connections: &[TcpStream]) -> usize {
    let is_reset = |mut tcp: &TcpStream| {
        tcp.set_nonblocking(true).unwrap();
        tcp.read(&mut [0; 4096]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    };
    connections.iter().filter(|tcp| is_reset(tcp)).count()
}

#[test]
fn clients_that_stall_in_their_handshake_fill_no_shard_for_those_who_come() {
    const STALLING: usize = 15;
    let authority = Authority::new();
    let backend = Backend::http(answers::text("served"));
    let config = one_pool(&[&backend], &listener(&authority, ""), "")
        .replace("[listener.tls]", "head_timeout = \"60s\"\n[listener.tls]")
        .replace("cores = 1", "cores = 1\nmax_connections = 16");
    let weir = Weir::start(&config);
    let client = authority.client_config(&[&TLS13], None);
    let mut before = seal::client(weir.address("web"), &client);
    assert_eq!(before.get("/").status, 200);
    let _stalling = stalling(weir.address("web"), &hello(&authority), STALLING);
    wait_until("the shard is full", || weir.metric("weir_connections", &[("shard", "0")]) == 16.0);
    let mut served = Vec::new();
    for _ in 0..STALLING {
        // It waits for ten seconds at most, and all that have stalled could stay for a minute.
        let mut client = seal::client(weir.address("web"), &client);
        assert_eq!(client.get("/").status, 200);
        served.push(client);
    }
    let evicted = &[("side", "client"), ("outcome", "evicted")];
    assert_eq!(weir.metric("weir_tls_handshakes_total", evicted), STALLING as f64);
    assert_eq!(before.get("/").status, 200, "who has been served goes after all of them");
    served.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
}

/// A hundred of them would have all buffers for good, were nobody of them given up.
#[test]
fn clients_that_do_not_read_leave_buffers_for_those_who_come() {
    const LEN: usize = 50_000_000;
    let authority = Authority::new();
    let backend = Backend::http(answers::by(|received, wire| {
        if !received.line().contains("/big") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            return Ok(Then::KeepAlive);
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"))?;
        let piece = vec![b'x'; 100_000];
        (0..LEN / piece.len()).try_for_each(|_| wire.send(&piece))?;
        Ok(Then::KeepAlive)
    }));
    let runtime = "cores = 1\nbuffers = 16\nbuffer_size = \"4KiB\"\n";
    let config = one_pool(&[&backend], &listener(&authority, ""), "").replace("cores = 1\n", runtime);
    let weir = Weir::start(&config);
    let config = authority.client(&[&TLS13], None);
    let mut slow = Vec::new();
    for _ in 0..48 {
        let mut sealed = Sealed::connect(weir.address("web"), &config, 100_000);
        nix::sys::socket::setsockopt(&sealed.tcp, nix::sys::socket::sockopt::RcvBuf, &65_536).unwrap();
        let request = sealed.seal(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
        sealed.send(&request, 100_000);
        slow.push(sealed);
    }
    let mut client = seal::client(weir.address("web"), &config);
    assert_eq!(client.get("/small").text(), "ok");
    assert!(weir.metric("weir_ring_no_buffers_total", &[("shard", "0")]) > 0.0, "buffers did not run out");
}

#[test]
fn handshakes_over_the_limit_are_reset_and_counted_and_who_stalls_makes_room() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("served"));
    let tls = listener(&authority, "max_handshakes = 3");
    let tls = tls.replace("[listener.tls]", "head_timeout = \"60s\"\n[listener.tls]");
    let weir = Weir::start(&one_pool(&[&backend], &tls, ""));
    // At once, so that few of them wait for the second after which they make room.
    let waiting = stalling(weir.address("web"), &[], 12);
    wait_until("some are reset", || reset(&waiting) > 0);
    let refused = &[("listener", "web"), ("cause", "max_handshakes")];
    assert!(weir.metric("weir_connections_refused_total", refused) >= 1.0);
    assert!(weir.metric("weir_connections", &[("shard", "0")]) <= 3.0);
    // They stay where they are, and others get through.
    wait_until("they have waited for long enough", || {
        Sealed::try_connect(weir.address("web"), &authority.client_config(&[&TLS13], None)).is_some()
    });
    let evicted = &[("side", "client"), ("outcome", "evicted")];
    assert!(weir.metric("weir_tls_handshakes_total", evicted) >= 1.0);
    drop(waiting);
    wait_until("they have gone", || weir.metric("weir_connections", &[("shard", "0")]) == 0.0);
    let before = weir.metric("weir_connections_refused_total", refused);
    // Who is through does not count.
    let config = authority.client_config(&[&TLS13], None);
    let mut served: Vec<_> = (0..5)
        .map(|_| {
            let mut client = seal::client(weir.address("web"), &config);
            assert_eq!(client.get("/").status, 200);
            client
        })
        .collect();
    served.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert_eq!(weir.metric("weir_connections_refused_total", refused), before);
}
