//! `weir demo` from its greeting to its end: what a new user does in the first five minutes.

use crate::harness::{Client, Load, Program, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A running demo, and the addresses that its greeting names.
struct Demo {
    program: Program,
    web: SocketAddr,
    admin: SocketAddr,
    switchboard: SocketAddr,
}

/// The first address after `before` in a text.
fn address(text: &str, before: &str) -> SocketAddr {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in\n{text}")).1;
    let rest = rest.split_once("http://").unwrap().1;
    rest[..rest.find(['/', ' ', '\n']).unwrap()].parse().unwrap()
}

impl Demo {
    fn start() -> Self {
        // Two that begin at once may find the same ports free.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _begins = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let program = Program::spawn(Command::new(env!("CARGO_BIN_EXE_weir")).arg("demo"));
        wait_until("the greeting is complete", || program.stdout().contains("Ctrl-C ends it all."));
        let text = program.stdout();
        Self {
            web: address(&text, "\n  weir "),
            admin: address(&text, "\n  admin "),
            switchboard: address(&text, "curl -X POST "),
            program,
        }
    }

    fn switch(&self, path: &str) -> String {
        let mut client = Client::connect(self.switchboard);
        let response = client.ask(format!("POST {path} HTTP/1.1\r\nHost: demo\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(response.status, 200);
        response.text()
    }

    fn state(&self, name: &str) -> String {
        let page: Value = serde_json::from_str(&Client::connect(self.admin).get("/backends").text()).unwrap();
        let backends = page["backends"].as_array().unwrap();
        let backend = backends.iter().find(|backend| backend["name"] == name).unwrap();
        backend["state"].as_str().unwrap().to_owned()
    }
}

#[test]
fn the_demo_does_what_its_greeting_promises() {
    let mut demo = Demo::start();
    let greeting = demo.program.stdout();
    let first = greeting.lines().find(|line| !line.is_empty()).unwrap();
    assert!(
        first.ends_with(&format!("http://{}/dashboard", demo.admin)),
        "the dashboard comes first: {first}"
    );
    let page = Client::connect(demo.admin).get("/dashboard").text();
    assert!(page.contains("<title>weir</title>"), "{page}");
    let mut client = Client::connect(demo.web);
    let mut pages: Vec<String> = (0..6).map(|_| client.get("/").text()).collect();
    pages.sort();
    pages.dedup();
    let promised = ["one", "three", "two"].map(|name| format!("Hello from backend {name}.\n"));
    assert_eq!(pages, promised, "six pages from three backends");
    let load = Load::get(demo.web, 4, "/");
    let flows = |count: u64| {
        let answered = load.counts().ok;
        wait_until("traffic flows", || load.counts().ok > answered + count);
    };
    flows(200);
    assert!(demo.switch("/kill/two").contains("two is killed"));
    wait_until("it is out of the rotation", || demo.state("two") == "down");
    flows(20);
    // A request on a connection that was new when the backend died is not sent twice; see `failover.rs`.
    let at_kill = load.counts().wrong;
    assert!(at_kill <= 4, "{at_kill}");
    flows(200);
    let ten: Vec<String> = (0..10).map(|_| client.get("/").text()).collect();
    assert!(ten.iter().all(|page| !page.contains("two")), "{ten:?}");
    assert!(demo.switch("/revive/two").contains("two is alive"));
    wait_until("it is back", || demo.state("two") == "up");
    wait_until("it gets traffic", || client.get("/").text().contains("two"));
    flows(200);
    let counts = load.stop();
    let failed = (counts.wrong - at_kill, counts.lost, counts.unconnected);
    assert_eq!(failed, (0, 0, 0), "no failed request once it was out");
    let log = demo.program.stderr();
    for line in ["backend is down pool=app backend=two", "backend is up pool=app backend=two"] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    demo.program.signal(Signal::SIGINT);
    assert_eq!(demo.program.wait_exit(Duration::from_secs(20)).code(), Some(0), "Ctrl-C");
}

#[test]
fn two_demos_run_side_by_side_and_end_on_sigterm() {
    let mut demos = [Demo::start(), Demo::start()];
    assert_ne!(demos[0].web, demos[1].web, "a port that is taken is replaced by a free one");
    for demo in &mut demos {
        assert_eq!(Client::connect(demo.web).get("/").status, 200);
        demo.program.signal(Signal::SIGTERM);
        assert_eq!(demo.program.wait_exit(Duration::from_secs(20)).code(), Some(0));
    }
}
