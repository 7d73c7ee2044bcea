//! Heads that do not end, or that are as large as they may be.

use crate::scene::Scene;
use crate::swarm::Tactic;
use crate::watch::attacked;
use std::time::Duration;

fn ms(length: u64) -> Duration {
    Duration::from_millis(length)
}

/// A thousand heads that come a few bytes at a time are each given up when `head_timeout` is over.
#[test]
fn slowloris_is_bounded_by_head_timeout() {
    let scene = Scene::new("", "head_timeout = \"1s\"\n", "");
    let tactic = Tactic {
        connections: 500,
        opening: b"GET / HTTP/1.1\r\nHost: h\r\nX-A".to_vec(),
        drip: b"a".to_vec(),
        every: ms(250),
        ..Tactic::default()
    };
    let seen = attacked(&scene, &[tactic], &|seen| seen[0].status(408) > 100);
    assert_eq!(seen[0].statuses.keys().collect::<Vec<_>>(), [&408]);
    assert!(seen[0].ended > 100, "closed after the answer");
    assert!(scene.refused("head_timeout") >= seen[0].status(408));
}

/// Fields without end, a field without end, small fields without number: 431 as soon as the limit is passed.
#[test]
fn header_floods_are_bounded_by_max_head_and_max_headers() {
    let scene = Scene::new("", "max_head = \"8KiB\"\nmax_headers = 50\nhead_timeout = \"1s\"\n", "");
    let opening = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
    let flood = |opening: &[u8], drip: Vec<u8>| Tactic {
        connections: 20,
        opens_per_s: 200,
        opening: opening.to_vec(),
        drip,
        every: ms(20),
        ..Tactic::default()
    };
    let field = format!("X-Field: {}\r\n", "v".repeat(990));
    let tactics = [
        flood(&opening, field.into_bytes()),
        flood(&[&opening[..], b"X-Endless: "].concat(), vec![b'v'; 1_000]),
        flood(&opening, b"A: b\r\n".repeat(20)),
        flood(b"GET /", vec![b'p'; 1_000]),
    ];
    let seen = attacked(&scene, &tactics, &|seen| {
        seen[..3].iter().all(|seen| seen.status(431) > 20) && seen[3].status(414) > 20
    });
    for (seen, status) in seen.iter().zip([431, 431, 431, 414]) {
        assert_eq!(seen.statuses.keys().collect::<Vec<_>>(), [&status]);
    }
    let answered: u64 = seen.iter().map(|seen| seen.status(431) + seen.status(414)).sum();
    assert!(scene.refused("head_too_large") >= answered);
}

/// Heads as large as they may be, and with as many fields, are served, and cost nobody else anything.
#[test]
fn heads_at_the_limits_are_served_beside_others() {
    let scene = Scene::new("", "max_head = \"8KiB\"\nmax_headers = 100\n", "");
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    let large = format!("{start}X-Large: {}\r\n\r\n", "v".repeat(8 * 1024 - start.len() - 13));
    assert_eq!(large.len(), 8 << 10);
    let many = format!("{start}{}\r\n", "A: b\r\n".repeat(99));
    let flood = |head: String| Tactic {
        connections: 10,
        drip: head.into_bytes(),
        every: ms(50),
        ..Tactic::default()
    };
    let seen = attacked(&scene, &[flood(large), flood(many)], &|seen| {
        seen.iter().all(|seen| seen.status(200) == 10)
    });
    seen.iter().for_each(|seen| assert_eq!((seen.ended, seen.statuses.len()), (0, 1)));
    assert_eq!(scene.refused("head_too_large"), 0);
}
