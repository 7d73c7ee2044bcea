//! Time limits: of heads, of idle connections, of bodies both ways.

use crate::harness::{AT_ONCE, Backend, Then, Weir, answers, one_pool, wait_until};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

#[test]
fn a_head_that_does_not_come_in_time_is_a_408() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "head_timeout = \"300ms\"\n", ""));
    let mut client = weir.client();
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let response = client.response();
    assert_eq!(response.status, 408);
    assert_eq!(response.field("Connection"), Some("close"));
    let took = began.elapsed();
    assert!(took >= ms(300) && took < AT_ONCE, "{took:?}");
    client.assert_closed();
    assert_eq!(backend.connections(), 0);
    assert_eq!(weir.metric("weir_refusals_total", &[("status", "408")]), 1.0);
}

#[test]
fn the_time_of_a_head_runs_from_its_first_byte_not_its_last() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "head_timeout = \"400ms\"\n", ""));
    let mut client = weir.client();
    // An idle connection has longer; the time begins with the second request.
    assert_eq!(client.get("/").status, 200);
    sleep(ms(600));
    let began = Instant::now();
    for byte in "GET / HTTP/1.1\r\nHost: h\r\nX-Slowly: abcdefghijklmnop".bytes() {
        if client.wire.send([byte]).is_err() || began.elapsed() > AT_ONCE {
            break;
        }
        sleep(ms(20));
    }
    assert_eq!(client.response().status, 408);
    assert_eq!(backend.requests(), 1);
}

#[test]
fn a_head_that_comes_slowly_but_in_time_is_served() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "head_timeout = \"5s\"\n", ""));
    let mut client = weir.client();
    for byte in "GET /slowly HTTP/1.1\r\nHost: h\r\n\r\n".bytes() {
        client.send([byte]);
        sleep(ms(2));
    }
    assert_eq!(client.response().field("X-Target"), Some("/slowly"));
}

#[test]
fn an_idle_connection_ends_without_a_word() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&backend], "idle_timeout = \"300ms\"\n", ""));
    for requests in [0, 1] {
        let began = Instant::now();
        let mut client = weir.client();
        (0..requests).for_each(|_| assert_eq!(client.get("/").status, 200));
        client.assert_closed();
        let took = began.elapsed();
        assert!(took >= ms(250) && took < AT_ONCE, "{requests} requests, {took:?}");
    }
}

#[test]
fn a_connection_is_not_idle_while_it_waits_for_an_answer() {
    let backend = Backend::http(answers::delayed(ms(1_500), answers::text("ok")));
    let weir =
        Weir::start(&one_pool(&[&backend], "idle_timeout = \"800ms\"\nhead_timeout = \"800ms\"\n", ""));
    assert_eq!(weir.client().get("/").text(), "ok");
}

#[test]
fn a_response_that_stalls_breaks_off() {
    for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 200 OK\r\n\r\nabc"] {
        let backend = Backend::http(answers::by(move |_, wire| {
            // Kept alive, it stalls: it waits for the next request.
            wire.send(answer)?;
            Ok(Then::KeepAlive)
        }));
        let pool = "[pool.app.timeouts]\nbetween_bytes = \"300ms\"\n[pool.app.retry]\nhold = \"0B\"\n";
        let weir = Weir::start(&one_pool(&[&backend], "", pool));
        let mut client = weir.client();
        let began = Instant::now();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(client.wire.response("GET").is_err());
        let took = began.elapsed();
        assert!(took >= ms(300) && took < AT_ONCE, "{took:?}");
        weir.wait_metric("weir_upstream_failures_total", &[("cause", "body_timeout")], 1.0);
    }
}

#[test]
fn a_response_that_comes_slowly_but_steadily_does_not() {
    let backend = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")?;
        for byte in b"abcdefghij" {
            sleep(ms(150));
            wire.send([*byte])?;
        }
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.timeouts]\nbetween_bytes = \"1s\"\n"));
    assert_eq!(weir.client().get("/").text(), "abcdefghij");
}

/// Whoever sends a body gets five seconds and then must keep the minimum rate.
#[test]
fn a_request_body_that_comes_too_slowly_is_a_408() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "body_min_rate_per_s = \"1KiB\"\n", ""));
    let mut client = weir.client();
    client.patience(Duration::from_secs(20));
    let began = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc");
    assert_eq!(client.response().status, 408);
    let took = began.elapsed();
    assert!(took >= ms(4500), "{took:?}");
    wait_until("the backend's connection has ended", || backend.open() == 0);
    assert_eq!(backend.requests(), 0);
}

/// The other way round: a backend that reads slowly is not the client's fault.
#[test]
fn a_client_is_not_blamed_for_a_backend_that_reads_slowly() {
    let backend = Backend::raw(|mut wire, _| {
        wire.socket.set_receive_buffer(256 << 10);
        let _ = wire.head();
        sleep(ms(6500));
        let _ = wire.bytes(8_000_000);
        let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        sleep(ms(200));
    });
    let weir = Weir::start(&one_pool(&[&backend], "body_min_rate_per_s = \"64KiB\"\n", ""));
    let mut client = weir.client();
    client.patience(Duration::from_secs(30));
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n");
    client.send(vec![b'x'; 8_000_000]);
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_exchange_ends_when_its_whole_time_is_over() {
    // It never answers.
    let backend = Backend::raw(|mut wire, _| drop(wire.rest()));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.timeouts]\ntotal = \"300ms\"\n"));
    let began = Instant::now();
    assert_eq!(weir.client().get("/").status, 504);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}
