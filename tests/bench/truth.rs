//! What the figures must show: stalls of the target, its rate, and what is the generator's own doing.

use crate::harness::{Backend, Handler, Program, answers, wait_until, wait_up_to};
use crate::hgrm::Hgrm;
use crate::{Folder, against, command, number};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Answers at once, but for one second in which nobody is answered: that begins with the request of this number.
fn stalling(number: usize) -> Handler {
    let answered = Arc::new(Mutex::new(0));
    let at_once = answers::text("ok");
    answers::by(move |received, wire| {
        {
            // Held while it sleeps, so that all connections wait.
            let mut answered = answered.lock().unwrap();
            *answered += 1;
            if *answered == number {
                sleep(Duration::from_secs(1));
            }
        }
        at_once(received, wire)
    })
}

#[test]
fn a_stall_shows_for_every_request_that_became_due_meanwhile_not_only_for_the_one_that_met_it() {
    let backend = Backend::http(stalling(100));
    let folder = Folder::new();
    let out = folder.path();
    let ended = against(&backend, &format!("--rate 100 --duration 3s --connections 1 --json --out {out}"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (corrected, sent) = (Hgrm::read(&folder.read("a.hgrm")), Hgrm::read(&folder.read("a-sent.hgrm")));
    assert_eq!((corrected.total, sent.total), (300, 300));
    // Of the 100 that were due in that second, 90 waited for more than a tenth of it.
    let (least, _) = corrected.over(100.0);
    assert!(least >= 80, "{least} of 300 over 100 ms: {corrected:?}");
    assert!(corrected.over(500.0).0 >= 40, "{corrected:?}");
    // One connection that waits for its answer sends nothing meanwhile, and so meets it once.
    let (_, most) = sent.over(100.0);
    assert!(most >= 1 && most * 2 <= least, "{most} of 300 over 100 ms: {sent:?}");
    assert!(corrected.max_ms >= 950.0 && sent.max_ms >= 950.0, "{corrected:?}, {sent:?}");
    assert!(number(&ended.figures(), "/queued") >= 80, "{ended:?}");
    assert!(corrected.mean_ms > 3.0 * sent.mean_ms, "{corrected:?}, {sent:?}");

    backend.answer_by(stalling(100));
    let ended = against(&backend, "--rate 100 --duration 3s --connections 1");
    assert!(ended.out.contains("found all 1 connections busy"), "{}", ended.out);
}

#[test]
fn with_connections_to_spare_a_stall_shows_all_the_same() {
    let backend = Backend::http(stalling(100));
    let folder = Folder::new();
    let out = folder.path();
    let ended = against(&backend, &format!("--rate 100 --duration 3s --connections 200 --json --out {out}"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let corrected = Hgrm::read(&folder.read("a.hgrm"));
    let (least, _) = corrected.over(100.0);
    assert!(corrected.total == 300 && least >= 80, "{least} of 300 over 100 ms: {corrected:?}");
}

#[test]
fn as_many_requests_are_sent_as_asked_for_and_as_many_a_second() {
    let backend = Backend::http(answers::text("hello"));
    let ended = against(&backend, "--rate 400 --duration 2s --threads 2 --connections 5 --json");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let figures = ended.figures();
    assert_eq!((number(&figures, "/answers"), number(&figures, "/status/2xx")), (800, 800));
    assert_eq!((backend.requests(), number(&figures, "/body_bytes")), (800, 4_000));
    let rate = figures["answers_per_second"].as_f64().unwrap();
    // A machine that is too busy for it is said to be.
    let kept_up = figures["generator_kept_up"] == true;
    assert!(rate <= 401.0 && (rate >= 300.0 || !kept_up), "{rate} of 400 a second: {figures}");
    for distribution in ["from_due_us", "from_sent_us", "generator_late_us"] {
        assert_eq!(number(&figures, &format!("/{distribution}/count")), 800, "{distribution}");
        let at = |name: &str| number(&figures, &format!("/{distribution}/{name}"));
        assert!(at("min") <= at("p50") && at("p50") <= at("p99") && at("p99") <= at("max"), "{figures}");
    }
    assert!(number(&figures, "/from_due_us/p50") >= number(&figures, "/from_sent_us/p50"), "{figures}");
}

#[test]
fn the_warm_up_is_sent_and_not_counted() {
    let backend = Backend::http(answers::text("hello"));
    let ended = against(&backend, "--rate 100 --duration 1s --warmup 500ms --json");
    let figures = ended.figures();
    assert_eq!((number(&figures, "/answers"), backend.requests()), (100, 150), "{ended:?}");
}

#[test]
fn arrivals_by_chance_repeat_with_their_seed() {
    let backend = Backend::http(answers::text("ok"));
    let count = |seed: u32| {
        let ended = against(
            &backend,
            &format!("--rate 300 --duration 500ms --arrivals poisson --seed {seed} --json"),
        );
        assert_eq!(ended.page()["arrivals"], "poisson");
        number(&ended.figures(), "/answers")
    };
    let counts: Vec<u64> = (1..=3).map(count).collect();
    assert_eq!(counts[0], count(1));
    assert!(counts.iter().any(|count| *count != counts[0]), "three seeds, the same count: {counts:?}");
    // 150 with a standard deviation of 12.
    assert!(counts.iter().all(|count| (90..=210).contains(count)), "{counts:?}");
}

#[test]
fn a_target_slower_than_the_rate_gets_its_own_rate_and_ever_longer_latencies() {
    let backend = Backend::http(answers::delayed(Duration::from_millis(20), answers::text("slow")));
    // One connection and 20 ms for each: at most 50 a second.
    let ended = against(&backend, "--rate 200 --duration 1s --connections 1 --timeout 500ms --json");
    assert_eq!(ended.code, Some(1), "not all was answered: {ended:?}");
    let figures = ended.figures();
    assert_eq!(number(&figures, "/requests"), 200);
    assert!(number(&figures, "/errors/unanswered") >= 100, "{figures}");
    assert!(figures["answers_per_second"].as_f64().unwrap() <= 51.0, "{figures}");
    // Who was still waiting at the end counts with that wait.
    assert_eq!(number(&figures, "/from_due_us/count"), 200);
    assert!(number(&figures, "/from_due_us/p75") > 500_000, "{figures}");
    assert!(figures["notes"].to_string().contains("connections busy"), "{figures}");
}

#[test]
fn a_generator_that_could_not_keep_up_says_that_the_figures_are_its_own() {
    let backend = Backend::http(answers::text("ok"));
    let arguments =
        format!("--target http://{}/ --warmup 0s --rate 100 --duration 2s --json", backend.address());
    let mut program = Program::spawn(&mut command(&arguments));
    wait_until("it has begun", || backend.requests() >= 20);
    program.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    wait_until("it has been stopped for 700 ms", || stopped.elapsed() > Duration::from_millis(700));
    program.signal(Signal::SIGCONT);
    wait_up_to(Duration::from_secs(30), "it has told", || program.stdout().ends_with("}\n"));
    assert_eq!(program.wait_exit(Duration::from_secs(20)).code(), Some(0));
    let page: Value = serde_json::from_str(&program.stdout()).unwrap();
    let figures = &page["targets"][0];
    assert_eq!(figures["generator_kept_up"], false, "{figures}");
    assert!(figures["notes"].to_string().contains("could not keep up"), "{figures}");
    // The requests of that time are late, and none is lost.
    assert!(number(figures, "/generator_late_us/p90") > 300_000, "{figures}");
    assert_eq!(number(figures, "/answers"), 200);
}
