//! Clients of others, where they are installed.

use crate::harness::{Backend, Program, Weir, answers, one_pool, require};
use std::process::Command;
use std::time::Duration;

#[test]
fn curl_speaks_http_2_with_prior_knowledge() {
    let Some(curl) = require("curl") else { return };
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let url = format!("http://{}/", weir.address("web"));
    let mut command = Command::new(curl);
    command.args([
        "-sS",
        "--http2-prior-knowledge",
        "--data",
        "hello",
        "-w",
        " %{http_version} %{http_code}",
        &url,
    ]);
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(20));
    assert!(status.success(), "{log}");
    assert_eq!(out, "hello 2 200");
}

#[test]
fn h2load_gets_every_answer() {
    let Some(h2load) = require("h2load") else { return };
    let backend = Backend::http(answers::text("hello"));
    let weir = Weir::start(&one_pool(&[&backend], "", ""));
    let url = format!("http://{}/", weir.address("web"));
    for streams in ["1", "10", "100"] {
        let mut command = Command::new(&h2load);
        command.args(["-n", "2000", "-c", "4", "-m", streams, &url]);
        let (status, out, log) = Program::run(&mut command, Duration::from_secs(60));
        assert!(status.success(), "{log}");
        let whole = "requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored";
        assert!(out.contains(whole), "{streams} streams: {out}");
    }
}
