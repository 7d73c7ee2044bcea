//! What is tried again, and what weir answers by itself.

use crate::harness::{wait_until, wait_up_to};
use crate::scene::{Scene, seal};
use serde_json::Value;
use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

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
fn many_deadlines_that_pass_are_no_flood_and_cost_no_other_call() {
    let Some(scene) = Scene::start(None, 1, "") else { return };
    scene.run(&["deadlines"]);
    assert_eq!(scene.weir.metric("weir_refusals_total", &[("cause", "flood")]), 0.0);
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_stream_was_unavailable() {
    for seal in [None, Some(seal())] {
        let Some(mut scene) = Scene::start(seal, 1, "") else { return };
        let (child, _) = under_way(scene.begin(&["dies"]));
        scene.servers[0].kill();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(scene.weir.metric("weir_upstream_failures_total", &[("cause", "truncated")]), 1.0);
    }
}

/// Starts a scenario, and waits until it says that it is under way.
fn under_way(mut command: Command) -> (Child, ChildStdout) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 10];
    stdout.read_exact(&mut first).unwrap();
    (child, stdout)
}

#[test]
fn servers_that_restart_under_load_lose_no_call_that_may_be_tried_again() {
    let lines = format!(
        "{RETRIES}budget_min_per_s = 1000\non = [\"connect\", \"no_response\", \"grpc-unavailable\"]\n\
         [pool.app.health]\ntype = \"grpc\"\ninterval = \"200ms\"\ntimeout = \"10s\"\nrise = 1\nfall = 1"
    );
    let Some(mut scene) = Scene::start(None, 3, &lines) else { return };
    let (mut child, mut stdout) = under_way(scene.begin(&["load"]));
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
        scene.run(&["fails", name, "was told to fail", "8"]);
        let out = || scene.weir.metric("weir_backend_state", &[("state", "ejected")]);
        if ejected {
            wait_until("one of the two is ejected", || out() == 1.0);
        }
        assert_eq!(out(), if ejected { 1.0 } else { 0.0 }, "{name}");
    }
}

/// Nobody is checked: calls alone decide.
fn ejecting(base_time: &str, on: &str) -> String {
    format!(
        "policy = \"round_robin\"\n[pool.app.retry]\nbudget = 1.0\nbudget_min_per_s = 1000\non = [{on}]\n\
         [pool.app.eject]\nconsecutive_failures = 3\nerror_share = 0.0\nbase_time = \"{base_time}\""
    )
}

#[test]
fn an_ejected_server_comes_back_by_calls_that_may_be_made_again_and_no_client_sees_its_trials_fail() {
    let Some(scene) = Scene::start(None, 2, &ejecting("500ms", "\"connect\", \"grpc-unavailable\"")) else {
        return;
    };
    let failed = || scene.seen(0)["failed"].as_u64().unwrap();
    scene.set(0, "{\"failing\": 14}");
    scene.run(&["many", "10"]);
    let out = |state: &str| scene.weir.metric("weir_backend_state", &[("state", state)]) == 1.0;
    wait_until("it is ejected", || out("ejected"));
    let before = failed();
    wait_up_to(Duration::from_secs(60), "it has been tried, in vain", || {
        scene.run(&["many", "5"]);
        failed() > before
    });
    scene.set(0, "{\"failing\": null}");
    wait_up_to(Duration::from_secs(60), "it is in again", || {
        scene.run(&["many", "5"]);
        !out("ejected") && scene.weir.stderr().contains("readmitted: 5 trials passed in a row")
    });
    wait_until("it gets calls again", || scene.run(&["many", "4"]).contains("\"0\""));
}

#[test]
fn an_ejected_server_comes_back_in_time_where_no_call_may_be_made_again() {
    let Some(scene) = Scene::start(None, 2, &ejecting("50ms", "\"connect\"")) else { return };
    scene.set(0, "{\"failing\": 14}");
    scene.run(&["tries", "10"]);
    wait_until("it is ejected", || scene.weir.metric("weir_ejections_total", &[]) >= 1.0);
    scene.set(0, "{\"failing\": null}");
    wait_until("it is in again", || {
        scene.weir.stderr().contains("readmitted: no exchange fit for a trial came in")
    });
}
