//! Requests whose body comes later than their head: Expect, answers that come first, half-close.

use crate::harness::{Backend, Framing, Weir, Wire, answers, one_pool, wait_still, wait_until};
use crate::{in_front_of, pattern};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// Answers the request whose head has been read.
fn answer(wire: &mut Wire, text: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    // A client that went away is for the test to notice.
    let _ = wire.send(answer);
}

#[test]
fn expect_is_answered_by_the_backends_100() {
    let backend = Backend::raw(|mut wire, _| {
        while let Ok(Some(head)) = wire.head() {
            assert!(String::from_utf8_lossy(&head).contains("Expect: 100-continue\r\n"));
            wire.send("HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let body = wire.body(Framing::Length(5)).unwrap();
            answer(&mut wire, &String::from_utf8_lossy(&body.data));
        }
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for _ in 0..3 {
        client.send(EXPECTING);
        assert_eq!(client.response().status, 100);
        client.send("hello");
        assert_eq!(client.response().text(), "hello");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn expect_is_answered_by_a_final_response_at_once() {
    let backend = Backend::raw(|mut wire, _| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").unwrap();
        let rest = wire.rest().unwrap_or_default();
        assert!(rest.is_empty(), "a request follows on a connection whose body was not sent");
    });
    let weir = in_front_of(&backend);
    for round in 1..=3 {
        let mut client = weir.client();
        client.send(EXPECTING);
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (417, "no"));
        assert_eq!(response.field("Connection"), Some("close"), "the body may or may not follow");
        client.assert_closed();
        assert_eq!(backend.connections(), round);
    }
}

#[test]
fn a_client_need_not_wait_for_a_backend_that_ignores_its_expectation() {
    let backend = Backend::raw(|mut wire, _| {
        while let Ok(Some(_)) = wire.head() {
            let body = wire.body(Framing::Length(5)).unwrap();
            answer(&mut wire, &String::from_utf8_lossy(&body.data));
        }
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for _ in 0..2 {
        client.send(EXPECTING);
        client.assert_silent(Duration::from_millis(50));
        client.send("hello");
        assert_eq!(client.response().text(), "hello");
    }
    // And one that sends its body at once.
    assert_eq!(client.ask(format!("{EXPECTING}hello")).text(), "hello");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn an_answer_that_comes_before_the_body_is_whole_reaches_the_client() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.head();
        answer(&mut wire, "enough");
        // Reads on for a while, as a careful server does, and closes.
        sleep(Duration::from_millis(200));
    });
    let weir = in_front_of(&backend);
    for round in 1..=3 {
        let mut client = weir.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        client.send(pattern(1000));
        let response = client.response();
        assert_eq!(response.text(), "enough");
        assert_eq!(response.field("Connection"), Some("close"));
        assert_eq!(backend.connections(), round, "the backend's connection has half a request on it");
    }
}

/// The client is still sending when the answer comes; if weir closed at once, the reset that its unread
/// bytes cause would overtake the answer.
#[test]
fn an_early_answer_is_not_lost_to_a_client_that_goes_on_sending() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.head();
        let _ = wire.bytes(200_000);
        answer(&mut wire, "413 or so");
        // And does not read on.
        sleep(Duration::from_millis(300));
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n");
    let mut writer = client.wire.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for piece in pattern(4_000_000).chunks(50_000) {
            if std::io::Write::write_all(&mut writer, piece).is_err() {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(client.response().text(), "413 or so");
    drop(client);
    writing.join().unwrap();
}

#[test]
fn an_early_answer_that_takes_long_is_passed_on_while_the_body_goes_up() {
    let backend = Backend::raw(|mut wire, _| {
        wire.head().unwrap();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        // Echoes as it reads.
        let mut left = 500_000;
        while left > 0 {
            let piece = wire.bytes(usize::min(left, 10_000)).unwrap();
            left -= piece.len();
            wire.send(format!("{:x}\r\n", piece.len())).unwrap();
            wire.send(&piece).unwrap();
            wire.send("\r\n").unwrap();
        }
        wire.send("0\r\n\r\n").unwrap();
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    let body = pattern(500_000);
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()));
    let (mut writer, sent) = (client.wire.socket.try_clone().unwrap(), body.clone());
    let writing = std::thread::spawn(move || {
        for piece in sent.chunks(7000) {
            std::io::Write::write_all(&mut writer, piece).unwrap();
            sleep(Duration::from_micros(200));
        }
    });
    let response = client.response();
    assert!(response.body == body);
    writing.join().unwrap();
}

#[test]
fn a_client_that_has_ended_its_side_still_gets_its_answer() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(50), answers::echo()));
    let weir = in_front_of(&backend);
    for request in [
        "GET /half HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /half HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        "POST /half HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut client = weir.client();
        client.send(request);
        client.end();
        assert_eq!(client.response().field("X-Target"), Some("/half"), "{request:?}");
        client.assert_closed();
    }
    // All of a pipeline is answered.
    let mut client = weir.client();
    client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    client.end();
    assert_eq!(client.response().field("X-Target"), Some("/1"));
    assert_eq!(client.response().field("X-Target"), Some("/2"));
    client.assert_closed();
}

/// Whoever takes the close for the answer's end must not take it for that when the upload broke off.
#[test]
fn an_answer_that_the_close_would_end_is_reset_when_its_requests_body_breaks_off() {
    let backend = Backend::raw(|mut wire, _| {
        let _ = wire.head();
        let _ = wire.send("HTTP/1.1 200 OK\r\n\r\npart");
        let _ = wire.rest();
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.send("POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc");
    client.wire.until(b"part").unwrap();
    client.end();
    let rest = client.wire.rest();
    assert!(rest.is_err(), "a part of an answer ended like a whole one: {rest:?}");
}

#[test]
fn a_body_that_breaks_off_is_not_passed_on_as_whole() {
    let whole = Arc::new(AtomicUsize::new(0));
    let seen = whole.clone();
    let backend = Backend::raw(move |mut wire, _| {
        let Ok(Some(head)) = wire.head() else { return };
        let chunked = String::from_utf8_lossy(&head).contains("chunked");
        let framing = if chunked { Framing::Chunked } else { Framing::Length(1000) };
        if wire.body(framing).is_ok() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let weir = in_front_of(&backend);
    for (case, request) in [
        ("length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc"),
        ("chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        ("between", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ] {
        for reset in [false, true] {
            let before = backend.connections();
            let mut client = weir.client();
            client.send(request);
            wait_until("the request has begun to arrive", || backend.connections() > before);
            sleep(Duration::from_millis(20));
            if reset {
                client.wire.reset();
            } else {
                client.end();
            }
            wait_until("the backend's connection has ended", || backend.open() == 0);
            assert_eq!(whole.load(Ordering::SeqCst), 0, "{case}, reset: {reset}");
        }
    }
}

/// The backend stops reading, answers after weir has given the body up, and would go on reading: the rest
/// of the body must not stand before another client's request.
#[test]
fn a_connection_whose_request_did_not_go_up_whole_serves_no_other() {
    let backend = Backend::raw(|mut wire, number| {
        wire.socket.set_receive_buffer(64 << 10);
        let _ = wire.head();
        if number == 0 {
            sleep(Duration::from_millis(450));
        }
        answer(&mut wire, "ok");
        // Open, and not reading: what else is sent here stands behind the rest of the body.
        sleep(Duration::from_secs(1));
    });
    let timeouts = "[pool.app.timeouts]\nresponse = \"300ms\"\n";
    let weir = Weir::start(&one_pool(&[&backend], "", timeouts));
    let mut first = weir.client();
    let mut sending = Wire::new(first.wire.socket.try_clone().unwrap(), Duration::from_secs(2));
    let sender = std::thread::spawn(move || {
        let _ = sending.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n");
        let _ = sending.send(vec![b'x'; 50_000_000]);
    });
    let response = first.response_to("POST");
    assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(backend.connections(), 2, "the first connection was not used again");
    drop(first);
    sender.join().unwrap();
}

#[test]
fn an_interim_response_in_pieces_does_not_overtake_the_answer_before_it() {
    const REQUESTS: usize = 1500;
    let body = |target: &str| target.bytes().cycle().take(8000).map(char::from).collect::<String>();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let backend = Backend::raw(move |mut wire, _| {
        while let Ok(Some(head)) = wire.head() {
            count.fetch_add(1, Ordering::SeqCst);
            let text = String::from_utf8_lossy(&head).into_owned();
            let body = body(text.split(' ').nth(1).unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let pieces = ["HTTP/1.1 103 Early Hi", "nts\r\nLink: </style.css>\r\n\r\n", &*answer];
            for piece in pieces {
                if wire.send(piece).is_err() {
                    return;
                }
                sleep(Duration::from_micros(300));
            }
        }
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    client.wire.socket.set_receive_buffer(64 << 10);
    let requests: String = (0..REQUESTS).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(requests);
    wait_until("the backend is asked", || asked.load(Ordering::SeqCst) > 0);
    let before = wait_still("the client holds up everything", || asked.load(Ordering::SeqCst));
    assert!(before < REQUESTS, "the client must not have read so much");
    for n in 0..REQUESTS {
        let interim = client.response();
        assert_eq!(interim.status, 103, "{n}");
        assert_eq!(client.response().text(), body(&format!("/{n}")), "{n}");
    }
}
