//! Slow readers and writers: weir's memory stays bounded, and nobody else has to wait.

use crate::harness::{Backend, Client, Load, Then, Weir, answers, ending, one_pool, wait_still, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// Slow clients are never given up here: who is served is served beside them.
const PATIENT: &str = "body_min_rate_per_s = \"0B\"\n";

/// What weir may grow by, whatever passes through it: its receive buffers, and some.
const GROWTH_MAX: usize = 40 << 20;

/// A backend that sends `len` bytes to who asks for /big, and counts those that left.
fn big(len: usize, sent: Arc<AtomicUsize>) -> Backend {
    Backend::http(answers::by(move |received, wire| {
        if !received.line().contains("/big") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            return Ok(Then::KeepAlive);
        }
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"))?;
        let piece = vec![b'x'; 100_000];
        for _ in 0..len / piece.len() {
            wire.send(&piece)?;
            sent.fetch_add(piece.len(), Ordering::SeqCst);
        }
        Ok(Then::KeepAlive)
    }))
}

/// A client whose kernel takes little for it.
fn slow_client(weir: &Weir) -> Client {
    let client = weir.client();
    client.wire.socket.set_receive_buffer(256 << 10);
    client
}

fn assert_others_are_served(weir: &Weir) {
    let load = Load::get(weir.address("web"), 4, "/small");
    wait_until("others are served", || load.counts().ok + load.counts().lost > 20);
    let counts = load.stop();
    assert!(counts.wrong == 0 && counts.lost == 0, "others get {counts:?}");
}

#[test]
fn a_client_that_reads_slowly_holds_up_its_backend_and_nobody_else() {
    const LEN: usize = 200_000_000;
    let sent = Arc::new(AtomicUsize::new(0));
    let backend = big(LEN, sent.clone());
    let weir = Weir::start(&one_pool(&[&backend], PATIENT, ""));
    assert_eq!(weir.client().get("/").text(), "ok");
    let before = weir.resident();
    let mut client = slow_client(&weir);
    client.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until("the answer has begun", || sent.load(Ordering::SeqCst) > 0);
    wait_still("nothing moves", || sent.load(Ordering::SeqCst));
    assert_others_are_served(&weir);
    assert!(sent.load(Ordering::SeqCst) < LEN / 4, "the backend is held up");
    let head = client.wire.head().unwrap().unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    let mut left = LEN;
    let mut most = weir.resident();
    while left > 0 {
        left -= client.bytes(left.min(1_000_000)).len();
        most = most.max(weir.resident());
    }
    assert!(most < before + GROWTH_MAX, "grew from {before} to {most}");
    assert_eq!(client.get("/small").text(), "ok");
}

#[test]
fn a_backend_that_reads_slowly_holds_up_its_client_and_nobody_else() {
    const LEN: usize = 100_000_000;
    let reads = Arc::new(AtomicBool::new(false));
    let may = reads.clone();
    let slow = Backend::raw(move |mut wire, _| {
        wire.socket.set_receive_buffer(256 << 10);
        let Ok(Some(_)) = wire.head() else { return };
        wait_until("it is to read on", || may.load(Ordering::SeqCst));
        let mut left = LEN;
        while left > 0 {
            let Ok(piece) = wire.bytes(left.min(1_000_000)) else { return };
            left -= piece.len();
        }
        let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        sleep(Duration::from_millis(200));
    });
    let other = Backend::http(answers::text("ok"));
    let config = one_pool(&[&other], PATIENT, "")
        + &format!(
            "[[route]]\npath = \"/upload\"\npool = \"slow\"\n[[pool.slow.backend]]\naddress = \"{}\"\n",
            slow.address()
        );
    let weir = Weir::start(&config);
    assert_eq!(weir.client().get("/").text(), "ok");
    let before = weir.resident();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut client = weir.client();
    client.patience(Duration::from_secs(60));
    client.send(format!("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: {LEN}\r\n\r\n"));
    let (mut writer, counted) = (client.wire.socket.try_clone().unwrap(), taken.clone());
    let writing = std::thread::spawn(move || {
        let piece = vec![b'x'; 100_000];
        for _ in 0..LEN / piece.len() {
            std::io::Write::write_all(&mut writer, &piece).unwrap();
            counted.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    wait_until("the body has begun", || taken.load(Ordering::SeqCst) > 0);
    wait_still("nothing moves", || taken.load(Ordering::SeqCst));
    assert_others_are_served(&weir);
    assert!(taken.load(Ordering::SeqCst) < LEN / 4, "the client is held up");
    reads.store(true, Ordering::SeqCst);
    let mut most = weir.resident();
    while !writing.is_finished() {
        most = most.max(weir.resident());
        sleep(Duration::from_millis(20));
    }
    writing.join().unwrap();
    assert_eq!(client.response().text(), "ok");
    assert!(most < before + GROWTH_MAX, "grew from {before} to {most}");
}

/// Receive buffers are a shard's common good: who does not read must not keep them all.
#[test]
fn many_clients_that_do_not_read_leave_buffers_for_the_others() {
    let sent = Arc::new(AtomicUsize::new(0));
    let backend = big(50_000_000, sent.clone());
    let runtime = "cores = 1\nbuffers = 64\n";
    let weir = Weir::start(&one_pool(&[&backend], PATIENT, "").replace("cores = 1\n", runtime));
    let mut slow: Vec<Client> = (0..20).map(|_| slow_client(&weir)).collect();
    slow.iter_mut().for_each(|client| client.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
    wait_until("all backends' connections stand", || backend.requests() == 20);
    wait_still("nothing moves", || sent.load(Ordering::SeqCst));
    assert_others_are_served(&weir);
    drop(slow);
    wait_until("no exchange is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
    wait_until("no buffer is in use", || weir.metric("weir_ring_buffers_in_use", &[]) == 0.0);
}

/// They need not even ask for much: what they send behind their request waits too.
#[test]
fn many_clients_that_send_and_do_not_read_leave_buffers_for_the_others() {
    let backend = big(50_000_000, Arc::default());
    let runtime = "cores = 1\nbuffers = 128\n";
    let weir = Weir::start(&one_pool(&[&backend], PATIENT, "").replace("cores = 1\n", runtime));
    let mut slow: Vec<Client> = (0..20).map(|_| slow_client(&weir)).collect();
    for client in &mut slow {
        client.patience(Duration::from_millis(100));
        client.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
        // As much as weir takes.
        while client.wire.send([b'x'; 10_000]).is_ok() {}
    }
    assert_others_are_served(&weir);
}

#[test]
fn memory_is_bounded_for_many_clients_that_do_not_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let backend = big(50_000_000, sent.clone());
    let weir = Weir::start(&one_pool(&[&backend], PATIENT, ""));
    assert_eq!(weir.client().get("/").text(), "ok");
    let before = weir.resident();
    let mut slow: Vec<Client> = (0..120).map(|_| slow_client(&weir)).collect();
    slow.iter_mut().for_each(|client| client.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
    wait_until("all backends' connections stand", || backend.requests() == 121);
    wait_still("nothing moves", || sent.load(Ordering::SeqCst));
    assert_others_are_served(&weir);
    let grown = weir.resident() - before;
    // 1024 buffers, and eight times that for what waits.
    assert!(grown < 9 * 1024 * (18 << 10), "grew by {grown}");
    println!("grew by {} MiB", grown >> 20);
}

/// The same for uploads.
#[test]
fn many_backends_that_do_not_read_leave_buffers_for_the_others() {
    let (over, end) = ending();
    let slow = Backend::raw(move |mut wire, _| {
        wire.socket.set_receive_buffer(256 << 10);
        let _ = wire.head();
        // It reads no more.
        end.wait();
    });
    let other = Backend::http(answers::text("ok"));
    let config = one_pool(&[&other], PATIENT, "").replace("cores = 1\n", "cores = 1\nbuffers = 64\n")
        + &format!(
            "[[route]]\npath = \"/upload\"\npool = \"slow\"\n[[pool.slow.backend]]\naddress = \"{}\"\n",
            slow.address()
        );
    let weir = Weir::start(&config);
    let clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = weir.client();
            client.patience(Duration::from_millis(200));
            client.send("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n");
            client
        })
        .collect();
    let writing: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                while client.wire.send(vec![b'x'; 1_000_000]).is_ok() {}
                client
            })
        })
        .collect();
    // Each has sent as much as weir takes.
    let clients: Vec<Client> = writing.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_others_are_served(&weir);
    drop((clients, over));
    wait_until("no exchange is in flight", || weir.metric("weir_in_flight", &[]) == 0.0);
    wait_until("no buffer is in use", || weir.metric("weir_ring_buffers_in_use", &[]) == 0.0);
}

/// Heads that come byte by byte hold no receive buffer.
#[test]
fn many_unfinished_heads_leave_buffers_for_the_others() {
    let backend = Backend::http(answers::text("ok"));
    let weir =
        Weir::start(&one_pool(&[&backend], "", "").replace("cores = 1\n", "cores = 1\nbuffers = 16\n"));
    let mut slow: Vec<Client> = (0..200).map(|_| weir.client()).collect();
    for byte in "GET / HTTP/1.1\r\nHost: h\r\n".bytes() {
        slow.iter_mut().for_each(|client| client.send([byte]));
    }
    assert_others_are_served(&weir);
    for client in &mut slow {
        assert_eq!(client.ask("\r\n").text(), "ok");
    }
}
