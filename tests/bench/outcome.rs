//! What is sent as asked for, what is written where, two targets, progress, an early end; and what is refused.

use crate::harness::{Backend, Handler, Program, answers, require, wait_until, wait_up_to};
use crate::hgrm::Hgrm;
use crate::{Folder, against, command, number, run};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn the_request_is_the_one_that_was_asked_for() {
    let backend = Backend::http(answers::echo());
    let plain = format!("http://{}/a/b?c=d", backend.address());
    let load = "--rate 50 --duration 100ms --warmup 0s";
    assert_eq!(run(&format!("--target {plain} {load}")).code, Some(0));
    let last = backend.last();
    assert_eq!((last.line().as_str(), last.body.data.len()), ("GET /a/b?c=d HTTP/1.1", 0));
    assert_eq!(last.fields.get("Host"), Some(backend.address().as_str()));
    assert!(last.fields.get("User-Agent").unwrap().starts_with("weir-bench/"), "{}", last.text());

    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("body"), "0123456789").unwrap();
    let body =
        format!("--body {}/body --header Host:example.org --header X-A:1 --header X-A:2", folder.path());
    for (more, method) in [("", "POST"), ("--method PUT", "PUT")] {
        assert_eq!(run(&format!("--target {plain} {load} {body} {more}")).code, Some(0));
        let last = backend.last();
        assert_eq!((last.method().as_str(), &last.body.data[..]), (method, &b"0123456789"[..]));
        assert_eq!(last.fields.all("Host").collect::<Vec<_>>(), ["example.org"]);
        assert_eq!(last.fields.all("X-A").collect::<Vec<_>>(), ["1", "2"]);
    }
}

#[test]
fn the_table_and_the_files_say_the_same_and_the_picture_is_xml() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(5), answers::text("ok")));
    let folder = Folder::new();
    let ended = against(&backend, &format!("--rate 200 --duration 1s --out {}", folder.path()));
    assert_eq!((ended.code, ended.log.as_str()), (Some(0), ""), "{ended:?}");
    for part in [
        "200 requests/s, evenly spaced, for 1s",
        "200 of 200 requests: 2xx 200",
        "LATENCY  FROM DUE  FROM SENT",
    ] {
        assert!(ended.out.contains(part), "{part:?} is not in\n{}", ended.out);
    }
    let corrected = Hgrm::read(&folder.read("a.hgrm"));
    assert!(corrected.total == 200 && corrected.rows[0].ms >= 5.0, "{corrected:?}");
    let max = ended.out.lines().find(|line| line.starts_with("max ")).unwrap();
    let shown: f64 = max.split_whitespace().nth(1).unwrap().parse().unwrap();
    // The table has three digits.
    let unit = if max.split_whitespace().nth(2) == Some("s") { 1_000.0 } else { 1.0 };
    assert!((shown * unit / corrected.max_ms - 1.0).abs() < 0.01, "{max}: {corrected:?}");

    let svg = folder.read("latency.svg");
    assert!(
        svg.contains(&backend.address()) && svg.contains("from due") && svg.contains("from sent"),
        "{svg}"
    );
    if let Some(python) = require("python3") {
        let check = "import sys, xml.dom.minidom as m\n\
            d = m.parse(sys.argv[1]).documentElement\n\
            print(d.tagName, len(d.getElementsByTagName('script')), len(d.getElementsByTagName('title')))";
        let file = folder.0.join("latency.svg");
        let mut parse = Command::new(python);
        let (status, out, log) = Program::run(parse.arg("-c").arg(check).arg(file), Duration::from_secs(30));
        assert!(status.success() && out == "svg 0 1\n", "{out}{log}");
    }
}

/// Answers 200 and notes down who was asked, if that is somebody else than the one before.
fn noted(name: &'static str, order: &Arc<Mutex<String>>, handler: Handler) -> Handler {
    let order = order.clone();
    answers::by(move |received, wire| {
        let mut order = order.lock().unwrap();
        if !order.ends_with(name) {
            order.push_str(name);
        }
        drop(order);
        handler(received, wire)
    })
}

#[test]
fn two_targets_take_turns_and_the_slower_one_is_found() {
    let order = Arc::new(Mutex::new(String::new()));
    let fast = Backend::http(noted("A", &order, answers::text("a")));
    let late = answers::delayed(Duration::from_millis(60), answers::text("b"));
    let slow = Backend::http(noted("B", &order, late));
    let folder = Folder::new();
    let arguments =
        format!("--rate 100 --duration 2400ms --against http://{}/ --out {}", slow.address(), folder.path());
    let ended = against(&fast, &format!("{arguments} --json"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // A B, B A, A B, …: six of each.
    assert_eq!(*order.lock().unwrap(), "ABABABA");
    assert_eq!((fast.requests(), slow.requests()), (240, 240));
    let page = ended.page();
    for (target, file) in [("/targets/0", "a"), ("/targets/1", "b")] {
        assert_eq!(number(&page, &format!("{target}/answers")), 240);
        assert_eq!(page.pointer(&format!("{target}/rounds")).unwrap().as_array().unwrap().len(), 6);
        assert_eq!(Hgrm::read(&folder.read(&format!("{file}.hgrm"))).total, 240);
        let of_rounds: u64 =
            (1..=6).map(|round| Hgrm::read(&folder.read(&format!("{file}-{round}.hgrm"))).total).sum();
        assert_eq!(of_rounds, 240);
    }
    let median = &page["comparison"][0];
    assert_eq!(median["quantile"], "p50");
    assert!(number(median, "/b_us") >= 60_000 && median["ratio"].as_f64().unwrap() > 1.0, "{median}");
    // On a machine too busy to compare anything, that is what must be said.
    let told = median["verdict"] == "slower" || !page["doubts"].as_array().unwrap().is_empty();
    assert!(told || median["ratio_min"].as_f64().unwrap() <= 1.0, "{page:#}");
    assert!(folder.read("latency.svg").contains(&slow.address()));
}

#[test]
fn two_targets_stand_side_by_side_in_the_table() {
    let (one, two) = (Backend::http(answers::text("a")), Backend::http(answers::text("b")));
    let ended =
        against(&one, &format!("--rate 100 --duration 400ms --rounds 2 --against http://{}/", two.address()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        format!("A         http://{}/", one.address()),
        format!("B         http://{}/", two.address()),
        "OF ROUNDS".to_owned(),
        "cannot tell".to_owned(),
        "2 rounds are too few".to_owned(),
    ] {
        assert!(ended.out.contains(&part), "{part:?} is not in\n{}", ended.out);
    }
}

#[test]
fn an_early_end_comes_with_the_result_so_far() {
    let backend = Backend::http(answers::text("ok"));
    let arguments =
        format!("--target http://{}/ --warmup 0s --rate 100 --duration 1h --json", backend.address());
    let mut program = Program::spawn(&mut command(&arguments));
    wait_until("it has begun", || backend.requests() >= 30);
    program.signal(Signal::SIGINT);
    let code = program.wait_exit(Duration::from_secs(20)).code();
    wait_until("it has told", || {
        program.stderr().contains("ended early") && program.stdout().ends_with("}\n")
    });
    let page: Value = serde_json::from_str(&program.stdout()).unwrap();
    let answers = number(&page, "/targets/0/answers");
    assert!(code == Some(0) && page["interrupted"] == true, "{page}");
    assert!(answers >= 29 && answers == backend.requests() as u64, "{answers} of {}", backend.requests());
    let rate = page.pointer("/targets/0/answers_per_second").unwrap().as_f64().unwrap();
    assert!((1.0..=110.0).contains(&rate), "over the time until the end, not over the hour: {rate}");
}

#[test]
fn on_a_terminal_progress_is_one_line_that_is_rewritten_and_elsewhere_a_line_now_and_then() {
    let backend = Backend::http(answers::text("ok"));
    let arguments = format!("--target http://{}/ --warmup 0s --rate 100 --duration 6s", backend.address());
    let mut elsewhere = Program::spawn(&mut command(&arguments));
    if let Some(script) = require("script") {
        let weir = env!("CARGO_BIN_EXE_weir");
        let short = arguments.replace("6s", "2500ms");
        let mut terminal = Command::new(script);
        terminal.args(["-qec", &format!("{weir} bench {short}"), "/dev/null"]);
        let (_, out, _) = Program::run(&mut terminal, Duration::from_secs(30));
        let lines: Vec<&str> = out.matches("\r\u{1b}[2K").collect();
        assert!(lines.len() >= 3, "twice a line, and at the end none: {out:?}");
        assert!(out.contains(" answers/s  p50 ") && out.contains("  errors 0"), "{out:?}");
        assert!(out.contains("250 of 250 requests"), "{out:?}");
    }
    wait_up_to(Duration::from_secs(30), "a line is written", || elsewhere.stderr().contains('\n'));
    assert_eq!(elsewhere.wait_exit(Duration::from_secs(30)).code(), Some(0));
    let log = elsewhere.stderr();
    assert!(log.lines().count() == 1 && log.contains(" of 6 s  ") && !log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn what_cannot_be_is_refused_with_the_arguments_name_and_what_to_do() {
    let here = "--target http://127.0.0.1:1/ --rate 10";
    for (arguments, parts) in [
        ("--rate 10", &["--target"][..]),
        ("--target http://127.0.0.1:1/", &["--rate"]),
        ("--target https://127.0.0.1/ --rate 10", &["--target", "without TLS", "http://"]),
        ("--target 127.0.0.1:80 --rate 10", &["--target", "http://127.0.0.1:8080/path"]),
        ("--target http://127.0.0.1/ --rate fast", &["--rate", "2000/s or 10k"]),
        (&format!("{here} --duration 10"), &["--duration", "no unit", "\"10s\""]),
        (&format!("{here} --rounds 3"), &["--against"]),
        (&format!("{here} --against http://127.0.0.1:1/ --duration 1s --rounds 50"), &["--rounds 50", "5s"]),
        (&format!("{here} --connections 0"), &["--connections", "1.."]),
        (&format!("{here} --header nothing"), &["--header", "'Name: value'"]),
        (&format!("{here} --body /nonexistent"), &["--body /nonexistent", "name a file"]),
        (&format!("{here} --out /proc/nonexistent"), &["--out /proc/nonexistent", "name a folder"]),
        (&format!("{here} --timeout 0s"), &["--timeout", "1ms"]),
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments}: {ended:?}");
        for part in parts {
            assert!(ended.log.contains(part), "{arguments}: {part:?} is not in {}", ended.log);
        }
    }
}
