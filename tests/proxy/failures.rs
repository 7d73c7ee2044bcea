//! Backends that answer badly or not at all: 502 or 504 with the phase in the body, and their connection is
//! never used again.

use crate::harness::{AT_ONCE, Backend, Handler, Response, Then, Weir, answers, one_pool};
use crate::in_front_of;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn assert_says(response: &Response, status: u16, phase: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.text().contains(phase), "{:?} does not tell of {phase:?}", response.text());
    assert!(response.body.len() < 200, "the body is short");
    assert_eq!(response.field("Content-Type"), Some("text/plain"));
}

#[test]
fn a_refused_connect_is_a_502_that_says_so() {
    let mut backend = Backend::absent(answers::text("back"));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for request in
        ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"]
    {
        let response = client.ask(request);
        assert_says(&response, 502, "connect");
        assert_eq!(response.field("Connection"), None, "nothing is unread: the client may go on");
    }
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0, "there is no other backend");
    backend.revive();
    assert_eq!(client.get("/").text(), "back");
}

#[test]
fn a_connect_that_takes_too_long_is_a_504() {
    // Connects to a full accept queue are not answered.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::listen(&deaf, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let address = deaf.local_addr().unwrap();
    let queued: Vec<TcpStream> = (0..4)
        .filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok())
        .collect();
    let config = one_pool(&[], "", "[pool.app.timeouts]\nconnect = \"200ms\"\n")
        + &format!("[[pool.app.backend]]\naddress = \"{address}\"\n");
    let weir = Weir::start(&config);
    let began = Instant::now();
    let response = weir.client().get("/");
    assert_says(&response, 504, "connect");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < AT_ONCE, "{took:?}");
    drop(queued);
}

/// Takes a request and does not answer it.
fn silent() -> Handler {
    answers::by(|_, wire| {
        // Ends with the connection.
        let _ = wire.bytes(1);
        Ok(Then::Close)
    })
}

#[test]
fn no_answer_in_time_is_a_504() {
    let backend = Backend::http(silent());
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.timeouts]\nresponse = \"200ms\"\n"));
    for request in
        ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"]
    {
        let began = Instant::now();
        assert_says(&weir.client().ask(request), 504, "did not answer in time");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(200) && took < AT_ONCE, "{took:?}");
    }
    assert_eq!(backend.requests(), 2, "neither is sent twice");
    assert_eq!(backend.connections(), 2, "nor is such a connection used again");
}

#[test]
fn no_answer_in_time_to_a_body_that_came_later_is_a_504() {
    let backend = Backend::http(silent());
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.timeouts]\nresponse = \"300ms\"\n"));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
    // The time runs from the request's end.
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    client.send("abc");
    assert_says(&client.response(), 504, "did not answer in time");
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[test]
fn a_close_before_the_answer_is_a_502() {
    for (case, handler) in [
        ("closed", answers::fixed_and_close("")),
        ("reset", answers::fixed_and_reset("")),
        ("half a status line", answers::fixed_and_close("HTTP/1.1 20")),
        ("half a head", answers::fixed_and_close("HTTP/1.1 200 OK\r\nContent-Le")),
        ("half a head, reset", answers::fixed_and_reset("HTTP/1.1 200 OK\r\nContent-Le")),
        ("only a 100", answers::fixed_and_close("HTTP/1.1 100 Continue\r\n\r\n")),
    ] {
        let backend = Backend::http(handler);
        let weir = in_front_of(&backend);
        for method in ["GET", "POST"] {
            let mut client = weir.client();
            let body = if method == "POST" { "Content-Length: 1\r\n\r\nx" } else { "\r\n" };
            client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n{body}"));
            let mut response = client.response();
            if response.status == 100 {
                response = client.response();
            }
            assert_eq!(response.status, 502, "{case}, {method}");
            assert!(response.text().contains("closed the connection"), "{case}: {}", response.text());
        }
        assert_eq!(backend.requests(), 2, "{case}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_a_502_and_its_connection_is_not_used_again() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for answer in [
        "garbage\r\n\r\n".to_owned(),
        "\r\n\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 099 Low\r\n\r\n".to_owned(),
        "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1  200 OK\r\n\r\n".to_owned(),
        format!("{ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        format!("{ok}Content-Length: -1\r\n\r\n"),
        format!("{ok}Content-Length: two\r\n\r\nab"),
        format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{ok}X-A: b\r\n folded\r\nContent-Length: 0\r\n\r\n"),
        format!("{ok}X-A : b\r\nContent-Length: 0\r\n\r\n"),
        format!("{ok}X-A: b\rc\r\nContent-Length: 0\r\n\r\n"),
        format!("{ok}X-A: b\nContent-Length: 0\r\n\r\n"),
        format!("{ok}Content-Length: 0\r\nX-\0: b\r\n\r\n"),
        // Nobody asked for an upgrade.
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
        // Longer than any head may be.
        format!("{ok}X-Long: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(100_000)),
    ] {
        let backend = Backend::http(answers::fixed(answer.clone()));
        let weir = in_front_of(&backend);
        let shown = &answer[..answer.len().min(100)];
        for round in 1..=2 {
            let response = weir.client().get("/");
            assert_eq!(response.status, 502, "{shown:?}");
            assert!(response.text().contains("not valid HTTP"), "{shown:?}: {}", response.text());
            assert_eq!(backend.connections(), round, "{shown:?}");
        }
        let failures = weir.metric("weir_upstream_failures_total", &[("cause", "bad_response")]);
        assert_eq!(failures, 2.0, "{shown:?}");
    }
}

#[test]
fn interim_responses_without_end_are_a_502() {
    let hint = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (interims, status) in [(8, 200), (9, 502), (1000, 502)] {
        let backend = Backend::http(answers::fixed(hint.repeat(interims) + ok));
        let weir = in_front_of(&backend);
        for round in 1..=2 {
            let mut client = weir.client();
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            for _ in 0..8 {
                assert_eq!(client.response().status, 103, "of {interims}");
            }
            assert_eq!(client.response().status, status, "after {interims}");
            assert_eq!(backend.connections(), if status == 200 { 1 } else { round }, "{interims}");
        }
    }
}

#[test]
fn a_204_that_says_it_has_a_body_is_the_last_of_its_connection() {
    for (fields, connections) in
        [("", 1), ("Content-Length: 3\r\n", 2), ("Transfer-Encoding: chunked\r\n", 2)]
    {
        let backend = Backend::http(answers::fixed(format!("HTTP/1.1 204 No Content\r\n{fields}\r\n")));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..2 {
            assert_eq!(String::from_utf8_lossy(&client.get("/").head), "HTTP/1.1 204 No Content\r\n\r\n");
        }
        assert_eq!(backend.connections(), connections, "{fields:?}");
    }
}

/// It is spliced, so weir reads no further than its end.
#[test]
fn what_stands_behind_a_large_body_is_nobodys_answer() {
    let body = vec![b'x'; 3_000_000];
    let large =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let behind = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let both = [large, behind.to_vec()].concat();
    let backend = Backend::http(answers::by(move |received, wire| {
        let small = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".as_slice();
        wire.send(if received.line().contains("/large") { &both } else { small })?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let address = weir.address("web");
    // Others ask meanwhile: one of them would get the connection in the turn in which it is free.
    let threads: Vec<_> = (0..40)
        .map(|n| {
            std::thread::spawn(move || {
                let mut client = crate::harness::Client::connect(address);
                for _ in 0..60 {
                    if n < 4 {
                        assert_eq!(client.get("/large").body.len(), 3_000_000);
                    } else {
                        (0..20).for_each(|_| assert_eq!(client.get("/small").text(), "ok"));
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn bad_chunks_in_an_answer_end_the_clients_connection_unfinished() {
    for chunks in
        ["x\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n", "ffffffffffffffff1\r\n"]
    {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        // Behind the head, so that the head has gone down when the chunks are found to be bad.
        let backend = Backend::http(answers::by(move |_, wire| {
            wire.send(format!("{head}2\r\nok\r\n"))?;
            std::thread::sleep(Duration::from_millis(30));
            wire.send(chunks)?;
            Ok(Then::KeepAlive)
        }));
        let weir = in_front_of(&backend);
        for round in 1..=2 {
            let mut client = weir.client();
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(client.wire.response("GET").is_err(), "{chunks:?}");
            assert_eq!(backend.connections(), round, "{chunks:?}");
        }
    }
}

#[test]
fn a_backend_that_goes_away_in_the_middle_of_an_upload_is_a_502() {
    for reset in [false, true] {
        let backend = Backend::raw(move |mut wire, _| {
            let _ = wire.head();
            let _ = wire.bytes(100_000);
            if reset {
                wire.reset();
            }
        });
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n");
        let mut writer = client.wire.socket.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            for piece in vec![b'x'; 3_000_000].chunks(50_000) {
                if std::io::Write::write_all(&mut writer, piece).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let response = client.response();
        assert_eq!(response.status, 502, "reset: {reset}");
        assert_eq!(response.field("Connection"), Some("close"), "reset: {reset}");
        writing.join().unwrap();
        assert_eq!(backend.connections(), 1, "reset: {reset}: half an upload is not sent again");
    }
}

#[test]
fn a_pools_connections_to_a_backend_are_no_more_than_configured() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(300), answers::text("ok")));
    let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.upstream]\nmax_connections = 2\n"));
    let mut clients: Vec<_> = (0..5).map(|_| weir.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    let statuses: Vec<u16> = clients.iter_mut().map(|client| client.response().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 502, 503].contains(status)), "{statuses:?}");
    assert_eq!(backend.connections(), 2);
    assert_eq!(clients[0].get("/").status, 200);
}

#[test]
fn weirs_own_answer_to_a_head_has_no_body() {
    let backend = Backend::absent(answers::text("back"));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let response = client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(response.status, 502);
    assert_ne!(response.field("Content-Length"), Some("0"));
    assert_eq!(client.get("/").status, 502, "and no byte of one stands before the next answer");
}
