//! kill -9, and again on the same addresses.

use crate::harness::{Backend, Client, Load, Weir, answers, free_port, one_pool, wait_until};
use crate::pool_of;
use nix::sys::signal::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Less than the grace is by default, which is 30 s.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn after_kill_9_under_load_it_starts_again_at_once_on_the_same_port() {
    let backend = Backend::http(answers::text("ok"));
    let port = free_port();
    let config = pool_of("0,1", &[(&backend, "")], "").replace("{web}", &port.to_string());
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let load = Load::get(address, 8, "/");
    for _ in 0..4 {
        // Readiness is asked of admin: a start that fails ends the test.
        let mut weir = Weir::start(&config);
        let answered = load.counts().ok;
        wait_until("traffic flows", || load.counts().ok > answered + 200);
        weir.signal(Signal::SIGKILL);
        assert_eq!(weir.wait_exit(SOON).code(), None);
    }
    let counts = load.stop();
    assert_eq!(counts.wrong, 0);
    // A client's request, and its next one if the kernel still takes its connection in.
    assert!(counts.lost <= 4 * 8 * 2, "{counts:?}");
}

#[test]
fn who_connects_while_it_starts_or_ends_is_refused_or_served() {
    let backend = Backend::http(answers::text("ok"));
    let port = free_port();
    let config = pool_of("0,1", &[(&backend, "")], "").replace("{web}", &port.to_string());
    // Beginning before weir does, and so knocking at the door all the time.
    let load = Load::get((Ipv4Addr::LOCALHOST, port).into(), 8, "/");
    for _ in 0..3 {
        let answered = load.counts().ok;
        let mut weir = Weir::start(&config);
        wait_until("traffic flows", || load.counts().ok > answered + 100);
        weir.signal(Signal::SIGTERM);
        assert_eq!(weir.wait_exit(SOON).code(), Some(0));
    }
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{counts:?}");
}

#[test]
fn after_kill_9_it_takes_over_the_files_of_its_unix_sockets() {
    let backend = Backend::http(answers::text("ok"));
    let dir = std::env::temp_dir().join(format!("weir-restart-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (web, admin) = (dir.join("web.sock"), dir.join("admin.sock"));
    let config = one_pool(&[&backend], "", "").replace("127.0.0.1:{web}", &format!("unix:{}", web.display()))
        + &format!("\n[admin]\nlisten = [\"127.0.0.1:{{admin}}\", \"unix:{}\"]\n", admin.display());
    for _ in 0..2 {
        let mut weir = Weir::start(&config);
        assert_eq!(Client::connect_unix(&web).get("/").text(), "ok");
        assert_eq!(Client::connect_unix(&admin).get("/healthz").status, 200);
        weir.signal(Signal::SIGKILL);
        weir.wait_exit(SOON);
        assert!(web.exists() && admin.exists(), "nobody has cleaned up");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn after_an_orderly_end_the_port_is_free_at_once() {
    let backend = Backend::http(answers::text("ok"));
    let port = free_port();
    let config = one_pool(&[&backend], "", "").replace("{web}", &port.to_string());
    for _ in 0..3 {
        let mut weir = Weir::start(&config);
        assert_eq!(Client::connect((Ipv4Addr::LOCALHOST, port).into()).get("/").status, 200);
        weir.signal(Signal::SIGTERM);
        assert_eq!(weir.wait_exit(SOON).code(), Some(0));
        drop(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    }
}
