//! Interim responses: passed on, bounded in number, without a body; 101 only where it was asked for.

use crate::harness::{Backend, Then, Weir, answers, one_pool};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn in_front_of(answer: &str) -> (Backend, Weir) {
    let backend = Backend::http(answers::fixed(answer));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    (backend, weir)
}

#[test]
fn interim_responses_pass_without_what_is_of_the_hop() {
    for (interim, arrives) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\n\r\n",
        ),
        ("HTTP/1.1 199 Other\r\nX-A: b\r\n\r\n", "HTTP/1.1 199 Other\r\nX-A: b\r\n\r\n"),
        (
            "HTTP/1.1 102 X\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n",
            "HTTP/1.1 102 X\r\n\r\n",
        ),
    ] {
        let (backend, weir) = in_front_of(&format!("{interim}{OK}"));
        let mut client = weir.client();
        for _ in 0..2 {
            assert_eq!(String::from_utf8_lossy(&client.get("/").head), arrives);
            assert_eq!(client.response().text(), "ok");
        }
        assert_eq!(backend.connections(), 1, "{interim:?}");
    }
}

#[test]
fn a_bad_interim_response_is_a_502_and_its_connection_is_not_used_again() {
    for interim in [
        "HTTP/1.1 103 X\r\nX-A : b\r\n\r\n",
        "HTTP/1.1 103 X\r\nX-A: b\r\n c\r\n\r\n",
        "HTTP/1.1 103 X\nX-A: b\r\n\r\n",
        "HTTP/1.1 103 X\r\nX-A: \0\r\n\r\n",
        // It has no body: who reads one takes the final response for it.
        "HTTP/1.1 103 X\r\nContent-Length: 38\r\n\r\n",
        "HTTP/1.1 103 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 102 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 103 X\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        // Nobody asked for another protocol, or it is not said which.
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let (backend, weir) = in_front_of(&format!("{interim}{OK}"));
        for round in 1..=2 {
            assert_eq!(weir.client().get("/").status, 502, "{interim:?}");
            assert_eq!(backend.connections(), round, "{interim:?}");
        }
    }
}

#[test]
fn a_few_interim_responses_pass_and_a_flood_is_a_failure() {
    let hint = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let (_backend, weir) = in_front_of(&format!("{}{OK}", hint.repeat(5)));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    for _ in 0..5 {
        assert_eq!(client.response().status, 103);
    }
    assert_eq!(client.response().text(), "ok");

    let flood = Backend::http(answers::by(move |_, wire| {
        for _ in 0..2000 {
            wire.send(hint)?;
        }
        wire.send(OK)?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&flood], "", ""));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut interim = 0;
    loop {
        match client.wire.response("GET") {
            Ok(Some(response)) if response.status == 103 => interim += 1,
            Ok(Some(response)) => break assert_eq!(response.status, 502, "after {interim} of them"),
            Ok(None) | Err(_) => break,
        }
    }
    assert!(interim < 2000, "{interim} came down");
}

/// RFC 9110 section 15.2: an HTTP/1.0 client knows none.
#[test]
fn an_http_1_0_client_gets_the_final_response_alone() {
    let (_backend, weir) = in_front_of(&format!("HTTP/1.1 103 X\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{OK}"));
    let mut client = weir.client();
    let response = client.ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!((response.status, &*response.text()), (200, "ok"));
    client.assert_closed();
}
