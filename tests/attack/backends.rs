//! Backends that attack: whoever asks them gets a 502, and nobody else notices.

use crate::scene::Scene;
use crate::swarm::Tactic;
use crate::watch::attacked;

/// A head without end is given up at 64 KiB.
#[test]
fn a_backends_endless_head_is_bounded() {
    let scene = Scene::new("", "", "[pool.app.retry]\nattempts = 0\n");
    let tactic = Tactic {
        connections: 10,
        opens_per_s: 50,
        opening: b"GET /endless/flood HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec(),
        ..Tactic::default()
    };
    let seen = attacked(&scene, &[tactic], &|seen| seen[0].status(502) >= 10);
    assert_eq!(seen[0].statuses.keys().collect::<Vec<_>>(), [&502]);
    let bad = scene.weir.metric("weir_upstream_failures_total", &[("cause", "bad_response")]);
    assert!(bad as u64 >= seen[0].status(502), "{bad}");
}
