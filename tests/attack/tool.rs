//! The same by slowhttptest, which others use to look for these weaknesses.

use crate::harness::{Program, require};
use crate::scene::Scene;
use crate::watch::{spell, within};
use std::process::Command;
use std::time::Duration;

/// Slow heads, slow bodies and slow reading at once: it must find the service available all along.
#[test]
fn slowhttptest_does_not_take_the_service_down() {
    let Some(tool) = require("slowhttptest") else { return };
    let scene = Scene::new("", "head_timeout = \"1s\"\nidle_timeout = \"1s\"\n", "");
    let address = scene.weir.address("web");
    let url = |path: &str| format!("http://{address}{path}");
    let (root, upload, page) = (url("/"), url("/upload"), url("/page"));
    let modes: [&[&str]; 3] = [
        &["-H", "-i", "1", "-x", "24", "-t", "GET", "-u", &root],
        &["-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST", "-u", &upload],
        &["-X", "-n", "1", "-w", "8", "-y", "16", "-z", "4", "-k", "1", "-u", &page],
    ];
    for attempt in 1.. {
        let before = spell(address, Duration::from_secs(1));
        let mut running: Vec<Program> = modes
            .iter()
            .map(|mode| {
                let mut command = Command::new(&tool);
                // 100 connections each, 100 a second, for three seconds; it looks itself whether it is served.
                Program::spawn(command.args(*mode).args(["-c", "100", "-r", "100", "-l", "3", "-p", "3"]))
            })
            .collect();
        let under = spell(address, Duration::from_secs(2));
        for (program, mode) in running.iter_mut().zip(modes) {
            program.wait_exit(Duration::from_secs(20));
            let out = program.stdout();
            assert!(out.contains("service available:") && !out.contains("NO\u{1b}"), "{mode:?}: {out}");
        }
        let quiet = worse(before, spell(address, Duration::from_secs(1)));
        println!(
            "p99 quiet {quiet:.2?} and under slowhttptest {under:.2?}: kept connection, new connections"
        );
        if within(&quiet, &under) {
            break;
        }
        assert!(attempt < 3, "well-behaved clients suffer: {quiet:?}, {under:?}");
    }
    assert!(scene.refused("head_timeout") > 0, "slow heads are refused");
}

fn worse(one: [Duration; 2], other: [Duration; 2]) -> [Duration; 2] {
    [one[0].max(other[0]), one[1].max(other[1])]
}
