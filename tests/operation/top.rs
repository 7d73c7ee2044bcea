//! `weir top` as an operator has it: in a terminal, beside a weir under load.

use crate::harness::{Backend, Load, Program, Terminal, Weir, answers, free_port, one_pool, wait_until};
use crate::{backends, pool_of, state};
use nix::sys::signal::Signal;
use std::process::Command;
use std::time::Duration;

const WEIR: &str = env!("CARGO_BIN_EXE_weir");
const SIZE: (u16, u16) = (80, 24);

fn top(weir: &Weir, set: &[(&str, &str)]) -> Option<Terminal> {
    let admin = weir.address("admin").to_string();
    Terminal::spawn(WEIR, &["top", "--admin", &admin], set, SIZE)
}

/// `weir top` without a terminal; its exit code, stdout and stderr.
fn top_at(admin: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(WEIR);
    command.args(["top", "--admin", admin]).args(arguments).env_remove("WEIR_ADMIN");
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(60));
    (status.code(), out, log)
}

fn ok() -> Backend {
    Backend::http(answers::text("ok"))
}

/// The requests a second of the line of all pools.
fn rate(text: &str) -> f64 {
    let before = text.split_once(" req/s").map_or("", |(before, _)| before);
    before.lines().last().unwrap_or("").replace(',', "").parse().unwrap_or(0.0)
}

#[test]
fn it_draws_what_changes_under_load_and_gives_the_terminal_back() {
    let (one, two) = (ok(), ok());
    let weir = Weir::start(&pool_of("0,0", &[(&one, "weight = 7"), (&two, "backup = true")], ""));
    let Some(mut terminal) = top(&weir, &[]) else { return };
    terminal.wait_for(" live");
    terminal.wait_for("app  least_conn  2 of 2 usable");
    terminal.wait_for("── 0 of pool app");
    assert!(terminal.is_taken() && rate(&terminal.text()) == 0.0);
    let load = Load::get(weir.address("web"), 4, "/");
    terminal.wait_until("requests are seen", |text| rate(text) > 20.0);
    terminal.wait_until("their lengths are seen", |text| !text.contains("p99 -"));
    terminal.press("\t");
    terminal.wait_for("10 min ago");
    terminal.wait_until("the heat map has whole exchanges", |text| {
        text.contains("first byte") && text.contains('█') && text.contains('≤')
    });
    terminal.press("\t");
    terminal.wait_for("STALL P99");
    terminal.wait_until("both shards serve", |text| text.matches("serving").count() == 2);
    terminal.press("\t");
    terminal.wait_for("FROM → TO");
    terminal.press("1?");
    terminal.wait_for("made only after y");
    terminal.press("x");
    terminal.wait_until("the help is gone", |text| !text.contains("made only after y"));
    load.stop();
    terminal.wait_until("no requests are seen", |text| rate(text) == 0.0);
    terminal.press("q");
    assert_eq!(terminal.wait_exit().code(), Some(0));
    wait_until("the terminal is as it was", || terminal.is_usual());
}

#[test]
fn d_and_y_drain_who_is_selected_and_w_gives_it_another_weight() {
    let (one, two) = (ok(), ok());
    let weir = Weir::start(&one_pool(&[&one, &two], "", ""));
    let Some(mut terminal) = top(&weir, &[]) else { return };
    terminal.wait_for("── 0 of pool app");
    terminal.press("j");
    terminal.wait_for("── 1 of pool app");
    terminal.press("d");
    terminal.wait_for("nothing was done; it would come to this");
    terminal.press("n");
    terminal.wait_until("the question is gone", |text| !text.contains("sure?"));
    assert_eq!((state(&weir, 0), state(&weir, 1)), ("no_check".into(), "no_check".into()));
    terminal.press("d");
    terminal.wait_for("y: do it");
    terminal.press("y");
    terminal.wait_for("done: backend 1 of pool app is draining");
    assert_eq!((state(&weir, 0), state(&weir, 1)), ("no_check".into(), "draining".into()));
    terminal.wait_for("1 of 2 usable");
    terminal.press("w12\r");
    terminal.wait_for("y: do it");
    terminal.press("y");
    terminal.wait_for("done: backend 1 of pool app has weight 12");
    assert_eq!(backends(&weir)[1]["weight"], 12);
    for (key, expected) in [("m", "maintenance"), ("r", "no_check")] {
        terminal.press(key);
        terminal.wait_for("y: do it");
        terminal.press("y");
        terminal.wait_for("done: ");
        assert_eq!(state(&weir, 1), expected);
    }
    // With nobody to ask, what was asked for is not done, and that is said.
    weir.signal(Signal::SIGSTOP);
    terminal.press("d");
    terminal.wait_for("asking weir what it would come to");
    terminal.press("\x1b");
    terminal.wait_until("the question is gone", |text| !text.contains("asking"));
    terminal.wait_for(" s OLD");
    weir.signal(Signal::SIGCONT);
    terminal.wait_for(" live");
    assert_eq!(state(&weir, 1), "no_check");
}

#[test]
fn whatever_ends_it_the_terminal_is_given_back() {
    let backend = ok();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let Some(mut terminal) = top(&weir, &[]) else { return };
        terminal.wait_for("── 0 of pool app");
        assert!(terminal.is_taken());
        terminal.signal(signal);
        assert_eq!(terminal.wait_exit().code(), Some(0), "{signal}");
        wait_until("the terminal is as it was", || terminal.is_usual());
    }
    let Some(mut terminal) = top(&weir, &[]) else { return };
    terminal.wait_for("── 0 of pool app");
    // Ctrl-C, which is a key here.
    terminal.press("\x03");
    assert_eq!(terminal.wait_exit().code(), Some(0));
    wait_until("the terminal is as it was", || terminal.is_usual());
}

#[test]
fn it_finds_the_successor_and_a_weir_that_is_started_again() {
    let (one, two) = (ok(), ok());
    let mut old = Weir::start(&one_pool(&[&one], "", ""));
    let Some(mut terminal) = top(&old, &[]) else { return };
    terminal.wait_for("1 of 1 usable");
    let mut new = old.successor(&one_pool(&[&one, &two], "", ""));
    terminal.wait_for("2 of 2 usable");
    assert_eq!(old.wait_exit(Duration::from_secs(20)).code(), Some(0));
    terminal.wait_for(" live");

    let file = new.dir().join("weir.toml");
    new.signal(Signal::SIGKILL);
    new.wait_exit(Duration::from_secs(20));
    terminal.wait_for("NOT CONNECTED");
    terminal.wait_until("what is wrong is said, and that it goes on", |text| {
        text.contains("again in") && text.contains("cannot connect to weir's admin surface")
    });
    // What was known stays.
    assert!(terminal.text().contains("2 of 2 usable"));
    let again = Program::spawn(Command::new(WEIR).arg("run").arg("--config").arg(file));
    terminal.wait_for(" live");
    assert!(!terminal.text().contains("NOT CONNECTED"));
    terminal.press("q");
    assert_eq!(terminal.wait_exit().code(), Some(0));
    drop(again);
}

#[test]
fn another_size_brings_another_picture_and_no_colour_is_shown_to_who_wants_none() {
    let backend = ok();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let Some(terminal) = top(&weir, &[("NO_COLOR", "1")]) else { return };
    terminal.wait_for("── 0 of pool app");
    assert!(!terminal.text().contains("WEIGHT"));
    terminal.resize(130, 40);
    terminal.wait_for("WEIGHT");
    terminal.resize(30, 8);
    terminal.wait_for("This terminal has 30x8 cells");
    terminal.resize(80, 24);
    terminal.wait_for("── 0 of pool app");
    let coloured = |terminal: &Terminal| {
        let bytes = String::from_utf8_lossy(&terminal.bytes()).into_owned();
        bytes.contains("\x1b[38;5;")
    };
    assert!(!coloured(&terminal));
    let Some(terminal) = top(&weir, &[]) else { return };
    terminal.wait_for("── 0 of pool app");
    assert!(coloured(&terminal));
}

#[test]
fn once_prints_every_backend_and_ends() {
    let (one, two) = (ok(), Backend::absent(answers::text("two")));
    let weir = Weir::start(
        &(one_pool(&[&one, &two], "", "[pool.app.health]\ninterval = \"100ms\"\ntimeout = \"20s\"\n")
            + "[admin]\nlisten = [\"127.0.0.1:{admin}\", \"unix:{dir}/admin.sock\"]\n"),
    );
    wait_until("one is down", || state(&weir, 1) == "down");
    let socket = format!("unix:{}/admin.sock", weir.dir().display());
    for admin in [weir.address("admin").to_string(), socket] {
        let (code, out, log) = top_at(&admin, &["--once"]);
        assert_eq!((code, log.as_str()), (Some(0), ""), "{out}");
        let line = |name: &str| out.lines().find(|line| line.starts_with(&format!("app   {name}"))).unwrap();
        assert!(line("0").contains(" up "), "{out}");
        assert!(line("1").contains(" down ") && line("1").contains("refused"), "{out}");
        for part in ["ready", "PHASE", "SHARD", "serving", "unchecked → down"] {
            assert!(out.contains(part), "{part:?} is not in\n{out}");
        }
        assert!(!out.contains('\x1b'), "{out}");
    }
}

#[test]
fn without_a_terminal_a_weir_or_the_token_it_says_what_to_do() {
    let backend = ok();
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let admin = weir.address("admin").to_string();
    let (code, out, log) = top_at(&admin, &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(log.contains("stdout is no terminal") && log.contains("weir top --once"), "{log}");
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, _, log) = top_at(&nobody, &["--once"]);
    assert!(code == Some(3) && log.contains(&nobody) && log.contains("--admin ADDR"), "{code:?} {log}");
    let stranger = ok();
    let (code, _, log) = top_at(&stranger.address(), &["--once"]);
    assert!(code == Some(3) && log.contains("not the admin surface"), "{code:?} {log}");

    let token = weir.dir().join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef\n").unwrap();
    Command::new("chmod").args(["400", &token.display().to_string()]).status().unwrap();
    let locked = Weir::start(
        &(one_pool(&[&backend], "", "")
            + &format!(
                "[admin]\nlisten = [\"127.0.0.1:{{admin}}\"]\ntoken_file = \"{}\"\n",
                token.display()
            )),
    );
    let admin = locked.address("admin").to_string();
    let (code, _, log) = top_at(&admin, &["--once"]);
    assert!(code == Some(1) && log.contains("token"), "{code:?} {log}");
    let shown = token.display().to_string();
    let (code, out, log) = top_at(&admin, &["--once", "--token-file", &shown]);
    assert!(code == Some(0) && out.contains("app   0"), "{code:?} {out} {log}");
    let missing = format!("{shown}.not");
    let (code, _, log) = top_at(&admin, &["--once", "--token-file", &missing]);
    assert!(code == Some(2) && log.contains("cannot be read"), "{code:?} {log}");
}
