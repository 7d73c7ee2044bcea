//! Attacks: what backends have to do and what weir's memory comes to while they go on.

use crate::frames::*;
use crate::harness::{AT_ONCE, Backend, Weir, answers, one_pool, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const ENHANCE_YOUR_CALM: u32 = 11;

/// Streams that are open at once by default.
const STREAMS_MAX: usize = 128;

/// What weir's memory may grow by.
const GROWTH_MAX: usize = 24 << 20;

/// A backend that never answers, and how many requests it had at once at most.
fn busy() -> (Backend, Arc<AtomicUsize>) {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let backend = Backend::raw(move |mut wire, _| {
        if let Ok(Some(_)) = wire.head() {
            seen.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            let _ = wire.rest();
            now.fetch_sub(1, SeqCst);
        }
    });
    (backend, most)
}

/// Sends what `attack` makes of each number until weir has closed, or much longer than that may take; how much was
/// sent.
fn attacked(raw: &mut Raw, mut attack: impl FnMut(&mut Raw, usize) -> Vec<u8>) -> usize {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < AT_ONCE {
        let bytes: Vec<u8> = (0..50).flat_map(|nth| attack(raw, count + nth)).collect();
        if !raw.try_send(&bytes) {
            break;
        }
        count += 50;
    }
    count
}

/// Attacks a weir whose backend never answers, and asserts what must hold while and after.
fn contained(attack: impl Fn(&mut Raw, usize) -> Vec<u8>) {
    let (backend, most) = busy();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let before = weir.resident();
    for round in 1..=3 {
        let mut raw = Raw::connect(weir.address("web"));
        attacked(&mut raw, &attack);
        assert_eq!(raw.ended(), Some(ENHANCE_YOUR_CALM), "round {round}");
    }
    let in_flight = weir.metric("weir_in_flight", &[("pool", "app"), ("backend", "0")]) as usize;
    assert!(in_flight <= STREAMS_MAX, "{in_flight} in flight for streams that are over");
    assert!(most.load(SeqCst) <= 2 * STREAMS_MAX, "the backend had {most:?} at once");
    let grown = weir.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    assert_eq!(weir.metric("weir_refusals_total", &[("cause", "flood")]), 3.0);
    wait_until("nothing is left of it", || {
        weir.metric("weir_in_flight", &[("pool", "app"), ("backend", "0")]) == 0.0 && backend.open() == 0
    });
    weir.wait_none("weir_connections", &[]);
}

fn cancelled(raw: &mut Raw, how: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let stream = raw.stream();
    let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/")));
    bytes.extend(how(stream));
    bytes
}

#[test]
fn rapid_reset_is_contained() {
    contained(|raw, _| cancelled(raw, |stream| frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())));
}

#[test]
fn rapid_reset_that_waits_for_its_request_to_be_at_the_backend_is_contained() {
    let (backend, most) = busy();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let mut sent = 0;
    'attack: while sent < 5_000 {
        let streams: Vec<u32> = (0..20).map(|_| raw.get("/")).collect();
        std::thread::sleep(Duration::from_millis(3));
        for stream in streams {
            if !raw.try_send(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())) {
                break 'attack;
            }
        }
        sent += 20;
    }
    assert_eq!(raw.ended(), Some(ENHANCE_YOUR_CALM));
    assert!(backend.connections() < 1_000, "{} of {sent} got so far", backend.connections());
    // Those that are over for the client count until they are over; the backend sees their ends a little later.
    assert!(most.load(SeqCst) <= 2 * STREAMS_MAX, "the backend had {most:?} at once");
    wait_until("nothing is left of it", || backend.open() == 0);
}

#[test]
fn resets_that_weir_is_made_to_do_are_contained() {
    // MadeYouReset (CVE-2025-8671): each of these has a server reset the stream.
    let ways: [fn(u32) -> Vec<u8>; 4] = [
        |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
        |stream| {
            let all = [0x7f, 0xff, 0xff, 0xff];
            [frame(WINDOW_UPDATE, 0, stream, &all), frame(WINDOW_UPDATE, 0, stream, &all)].concat()
        },
        |stream| frame(DATA, 0, stream, b"x"),
        |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-a", "b")])),
    ];
    for way in ways {
        let (backend, most) = busy();
        let weir = Weir::start(&one_pool(&[&backend], "", ""));
        let mut raw = Raw::connect(weir.address("web"));
        attacked(&mut raw, |raw, _| cancelled(raw, way));
        // A way that is a connection's error ends it at once, which is as good.
        assert!(raw.ended().is_some_and(|code| code != 0));
        assert!(most.load(SeqCst) <= 2 * STREAMS_MAX, "the backend had {most:?} at once");
        wait_until("nothing is left of it", || backend.open() == 0);
    }
}

#[test]
fn frames_that_move_nothing_are_contained() {
    contained(|_, _| frame(SETTINGS, 0, 0, b""));
    contained(|_, nth| frame(PING, 0, 0, &nth.to_be_bytes()));
    contained(|_, _| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]));
    contained(|_, _| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
}

#[test]
fn empty_data_is_contained() {
    contained(|raw, nth| {
        let opened =
            if nth == 0 { frame(HEADERS, END_HEADERS, raw.stream(), &block(&post("/"))) } else { vec![] };
        [opened, frame(DATA, 0, 1, b"")].concat()
    });
}

#[test]
fn a_block_without_end_is_contained() {
    contained(|raw, nth| {
        let opened = if nth == 0 { frame(HEADERS, 0, raw.stream(), &block(&get("/"))) } else { vec![] };
        [opened, frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")]))].concat()
    });
}

#[test]
fn compressed_fields_that_grow_are_contained() {
    // One large field in the table, and a thousand references to it (HPACK bomb).
    let (backend, _) = busy();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let before = weir.resident();
    let mut raw = Raw::connect(weir.address("web"));
    let mut fields = block(&get("/"));
    let value = "x".repeat(3_900);
    let large = block(&[("x-large", &value)]);
    fields.push(0x40);
    fields.extend_from_slice(&large[1..]);
    fields.extend([0xbe; 10_000]);
    for _ in 0..20 {
        let stream = raw.stream();
        raw.frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
    }
    let refused = raw.next(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY));
    assert!(refused.is_none_or(|frame| frame.kind != RST_STREAM || frame.code() != 0));
    let grown = weir.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    assert_eq!(backend.connections(), 0);
}

#[test]
fn an_ordinary_client_that_cancels_a_page_now_and_then_is_no_flood() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(20), answers::text("hello")));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    for _ in 0..10 {
        let streams: Vec<u32> = (0..50).map(|_| raw.get("/")).collect();
        for stream in &streams[..25] {
            raw.frame(RST_STREAM, 0, *stream, &8u32.to_be_bytes());
        }
        for stream in &streams[25..] {
            assert_eq!(raw.answer(*stream).status, 200);
        }
    }
    assert_eq!(weir.metric("weir_refusals_total", &[("cause", "flood")]), 0.0);
}
