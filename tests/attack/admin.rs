//! The admin surface while the data path has no room and no time left.

use crate::harness::{AT_ONCE, Program, Weir, cpu_time};
use crate::scene::Scene;
use crate::swarm::{Swarm, Tactic};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Within this any admin page comes, however busy the shards are and the machine.
const WITHIN: Duration = AT_ONCE;

/// Asks for all that an operator needs, and drains a backend and readies it again; the longest that it took.
fn operate(weir: &Weir) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        for page in ["/healthz", "/readyz", "/metrics"] {
            let began = Instant::now();
            assert_eq!(weir.admin(page).status, 200, "{page}");
            longest = longest.max(began.elapsed());
        }
        for verb in ["drain", "ready"] {
            let began = Instant::now();
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
            let admin = weir.address("admin").to_string();
            command.args(["ctl", "--admin", &admin, verb, "app", "spare"]).env_remove("WEIR_ADMIN");
            let (status, out, log) = Program::run(&mut command, WITHIN * 2);
            assert!(status.success(), "{verb}: {out}{log}");
            longest = longest.max(began.elapsed());
        }
    }
    longest
}

#[test]
fn admin_answers_while_every_connection_is_taken_and_the_shard_has_no_time() {
    let spare = "[[pool.app.backend]]\nname = \"spare\"\naddress = \"127.0.0.1:1\"\nbackup = true\n";
    let scene = Scene::new("max_connections = 300\n", "", spare);
    let address = scene.weir.address("web");
    let quiet = operate(&scene.weir);
    let floods = [
        ("idle connections", Tactic { connections: 400, ..Tactic::default() }),
        (
            "slow heads",
            Tactic { connections: 400, opening: b"GET / HTTP/1.1\r\nX".to_vec(), ..Tactic::default() },
        ),
        (
            "slow readers",
            Tactic {
                connections: 100,
                opening: b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
                reads: false,
                receive_buffer: Some(4 << 10),
                ..Tactic::default()
            },
        ),
        (
            "connections",
            Tactic { connections: 400, opens_per_s: 4_000, opening: b"X\r\n".to_vec(), ..Tactic::default() },
        ),
        (
            "requests",
            Tactic {
                connections: 50,
                drip: b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100),
                every: Duration::from_millis(10),
                ..Tactic::default()
            },
        ),
    ];
    for (what, tactic) in floods {
        let swarm = Swarm::attack(address, &tactic);
        let began = Instant::now();
        while swarm.seen().opened < tactic.connections as u64 {
            assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", swarm.seen());
            sleep(Duration::from_millis(10));
        }
        let (cpu, began) = (cpu_time(scene.weir.pid()), Instant::now());
        let took = operate(&scene.weir);
        let busy = (cpu_time(scene.weir.pid()) - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        let open = scene.connections();
        println!(
            "admin took {took:?} at most under a flood of {what}, {quiet:?} without; {open} connections, {busy:.2} of a core"
        );
        assert!(took < WITHIN, "{took:?} under a flood of {what}");
        drop(swarm);
    }
}
