//! What is tried again, and what weir answers by itself.

use crate::harness::wait_until;
use crate::scene::Scene;
use serde_json::Value;
use std::io::Read;
use std::process::Stdio;

const RETRIES: &str = "policy = \"round_robin\"\n[pool.app.retry]\nattempts = 2\nbudget = 1.0\n";

#[test]
fn a_status_that_is_named_is_tried_again_on_another_server_and_others_are_passed_on() {
    let lines = format!("{RETRIES}on = [\"connect\", \"grpc-unavailable\", \"grpc-resource-exhausted\"]");
    let Some(scene) = Scene::start(None, 2, &lines) else { return };
    for status in [14, 8] {
        scene.set(0, &format!("{{\"failing\": {status}}}"));
        let answered: Value = serde_json::from_str(&scene.run(&["many", "20"])).unwrap();
        assert_eq!(answered, serde_json::json!({ "1": 20 }), "status {status}");
    }
    let failed = scene.seen(0)["failed"].as_u64().unwrap();
    assert!(failed >= 10, "{failed} calls were tried there");
    assert_eq!(scene.weir.metric("weir_retries_total", &[]), failed as f64);
    // 13 is not named.
    scene.set(0, "{\"failing\": 13}");
    scene.set(1, "{\"failing\": 13}");
    scene.run(&["fails", "INTERNAL", "was told to fail"]);
    assert_eq!(scene.weir.metric("weir_retries_total", &[]), failed as f64);
    // Where every server fails, the last one's words are passed on.
    scene.set(0, "{\"failing\": 14}");
    scene.set(1, "{\"failing\": 14}");
    scene.run(&["fails", "UNAVAILABLE", "was told to fail"]);
}

#[test]
fn without_a_named_status_no_call_runs_twice() {
    let Some(scene) = Scene::start(None, 2, RETRIES) else { return };
    for server in [0, 1] {
        scene.set(server, "{\"failing\": 14}");
    }
    scene.run(&["fails", "UNAVAILABLE", "was told to fail"]);
    let calls = [0, 1].map(|server| scene.seen(server)["calls"].as_u64().unwrap());
    assert_eq!(calls.iter().sum::<u64>(), 1, "{calls:?}");
}

#[test]
fn what_weir_answers_itself_is_a_status_of_grpc() {
    let Some(mut scene) = Scene::start(None, 1, "") else { return };
    scene.servers[0].kill();
    scene.run(&["fails", "UNAVAILABLE", "could not connect to a backend (upstream_failed/connect)"]);
}

#[test]
fn servers_that_restart_under_load_lose_no_call_that_may_be_tried_again() {
    let lines = format!(
        "{RETRIES}budget_min_per_s = 1000\non = [\"connect\", \"no_response\", \"grpc-unavailable\"]\n\
         [pool.app.health]\ntype = \"grpc\"\ninterval = \"200ms\"\ntimeout = \"10s\"\nrise = 1\nfall = 1"
    );
    let Some(mut scene) = Scene::start(None, 3, &lines) else { return };
    let mut command = scene.begin(&["load"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 10];
    stdout.read_exact(&mut first).unwrap();
    let answered = |scene: &Scene| scene.weir.metric("weir_requests_total", &[]);
    for server in [0, 1] {
        let before = answered(&scene);
        wait_until("calls are under way", || answered(&scene) > before + 100.0);
        scene.restart(server);
        let name = server.to_string();
        wait_until("it is up again", || {
            scene.weir.metric("weir_backend_state", &[("backend", &name), ("state", "up")]) == 1.0
        });
    }
    drop(child.stdin.take());
    let mut told = String::new();
    stdout.read_to_string(&mut told).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let told: Value = serde_json::from_str(told.trim().lines().last().unwrap()).unwrap();
    assert!(told["calls"].as_u64().unwrap() > 200, "{told}");
}

const EJECTS: &str = "policy = \"round_robin\"\n[pool.app.retry]\nattempts = 0\n[pool.app.eject]\n\
                      consecutive_failures = 3\nerror_share = 0.0\nbase_time = \"1h\"";

#[test]
fn a_server_whose_calls_fail_is_ejected_and_one_that_only_refuses_is_not() {
    for (status, name, ejected) in [(14, "UNAVAILABLE", true), (5, "NOT_FOUND", false)] {
        let Some(scene) = Scene::start(None, 2, EJECTS) else { return };
        for server in [0, 1] {
            scene.set(server, &format!("{{\"failing\": {status}}}"));
        }
        for _ in 0..8 {
            scene.run(&["fails", name, "was told to fail"]);
        }
        let out = || scene.weir.metric("weir_backend_state", &[("state", "ejected")]);
        if ejected {
            wait_until("one of the two is ejected", || out() == 1.0);
        }
        assert_eq!(out(), if ejected { 1.0 } else { 0.0 }, "{name}");
    }
}
