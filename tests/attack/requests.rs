//! More requests than are anybody's share.

use crate::scene::Scene;
use crate::swarm::Tactic;
use crate::watch::attacked;
use std::time::Duration;

/// Hundreds of requests sent at once on a connection are taken one after the other, beside everybody else's.
#[test]
fn a_pipelining_flood_is_answered_in_turn_with_the_others() {
    let scene = Scene::new("", "", "");
    let tactic = Tactic {
        connections: 5,
        drip: b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100),
        every: Duration::from_millis(500),
        ..Tactic::default()
    };
    let seen = attacked(&scene, &[tactic], &|seen| seen[0].status(200) == 5);
    assert_eq!((seen[0].ended, seen[0].statuses.len()), (0, 1));
}

/// What is sent ahead of an answer that takes long waits for it; it must not take all receive buffers.
#[test]
fn requests_sent_ahead_leave_buffers_for_the_others() {
    let scene = Scene::new("buffers = 64\n", "", "");
    let ahead = format!("GET /p HTTP/1.1\r\nHost: h\r\nX-Ahead: {}\r\n\r\n", "a".repeat(15_000)).repeat(4);
    let tactic = Tactic {
        connections: 400,
        opening: format!("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n{ahead}").into_bytes(),
        reads: false,
        ..Tactic::default()
    };
    attacked(&scene, &[tactic], &|seen| seen[0].open == 400);
}
