//! Windows, slow streams and slow readers: nobody holds up others, and memory stays bounded.

use crate::frames::*;
use crate::harness::{Backend, Framing, Then, Weir, answers, ending, one_pool, wait_still, wait_until};

/// What weir's memory may grow by while bodies that nobody reads are under way, in bytes.
const GROWTH_MAX: usize = 24 << 20;

/// Answers with a body of `len` bytes.
fn large(len: usize) -> Backend {
    Backend::http(answers::by(move |request, wire| {
        if request.line().contains("/small") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            return Ok(Then::KeepAlive);
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"))?;
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..len / piece.len() {
            wire.send(&piece)?;
        }
        Ok(Then::KeepAlive)
    }))
}

#[test]
fn a_large_answer_comes_whole_through_small_windows() {
    let backend = large(4 << 20);
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let streams: Vec<u32> = (0..4).map(|_| raw.get("/")).collect();
    for stream in streams {
        let answer = raw.answer(stream);
        assert_eq!((answer.status, answer.body.len(), answer.reset), (200, 4 << 20, None));
    }
}

#[test]
fn a_window_of_a_byte_is_respected() {
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::with_settings(weir.address("web"), &[(4, 1)]);
    let stream = raw.get("/");
    let mut body = Vec::new();
    while body.len() < 5 {
        let data = raw.next(|frame| frame.kind == DATA && frame.stream == stream).unwrap();
        assert!(data.payload.len() <= 1, "{data:?}");
        body.extend_from_slice(&data.payload);
        raw.frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]);
    }
    assert_eq!(body, b"hello");
}

#[test]
fn windows_that_are_raised_late_for_what_came_in_small_pieces_are_no_flood() {
    const PIECES: usize = 1000;
    let backend = large(1 << 20);
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::with_settings(weir.address("web"), &[(4, 1 << 20)]);
    let stream = raw.get("/");
    let is_data = |frame: &Frame| frame.kind == DATA;
    let mut came = 0;
    while came < 65_535 {
        came += raw.next(is_data).unwrap().payload.len();
    }
    // A window of a byte at a time makes it as many frames.
    for _ in 0..PIECES {
        raw.frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
        assert_eq!(raw.next(is_data).unwrap().payload.len(), 1);
    }
    raw.send(&frame(WINDOW_UPDATE, 0, stream, &1u32.to_be_bytes()).repeat(PIECES));
    raw.reads = true;
    raw.frame(WINDOW_UPDATE, 0, 0, &65_535u32.to_be_bytes());
    let rest = raw.answer(stream);
    assert_eq!((rest.body.len(), rest.reset), ((1 << 20) - 65_535 - PIECES, None));
}

#[test]
fn streams_that_are_not_read_hold_up_neither_others_nor_memory() {
    let backend = large(64 << 20);
    let weir = Weir::start(&one_pool(&[&backend], "body_min_rate_per_s = \"0B\"\n", ""));
    let mut raw = Raw::connect(weir.address("web"));
    assert_eq!(raw.ask("/small").0, 200);
    let before = weir.resident();
    raw.reads = false;
    // The connection's window is large, a stream's is what it is at first: only the streams are full.
    raw.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
    let slow: Vec<u32> = (0..50).map(|_| raw.get("/")).collect();
    for stream in &slow {
        let mut came = 0;
        while came < 65_535 {
            let data = raw.next(|frame| frame.kind == DATA && frame.stream == *stream).unwrap();
            came += data.payload.len();
        }
        assert_eq!(came, 65_535);
    }
    for _ in 0..10 {
        assert_eq!(raw.ask("/small").0, 200, "beside fifty streams that wait");
    }
    let grown = weir.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes for answers that nobody reads");
}

#[test]
fn a_connection_that_is_not_read_holds_up_its_backends_and_not_memory() {
    let backend = large(64 << 20);
    let weir = Weir::start(&one_pool(&[&backend], "body_min_rate_per_s = \"0B\"\n", ""));
    let mut raw = Raw::with_settings(weir.address("web"), &[(4, 0x7fff_ffff)]);
    assert_eq!(raw.ask("/small").0, 200);
    let before = weir.resident();
    raw.frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes());
    for _ in 0..50 {
        raw.get("/");
    }
    wait_until("all have begun", || backend.requests() == 51);
    // Windows as large as can be, and a socket that nobody reads.
    // To a quarter of a MiB, since an idle process moves a little too.
    let last = wait_still("memory grows no more", || weir.resident() >> 18) << 18;
    let grown = last.saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes for a connection that is not read");
    assert_eq!(weir.client().get("/small").status, 200);
}

#[test]
fn bodies_that_the_backend_does_not_read_hold_up_their_client_alone() {
    let (_over, end) = ending();
    let backend = Backend::raw(move |mut wire, _| {
        while let Ok(Some(head)) = wire.head() {
            if head.starts_with(b"POST") {
                // It reads no more.
                return end.wait();
            }
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let weir = Weir::start(&one_pool(&[&backend], "body_min_rate_per_s = \"0B\"\n", ""));
    let mut raw = Raw::connect(weir.address("web"));
    assert_eq!(raw.ask("/").0, 200);
    let before = weir.resident();
    let streams: Vec<u32> = (0..10).map(|_| raw.request(&post("/"), 0)).collect();
    // As much as each stream's window lets through at first, and the connection's.
    for stream in &streams {
        for _ in 0..4 {
            raw.frame(DATA, 0, *stream, &[b'x'; 16_000]);
        }
    }
    for _ in 0..10 {
        assert_eq!(raw.ask("/").0, 200, "beside ten bodies that wait");
    }
    let grown = weir.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes for bodies that nobody reads");
}

#[test]
fn uploads_that_backends_do_not_take_hold_up_no_other_of_their_connection() {
    const STALLED: usize = 24;
    const PIECE: usize = 16_000;
    // A Unix socket takes little of what is not read.
    let path = std::env::temp_dir().join(format!("weir-stalled-{}.sock", std::process::id()));
    let (_over, waiting) = ending();
    let backend = Backend::raw_unix(&path, move |mut wire, _| {
        while let Ok(Some(head)) = wire.head() {
            if !head.starts_with(b"POST /taken") {
                return waiting.wait();
            }
            if wire.body(Framing::Length(PIECE)).is_err() {
                return;
            }
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let weir = Weir::start(&one_pool(&[&backend], "body_min_rate_per_s = \"0B\"\n", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let streams: Vec<u32> = (0..STALLED).map(|_| raw.request(&post("/"), 0)).collect();
    let mut windows = [65_535; STALLED];
    let mut connection = 65_535;
    let mut silent = 0;
    while silent < 5 {
        for (stream, window) in streams.iter().zip(&mut windows) {
            while *window >= PIECE && connection >= PIECE {
                raw.frame(DATA, 0, *stream, &[b'x'; PIECE]);
                *window -= PIECE;
                connection -= PIECE;
            }
        }
        raw.frame(PING, 0, 0, b"any more");
        silent += 1;
        loop {
            let came = raw.next(|frame| matches!(frame.kind, WINDOW_UPDATE | PING)).unwrap();
            if came.kind == PING {
                break;
            }
            silent = 0;
            match streams.iter().position(|stream| *stream == came.stream) {
                Some(nth) => windows[nth] += came.code() as usize,
                None => connection += came.code() as usize,
            }
        }
    }
    assert!(windows.iter().all(|window| *window < PIECE), "all that backends do not take waits: {windows:?}");
    let length = PIECE.to_string();
    let mut fields = post("/taken");
    fields.push(("content-length", &length));
    let stream = raw.request(&fields, 0);
    assert!(connection >= PIECE, "a window of {connection} is left for others");
    raw.frame(DATA, END_STREAM, stream, &[b'x'; PIECE]);
    assert_eq!(raw.answer(stream).status, 200);
}

#[test]
fn a_client_that_sends_beyond_its_window_is_stopped() {
    let (_over, end) = ending();
    let backend = Backend::raw(move |mut wire, _| {
        let _ = wire.head();
        // It reads no more.
        end.wait();
    });
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&post("/"), 0);
    wait_until("it is at the backend", || backend.open() == 1);
    let mut sent = 0;
    // The backend's socket takes some of it, and windows open for that.
    let piece = frame(DATA, 0, stream, &[b'x'; 16_384]);
    while sent < 64 << 20 && raw.try_send(&piece) {
        sent += piece.len();
    }
    let stopped = raw.next(|frame| frame.kind == GOAWAY || frame.kind == RST_STREAM);
    assert!(stopped.is_none_or(|frame| matches!(frame.code(), 1 | 3)), "FLOW_CONTROL_ERROR");
}

#[test]
fn a_long_body_goes_up_whole() {
    let backend = Backend::http(answers::by(|request, wire| {
        let len = request.body.data.len().to_string();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{len}", len.len()))?;
        Ok(Then::KeepAlive)
    }));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&post("/"), 0);
    let (mut window, mut sent) = (65_535, 0);
    while sent < 1 << 20 {
        while window < 16_000 {
            let more = raw.next(|frame| frame.kind == WINDOW_UPDATE && frame.stream == stream).unwrap();
            window += more.code();
        }
        raw.frame(DATA, 0, stream, &[b'x'; 16_000]);
        window -= 16_000;
        sent += 16_000;
    }
    raw.frame(DATA, END_STREAM, stream, b"");
    assert_eq!(raw.answer(stream).body, sent.to_string().as_bytes());
}

#[test]
fn a_body_that_comes_too_slowly_is_refused_in_time() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let mut raw = Raw::connect(weir.address("web"));
    let stream = raw.request(&post("/"), END_HEADERS);
    raw.frame(DATA, 0, stream, b"a");
    assert_eq!(raw.answer(stream).status, 408);
    weir.wait_metric("weir_refusals_total", &[("cause", "body_timeout")], 1.0);
}
