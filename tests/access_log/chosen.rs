//! Which exchanges get a line: a share, all that fail, all that are slow; and a reload that changes it.

use crate::harness::{Backend, Weir, answers, wait_until};
use crate::{lines, lines_of, logging, objects};
use nix::sys::signal::Signal;
use std::time::Duration;

/// Keys of a log of nothing but this.
fn keys(more: &str) -> String {
    format!("format = \"json\"\nto = \"{{dir}}/access.log\"\n{more}")
}

/// Answers `/500` with that status, `/slow` late, all else at once.
fn backend() -> Backend {
    Backend::http(answers::by(|received, wire| {
        let line = received.line();
        if line.contains("/500") {
            return answers::fixed("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")(received, wire);
        }
        if line.contains("/slow") {
            std::thread::sleep(Duration::from_millis(1_200));
        }
        answers::text("ok")(received, wire)
    }))
}

#[test]
fn with_a_sample_of_nothing_what_failed_or_was_slow_still_has_its_line() {
    let backend = backend();
    let weir = Weir::start(&logging(&[&backend], "", &keys("sample = 0.0\nslow = \"1s\"")));
    let mut client = weir.client();
    (0..50).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(client.get("/500").status, 500);
    assert_eq!(client.get("/slow").status, 200);
    assert_eq!(client.ask("BAD\r\n\r\n").status, 400);
    let paths: Vec<_> = objects(&weir, 3).iter().map(|object| object["path"].clone()).collect();
    assert_eq!(paths, ["/500", "/slow", "BAD"]);
}

#[test]
fn a_sample_is_about_its_share() {
    let backend = backend();
    let weir = Weir::start(&logging(&[&backend], "", &keys("sample = 0.25")));
    let mut client = weir.client();
    (0..2_000).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(client.get("/500").status, 500);
    let file = weir.dir().join("access.log");
    wait_until("the last line is there", || lines_of(&file).iter().any(|line| line.contains("/500")));
    // Fifty times the standard deviation of 19 either way would be chance; ten are.
    let count = lines_of(&file).len();
    assert!((310..690).contains(&count), "{count} lines of 2000");
}

#[test]
fn a_reload_changes_format_place_and_sample_and_one_that_cannot_be_opened_changes_nothing() {
    let backend = backend();
    let text = |keys: &str| logging(&[&backend], "", keys);
    let mut weir = Weir::start(&text("format = \"off\""));
    let mut client = weir.client();
    let mut loaded = 0;
    let mut reload = |weir: &mut Weir, keys: &str| {
        weir.rewrite(&text(keys));
        weir.signal(Signal::SIGHUP);
        loaded += 1;
        let said = |weir: &Weir| weir.stderr().matches("configuration loaded").count();
        wait_until("it is loaded", || said(weir) == loaded);
    };
    client.get("/off");
    reload(&mut weir, &keys(""));
    client.get("/json");
    assert!(lines(&weir, 1)[0].contains("\"path\":\"/json\""));
    reload(&mut weir, "format = \"$path $status\"\nto = \"{dir}/access.log\"");
    client.get("/string");
    assert_eq!(lines(&weir, 2)[1], "/string 200");
    reload(&mut weir, "format = \"$path\"\nto = \"{dir}/other.log\"");
    client.get("/other");
    let other = weir.dir().join("other.log");
    wait_until("the other file has it", || lines_of(&other) == ["/other"]);
    // The folder is not there: what holds goes on.
    weir.rewrite(&text("format = \"common\"\nto = \"{dir}/none/access.log\""));
    weir.signal(Signal::SIGHUP);
    wait_until("it is refused", || weir.stderr().contains("configuration not loaded"));
    let said = weir.stderr();
    assert!(said.contains("access_log.to: ") && said.contains("/none/access.log cannot be opened"), "{said}");
    assert!(said.contains("install -d"), "{said}");
    client.get("/on");
    wait_until("it goes on", || lines_of(&other) == ["/other", "/on"]);
    reload(&mut weir, "format = \"$path\"\nto = \"{dir}/other.log\"\nsample = 0.0");
    client.get("/unsampled");
    client.get("/500");
    wait_until("errors are there", || lines_of(&other).len() == 3);
    assert_eq!(lines_of(&other), ["/other", "/on", "/500"]);
    reload(&mut weir, "format = \"off\"");
    client.get("/500");
    assert_eq!((lines(&weir, 2).len(), lines_of(&other).len()), (2, 3));
}
