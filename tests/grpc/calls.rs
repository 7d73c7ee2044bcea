//! Calls of all kinds: what the client sends arrives, what the server answers comes back, and both hear of the end.

use crate::harness::wait_until;
use crate::scene::{Scene, either_way};
use serde_json::json;

#[test]
fn a_unary_call_keeps_its_message_and_its_metadata() {
    either_way("", |scene| {
        scene.run(&["unary"]);
    });
}

#[test]
fn every_status_comes_through_with_its_message_and_its_trailers() {
    either_way("", |scene| {
        scene.run(&["statuses"]);
    });
}

#[test]
fn streams_down_up_and_both_ways_keep_their_messages_and_their_order() {
    either_way("", |scene| {
        scene.run(&["streams"]);
    });
}

#[test]
fn large_messages_come_through_whole() {
    either_way("", |scene| {
        scene.run(&["large"]);
    });
}

#[test]
fn compressed_messages_come_through_as_they_are() {
    either_way("", |scene| {
        scene.run(&["compressed"]);
    });
}

/// Longer than a body that is held to a minimum rate may be silent.
#[test]
fn streams_may_be_silent_for_long_and_each_message_passes_at_once() {
    either_way("", |scene| {
        scene.run(&["talk", "0"]);
        scene.run(&["pauses", "7"]);
    });
}

#[test]
fn a_deadline_reaches_the_server_which_hears_of_its_end() {
    either_way("", |scene| {
        scene.run(&["deadline"]);
        let ended = || scene.seen(0)["ended_early"].clone();
        wait_until("the server has heard that the call is over", || ended() == json!(["unary"]));
        let remaining = scene.seen(0)["remaining"].clone();
        assert!(remaining.as_f64().is_some_and(|s| s > 0.0 && s < 2.0), "{remaining}");
    });
}

#[test]
fn a_call_that_the_client_ends_is_over_for_the_server() {
    either_way("", |scene| {
        scene.run(&["cancel"]);
        let ended = || scene.seen(0)["ended_early"].clone();
        for method in ["unary", "down", "both"] {
            wait_until(&format!("the server has heard that {method} is over, not {}", ended()), || {
                ended().as_array().unwrap().contains(&json!(method))
            });
        }
    });
}

#[test]
fn the_server_gets_the_fields_that_grpc_wants() {
    let Some(scene) = Scene::start(None, 1, "") else { return };
    scene.run(&["many", "1"]);
    let seen = scene.seen(0);
    let keys: Vec<_> = seen["metadata"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert!(keys.contains(&"user-agent") && keys.contains(&"x-forwarded-for"), "{keys:?}");
}
