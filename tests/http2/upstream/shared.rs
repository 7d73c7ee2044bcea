//! Which connections exchanges share, how many there are, and when they are closed.

use super::backend::H2Backend;
use super::{frames, h2_pool};
use crate::harness::{Backend, Client, Load, Weir, wait_until};
use h2::server::Builder;
use http::Response;
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A backend that answers when it is told to.
fn held(builder: Builder) -> (H2Backend, watch::Sender<bool>) {
    let (go, going) = watch::channel(false);
    let backend = H2Backend::with(builder, move |exchange| {
        let mut going = going.clone();
        async move {
            let _ = going.wait_for(|go| *go).await;
            exchange.answer(Response::new(()), "done").await;
        }
    });
    (backend, go)
}

fn ask_all(weir: &Weir, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = weir.client();
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect()
}

#[test]
fn many_exchanges_share_few_connections_and_who_comes_at_once_waits_for_one() {
    let (backend, go) = held(Builder::new());
    let weir = Weir::start(&h2_pool(&[backend.address()], "", ""));
    let mut clients = ask_all(&weir, 150);
    wait_until("all are at the backend", || backend.in_flight() == 150);
    assert_eq!((backend.connections(), backend.most_on_one()), (2, 100));
    go.send(true).unwrap();
    for client in &mut clients {
        assert_eq!(client.response().text(), "done");
    }
    weir.wait_metric("weir_upstream_connects_total", &[("backend", "0")], 2.0);
    assert_eq!(weir.metric("weir_upstream_connects_total", &[("backend", "0")]), 2.0);
}

/// Many requests come in the very turn of the shard in which a connection comes to stand, and fill it before the one
/// runs for which it was made.
#[test]
fn a_connection_that_others_fill_before_who_it_was_made_for_is_counted_too() {
    let (greets, greeted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (may, has) = (greets.clone(), greeted.clone());
    let backend = Backend::raw(move |mut wire, number| {
        wait_until("it is to greet", || may.load(Ordering::SeqCst));
        frames::greet_allowing(&mut wire, 3).unwrap();
        has.fetch_add(1, Ordering::SeqCst);
        let mut streams = Vec::new();
        while let Ok(stream) = frames::request(&mut wire) {
            streams.push(stream);
            // The first is full before anything is answered.
            if number > 0 || streams.len() == 3 {
                streams.drain(..).for_each(|stream| frames::answer(&mut wire, stream).unwrap());
            }
        }
    });
    let timeouts = "[pool.app.timeouts]\nconnect = \"30s\"";
    let weir = Weir::start(&h2_pool(&[backend.address()], "", timeouts));
    let mut first = weir.client();
    first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("a connection is being made", || backend.connections() == 1);
    let mut others: Vec<Client> = (0..12).map(|_| weir.client()).collect();
    wait_until("all are connected", || weir.metric("weir_connections", &[]) == 13.0);
    weir.signal(Signal::SIGSTOP);
    greets.store(true, Ordering::SeqCst);
    wait_until("the backend has greeted", || greeted.load(Ordering::SeqCst) == 1);
    others.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    weir.signal(Signal::SIGCONT);
    others.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(first.response().status, 200);
    let counted = weir.metric("weir_upstream_connects_total", &[("backend", "0")]);
    assert_eq!(counted as usize, backend.connections());
}

#[test]
fn no_more_streams_are_opened_than_the_backend_allows() {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(7);
    let backend = H2Backend::with(builder, |exchange| async move {
        tokio::time::sleep(Duration::from_millis(3)).await;
        exchange.answer(Response::new(()), "done").await;
    });
    let weir = Weir::start(&h2_pool(&[backend.address()], "", ""));
    let load = Load::get(weir.address("web"), 40, "/");
    wait_until("there were 2000 requests", || backend.requests() > 2_000);
    let faults = load.faults();
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{faults:?}");
    assert!(backend.most_on_one() <= 7, "{}", backend.most_on_one());
    assert!((6..=8).contains(&backend.connections()), "{}", backend.connections());
}

#[test]
fn max_connections_bounds_them_and_beyond_it_there_is_no_place() {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(2);
    let (backend, go) = held(builder);
    let weir = Weir::start(&h2_pool(&[backend.address()], "max_connections = 2", ""));
    let mut clients = ask_all(&weir, 4);
    wait_until("all places are taken", || backend.in_flight() == 4);
    assert_eq!(weir.client().get("/").status, 503);
    assert_eq!(backend.connections(), 2);
    go.send(true).unwrap();
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn the_fullest_is_filled_first_and_the_others_run_dry() {
    let (backend, go) = held(Builder::new());
    let weir = Weir::start(&h2_pool(&[backend.address()], "idle_timeout = \"1s\"", ""));
    let clients = ask_all(&weir, 130);
    wait_until("all are at the backend", || backend.in_flight() == 130);
    go.send(true).unwrap();
    drop(clients);
    // One at a time keeps one alive.
    let mut client = weir.client();
    wait_until("the other is closed", || {
        assert_eq!(client.get("/").status, 200);
        backend.open() == 1
    });
    wait_until("that one too, when nobody asks", || backend.open() == 0);
    assert_eq!(backend.connections(), 2);
}

#[test]
fn a_pool_may_change_its_protocol_while_it_serves() {
    let backend = Arc::new(H2Backend::text("h2"));
    let mut weir = Weir::start(&h2_pool(&[backend.address()], "", ""));
    assert_eq!(weir.client().get("/").text(), "h2");
    let config = h2_pool(&[backend.address()], "", "").replace("protocol = \"h2\"", "protocol = \"http1\"");
    weir.rewrite(&config);
    weir.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the HTTP/2 connection is closed", || backend.open() == 0);
    // It does not speak HTTP/1.1.
    assert_eq!(weir.client().get("/").status, 502);
    weir.rewrite(&h2_pool(&[backend.address()], "", ""));
    weir.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("HTTP/2 is spoken again", || weir.client().get("/").status == 200);
}
