//! One line for each exchange, whatever its end, and the right word for that.
//!
//! Each test has exchanges end in all the ways that are one side's doing, one after the other, and then reads
//! the log: the lines are as many as the exchanges, in their order.

use crate::harness::{Backend, Client, Then, Weir, Wire, answers, free_port, wait_until, wait_up_to};
use crate::{as_json, fields, lines, logging, object, objects};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// How an exchange ended, as its line says.
fn ending(object: &Value) -> (Value, String, Value) {
    let [status, termination, cause] = fields(object, ["status", "termination", "cause"]);
    (status, termination.as_str().unwrap().to_owned(), cause)
}

/// Asserts that the lines say so of the exchanges, in their order.
fn assert_endings(weir: &Weir, expected: &[(u16, &str, &str)]) -> Vec<Value> {
    let objects = objects(weir, expected.len());
    for (object, (status, termination, cause)) in objects.iter().zip(expected) {
        let status = if *status == 0 { Value::Null } else { json!(status) };
        let cause = if cause.is_empty() { Value::Null } else { json!(cause) };
        assert_eq!(ending(object), (status, (*termination).to_owned(), cause), "{object}");
    }
    objects
}

/// Has a pool's one backend, "x", take nothing.
fn drain(weir: &Weir, pool: &str) {
    let answer = weir.try_admin("POST", &format!("/pools/{pool}/backends/x/drain"));
    assert_eq!(answer.map(|answer| answer.status), Some(200));
}

/// Waits until the log has so many lines: the next exchange is to stand behind them.
fn after(weir: &Weir, count: usize) {
    lines(weir, count);
}

#[test]
fn what_is_answered_ended_well() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&as_json(&[&backend], ""));
    let mut client = weir.client();
    let post = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(client.ask(post).status, 200);
    assert_eq!(client.ask("HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    // Three at once on one connection.
    client.send([GET, GET, post].concat());
    (0..3).for_each(|_| assert_eq!(client.response().status, 200));
    // A body that comes behind its head, in chunks.
    client.send("POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let objects = assert_endings(&weir, &[(200, "--", ""); 6]);
    let bytes: Vec<_> = objects.iter().map(|object| fields(object, ["bytes_in", "bytes_out"])).collect();
    let none = [json!(0), json!(0)];
    let three = [json!(3), json!(3)];
    assert_eq!(bytes[..5], [three.clone(), none.clone(), none.clone(), none, three]);
    // As the client framed them.
    assert_eq!(bytes[5], [json!("3\r\nabc\r\n0\r\n\r\n".len()), json!(3)]);
}

#[test]
fn a_second_attempt_is_told_and_its_backend_is_the_one_that_answered() {
    let dead = Backend::absent(answers::text("never"));
    let alive = Backend::http(answers::text("ok"));
    let weir = Weir::start(&as_json(&[&dead, &alive], "policy = \"round_robin\"\n"));
    let mut client = weir.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 200);
    }
    let objects = assert_endings(&weir, &[(200, "--", ""), (200, "--", "")]);
    let retries: u64 = objects.iter().map(|object| object["retries"].as_u64().unwrap()).sum();
    assert_eq!(retries, 1, "{objects:#?}");
    assert!(objects.iter().all(|object| object["backend"] == "1"));
}

#[test]
fn what_weir_refuses_says_why_and_whose_it_was() {
    let backend = Backend::http(answers::text("ok"));
    let text = as_json(&[&backend], "").replace(
        "pool = \"app\"\n",
        "max_body = \"10B\"\nmax_head = \"1KiB\"\n[[route]]\npath = \"/app\"\npool = \"app\"\n\
         [[route]]\npath = \"/empty\"\npool = \"empty\"\n",
    ) + "[pool.empty]\n[[pool.empty.backend]]\nname = \"x\"\naddress = \"127.0.0.1:1\"\n";
    let weir = Weir::start(&text);
    drain(&weir, "empty");
    let long = format!("GET /app HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(2_000));
    for (request, status) in [
        ("GET /app HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
        (&long, 431),
        ("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        ("POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n", 413),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        ("TRACE /app HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", 200),
        ("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n", 503),
    ] {
        assert_eq!(weir.client().ask(request).status, status, "{request:?}");
    }
    let objects = assert_endings(
        &weir,
        &[
            (400, "PR", "bad_head"),
            (400, "PR", "bad_head"),
            (431, "PR", "head_too_large"),
            (404, "PR", "no_route"),
            (413, "PR", "body_too_large"),
            (501, "PR", "unsupported"),
            (200, "PH", "last_hop"),
            (503, "PC", "no_backend"),
        ],
    );
    for (object, path) in objects.iter().zip(["/app", "\u{16}\u{3}\u{1}", "/app", "/none", "/app", "a:1"]) {
        assert_eq!(fields(object, ["path", "listener", "client"]), [path, "web", "127.0.0.1"], "{object}");
        assert!(object["bytes_out"].as_u64().unwrap() > 0 && object["backend"].is_null(), "{object}");
    }
    assert_eq!(objects[7]["pool"], "empty");
}

#[test]
fn what_backends_fail_says_where_they_did() {
    let full = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc";
    let by = |answer: &'static str, then: Then| {
        Backend::http(answers::by(move |_, wire: &mut Wire| {
            // Kept alive, it stalls: it waits for the next request.
            wire.send(answer)?;
            Ok(then)
        }))
    };
    // Connects to a full accept queue are not answered.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::listen(&deaf, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let deaf_at = deaf.local_addr().unwrap();
    let patience = Duration::from_millis(100);
    let _queued: Vec<_> =
        (0..4).filter_map(|_| TcpStream::connect_timeout(&deaf_at, patience).ok()).collect();
    let backends = [
        ("mute", by("", Then::Close), Some(502), "SH", "no_response"),
        ("garbage", by("garbage\r\n\r\n", Then::Close), Some(502), "SH", "bad_response"),
        ("late", by("", Then::KeepAlive), Some(504), "sH", "response_timeout"),
        ("cut", by(full, Then::Close), None, "SD", "truncated"),
        ("stalls", by(full, Then::KeepAlive), None, "sD", "body_timeout"),
    ];
    let mut text = as_json(&[], "").replace("pool = \"app\"\n", "").replace("[pool.app]\n", "");
    let absent = format!("127.0.0.1:{}", free_port());
    let more = [
        ("absent", absent, Some(502), "SC", "connect"),
        ("deaf", deaf_at.to_string(), Some(504), "sC", "connect_timeout"),
    ];
    let of_backends = backends
        .iter()
        .map(|(name, backend, status, code, cause)| (*name, backend.address(), *status, *code, *cause));
    let all: Vec<_> = of_backends.chain(more).collect();
    for (name, address, ..) in &all {
        // A short limit, so that the test need not wait, only for who is to meet one.
        let limit = match *name {
            "late" => "response = \"300ms\"",
            "stalls" => "between_bytes = \"300ms\"",
            "deaf" => "connect = \"300ms\"",
            _ => "",
        };
        text += &format!(
            "[[route]]\npath = \"/{name}\"\npool = \"{name}\"\n[pool.{name}.timeouts]\n{limit}\n\
             [pool.{name}.retry]\nattempts = 0\n[[pool.{name}.backend]]\nname = \"b\"\naddress = \"{address}\"\n"
        );
    }
    let weir = Weir::start(&text);
    let mut expected = Vec::new();
    for (name, _, status, code, cause) in &all {
        let mut client = weir.client();
        client.send(format!("GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n"));
        match status {
            Some(status) => assert_eq!(client.response().status, *status, "{name}"),
            // The head has gone down.
            None => drop(client.wire.rest()),
        }
        expected.push((status.unwrap_or(200), *code, *cause));
        after(&weir, expected.len());
    }
    let objects = assert_endings(&weir, &expected);
    for (object, (name, ..)) in objects.iter().zip(&all) {
        assert_eq!(fields(object, ["pool", "backend"]), [*name, "b"], "{object}");
    }
}

/// A backend that reads a request's head, sends this, and then nothing until weir closes.
fn stops_after(answer: &'static str) -> Backend {
    Backend::raw(move |mut wire, _| {
        let Ok(Some(_)) = wire.head() else { return };
        let _ = wire.send(answer);
        wire.socket.set_timeout(Duration::from_secs(60));
        let _ = wire.rest();
    })
}

#[test]
fn clients_that_go_away_are_told_apart_by_where_they_did() {
    let waits = stops_after("");
    let streams = stops_after("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc");
    let text = as_json(&[&waits], "").replace(
        "pool = \"app\"\n",
        "head_timeout = \"2s\"\nbody_min_rate_per_s = \"1KiB\"\npool = \"app\"\n[[route]]\npath = \"/streams\"\npool = \"streams\"\n",
    ) + &format!("[pool.streams]\n[[pool.streams.backend]]\naddress = \"{}\"\n", streams.address());
    let weir = Weir::start(&text);
    let in_flight = |count: f64| {
        wait_until("it is in flight", || weir.metric("weir_in_flight", &[]) == count);
    };
    // In the head.
    let mut client = weir.client();
    client.send("GET /half HTTP/1.1\r\nHos");
    wait_until("it is accepted", || weir.metric("weir_connections", &[]) == 1.0);
    client.wire.reset();
    after(&weir, 1);
    // Too slow with it.
    let mut client = weir.client();
    client.send("GET /half HTTP/1.1\r\nHos");
    assert_eq!(client.response().status, 408);
    after(&weir, 2);
    // While its answer is waited for.
    let mut client = weir.client();
    client.send(GET);
    in_flight(1.0);
    client.wire.reset();
    after(&weir, 3);
    // In its own body.
    let mut client = weir.client();
    client.send("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    in_flight(1.0);
    client.wire.reset();
    after(&weir, 4);
    // In the answer's body.
    let mut client = weir.client();
    client.send("GET /streams HTTP/1.1\r\nHost: h\r\n\r\n");
    client.wire.head().unwrap();
    client.wire.reset();
    let objects = assert_endings(
        &weir,
        &[
            (0, "CR", "client_gone"),
            (408, "cR", "head_timeout"),
            (0, "CH", "client_gone"),
            (0, "CR", "client_gone"),
            (200, "CD", "client_gone"),
        ],
    );
    assert_eq!(fields(&objects[0], ["path", "backend"]), [json!("/half"), Value::Null]);
    assert_eq!(fields(&objects[3], ["bytes_in", "backend"]), [json!(3), json!("0")]);
    assert_eq!(objects[4]["bytes_out"], 3);
}

#[test]
fn bodies_that_come_or_go_too_slowly_are_told() {
    let swallows = stops_after("");
    let floods = Backend::raw(|mut wire, _| {
        let Ok(Some(_)) = wire.head() else { return };
        let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while wire.send([b'x'; 65_536]).is_ok() {}
    });
    let text = as_json(&[&swallows], "").replace(
        "pool = \"app\"\n",
        "body_min_rate_per_s = \"1GiB\"\npool = \"app\"\n[[route]]\npath = \"/floods\"\npool = \"floods\"\n",
    ) + &format!("[pool.floods]\n[[pool.floods.backend]]\naddress = \"{}\"\n", floods.address());
    let weir = Weir::start(&text);
    let mut client = weir.client();
    client.send("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    assert_eq!(client.response().status, 408);
    after(&weir, 1);
    let mut client = weir.client();
    client.wire.socket.set_receive_buffer(4096);
    client.send("GET /floods HTTP/1.1\r\nHost: h\r\n\r\n");
    let file = weir.dir().join("access.log");
    wait_up_to(Duration::from_secs(30), "weir gives it up", || {
        std::fs::read_to_string(&file).unwrap().lines().count() == 2
    });
    let objects = assert_endings(&weir, &[(408, "cR", "body_timeout"), (200, "cD", "slow_reader")]);
    assert_eq!(objects[0]["bytes_in"], 3);
    assert!(objects[1]["bytes_out"].as_u64().unwrap() > 0);
}

/// Switches, and sends everything back.
fn echoing() -> Backend {
    Backend::raw(|mut wire, _| {
        let Ok(Some(_)) = wire.head() else { return };
        let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello";
        let _ = wire.send(switching);
        while let Ok(byte) = wire.bytes(1) {
            if wire.send(byte).is_err() {
                return;
            }
        }
    })
}

fn upgraded(weir: &Weir) -> Client {
    let mut client = weir.client();
    client.send("GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.response().status, 101);
    assert_eq!(client.bytes(5), b"hello");
    client
}

#[test]
fn a_tunnel_has_a_line_when_it_is_over_with_its_bytes_both_ways() {
    let backend = echoing();
    let weir = Weir::start(&as_json(&[&backend], ""));
    let mut client = upgraded(&weir);
    client.send([b'x'; 1000]);
    client.bytes(1000);
    assert!(!weir.dir().join("access.log").metadata().is_ok_and(|file| file.len() > 0), "it goes on");
    client.end();
    client.rest();
    let objects = assert_endings(&weir, &[(101, "--", "")]);
    assert_eq!(fields(&objects[0], ["bytes_in", "bytes_out"]), [json!(1000), json!(1005)]);
}

#[test]
fn what_is_cut_off_at_the_end_of_grace_is_told_before_the_process_ends() {
    let waits = stops_after("");
    let tunnels = echoing();
    let text = as_json(&[&waits], "")
        .replace("pool = \"app\"\n", "pool = \"app\"\n[[route]]\npath = \"/chat\"\npool = \"tunnels\"\n")
        + &format!("[pool.tunnels]\n[[pool.tunnels.backend]]\naddress = \"{}\"\n", tunnels.address());
    let mut weir = Weir::start(&text.replace("cores = 1\n", "cores = 1\ngrace = \"300ms\"\n"));
    let mut tunnel = upgraded(&weir);
    tunnel.send("abc");
    tunnel.bytes(3);
    let mut waiting = weir.client();
    waiting.send(GET);
    wait_until("both are in flight", || weir.metric("weir_in_flight", &[]) == 2.0);
    let file = weir.dir().join("access.log");
    weir.signal(Signal::SIGTERM);
    weir.wait_exit(Duration::from_secs(20));
    let mut objects: Vec<Value> = crate::lines_of(&file).iter().map(|line| object(line)).collect();
    objects.sort_by_key(|object| object["path"].as_str().unwrap().to_owned());
    let endings: Vec<_> = objects.iter().map(ending).collect();
    let stopped = |status| (status, "KL".to_owned(), json!("stopped"));
    assert_eq!(endings, [stopped(Value::Null), stopped(json!(101))], "{objects:#?}");
    assert_eq!(fields(&objects[1], ["bytes_in", "bytes_out"]), [json!(3), json!(8)]);
}

#[test]
fn under_all_faults_at_once_lines_are_as_many_as_requests_and_agree_with_the_metrics() {
    let fine = Backend::http(answers::text("fine"));
    let dead = Backend::absent(answers::text("never"));
    let cuts =
        Backend::http(answers::fixed_and_close("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc"));
    let resets = Backend::http(answers::by(|_, _| Ok(Then::Reset)));
    let mut text = logging(
        &[&fine, &dead, &cuts, &resets],
        "policy = \"round_robin\"\n",
        "format = \"json\"\nto = \"{dir}/access.log\"",
    );
    text = text.replace("pool = \"app\"\n", "pool = \"app\"\n[[route]]\npath = \"/none\"\npool = \"none\"\n")
        + "[pool.none]\n[[pool.none.backend]]\nname = \"x\"\naddress = \"127.0.0.1:1\"\n";
    let weir = Weir::start(&text.replace("cores = 1\n", "cores = \"0,0\"\n"));
    drain(&weir, "none");
    let requests = [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        "GET /none HTTP/1.1\r\nHost: h\r\n\r\n",
        "BAD\r\n\r\n",
    ];
    let mut sent = 0;
    for round in 0..400 {
        let mut client = weir.client();
        client.send(requests[round % requests.len()]);
        sent += 1;
        if round % 3 == 0 {
            // Some do not wait for the answer.
            client.wire.reset();
        } else {
            // Some of them break off.
            let _ = client.wire.response("GET");
        }
    }
    let settled = || {
        let counted = weir.metric("weir_requests_total", &[]) + weir.metric("weir_refusals_total", &[]);
        counted >= f64::from(sent)
    };
    wait_until("all have ended", settled);
    let objects = objects(&weir, sent as usize);
    let of = |test: &dyn Fn(&Value) -> bool| objects.iter().filter(|object| test(object)).count() as f64;
    // What a backend answered, whole or not, has its status; so has what weir answered.
    assert_eq!(
        of(&|object| object["status"] == 200),
        weir.metric("weir_requests_total", &[("class", "2xx")])
    );
    for status in [400, 502, 503] {
        let refused = weir.metric("weir_refusals_total", &[("status", &status.to_string())]);
        assert_eq!(of(&|object| object["status"] == status), refused, "{status}");
    }
    // The metrics also count clients that were lost once they had an answer, which they counted before.
    let lost = of(&|object| object["status"].is_null());
    assert!(lost <= weir.metric("weir_refusals_total", &[("status", "none")]));
    let answered = of(&|object| !object["status"].is_null());
    assert_eq!(answered + lost, f64::from(sent));
    let lines_total = weir.metric("weir_access_log_lines_total", &[]);
    assert_eq!((lines_total, weir.metric("weir_access_log_dropped_total", &[])), (f64::from(sent), 0.0));
}
