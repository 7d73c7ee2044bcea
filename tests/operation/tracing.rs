//! Traces at a collector: what is told of an exchange, as OpenTelemetry's own protocol buffers read it, and
//! that no collector, however it behaves, disturbs a request.

use crate::harness::{Backend, Handler, Program, Then, Weir, answers, one_pool, require, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Takes whatever it is told.
fn taking() -> Handler {
    answers::fixed("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
}

/// weir in front of `backends` that tells `collector` of this share of traces.
fn telling(collector: &Backend, sample: f64, backends: &[&Backend], listener: &str) -> String {
    let config = one_pool(backends, listener, "");
    format!("{config}[tracing]\notlp = \"http://{}\"\nsample = {sample:.1}\n", collector.address())
}

/// Spans that a collector has been told of, with repetitions.
fn told(collector: &Backend) -> usize {
    let spans = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len()
    };
    collector.received().iter().map(|received| spans(&received.body.data)).sum()
}

fn dropped(weir: &Weir, cause: &str) -> f64 {
    weir.metric("weir_trace_spans_dropped_total", &[("cause", cause)])
}

fn exported(weir: &Weir) -> f64 {
    weir.metric("weir_trace_spans_exported_total", &[])
}

/// A Python that has OpenTelemetry's protocol buffers; `None`: there is none here.
fn python() -> Option<String> {
    let python = match std::env::var("WEIR_OTLP_PYTHON") {
        Ok(python) => python,
        // Where the gate puts it.
        Err(_) => match concat!(env!("CARGO_MANIFEST_DIR"), "/target/otlp/bin/python3") {
            python if std::path::Path::new(python).exists() => python.to_owned(),
            _ => require("python3")?.display().to_string(),
        },
    };
    let mut asked = Command::new(&python);
    asked.args(["-c", "import opentelemetry.proto.trace.v1.trace_pb2"]);
    let (status, _, why) = Program::run(&mut asked, Duration::from_secs(30));
    if !status.success() {
        assert!(std::env::var("WEIR_TESTS").as_deref() != Ok("all"), "no opentelemetry-proto: {why}");
        println!("skipped: {python} has no opentelemetry-proto (WEIR_OTLP_PYTHON names another Python)");
        return None;
    }
    Some(python)
}

/// What a real reader makes of all that a collector has been told.
fn judged(python: &str, collector: &Backend) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operation/otlp_judge.py");
    let file = std::env::temp_dir().join(format!("weir-otlp-{}-{}", std::process::id(), collector.port()));
    let mut bodies = std::fs::File::create(&file).unwrap();
    for received in collector.received() {
        bodies.write_all(&received.body.data).unwrap();
        bodies.write_all(b"\n").unwrap();
    }
    let mut judge = Command::new("sh");
    judge.arg("-c").arg("exec \"$0\" \"$1\" < \"$2\"").arg(python).arg(script).arg(&file);
    let (status, spans, why) = Program::run(&mut judge, Duration::from_secs(30));
    std::fs::remove_file(file).unwrap();
    assert!(status.success(), "{why}");
    spans.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn opentelemetrys_own_reader_finds_what_was_exchanged() {
    let Some(python) = python() else { return };
    let collector = Backend::http(taking());
    let backend = Backend::http(answers::by(|received, wire| {
        let status = if received.line().contains("missing") { "404 Not Found" } else { "200 OK" };
        wire.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok"))?;
        Ok(Then::KeepAlive)
    }));
    let absent = Backend::absent(answers::text("never"));
    let listener = "trusted_proxies = [\"127.0.0.1\"]\nrequest_id = \"X-Request-Id\"";
    let config = telling(&collector, 1.0, &[&backend], listener);
    let weir = Weir::start(&format!(
        "{config}[[route]]\npath = \"/gone\"\npool = \"gone\"\n[[pool.gone.backend]]\naddress = \"{}\"\n",
        absent.address()
    ));
    let mut client = weir.client();
    let before = nanos();
    client.ask(format!(
        "GET /a/b?secret=1 HTTP/1.1\r\nHost: example.org:8080\r\nUser-Agent: me\r\nX-Forwarded-For: 192.0.2.9\r\n\
         X-Request-Id: abc\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n"
    ));
    let parent = backend.last().fields.get("traceparent").unwrap().to_owned();
    client.get("/missing");
    assert_eq!(client.get("/gone/x").status, 502);
    client.ask(format!("GET / HTTP/1.1\r\nHost: h\r\ntraceparent: 00-{TRACE}-{SPAN}-00\r\n\r\n"));
    wait_until("the collector is told", || told(&collector) == 3);
    let after = nanos();
    let spans = judged(&python, &collector);
    let find = |path: &str| {
        let is_it = |span: &&Value| span["attributes"]["url.path"] == path;
        spans.iter().find(is_it).unwrap_or_else(|| panic!("no {path} in {spans:#?}"))
    };
    for span in &spans {
        assert_eq!((&span["kind"], &span["name"]), (&"SPAN_KIND_SERVER".into(), &"GET".into()), "{span}");
        let (start, end) = (span["start"].as_u64().unwrap(), span["end"].as_u64().unwrap());
        assert!(
            before - 5_000_000 <= start && start <= end && end <= after + 5_000_000,
            "{before} {span} {after}"
        );
        assert_eq!(span["resource"]["service.name"], "weir");
        assert_eq!(span["resource"]["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(!span["resource"]["service.instance.id"].as_str().unwrap().is_empty());
        assert!(!span["resource"]["host.name"].as_str().unwrap().is_empty());
    }
    let good = find("/a/b");
    assert_eq!((&good["trace"], &good["parent"]), (&TRACE.into(), &SPAN.into()));
    assert_eq!(parent, format!("00-{TRACE}-{}-01", good["span"].as_str().unwrap()), "the backend's parent");
    assert_eq!(good["status"], "STATUS_CODE_UNSET");
    for (key, value) in [
        ("http.request.method", Value::from("GET")),
        ("http.response.status_code", 200.into()),
        ("url.scheme", "http".into()),
        ("server.address", "example.org".into()),
        ("server.port", 8080.into()),
        ("client.address", "192.0.2.9".into()),
        ("user_agent.original", "me".into()),
        ("network.protocol.version", "1.1".into()),
        ("weir.listener", "web".into()),
        ("weir.pool", "app".into()),
        ("weir.backend", "0".into()),
        ("weir.request_id", "abc".into()),
        ("weir.termination", "--".into()),
        ("weir.retries", 0.into()),
    ] {
        assert_eq!(good["attributes"][key], value, "{key}");
    }
    for key in ["weir.connect_us", "weir.first_byte_us"] {
        assert!(good["attributes"][key].is_u64(), "{key} in {good}");
    }
    assert!(!good.to_string().contains("secret"));
    let missing = find("/missing");
    assert_eq!((&missing["status"], &missing["parent"]), (&"STATUS_CODE_UNSET".into(), &"".into()));
    assert_eq!(
        (&missing["attributes"]["http.response.status_code"], missing["attributes"].get("error.type")),
        (&404.into(), None)
    );
    let gone = find("/gone/x");
    assert_eq!(
        (&gone["status"], &gone["attributes"]["error.type"]),
        (&"STATUS_CODE_ERROR".into(), &"connect".into())
    );
    assert_eq!(gone["attributes"]["weir.termination"], "SC");
    let request = collector.last();
    assert_eq!(request.line(), "POST /v1/traces HTTP/1.1");
    assert_eq!(request.fields.get("Content-Type"), Some("application/json"));
    wait_until("they are counted", || exported(&weir) == 3.0);
}

fn nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn the_access_log_has_the_ids_of_what_is_told_and_no_line_for_what_is_only_told() {
    let (collector, backend) = (Backend::http(taking()), Backend::http(answers::text("ok")));
    let listener = "trusted_proxies = [\"127.0.0.1\"]\nrequest_id = \"X-Request-Id\"";
    for (sample, lines) in [("1.0", 2), ("0.0", 1)] {
        let log =
            format!("[access_log]\nformat = \"json\"\nto = \"{{dir}}/access.log\"\nsample = {sample}\n");
        let weir = Weir::start(&format!("{}{log}", telling(&collector, 1.0, &[&backend], listener)));
        let before = told(&collector);
        let mut client = weir.client();
        let answer = client.get("/");
        let sent = backend.last().fields.get("traceparent").unwrap().to_owned();
        let id = answer.field("X-Request-Id").unwrap().to_owned();
        // One that fails always has a line, and no span: it is no request.
        weir.client().ask("nonsense\r\n\r\n");
        wait_until("it is told", || told(&collector) == before + 1);
        let read = || std::fs::read_to_string(weir.dir().join("access.log")).unwrap_or_default();
        wait_until("the lines are there", || read().lines().count() >= lines);
        let objects: Vec<Value> = read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), lines, "{objects:#?}");
        let refused = objects.last().unwrap();
        assert_eq!((&refused["status"], &refused["trace_id"]), (&400.into(), &Value::Null));
        assert!(refused["request_id"].is_string());
        if lines == 2 {
            let parts: Vec<&str> = sent.split('-').collect();
            let [trace, span] = ["trace_id", "span_id"].map(|key| objects[0][key].as_str().unwrap());
            assert_eq!((trace, span), (parts[1], parts[2]));
            assert_eq!(objects[0]["request_id"], id.as_str());
        }
    }
}

#[test]
fn a_share_is_told_and_a_trace_that_is_not_sampled_never() {
    let (collector, backend) = (Backend::http(taking()), Backend::http(answers::text("ok")));
    let weir = Weir::start(&telling(&collector, 0.5, &[&backend], ""));
    let mut client = weir.client();
    let mut sampled = 0;
    for _ in 0..100 {
        client.get("/");
        sampled += usize::from(backend.last().fields.get("traceparent").unwrap().ends_with("-01"));
    }
    assert!((20..=80).contains(&sampled), "{sampled}");
    wait_until("all of them are told", || told(&collector) == sampled);
    wait_until("and counted", || exported(&weir) == sampled as f64);
}

#[test]
fn a_collector_that_comes_late_is_told_and_requests_do_not_wait_for_it() {
    let mut collector = Backend::absent(taking());
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&telling(&collector, 1.0, &[&backend], ""));
    let mut client = weir.client();
    (0..50).for_each(|_| assert_eq!(client.get("/").status, 200));
    wait_until("the log says so", || weir.stderr().contains("traces do not reach the collector"));
    collector.revive();
    wait_until("the collector is told", || told(&collector) == 50);
    wait_until("the log says that too", || weir.stderr().contains("traces reach the collector again"));
    let lines = weir.stderr().matches("do not reach the collector").count();
    assert_eq!((lines, exported(&weir), dropped(&weir, "unreachable")), (1, 50.0, 0.0));
}

#[test]
fn a_collector_that_has_too_much_is_asked_again_when_it_says() {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let noted = tries.clone();
    let collector = Backend::http(answers::by(move |_, wire| {
        let before = {
            let mut tries = noted.lock().unwrap();
            tries.push(Instant::now());
            tries.len() - 1
        };
        let answer = match before {
            0 => "HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
            1 => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        };
        wire.send(answer)?;
        Ok(Then::Close)
    }));
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&telling(&collector, 1.0, &[&backend], ""));
    weir.client().get("/");
    wait_until("it has taken it", || exported(&weir) == 1.0);
    let apart = {
        let tries = tries.lock().unwrap();
        tries[1] - tries[0]
    };
    assert!(apart >= Duration::from_millis(1_950), "{apart:?}");
    let bodies: Vec<_> = collector.received().into_iter().map(|received| received.body.data).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "it is the same each time");
}

#[test]
fn what_a_collector_refuses_is_dropped_and_counted_and_what_it_takes_in_part_is_counted_in_part() {
    let backend = Backend::http(answers::text("ok"));
    let partly = "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"too old\"}}";
    let partly = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{partly}", partly.len());
    for (answer, taken, refused, says) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned(), 0.0, 5.0, "400 Bad Request"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), 5.0, 0.0, ""),
        (partly, 3.0, 2.0, "too old"),
    ] {
        let collector = Backend::http(answers::fixed(answer));
        let weir = Weir::start(&telling(&collector, 1.0, &[&backend], ""));
        let mut client = weir.client();
        (0..5).for_each(|_| drop(client.get("/")));
        wait_until("all are counted", || exported(&weir) + dropped(&weir, "refused") == 5.0);
        assert_eq!((exported(&weir), dropped(&weir, "refused")), (taken, refused));
        assert_eq!(collector.requests(), 1, "it is not asked twice");
        assert!(weir.stderr().contains(says), "{}", weir.stderr());
    }
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_neither_requests_nor_memory() {
    let collector = Backend::raw(|wire, _| {
        let _silent = wire;
        std::thread::sleep(Duration::from_secs(60));
    });
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&telling(&collector, 1.0, &[&backend], ""));
    let mut client = weir.client();
    let long = "a".repeat(1_900);
    let request = format!("GET /{long} HTTP/1.1\r\nHost: h\r\nUser-Agent: {long}\r\n\r\n");
    let mut ask = |count: usize| (0..count).for_each(|_| assert_eq!(client.ask(&request).status, 200));
    ask(100);
    let before = weir.resident();
    for _ in 0..16 {
        ask(1_000);
        backend.forget();
    }
    wait_until("some are dropped", || dropped(&weir, "queue_full") > 0.0);
    let grown = weir.resident().saturating_sub(before);
    println!("{grown} bytes more");
    // All of them would be more than 60 MiB.
    assert!(grown < 40 << 20, "{grown} bytes more");
    assert_eq!(exported(&weir), 0.0);
}

#[test]
fn another_collector_holds_at_once_and_none_ends_it() {
    let (one, two) = (Backend::http(taking()), Backend::http(taking()));
    let backend = Backend::http(answers::text("ok"));
    let mut weir = Weir::start(&telling(&one, 1.0, &[&backend], ""));
    let mut client = weir.client();
    let mut loads = 0.0;
    let mut load = |weir: &mut Weir, config: &str| {
        loads += 1.0;
        weir.rewrite(config);
        weir.signal(Signal::SIGHUP);
        weir.wait_metric("weir_config_reloads_total", &[("result", "succeeded")], loads);
    };
    client.get("/");
    wait_until("the first is told", || told(&one) == 1);
    load(&mut weir, &telling(&two, 1.0, &[&backend], ""));
    client.get("/");
    wait_until("the second is told", || told(&two) == 1);
    load(&mut weir, &one_pool(&[&backend], "", ""));
    client.get("/");
    assert!(backend.last().fields.get("traceparent").is_none());
    load(&mut weir, &telling(&one, 1.0, &[&backend], ""));
    client.get("/");
    wait_until("the first is told again", || told(&one) == 2);
    assert_eq!((told(&two), exported(&weir)), (1, 3.0));
}

#[test]
fn what_has_not_been_told_yet_is_told_at_the_end() {
    let (collector, backend) = (Backend::http(taking()), Backend::http(answers::text("ok")));
    let mut weir = Weir::start(&telling(&collector, 1.0, &[&backend], ""));
    let mut client = weir.client();
    (0..20).for_each(|_| drop(client.get("/")));
    drop(client);
    weir.signal(Signal::SIGTERM);
    assert!(weir.wait_exit(Duration::from_secs(20)).success());
    assert_eq!(told(&collector), 20);
}
