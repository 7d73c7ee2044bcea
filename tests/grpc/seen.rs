//! How calls end, as the access log and the metrics tell it.

use crate::harness::wait_until;
use crate::scene::Scene;
use serde_json::{Value, json};

const LOG: &str = "[access_log]\nformat = \"json\"\nto = \"{dir}/access.log\"";

/// The access log's lines for requests to this path, once there are so many.
fn lines(scene: &Scene, path: &str, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    wait_until(&format!("{count} lines for {path}"), || {
        let log = std::fs::read_to_string(scene.weir.dir().join("access.log")).unwrap_or_default();
        let whole = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines = whole.filter(|line: &Value| line["path"] == path).collect();
        lines.len() >= count
    });
    lines
}

fn statuses(lines: &[Value]) -> Vec<&Value> {
    lines.iter().map(|line| &line["grpc_status"]).collect()
}

#[test]
fn the_status_of_each_call_is_in_the_log_and_counted_wherever_it_stands() {
    let Some(mut scene) = Scene::start(None, 1, LOG) else { return };
    // Each status once in an answer that has nothing else, and once behind messages.
    scene.run(&["statuses"]);
    let all: Vec<Value> = (1..=16).map(|status| json!(status)).collect();
    for path in ["/weir.Test/Unary", "/weir.Test/Down"] {
        let lines = lines(&scene, path, 16);
        assert_eq!(statuses(&lines), all.iter().collect::<Vec<_>>(), "{path}");
        assert!(lines.iter().all(|line| line["status"] == 200 && line["termination"] == "--"), "{lines:?}");
    }
    scene.run(&["many", "3"]);
    assert_eq!(statuses(&lines(&scene, "/weir.Test/Unary", 19)[16..]), [&json!(0); 3]);
    let counted = |status: &str| scene.weir.metric("weir_grpc_calls_total", &[("status", status)]);
    assert_eq!([counted("ok"), counted("unavailable"), counted("not-found")], [3.0, 2.0, 2.0]);
    // weir's own answer, and a request that is no call.
    scene.servers[0].kill();
    scene.run(&["fails", "UNAVAILABLE", "could not connect"]);
    let last = lines(&scene, "/weir.Test/Unary", 20).pop().unwrap();
    assert_eq!(
        [&last["status"], &last["grpc_status"], &last["cause"]],
        [&json!(502), &json!(14), &json!("connect")]
    );
    scene.weir.client().get("/plain");
    assert_eq!(statuses(&lines(&scene, "/plain", 1)), [&Value::Null]);
    assert_eq!(counted("unavailable"), 2.0, "weir's own are counted as refusals");
}
