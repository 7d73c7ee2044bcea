//! All that takes memory, at once, against the bound that `weir check` prints for the same file.
//!
//! What is compared is the process's anonymous memory: the program's text is not weir's to bound, and a
//! build for tests has ten times as much of it.

use crate::harness::{Program, Weir};
use crate::scene::Scene;
use crate::swarm::{Seen, Swarm, Tactic};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The bound says something: all that is used at once is no less than this share of it.
const SHARE_MIN: usize = 5;

/// Anonymous memory that the process has in RAM, in bytes.
fn anonymous(weir: &Weir) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// What `weir check` says that weir's memory comes to at worst, in bytes.
fn bound(weir: &Weir) -> usize {
    let mut command = Scene::everywhere();
    command.args([env!("CARGO_BIN_EXE_weir"), "check", "--config"]).arg(weir.dir().join("weir.toml"));
    let (status, out, log) = Program::run(&mut command, Duration::from_secs(30));
    assert!(status.success(), "{out}{log}");
    let line =
        out.lines().find(|line| line.trim_start().starts_with("memory ")).unwrap_or_else(|| panic!("{out}"));
    let mut words = line.split_whitespace().skip(1);
    let number: f64 = words.next().unwrap().parse().unwrap();
    let unit = match words.next().unwrap() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => panic!("{other}: {line}"),
    };
    (number * f64::from(unit)) as usize
}

/// Each kind takes what it can of its own bound.
fn tactics() -> Vec<(&'static str, Tactic)> {
    let get = |path: &str, version: &str| format!("GET {path} HTTP/{version}\r\nHost: h\r\n");
    let padded = |head: String, len: usize| {
        let field = format!("X-Padding: {}\r\n", "p".repeat(len - head.len()));
        head + &field
    };
    let put =
        "PUT /hang HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n".to_owned() + &"b".repeat(40_000);
    let plain = |connections, opening: String| Tactic {
        connections,
        opens_per_s: 1_000,
        opening: opening.into_bytes(),
        again: false,
        reads: false,
        receive_buffer: Some(4 << 10),
        ..Tactic::default()
    };
    vec![
        ("incomplete heads", plain(500, padded(get("/", "1.1"), 100_000))),
        ("large requests", plain(300, padded(get("/hang", "1.1"), 100_000) + "\r\n")),
        ("bodies kept for another attempt", plain(300, put)),
        ("answers that are not read", plain(150, get("/big", "1.1") + "\r\n")),
        ("answers that are not read, unchunked", plain(150, get("/chunks", "1.0") + "\r\n")),
        (
            "requests sent ahead",
            plain(300, (get("/hang", "1.1") + "\r\n") + &padded(get("/", "1.1"), 30_000)),
        ),
        ("answers that are held", plain(100, get("/held", "1.1") + "\r\n")),
        ("backends' incomplete heads", plain(200, get("/endless", "1.1") + "\r\n")),
    ]
}

#[test]
fn memory_under_all_attacks_at_once_stays_within_what_check_says() {
    let runtime = "max_connections = 2000\nbuffers = 64\n";
    let scene = Scene::new(runtime, "head_timeout = \"10s\"\nmax_head = \"128KiB\"\n", "");
    let bound = bound(&scene.weir);
    let idle = anonymous(&scene.weir);
    let mut most = idle;
    let mut swarms: Vec<(&str, Swarm)> = Vec::new();
    // One after the other, so that the figures say what each takes; all stay to the end.
    for (what, tactic) in tactics() {
        let swarm = Swarm::attack(scene.weir.address("web"), &tactic);
        let began = Instant::now();
        let stands = |seen: &Seen| seen.opened >= tactic.connections as u64;
        while !stands(&swarm.seen()) || began.elapsed() < Duration::from_millis(600) {
            assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", swarm.seen());
            sleep(Duration::from_millis(20));
            most = most.max(anonymous(&scene.weir));
        }
        println!("{:6} KiB with {what}: {:?}", anonymous(&scene.weir) >> 10, swarm.seen());
        swarms.push((what, swarm));
    }
    println!("idle {} KiB, at most {} KiB, the bound {} KiB", idle >> 10, most >> 10, bound >> 10);
    assert!(most <= bound, "{most} bytes, but check says {bound}");
    assert!(most * SHARE_MIN >= bound, "{most} bytes are far from what check says: {bound}");
    assert!(scene.refused("head_memory") > 0, "it was an attack on memory");
}

/// What a connection takes at its most, beside what is counted elsewhere: its exchange has a body that goes
/// up in chunks, which keeps nothing.
#[test]
fn a_connection_takes_no_more_than_check_reckons_with() {
    const CONNECTIONS: usize = 1_000;
    const RECKONED: usize = 12 << 10;
    let scene = Scene::new("buffers = 16\n", "", "");
    crate::watch::spell(scene.weir.address("web"), Duration::ZERO);
    let before = anonymous(&scene.weir);
    let tactic = Tactic {
        connections: CONNECTIONS,
        opening: b"POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        drip: b"1\r\na\r\n".to_vec(),
        every: Duration::from_secs(1),
        ..Tactic::default()
    };
    let swarm = Swarm::attack(scene.weir.address("web"), &tactic);
    let all = CONNECTIONS as u64;
    crate::harness::wait_until("all are there", || scene.weir.metric("weir_in_flight", &[]) as u64 == all);
    // To a megabyte, since what drips moves a little.
    crate::harness::wait_still("their memory is there", || anonymous(&scene.weir) >> 20);
    let each = (anonymous(&scene.weir) - before) / CONNECTIONS;
    println!("a connection with an upload takes {each} bytes, of {RECKONED} reckoned");
    assert_eq!(swarm.seen().open, all);
    assert!(each <= RECKONED && each * 5 >= RECKONED, "{each} bytes");
}
