//! Signals, and what becomes of the work under way.

use crate::harness::{AT_ONCE, Backend, Client, Handler, Then, Weir, answers, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Less than the grace is by default, which is 30 s.
const SOON: Duration = Duration::from_secs(20);

fn with(runtime: &str, backend: &Backend) -> String {
    one_pool(&[backend], "", "").replacen("[runtime]\n", &format!("[runtime]\n{runtime}\n"), 1)
}

/// Never answers.
fn stuck() -> Handler {
    answers::by(|_, wire| {
        // Ends with the connection.
        let _ = wire.bytes(1);
        Ok(Then::Close)
    })
}

/// Whether it has begun to drain.
fn drains(weir: &Weir) -> bool {
    weir.stderr().contains("draining: no new connections")
}

/// A client whose request is at the backend and has no answer.
fn waiting(weir: &Weir, backend: &Backend) -> Client {
    let mut client = weir.client();
    let before = backend.requests();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("the request is at the backend", || backend.requests() > before);
    client
}

#[test]
fn an_idle_weir_ends_at_once_with_0_on_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::http(answers::text("ok"));
        let mut weir = Weir::start(&with("", &backend));
        assert_eq!(weir.client().get("/").status, 200);
        let began = Instant::now();
        weir.signal(signal);
        assert_eq!(weir.wait_exit(SOON).code(), Some(0), "{signal}");
        assert!(began.elapsed() < AT_ONCE, "{signal}: {:?}", began.elapsed());
        let log = weir.stderr();
        assert!(log.contains("draining: no new connections") && !log.contains("ERROR"), "{log}");
    }
}

#[test]
fn in_the_shutdown_delay_weir_is_not_ready_but_accepts_and_answers_with_close() {
    let backend = Backend::http(answers::text("ok"));
    const DELAY: Duration = Duration::from_secs(4);
    let mut weir = Weir::start(&with(&format!("shutdown_delay = \"{}s\"", DELAY.as_secs()), &backend));
    let mut kept = weir.client();
    assert_eq!(kept.get("/").field("Connection"), None);
    let began = Instant::now();
    weir.signal(Signal::SIGTERM);
    wait_until("it is not ready", || weir.admin("/readyz").status == 503);
    assert!(!drains(&weir), "at once, and not with the end of the delay");
    assert_eq!(weir.admin("/readyz").text(), "not ready: shutting down\n");
    assert_eq!(weir.admin("/healthz").status, 200, "it lives");
    for _ in 0..10 {
        let mut client = weir.client();
        let response = client.get("/");
        assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
        client.assert_closed();
    }
    let response = kept.get("/");
    assert_eq!((response.status, response.field("Connection")), (200, Some("close")), "open ones too");
    wait_until("the delay is over", || drains(&weir));
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    // Shards hear of it a moment after it is said.
    let connects = || TcpStream::connect_timeout(&weir.address("web"), Duration::from_millis(200)).is_ok();
    wait_until("connects are refused", || !connects());
    assert_eq!(weir.wait_exit(SOON).code(), Some(0));
}

#[test]
fn idle_clients_get_one_more_answer_and_those_who_ask_nothing_are_let_go() {
    let backend = Backend::http(answers::text("ok"));
    let mut weir = Weir::start(&with("", &backend));
    let mut clients = [weir.client(), weir.client()];
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let began = Instant::now();
    weir.signal(Signal::SIGTERM);
    wait_until("it drains", || drains(&weir));
    let response = clients[0].get("/");
    assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
    clients.iter_mut().for_each(|client| {
        client.assert_closed();
    });
    assert_eq!(weir.wait_exit(SOON).code(), Some(0));
    assert!(began.elapsed() < AT_ONCE, "not by the end of the grace: {:?}", began.elapsed());
}

/// Sends `count` pieces of a kilobyte, one every few milliseconds.
fn trickle(count: usize) -> Handler {
    answers::by(move |_, wire| {
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", count << 10))?;
        for n in 0..count {
            wire.send(vec![b'a' + (n % 26) as u8; 1 << 10])?;
            sleep(Duration::from_millis(5));
        }
        Ok(Then::KeepAlive)
    })
}

#[test]
fn a_long_download_and_a_long_upload_under_way_are_finished() {
    let (down, up) = (Backend::http(trickle(400)), Backend::http(answers::echo()));
    let config = format!(
        "[runtime]\ncores = 1\n[[listener]]\naddress = \"127.0.0.1:{{web}}\"\npool = \"down\"\n\
         [[route]]\npath = \"/up\"\npool = \"up\"\n[pool.down]\n[[pool.down.backend]]\naddress = \"{}\"\n\
         [pool.up]\n[[pool.up.backend]]\naddress = \"{}\"\n",
        down.address(),
        up.address()
    );
    let mut weir = Weir::start(&config);
    let (mut reader, mut writer) = (weir.client(), weir.client());
    reader.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = reader.wire.head().unwrap().unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    writer.send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n");
    writer.send(vec![b'x'; 20_000]);
    wait_until("both are under way", || weir.metric("weir_in_flight", &[]) == 2.0);
    weir.signal(Signal::SIGTERM);
    wait_until("it drains", || drains(&weir));
    for _ in 0..20 {
        writer.send(vec![b'y'; 1_000]);
        sleep(Duration::from_millis(20));
    }
    let response = writer.response_to("POST");
    assert_eq!((response.status, response.body.len()), (200, 40_000));
    let body = reader.bytes(400 << 10);
    assert!(
        body.chunks(1 << 10).enumerate().all(|(n, piece)| piece.iter().all(|b| *b == b'a' + (n % 26) as u8))
    );
    reader.assert_closed();
    assert_eq!(weir.wait_exit(SOON).code(), Some(0));
}

#[test]
fn grace_ends_what_is_stuck() {
    let backend = Backend::http(stuck());
    let mut weir = Weir::start(&with("grace = \"600ms\"", &backend));
    let mut client = waiting(&weir, &backend);
    let began = Instant::now();
    weir.signal(Signal::SIGTERM);
    assert_eq!(weir.wait_exit(SOON).code(), Some(0), "a shutdown within its bounds");
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    assert!(weir.stderr().contains("grace is over: stopping with work in flight"), "{}", weir.stderr());
    // Cut off: an end or a reset, but no answer that a client could take for whole.
    let rest = client.wire.rest().unwrap_or_default();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn what_ends_within_the_grace_is_waited_for_and_no_longer() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(700), answers::text("late")));
    let mut weir = Weir::start(&with("grace = \"60s\"", &backend));
    let mut client = waiting(&weir, &backend);
    weir.signal(Signal::SIGTERM);
    let response = client.response();
    assert_eq!((response.text().as_str(), response.field("Connection")), ("late", Some("close")));
    assert_eq!(weir.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once_whatever_the_stage() {
    for runtime in ["grace = \"60s\"", "shutdown_delay = \"60s\""] {
        let backend = Backend::http(stuck());
        let mut weir = Weir::start(&with(runtime, &backend));
        let _client = waiting(&weir, &backend);
        weir.signal(Signal::SIGTERM);
        wait_until("the first is taken", || {
            weir.try_admin("GET", "/readyz").is_some_and(|response| response.status == 503)
        });
        weir.signal(Signal::SIGINT);
        assert_eq!(weir.wait_exit(SOON).code(), Some(1), "{runtime}: work was cut off");
        assert!(weir.stderr().contains("second signal: stopping at once"), "{}", weir.stderr());
    }
}

#[test]
fn a_unix_listeners_file_is_gone_afterwards() {
    let backend = Backend::http(answers::text("ok"));
    let config = with("", &backend).replace("127.0.0.1:{web}", "unix:{dir}/web.sock");
    let mut weir = Weir::start(&config);
    let path = weir.dir().join("web.sock");
    assert_eq!(Client::connect_unix(&path).get("/").status, 200);
    weir.signal(Signal::SIGTERM);
    assert_eq!(weir.wait_exit(SOON).code(), Some(0));
    assert!(!path.exists());
}
