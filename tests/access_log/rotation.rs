//! A file that is moved away and opened again under load: no line is lost, none is torn.

use crate::harness::{Backend, Load, Program, Weir, answers, wait_until};
use crate::{as_json, lines_of, object};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// `weir ctl reopen-logs`: its exit code and what it wrote.
fn reopen(weir: &Weir, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["ctl", "--admin", &weir.address("admin").to_string(), "reopen-logs"]).args(more);
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(20));
    (status.code(), out, log)
}

/// All lines of the files whose names begin so, each read as JSON.
fn count_whole(weir: &Weir) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(weir.dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("access.log") {
            let lines = lines_of(&path);
            lines.iter().for_each(|line| drop(object(line)));
            count += lines.len();
        }
    }
    count
}

#[test]
fn twenty_rotations_under_load_lose_no_line_and_tear_none() {
    let backend = Backend::http(answers::text("ok"));
    let config = as_json(&[&backend], "").replace("cores = 1\n", "cores = \"0,0\"\n");
    let weir = Weir::start(&config);
    let log = weir.dir().join("access.log");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o137, 0, "0640 or less, by the umask");
    let load = Load::get(weir.address("web"), 4, "/");
    for round in 0..20 {
        let moved = weir.dir().join(format!("access.log.{round}"));
        fs::rename(&log, &moved).unwrap();
        if round % 2 == 0 {
            let (code, out, _) = reopen(&weir, &[]);
            assert_eq!(code, Some(0));
            assert!(out.contains("open again") && out.contains("access.log"), "{out}");
            // Whoever rotates may now compress it.
            let len = fs::metadata(&moved).unwrap().len();
            let answered = load.counts().ok;
            wait_until("traffic goes on", || load.counts().ok > answered + 20);
            assert_eq!(fs::metadata(&moved).unwrap().len(), len);
        } else {
            weir.signal(Signal::SIGUSR2);
            wait_until("it is opened again", || log.exists());
        }
        wait_until("lines go there", || fs::metadata(&log).unwrap().len() > 0);
    }
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
    assert_eq!(weir.metric("weir_access_log_dropped_total", &[]), 0.0);
    wait_until("each request has its line", || count_whole(&weir) == counts.ok as usize);
    weir.wait_metric("weir_access_log_lines_total", &[], counts.ok as f64);
    assert_eq!(weir.stderr().matches("access log opened again").count(), 20);
}

#[test]
fn what_cannot_be_opened_again_is_refused_and_the_old_file_goes_on() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&as_json(&[&backend], ""));
    let log = weir.dir().join("access.log");
    let moved = weir.dir().join("access.log.1");
    fs::rename(&log, &moved).unwrap();
    fs::create_dir(&log).unwrap();
    let (code, _, said) = reopen(&weir, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("access_log.to: ") && said.contains("access.log cannot be opened"), "{said}");
    assert_eq!(weir.client().get("/").status, 200);
    wait_until("the old file has the line", || lines_of(&moved).len() == 1);
    let (code, out, _) = reopen(&weir, &["--json"]);
    assert!(code == Some(1) && object(&out)["code"] == "not_reopened", "{out}");
    fs::remove_dir(&log).unwrap();
    let (code, out, _) = reopen(&weir, &["--json"]);
    assert_eq!(code, Some(0));
    assert!(object(&out)["done"].as_str().unwrap().contains("open again"), "{out}");
}

#[test]
fn with_no_file_there_is_nothing_to_open_again_and_the_signal_ends_nothing() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start(&crate::harness::one_pool(&[&backend], "", ""));
    let (code, out, _) = reopen(&weir, &[]);
    assert!(code == Some(0) && out.contains("nothing to open again"), "{out}");
    weir.signal(Signal::SIGUSR2);
    wait_until("it has heard", || weir.stderr().matches("none goes to a file").count() == 2);
    assert_eq!(weir.client().get("/").status, 200);
}

#[test]
fn reopening_is_a_change_for_which_the_token_is_asked() {
    let backend = Backend::http(answers::text("ok"));
    let dir = std::env::temp_dir().join(format!("weir-access-token-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let token = dir.join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef\n").unwrap();
    let more = format!("[admin]\nlisten = [\"127.0.0.1:{{admin}}\"]\ntoken_file = \"{}\"\n", token.display());
    let weir = Weir::start(&(as_json(&[&backend], "") + &more));
    let (code, _, said) = reopen(&weir, &[]);
    assert!(code == Some(1) && said.contains("token"), "{said}");
    assert_eq!(reopen(&weir, &["--token-file", &token.display().to_string()]).0, Some(0));
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn a_predecessor_and_its_successor_append_to_one_file() {
    let backend = Backend::http(answers::text("ok"));
    let dir = std::env::temp_dir().join(format!("weir-access-takeover-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let log = dir.join("access.log");
    let config = as_json(&[&backend], "").replace("{dir}/access.log", &log.display().to_string());
    let mut old = Weir::start(&config);
    let load = Load::get(old.address("web"), 4, "/");
    wait_until("traffic flows", || load.counts().ok > 50);
    let new = old.successor(&config);
    old.wait_exit(Duration::from_secs(20));
    let answered = load.counts().ok;
    wait_until("traffic goes on", || load.counts().ok > answered + 50);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?}");
    wait_until("each request has its line", || lines_of(&log).len() == counts.ok as usize);
    lines_of(&log).iter().for_each(|line| drop(object(line)));
    drop(new);
    let _ = fs::remove_dir_all(dir);
}
