//! Bytes both ways, records in any shape, new keys, ends.

use crate::harness::{Authority, Backend, Program, answers, require, wait_until};
use crate::seal::{self, Sealed};
use crate::{in_front_of, pattern};
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn large_bodies_pass_both_ways_byte_for_byte() {
    let authority = Authority::new();
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend, &authority, "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mut client = seal::client(weir.address("web"), &authority.client_config(versions, None));
        for len in [1, 16_383, 16_384, 16_385, 100_000, 3_000_000] {
            let body = pattern(len);
            let response = client.ask(post(&body));
            assert!(response.body == body, "{len} bytes, {versions:?}");
        }
    }
}

#[test]
fn records_may_come_a_byte_at_a_time_or_many_at_once() {
    let authority = Authority::new();
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend, &authority, "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mut client =
            Sealed::connect(weir.address("web"), &authority.client_config(versions, None), 100_000);
        let body = pattern(40_000);
        let answer = |client: &mut Sealed| {
            let head = format!("Content-Length: {}\r\n\r\n", body.len());
            let mut got = Vec::new();
            while !got.ends_with(head.as_bytes()) {
                got.extend(client.read(1));
            }
            assert!(client.read(body.len()) == body);
        };
        // In pieces of which some end within a header and some take the end of one record and the next's beginning.
        for at_once in [3, 977, 16_390, 40_000] {
            let records = client.seal(&post(&body));
            client.send(&records, at_once);
            answer(&mut client);
        }
        // Each byte a record of its own, all in one segment.
        let mut records = Vec::new();
        for byte in ASK {
            records.extend(client.seal(&[*byte]));
        }
        client.send(&records, records.len());
        let got = client.read(17);
        assert_eq!(got, b"HTTP/1.1 200 OK\r\n");
    }
}

#[test]
fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let authority = Authority::new();
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend, &authority, "");
    let mut client = seal::client(weir.address("web"), &authority.client_config(&[&TLS13], None));
    let requests: Vec<u8> = (0..20).flat_map(|number| post(format!("body {number}").as_bytes())).collect();
    client.send(requests);
    for number in 0..20 {
        assert_eq!(client.response().body, format!("body {number}").as_bytes());
    }
}

#[test]
fn new_keys_are_taken_and_answered_on_the_way() {
    let authority = Authority::new();
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend, &authority, "");
    let mut client = Sealed::connect(weir.address("web"), &authority.client_config(&[&TLS13], None), 100_000);
    for round in 0..100 {
        // rustls asks for none of ours; several in a row, and in the middle of a request.
        client.tls.refresh_traffic_keys().unwrap();
        let first = client.seal(&ASK[..10]);
        client.tls.refresh_traffic_keys().unwrap();
        let rest = client.seal(&ASK[10..]);
        client.send(&[first, rest].concat(), 100_000);
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            got.extend(client.read(1));
        }
        assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n"), "round {round}");
    }
}

#[test]
fn a_peer_that_asks_for_new_keys_gets_them_before_the_next_data() {
    let Some(openssl) = require("openssl") else { return };
    let authority = Authority::new();
    let backend = Backend::http(answers::text("with new keys"));
    let weir = in_front_of(&backend, &authority, "");
    let mut command = Command::new(openssl);
    command.args(["s_client", "-connect", &format!("127.0.0.1:{}", weir.port("web")), "-tls1_3", "-msg"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let text = Arc::new(Mutex::new(String::new()));
    let (kept, mut pipe) = (text.clone(), child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut piece) {
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    });
    let shows = |what: &str, count: usize| {
        wait_until(what, || text.lock().unwrap().matches(what).count() >= count);
    };
    let mut stdin = child.stdin.take().unwrap();
    shows("Verify return code", 1);
    // "K": here is a new key, and I want one of yours.
    for round in 1..=3 {
        stdin.write_all(b"K\n").unwrap();
        shows(">>> TLS 1.3, Handshake [length 0005], KeyUpdate", round);
        stdin.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        shows("with new keys", round);
        shows("<<< TLS 1.3, Handshake [length 0005], KeyUpdate", round);
    }
    drop(stdin);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

#[test]
fn an_end_is_said_and_what_was_not_sealed_is_no_answer() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("bye"));
    let weir = in_front_of(&backend, &authority, "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mut client =
            Sealed::connect(weir.address("web"), &authority.client_config(versions, None), 100_000);
        let records = client.seal(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.send(&records, 100_000);
        let (answer, said) = client.rest();
        assert!(answer.ends_with(b"bye") && said, "{:?}", String::from_utf8_lossy(&answer));
    }
    // Who says that he sends no more is still answered what he has asked.
    let mut client = Sealed::connect(weir.address("web"), &authority.client_config(&[&TLS13], None), 100_000);
    let mut records = client.seal(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.tls.send_close_notify();
    records.extend(client.take());
    client.send(&records, 100_000);
    let (answer, said) = client.rest();
    assert!(answer.ends_with(b"bye") && said, "{:?}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_record_that_was_touched_ends_the_connection_by_an_alert() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let weir = in_front_of(&backend, &authority, "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mut client =
            Sealed::connect(weir.address("web"), &authority.client_config(versions, None), 100_000);
        let mut records = client.seal(ASK);
        let middle = records.len() / 2;
        records[middle] ^= 1;
        client.send(&records, 100_000);
        assert_eq!(client.alert(), rustls::AlertDescription::BadRecordMac);
    }
    assert_eq!(backend.requests(), 0);
}

#[test]
fn what_is_no_record_ends_the_connection_by_an_alert() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let weir = in_front_of(&backend, &authority, "");
    for versions in [&[&TLS12][..], &[&TLS13]] {
        for at_once in [1, 100] {
            let mut client =
                Sealed::connect(weir.address("web"), &authority.client_config(versions, None), 100_000);
            client.send(b"\x63\x03\x03\x00\x01\x00", at_once);
            assert_eq!(client.alert(), rustls::AlertDescription::DecodeError);
        }
    }
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_websocket_over_tls_passes_both_ways() {
    let authority = Authority::new();
    let backend = Backend::raw(|mut wire, _| {
        let Ok(Some(_)) = wire.head() else { return };
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .unwrap();
        while let Ok(byte) = wire.bytes(1) {
            let more = wire.buffered().len();
            let more = wire.bytes(more).unwrap();
            if wire.send([byte, more].concat()).is_err() {
                return;
            }
        }
    });
    let weir = in_front_of(&backend, &authority, "");
    let mut client = seal::client(weir.address("web"), &authority.client_config(&[&TLS13], None));
    let response = client.ask(
        "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(response.status, 101);
    for len in [1, 100, 300_000] {
        let message = pattern(len);
        let (mut writer, sent) = (client.wire.socket.try_clone().unwrap(), message.clone());
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        assert!(client.bytes(len) == message);
        writing.join().unwrap();
    }
}

#[test]
fn an_answer_without_a_length_that_is_cut_off_is_not_said_to_be_whole() {
    let authority = Authority::new();
    // Longer than what is held until it is whole.
    let half = [&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &pattern(1_000_000)].concat();
    let backend = Backend::http(answers::fixed_and_reset(half));
    let weir = in_front_of(&backend, &authority, "");
    let mut client = Sealed::connect(weir.address("web"), &authority.client_config(&[&TLS13], None), 100_000);
    // Whom the end says that it is whole.
    let records = client.seal(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
    client.send(&records, 100_000);
    let ended = loop {
        match client.tls.read_tls(&mut client.tcp) {
            Ok(0) => break "unsaid",
            Ok(_) => {
                if client.tls.process_new_packets().unwrap().peer_has_closed() {
                    break "said";
                }
                let mut sink = Vec::new();
                let _ = client.tls.reader().read_to_end(&mut sink);
            }
            Err(_) => break "reset",
        }
    };
    assert_ne!(ended, "said");
}

#[test]
fn an_idle_connection_is_small() {
    let authority = Authority::new();
    let backend = Backend::http(answers::text("idle"));
    let weir = in_front_of(&backend, &authority, "");
    let config = authority.client_config(&[&TLS13], None);
    let open = |count: usize| -> Vec<Sealed> {
        let connect = |_| {
            let mut client = Sealed::connect(weir.address("web"), &config, 100_000);
            let records = client.seal(ASK);
            client.send(&records, 100_000);
            assert!(client.read(40).starts_with(b"HTTP/1.1 200"));
            client
        };
        (0..count).map(connect).collect()
    };
    // What is taken once, for all.
    let first = open(100);
    let before = weir.resident();
    let more = open(400);
    let each = weir.resident().saturating_sub(before) / more.len();
    println!("{each} bytes for each idle connection");
    assert!(each < 12 << 10, "{each} bytes for each of {} idle connections", more.len());
    drop((first, more));
    wait_until("all have gone", || weir.metric("weir_connections", &[("shard", "0")]) == 0.0);
}

#[test]
fn curl_uploads_and_downloads_a_file() {
    let Some(curl) = require("curl") else { return };
    let authority = Authority::new();
    let backend = Backend::http(answers::echo());
    let weir = in_front_of(&backend, &authority, "");
    let body = weir.dir().join("body");
    std::fs::write(&body, pattern(5_000_000)).unwrap();
    let back = weir.dir().join("back");
    let port = weir.port("web");
    let mut command = Command::new(curl);
    command.args(["-sS", "--http1.1", "--cacert"]).arg(authority.cert());
    command.args(["--resolve", &format!("localhost:{port}:127.0.0.1"), "-o"]).arg(&back);
    command
        .arg("--data-binary")
        .arg(format!("@{}", body.display()))
        .arg(format!("https://localhost:{port}/"));
    let (status, _, err) = Program::run(&mut command, Duration::from_secs(30));
    assert!(status.success(), "{err}");
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&body).unwrap());
}

#[test]
fn a_client_that_asks_to_shake_hands_anew_hears_no_at_once() {
    let Some(openssl) = require("openssl") else { return };
    let authority = Authority::new();
    let backend = Backend::http(answers::text("never"));
    let weir = in_front_of(&backend, &authority, "");
    let mut client = Command::new(openssl)
        .args(["s_client", "-tls1_2", "-servername", "localhost", "-connect"])
        .arg(format!("127.0.0.1:{}", weir.port("web")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Which it takes for a command of its own, and then waits, for as long as its input stays open.
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"R\n").unwrap();
    // Well before weir would close the connection.
    wait_until("it has been told", || client.try_wait().unwrap().is_some());
    let mut said = String::new();
    client.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("no renegotiation"), "{said}");
}
