//! What goes wrong, by kind; and targets that are not there.

use crate::harness::{Backend, Handler, Program, Then, answers, free_port, wait_until};
use crate::{Ended, against, command, number, run};
use nix::sys::signal::Signal;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

/// Fifty requests in half a second, and how they ended.
fn fifty(handler: Handler, arguments: &str) -> Ended {
    let backend = Backend::http(handler);
    let arguments = format!("--rate 100 --duration 500ms --json {arguments}");
    let ended = against(&backend, &arguments);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let figures = ended.figures();
    assert_eq!(number(&figures, "/requests"), 50, "{figures}");
    assert!(figures["notes"].to_string().contains("this run had errors"), "{figures}");
    ended
}

#[test]
fn each_kind_of_failure_is_counted_as_what_it_is() {
    let reset = answers::by(|_, _| Ok(Then::Reset));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    for (kind, handler) in [
        ("reset", reset),
        ("closed", answers::fixed_and_close("")),
        ("cut", answers::fixed_and_close(cut)),
        ("not_http", answers::fixed_and_close("SSH-2.0-OpenSSH_9.2\r\n")),
        ("not_http", answers::fixed_and_close("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n")),
    ] {
        // Longer than a busy machine makes any of them.
        let figures = fifty(handler, "--timeout 20s").figures();
        let errors = figures["errors"].as_object().unwrap();
        let others: u64 =
            errors.iter().filter(|(name, _)| *name != kind).map(|(_, n)| n.as_u64().unwrap()).sum();
        assert_eq!((number(&figures, &format!("/errors/{kind}")), others), (50, 0), "{kind}: {figures}");
        // What failed at once must not make the target look fast.
        assert_eq!(number(&figures, "/from_due_us/count"), 0, "{kind}: {figures}");
    }
}

#[test]
fn whoever_does_not_answer_in_time_counts_with_the_time_that_was_waited() {
    let silent = answers::delayed(Duration::from_secs(2), answers::text("late"));
    let figures = fifty(silent, "--connections 50 --timeout 400ms").figures();
    let (late, left) = (number(&figures, "/errors/timeout"), number(&figures, "/errors/unanswered"));
    assert!(late + left == 50 && late >= 40, "{figures}");
    assert_eq!(number(&figures, "/from_due_us/count"), 50, "{figures}");
    assert!(number(&figures, "/from_due_us/p50") >= 400_000, "{figures}");
}

#[test]
fn answers_are_counted_by_class_and_errors_among_them_make_it_exit_with_1() {
    let backend = Backend::http(answers::fixed("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"));
    let ended = against(&backend, "--rate 100 --duration 500ms");
    assert_eq!((ended.code, ended.log.as_str()), (Some(1), ""), "{ended:?}");
    for part in ["50 of 50 requests: 5xx 50", "Errors    none", "50 answered with a status from 400 up"] {
        assert!(ended.out.replace("\n      ", " ").contains(part), "{part:?} is not in\n{}", ended.out);
    }
    backend.answer_by(answers::fixed("HTTP/1.1 304 Same\r\n\r\n"));
    let ended = against(&backend, "--rate 100 --duration 500ms");
    assert!(ended.code == Some(0) && ended.out.contains("3xx 50"), "{ended:?}");
}

#[test]
fn a_target_that_goes_away_meanwhile_is_told_with_the_systems_words() {
    let mut backend = Backend::http(answers::text("ok"));
    let arguments = format!("--target http://{}/ --rate 100 --duration 2s", backend.address());
    let mut program = Program::spawn(&mut command(&arguments));
    wait_until("it has begun", || backend.requests() >= 20);
    backend.stop();
    assert_eq!(program.wait_exit(Duration::from_secs(30)).code(), Some(1));
    wait_until("it has told", || program.stdout().contains("Note:"));
    let text = program.stdout();
    assert!(text.contains("connect ") && text.contains("no connection could be made (first: "), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
}

#[test]
fn a_connection_that_the_target_ends_after_each_answer_is_no_error() {
    let backend = Backend::http(answers::closing(answers::text("ok")));
    let ended = against(&backend, "--rate 100 --duration 500ms --connections 4 --json");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(backend.requests() == 50 && backend.connections() >= 50, "{ended:?}");
    let polite = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    backend.answer_by(answers::fixed_and_close(polite));
    let ended = against(&backend, "--rate 100 --duration 500ms --connections 4 --json");
    assert_eq!((ended.code, backend.requests()), (Some(0), 100), "{ended:?}");
}

#[test]
fn a_target_that_is_not_there_is_told_at_once_with_what_to_look_at() {
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let ended = run(&format!("--target {nobody} --rate 100 --duration 1h"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    for part in ["weir: http://127.0.0.1", "takes no connection", "refused", "see that it runs"] {
        assert!(ended.log.contains(part), "{part:?} is not in {}", ended.log);
    }
    let ended = run("--target http://nowhere.invalid/ --rate 100 --duration 1h");
    assert!(
        ended.code == Some(1) && ended.log.contains("no address is known for nowhere.invalid"),
        "{ended:?}"
    );
    // The second one too, before anything is measured.
    let backend = Backend::http(answers::text("ok"));
    let ended = against(&backend, &format!("--rate 100 --duration 1h --against {nobody}"));
    assert!(ended.code == Some(1) && ended.log.contains(&nobody), "{ended:?}");
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_target_that_accepts_and_is_silent_does_not_keep_it_beyond_the_second_signal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut program = Program::spawn(&mut command(&format!(
        "--target http://{address}/ --rate 50 --duration 1h --timeout 1h"
    )));
    // The first connection only finds the target.
    let mut held: Vec<_> = (0..2).map(|_| listener.accept().unwrap().0).collect();
    held.iter_mut().for_each(|stream| stream.flush().unwrap());
    wait_until("it listens to signals", || catches(program.pid(), Signal::SIGINT));
    program.signal(Signal::SIGINT);
    program.signal(Signal::SIGINT);
    program.wait_exit(Duration::from_secs(20));
}

/// Whether the process has a handler for this signal.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (signal as i32 - 1) != 0
}
