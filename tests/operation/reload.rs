//! Another configuration by SIGHUP, under load: nobody loses anything, and a file that is wrong changes
//! nothing.

use crate::backends;
use crate::harness::{Backend, Load, Weir, answers, wait_until};
use nix::sys::signal::Signal;
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

/// Two shards, a listener on `{web}`, these further lines, and a pool of these backends.
fn configuration(fleet: &[&Backend], more: &str) -> String {
    let mut text = format!(
        "[runtime]\ncores = \"0,1\"\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\npool = \"app\"\n\
         {more}[pool.app]\npolicy = \"round_robin\"\n"
    );
    for backend in fleet {
        text.push_str(&format!("[[pool.app.backend]]\naddress = \"{}\"\n", backend.address()));
    }
    text
}

/// Has weir load `text` in place of its file, whose ports stay.
fn reload(weir: &Weir, text: &str) {
    let file = weir.dir().join("weir.toml");
    let mut text = format!("{text}[admin]\nlisten = [\"{}\"]\n", weir.address("admin"));
    for name in ["web", "more"] {
        if text.contains(&format!("{{{name}}}")) {
            text = text.replace(&format!("{{{name}}}"), &weir.port(name).to_string());
        }
    }
    fs::write(file, text).unwrap();
    weir.signal(Signal::SIGHUP);
}

fn loaded(weir: &Weir) -> usize {
    weir.stderr().lines().filter(|line| line.contains("configuration loaded")).count()
}

fn names(weir: &Weir) -> Vec<String> {
    backends(weir).iter().map(|backend| backend["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn twenty_reloads_under_load_lose_no_request_and_close_no_long_connection() {
    let fleet = [0, 1, 2].map(|_| Backend::http(answers::text("ok")));
    let [a, b, c] = &fleet;
    let weir = Weir::start(&configuration(&[a, b], ""));
    let mut held = weir.client();
    assert_eq!(held.get("/").text(), "ok");
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let load = Load::start(weir.address("web"), 4, request, Duration::from_millis(1), |response| {
        response.status == 200
    });
    let sets: [&[&Backend]; 4] = [&[b, c], &[c], &[a, b, c], &[a, b]];
    for round in 0..20 {
        let set = sets[round % sets.len()];
        reload(&weir, &configuration(set, ""));
        wait_until("it is loaded", || loaded(&weir) == round + 1);
        let expected: Vec<String> = set.iter().map(|backend| backend.address()).collect();
        assert_eq!(names(&weir), expected);
        let answered = load.counts().ok;
        wait_until("traffic goes on", || load.counts().ok > answered + 40);
    }
    assert_eq!(held.get("/").text(), "ok", "the connection from before is the same");
    let faults = load.faults();
    let counts = load.stop();
    assert_eq!((counts.wrong, counts.lost, counts.unconnected), (0, 0, 0), "{counts:?} {faults:?}");
    assert!(fleet.iter().all(|backend| backend.requests() > 0));
}

#[test]
fn a_removed_backend_gets_nothing_more_and_a_file_that_is_wrong_changes_nothing() {
    let (a, b) = (Backend::http(answers::text("a")), Backend::http(answers::text("b")));
    let weir = Weir::start(&configuration(&[&a, &b], ""));
    let mut client = weir.client();
    (0..4).for_each(|_| drop(client.get("/")));
    reload(&weir, "[pool.app]\npolicy = \"nonsense\"\n");
    wait_until("it is refused", || weir.stderr().contains("configuration not loaded"));
    assert!(weir.stderr().contains("nonsense"));
    assert_eq!(names(&weir).len(), 2);
    reload(&weir, &configuration(&[&b], ""));
    wait_until("it is loaded", || loaded(&weir) == 1);
    let asked = a.requests();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "b");
    }
    assert_eq!(a.requests(), asked);
}

#[test]
fn a_listener_that_goes_answers_who_is_connected_and_refuses_who_comes_later() {
    let backend = Backend::http(answers::text("ok"));
    let more = "[[listener]]\nname = \"more\"\naddress = \"127.0.0.1:{more}\"\npool = \"app\"\n";
    let weir = Weir::start(&configuration(&[&backend], more));
    let mut held = crate::harness::Client::connect(weir.address("more"));
    assert_eq!(held.get("/").text(), "ok");
    reload(&weir, &configuration(&[&backend], ""));
    wait_until("it is loaded", || loaded(&weir) == 1);
    let last = held.get("/");
    assert_eq!(last.text(), "ok", "whoever is connected gets an answer");
    wait_until("nobody is there", || TcpStream::connect(weir.address("more")).is_err());
    assert_eq!(weir.client().get("/").text(), "ok");
    reload(&weir, &configuration(&[&backend], more));
    wait_until("it is loaded", || loaded(&weir) == 2);
    let mut new = crate::harness::Client::connect(weir.address("more"));
    assert_eq!(new.get("/").text(), "ok");
}

#[test]
fn who_is_connected_to_a_listener_that_goes_with_its_pool_is_never_given_another_pools_answer() {
    let (backend, other) = (Backend::http(answers::text("ok")), Backend::http(answers::text("its own")));
    let more = format!(
        "[[listener]]\nname = \"more\"\naddress = \"127.0.0.1:{{more}}\"\npool = \"another\"\n\
         [[pool.another.backend]]\naddress = \"{}\"\n",
        other.address()
    );
    let weir = Weir::start(&configuration(&[&backend], &more));
    let mut held = crate::harness::Client::connect(weir.address("more"));
    assert_eq!(held.get("/").text(), "its own");
    let asked = backend.requests();
    reload(&weir, &configuration(&[&backend], ""));
    wait_until("it is loaded", || loaded(&weir) == 1);
    let last = held.get("/");
    assert_eq!((last.status, last.field("Connection")), (503, Some("close")), "{}", last.text());
    assert_eq!(backend.requests(), asked);
}
