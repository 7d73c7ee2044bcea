//! HTTP/2 backends that go away, refuse, fall silent or talk nonsense: each costs its exchanges at most.

use super::backend::H2Backend;
use super::frames;
use super::{h2_pool, in_front_of};
use crate::harness::{Backend, Client, Load, Response, Weir, answers, wait_until};
use h2::Reason;
use http::Response as Head;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn a_backend_that_goes_away_again_and_again_loses_no_request() {
    let backend = H2Backend::new(|exchange| async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        exchange.answer(Head::new(()), "ok").await;
    });
    let weir = in_front_of(&backend);
    let gets = Load::get(weir.address("web"), 8, "/");
    let ok = |response: &Response| response.status == 200;
    let posts = Load::start(weir.address("web"), 8, POST.as_bytes(), Duration::ZERO, ok);
    for round in 1..=20 {
        let seen = backend.requests();
        wait_until("requests are under way", || backend.requests() > seen + 100);
        backend.go_away();
        wait_until("there is another connection", || backend.connections() > round);
    }
    for load in [gets, posts] {
        let faults = load.faults();
        let counts = load.stop();
        assert_eq!((counts.wrong, counts.lost), (0, 0), "{faults:?}");
    }
    wait_until("the old connections are closed", || backend.open() <= 1);
}

#[test]
fn a_stream_that_is_refused_is_tried_again_whatever_its_method() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = refused.clone();
    let backend = H2Backend::new(move |exchange| {
        let counter = counter.clone();
        async move {
            if exchange.connection == 0 {
                counter.fetch_add(1, Ordering::SeqCst);
                return exchange.reset(Reason::REFUSED_STREAM);
            }
            exchange.answer(Head::new(()), "ok").await;
        }
    });
    let weir = in_front_of(&backend);
    let mut client = weir.client();
    for request in [POST, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", POST] {
        assert_eq!(client.ask(request).text(), "ok");
    }
    assert_eq!(refused.load(Ordering::SeqCst), 1, "one that refuses is asked no more");
}

/// Serves the first two of six requests on its first connection, and says that it looked at no other; then all.
fn serves_two_of_six(served: Arc<AtomicUsize>) -> Backend {
    Backend::raw(move |mut wire, number| {
        frames::greet(&mut wire).unwrap();
        let mut streams = Vec::new();
        while let Ok(stream) = frames::request(&mut wire) {
            streams.push(stream);
            if number == 0 && streams.len() < 6 {
                continue;
            }
            if number == 0 {
                frames::go_away(&mut wire, streams[1]).unwrap();
                streams.truncate(2);
            }
            for stream in streams.drain(..) {
                served.fetch_add(1, Ordering::SeqCst);
                frames::answer(&mut wire, stream).unwrap();
            }
        }
    })
}

#[test]
fn streams_above_the_last_of_a_goaway_are_tried_again_and_the_others_are_served() {
    // Whether all of a body is there with its head, or comes after it.
    for at_once in [POST.len(), POST.len() - 2] {
        let served = Arc::new(AtomicUsize::new(0));
        let backend = serves_two_of_six(served.clone());
        let weir = Weir::start(&h2_pool(&[backend.address()], "", ""));
        let mut clients: Vec<_> = (0..6).map(|_| weir.client()).collect();
        clients.iter_mut().for_each(|client| client.send(&POST[..at_once]));
        wait_until("the backend has gone away", || served.load(Ordering::SeqCst) >= 2);
        clients.iter_mut().for_each(|client| client.send(&POST[at_once..]));
        for client in &mut clients {
            assert_eq!(client.response_to("POST").status, 200);
        }
        assert_eq!((served.load(Ordering::SeqCst), backend.connections()), (6, 2));
    }
}

#[test]
fn a_stream_that_is_reset_costs_its_own_exchange_alone() {
    let backend = H2Backend::new(|mut exchange| async move {
        match exchange.request.uri.path() {
            "/reset" => exchange.reset(Reason::INTERNAL_ERROR),
            "/half" => {
                let mut stream = exchange.respond.send_response(Head::new(()), false).unwrap();
                stream.send_data(bytes::Bytes::from_static(b"half"), false).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                stream.send_reset(Reason::CANCEL);
            }
            _ => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                exchange.answer(Head::new(()), "ok").await;
            }
        }
    });
    let weir = in_front_of(&backend);
    let mut other = weir.client();
    for path in ["/reset", "/half"] {
        other.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut client = weir.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
        match path {
            "/reset" => assert_eq!(client.response_to("POST").status, 502),
            // Its head had gone down, so it breaks off.
            _ => assert!(client.wire.response("POST").is_err()),
        }
        assert_eq!(other.response().text(), "ok");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_backend_that_does_not_speak_http_2_is_a_failed_connect_and_the_log_says_why() {
    let old = Backend::http(answers::text("HTTP/1.1 only"));
    let silent = Backend::raw(|mut wire, _| {
        let _ = wire.rest();
    });
    let garbage = Backend::raw(|mut wire, _| {
        let _ = wire.send([0xFF; 4_096]);
        let _ = wire.rest();
    });
    for (backend, connect, status, said) in [
        (&old, "10s", 502, "does not speak HTTP/2"),
        // As long as the one that works may take, on a busy machine.
        (&silent, "1s", 504, "no HTTP/2 SETTINGS in time"),
        (&garbage, "10s", 502, "does not speak HTTP/2"),
    ] {
        let timeouts = format!("[pool.app.timeouts]\nconnect = \"{connect}\"");
        let weir = Weir::start(&h2_pool(&[backend.address()], "", &timeouts));
        assert_eq!(weir.client().ask(POST).status, status, "{said}");
        wait_until("the log says why", || weir.stderr().contains(said));
        assert_eq!(weir.metric("weir_upstream_connects_total", &[]), 0.0);
        let working = H2Backend::text("ok");
        let both = [backend.address(), working.address()];
        let weir = Weir::start(&h2_pool(&both, "", &timeouts));
        for _ in 0..4 {
            assert_eq!(weir.client().ask(POST).status, 200, "another backend serves it: {said}");
        }
    }
}

#[test]
fn a_backend_that_falls_silent_costs_its_exchanges_and_the_next_get_another_connection() {
    let backend = Backend::raw(|mut wire, number| {
        frames::greet(&mut wire).unwrap();
        while let Ok(stream) = frames::request(&mut wire) {
            if number > 0 {
                frames::answer(&mut wire, stream).unwrap();
            }
        }
    });
    let timeouts = "[pool.app.timeouts]\nresponse = \"1200ms\"";
    let weir = Weir::start(&h2_pool(&[backend.address()], "", timeouts));
    assert_eq!(weir.client().get("/").status, 504);
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(backend.connections(), 2);
}

#[test]
fn backends_that_restart_under_load_lose_no_get() {
    let answer = |exchange: super::backend::Exchange| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        exchange.answer(Head::new(()), "ok").await;
    };
    let (mut one, two) = (H2Backend::new(answer), H2Backend::new(answer));
    let retry = "[pool.app.retry]\nbudget = 1.0\nbudget_min_per_s = 1000";
    let weir = Weir::start(&h2_pool(&[one.address(), two.address()], "", retry));
    let load = Load::get(weir.address("web"), 16, "/");
    for _ in 0..5 {
        let seen = one.requests();
        wait_until("it serves", || one.requests() > seen + 50);
        one.stop();
        let seen = two.requests();
        wait_until("the other serves", || two.requests() > seen + 200);
        one.revive();
    }
    let faults = load.faults();
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost), (0, 0), "{faults:?}");
}

#[test]
fn floods_of_frames_end_the_connection_and_not_weir() {
    let backend = Backend::raw(|mut wire, _| {
        frames::greet(&mut wire).unwrap();
        if frames::request(&mut wire).is_err() {
            return;
        }
        // Pings and settings that each want an answer, which nobody reads.
        for nth in 0..200_000_u32 {
            let sent = match nth % 2 {
                0 => frames::send(&mut wire, 6, 0, 0, &[0; 8]),
                _ => frames::send(&mut wire, frames::SETTINGS, 0, 0, &[]),
            };
            if sent.is_err() {
                return;
            }
        }
    });
    let timeouts = "[pool.app.timeouts]\nresponse = \"2s\"";
    let weir = Weir::start(&h2_pool(&[backend.address()], "", timeouts));
    let before = weir.resident();
    let status = weir.client().get("/").status;
    assert!((502..=504).contains(&status), "{status}");
    let grown = weir.resident().saturating_sub(before) >> 20;
    assert!(grown < 32, "{grown} MiB");
    let mut client = Client::connect(weir.address("admin"));
    assert_eq!(client.get("/healthz").status, 200);
}

/// Frames of a backend's stream: kind, flags, payload.
type Frames = Vec<(u8, u8, Vec<u8>)>;

/// Answers each request with these.
fn answers_with(frames: &Frames) -> Backend {
    let frames = frames.clone();
    Backend::raw(move |mut wire, _| {
        frames::greet(&mut wire).unwrap();
        while let Ok(stream) = frames::request(&mut wire) {
            for (kind, flags, payload) in &frames {
                // weir may have enough before the last.
                let _ = frames::send(&mut wire, *kind, *flags, stream, payload);
            }
        }
    })
}

/// Far more than any test waits.
const PATIENT: &str = "[pool.app.timeouts]\nresponse = \"300s\"";

#[test]
fn a_backend_that_breaks_http_2_before_its_head_fails_the_attempt_at_once() {
    let working = H2Backend::text("ok");
    let end = 0x4 | 0x1;
    for (case, frames) in [
        ("DATA before a head", vec![(0, 0, b"x".to_vec())]),
        ("a window raised by nothing", vec![(frames::WINDOW_UPDATE, 0, vec![0; 4])]),
        ("a window raised beyond its most", vec![(frames::WINDOW_UPDATE, 0, vec![0x7F, 0xFF, 0xFF, 0xFF])]),
        ("a name in upper case", vec![(frames::HEADERS, end, b"\x88\x00\x01A\x01b".to_vec())]),
        ("no status", vec![(frames::HEADERS, end, b"\x00\x01a\x01b".to_vec())]),
        (
            "a head longer than weir takes",
            vec![(frames::HEADERS, end, [&b"\x88"[..], &[0xBE; 3_000]].concat())],
        ),
    ] {
        let backend = answers_with(&frames);
        let weir = Weir::start(&h2_pool(&[backend.address()], "", PATIENT));
        let mut client = weir.client();
        // The request's side is still open: on one that has ended windows are of no interest (RFC 9113 section 5.1).
        client.send(&POST[..POST.len() - 1]);
        assert_eq!(client.response_to("POST").status, 502, "{case}");
        let both = [backend.address(), working.address()];
        let weir = Weir::start(&h2_pool(&both, "", PATIENT));
        for _ in 0..4 {
            let seen = working.requests();
            let mut client = weir.client();
            client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab");
            wait_until("the backend that works has been asked", || working.requests() > seen);
            client.send("c");
            assert_eq!(client.response_to("PUT").text(), "ok", "{case}");
        }
    }
}

#[test]
fn a_backend_is_told_whether_its_answer_was_none_or_nobody_waits_for_it() {
    // `:status` with a literal value, as HPACK writes it.
    let status = |status: &str| [&[0x08, 3], status.as_bytes()].concat();
    for (case, block, request, code) in [
        ("an answer that HTTP/2 has not", status("101"), POST, 1),
        (
            "a client that went away",
            status("103"),
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na",
            8,
        ),
    ] {
        let (tell, told) = channel();
        let backend = Backend::raw(move |mut wire, _| {
            frames::greet(&mut wire).unwrap();
            let stream = frames::request(&mut wire).unwrap();
            frames::send(&mut wire, frames::HEADERS, 4, stream, &block).unwrap();
            while let Ok(frame) = frames::next(&mut wire) {
                if frame.kind == frames::RST_STREAM {
                    tell.send(frame.code()).unwrap();
                }
            }
        });
        let weir = Weir::start(&h2_pool(&[backend.address()], "", PATIENT));
        let mut client = weir.client();
        client.send(request);
        if code == 8 {
            client.wire.until(b"103").unwrap();
            drop(client);
        }
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(code), "{case}");
    }
}

#[test]
fn a_backend_that_breaks_http_2_in_its_answer_cuts_it_at_once() {
    let head = |block: &[u8]| (frames::HEADERS, 0x4, block.to_vec());
    // `:status: 200`, and a content-length of 1.
    let sized = head(b"\x88\x5C\x011");
    for (case, frames) in [
        ("DATA beyond the window", [vec![head(b"\x88")], vec![(0, 0, vec![b'x'; 16_384]); 64]].concat()),
        ("more than its length", vec![sized.clone(), (0, 0x1, b"xyz".to_vec())]),
        ("less than its length", vec![sized, (0, 0x1, Vec::new())]),
        ("trailers that do not end it", vec![head(b"\x88"), head(b"\x00\x01a\x01b")]),
    ] {
        let backend = answers_with(&frames);
        let weir = Weir::start(&h2_pool(&[backend.address()], "", PATIENT));
        let mut client = weir.client();
        client.send(POST);
        assert!(client.wire.response("POST").is_err(), "{case}");
        weir.wait_metric("weir_connections", &[], 0.0);
    }
}
