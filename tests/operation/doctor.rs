//! `weir doctor`: what it finds on a host that lacks something, its exit codes, and that it disturbs nobody.
//!
//! What each check makes of each fact is tested beside it (`src/cli/doctor/`); here the facts are real.

use crate::harness::{Backend, Program, Weir, answers, copy_program, free_port, one_pool};
use crate::refused::{Folder, config, switched_off, without_io_uring};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The user and group "nobody".
const NOBODY: u32 = 65_534;

fn weir() -> Command {
    Command::new(env!("CARGO_BIN_EXE_weir"))
}

/// The exit code, stdout and stderr of the doctor that `command` becomes.
fn run(command: &mut Command, arguments: &[&str]) -> (Option<i32>, String, String) {
    let (status, out, log) = Program::run(command.arg("doctor").args(arguments), Duration::from_secs(20));
    assert!(!log.contains("panicked"), "{log}");
    (status.code(), out, log)
}

/// The exit code and what it printed as JSON; the two agree.
fn examined(command: &mut Command, file: Option<&str>) -> (i32, Value) {
    let mut arguments = vec!["--json"];
    arguments.extend(file.iter().flat_map(|file| ["--config", file]));
    let (code, out, log) = run(command, &arguments);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}\n{out}\n{log}"));
    let expected = if report["missing"] == 0 { 0 } else { 2 };
    assert_eq!(code, Some(expected), "{out}\n{log}");
    (expected, report)
}

/// The findings of `check`: level, and all that is said.
fn of<'r>(report: &'r Value, check: &str) -> Vec<(&'r str, String)> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    let said = |finding: &'r Value| {
        let words = format!("{} {}", finding["what"], finding["remedy"].as_str().unwrap_or_default());
        (finding["level"].as_str().unwrap(), words)
    };
    findings.map(said).collect()
}

fn free() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn where_weir_runs_each_check_has_its_finding_and_the_table_says_the_same() {
    let folder = Folder::new();
    let file = folder.file("weir.toml", &config(&free(), "127.0.0.1:9"));
    let (_, help, _) = run(&mut weir(), &["--help"]);
    let checks = help.split_once("at least one finding:").unwrap().1.split("Usage:").next().unwrap();
    for file in [None, Some(file.as_str())] {
        let (code, report) = examined(&mut weir(), file);
        assert_eq!(report["config"].as_str(), file);
        for check in checks.split_whitespace() {
            assert!(!of(&report, check).is_empty(), "{check} is not in {report:#}");
        }
        for (check, level) in
            [("io_uring", "ok"), ("io_uring_features", "ok"), ("cores", "ok"), ("files", "ok")]
        {
            assert_eq!(of(&report, check)[0].0, level, "{check}: {report:#}");
        }
        for finding in report["findings"].as_array().unwrap() {
            let asks = matches!(finding["level"].as_str().unwrap(), "missing" | "advice");
            assert_eq!(finding["remedy"].is_string(), asks, "{finding:#}");
        }
        let arguments: Vec<&str> = file.iter().flat_map(|file| ["--config", file]).collect();
        let (table_code, table, log) = run(&mut weir(), &arguments);
        assert_eq!((table_code, log.as_str()), (Some(code), ""), "{table}");
        let rows = |level: &str| table.lines().filter(|line| line.starts_with(level)).count();
        assert_eq!((rows("missing") as u64, rows("advice") as u64), {
            (report["missing"].as_u64().unwrap(), report["advice"].as_u64().unwrap())
        });
    }
}

#[test]
fn a_file_that_is_wrong_is_2_and_its_faults_are_told() {
    let folder = Folder::new();
    let file = folder.file("weir.toml", "[[listner]]\naddress = \"127.0.0.1:8080\"\n");
    for file in [file.as_str(), "/nonexistent/weir.toml"] {
        let (code, out, log) = run(&mut weir(), &["--json", "--config", file]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{log}");
        assert!(log.contains(file), "{log}");
    }
}

#[test]
fn seccomp_is_told_from_the_sysctl_and_from_an_old_kernel() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let Some(mut command) = without_io_uring(errno) else { return };
        let (code, report) = examined(&mut command, None);
        let [(level, said)] = &of(&report, "io_uring")[..] else { panic!("{report:#}") };
        assert_eq!((code, *level), (2, "missing"), "{report:#}");
        for part in ["seccomp filter", "--security-opt seccomp=config/seccomp.json"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        for part in ["sysctl", "io_uring_disabled", "too old"] {
            assert!(!said.contains(part), "{part}: {said}");
        }
        assert_eq!(of(&report, "io_uring_features")[0].0, "unseen");
    }
}

#[test]
fn the_sysctl_is_told_from_seccomp() {
    let folder = Folder::new();
    let Some(mut command) = switched_off(&folder) else { return };
    let (code, out, log) = run(&mut command, &["--json"]);
    if code == Some(77) {
        println!("skipped: nothing can be mounted here: {log}");
        return;
    }
    let report: Value = serde_json::from_str(&out).unwrap();
    let said = &of(&report, "io_uring")[0].1;
    assert_eq!(code, Some(2), "{out}");
    assert!(said.contains("sysctl -w kernel.io_uring_disabled=0") && !said.contains("seccomp"), "{said}");
}

#[test]
fn few_descriptors_are_measured_against_the_file() {
    let folder = Folder::new();
    let text = config(&free(), "127.0.0.1:9").replace("cores = 1", "cores = 1\nmax_connections = 5000");
    let file = folder.file("weir.toml", &text);
    for (limit, level) in [("3000", "advice"), ("100", "missing"), ("20000", "ok")] {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {limit} || exit 77; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_weir"), "doctor", "--json", "--config", &file]);
        let (status, out, log) = Program::run(&mut command, Duration::from_secs(20));
        if status.code() == Some(77) {
            println!("skipped: this limit cannot be had: {log}");
            continue;
        }
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}\n{out}{log}"));
        let (found, said) = &of(&report, "descriptors")[0];
        assert_eq!(*found, level, "{said}");
        assert!(said.contains(limit), "{limit}: {said}");
        if level == "missing" {
            assert_eq!(status.code(), Some(2), "{out}");
        }
    }
}

#[test]
fn an_address_that_is_taken_is_missing_and_who_may_look_learns_by_whom() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let file = folder.file("weir.toml", &config(&address, "127.0.0.1:9"));
    let (code, report) = examined(&mut weir(), Some(&file));
    let (level, said) = &of(&report, "addresses")[0];
    assert_eq!((code, *level), (2, "missing"), "{report:#}");
    let holder = format!("({}) has {address}", std::process::id());
    assert!(said.contains(&holder), "{holder}: {said}");
}

#[test]
fn nobody_gets_an_answer_too() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root becomes somebody else");
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let file = folder.file("weir.toml", &config(&address, "127.0.0.1:9"));
    // Nobody may look into anybody's home.
    let binary = folder.0.join("weir");
    copy_program(env!("CARGO_BIN_EXE_weir"), &binary);
    for (file, level, part) in
        [(None, "unseen", "no --config"), (Some(&*file), "missing", "may not see by whom")]
    {
        let (_, report) = examined(Command::new(&binary).uid(NOBODY).gid(NOBODY), file);
        let (found, said) = &of(&report, "addresses")[0];
        assert_eq!(*found, level, "{said}");
        assert!(said.contains(part), "{part}: {said}");
        assert_eq!(of(&report, "io_uring")[0].0, "ok", "{report:#}");
    }
}

#[test]
fn a_running_weir_is_no_fault_and_is_not_disturbed() {
    let backend = Backend::http(answers::text("ok"));
    let running = Weir::start(&one_pool(&[&backend], "", "[pool.app.health]\ninterval = \"20s\""));
    let asked = backend.requests();
    let file = running.dir().join("weir.toml").display().to_string();
    let (_, report) = examined(&mut weir(), Some(&file));
    for (level, said) in of(&report, "addresses") {
        assert_eq!(level, "ok", "{said}");
        assert!(said.contains(&format!("a running weir ({})", running.pid())), "{said}");
    }
    assert_eq!(running.client().get("/").status, 200);
    assert_eq!(backend.requests(), asked + 1, "no backend was asked by the doctor");
}
