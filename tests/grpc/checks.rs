//! gRPC's health protocol as a check.

use crate::harness::wait_until;
use crate::scene::{Scene, seal};
use serde_json::Value;

const OFTEN: &str = "interval = \"50ms\"\ntimeout = \"20s\"\nrise = 1\nfall = 1";

/// A server's state and why, as the admin surface tells it.
fn standing(scene: &Scene, server: usize) -> (String, String) {
    let page: Value = serde_json::from_str(&scene.weir.admin("/backends").text()).unwrap();
    let backend = &page["backends"][server];
    let text = |key: &str| backend[key].as_str().unwrap().to_owned();
    (text("state"), text("why"))
}

#[test]
fn a_server_that_does_not_serve_is_taken_out_and_comes_back() {
    for seal in [None, Some(seal())] {
        let lines = format!("[pool.app.health]\ntype = \"grpc\"\nservice = \"weir.Test\"\n{OFTEN}");
        let Some(scene) = Scene::start(seal, 2, &lines) else { return };
        let is = |state: &str| standing(&scene, 0).0 == state;
        wait_until("both are up", || is("up") && standing(&scene, 1).0 == "up");
        scene.set(0, "{\"serving\": false}");
        wait_until("it is down", || is("down"));
        assert!(standing(&scene, 0).1.contains("it says NOT_SERVING"), "{}", standing(&scene, 0).1);
        assert_eq!(scene.run(&["many", "10"]).trim(), "{\"1\": 10}");
        scene.set(0, "{\"serving\": true}");
        wait_until("it is up again", || is("up"));
        wait_until("it gets calls again", || scene.run(&["many", "4"]).contains("\"0\""));
    }
}

#[test]
fn a_service_that_the_server_does_not_know_is_no_healthy_one() {
    let lines = format!("[pool.app.health]\ntype = \"grpc\"\nservice = \"shop.v1.Cart\"\n{OFTEN}");
    let Some(scene) = Scene::start(None, 1, &lines) else { return };
    wait_until("it has been checked", || standing(&scene, 0).0 == "down");
    let why = standing(&scene, 0).1;
    assert!(why.contains("gRPC status not-found"), "{why}");
}
