//! Bodies that come, or are read, too slowly; bodies in the smallest of chunks.

use crate::scene::Scene;
use crate::swarm::Tactic;
use crate::watch::attacked;
use std::time::Duration;

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

/// Who sends a body, or reads one, more slowly than `body_min_rate_per_s` is cut off after five seconds.
#[test]
fn slow_bodies_and_slow_readers_are_bounded_by_body_min_rate() {
    // So high because of what a kernel takes for a client that does not read, megabytes: it counts as read.
    let scene = Scene::new("", "body_min_rate_per_s = \"1MiB\"\n", "");
    let sends = Tactic {
        connections: 300,
        opening: b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        drip: b"a".to_vec(),
        every: ms(200),
        ..Tactic::default()
    };
    let reads = Tactic {
        connections: 20,
        opening: b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        reads: false,
        receive_buffer: Some(4 << 10),
        ..Tactic::default()
    };
    let cut = std::cell::Cell::new(0);
    // Only the last spell need see how it ends.
    let seen = attacked(&scene, &[sends, reads], &|seen| {
        let stand = seen[0].open >= 299 && seen[1].open >= 19;
        if stand && cut.get() < 2 {
            cut.set(cut.get() + 1);
            return true;
        }
        seen[0].status(408) >= 300 && seen[1].ended >= 20
    });
    assert_eq!(seen[0].statuses.keys().collect::<Vec<_>>(), [&408]);
    assert!(scene.refused("body_timeout") >= 300, "{}", scene.refused("body_timeout"));
    assert!(scene.refused("slow_reader") >= 20, "{}", scene.refused("slow_reader"));
}

/// Six bytes on the wire for one of payload: `max_body` bounds the payload.
#[test]
fn a_flood_of_one_byte_chunks_is_bounded_by_max_body() {
    let scene = Scene::new("", "max_body = \"8KiB\"\n", "");
    let tactic = Tactic {
        connections: 10,
        opens_per_s: 100,
        opening: b"POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        drip: b"1\r\na\r\n".repeat(500),
        every: ms(50),
        ..Tactic::default()
    };
    let seen = attacked(&scene, &[tactic], &|seen| seen[0].status(413) >= 10);
    assert_eq!(seen[0].statuses.keys().collect::<Vec<_>>(), [&413]);
    assert!(scene.refused("body_too_large") >= seen[0].status(413));
}
