//! Response bodies of every framing, and the answers that have none.

use crate::harness::{Backend, Framing, Response, Then, Weir, answers, one_pool};
use crate::{in_front_of, pattern};
use std::thread::sleep;
use std::time::Duration;

const HTTP10: &str = "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";

fn with_length(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn a_body_of_known_length_comes_whole() {
    for len in [0, 1, 1000, 16 << 10, (16 << 10) + 1, 1_000_000] {
        let body = pattern(len);
        let backend = Backend::http(answers::fixed(with_length(&body)));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..3 {
            let response = client.get("/");
            assert_eq!(response.framing, Framing::Length(len));
            assert!(response.body == body, "{len} bytes");
        }
        assert_eq!(backend.connections(), 1, "{len} bytes");
    }
}

#[test]
fn a_chunked_body_comes_as_the_backend_chunked_it_without_extensions() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    let plain = "3\r\nabc\r\n04\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n";
    let extended = "3;a=b\r\nabc\r\n04 ; c=\"d;\"\r\ndefg\r\n0;e\r\nX-Sum: 7\r\n\r\n";
    for (chunks, pieces) in [(plain, 1), (extended, 1), (plain, 7), (extended, 7), (extended, 1000)] {
        let backend = Backend::http(answers::by(move |_, wire| {
            wire.send(head)?;
            for piece in chunks.as_bytes().chunks(chunks.len().div_ceil(pieces)) {
                wire.send(piece)?;
                sleep(Duration::from_millis(2));
            }
            Ok(Then::KeepAlive)
        }));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(response.framing, Framing::Chunked);
            assert_eq!(response.text(), "abcdefg");
            assert_eq!(response.trailers.get("X-Sum"), Some("7"));
            assert_eq!(response.field("Trailer"), Some("X-Sum"));
            assert_eq!(String::from_utf8_lossy(&response.raw_body), plain, "{chunks:?} in {pieces}");
        }
        assert_eq!(backend.connections(), 1);
    }
}

#[test]
fn a_large_chunked_body_comes_whole_and_both_connections_go_on() {
    let body = pattern(2_000_000);
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(30_001) {
        answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        answer.extend_from_slice(piece);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    let backend = Backend::http(answers::fixed(answer));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    assert!(client.get("/").body == body);
    assert!(client.get("/").body == body);
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_body_until_close_comes_chunked_and_the_client_goes_on() {
    for len in [0, 5, 500_000] {
        let body = pattern(len);
        let answer = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &body].concat();
        let backend = Backend::http(answers::fixed_and_close(answer));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(response.framing, Framing::Chunked);
            assert_eq!(response.field("Connection"), None);
            assert!(response.body == body, "{len} bytes");
        }
        assert_eq!(backend.connections(), 2, "such a backend's connection is of one use");
    }
}

#[test]
fn the_answer_to_a_head_has_no_body_whatever_its_fields_say() {
    for fields in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let backend = Backend::http(answers::fixed(format!("HTTP/1.1 200 OK\r\n{fields}X-A: b\r\n\r\n")));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..2 {
            let response = client.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(response.status, 200);
            let head = String::from_utf8_lossy(&response.head).into_owned();
            assert_eq!(head, format!("HTTP/1.1 200 OK\r\n{fields}X-A: b\r\n\r\n"));
        }
        client.assert_silent(Duration::from_millis(50));
        assert_eq!(backend.connections(), 1, "{fields:?}");
    }
}

#[test]
fn a_204_and_a_304_have_no_body() {
    for (answer, expected) in [
        ("HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"),
        // RFC 9110 §8.6: not in a 204, even if the backend says so.
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
        // In a 304: what a 200 would have had.
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
        ),
    ] {
        let backend = Backend::http(answers::fixed(answer));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..2 {
            assert_eq!(String::from_utf8_lossy(&client.get("/").head), expected);
        }
        assert_eq!(backend.connections(), 1, "{answer:?}");
    }
}

#[test]
fn interim_responses_pass_in_their_order() {
    let backend = Backend::http(answers::by(|_, wire| {
        wire.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        sleep(Duration::from_millis(30));
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n")?;
        sleep(Duration::from_millis(30));
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        Ok(Then::KeepAlive)
    }));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 100);
        let hints: Vec<Response> = (0..2).map(|_| client.response()).collect();
        assert!(hints.iter().all(|hint| hint.status == 103));
        assert_eq!(hints[0].field("Link"), Some("</a>"));
        assert_eq!(hints[1].field("Link"), Some("</b>"));
        assert_eq!(client.response().text(), "ok");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn an_http10_client_gets_no_interim_responses() {
    let answer = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let backend = Backend::http(answers::fixed(answer));
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for _ in 0..2 {
        let response = client.ask(HTTP10);
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
}

#[test]
fn an_http10_client_gets_no_chunks() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nabcde",
    ] {
        let backend = Backend::http(answers::fixed_and_close(answer));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        let response = client.ask(HTTP10);
        assert_eq!(response.framing, Framing::UntilClose);
        assert_eq!(response.field("Connection"), Some("close"));
        assert_eq!(response.field("Trailer"), None);
        assert_eq!(response.text(), "abcde");
    }
}

#[test]
fn an_http10_backend_is_kept_only_if_it_says_so() {
    for (fields, connections) in [
        ("Content-Length: 2\r\n", 3),
        ("Content-Length: 2\r\nConnection: keep-alive\r\n", 1),
        ("Content-Length: 2\r\nConnection: close\r\n", 3),
    ] {
        let backend = Backend::http(answers::fixed(format!("HTTP/1.0 200 OK\r\n{fields}\r\nok")));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        for _ in 0..3 {
            let response = client.get("/");
            assert_eq!((response.version.as_str(), response.text().as_str()), ("HTTP/1.1", "ok"));
            assert_eq!(response.field("Connection"), None, "the client's connection goes on");
        }
        assert_eq!(backend.connections(), connections, "{fields:?}");
    }
}

#[test]
fn a_response_that_breaks_off_does_not_end_cleanly() {
    for (case, answer, reset) in [
        ("length, closed", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", false),
        ("length, reset", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", true),
        ("chunked, closed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", false),
        ("chunked, between", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
        ("chunked, reset", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
        ("until close, reset", "HTTP/1.1 200 OK\r\n\r\nabc", true),
    ] {
        let handler = if reset { answers::fixed_and_reset(answer) } else { answers::fixed_and_close(answer) };
        let backend = Backend::http(handler);
        let weir = Weir::start(&one_pool(&[&backend], "", "[pool.app.retry]\nhold = \"0B\"\n"));
        let mut client = weir.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.wire.response("GET");
        assert!(response.is_err(), "{case}: {response:?}");
        weir.wait_metric("weir_upstream_failures_total", &[("cause", "truncated")], 1.0);
        assert_eq!(backend.requests(), 1, "{case}: what has been passed on in part is not tried again");
    }
}

/// Until close is all that a 1.0 client has to go by: a clean close would say that the body is whole.
#[test]
fn an_http10_client_learns_by_a_reset_that_a_response_broke_off() {
    for (case, answer) in [
        ("until close, reset", "HTTP/1.1 200 OK\r\n\r\nabc"),
        ("chunked, reset", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ] {
        let backend = Backend::http(answers::fixed_and_reset(answer));
        let weir = in_front_of(&backend);
        let mut client = weir.client();
        client.send(HTTP10);
        let response = client.wire.response("GET");
        assert!(response.is_err(), "{case}: {response:?}");
    }
}
