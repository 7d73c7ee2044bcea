//! Every case of `http2/` on weir: h2spec's lists for servers and for clients, and what a proxy must refuse and let
//! through, from clients and from backends.

use crate::harness::{Authority, Key, Program, Weir};
use crate::scene::{listener, python};
use std::process::Command;
use std::time::Duration;

/// A case that fails waits ten seconds for what does not come.
const PATIENCE: Duration = Duration::from_secs(300);

/// weir in front of the program's own origin; `listener` and `pool` are further lines.
fn weir(listener: &str, pool: &str) -> Weir {
    Weir::start(&format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         {listener}\n[pool.app]\n{pool}\n[[pool.app.backend]]\naddress = \"127.0.0.1:{{origin}}\"\n"
    ))
}

fn judge(python: &str, weir: &Weir, peer: &str, more: &[&str]) {
    let mut program = Command::new(python);
    program
        .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/http2")])
        .arg(weir.address("web").to_string())
        .args([&format!("--{peer}"), &weir.address("origin").to_string()])
        .args(more);
    let (status, lines, complaints) = Program::run(&mut program, PATIENCE);
    let sums = lines.lines().last().unwrap_or_default();
    println!("{sums}");
    let failed: Vec<&str> = lines.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert!(status.success() && failed.is_empty(), "{sums}\n{}\n{complaints}", failed.join("\n"));
}

#[test]
fn http2_in_the_clear_is_as_every_case_wants_it() {
    let Some(python) = python("hyperframe, hpack") else { return };
    judge(&python, &weir("", ""), "origin", &[]);
}

#[test]
fn http2_over_tls_is_as_every_case_wants_it() {
    let Some(python) = python("hyperframe, hpack") else { return };
    let authority = Authority::new();
    let site = authority.server("site", &["localhost"], Key::Ecdsa);
    judge(&python, &weir(&listener(&[&site], ""), ""), "origin", &["--tls"]);
}

#[test]
fn http2_with_backends_is_as_every_case_wants_it() {
    let Some(python) = python("hyperframe, hpack") else { return };
    // A case that waits for the end of a timeout shall not wait long.
    let pool = "[pool.app.timeouts]\nresponse = \"3s\"\n[pool.app.upstream]\nprotocol = \"h2\"";
    judge(&python, &weir("", pool), "backend", &[]);
}
