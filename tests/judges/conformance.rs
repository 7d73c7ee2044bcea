//! Every case of `http2/` on weir: h2spec's lists, and what a proxy must refuse and let through.

use crate::harness::{Authority, Key, Program, Weir};
use crate::scene::{listener, python};
use std::process::Command;
use std::time::Duration;

/// A case that fails waits ten seconds for what does not come.
const PATIENCE: Duration = Duration::from_secs(300);

/// weir in front of the program's own origin.
fn weir(listener: &str) -> Weir {
    Weir::start(&format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         {listener}\n[[pool.app.backend]]\naddress = \"127.0.0.1:{{origin}}\"\n"
    ))
}

fn judge(python: &str, weir: &Weir, more: &[&str]) {
    let mut program = Command::new(python);
    program
        .args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/http2")])
        .arg(weir.address("web").to_string())
        .args(["--origin", &weir.address("origin").to_string()])
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
    judge(&python, &weir("h2c = true"), &[]);
}

#[test]
fn http2_over_tls_is_as_every_case_wants_it() {
    let Some(python) = python("hyperframe, hpack") else { return };
    let authority = Authority::new();
    let site = authority.server("site", &["localhost"], Key::Ecdsa);
    judge(&python, &weir(&listener(&[&site], "")), &["--tls"]);
}
