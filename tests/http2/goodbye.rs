//! How connections end: drains, reloads, idle ones.

use crate::frames::*;
use crate::harness::{Backend, Then, Weir, answers, one_pool, wait_until};
use nix::sys::signal::Signal;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn a_drain_says_goodbye_and_finishes_what_is_under_way() {
    let backend = Backend::http(answers::delayed(Duration::from_secs(2), answers::text("late")));
    let mut weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut busy = Raw::connect(weir.address("web"));
    let stream = busy.get("/");
    let mut idle = Raw::connect(weir.address("web"));
    wait_until("both are there", || weir.metric("weir_connections", &[]) == 2.0 && backend.open() == 1);
    weir.signal(Signal::SIGTERM);
    assert_eq!(idle.goaway().map(|(code, _)| code), Some(0));
    assert_eq!(idle.ended(), Some(0));
    assert_eq!(busy.goaway().map(|(code, _)| code), Some(0));
    let answer = busy.answer(stream);
    assert_eq!((answer.status, &answer.body[..], answer.reset), (200, &b"late"[..], None));
    assert_eq!(busy.ended(), Some(0));
    assert_eq!(weir.wait_exit(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn an_idle_connection_is_told_goodbye_after_idle_timeout() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "idle_timeout = \"1s\"\n", ""));
    let mut raw = Raw::connect(weir.address("web"));
    assert_eq!(raw.ask("/").0, 200);
    assert_eq!(raw.ended(), Some(0));
    weir.wait_none("weir_connections", &[]);
}

#[test]
fn connections_that_speak_http2_and_their_requests_are_counted() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    assert_eq!(weir.client().get("/").status, 200);
    let mut raw = Raw::connect(weir.address("web"));
    assert_eq!((raw.ask("/").0, raw.ask("/").0), (200, 200));
    weir.wait_metric("weir_http2_connections", &[], 1.0);
    weir.wait_metric("weir_http2_requests_total", &[], 2.0);
    drop(raw);
    weir.wait_metric("weir_http2_connections", &[], 0.0);
}

#[test]
fn a_connection_over_its_age_says_goodbye_then_whether_it_is_idle_or_busy() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "max_age = \"1s\"\n", ""));
    let mut idle = Raw::connect(weir.address("web"));
    assert_eq!(idle.ask("/").0, 200);
    assert_eq!(idle.goaway().map(|(code, _)| code), Some(0));
    assert_eq!(idle.ended(), Some(0));
    weir.wait_metric("weir_connections_lived_out_total", &[("cause", "max_age")], 1.0);
    let (go, waits) = channel();
    let waits = Mutex::new(waits);
    backend.answer_by(answers::by(move |_, wire| {
        let _ = waits.lock().unwrap().recv();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")?;
        Ok(Then::KeepAlive)
    }));
    let mut busy = Raw::connect(weir.address("web"));
    let stream = busy.get("/");
    assert_eq!(busy.goaway().map(|(code, _)| code), Some(0));
    go.send(()).unwrap();
    assert_eq!(busy.answer(stream).body, b"late");
    assert_eq!(busy.ended(), Some(0));
    weir.wait_metric("weir_connections_lived_out_total", &[("cause", "max_age")], 2.0);
}

#[test]
fn a_connection_that_never_asks_ends_by_head_timeout() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "head_timeout = \"300ms\"\n", ""));
    for begin in [PREFACE.to_vec(), [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat(), {
        let half = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get("/")));
        [PREFACE, &frame(SETTINGS, 0, 0, b""), &half[..12]].concat()
    }] {
        let mut raw = Raw::bare(weir.address("web"));
        raw.send(&begin);
        let _ = raw.ended();
    }
    weir.wait_none("weir_connections", &[]);
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_client_that_says_goodbye_gets_the_answers_that_are_under_way() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(300), answers::text("late")));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.get("/");
    raw.frame(GOAWAY, 0, 0, &[0; 8]);
    assert_eq!(raw.answer(stream).body, b"late");
}
