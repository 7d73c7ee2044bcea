//! `weir explain` from its arguments to its exit code; and that the words which weir gives out can be looked up.

use crate::harness::{Backend, Program, Weir, answers, one_pool};
use std::process::Command;
use std::time::Duration;

/// The exit code, stdout and stderr of `weir explain` with these arguments.
fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("explain").args(arguments);
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(10));
    (status.code(), out, log)
}

#[test]
fn without_a_word_all_are_listed_and_each_of_them_is_explained() {
    let (code, out, log) = explain(&[]);
    assert_eq!((code, log.as_str()), (Some(0), ""));
    let words: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(words.len() > 40, "{words:?}");
    for word in ["502", "no_backend", "connect_timeout", "ejected", "shutting_down", "exit"] {
        assert!(words.contains(&word), "{word} is not in\n{out}");
    }
    for word in words {
        let arguments: &[&str] = if word == "--" { &["--", "--"] } else { &[word] };
        let (code, out, log) = explain(arguments);
        assert_eq!((code, log.as_str()), (Some(0), ""), "{word}");
        assert!(out.starts_with(word) && out.lines().count() > 3, "{word}: {out}");
        assert!(out.lines().all(|line| line.chars().count() <= 80), "{word}: {out}");
    }
}

#[test]
fn a_502_leads_with_its_causes_in_order_and_the_commands_that_tell_them_apart() {
    let (code, out, _) = explain(&["502"]);
    assert_eq!(code, Some(0));
    let place = |part: &str| out.find(part).unwrap_or_else(|| panic!("{part} is not in\n{out}"));
    assert!(
        place("1. connect") < place("2. no_response") && place("2. no_response") < place("Where to look")
    );
    for command in ["weir_upstream_failures_total", "weir ctl backends", "curl -v http://"] {
        assert!(place(command) > place("Where to look"));
    }
}

#[test]
fn a_word_that_weir_does_not_say_is_wrong_and_comes_with_the_nearest() {
    let (code, out, log) = explain(&["no_bakend"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(log, "weir: weir does not say \"no_bakend\"; did you mean no_backend?\n");
    let (code, _, log) = explain(&["quite_another"]);
    assert_eq!(code, Some(2));
    assert!(log.contains("`weir explain` alone lists all words"), "{log}");
    assert_eq!(explain(&["502", "503"]).0, Some(2), "one at a time");
}

#[test]
fn what_a_client_is_told_can_be_looked_up_as_it_stands() {
    let absent = Backend::absent(answers::text("ok"));
    let weir = Weir::start(&one_pool(&[&absent], "", ""));
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
    ] {
        let response = weir.client().ask(request);
        let text = response.text();
        let word = text.trim_end().rsplit_once('(').unwrap().1.trim_end_matches(')');
        let status = response.field("Proxy-Status").unwrap();
        assert!(status.ends_with(&format!("; details=\"{word}\"")), "{status}");
        for word in [word, &response.status.to_string()] {
            let (code, out, log) = explain(&[word]);
            assert_eq!((code, log.as_str()), (Some(0), ""), "{word}: {out}");
        }
    }
}
