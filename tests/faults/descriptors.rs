//! Few descriptors, and a crowd that wants them all.

use crate::harness::{Backend, Mix, OpenLoop, Weir, cpu_time, wait_until};
use crate::sick::well;
use crate::verdict::excusing;
use crate::{CAREFUL, ledger, site_of};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

fn descriptors(weir: &Weir) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", weir.pid())).unwrap().count()
}

/// Who is connected is served on; who comes waits in the queue; when the crowd goes, so are they. Nobody is ever
/// refused for want of a descriptor: weir accepts nobody whom it could not connect to a backend.
#[test]
fn short_of_descriptors_it_pauses_accepting_and_recovers_within_a_second() {
    const LIMIT: usize = 400;
    let ledger = ledger();
    let fleet = ["0", "1"].map(|who| Backend::http(well(who, &ledger)));
    // From its start: an accept that is armed keeps the limit that held then.
    let mut command = Command::new("sh");
    let shell = format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"");
    command.args(["-c", &shell, env!("CARGO_BIN_EXE_weir")]);
    let weir = Weir::start_by(command, &site_of("0,1", &fleet, CAREFUL));
    // On connections that stand, and are never idle for so long that they would have to make room.
    let load = OpenLoop::start(weir.address("web"), Mix { rate: 100, fresh_every: 0, ..Mix::default() });
    load.run(1.0);
    let crowd: Vec<TcpStream> =
        (0..2 * LIMIT).map(|_| TcpStream::connect(weir.address("web")).unwrap()).collect();
    wait_until("there is room for no more", || weir.metric("weir_accept_pauses_total", &[]) >= 2.0);
    let (cpu, began) = (cpu_time(weir.pid()), Instant::now());
    load.run(2.0);
    let used = (cpu_time(weir.pid()) - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let busy = load.so_far();
    assert!(descriptors(&weir) < LIMIT - 64, "some are left for the operator");
    // Those that wait are served once there is room again.
    let mix = Mix { rate: 50, connections: 0, post_every: 0, ..Mix::default() };
    let late = OpenLoop::start(weir.address("web"), mix);
    late.run(0.5);
    let freed = Instant::now();
    drop(crowd);
    late.wait_for("new ones are served", 1, |_| true);
    let recovered = freed.elapsed();
    late.run(1.5);
    excusing("those that waited", &late.stop(), &crate::ledger(), |_| false);
    println!("{used:.3} of a core while short; served again after {recovered:?}");
    // The load alone is 100 requests a second, in a build that is not optimised.
    assert!(used < 0.3, "{used} of a core");
    assert!(recovered < Duration::from_secs(2), "{recovered:?}");
    let ended = load.stop();
    excusing("short of descriptors", &ended, &ledger, |_| false);
    assert!(ended.records.len() > busy.records.len());
}
