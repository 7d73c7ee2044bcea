//! weir where it may do little: unprivileged, with few descriptors, with more clients than it takes.

use crate::harness::{Backend, Load, Weir, answers, copy_program, cpu_time, one_pool, wait_until};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The user and group "nobody".
const NOBODY: u32 = 65_534;

/// A command that becomes weir after these lines of shell.
fn weir_after(shell: &str, binary: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell}\nexec \"$0\" \"$@\""), binary]);
    command
}

fn limited(shell: &str) -> Command {
    weir_after(shell, env!("CARGO_BIN_EXE_weir"))
}

fn proc(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A line of a file of /proc, its words.
fn words(text: &str, line: &str) -> Vec<String> {
    let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    found.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn it_starts_and_serves_as_nobody_with_the_usual_limits() {
    // What a Debian gives to everybody: 1,024 descriptors at first, 8 MiB of locked memory.
    let shell = "ulimit -S -n 1024; ulimit -l 8192";
    let root = nix::unistd::geteuid().is_root();
    // Nobody may look into anybody's home.
    let binary = std::env::temp_dir().join(format!("weir-nobody-{}", std::process::id()));
    copy_program(env!("CARGO_BIN_EXE_weir"), &binary);
    let mut command = weir_after(shell, binary.to_str().unwrap());
    if root {
        command.uid(NOBODY).gid(NOBODY);
    } else {
        println!("not root: as the user that we are");
    }
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = \"0,0\"");
    let weir = Weir::start_by(command, &config);
    std::fs::remove_file(&binary).unwrap();
    if root {
        assert_eq!(words(&proc(weir.pid(), "status"), "Uid:"), vec![NOBODY.to_string(); 4]);
        assert_eq!(words(&proc(weir.pid(), "status"), "CapEff:"), ["0000000000000000"]);
    }
    let load = Load::get(weir.address("web"), 4, "/");
    wait_until("traffic flows", || load.counts().ok > 200);
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0));
}

#[test]
fn the_descriptor_limit_is_raised_as_far_as_it_goes() {
    let backend = Backend::http(answers::text("ok"));
    let weir = Weir::start_by(limited("ulimit -S -n 256; ulimit -H -n 3000"), &one_pool(&[&backend], "", ""));
    assert_eq!(words(&proc(weir.pid(), "limits"), "Max open files")[..2], ["3000", "3000"]);
}

#[test]
fn too_few_descriptors_give_a_warning_whose_advice_helps() {
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "", "").replace("cores = 1", "cores = \"0,0\"");
    let weir = Weir::start_by(limited("ulimit -n 2000"), &config);
    let log = weir.stderr();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("descriptors")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for part in ["WARN", "limit=2000", "wanted=", "`ulimit -Hn`", "LimitNOFILE=", "runtime.max_connections"] {
        assert!(warnings[0].contains(part), "{part} is not in {}", warnings[0]);
    }
    let advice = warnings[0].split_once("runtime.max_connections to ").unwrap().1;
    let advice: u32 = advice.split(' ').next().unwrap().parse().unwrap();
    assert!(advice > 300, "{advice}");
    drop(weir);
    let config = config.replace("[runtime]\n", &format!("[runtime]\nmax_connections = {advice}\n"));
    let weir = Weir::start_by(limited("ulimit -n 2000"), &config);
    assert!(!weir.stderr().contains("WARN fewer"), "{}", weir.stderr());
}

/// So many leave a shard alone with a dozen connections or so.
const FEW: usize = 200;

#[test]
fn with_few_descriptors_it_takes_no_more_clients_than_it_can_serve_and_stays_operable() {
    let backend = Backend::http(answers::text("ok"));
    let config = one_pool(&[&backend], "", "[pool.app.upstream]\nidle_timeout = \"60s\"");
    let weir = Weir::start_by(limited(&format!("ulimit -n {FEW}")), &config);
    let mut early = weir.client();
    assert_eq!(early.get("/").status, 200);
    let crowd: Vec<TcpStream> =
        (0..2 * FEW).map(|_| TcpStream::connect(weir.address("web")).unwrap()).collect();
    wait_until("the shard is full", || weir.metric("weir_accept_pauses_total", &[]) >= 1.0);
    let (before, began) = (cpu_time(weir.pid()), Instant::now());
    let mut answered = 0;
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(early.get("/").status, 200, "who is connected is served");
        answered += 1;
        assert!(descriptors(weir.pid()) < FEW - 64, "some are always left for the operator");
        std::thread::sleep(Duration::from_millis(20));
    }
    let used = (cpu_time(weir.pid()) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    assert!(used < 0.25, "{used} of a core for {answered} requests");
    assert!(weir.metric("weir_connections", &[]) >= 5.0);
    let lines = weir.stderr().lines().count();
    assert!(lines < 40, "{lines} lines of log");
    drop(crowd);
    assert_eq!(weir.client().get("/").status, 200);
    assert_eq!(early.get("/").status, 200);
}

#[test]
fn with_few_descriptors_everybody_who_is_accepted_gets_a_connection_with_a_backend() {
    // Idle connections with one backend must make way for those with the next.
    let slow = || Backend::http(answers::delayed(Duration::from_millis(30), answers::text("ok")));
    let backends: Vec<Backend> = (0..8).map(|_| slow()).collect();
    let mut config = one_pool(&[&backends[0]], "", "[pool.app.upstream]\nidle_timeout = \"60s\"");
    for (n, backend) in backends.iter().enumerate() {
        let (pool, address) = (format!("p{n}"), backend.address());
        config.push_str(&format!(
            "[[route]]\npath = \"/{n}\"\npool = \"{pool}\"\n[pool.{pool}.upstream]\nidle_timeout = \"60s\"\n\
             [[pool.{pool}.backend]]\naddress = \"{address}\"\n"
        ));
    }
    let weir = Weir::start_by(limited(&format!("ulimit -n {FEW}")), &config);
    for n in 0..backends.len() {
        let load = Load::get(weir.address("web"), 40, &format!("/{n}"));
        wait_until("traffic flows", || load.counts().ok > 150);
        assert!(descriptors(weir.pid()) < FEW - 64, "some are always left for the operator");
        let counts = load.stop();
        assert_eq!((counts.wrong, counts.lost), (0, 0), "/{n}");
    }
    assert_eq!(weir.metric("weir_upstream_failures_total", &[]), 0.0);
}
